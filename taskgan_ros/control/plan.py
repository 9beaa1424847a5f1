"""The arm's past and future setpoints: motions, each taking over from the one before, as one function of time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.control.motion import Knots, Motion

Array = NDArray[np.float64]

_REMEMBERED_S = 30.0  # more than the age of any joint state in use


class Plan:
    """Positions and velocities of n joints over time, as far as they were sent. All times are s of one steady clock.

    It holds hundreds of motions and is queried at every joint state, so a query's cost depends only on its time span.
    """

    def __init__(self, now_s: float, pose: Array) -> None:
        """Rest at `pose` (n,) rad, now and at all earlier times."""
        self._starts_s = [now_s]  # of each piece, none before the one before it
        # Each motion up to where the next takes over, before the offset is added.
        self._pieces = [Knots(np.full(2, now_s), np.tile(pose, (2, 1)), np.zeros((2, len(pose))))]
        self._offset = np.zeros(len(pose))  # of all of them

    def extend(self, start_s: float, motion: Motion) -> None:
        """Let `motion` take over at `start_s`, in place of all that was planned from then on.

        It must not be earlier than the plan's start. The motion must begin at the plan's position and velocity then.
        """
        kept = max(bisect_left(self._starts_s, start_s), 1)
        del self._starts_s[kept:], self._pieces[kept:]
        self._pieces[-1] = self._pieces[-1].until(start_s)
        self._starts_s.append(start_s)
        self._pieces.append(Knots(start_s + motion.times_s, motion.positions - self._offset, motion.velocities))
        while len(self._pieces) > 2 and self._starts_s[1] < start_s - _REMEMBERED_S:
            del self._starts_s[0], self._pieces[0]

    def at(self, times_s: ArrayLike) -> tuple[Array, Array]:
        """Return the positions (..., n) rad and velocities (..., n) rad/s at `times_s` (...)."""
        times = np.asarray(times_s, np.float64)
        positions, velocities = self._knots(float(times.min()), float(times.max())).at(times)
        return positions + self._offset, velocities

    def extremes(self, first_s: float, last_s: float) -> Array:
        """Return positions (E, n) rad with each joint's extremes between two times; the last is that at the end.

        Args:
            first_s: s, on the plan's clock.
            last_s: s, not before.
        """
        return self._knots(first_s, last_s).extremes(first_s, last_s) + self._offset

    def shift(self, offset: Array) -> None:
        """Move all of it by `offset` (n,) rad."""
        self._offset = self._offset + offset

    @property
    def end_s(self) -> float:
        """When the arm comes to rest."""
        return float(self._pieces[-1].times_s[-1])

    def _knots(self, first_s: float, last_s: float) -> Knots:
        """Return the knots of the pieces that are under way between two times."""
        first, last = (max(bisect_right(self._starts_s, time_s) - 1, 0) for time_s in (first_s, last_s))
        pieces = self._pieces[first : last + 1]
        if len(pieces) == 1:
            return pieces[0]
        return Knots(
            np.concatenate([piece.times_s for piece in pieces]),
            np.concatenate([piece.positions for piece in pieces]),
            np.concatenate([piece.velocities for piece in pieces]),
        )
