"""Tells joint states that an arm can have moved to since the last from discontinuities. No clock is read here."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.robot.angles import angle_difference

Array = NDArray[np.float64]

_NOISE_RAD = 0.05  # of encoders, and of messages that come in a burst
_SHORTEST_S = 1e-9  # infinite speed × zero time would be NaN
_ALTERNATES_S = 1.0  # a second publisher sends again within this time


class DiscontinuityDetector:
    """Follows one arm's joint positions, and counts outliers that are consistent with each other.

    Positions after a discontinuity do not become credible by themselves: however long they last, the arm cannot have
    moved there when they began.

    Attributes:
        interleaved: how many outliers have continued each other, the arm's own joint states between them not counted.
    """

    def __init__(self, max_velocity: ArrayLike, is_continuous: ArrayLike) -> None:
        """Start without a joint state.

        Args:
            max_velocity: (n,) rad/s; no arm moves at more than twice this speed.
            is_continuous: (n,) which joints' angles compare modulo 2π; those of joints with limits do not.
        """
        self._max_velocity, self._is_continuous = np.asarray(max_velocity, np.float64), np.asarray(is_continuous)
        self.reset()

    def reset(self) -> None:
        """Accept the next positions, whatever they are."""
        self._accepted: tuple[float, Array] | None = None
        self._interleaved: tuple[float, Array] | None = None
        self.interleaved = 0
        self._end_discontinuity()

    def accept(self, time_s: float, positions: Array) -> None:
        """Accept that the arm was at `positions` (n,) rad at `time_s`."""
        self.reset()
        self._accepted = time_s, positions

    def _end_discontinuity(self) -> None:
        self._outlier: tuple[float, Array] | None = None
        self._outliers, self._began_s = 0, 0.0

    def count_outliers(self, time_s: float, positions: Array) -> int:
        """Accept `positions` (n,) rad and return 0, or return how many outliers in a row continue each other.

        Args:
            time_s: s, of one steady clock.
            positions: (n,) rad; counted among the outliers if it is one.
        """
        if self._outlier and not self._is_near(positions, self._outlier[1], time_s - self._outlier[0]):
            self._outliers = 0
        if not self._outliers:
            self._began_s = time_s
        if self._accepted is None or self._is_near(positions, self._accepted[1], self._began_s - self._accepted[0]):
            self._end_discontinuity()
            self._accepted = time_s, positions
            return 0
        self._outlier = time_s, positions
        self._outliers += 1
        self._count_interleaved(time_s, positions)
        return self._outliers

    def _count_interleaved(self, time_s: float, positions: Array) -> None:
        """Count outliers that the arm's own joint states come between: two publishers take turns."""
        before, self._interleaved = self._interleaved, (time_s, positions)
        passed_s = time_s - before[0] if before else 0.0
        continues = before and passed_s <= _ALTERNATES_S and self._is_near(positions, before[1], passed_s)
        self.interleaved = self.interleaved + 1 if continues else 1

    def displacement(self, positions: Array) -> Array:
        """Return how far `positions` are from the last that were accepted, (n,) rad; 0 before the first."""
        if self._accepted is None:
            return np.zeros_like(positions)
        return angle_difference(positions, self._accepted[1], self._is_continuous)

    def _is_near(self, one: Array, other: Array, passed_s: float) -> bool:
        furthest = 2 * self._max_velocity * max(passed_s, _SHORTEST_S) + _NOISE_RAD
        return bool(np.all(np.abs(angle_difference(one, other, self._is_continuous)) <= furthest))
