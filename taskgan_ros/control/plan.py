"""Where the arm was and will be sent: motions, each taking over from the one before, as one motion over time."""

from __future__ import annotations

import dataclasses
from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.control.motion import Motion

Array = NDArray[np.float64]

_REMEMBERED_S = 30.0  # longer than any joint state in use is old


class Plan:
    """Positions and velocities of n joints over time, as far as they were sent. All times are s of one steady clock."""

    def __init__(self, now_s: float, pose: Array) -> None:
        """Rest at `pose` (n,) rad, now and at all earlier times."""
        zero = np.zeros((2, len(pose)))
        self._motions = deque([(now_s, Motion(pose, np.zeros(2), zero))])

    def extend(self, start_s: float, motion: Motion) -> None:
        """Let `motion` take over at `start_s`, in place of all that was planned from then on."""
        while len(self._motions) > 1 and self._motions[-1][0] >= start_s:
            self._motions.pop()
        self._motions.append((start_s, motion))
        while len(self._motions) > 2 and self._motions[1][0] < start_s - _REMEMBERED_S:
            self._motions.popleft()

    def at(self, times_s: ArrayLike) -> tuple[Array, Array]:
        """Return the positions (..., n) rad and velocities (..., n) rad/s at `times_s` (...)."""
        times = np.asarray(times_s, np.float64)
        starts = np.array([start_s for start_s, _ in self._motions])
        index = np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)
        shape = (*times.shape, len(self._motions[0][1].start))
        positions, velocities = np.empty(shape), np.empty(shape)
        for k in np.unique(index):
            start_s, motion = self._motions[k]
            positions[index == k], velocities[index == k] = motion.at(times[index == k] - start_s)
        return positions, velocities

    def extremes(self, first_s: float, last_s: float) -> Array:
        """Return positions (E, n) rad with each joint's extremes between two times; the last is that at the end.

        Args:
            first_s: s, on the plan's clock.
            last_s: s, not before.
        """
        found, until_s = [], last_s
        for start_s, motion in reversed(self._motions):
            if start_s <= until_s:
                found.append(motion.extremes(max(first_s - start_s, 0.0), until_s - start_s))
                until_s = start_s
            if start_s <= first_s:
                break
        return np.vstack(found[::-1] or [self.at(last_s)[0]])

    def shift(self, offset: Array) -> None:
        """Move all of it by `offset` (n,) rad."""
        moved = [
            (start_s, dataclasses.replace(motion, start=motion.start + offset)) for start_s, motion in self._motions
        ]
        self._motions = deque(moved)

    @property
    def end_s(self) -> float:
        """When the arm comes to rest."""
        start_s, motion = self._motions[-1]
        return start_s + motion.lasts_s
