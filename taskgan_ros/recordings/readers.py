"""Which reader a path is for."""

from __future__ import annotations

from pathlib import Path

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.read_options import BAG_SUFFIXES, ReadOptions
from taskgan_ros.recordings.source import Source


def read_sources(path: Path, options: ReadOptions) -> list[Source]:
    """Return the recordings at `path`, in order: a bag, a LeRobotDataset's episodes, or a folder of images.

    Raises:
        InputError: nothing there, or nothing that is a recording.
    """
    # Imported here, as each format needs packages of its own.
    if (path.suffix in BAG_SUFFIXES and path.is_file()) or is_bag_folder(path):
        from taskgan_ros.recordings.bag import read_bag

        return [read_bag(path, options)]
    if (path / "meta" / "info.json").is_file():
        from taskgan_ros.recordings.lerobot import read_lerobot

        return read_lerobot(path, options)
    if path.is_dir() or path.suffix in (".csv", ".json"):
        from taskgan_ros.recordings.folder import read_folder

        return [read_folder(path, options)]
    got = "another file" if path.exists() else "nothing there"
    raise InputError(
        f"{path}: expected a bag ({', '.join(BAG_SUFFIXES)} or a folder of them), a LeRobotDataset, or a folder of "
        f"images with a CSV or JSON of joint angles, got {got}"
    )


def is_bag_folder(path: Path) -> bool:
    """Return whether this is a rosbag2's folder, with its metadata or without."""
    return path.is_dir() and any(file.suffix in BAG_SUFFIXES or file.name == "metadata.yaml" for file in path.iterdir())
