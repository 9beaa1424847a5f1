"""`taskgan collect`: the expert's episodes or random poses, rendered in parallel, into one dataset."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.data.dataset import LEAST_PX, SIDE_PX, DatasetInfo, EpisodeRecord, open_writer, read_info
from taskgan_ros.robot.units import JOINT_GOALS, UNITS
from taskgan_ros.sim.cell import Cell, check_image_size
from taskgan_ros.sim.domain import check_calibration, load_domain
from taskgan_ros.sim.pool import check_workers, run_parallel
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.tasks.state import CellState, check_seed_range

Array = NDArray[np.float64]

_LOOKED_AT = 8  # episodes, whose states must not all look alike


@dataclass(frozen=True)
class CollectConfig:
    """Record the expert's episodes, or random poses, in a domain."""

    domain: str
    """A shipped domain's name or a YAML file."""
    episodes: int
    """Number of episodes; each has the scene's images_per_episode images (16)."""
    out: Path
    """The HDF5 file to write; must not exist."""
    seed: int = 0
    """The same seed gives the same states in every domain."""
    paired: str | None = None
    """A second domain that shows the same states, as `obs/image_paired`."""
    task: Literal["joint_velocities", "joint_angles", "joint_goals"] = "joint_velocities"
    """The kind of labels. A scene of random poses has only joint_angles; joint_goals, the angles at which the tip is on
    its goal, are of scenes with the task reach."""
    scene: str = "reach"
    """A shipped scene's name or a YAML file."""
    image_size: int = 128
    """Pixels a side, 24 or more and a multiple of 8; 128 is the paper's."""
    workers: int = os.cpu_count() or 1
    """Number of processes that render."""
    resume: bool = False
    """Go on with a collection that was stopped or failed."""


class Recorder:
    """Renders episodes of one scene in one domain, and in a second one where pairs are asked for."""

    def __init__(self, config: CollectConfig) -> None:
        """Open a cell for each domain."""
        self._scene = load_scene(config.scene)
        self._config = config
        self._per_episode = len(plan(self._scene, config, 0)[0])
        self._domains = [config.domain] + ([config.paired] if config.paired else [])
        self._cells = [Cell(self._scene, load_domain(name), config.image_size) for name in self._domains]

    def check_sight(self) -> None:
        """Refuse a domain in which all states of the first episodes give the same picture, apart from noise.

        Raises:
            InputError: there is such a domain.
        """
        for domain, cell in zip(self._domains, self._cells, strict=True):
            count = min(self._config.episodes, _LOOKED_AT) * self._per_episode
            pictures = self._steady_pictures(cell)
            first = next(pictures)
            if count > 1 and all(np.array_equal(first, picture) for picture in pictures):
                raise InputError(
                    f"{self._config.scene} in {domain}: expected a camera that sees the arm move, got {count} images "
                    f"that are all the same, with a mean brightness of {first.mean():.0f} of 255"
                )

    def _steady_pictures(self, cell: Cell) -> Iterator[NDArray[np.uint8]]:
        """Yield pictures without noise; a path tracer's own is no sensor's, so MuJoCo draws in its place."""
        look = cell.sample_look(self._config.seed, 0)
        steady = replace(look, sensor=replace(look.sensor, noise=0.0))
        with ExitStack() as stack:
            if cell.domain.path_tracing:
                domain = replace(cell.domain, path_tracing=None)
                cell = stack.enter_context(Cell(self._scene, domain, self._config.image_size))
            for index in range(min(self._config.episodes, _LOOKED_AT)):
                states, _ = plan(self._scene, self._config, index)
                yield from (cell.render(state, steady) for state in states)

    def record(self, index: int) -> EpisodeRecord:
        """Return episode `index` of the configuration's seed."""
        states, labels = plan(self._scene, self._config, index)
        images = [self._film(cell, states, index) for cell in self._cells]
        return EpisodeRecord(
            images=images[0],
            actions=np.array(labels, dtype=np.float32),
            joint_pos=np.array([state.joint_pos for state in states], dtype=np.float32),
            paired=images[1] if len(images) > 1 else None,
        )

    def _film(self, cell: Cell, states: list[CellState], index: int) -> NDArray[np.uint8]:
        look, step_s = cell.sample_look(self._config.seed, index), self._scene.step_s
        images = []
        for k, state in enumerate(states):
            interrupts.check()
            images.append(cell.render(state, look, k * step_s))
        return np.stack(images)

    def close(self) -> None:
        """Close the cells."""
        for cell in self._cells:
            cell.close()


def plan(scene: Scene, config: CollectConfig, index: int) -> tuple[list[CellState], list[Array]]:
    """Return the states that episode `index` shows, and the label (J,) of each in the task's units.

    Raises:
        InputError: the scene's ranges leave no episode, or the scene's task has no velocities.
    """
    shown = scene.demonstrate(config.seed, index)
    states = [state for state, _ in shown]
    if config.task == "joint_angles":
        return states, [scene.angles(state) for state in states]
    if config.task == JOINT_GOALS:
        if not isinstance(scene, ReachScene):
            raise InputError(f"{config.scene}: expected a scene with the task reach for joint_goals, got {scene.task}")
        return states, [scene.goal_angles(state.objects[0, :2]) for state in states]
    velocities = [label for _, label in shown if label is not None]
    if len(velocities) < len(states):
        raise InputError(f"{config.scene}: expected the task joint_angles for random poses, got {config.task}")
    return states, velocities


def describe(config: CollectConfig) -> DatasetInfo:
    """Return the attributes of the dataset that `config` collects, checking all of it that can be without a renderer.

    Raises:
        InputError: an unknown name, a number out of range, a scene without an episode or without the task's labels, a
            domain for another arm.
    """
    scene = load_scene(config.scene)
    for name in (config.domain, config.paired):
        if name:
            check_calibration(load_domain(name).calibration, scene.arm)
    if config.episodes < 1:
        raise InputError(f"expected at least 1 episode, got {config.episodes}")
    check_workers(config.workers)
    if config.image_size < LEAST_PX or config.image_size % SIDE_PX:
        raise InputError(
            f"expected an image_size of {LEAST_PX} pixels or more that is a multiple of {SIDE_PX}, "
            f"as translators need, got {config.image_size}"
        )
    check_image_size(config.image_size, config.image_size)
    check_seed_range(config.seed)
    states, _ = plan(scene, config, 0)
    return DatasetInfo(
        task=config.task,
        units=UNITS[config.task],
        arm=scene.arm_name,
        scene=config.scene,
        domain=config.domain,
        paired_domain=config.paired or "",
        joint_names=scene.arm.joint_names,
        action_names=scene.driven_joints,
        height=config.image_size,
        width=config.image_size,
        seed=config.seed,
        images=config.episodes * len(states),
        episodes=config.episodes,
    )


def collect(config: CollectConfig) -> None:
    """Record `config.episodes` episodes to `config.out`.

    Raises:
        InputError: as `describe` and `open_writer`, images that are all the same, or a worker was killed; what is done
            stays for `resume`.
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP; likewise.
    """
    info = describe(config)
    if config.resume and _is_whole(config.out, info):
        print_line(f"{config.out}: complete, with {info.images} images of {config.domain}; nothing to resume")
        return
    with interrupts.deferred():
        _record_missing(config, info)
        print_line(f"{config.out}: {info.images} images of {config.domain}, {config.out.stat().st_size / 1e6:.0f} MB")


def _is_whole(out: Path, info: DatasetInfo) -> bool:
    """Return whether a dataset is there already, and these options have recorded it."""
    try:
        return out.is_file() and read_info(out) == info
    except InputError:
        return False


def _record_missing(config: CollectConfig, info: DatasetInfo) -> None:
    with open_writer(config.out, info, config.resume) as writer:
        done = writer.done
        todo = [index for index in range(config.episodes) if index not in done]
        with (
            progress_bar("collect", config.episodes, "episodes", len(done)) as advance,
            closing(_record_all(config, todo)) as records,
        ):
            for index, record in records:
                writer.add(index, record)
                advance(1)
                interrupts.check()


_recorder: Recorder | None = None  # one per worker process: a GL context cannot be sent to it


def _record(config: CollectConfig, index: int) -> EpisodeRecord:
    global _recorder
    if _recorder is None:
        _recorder = Recorder(config)
        _recorder.check_sight()
    return _recorder.record(index)


def _record_all(config: CollectConfig, todo: list[int]) -> Generator[tuple[int, EpisodeRecord], None, None]:
    if config.workers > 1:
        yield from run_parallel(partial(_record, config), todo, config.workers)
        return
    with closing(Recorder(config)) as recorder:
        recorder.check_sight()
        yield from ((index, recorder.record(index)) for index in todo)
