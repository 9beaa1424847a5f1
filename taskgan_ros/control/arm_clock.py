"""Whether the arm's computer and this one have the same clock, as its joint states tell. No clock is read here."""

from __future__ import annotations

from collections import deque

_LOOKED_S = 2.0  # so long a joint state counts; the one that was least on its way tells the clocks apart
_SAME_S = 0.02  # as long as a trajectory may be late without a loss


class ArmClock:
    """Follows how old joint states are by their stamps, on arrival.

    A trajectory that says when it starts is executed on time whenever it arrives and whenever the controller looks. But
    the controller must have our clock: the one that joint states are stamped with.
    """

    def __init__(self) -> None:
        """Know nothing."""
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
        """Return why the arm's clock cannot be taken for ours, or nothing."""
        if not self._ages:
            return "joint states have no stamp"
        least_s = min(age_s for _, age_s in self._ages)
        if abs(least_s) <= _SAME_S:
            return ""
        return f"joint states are {least_s:.3f} s old by their stamps when they arrive, expected {_SAME_S:g} s at most"
