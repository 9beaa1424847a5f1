"""Whether the clocks of the arm's computer and this one agree, by the stamps of joint states. No clock is read here."""

from __future__ import annotations

from collections import deque

_LOOKED_S = 2.0  # a joint state counts for this long; the least delayed one shows how far the clocks are apart
_SAME_S = 0.02  # a trajectory may be late by this much without harm


class ArmClock:
    """Tracks how old joint states are on arrival, by their stamps.

    A trajectory with a start time is executed on time, whenever it arrives and whenever the controller updates. But the
    controller's clock, with which joint states are stamped, must agree with ours.
    """

    def __init__(self) -> None:
        """Start without any joint state."""
        self._ages: deque[tuple[float, float]] = deque()

    def receive(self, now_s: float, age_s: float | None) -> None:
        """Take a joint state's age in s, which is negative where the arm's clock is ahead; None without a stamp."""
        if age_s is None:
            self._ages.clear()
            return
        self._ages.append((now_s, age_s))
        while now_s - self._ages[0][0] > _LOOKED_S:
            self._ages.popleft()

    def objection(self) -> str:
        """Return why the arm's clock cannot be taken to agree with ours; empty if it can."""
        if not self._ages:
            return "joint states have no stamp, or image_age_s: 0.0 ignores it"
        least_s = min(age_s for _, age_s in self._ages)
        if abs(least_s) <= _SAME_S:
            return ""
        return f"joint states arrive {least_s:.3f} s after their stamps at best, expected -{_SAME_S:g} to {_SAME_S:g} s"
