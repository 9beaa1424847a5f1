"""A recording cut in two: frames to train on, and frames that nothing ever sees before the end."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import Dataset, DatasetInfo, EpisodeRecord, open_writer

_FEWEST_EPISODES = 5  # with fewer, a share of them says little: stretches of time are held out
_STRETCHES = 10
LEAST_IMAGES = 4


def hold_out(data: Dataset, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each image which part of a recording it is in (N,), and which parts to hold out.

    Parts are episodes, or stretches of time where there are fewer than five episodes: neighbouring frames are alike, so
    frames held out one by one would be near-copies of training frames.

    Raises:
        InputError: fewer than 4 images.
    """
    if len(data) < LEAST_IMAGES:
        raise InputError(f"expected a recording of at least {LEAST_IMAGES} images, got {len(data)}")
    parts = np.unique(data.episode, return_inverse=True)[1].astype(np.int64)
    if parts[-1] + 1 < _FEWEST_EPISODES:
        parts = np.arange(len(data)) * min(_STRETCHES, len(data)) // len(data)
    names = np.unique(parts)
    count = min(max(1, round(share * len(names))), len(names) - 1)
    return parts, np.sort(np.random.default_rng(seed).choice(names, count, replace=False))


def write_part(path: Path, data: Dataset, parts: NDArray[np.int64], wanted: NDArray[np.int64]) -> DatasetInfo:
    """Write a dataset of the `wanted` ones of `parts` (N,), each an episode, and return its attributes.

    Raises:
        InputError: it cannot be written.
    """
    rows = [np.flatnonzero(parts == part) for part in wanted]
    info = dataclasses.replace(data.info, images=sum(map(len, rows)), episodes=len(rows))
    with open_writer(path, info) as writer:
        for k, row in enumerate(rows):
            paired = None if data.paired is None else data.paired[row]
            writer.add(k, EpisodeRecord(data.images[row], data.actions[row], data.joint_pos[row], paired))
    return info
