"""How fast episodes are collected, on one core and on all of them, beside the renderer alone on one core."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro
from report import Row, report

from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.collect import CollectConfig, collect
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of


@dataclass(frozen=True)
class Config:
    """Time `taskgan collect`."""

    domains: tuple[str, ...] = ("source", "target_wood")
    """Shipped domains or files."""
    episodes: int = 1416
    """1416 episodes are the paper's 22 656 images."""
    renderer_episodes: int = 60
    """Episodes drawn by the renderer alone."""
    out: Path | None = None
    """JSON to write."""


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Keep this process and those it starts to `count` cores: a software renderer alone would take all of them."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def time_renderer(domain: str, episodes: int) -> float:
    """Return images/s of the renderer alone: states and looks are drawn beforehand."""
    scene = load_scene_of(ReachScene, "reach")
    with Cell(scene, load_domain(domain)) as cell:
        films = [(scene.path(scene.sample_training_start(0, k)), cell.sample_look(0, k)) for k in range(episodes)]
        cell.render(films[0][0][0], films[0][1])
        start = time.perf_counter()
        for states, look in films:
            for k, state in enumerate(states):
                cell.render(state, look, k * scene.step_s)
        return episodes * scene.images_per_episode / (time.perf_counter() - start)


def time_collect(domain: str, episodes: int, workers: int) -> float:
    """Return images/s of the whole command: start of the workers, labels, compression and writing included."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        collect(CollectConfig(domain=domain, episodes=episodes, out=Path(folder) / "data.h5", seed=1, workers=workers))
        return episodes * load_scene_of(ReachScene, "reach").images_per_episode / (time.perf_counter() - start)


def main(config: Config) -> None:
    """Measure every domain."""
    rows: list[Row] = []
    for domain in config.domains:
        with cores(1):
            alone = time_renderer(domain, config.renderer_episodes)
        rows.append({"domain": domain, "what": "renderer alone, 1 core", "images/s": alone, "ratio": 1.0})
        for workers in sorted({1, os.cpu_count() or 1}):
            with cores(workers):
                rate = time_collect(domain, config.episodes, workers)
            rows.append(
                {"domain": domain, "what": f"collect, {workers} core(s)", "images/s": rate, "ratio": rate / alone}
            )
    report(f"taskgan collect, {config.episodes} episodes", rows, config.out)


if __name__ == "__main__":
    main(tyro.cli(Config))
