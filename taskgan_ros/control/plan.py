"""Where the arm was and will be sent: motions, each taking over from the one before, as one motion over time."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.control.motion import Motion

Array = NDArray[np.float64]

_REMEMBERED_S = 30.0  # longer than any joint state in use is old


class Plan:
    """Positions and velocities of n joints over time, as far as they were sent. All times are s of one steady clock.

    It has hundreds of motions, and every joint state asks for a position: what is asked costs by what it spans.
    """

    def __init__(self, now_s: float, pose: Array) -> None:
        """Rest at `pose` (n,) rad, now and at all earlier times."""
        self._starts_s = [now_s]  # of each motion, none before the one before it
        self._motions = [Motion(pose, np.zeros(2), np.zeros((2, len(pose))))]
        self._offset = np.zeros(len(pose))  # of all of them

    def extend(self, start_s: float, motion: Motion) -> None:
        """Let `motion` take over at `start_s`, in place of all that was planned from then on."""
        while len(self._motions) > 1 and self._starts_s[-1] >= start_s:
            del self._starts_s[-1], self._motions[-1]
        self._starts_s.append(start_s)
        self._motions.append(dataclasses.replace(motion, start=motion.start - self._offset))
        while len(self._motions) > 2 and self._starts_s[1] < start_s - _REMEMBERED_S:
            del self._starts_s[0], self._motions[0]

    def at(self, times_s: ArrayLike) -> tuple[Array, Array]:
        """Return the positions (..., n) rad and velocities (..., n) rad/s at `times_s` (...)."""
        times = np.asarray(times_s, np.float64)
        first, last = (self._index(float(end_s)) for end_s in (times.min(), times.max()))
        if first == last:
            positions, velocities = self._motions[first].at(times - self._starts_s[first])
            return positions + self._offset, velocities
        index = first + np.searchsorted(self._starts_s[first + 1 : last + 1], times, side="right")
        positions, velocities = np.empty((*times.shape, len(self._offset))), np.empty((*times.shape, len(self._offset)))
        for k in range(first, last + 1):
            chosen = index == k
            positions[chosen], velocities[chosen] = self._motions[k].at(times[chosen] - self._starts_s[k])
        return positions + self._offset, velocities

    def extremes(self, first_s: float, last_s: float) -> Array:
        """Return positions (E, n) rad with each joint's extremes between two times; the last is that at the end.

        Args:
            first_s: s, on the plan's clock.
            last_s: s, not before.
        """
        found, until_s = [], last_s
        for start_s, motion in zip(reversed(self._starts_s), reversed(self._motions), strict=True):
            if start_s <= until_s:
                found.append(motion.extremes(max(first_s - start_s, 0.0), until_s - start_s))
                until_s = start_s
            if start_s <= first_s:
                break
        return np.vstack(found[::-1]) + self._offset if found else self.at([last_s])[0]

    def shift(self, offset: Array) -> None:
        """Move all of it by `offset` (n,) rad."""
        self._offset = self._offset + offset

    @property
    def end_s(self) -> float:
        """When the arm comes to rest."""
        return self._starts_s[-1] + self._motions[-1].lasts_s

    def _index(self, time_s: float) -> int:
        """Return which motion is under way."""
        return max(bisect_right(self._starts_s, time_s) - 1, 0)
