"""A LeRobotDataset, v2 or v3, as recordings: one per episode, from parquet and video."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_fetched
from taskgan_ros.recordings.read_options import ReadOptions
from taskgan_ros.recordings.source import JointTracks, Shot, Source
from taskgan_ros.vision.compressed import read_compressed
from taskgan_ros.vision.images import Image

STATE: Final = "observation.state"
VERSIONS: Final = ("v2.0", "v2.1", "v3.0")
_IMAGES: Final = ("video", "image")  # a feature's dtype
_POSITION: Final = ".pos"  # what LeRobot's newer names of joints end with
_SHOWN: Final = 6  # of the episodes that are there, in an error


@dataclass(frozen=True)
class _Episode:
    """Where an episode is.

    Attributes:
        data: the parquet file that has its rows, among others in v3.
        video: the file of its images, None where they are in `data`.
        start_s: s in the video, when it starts.
    """

    index: int
    data: Path
    video: Path | None
    start_s: float

    @property
    def files(self) -> list[Path]:
        return [self.data, *([self.video] if self.video else [])]


def read_lerobot(path: Path, options: ReadOptions) -> list[Source]:
    """Return the episodes of a dataset, or those that the options choose; images are read later.

    Raises:
        InputError: not a dataset of `VERSIONS`, several cameras and none chosen, an incomplete download, or a damaged
            one.
    """
    info = _info(path)
    key = _camera_key(path, info, options)
    with _readable(path / "meta", f"what describes a LeRobotDataset {info['codebase_version']}"):
        has_video = info["features"][key]["dtype"] == "video"
        find = _episodes_v3 if info["codebase_version"].startswith("v3") else _episodes_v2
        found = find(path, info, key if has_video else None)
    return [_read_episode(path, episode, info, key) for episode in _chosen(path, found, options)]


@contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    """Report in one line what a damaged file lacks, whichever error Python raises for it."""
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: expected {what}, got one that does not fit ({cause})") from error


def _info(path: Path) -> dict[str, Any]:
    file = path / "meta" / "info.json"
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
        version = info["codebase_version"]
        rate, features = float(info["fps"]), {STATE: info["features"][STATE], **info["features"]}
        _ = info["data_path"]
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(f"{file}: expected the description of a LeRobotDataset with {STATE}, got {error!r}") from error
    if version not in VERSIONS:
        raise InputError(f"{file}: expected a LeRobotDataset of {list(VERSIONS)}, got {version!r}")
    if not 0 < rate < math.inf:
        raise InputError(f"{file}: expected an fps above 0, got {rate}")
    if wrong := [name for name, feature in features.items() if not isinstance(feature, dict)]:
        raise InputError(f"{file}: expected a description of each feature, got none of {wrong}")
    return dict(info)


def _camera_key(path: Path, info: dict[str, Any], options: ReadOptions) -> str:
    keys = [key for key, feature in info["features"].items() if feature.get("dtype") in _IMAGES]
    if options.image_topic in keys:
        return str(options.image_topic)
    if options.image_topic or len(keys) != 1:
        expected = "one camera" if not options.image_topic else f"one of {keys}"
        got = options.image_topic or keys
        raise InputError(f"{path}: expected {expected}, named by --image-topic, got {got}")
    return str(keys[0])


def _episodes_v2(path: Path, info: dict[str, Any], video_key: str | None) -> list[_Episode]:
    episodes = []
    for index in range(int(info["total_episodes"])):
        names = {"episode_chunk": index // int(info.get("chunks_size", 1000)), "episode_index": index}
        video = path / info["video_path"].format(video_key=video_key, **names) if video_key else None
        episodes.append(_Episode(index, path / info["data_path"].format(**names), video, 0.0))
    return episodes


def _episodes_v3(path: Path, info: dict[str, Any], video_key: str | None) -> list[_Episode]:
    files = sorted((path / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise InputError(f"{path}: expected meta/episodes with the list of episodes, got none: an incomplete download?")
    episodes = []
    for row in (row for file in files for row in _table(file).to_pylist()):
        video, start_s = None, 0.0
        if video_key:
            at = f"videos/{video_key}"
            video = path / info["video_path"].format(video_key=video_key, **_file(row, at))
            start_s = float(row[f"{at}/from_timestamp"])
        data = path / info["data_path"].format(**_file(row, "data"))
        episodes.append(_Episode(int(row["episode_index"]), data, video, start_s))
    return episodes


def _file(row: dict[str, Any], of: str) -> dict[str, int]:
    return {name: int(row[f"{of}/{name}"]) for name in ("chunk_index", "file_index")}


def _chosen(path: Path, episodes: list[_Episode], options: ReadOptions) -> list[_Episode]:
    """Return the episodes to read.

    Raises:
        InputError: one is not in the dataset, or its files are not there.
    """
    there = [episode for episode in episodes if all(file.is_file() for file in episode.files)]
    wanted = [one for one in episodes if one.index in options.episodes] if options.episodes else episodes
    if missing := set(options.episodes) - {one.index for one in episodes}:
        raise InputError(f"{path}: expected --episodes of 0 to {len(episodes) - 1}, got {sorted(missing)}")
    lost = [one for one in wanted if one not in there]
    if lost or not wanted:
        some = " ".join(str(one.index) for one in there[:_SHOWN]) + (" …" if len(there) > _SHOWN else "")
        advice = f": --episodes {some} reads what is there" if there else ""
        raise InputError(
            f"{path}: expected the files of {len(wanted)} episodes, got those of {len(wanted) - len(lost)}, an "
            f"incomplete download{advice}"
        )
    return wanted


def _read_episode(path: Path, episode: _Episode, info: dict[str, Any], key: str) -> Source:
    name, joints = f"{path}, episode {episode.index}", JointTracks()
    stamps, positions = _tracks(episode)
    with _readable(path / "meta" / "info.json", f"names of {STATE}"):
        names = _names(info, positions.shape[1])
    for stamp_s, row in zip(stamps, positions, strict=True):
        joints.add(float(stamp_s), names, row)
    shots: Callable[[], Iterator[Shot]] = partial(_shots_of_rows, episode, key)
    if episode.video:
        shots = partial(_shots_of_video, episode.video, stamps, episode.start_s, float(info["fps"]))
    return Source(name, shots, len(stamps), joints, remarks=_remarks(stamps, float(info["fps"])))


def _tracks(episode: _Episode) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return an episode's stamps (T,) s and positions (T, n) as recorded."""
    rows = _rows(episode, ["timestamp", STATE])
    if not len(rows):
        raise InputError(f"{episode.data}: expected rows of episode {episode.index}, got none")
    with _readable(episode.data, f"a number in each timestamp, and as many in each {STATE}"):
        stamps = np.array(rows["timestamp"].to_pylist(), np.float64).ravel()
        positions = np.array(rows[STATE].to_pylist(), np.float64).reshape(len(stamps), -1)
    if len(wrong := np.flatnonzero(~np.isfinite(stamps))):
        at = f"row {wrong[0] + 1} of episode {episode.index}"
        raise InputError(f"{episode.data}: {at}: timestamp: expected a finite number, got {stamps[wrong[0]]}")
    return stamps, positions


def _remarks(stamps: NDArray[np.float64], fps: float) -> list[str]:
    """Return a sentence where the rows' times are not those of the video, by which LeRobot would look images up."""
    apart_s = float(np.abs(stamps - stamps[0] - np.arange(len(stamps)) / fps).max(initial=0.0))
    if apart_s <= 0.5 / fps:
        return []
    return [f"timestamps depart from {fps:g} images a second by more than half a frame: images are taken in order"]


def _names(info: dict[str, Any], count: int) -> list[str]:
    """Return the joints' names; older datasets have them in a dict by kind, or not at all."""
    names = info["features"][STATE].get("names")
    if isinstance(names, dict):
        names = [name for group in names.values() for name in group]
    if not isinstance(names, list) or len(names) != count:
        names = [f"state_{k}" for k in range(count)]
    return [str(name).removesuffix(_POSITION) for name in names]


def _table(file: Path, columns: list[str] | None = None) -> pa.Table:
    check_fetched(file)
    try:
        if columns is None:  # statistics have columns of their own by the dozen
            kept = pq.read_schema(file).names
            columns = [name for name in kept if not name.startswith("stats/")]
        return pq.read_table(file, columns=columns)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise InputError(f"{file}: expected a parquet file with {columns}, got: {error}") from error


def _rows(episode: _Episode, columns: list[str]) -> pa.Table:
    table = _table(episode.data, ["episode_index", *columns])
    return table.filter(pa.compute.equal(table["episode_index"], episode.index))


def _shots_of_rows(episode: _Episode, key: str) -> Iterator[Shot]:
    """Yield images that lie in the parquet file itself, as PNG or JPEG."""
    rows = _rows(episode, ["timestamp", key])
    for stamp_s, value in zip(rows["timestamp"].to_pylist(), rows[key], strict=True):
        with _readable(episode.data, f"images in {key}"):
            data = bytes(value.as_py()["bytes"])
        yield Shot(float(np.ravel(stamp_s)[0]), data, partial(_decode, data))


def _decode(data: bytes) -> Image:
    return read_compressed("", data).to_rgb()


def _shots_of_video(video: Path, stamps: NDArray[np.float64], start_s: float, fps: float) -> Iterator[Shot]:
    """Yield an episode's images: as many as it has rows, in order, from where it starts in the video.

    By order and not by time: LeRobot writes videos of a constant rate, whatever the rows' stamps say.
    """
    found = 0
    try:
        for frame in islice(_frames(video, start_s - 0.5 / fps), len(stamps)):
            rgb = frame.to_ndarray(format="rgb24")
            yield Shot(float(stamps[found]), rgb.tobytes(), partial(np.asarray, rgb))
            found += 1
    except av.error.FFmpegError as error:
        raise InputError(f"{video}: expected a video of {len(stamps)} images, got: {error}") from error
    if found < len(stamps):
        raise InputError(f"{video}: expected {len(stamps)} images from {start_s:g} s on, got {found}: is it whole?")


def _frames(video: Path, from_s: float) -> Iterator[av.VideoFrame]:
    check_fetched(video)
    with av.open(str(video)) as container:
        if not container.streams.video:
            raise InputError(f"{video}: expected a video, got a file without images")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if from_s > 0 and stream.time_base:
            container.seek(int(from_s / stream.time_base), stream=stream)  # to the key frame before
        for frame in container.decode(stream):
            if frame.time is not None and frame.time >= from_s:
                yield frame
