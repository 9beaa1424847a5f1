"""A LeRobotDataset, v2.1 or v3, as recordings: one an episode."""

from __future__ import annotations

from pathlib import Path

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.read_options import ReadOptions
from taskgan_ros.recordings.source import Source


def read_lerobot(path: Path, options: ReadOptions) -> list[Source]:
    """Return the episodes of a dataset."""
    raise InputError(f"{path}: not yet")
