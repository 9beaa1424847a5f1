"""Draws docs/domains.png: the same states in every shipped domain. Run from the repository's root."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from taskgan_ros.sim import expert
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.sim.episode import sample_episode
from taskgan_ros.sim.scene import load_scene

DOMAINS = ("source", "target_a", "target_b", "target_wood", "randomized")
EPISODES = 6
ENLARGED = 2


def main() -> None:
    """Draw one row a domain, one column an episode, each a little further on its path."""
    scene, rows = load_scene("reach"), []
    for domain in DOMAINS:
        with Cell(scene, load_domain(domain)) as cell:
            row = []
            for k in range(EPISODES):
                path = expert.path(scene, sample_episode(scene, 0, k))
                state = path[k * (len(path) - 1) // (EPISODES - 1)]
                row.append(cell.render(state, cell.sample_look(0, k), k * scene.step_s))
            rows.append(np.hstack(row))
    picture = np.vstack(rows).repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
    Image.fromarray(picture).save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
