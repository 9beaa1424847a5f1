"""From a policy's commands to trajectories within every limit of the arm."""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.arm.arm import Arm
from taskgan_ros.control.fence import Fence
from taskgan_ros.control.limits import duration, finite, limit_change, limit_velocity, step_to
from taskgan_ros.control.motion import STEP_S, Motion, cruise, stopping_time_s
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.errors import InputError

Array = NDArray[np.float64]

VELOCITIES, ANGLES = "joint_velocities", "joint_angles"
JTC, KINOVA = "jtc", "kinova"

_HALVINGS = 8  # of the way between a stop and the command, to find how much of it stays inside the fence
_TOUCHED_M = 1e-6  # outside the fence by rounding
_NO_CHANGE = 1e-9  # rad/s, where none is left to make
_SHORTEST_S = 1e-3  # between two commands
_REMEMBERED = 200  # commands; some seconds of them, and no joint state is used that is older
_FOLLOWED_S = 1.0  # over so long the arm's way is compared with the commanded one


@dataclass
class JointCommander:
    """Turns commands of one bundle into trajectories for one arm.

    A trajectory goes on from where the arm is, which is where it was measured and as far as it was sent since, at the
    command's velocity for `horizon_s`, and then comes to a smooth stop: what the arm does without a next one, whoever
    has failed. Between its points it goes straight, at constant speed; a velocity there would make it a cubic that dips
    and overshoots where the arm is not exactly where it was thought to be. What limits it, the first before the others
    where they contradict each other:

    - positions: the arm file's, `margin_rad` inside; speed falls towards them so that the stop still fits.
    - speeds: all driven joints are slowed by one factor, which keeps the direction.
    - accelerations: the change since the last command is shortened, all driven joints by one factor.
    - the fence and the largest step: the velocity gives way to the smooth stop, as far as it must.
    - jerk, where the arm file has any.

    Attributes:
        arm: names and limits of all n joints.
        driven_joints: the J joints that the bundle commands, in its output order.
        task: `joint_velocities` (commands in rad/s) or `joint_angles` (commands in rad).
        mode: `jtc` for ros2_control's JointTrajectoryController: positions alone. `kinova` for Kinova's driver, which
            acts on the velocities alone, in the order of its joints, and holds each until its time is over.
        horizon_s: s; how long the velocity lasts. Less than the time between two commands makes the arm stutter.
        all_joints: name all n joints, in the arm's order, and hold those that are not driven; or only the
            driven ones, for a controller that allows partial goals.
        margin_rad: rad, kept from the arm file's position limits.
        max_step_rad: rad; no joint is ever sent further than this from where it was measured.
        speed_scale: share of the arm file's speeds that is used.
        fence: what the tip stays in, or None.
    """

    arm: Arm
    driven_joints: tuple[str, ...]
    task: str = VELOCITIES
    mode: str = JTC
    horizon_s: float = 0.2
    all_joints: bool = True
    margin_rad: float = 0.0
    max_step_rad: float = 0.5
    speed_scale: float = 1.0
    fence: Fence | None = None
    _sent: deque[tuple[float, Motion]] = field(init=False, repr=False)
    _followed: deque[tuple[float, Array, Array]] = field(init=False, repr=False)
    _acceleration: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check what does not change.

        Raises:
            InputError: a joint that the arm has not, or that is named twice; an unknown task or mode; a mode that
                needs all joints without them; a number out of its range.
        """
        known, names = self.arm.joint_names, self.driven_joints
        if not names or not set(names) <= set(known) or len(set(names)) < len(names):
            raise InputError(f"driven joints: expected some of {list(known)}, each once, got {list(names)}")
        if self.task not in (VELOCITIES, ANGLES):
            raise InputError(f"task: expected {VELOCITIES} or {ANGLES}, got {self.task!r}")
        if self.mode not in (JTC, KINOVA):
            raise InputError(f"mode: expected {JTC} or {KINOVA}, got {self.mode!r}")
        if self.mode == KINOVA and not self.all_joints:
            raise InputError("all_joints: expected true in the mode kinova, whose driver goes by order, got false")
        duration("horizon_s", self.horizon_s)
        duration("max_step_rad", self.max_step_rad)
        if not 0 < self.speed_scale <= 1:
            raise InputError(f"speed_scale: expected more than 0 and at most 1, got {self.speed_scale}")
        if not 0 <= self.margin_rad < np.min(self.arm.upper - self.arm.lower) / 2:
            raise InputError(f"margin_rad: expected less than half of each joint's range, got {self.margin_rad}")
        self._sent, self._followed = deque(maxlen=_REMEMBERED), deque()
        self._acceleration = np.zeros(len(self.arm.joints))

    @cached_property
    def driven(self) -> NDArray[np.intp]:
        """(J,) indices of the driven joints among the arm's."""
        return np.array([self.arm.joint_names.index(name) for name in self.driven_joints])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The joints of every trajectory, in its order."""
        return self.arm.joint_names if self.all_joints else self.driven_joints

    @cached_property
    def lower(self) -> Array:
        """(n,) rad, the lowest position that is commanded."""
        return self.arm.lower + self.margin_rad

    @cached_property
    def upper(self) -> Array:
        """(n,) rad, the highest position that is commanded."""
        return self.arm.upper - self.margin_rad

    @cached_property
    def _approach_s(self) -> float:
        """How far ahead of a position limit, in s at its speed, a joint is slowed: where it goes if nothing more comes.

        A joint that slows so brakes at its speed over this time, at most, which must keep to its acceleration too.
        """
        braking_s = stopping_time_s(self.arm.max_velocity, self.arm.max_acceleration)
        return max(self.horizon_s + braking_s / 2, braking_s)

    def follow(
        self, now_s: float, command: ArrayLike, measured: ArrayLike, parked: ArrayLike, age_s: float = 0.0
    ) -> JointTrajectory:
        """Return the trajectory that follows `command` as far as the limits allow.

        The joints that are not driven go to `parked`, each by itself, so that one that was moved by hand neither jumps
        back nor slows the task.

        The arm may have moved at its limit since it was measured, in any direction, and has `horizon_s` from now to
        the first point. So that even then it need not be faster than the limit, the speed falls until the point lies no
        further from `measured` than the limit leads in `horizon_s - age_s`; where that is not positive, the arm stops.
        It falls as fast as the acceleration allows, and meanwhile the limit leads there in `horizon_s`.

        Args:
            now_s: s, on a steady clock.
            command: (J,) rad/s or rad, in the order of `driven_joints`.
            measured: (n,) rad, all joints, in the arm's order.
            parked: (n,) rad; where the joints that are not driven belong; those of the driven are not used.
            age_s: s, how long ago `measured` was.

        Raises:
            InputError: a number that is not finite, or not one a joint, or a negative age.
        """
        here, goal = self._checked("measured", measured), self._checked("parked", parked)
        wanted = self._checked("command", command, self.driven_joints)
        if not age_s >= 0:  # true for NaN too
            raise InputError(f"age of the joint state: expected 0 s or more, got {age_s}")
        if age_s >= self.horizon_s:
            return self.stop(now_s, here, age_s)
        start, (last, since_s) = here + self._way(now_s, age_s), self._last(now_s)
        step_s = min(since_s, STEP_S)  # from rest the arm starts slowly too, however long ago the last command was
        top_speed = self.speed_scale * self.arm.max_velocity * (1 - age_s / self.horizon_s)
        goal = goal if self.all_joints else here  # whom nobody commands goes nowhere
        velocity = np.clip(self._step_to(goal, start) / self.horizon_s, -top_speed, top_speed)
        velocity[self.driven] = limit_velocity(self._velocity(wanted, start), top_speed[self.driven])
        velocity = self._within_positions(velocity, start)
        velocity = self._within_reach(velocity, (start - here) / self.horizon_s, top_speed)
        velocity = self._within_positions(self._accelerated(velocity, last, step_s), start)
        motion = self._allowed(start, velocity, last, since_s)
        self._acceleration = np.clip((motion.velocities[0] - last) / step_s, *(self.arm.max_acceleration * [[-1], [1]]))
        return self._send(now_s, motion, here)

    def stop(self, now_s: float, measured: ArrayLike, age_s: float = 0.0) -> JointTrajectory:
        """Return the smooth stop, from where and how fast the arm is by what was sent; at rest, a hold there.

        An arm that did not follow need not be faster than its limit, up to the age of a joint state or two: the first
        point comes later then.

        Args:
            now_s: s, on the clock of `follow`.
            measured: (n,) rad, the newest joint state.
            age_s: s, how long ago that was.

        Raises:
            InputError: a number that is not finite, or not one a joint.
        """
        here = self._checked("measured", measured)
        start, velocity = here + self._way(now_s, max(age_s, 0.0)), self._last(now_s)[0]
        motion = cruise(start, velocity, 0.0, self.arm.max_acceleration)
        needed_s = np.max(np.abs(motion.positions[0] - here) / self.arm.max_velocity)
        later_s = float(np.clip(needed_s - motion.ends_s[0], 0.0, STEP_S))
        self._acceleration = np.zeros_like(here)
        return self._send(now_s, motion, here, later_s, max(age_s, 0.0))

    def does_not_follow(self, now_s: float, measured: ArrayLike, age_s: float) -> float:
        """Return how much further, at most, a joint was sent than it was measured to go in the last second, rad.

        To be asked at every joint state: a blocked arm, and joint states that stand still, tell so.

        Raises:
            InputError: a number that is not finite, or not one a joint.
        """
        here = self._checked("measured", measured)
        self._followed.append((now_s, here, self._place(now_s - age_s)))
        while now_s - self._followed[0][0] > _FOLLOWED_S:
            self._followed.popleft()
        _, first_here, first_place = self._followed[0]
        error = self._step_to(here, first_here) - self._step_to(self._followed[-1][2], first_place)
        return float(np.max(np.abs(error)))

    @property
    def motion(self) -> Motion:
        """What was sent last; its start says nothing.

        Raises:
            IndexError: nothing was sent yet.
        """
        return self._sent[-1][1]

    def forget_way(self) -> None:
        """Compare no way from before with what comes: somebody else moves the arm, or nobody."""
        self._followed.clear()

    def is_small(self, command: ArrayLike, measured: ArrayLike, speed: float) -> bool:
        """Return whether `command` asks every driven joint for less than `speed` rad/s: the task's end.

        Raises:
            InputError: a number that is not finite, or not one a joint.
        """
        here, wanted = self._checked("measured", measured), self._checked("command", command, self.driven_joints)
        return bool(np.max(np.abs(self._velocity(wanted, here))) < speed)

    def _velocity(self, command: Array, here: Array) -> Array:
        if self.task == VELOCITIES:
            return command
        target = here.copy()
        target[self.driven] = command
        reachable = np.clip(target, self.lower, self.upper)
        return (self._step_to(reachable, here) / self.horizon_s)[self.driven]

    def _step_to(self, target: Array, here: Array) -> Array:
        return step_to(target, here, self.arm.is_continuous)

    def _within_reach(self, velocity: Array, ahead: Array, top_speed: Array) -> Array:
        """Slow down what, with the way that the arm is `ahead` of its measured pose, leads further than the top speed.

        The driven joints by one factor.

        Args:
            velocity: (n,) rad/s.
            ahead: (n,) rad/s, that way as a speed over the horizon.
            top_speed: (n,) rad/s.
        """
        room = np.maximum(top_speed - np.sign(velocity) * ahead, 0.0)
        slowed = np.clip(velocity, -room, room)
        driven = self.driven
        fastest = np.abs(velocity[driven])
        shares = np.divide(room[driven], fastest, out=np.ones(len(driven)), where=fastest > room[driven])
        slowed[driven] = velocity[driven] * shares.min()
        return slowed

    def _within_positions(self, velocity: Array, here: Array) -> Array:
        """Slow each joint by itself towards its limits; one beyond a limit may not go further out."""
        up, down = np.maximum(self.upper - here, 0.0), np.maximum(here - self.lower, 0.0)
        return np.clip(velocity, -down / self._approach_s, up / self._approach_s)

    def _last(self, now_s: float) -> tuple[Array, float]:
        """Return how fast the arm is (n,) rad/s by what was sent, and how long ago that was, s."""
        if not self._sent:
            return np.zeros(len(self.arm.joints)), STEP_S
        sent_s, motion = self._sent[-1]
        return motion.at(now_s - sent_s)[1], max(now_s - sent_s, _SHORTEST_S)

    def _place(self, time_s: float) -> Array:
        """Return where what was sent leads until then (n,) rad, from anywhere: differences alone mean something."""
        for sent_s, motion in reversed(self._sent):
            if sent_s <= time_s:
                return motion.at(time_s - sent_s)[0]
        return self._sent[0][1].start if self._sent else np.zeros(len(self.arm.joints))

    def _way(self, now_s: float, age_s: float) -> Array:
        """Return how far the arm was sent in the last `age_s` (n,) rad."""
        return self._place(now_s) - self._place(now_s - age_s)

    def _accelerated(self, velocity: Array, last: Array, step_s: float) -> Array:
        """Shorten the change of velocity to what acceleration and jerk allow: the driven joints by one factor.

        By jerk, a change is also no larger than can be brought down to none by the time the velocity is reached.
        """
        largest = self.arm.max_acceleration * step_s
        changed = last + np.clip(velocity - last, -largest, largest)
        driven, jerk = self.driven, self.arm.max_jerk[self.driven]
        wanted, before = velocity[driven], last[driven]
        slope = np.where(np.isinf(jerk), 0.0, jerk) * step_s / 2
        by_end = (np.sqrt(slope**2 + 4 * slope * np.abs(wanted - before) / step_s) - slope) * step_s
        by_end = np.where(np.isinf(jerk), np.inf, np.maximum(by_end, _NO_CHANGE))
        change = limit_change(wanted, before, np.minimum(largest[driven], by_end)) - before
        smooth = limit_change(change / step_s, self._acceleration[driven], jerk * step_s) * step_s
        ends = np.sort([np.zeros_like(smooth), wanted - before], axis=0)  # never past what is wanted, nor away from it
        changed[driven] = before + np.clip(smooth, *ends)
        return changed

    def _allowed(self, start: Array, velocity: Array, last: Array, since_s: float) -> Motion:
        """Return the motion at `velocity`, or as near to it as fence and largest step allow.

        The other end is the smooth stop, as far as it would have come in the time since the last command: its way is
        part of what was allowed then.
        """
        motion = self._cruise(start, velocity)
        if self._is_allowed(motion, start):
            return motion
        braking_s = stopping_time_s(last, self.arm.max_acceleration)
        slower = last * max(0.0, 1 - since_s / braking_s) if braking_s else last
        stopping = self._within_positions(slower, start)
        best, share, part = self._cruise(start, stopping), 0.0, 1.0
        for _ in range(_HALVINGS):
            part /= 2
            tried = self._cruise(start, stopping + (share + part) * (velocity - stopping))
            if self._is_allowed(tried, start):
                best, share = tried, share + part
        return best

    def _cruise(self, start: Array, velocity: Array) -> Motion:
        return cruise(start, velocity, self.horizon_s, self.arm.max_acceleration)

    def _is_allowed(self, motion: Motion, start: Array) -> bool:
        if np.any(np.abs(motion.positions - start) > self.max_step_rad):
            return False
        if self.fence is None:
            return True
        between = start + np.array([[0.0], [0.25], [0.5], [0.75]]) * (motion.positions[0] - start)
        now_m, *outside_m = self.fence.outside_m(np.vstack([between, motion.positions]))
        return bool(max(outside_m) <= now_m + _TOUCHED_M)

    def _checked(self, what: str, values: ArrayLike, joints: tuple[str, ...] = ()) -> Array:
        names = joints or self.arm.joint_names
        array = finite(what, values)
        if array.shape != (len(names),):
            raise InputError(f"{what}: expected one value for each of {list(names)}, got shape {array.shape}")
        return array

    def _send(
        self, now_s: float, motion: Motion, here: Array, later_s: float = 0.0, age_s: float = 0.0
    ) -> JointTrajectory:
        """Return the motion as a trajectory, no point further out than the limits or where a joint is already.

        Nor is the first further than the arm can have got to in `age_s` and until then.
        """
        self._sent.append((now_s, dataclasses.replace(motion, start=self._place(now_s))))
        reach_s = age_s + max(self.horizon_s, STEP_S + later_s)
        reach = np.minimum(self.max_step_rad, self.arm.max_velocity * reach_s)
        lowest = np.maximum(np.minimum(self.lower, here), here - self.max_step_rad)
        highest = np.minimum(np.maximum(self.upper, here), here + self.max_step_rad)
        positions, ends_s = np.clip(motion.positions, lowest, highest), motion.ends_s + later_s
        positions[0] = np.clip(positions[0], here - reach, here + reach)
        if self.mode == JTC:
            chosen = positions if self.all_joints else positions[:, self.driven]
            return JointTrajectory(self.names, chosen, ends_s)
        # Zeros at the end, so that the driver is told to stand; twice, for one version of it repeats the last but one.
        return JointTrajectory(
            self.names,
            np.vstack([positions, positions[-1:], positions[-1:]]),
            np.append(ends_s, ends_s[-1] + STEP_S * np.array([1, 2])),
            np.vstack([motion.velocities, np.zeros((2, len(here)))]),
        )
