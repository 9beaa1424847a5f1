"""Samples a motion for controllers that take one value per joint at a time. No clock is read here."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.command_interfaces import POSITION_GROUP
from taskgan_ros.control.commander import JointCommander
from taskgan_ros.control.joint_command import JointCommand
from taskgan_ros.control.plan import Plan
from taskgan_ros.robot.angles import angle_difference

Array = NDArray[np.float64]

_REPEATED_S = 0.2  # how long the last value is repeated: one message may be lost, and the controller keeps what it has
_LATE_S = 0.05  # a sample later than this is not caught up in one step
_REACHED_RAD = 1e-9
_EARLY = 0.25  # periods; a call this much before its nominal time still counts as that time's


class TickGrid:
    """A timer's nominal times, estimated from its actual callbacks, which other work may delay."""

    def __init__(self, period_s: float) -> None:
        """Start before the first callback of a timer of `period_s`."""
        self._period_s, self._first_s = period_s, math.inf

    def at(self, now_s: float) -> float:
        """Return the nominal time of a call at `now_s`, s; it never decreases if `now_s` does not.

        The least delayed call until now tells where the nominal times are.
        """
        if math.isinf(self._first_s):
            self._first_s = now_s
        periods = math.floor((now_s - self._first_s) / self._period_s + _EARLY)
        self._first_s = min(self._first_s, now_s - periods * self._period_s)
        return self._first_s + periods * self._period_s


class MotionSampler:
    """Samples a commander's motion: positions, or velocities for controllers that integrate them.

    A sample is taken at the timer's nominal time, not at the moment of the call: so a controller that takes every
    sample, or every other one, moves evenly although the calls are uneven. A position is where the motion is then. If
    that is not next to the position before, as after a late sample or where the arm was lost, the positions go there no
    faster than the joints' top speed. A velocity is the mean until the next sample, so a controller that holds it until
    then has gone just as far as the motion.

    After the motion the last value, a position to hold or zeros, is repeated for a while. Then there is nothing to send
    until the next motion: whoever else commands the arm is not disturbed, and the next motion begins where the plan
    says that the arm is then.
    """

    def __init__(self, commander: JointCommander, period_s: float) -> None:
        """Sample the motion of `commander`, every `period_s`. It must not change during a call."""
        self._commander, self._period_s = commander, period_s
        config = commander.config
        self._names, self._index = config.names, np.arange(len(config.arm.joint_names))
        if not config.all_joints:
            self._index = config.driven
        self._top_speed = config.arm.max_velocity[self._index]
        self._is_continuous = config.arm.is_continuous[self._index]
        self._last: Array | None = None
        self._reached_s = -math.inf
        self.restart()

    def restart(self) -> None:
        """Start again with a timer that was reset, whose nominal times are unknown."""
        self._grid = TickGrid(self._period_s)
        self._forget()

    def sample(self, now_s: float) -> JointCommand | None:
        """Return what is to be sent at `now_s`, s on the commander's clock; None for nothing.

        Times of successive calls must not decrease.
        """
        time_s = self._grid.at(now_s)
        plan = self._commander.plan
        is_position = self._commander.config.command_interface == POSITION_GROUP
        if is_position and self._commander.resets != self._resets:
            self._forget()  # where the controller holds the arm is no longer known
        values: Array | None
        if plan is not None:
            values = self._position(plan, time_s, now_s) if is_position else self._velocity(plan, time_s)
            self._until_s = plan.end_s + _REPEATED_S
        else:
            values = None if is_position else np.zeros(len(self._names))
        self._sampled_s, self._called_s = time_s, now_s
        if values is None or time_s > max(self._until_s, self._reached_s + _REPEATED_S):
            self._last = None  # from now on somebody else may move the arm and its controller
            self._is_there = True
            return None
        return JointCommand(self._names, values)

    def is_at_rest(self, now_s: float) -> bool:
        """Return whether the motion is over at `now_s`, and what was sampled last is its end."""
        plan = self._commander.plan
        return plan is None or (now_s >= plan.end_s and self._sampled_s >= plan.end_s and self._is_there)

    def _forget(self) -> None:
        self._resets = self._commander.resets
        self._last = None
        self._is_there = True
        self._sampled_s = self._called_s = self._until_s = self._reached_s = -math.inf

    def _position(self, plan: Plan, time_s: float, now_s: float) -> Array:
        target = plan.at(time_s)[0][self._index]
        if self._last is not None:
            step = angle_difference(target, self._last, self._is_continuous)
            # By the time really passed, but at least one period: less means that the previous sample was late.
            furthest = self._top_speed * max(min(now_s - self._called_s, _LATE_S), self._period_s)
            target = self._last + np.clip(step, -furthest, furthest)
            self._is_there = bool(np.all(np.abs(step) <= furthest + _REACHED_RAD))
            if np.any(target != self._last):
                self._reached_s = time_s
        self._last = target
        return target

    def _velocity(self, plan: Plan, time_s: float) -> Array:
        if time_s >= plan.end_s:
            return np.zeros(len(self._names))
        here, there = plan.at([time_s, time_s + self._period_s])[0][:, self._index]
        return np.clip((there - here) / self._period_s, -self._top_speed, self._top_speed)
