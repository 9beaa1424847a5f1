"""Which joint states an arm can have got to since the last, and which are jumps. No clock is read here."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.robot.angles import angle_difference

Array = NDArray[np.float64]

_NOISE_RAD = 0.05  # of encoders, and of messages that come in a burst
_SHORTEST_S = 1e-9  # an infinite speed times no time is no number
_INTRUDES_S = 1.0  # a second publisher is heard again within that


class Continuity:
    """Follows one arm's joint states, and counts those that jumped away from it and go on from each other.

    What a jump leads to does not become credible by itself: however long it lasts, the arm cannot have got there when
    it began.

    Attributes:
        intrusions: how many strays have gone on from each other, the arm's own joint states between them not counted.
    """

    def __init__(self, max_velocity: ArrayLike, is_continuous: ArrayLike = True) -> None:
        """Start without a joint state.

        Args:
            max_velocity: (n,) rad/s; no arm moves at more than twice of it.
            is_continuous: (n,) for which joints turns count nothing; to a joint with limits a turn is a way like any.
        """
        self._max_velocity, self._is_continuous = np.asarray(max_velocity, np.float64), np.asarray(is_continuous)
        self.forget()

    def forget(self) -> None:
        """Believe the next joint state."""
        self._last: tuple[float, Array] | None = None
        self._intruder: tuple[float, Array] | None = None
        self.intrusions = 0
        self._end_jump()

    def accept(self, time_s: float, pose: Array) -> None:
        """Believe that the arm was at `pose` (n,) rad at `time_s`."""
        self.forget()
        self._last = time_s, pose

    def _end_jump(self) -> None:
        self._stray: tuple[float, Array] | None = None
        self._strays, self._strayed_s = 0, 0.0

    def strays(self, time_s: float, pose: Array) -> int:
        """Return 0 and believe `pose` (n,) rad, or how many in a row have gone on from a jump, this one included."""
        if self._stray and not self._is_near(pose, self._stray[1], time_s - self._stray[0]):
            self._strays = 0
        if not self._strays:
            self._strayed_s = time_s
        if self._last is None or self._is_near(pose, self._last[1], self._strayed_s - self._last[0]):
            self._end_jump()
            self._last = time_s, pose
            return 0
        self._stray = time_s, pose
        self._strays += 1
        self._note_intruder(time_s, pose)
        return self._strays

    def _note_intruder(self, time_s: float, pose: Array) -> None:
        """Count strays that the arm's own joint states come between: two publishers take turns."""
        before, self._intruder = self._intruder, (time_s, pose)
        passed_s = time_s - before[0] if before else 0.0
        goes_on = before and passed_s <= _INTRUDES_S and self._is_near(pose, before[1], passed_s)
        self.intrusions = self.intrusions + 1 if goes_on else 1

    def way(self, pose: Array) -> Array:
        """Return how far `pose` is from the last that was believed, (n,) rad; nowhere before the first."""
        return angle_difference(pose, self._last[1], self._is_continuous) if self._last else np.zeros_like(pose)

    def _is_near(self, one: Array, other: Array, passed_s: float) -> bool:
        furthest = 2 * self._max_velocity * max(passed_s, _SHORTEST_S) + _NOISE_RAD
        return bool(np.all(np.abs(angle_difference(one, other, self._is_continuous)) <= furthest))
