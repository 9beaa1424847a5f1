"""Whether the clocks of the arm's computer and this one agree, by the stamps of joint states. No clock is read here."""

from __future__ import annotations

from collections import deque

_LOOKED_S = 2.0  # a joint state counts for this long; the least delayed one shows how far the clocks are apart
_SAME_S = 0.02  # a trajectory may be late by this much without harm
_JUMP_S = 1.0  # forward; a smaller step may be a simulator's clock that runs fast


class ArmClock:
    """Tracks how old joint states are on arrival, by their stamps.

    A trajectory with a start time is executed on time, whenever it arrives and whenever the controller updates. But the
    controller's clock, with which joint states are stamped, must agree with ours. Ours is the ROS clock, which jumps
    where a simulator is reset or a computer's time is set; until a joint state comes after that, nothing is known.
    """

    def __init__(self) -> None:
        """Start without any joint state."""
        self._ages: deque[tuple[float, float]] = deque()
        self._now_s = self._ros_s = 0.0  # of the newest joint state

    def receive(self, now_s: float, ros_s: float, stamp_s: float) -> None:
        """Take a joint state that arrived at `now_s` of the steady clock, `ros_s` of the ROS clock; stamp 0 is none."""
        if not stamp_s or self._jump_s(now_s, ros_s):
            self._ages.clear()
        self._now_s, self._ros_s = now_s, ros_s
        if not stamp_s:
            return
        self._ages.append((now_s, ros_s - stamp_s))
        while now_s - self._ages[0][0] > _LOOKED_S:
            self._ages.popleft()

    def objection(self, now_s: float, ros_s: float) -> str:
        """Return why the arm's clock cannot be taken to agree with ours; empty if it can."""
        if not self._ages:
            return "joint states have no stamp, or image_age_s: 0.0 ignores it"
        if jump_s := self._jump_s(now_s, ros_s):
            return f"the ROS clock jumped by {jump_s:.3f} s after the last joint state"
        least_s = min(age_s for _, age_s in self._ages)
        if abs(least_s) <= _SAME_S:
            return ""
        return f"joint states arrive {least_s:.3f} s after their stamps at best, expected -{_SAME_S:g} to {_SAME_S:g} s"

    def _jump_s(self, now_s: float, ros_s: float) -> float:
        """Return by how much the ROS clock has jumped since the newest joint state, 0 if it only advanced."""
        gone_s = ros_s - self._ros_s
        ahead_s = gone_s - (now_s - self._now_s)
        return ahead_s if gone_s < -_SAME_S or ahead_s > _JUMP_S else 0.0
