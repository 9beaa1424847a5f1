"""How often two runs arrive in the simulated cell: `taskgan evaluate` without a bundle (section 4.1.1's metric)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.models import kept_step, load_policy
from taskgan_ros.core.config import short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import config_dataclass
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.sim.evaluate import TEST_SEED, arrivals, rollout, run_episodes
from taskgan_ros.tasks.registry import load_motion_scene
from taskgan_ros.tasks.scene import MotionScene
from taskgan_ros.tasks.state import check_seed_range
from taskgan_ros.training.learned import Learned, load_task_model
from taskgan_ros.training.lineage import data_seeds
from taskgan_ros.training.run import Count

Array = NDArray[np.float64]


@config_dataclass
class ClosedLoopConfig:
    """Close the loop in simulation with the networks of training runs."""

    task_model: Path
    """The run of step 1 or 3."""
    translator: Path | None = None
    """The run of step 2; without it the task model sees the camera's images."""
    domain: str
    """A shipped domain's name or a YAML file."""
    scene: str = "reach"
    """A shipped scene's name or a YAML file."""
    episodes: Count = 100
    """The paper's."""
    seed: int = TEST_SEED
    """Seed of the starts; it must differ from the training data's."""
    workers: Count = 1
    """Number of processes that render and predict; 1 starts none."""
    out: Path
    """A folder for the figures."""


def measure_closed_loop(config: ClosedLoopConfig) -> dict[str, Any]:
    """Run the episodes and return the figures of the last step.

    Raises:
        InputError: unknown names, runs for another task, arm or joints, a seed that trained them, a killed worker.
    """
    scene = load_motion_scene(config.scene)
    load_domain(config.domain)  # checked here, loaded again by each worker
    _, learned = load_task_model(config.task_model)
    _check_scene(config, learned, scene)
    _check_seed(config)
    scene.sample_start(config.seed, 0)
    title = f"closed loop in {short_name(config.domain)}"
    distances_m = run_episodes(partial(_run_chunk, config), config.episodes, scene, config.workers, title)
    final_m = distances_m[:, -1]
    kept = kept_step(config.translator) if config.translator else None
    return {
        **arrivals(distances_m, scene),
        "successes": int((final_m < scene.threshold_m).sum()),
        "final_distances_m": np.round(final_m, 4).tolist(),
        **({} if kept is None else {"kept_step": kept}),
    }


def _check_scene(config: ClosedLoopConfig, learned: Learned, scene: MotionScene) -> None:
    """Refuse a task model that does not drive the scene's joints by velocities or to goals."""
    for what, expected, actual in (
        ("task", ("joint_velocities", "joint_goals"), learned.data.task),
        ("arm", (short_name(scene.arm_name),), short_name(learned.data.arm)),
        ("action_names", (scene.driven_joints,), learned.data.action_names),
    ):
        if actual not in expected:
            known = " or ".join(map(repr, expected))
            raise InputError(f"{config.task_model}: expected {what} {known} to close the loop with, got {actual!r}")


def _check_seed(config: ClosedLoopConfig) -> None:
    """Refuse a seed that training data was drawn with, or an invalid one."""
    check_seed_range(config.seed)
    used = data_seeds(*[run for run in (config.translator, config.task_model) if run is not None])
    if config.seed in used.values():
        raise InputError(f"expected a seed that no training data was drawn with ({used}), got {config.seed}")


def _run_chunk(config: ClosedLoopConfig, indices: range) -> Array:
    scene = load_motion_scene(config.scene)
    policy = load_policy(config.task_model, config.translator, torch.device("cpu"))
    with _one_thread(), Cell(scene, load_domain(config.domain), policy.learned.image_size) as cell:
        return rollout(scene, cell, policy.act, config.seed, indices)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: workers side by side would only wait for each other, and figures would depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
