"""Whether an arm goes where it is sent: displacement commanded and measured, over the same time."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.robot.angles import angle_difference

Array = NDArray[np.float64]

_COMPARED_S = 1.0  # window in which the arm's displacement is compared with the commanded one


class TrackingHistory:
    """Measured and commanded positions of the last second.

    Displacements are compared, not positions. So sag, or whole turns that a driver counts differently, are not a
    tracking error.
    """

    def __init__(self, is_continuous: NDArray[np.bool_]) -> None:
        """Start empty.

        Args:
            is_continuous: (n,) whether a joint's angles compare modulo 2π.
        """
        self._is_continuous = is_continuous
        self._samples: deque[tuple[float, Array, Array]] = deque()

    def clear(self) -> None:
        """Clear the tracking history: this node no longer moves the arm."""
        self._samples.clear()

    def error(self, now_s: float, measured: Array, commanded: Array) -> Array:
        """Add a sample; return measured minus commanded displacement within the window, (n,) rad.

        Args:
            now_s: s, on a steady clock.
            measured: (n,) rad.
            commanded: (n,) rad, where the arm was sent for the time of that measurement.
        """
        self._samples.append((now_s, measured, commanded))
        while now_s - self._samples[0][0] > _COMPARED_S:
            self._samples.popleft()
        _, first_measured, first_commanded = self._samples[0]
        displacement = angle_difference(measured, first_measured, self._is_continuous)
        return displacement - (commanded - first_commanded)


class WithheldMotion:
    """How far the plan would be ahead of itself if it did not wait for the arm: that counts as commanded too."""

    def __init__(self, joints: int, longest_s: float) -> None:
        """Start with nothing withheld.

        Args:
            joints: n.
            longest_s: s; a rate lasts at most this long, like the command that it belongs to.
        """
        self._displacement = self._rate = np.zeros(joints)
        self._since_s, self._longest_s = 0.0, longest_s

    def set_rate(self, now_s: float, rate: Array) -> None:
        """Note by how much the plan is slower from now on than was requested, (n,) rad/s."""
        self._displacement = self.displacement(now_s)
        self._rate, self._since_s = rate, now_s

    def displacement(self, now_s: float) -> Array:
        """Return what has been withheld until now, (n,) rad."""
        return self._displacement + self._rate * min(now_s - self._since_s, self._longest_s)

    def shift(self, offset: Array) -> None:
        """Offset a shift of the plan by `offset` (n,) rad, which commands nothing."""
        self._displacement = self._displacement - offset
