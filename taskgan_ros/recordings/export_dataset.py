"""`taskgan export-dataset`: a dataset as a LeRobotDataset v3 (parquet, MP4 and JSON), which other tools read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.config import expand_home
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_outputs, make_folder
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.data.dataset import Dataset, load_dataset
from taskgan_ros.recordings.lerobot import STATE

IMAGE_KEY: Final = "observation.images.camera"
_DATA: Final = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO: Final = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_FIRST: Final = {"chunk_index": 0, "file_index": 0}  # everything goes into one file of each kind
_VERSION: Final = "v3.0"
_SLOWEST, _FASTEST = 0.001, 1000.0  # images a second; the video's rate is a fraction of thousandths at most
_QUALITY: Final = "18"  # x264's crf: an arm's edges survive; 23 is its default
_KEY_FRAMES: Final = 2  # as LeRobot writes: any image is decoded from at most one before it
_STATISTICS_IMAGES: Final = 500  # of which the images' statistics are made


@dataclass(frozen=True)
class ExportDatasetConfig:
    """Write a dataset as a LeRobotDataset v3."""

    dataset: tyro.conf.Positional[Path]
    """The HDF5 file, collected or imported."""
    out: Path
    """The folder to write; must not exist."""
    fps: float = 10.0
    """The dataset's images per second: 1 / step_s of its scene if collected, or the recording's rate."""
    instruction: str = ""
    """What the arm does, in words, as LeRobot's policies read it; the dataset's task if left out."""


def export_dataset(config: ExportDatasetConfig) -> None:
    """Write the dataset, whole or not at all; joint angles as `observation.state` in rad, labels as `action`.

    Raises:
        InputError: no dataset, an invalid rate, or an output that exists or cannot be written.
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP; nothing is left.
    """
    out = expand_home(config.out)
    check_outputs([out])
    _check(config)
    dataset = load_dataset(expand_home(config.dataset))
    with interrupts.deferred(), _whole_folder(out) as folder:
        _write_video(folder / _VIDEO.format(video_key=IMAGE_KEY, **_FIRST), dataset, config.fps)
        _write_rows(folder / _DATA.format(**_FIRST), dataset, config.fps)
        _write_meta(folder / "meta", dataset, config)
    print_line(f"{out}: LeRobotDataset {_VERSION}, {len(dataset)} images in {dataset.info.episodes} episodes")


def _check(config: ExportDatasetConfig) -> None:
    if not _SLOWEST <= config.fps <= _FASTEST:
        raise InputError(f"--fps: expected a rate of {_SLOWEST:g} to {_FASTEST:g}, got {config.fps}")
    try:
        config.instruction.encode()
    except UnicodeEncodeError as error:  # the command line's bytes may not be text
        raise InputError(f"--instruction: expected text in UTF-8, got {config.instruction!r}") from error


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` that takes its place once the block is done."""
    make_folder(out.parent)
    try:
        with tempfile.TemporaryDirectory(prefix=".taskgan-", dir=out.parent, ignore_cleanup_errors=True) as fresh:
            partial = Path(fresh) / "whole"
            partial.mkdir()  # with the user's own permissions, which `fresh` lacks
            yield partial
            partial.rename(out)
    except (OSError, av.error.FFmpegError, pa.ArrowException) as error:
        raise InputError(f"{out}: expected to write a LeRobotDataset there, got: {error}") from error


def _write_video(path: Path, dataset: Dataset, fps: float) -> None:
    path.parent.mkdir(parents=True)
    rate = Fraction(fps).limit_denominator(1000)
    with av.open(str(path), "w") as container, progress_bar("video", len(dataset), "images") as advance:
        stream = container.add_stream("libx264", rate, {"crf": _QUALITY, "g": str(_KEY_FRAMES)})
        stream.height, stream.width, stream.pix_fmt = dataset.info.height, dataset.info.width, "yuv420p"
        stream.time_base = 1 / rate
        for k, image in enumerate(dataset.images):
            interrupts.check()
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = k, 1 / rate
            container.mux(stream.encode(frame))
            advance(1)
        container.mux(stream.encode())


def _write_rows(path: Path, dataset: Dataset, fps: float) -> None:
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(_columns(dataset, fps)), path)


def _columns(dataset: Dataset, fps: float) -> dict[str, pa.Array]:
    """Return the columns, with one row per image."""
    index = np.arange(len(dataset), dtype=np.int64)
    in_episode = np.concatenate([np.arange(length) for length in _lengths(dataset)])
    return {
        STATE: _lists(dataset.joint_pos),
        "action": _lists(dataset.actions),
        "timestamp": pa.array((in_episode / fps).astype(np.float32)),
        "frame_index": pa.array(in_episode.astype(np.int64)),
        "episode_index": pa.array(dataset.episode),
        "index": pa.array(index),
        "task_index": pa.array(np.zeros_like(index)),
    }


def _lists(values: NDArray[np.float32]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _lengths(dataset: Dataset) -> NDArray[np.int64]:
    return np.bincount(dataset.episode).astype(np.int64)


def _write_meta(folder: Path, dataset: Dataset, config: ExportDatasetConfig) -> None:
    instruction = config.instruction or dataset.info.task.replace("_", " ")
    (folder / "episodes" / "chunk-000").mkdir(parents=True)
    tasks = pa.table({"task_index": pa.array([0]), "__index_level_0__": pa.array([instruction])})
    # LeRobot reads this with pandas, whose index is the instruction.
    kinds = (("task_index", "int64", "int64"), ("__index_level_0__", "unicode", "object"))
    keys = ("name", "field_name", "pandas_type", "numpy_type")
    columns = [dict(zip(keys, (kind[0], *kind), strict=True)) | {"metadata": None} for kind in kinds]
    pandas = {"index_columns": ["__index_level_0__"], "column_indexes": [], "columns": columns, "pandas_version": "2.2"}
    pq.write_table(tasks.replace_schema_metadata({"pandas": json.dumps(pandas)}), folder / "tasks.parquet")
    rows = _episode_rows(dataset, config.fps, instruction)
    pq.write_table(pa.Table.from_pylist(rows), folder / "episodes" / "chunk-000" / "file-000.parquet")
    _write_json(folder / "info.json", _info(dataset, config.fps))
    _write_json(folder / "stats.json", _statistics(dataset, slice(None), config.fps))


def _write_json(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=4) + "\n", encoding="utf-8")


def _episode_rows(dataset: Dataset, fps: float, instruction: str) -> list[dict[str, Any]]:
    rows, start = [], 0
    for index, length in enumerate(_lengths(dataset).tolist()):
        video = f"videos/{IMAGE_KEY}"
        statistics = _statistics(dataset, slice(start, start + length), fps)
        rows.append({
            "episode_index": index, "tasks": [instruction], "length": length,
            **{f"data/{name}": value for name, value in _FIRST.items()},
            "dataset_from_index": start, "dataset_to_index": start + length,
            **{f"{video}/{name}": value for name, value in _FIRST.items()},
            f"{video}/from_timestamp": start / fps, f"{video}/to_timestamp": (start + length) / fps,
            **{f"meta/episodes/{name}": value for name, value in _FIRST.items()},
            **{f"stats/{key}/{name}": value for key, one in statistics.items() for name, value in one.items()},
        })  # fmt: skip
        start += length
    return rows


def _info(dataset: Dataset, fps: float) -> dict[str, Any]:
    info = dataset.info
    video = {"video.height": info.height, "video.width": info.width, "video.codec": "h264", "video.pix_fmt": "yuv420p",
             "video.is_depth_map": False, "video.fps": fps, "video.channels": 3, "has_audio": False}  # fmt: skip
    image = {"dtype": "video", "shape": [info.height, info.width, 3], "names": ["height", "width", "channels"]}
    scalars = {
        "timestamp": "float32",
        **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64"),
    }
    return {
        "codebase_version": _VERSION,
        "robot_type": Path(info.arm).stem,
        "total_episodes": info.episodes,
        "total_frames": info.images,
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": int(fps) if float(fps).is_integer() else fps,
        "splits": {"train": f"0:{info.episodes}"},
        "data_path": _DATA,
        "video_path": _VIDEO,
        "features": {
            STATE: _vector(info.joint_names),
            "action": _vector(info.action_names),
            IMAGE_KEY: {**image, "info": video},
            **{name: {"dtype": kind, "shape": [1], "names": None} for name, kind in scalars.items()},
        },
        "taskgan_ros": {"scene": info.scene, "domain": info.domain, "action_units": info.units, "state_units": "rad"},
    }


def _vector(names: tuple[str, ...]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(names)], "names": list(names)}


def _statistics(dataset: Dataset, rows: slice, fps: float) -> dict[str, dict[str, Any]]:
    """Return LeRobot's statistics: minimum, maximum, mean and standard deviation of each value and colour."""
    columns = _columns(dataset, fps)
    names = ("timestamp", "frame_index", "episode_index", "index", "task_index")
    values = {STATE: dataset.joint_pos[rows], "action": dataset.actions[rows]}
    values |= {name: columns[name].to_numpy()[rows, None] for name in names}
    statistics = {name: _summary(value.astype(np.float64), len(value)) for name, value in values.items()}
    images = dataset.images[rows]
    some = images[:: -(-len(images) // _STATISTICS_IMAGES)].reshape(-1, 3) / 255.0
    shaped = _summary(some, len(images))
    statistics[IMAGE_KEY] = {
        name: value if name == "count" else [[[one]] for one in value] for name, value in shaped.items()
    }
    return statistics


def _summary(values: NDArray[np.float64], count: int) -> dict[str, Any]:
    found = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    return {**{name: value.tolist() for name, value in found.items()}, "count": [count]}
