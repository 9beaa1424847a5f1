"""Checks all inputs of an adaptation before anything is made: a mistake found later costs hours."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from taskgan_ros.core.config import expand_home
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import print_line
from taskgan_ros.data.dataset import Dataset, DatasetInfo, check_compatible, load_dataset, read_info
from taskgan_ros.robot.units import JOINT_GOALS, UNITS
from taskgan_ros.sim.background import DATASETS
from taskgan_ros.sim.collect import CollectConfig, describe
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.tasks.state import check_seed_range
from taskgan_ros.training.learned import load_task_model
from taskgan_ros.training.lineage import check_domain
from taskgan_ros.training.recipe import load_recipe
from taskgan_ros.training.recorded_split import LEAST_IMAGES
from taskgan_ros.training.run import pick_device

if TYPE_CHECKING:
    from taskgan_ros.training.adapt import AdaptConfig

Result = TypeVar("Result")

_COUNTS = ("randomized_episodes", "task_model_steps", "pretrain_steps", "translator_steps", "refine_steps", "workers")
_LEAST_EPISODES = 2  # of the plain dataset: one trains, one validates
_MOST_SHARED = 0.02  # of a recording's images may be in another too: black ones at a camera's start


def is_dataset(path: Path) -> bool:
    """Return whether a recording is a dataset already, by its ending."""
    return path.suffix in DATASETS


def with_homes(config: AdaptConfig) -> AdaptConfig:
    """Return the configuration with every leading `~` in a path expanded.

    Raises:
        InputError: no such user.
    """
    names = ("out", "work", "held_out", "source", "task_model")
    paths: dict[str, Any] = {name: expand_home(path) for name in names if (path := getattr(config, name)) is not None}
    return dataclasses.replace(config, recording=tuple(map(expand_home, config.recording)), **paths)


def check_options(config: AdaptConfig, scene: Scene) -> None:
    """Refuse options that are wrong whatever the recording shows.

    Raises:
        InputError: the first one.
    """
    check_seed_range(config.seed)
    if not 0 < config.held_out_share < 1:
        raise InputError(f"held_out_share: expected a share between 0 and 1, got {config.held_out_share}")
    if config.task_model and not config.source:
        raise InputError("task_model: expected --source too, the dataset that it learned from, got none")
    for name, least in {**dict.fromkeys(_COUNTS, 1), "source_episodes": _LEAST_EPISODES}.items():
        count = getattr(config, name)
        if count is not None and count < least:
            raise InputError(f"{name}: expected {least} or more, got {count}")
    for name in (config.domain, config.plain):
        load_domain(name)
    load_recipe(config.recipe)
    pick_device(config.device)


def check_inputs(config: AdaptConfig, scene: Scene) -> None:
    """Refuse recordings, datasets and runs that do not fit the scene or each other, or that share images.

    Raises:
        InputError: the first one.
    """
    if not config.recording:
        raise InputError("recording: expected at least one, got none")
    given = [*config.recording, *([config.held_out] if config.held_out else [])]
    _check_paths(given)
    expected = _expected(config, scene)
    for path in given:
        if is_dataset(path) or path == config.held_out:
            _check_recorded(path, expected, config, scene)
    _check_count(config, scene)
    _check_sources(given)
    datasets = [path for path in given if is_dataset(path) or path == config.held_out]
    if len(datasets) > 1:
        check_distinct((str(path), load_dataset(path)) for path in datasets)
    if wants_goals(config, scene):
        expected = dataclasses.replace(expected, task=JOINT_GOALS, units=UNITS[JOINT_GOALS])
    _check_learned(config, expected)


def wants_goals(config: AdaptConfig, scene: Scene) -> bool:
    """Return whether f_X is to read joint goals; a plain dataset that exists has labels already, and decides.

    Raises:
        InputError: it cannot be read.
    """
    if config.reads != "goals" or not isinstance(scene, ReachScene):
        return False
    path = config.source
    return path is None or about("source", lambda: read_info(path)).task == JOINT_GOALS


def check_distinct(recordings: Iterable[tuple[str, Dataset]]) -> None:
    """Refuse recordings, each with its name, that share images: those held out of one would be learned in the other.

    Raises:
        InputError: with the names and how many.
    """
    before: list[tuple[str, set[bytes]]] = []
    for name, data in recordings:
        seen = {hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in data.images}
        for other, images in before:
            shared, least = len(seen & images), min(len(seen), len(images))
            if shared > _MOST_SHARED * least:
                raise InputError(f"{name}: expected other images than those of {other}, got {shared} identical ones")
        before.append((name, seen))


def _check_paths(given: list[Path]) -> None:
    for path in given:
        if not path.exists():
            raise InputError(f"{path}: expected a recording, got nothing there")
    twice = [str(path) for path, count in Counter(path.resolve() for path in given).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]}: expected each recording once, got it twice")


def _expected(config: AdaptConfig, scene: Scene) -> DatasetInfo:
    """Return the attributes that every dataset must fit: those of the first, or of what is imported by default."""
    first = next(filter(is_dataset, config.recording), None)
    if first is not None:
        info = read_info(first)
        _check_joints(first, info, config, scene)
        if info.height != info.width:
            raise InputError(f"{first}: expected square images, got {info.height}x{info.width}")
        task, size = info.task, info.height
    else:
        task, size = "joint_angles" if scene.task == "poses" else "joint_velocities", CollectConfig.image_size
    collected = CollectConfig(
        domain=config.domain,
        paired=config.plain,
        episodes=_LEAST_EPISODES,
        out=config.out,
        seed=10 * config.seed + 2,
        task=task,  # type: ignore[arg-type]  # `read_info` has checked it
        scene=config.scene,
        image_size=size,
        workers=config.workers,
    )
    return about(str(first or config.scene), lambda: describe(collected))


def _check_joints(path: Path, info: DatasetInfo, config: AdaptConfig, scene: Scene) -> None:
    for what, expected, got in (
        ("joints", scene.arm.joint_names, info.joint_names),
        ("driven joints", scene.driven_joints, info.action_names),
    ):
        if got != expected:
            raise InputError(f"{path}: expected the {what} of {config.scene}, {list(expected)}, got {list(got)}")


def _check_recorded(path: Path, expected: DatasetInfo, config: AdaptConfig, scene: Scene) -> None:
    """Refuse a dataset of other joints, labels or size; its scene may have had another name at its import."""
    info = read_info(path)
    _check_joints(path, info, config, scene)
    info = dataclasses.replace(info, scene=expected.scene, arm=expected.arm)
    about(str(path), lambda: check_compatible(expected, info))


def _check_count(config: AdaptConfig, scene: Scene) -> None:
    """Open what is not imported yet, and refuse fewer images than can be cut in two."""
    raw = [path for path in config.recording if not is_dataset(path)]
    count = sum(read_info(path).images for path in config.recording if is_dataset(path))
    if raw:
        from taskgan_ros.recordings.recording import open_recording  # here: it needs more packages

        opened = open_recording(raw, scene).count
        count = count + opened if opened else LEAST_IMAGES  # their number is unknown
    if count < LEAST_IMAGES:
        raise InputError(f"recording: expected at least {LEAST_IMAGES} images, got {count}")


def _check_sources(given: list[Path]) -> None:
    """Refuse a recording that is a copy of another, or a dataset that was imported from another."""
    raw = [path for path in given if not is_dataset(path)]
    if not raw or len(given) == 1:
        return
    from taskgan_ros.recordings.source_hash import recording_hash  # here: it needs more packages

    print_line("reading the recordings, to see that none is given twice")
    imported = {read_info(path).recording.split(" ")[-1]: path for path in given if is_dataset(path)}
    for path in raw:
        content = recording_hash([path]).split(" ")[-1]
        if content in imported:
            raise InputError(f"{path}: expected each recording once, but it is the same as {imported[content]}")
        imported[content] = path


def _check_learned(config: AdaptConfig, expected: DatasetInfo) -> None:
    """Refuse a plain dataset, or a task model, of another scene, of other labels or of another domain."""
    found = {}
    if config.source:
        found[f"source: {config.source}"] = about("source", lambda: read_info(config.source))  # type: ignore[arg-type]
    if config.task_model:
        run = config.task_model
        found[f"task_model: {run}"] = about("task_model", lambda: load_task_model(run)[1].data)
    for what, info in found.items():
        about(what, lambda info=info: check_compatible(expected, info))  # type: ignore[misc]
        check_domain(what, config.plain, info.domain)


def about(what: str, check: Callable[[], Result]) -> Result:
    """Return the result of `check`; its error gets the prefix `what`."""
    try:
        return check()
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
