"""A dataset: one HDF5 file, one group per episode, in robomimic's layout (`data/demo_k/obs/image`, `.../actions`)."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.config import build
from taskgan_ros.core.errors import InputError, OutputExistsError
from taskgan_ros.core.files import check_free, lock
from taskgan_ros.core.schema import Field, SchemaError, check
from taskgan_ros.robot.units import LARGEST_SPEED, UNITS

FORMAT = 1
_LISTS = ("joint_names", "action_names")
_OPTIONAL = "recording"  # of the attributes; older files lack it
LEAST_PX = 24  # a side; with less, the discriminator's last norm would see a single value
SIDE_PX = 8  # a side must be a multiple of this, the largest stride of the shipped recipes' generators
_LARGEST_LABEL = LARGEST_SPEED  # rad/s, or rad: angles stay within a few turns of the arm file's zeros
_UNFINISHED = "unfinished"  # the episode that is being written
_SPARE_BYTES = 2**20  # for HDF5's own tables
_COMPRESSION = "lzf"  # a plain render shrinks five times and reads back at memory speed; robomimic reads it too

Count = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset holds, as the file's attributes.

    Attributes:
        task: `joint_velocities`, `joint_angles`, or `joint_goals`: the angles at which the tip is on its goal.
        units: of the actions, `rad/s` or `rad`.
        arm, scene, domain: names or paths as given.
        paired_domain: the domain of `obs/image_paired`, "" where there is none.
        joint_names: of all n joints, the order of `joint_pos`.
        action_names: of the J joints that an action is for.
        height, width: of the images in pixels.
        seed: the run's seed.
        images, episodes: how many.
        recording: which recording the images are of, by the content of its files; "" where they are simulated. Old
            files lack it.
    """

    task: str
    units: str
    arm: str
    scene: str
    domain: str
    paired_domain: str
    joint_names: tuple[str, ...]
    action_names: tuple[str, ...]
    height: Count
    width: Count
    seed: int
    images: Count
    episodes: Count
    recording: str = ""

    def indices(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Return the indices (J,) of joints among the n.

        Raises:
            ValueError: a name is not of `joint_names`.
        """
        return np.array([self.joint_names.index(name) for name in names], np.intp)


class ImageRows(Protocol):
    """Images (T, H, W, 3) uint8: an array, or what reads them from a disk one by one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, H, W, 3)."""

    @property
    def nbytes(self) -> int:
        """Of all of them."""

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """Return one (H, W, 3)."""


@dataclass(frozen=True)
class EpisodeRecord:
    """One recorded episode of T images.

    Attributes:
        images: (T, H, W, 3) uint8 RGB.
        actions: (T, J) float32 in the dataset's units.
        joint_pos: (T, n) float32 rad.
        paired: (T, H, W, 3) uint8, the same states in the paired domain, or None.
    """

    images: NDArray[np.uint8] | ImageRows
    actions: NDArray[np.float32]
    joint_pos: NDArray[np.float32]
    paired: NDArray[np.uint8] | ImageRows | None = None


@dataclass(frozen=True)
class Dataset:
    """A whole dataset in memory: N images of all episodes in order.

    Attributes:
        info: the file's attributes.
        images: (N, H, W, 3) uint8 RGB.
        actions: (N, J) float32.
        joint_pos: (N, n) float32 rad.
        episode: (N,) which episode each image is of, from 0.
        paired: (N, H, W, 3) uint8 or None.
    """

    info: DatasetInfo
    images: NDArray[np.uint8]
    actions: NDArray[np.float32]
    joint_pos: NDArray[np.float32]
    episode: NDArray[np.int64]
    paired: NDArray[np.uint8] | None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def split_by_episode(self, validation_share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows (indices of images) to train and to validate on, which share no episode; each gets one.

        Raises:
            InputError: fewer than two episodes.
        """
        episodes = np.unique(self.episode)
        if len(episodes) < 2:
            raise InputError(f"{self.info.domain}: expected at least 2 episodes to split, got {len(episodes)}")
        count = min(max(1, round(validation_share * len(episodes))), len(episodes) - 1)
        held_out = np.isin(self.episode, np.random.default_rng(seed).choice(episodes, count, replace=False))
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def partial_path(out: Path) -> Path:
    """Return where a dataset grows before it is whole."""
    return out.with_name(f".{out.name}.partial")


@contextmanager
def open_writer(out: Path, info: DatasetInfo, resume: bool = False, keep: bool = True) -> Iterator[DatasetWriter]:
    """Write a dataset that appears at `out` whole or not at all.

    Where the block fails or is interrupted, the episodes done stay in a partial file beside `out`, which `resume` goes
    on with, and a note on the error says so. Without a whole episode, or without `keep`, nothing stays.

    Raises:
        OutputExistsError: `out` exists.
        InputError: `out` cannot be written, the disk is full, another process writes `out`, or a partial file is there
            that must not be lost: no `resume`, or another dataset's.
    """
    check_free(out)
    partial = partial_path(out)
    with _lock(partial, out):
        file = _open_partial(partial, info, resume)
        writer = DatasetWriter(file, info)
        try:
            with file:
                yield writer
            partial.replace(out)
        except BaseException as error:
            if writer.done and keep:
                kept = f"{len(writer.done)} of {info.episodes} episodes are kept in {partial}"
                error.add_note(f"{kept}: go on with --resume")
            else:
                partial.unlink()
            raise


def _lock(partial: Path, out: Path) -> BinaryIO:
    """Return the partial file, made empty where there is none and locked for us alone until it is closed."""
    busy = f"{out}: expected no other command that writes it, but one is running and holds {partial}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        file = lock(partial)
    except BlockingIOError as error:
        raise InputError(busy) from error
    except OSError as error:
        raise InputError(f"{out}: expected a place to write a dataset to, got: {error}") from error
    if out.exists():  # the other command finished after we looked
        raise OutputExistsError(out)
    if not partial.exists() or not os.path.samestat(partial.stat(), os.fstat(file.fileno())):
        raise InputError(busy)  # or it has failed between our two lines
    return file


def _open_partial(partial: Path, info: DatasetInfo, resume: bool) -> h5py.File:
    """Return the file of a new dataset, or the one to go on with; without HDF5's lock, for we hold our own."""
    if not partial.stat().st_size:
        return h5py.File(partial, "w", locking=False)
    if not resume:
        raise InputError(f"{partial}: expected no interrupted dataset, got one: go on with --resume, or remove it")
    file = _open(partial, "r+", locking=False)
    try:
        _check_partial(file, partial, info)
    except BaseException:
        file.close()
        raise
    return file


def _check_partial(file: h5py.File, partial: Path, info: DatasetInfo) -> None:
    found = _read_info(file, partial)
    for field in fields(info):
        expected, actual = getattr(info, field.name), getattr(found, field.name)
        if expected != actual:
            raise InputError(
                f"{partial}: expected a partial dataset with {field.name} {expected!r} to go on with, got {actual!r}"
            )


class DatasetWriter:
    """Adds episodes to an open file; `done` says which are there."""

    def __init__(self, file: h5py.File, info: DatasetInfo) -> None:
        """Start the file, or go on with one of the same dataset."""
        self._file = file
        if "data" not in file:
            group = file.create_group("data")
            group.attrs["format"] = FORMAT
            for field in fields(info):
                if field.name != _OPTIONAL or info.recording:
                    group.attrs[field.name] = getattr(info, field.name)
        elif _UNFINISHED in file["data"]:
            del file["data"][_UNFINISHED]
        self._done = set(_episodes(file, Path(file.filename)))

    @property
    def done(self) -> set[int]:
        """Indices of the episodes already written; also once the file is closed."""
        return self._done

    def add(self, index: int, record: EpisodeRecord) -> None:
        """Write episode `index`.

        Raises:
            InputError: the disk is full.
        """
        pictures = {
            "obs/image": record.images,
            **({"obs/image_paired": record.paired} if record.paired is not None else {}),
        }
        numbers = {"actions": record.actions, "obs/joint_pos": record.joint_pos}
        sizes = [values.nbytes for values in (*pictures.values(), *numbers.values())]
        _check_room(Path(self._file.filename), sum(sizes))
        demo = self._file["data"].create_group(_UNFINISHED)
        demo.attrs["num_samples"] = record.images.shape[0]
        for name, values in numbers.items():
            demo.create_dataset(name, data=values)
        for name, images in pictures.items():
            chunks = (1, *images.shape[1:])
            rows = demo.create_dataset(name, images.shape, "uint8", chunks=chunks, compression=_COMPRESSION)
            for k in range(images.shape[0]):  # one in memory at a time, where they come from a disk
                rows[k] = images[k]
        self._file["data"].move(_UNFINISHED, f"demo_{index}")  # an interrupt leaves no half episode that looks whole
        self._file.flush()
        self._done.add(index)


def _check_room(file: Path, size: int) -> None:
    """Refuse to write `size` bytes to a disk without room: after a failed write HDF5 cannot close, it crashes."""
    try:
        with tempfile.TemporaryFile(dir=file.parent) as room:
            os.posix_fallocate(room.fileno(), 0, size + _SPARE_BYTES)
    except OSError as error:
        raise InputError(
            f"{file.parent}: expected room for {(size + _SPARE_BYTES) / 1e6:.1f} MB more of the dataset, got: "
            f"{error.strerror}"
        ) from error


def read_info(path: Path) -> DatasetInfo:
    """Return a dataset's attributes without reading its images.

    Raises:
        InputError: missing, truncated, or no dataset of ours.
    """
    with _reading(path) as file:
        return _read_info(file, path)


def load_dataset(path: Path) -> Dataset:
    """Read a dataset into memory, checking every episode.

    Raises:
        InputError: missing, truncated, or not what its attributes say; the message names the episode and field.
    """
    with _reading(path) as file:
        info = _read_info(file, path)
        names = [f"demo_{index}" for index in _episodes(file, path)]
        if len(names) != info.episodes:
            raise InputError(f"{path}: expected {info.episodes} episodes, got {len(names)}: the file is not whole")
        return _read_all(file, info, names, path)


def read_joint_pos(path: Path) -> NDArray[np.float32]:
    """Return a dataset's joint positions (N, n) rad without its images, in the order of `load_dataset`.

    Raises:
        InputError: missing, truncated, or not what its attributes say.
    """
    with _reading(path) as file:
        info = _read_info(file, path)
        demos = [file[f"data/demo_{index}"] for index in _episodes(file, path)]
        for demo in demos:
            _check_episode(demo, info, f"{path}: {demo.name}")
        return np.concatenate([demo["obs/joint_pos"][:] for demo in demos])


def _read_all(file: h5py.File, info: DatasetInfo, names: list[str], path: Path) -> Dataset:
    """Fill arrays of the whole size episode by episode: the images are in memory once, never twice."""
    lengths = [_check_episode(file["data"][name], info, f"{path}: {name}") for name in names]
    if sum(lengths) != info.images:
        raise InputError(f"{path}: expected {info.images} images, got {sum(lengths)}: the file is not whole")
    image_shape = (info.images, info.height, info.width, 3)
    images = np.empty(image_shape, np.uint8)
    paired = np.empty(image_shape, np.uint8) if info.paired_domain else None
    actions = np.empty((info.images, len(info.action_names)), np.float32)
    joint_pos = np.empty((info.images, len(info.joint_names)), np.float32)
    episode = np.empty(info.images, np.int64)
    start = 0
    for index, name in enumerate(names):
        record = _read_episode(file["data"][name], info, f"{path}: {name}")
        rows = slice(start, start := start + len(record.actions))
        actions[rows], joint_pos[rows], episode[rows] = record.actions, record.joint_pos, index
        images[rows] = np.asarray(record.images)
        if paired is not None and record.paired is not None:
            paired[rows] = np.asarray(record.paired)
    return Dataset(info, images, actions, joint_pos, episode, paired)


def check_compatible(first: DatasetInfo, second: DatasetInfo) -> None:
    """Refuse two datasets that cannot train one model together.

    Raises:
        InputError: the first field that differs, with both values.
    """
    for name in ("task", "units", "arm", "scene", "joint_names", "action_names", "height", "width"):
        expected, actual = getattr(first, name), getattr(second, name)
        if expected != actual:
            raise InputError(
                f"datasets do not fit: expected {name} {expected!r} as in {first.domain}, "
                f"got {actual!r} in {second.domain}"
            )


def _open(path: Path, mode: str = "r", locking: bool | None = None) -> h5py.File:
    if not path.is_file():
        raise InputError(f"{path}: expected a dataset file, got none")
    try:
        return h5py.File(path, mode, locking=locking)
    except BlockingIOError as error:
        raise InputError(f"{path}: expected no other program to be writing it, but one holds its lock") from error
    except OSError as error:
        raise InputError(f"{path}: expected a whole HDF5 file, got a truncated or other one: {error}") from error


@contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    """Open a file that other tools may have made; what h5py cannot read of it is an `InputError`."""
    with _open(path) as file:
        try:
            yield file
        except InputError:
            raise
        except MemoryError as error:
            raise InputError(f"{path}: expected a dataset that fits into memory, got: {error}") from error
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            cause = " ".join(str(error).split())
            raise InputError(f"{path}: expected a whole HDF5 file, got a damaged one: {cause}") from error


def _read_info(file: h5py.File, path: Path) -> DatasetInfo:
    attributes = file["data"].attrs if isinstance(file.get("data"), h5py.Group) else {}
    found = _one(_items(attributes["format"])) if "format" in attributes else None
    if found != FORMAT:
        raise InputError(f"{path}: expected a taskgan_ros dataset of format {FORMAT}, got {found!r}")
    values: dict[str, Any] = {}
    for field in fields(DatasetInfo):
        if field.name not in attributes:
            if field.name == _OPTIONAL:
                continue
            raise InputError(f"{path}: expected the attribute {field.name}, got none")
        items = _items(attributes[field.name])
        values[field.name] = items if field.name in _LISTS else _one(items)
    try:
        info = build(DatasetInfo, values, f"{path}: data")
    except InputError as error:  # one line per fault, and a list of numbers instead of names has many
        raise InputError(str(error).splitlines()[0]) from error
    _check_info(info, path)
    return info


def _check_info(info: DatasetInfo, path: Path) -> None:
    """Refuse attributes that are valid one by one but not together."""
    if info.task not in UNITS:
        raise InputError(f"{path}: expected a task that is one of {list(UNITS)}, got {info.task!r}")
    if info.units != UNITS[info.task]:
        raise InputError(f"{path}: expected units of {UNITS[info.task]} for {info.task}, got {info.units!r}")
    for name in _LISTS:
        names = getattr(info, name)
        if len(set(names)) < len(names):
            raise InputError(f"{path}: expected {name} that differ, got {list(names)}")
    if not info.action_names or not set(info.action_names) <= set(info.joint_names):
        names = list(info.joint_names)
        raise InputError(f"{path}: expected action_names from {names}, got {list(info.action_names)}")


def _items(value: Any) -> list[Any]:
    """Return what an attribute holds; a tool may write fixed-length or empty strings, and an array for one value."""
    if isinstance(value, h5py.Empty):
        return ["" if value.dtype.kind in "OSU" else None]
    return [item.rstrip(b" ") if isinstance(item, bytes) else item for item in np.ravel(value).tolist()]


def _one(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else items


def _episodes(file: h5py.File, path: Path) -> list[int]:
    """Return the indices of the episodes in order, refusing whatever else there is."""
    foreign = [name for name in file["data"] if not re.fullmatch("demo_(0|[1-9][0-9]*)", name)]
    if foreign:
        raise InputError(f"{path}: data: expected episodes demo_0, demo_1 and so on, got {foreign}")
    return sorted(int(name.removeprefix("demo_")) for name in file["data"])


def _check_episode(demo: h5py.Group, info: DatasetInfo, origin: str) -> int:
    """Return how many images an episode has, refusing one that is not what the attributes say; reads none of them."""
    found = _one(_items(demo.attrs["num_samples"]))
    try:
        length = check(Count, found)
    except SchemaError as error:
        raise InputError(f"{origin}: expected num_samples of 1 or more, got {found!r}") from error
    image_shape = (length, info.height, info.width, 3)
    for name in ("obs/image", "obs/image_paired") if info.paired_domain else ("obs/image",):
        _check_array(demo[name], name, image_shape, "uint8", origin)
    _check_array(demo["actions"], "actions", (length, len(info.action_names)), "float32", origin)
    _check_array(demo["obs/joint_pos"], "obs/joint_pos", (length, len(info.joint_names)), "float32", origin)
    return length


def _check_array(found: Any, name: str, shape: tuple[int, ...], dtype: str, origin: str) -> None:
    """Refuse another shape or type; floats may be of any width."""
    expected = f"{origin}: expected {name} {shape} {dtype}"
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{expected}, got a group")
    if found.shape != shape or not (found.dtype == dtype or found.dtype.kind == np.dtype(dtype).kind == "f"):
        raise InputError(f"{expected}, got {found.shape} {found.dtype}")


def _read_episode(demo: h5py.Group, info: DatasetInfo, origin: str) -> EpisodeRecord:
    with np.errstate(over="ignore"):  # overflow gives infinity, which is refused below
        actions, joint_pos = (demo[name][()].astype(np.float32) for name in ("actions", "obs/joint_pos"))
    paired = demo["obs/image_paired"][()] if info.paired_domain else None
    record = EpisodeRecord(demo["obs/image"][()], actions, joint_pos, paired)
    if not np.isfinite(record.actions).all() or not np.isfinite(record.joint_pos).all():
        raise InputError(f"{origin}: expected finite actions and joint_pos, got others")
    largest = float(np.abs(record.actions).max())
    if largest > _LARGEST_LABEL:
        expected = f"actions of at most {_LARGEST_LABEL:g} {info.units} in magnitude, not degrees"
        raise InputError(f"{origin}: expected {expected}, got {largest:.3g}")
    return record
