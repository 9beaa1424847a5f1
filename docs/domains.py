"""Draws docs/*domains.png: the same states in every shipped domain. Run from the repository's root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.poses import PoseScene
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.tasks.state import CellState

PICTURES = {
    "domains.png": (
        *(("reach", domain) for domain in ("source", "target_a", "target_b", "target_wood", "randomized")),
        *(("poses", domain) for domain in ("source", "real_standin")),
    ),
    "hard_domains.png": tuple(
        ("reach", f"hard_{what}") for what in ("clutter", "light", "arm", "camera", "occlusion", "all")
    ),
    "lab_domains.png": (("reach", "lab_brick"), ("reach", "lab_window")),
}
EPISODES = 6
ENLARGED = 2


def main() -> None:
    """Draw all of them."""
    for name, rows in PICTURES.items():
        draw(rows).save(Path(__file__).with_name(name), optimize=True)


def draw(shown_rows: Sequence[tuple[str, str]]) -> Image.Image:
    """Draw a row for each scene and domain, a column an episode, each a little further on its path where it has one."""
    rows = []
    for scene_name, domain in shown_rows:
        scene = load_scene(scene_name)
        with Cell(scene, load_domain(domain)) as cell:
            shown = [cell.render(pick(scene, k), cell.sample_look(0, k), k * scene.step_s) for k in range(EPISODES)]
        rows.append(np.hstack(shown))
    return Image.fromarray(np.vstack(rows).repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1))


def pick(scene: Scene, episode: int) -> CellState:
    """Return the state to show of an episode."""
    if isinstance(scene, PoseScene):
        return scene.demonstrate(0, episode)[0][0]
    path = [state for state, _ in scene.demonstrate(0, episode)]
    return path[episode * (len(path) - 1) // (EPISODES - 1)]


if __name__ == "__main__":
    main()
