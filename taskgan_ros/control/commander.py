"""From a policy's commands to trajectories within every limit of the arm."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.control.chunk import Segment, segments
from taskgan_ros.control.fence import Fence
from taskgan_ros.control.limits import duration, finite, limit_velocity, step_to
from taskgan_ros.control.motion import Motion, chain, cruise, stopping_time_s
from taskgan_ros.control.plan import Plan
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Arm

Array = NDArray[np.float64]

VELOCITIES, ANGLES = "joint_velocities", "joint_angles"
JTC, KINOVA = "jtc", "kinova"

_SAMPLE_S = 0.004  # between points; controllers interpolate linearly: at each, speed steps by acceleration x this
_FIRST_S = 0.001  # to the first point: less than a controller's update, so where it would start from does not matter
_KINOVA_STEP_S = 0.05  # between two velocities: several updates of the driver, which runs at 100 Hz at most
_ENTER_S = 0.05  # to reach the plan from wherever a controller is at rest
_CHANGE_S = 0.05  # at least, for passive joints to change their speed, even if the driven ones take less
_LAG_S = 0.15  # that an arm may be behind the plan at full speed: servos lag 0.02 to 0.1, and joint states are late
_LOST_S = 2 * _LAG_S  # an arm that is nowhere near where the plan has been in this time does not follow it
_AT_REST_RAD = 0.05  # distance from the plan, of an arm that sags or has backlash
_DECIMALS = 6  # of a point's time in s; points closer than that are merged
_LOOKS = 10  # samples of the plan within _LOST_S
_HALVINGS = 8  # of a command, to find how much of it is allowed
_TOUCHED_M, _TOUCHED_RAD = 1e-6, 1e-9  # outside by rounding
_COMPARED_S = 1.0  # window in which the arm's displacement is compared with the commanded one


@dataclass
class JointCommander:
    """Turns commands of one bundle into trajectories for one arm.

    All that was sent forms one motion over time, the plan. Each command continues it from the plan's position and
    velocity `lead_s` from now: it accelerates within the limits to the command's velocity, lasts `horizon_s` and ends
    with a smooth stop, which is what the arm does if nothing more comes. A servo lags behind the plan, so the plan does
    not restart where the arm was measured: it would step back at each command. It restarts there only if the arm does
    not follow, and it waits for an arm that lags by more than a servo does. The commands of a chunk follow each other
    within the horizon, each for its step, the last until the horizon.

    What limits a command; where two limits contradict each other, the earlier one wins:

    - accelerations: all driven joints change their velocity together, so the one that needs longest sets the time.
    - positions: the arm file's, `margin_rad` inside; speed falls towards them so that the stop still fits.
    - speeds: all driven joints are slowed by one factor, which keeps the direction.
    - the fence and the largest step: all joints are slowed by one factor, down to the smooth stop.
    - jerk, where the arm file has any: what is sent is the plan's average over some time, which breaks no other limit.

    Attributes:
        arm: names and limits of all n joints.
        driven_joints: the J joints that the bundle commands, in its output order.
        task: `joint_velocities` (commands in rad/s) or `joint_angles` (commands in rad).
        mode: `jtc` for ros2_control's JointTrajectoryController: positions alone. `kinova` for Kinova's driver, which
            acts on the velocities alone, in the order of its joints, and holds each until its time is over.
        horizon_s: s; how long the velocity lasts. Less than the time between two commands makes the arm stutter.
        lead_s: s; how long after it was sent a command takes effect: the message's travel time and the wait for the
            controller's next update. A command that arrives later has missed a part of its motion.
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
    lead_s: float = 0.02
    all_joints: bool = True
    margin_rad: float = 0.0
    max_step_rad: float = 0.5
    speed_scale: float = 1.0
    fence: Fence | None = None
    _plan: Plan | None = field(init=False, repr=False)
    _compared: deque[tuple[float, Array, Array]] = field(init=False, repr=False)

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
        if not (np.isfinite(self.lead_s) and self.lead_s >= 0):
            raise InputError(f"lead_s: expected 0 s or more, got {self.lead_s}")
        if not 0 < self.speed_scale <= 1:
            raise InputError(f"speed_scale: expected more than 0 and at most 1, got {self.speed_scale}")
        if not 0 <= self.margin_rad < np.min(self.arm.upper - self.arm.lower) / 2:
            raise InputError(f"margin_rad: expected less than half of each joint's range, got {self.margin_rad}")
        self.reset()

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
    def _is_named(self) -> NDArray[np.bool_]:
        """(n,) whether a joint is commanded at all."""
        return np.isin(self.arm.joint_names, self.names)

    @cached_property
    def _longest_stop_s(self) -> float:
        """How long the stop from top speed takes, s."""
        return stopping_time_s(self.arm.max_velocity, self.arm.max_acceleration)

    @cached_property
    def _averaged_s(self) -> float:
        """How long the plan is averaged over so that no joint breaks its jerk limit, s.

        In the worst case the plan speeds up at one end of the averaged time and slows down at the other.
        """
        return float(np.max(2 * self.arm.max_acceleration / self.arm.max_jerk))

    def reset(self) -> None:
        """Forget what was sent: the next trajectory starts from rest, where the arm is measured."""
        self._plan, self._entered_s = None, 0.0
        self._withheld = self._withholding = np.zeros(len(self.arm.joints))
        self._withholding_since_s = 0.0
        self._compared = deque()

    def follow(
        self, now_s: float, command: ArrayLike, measured: ArrayLike, parked: ArrayLike, age_s: float = 0.0,
        step_s: float | None = None, seen_s: float = math.inf,
    ) -> JointTrajectory:  # fmt: skip
        """Return the trajectory that follows `command` as far as the limits allow.

        The joints that are not driven go to `parked`, each by itself, so that one that was moved by hand neither jumps
        back nor slows the task.

        Args:
            now_s: s, on a steady clock; the trajectory's times count from it.
            command: (J,) rad/s or rad, in the order of `driven_joints`; or (K, J), a chunk of them.
            measured: (n,) rad, all joints, in the arm's order.
            parked: (n,) rad; where the joints that are not driven belong; those of the driven are not used.
            age_s: s, how long ago `measured` was.
            step_s: s that each command of a chunk is for.
            seen_s: s, on the same clock, when the chunk begins: what of it is over when the motion begins is left out.
                Without one, the chunk begins with the motion.

        Raises:
            InputError: a number that is not finite, or not one a joint, a negative age, or a chunk without a step.
        """
        here, goal = self._checked("measured", measured), self._checked("parked", parked)
        wanted = self._checked_chunk(command)
        if not age_s >= 0:  # true for NaN too
            raise InputError(f"age of the joint state: expected 0 s or more, got {age_s}")
        plan, start_s = self._enter(now_s, here, age_s)
        start, before = plan.at(start_s)
        parts = self._segments(wanted, step_s, max(start_s - seen_s, 0.0))
        ahead = self._ahead(plan, now_s - age_s, here)
        asked, velocities = self._velocities(parts, goal if self.all_joints else None, start, before, ahead)
        self._withhold(now_s, asked if start_s == self._entered_s else asked - velocities[0])
        way = self._way(plan, now_s, start_s, here)
        lasts_s = [part.lasts_s for part in parts]
        return self._send(now_s, start_s, plan, self._allowed(start, before, velocities, lasts_s, way))

    def stop(self, now_s: float, measured: ArrayLike, age_s: float = 0.0) -> JointTrajectory:
        """Return the smooth stop of what was sent; at rest, a hold.

        Args:
            now_s: s, on the clock of `follow`.
            measured: (n,) rad, the newest joint state.
            age_s: s, how long ago that was.

        Raises:
            InputError: a number that is not finite, or not one a joint.
        """
        here = self._checked("measured", measured)
        plan, start_s = self._enter(now_s, here, max(age_s, 0.0))
        self._withhold(now_s, np.zeros_like(here))
        start, before = plan.at(start_s)
        return self._send(now_s, start_s, plan, cruise(start, before, before, 0.0, self.arm.max_acceleration))

    def tracking_error(self, now_s: float, measured: ArrayLike, age_s: float) -> float:
        """Return how much further, at most, a joint was commanded than it was measured to go in the last second, rad.

        To be called at every joint state: it shows a blocked arm, and frozen joint states. The plan waits for such an
        arm; how far it would have gone without waiting counts as commanded.

        Raises:
            InputError: a number that is not finite, or not one a joint.
        """
        here = self._checked("measured", measured)
        if self._plan is None:
            return 0.0
        commanded = self._plan.at(now_s - age_s)[0] + self._withheld_until(now_s)
        self._compared.append((now_s, here, commanded))
        while now_s - self._compared[0][0] > _COMPARED_S:
            self._compared.popleft()
        _, first_here, first_commanded = self._compared[0]
        error = (self._step_to(here, first_here) - (commanded - first_commanded))[self._is_named]
        return float(np.max(np.abs(error)))

    def reset_tracking(self) -> None:
        """Clear the tracking history: somebody else moves the arm, or nobody."""
        self._compared.clear()

    def is_small(self, command: ArrayLike, measured: ArrayLike, speed: float) -> bool:
        """Return whether `command`, or each of a chunk, asks every driven joint for less than `speed`: the task's end.

        Args:
            command: as `follow` takes it.
            measured: (n,) rad.
            speed: rad/s.

        Raises:
            InputError: a number that is not finite, or not one a joint.
        """
        here, wanted = self._checked("measured", measured), self._checked_chunk(command)
        approach_s = self.horizon_s + self._longest_stop_s
        return bool(np.max(np.abs([self._velocity(each, here, approach_s) for each in wanted])) < speed)

    # The plan, and where the arm is relative to it.

    def _enter(self, now_s: float, here: Array, age_s: float) -> tuple[Plan, float]:
        """Return the plan, and when a motion may take over from it.

        At the start, from rest, and if the arm does not follow, the controller may be away from the plan: it gets the
        time to go there no faster than its top speed.
        """
        plan = self._plan
        if plan is None:
            plan, apart = Plan(now_s, here), np.zeros_like(here)
        elif self.mode == KINOVA:  # it integrates velocities, so the plan is where the arm is
            self._move(plan, -self._ahead(plan, now_s - age_s, here))
            self._plan, self._entered_s = plan, now_s
            return plan, now_s
        else:
            self._move(plan, np.where(self._is_named, 0.0, -self._ahead(plan, now_s - age_s, here)))
            apart = self._ahead(plan, now_s, here)
            if self._is_lost(plan, now_s - age_s, now_s, here):
                self._move(plan, -self._ahead(plan, now_s - age_s, here))
                plan = Plan(now_s, here)
            elif now_s < plan.end_s + _LOST_S:
                return plan, max(now_s + max(self.lead_s, _FIRST_S), self._entered_s)
        self._plan = plan
        self._entered_s = now_s + max(self.lead_s, _ENTER_S, float(np.max(np.abs(apart) / self.arm.max_velocity)))
        return plan, self._entered_s

    def _ahead(self, plan: Plan, time_s: float, here: Array) -> Array:
        """Return how far the plan was ahead of the arm at `time_s`, (n,) rad, continuous joints the short way round."""
        return self._step_to(plan.at(time_s)[0], here)

    def _move(self, plan: Plan, offset: Array) -> None:
        """Move the plan to where the arm is, which commands nothing."""
        plan.shift(offset)
        self._withheld = self._withheld - offset

    def _is_lost(self, plan: Plan, measured_s: float, now_s: float, here: Array) -> bool:
        """Return whether the arm was nowhere near the plan's recent positions when it was measured."""
        times = np.linspace(measured_s - _LOST_S - self._averaged_s, now_s, _LOOKS)
        recent, now = plan.at(times)[0], plan.at(measured_s)[0]
        measured = now - self._step_to(now, here)  # with the plan's count of turns
        outside = np.maximum(recent.min(axis=0) - measured, measured - recent.max(axis=0))
        return bool(np.any(outside > _AT_REST_RAD))

    def _withhold(self, now_s: float, rate: Array) -> None:
        """Note by how much the plan is slower from now on than was asked for, (n,) rad/s."""
        self._withheld = self._withheld_until(now_s)
        self._withholding, self._withholding_since_s = rate, now_s

    def _withheld_until(self, now_s: float) -> Array:
        return self._withheld + self._withholding * min(now_s - self._withholding_since_s, self.horizon_s)

    # What a command may be.

    def _segments(self, commands: Array, step_s: float | None, passed_s: float) -> list[Segment]:
        """Return what is left of a chunk (K, J): velocities are kept, positions go on from one to the next.

        The last position is approached in steps too: a longer one would have to be slower, not to go beyond it.
        """
        if len(commands) == 1:
            return segments(commands, np.zeros_like(commands), 0.0, 0.0, self.horizon_s)
        step_s = duration("step_s, of a chunk", math.nan if step_s is None else step_s)
        if self.task == VELOCITIES:
            return segments(commands, np.zeros_like(commands), step_s, passed_s, self.horizon_s)
        left = math.ceil((passed_s + self.horizon_s) / step_s) - len(commands)
        positions = np.vstack([commands, *[commands[-1:]] * left])
        positions = np.clip(positions, self.lower[self.driven], self.upper[self.driven])
        steps = step_to(positions[1:], positions[:-1], self.arm.is_continuous[self.driven])
        rates = np.vstack([steps / step_s, np.zeros_like(positions[:1])])
        return segments(positions, rates, step_s, passed_s, self.horizon_s)

    def _velocities(
        self, parts: Sequence[Segment], goal: Array | None, start: Array, before: Array, ahead: Array
    ) -> tuple[Array, Array]:
        """Return what the first segment asks for, (n,) rad/s, and each one's velocity (S, n) where the last ends."""
        requested, velocities = [], []
        for part in parts:
            asked = self._limited(part, start if goal is None else goal, start)
            velocity = self._within_reach(asked, ahead)
            piece = self._cruise(start, before, velocity, part.lasts_s)
            start, before = piece.positions[-2], piece.velocities[-2]
            requested.append(asked)
            velocities.append(velocity)
        return requested[0], np.array(velocities)

    def _limited(self, part: Segment, goal: Array, start: Array) -> Array:
        """Return the velocities (n,) rad/s that lead where a segment asks, within speed and position limits."""
        top_speed = self.speed_scale * self.arm.max_velocity
        # How far ahead of where it must stand, in s at its speed, a joint is slowed.
        approach_s = part.lasts_s + self._longest_stop_s
        velocity = np.clip(self._step_to(goal, start) / approach_s, -top_speed, top_speed)
        asked = self._velocity(part.command, start, approach_s) + part.rate
        velocity[self.driven] = limit_velocity(asked, top_speed[self.driven])
        return self._within_positions(velocity, start, approach_s)

    def _velocity(self, command: Array, here: Array, approach_s: float) -> Array:
        if self.task == VELOCITIES:
            return command
        target = here.copy()
        target[self.driven] = command
        reachable = np.clip(target, self.lower, self.upper)
        return (self._step_to(reachable, here) / approach_s)[self.driven]

    def _step_to(self, target: Array, here: Array) -> Array:
        return step_to(target, here, self.arm.is_continuous)

    def _within_positions(self, velocity: Array, here: Array, approach_s: float) -> Array:
        """Slow each joint by itself towards its limits; one beyond a limit may not go further out."""
        up, down = np.maximum(self.upper - here, 0.0), np.maximum(here - self.lower, 0.0)
        return np.clip(velocity, -down / approach_s, up / approach_s)

    def _within_reach(self, velocity: Array, ahead: Array) -> Array:
        """Slow the plan where the arm lags by more than a servo does, down to none at twice as much.

        The driven joints by one factor.
        """
        lag = np.sign(velocity) * ahead / (self.arm.max_velocity * _LAG_S)
        room = self.speed_scale * self.arm.max_velocity * np.clip(2 - lag, 0.0, 1.0)
        slowed = np.clip(velocity, -room, room)
        driven = self.driven
        fastest = np.abs(velocity[driven])
        shares = np.divide(room[driven], fastest, out=np.ones(len(driven)), where=fastest > room[driven])
        slowed[driven] = velocity[driven] * shares.min()
        return slowed

    def _way(self, plan: Plan, now_s: float, start_s: float, here: Array) -> Array:
        """Return where the arm is measured, then where it will be until `start_s`, (T, n) rad in the plan's turns."""
        planned = plan.at(np.linspace(now_s, start_s, int(np.ceil((start_s - now_s) / _SAMPLE_S)) + 1))[0]
        return np.vstack([planned[-1] - self._step_to(planned[-1], here), planned])

    def _allowed(self, start: Array, before: Array, velocities: Array, lasts_s: Sequence[float], way: Array) -> Motion:
        """Return the motion at `velocities` (S, n), or at as large a share of them as limits, fence and step allow.

        At share 0 it is the smooth stop, which was allowed as a part of the motion before.
        """
        pieces = self._pieces(start, before, velocities, lasts_s)
        if self._is_allowed(pieces, way):
            return chain(pieces)
        best, share, part = self._pieces(start, before, 0.0 * velocities, lasts_s), 0.0, 1.0
        for _ in range(_HALVINGS):
            part /= 2
            tried = self._pieces(start, before, (share + part) * velocities, lasts_s)
            if self._is_allowed(tried, way):
                best, share = tried, share + part
        return chain(best)

    def _pieces(self, start: Array, before: Array, velocities: Array, lasts_s: Sequence[float]) -> list[Motion]:
        """Return the motion of each segment with the stop that would end it there."""
        pieces = []
        for velocity, for_s in zip(velocities, lasts_s, strict=True):
            pieces.append(self._cruise(start, before, velocity, for_s))
            start, before = pieces[-1].positions[-2], pieces[-1].velocities[-2]
        return pieces

    def _cruise(self, start: Array, before: Array, velocity: Array, for_s: float) -> Motion:
        """Return the motion to `velocity`; passive joints change their speed as far as they can in the same time."""
        largest, driven = self.arm.max_acceleration, self.driven
        change_s = stopping_time_s((velocity - before)[driven], largest[driven])
        change = np.clip(velocity - before, *(largest * max(change_s, _CHANGE_S) * [[-1], [1]]))
        return cruise(start, before, before + change, for_s, largest, change_s)

    def _is_allowed(self, pieces: Sequence[Motion], way: Array) -> bool:
        """Return whether the limits allow it all, and each piece's own stop: a next command may come there."""
        positions, start = np.vstack([_positions(piece) for piece in pieces]), pieces[0].start
        # Not only from where it is measured now: an arm that turns round is measured further away at the next command.
        if np.any(np.ptp(np.vstack([way, positions]), axis=0) > self.max_step_rad):
            return False
        if np.any(positions < np.minimum(self.lower, start) - _TOUCHED_RAD):
            return False
        if np.any(positions > np.maximum(self.upper, start) + _TOUCHED_RAD):
            return False
        if self.fence is None:
            return True
        now_m, *outside_m = self.fence.outside_m(np.vstack([start, positions]))
        return bool(max(outside_m) <= now_m + _TOUCHED_M)

    def _checked_chunk(self, command: ArrayLike) -> Array:
        """Return the commands (K, J) of a chunk, or of the only one (J,)."""
        array = finite("command", command)
        rows = array if array.ndim == 2 and len(array) else [array]
        return np.array([self._checked("command", row, self.driven_joints) for row in rows])

    def _checked(self, what: str, values: ArrayLike, joints: tuple[str, ...] = ()) -> Array:
        names = joints or self.arm.joint_names
        array = finite(what, values)
        if array.shape != (len(names),):
            raise InputError(f"{what}: expected one value for each of {list(names)}, got shape {array.shape}")
        return array

    # What is sent.

    def _send(self, now_s: float, start_s: float, plan: Plan, motion: Motion) -> JointTrajectory:
        plan.extend(start_s, motion)
        if self.mode == KINOVA:
            return self._as_velocities(now_s, plan)
        times = self._times(max(self._entered_s - now_s, _FIRST_S), start_s - now_s, motion)
        positions = self._sent(plan, now_s, times)
        return JointTrajectory(self.names, positions if self.all_joints else positions[:, self.driven], times)

    def _times(self, first_s: float, starts_s: float, motion: Motion) -> Array:
        """Return the times (P,) s of the points: before the motion starts, while it lasts, while it is averaged."""
        before = np.arange(_SAMPLE_S, starts_s, _SAMPLE_S)
        after = starts_s + motion.sample_times(_SAMPLE_S)
        if self._averaged_s:
            after = starts_s + np.arange(0.0, motion.lasts_s + self._averaged_s + _SAMPLE_S, _SAMPLE_S)
        times = np.round(np.concatenate([[first_s], before, [starts_s], after]), _DECIMALS)
        return np.unique(times[times >= times[0]])

    def _sent(self, plan: Plan, now_s: float, times_s: Array) -> Array:
        """Return the positions (P, n) rad at `times_s` (P,) from now: the plan's, or their average."""
        if not self._averaged_s:
            return plan.at(now_s + times_s)[0]
        count = int(np.ceil(self._averaged_s / _SAMPLE_S))
        grid_s = self._averaged_s / count * np.arange(-count - 1, times_s[-1] / self._averaged_s * count + 2)
        planned = plan.at(now_s + grid_s)[0]
        summed = np.cumsum((planned[1:] + planned[:-1]) / 2, axis=0)
        averaged = (summed[count:] - summed[:-count]) / count
        return np.stack([np.interp(times_s, grid_s[count + 1 :], column) for column in averaged.T], axis=1)

    def _as_velocities(self, now_s: float, plan: Plan) -> JointTrajectory:
        steps = max(int(np.ceil((plan.end_s + self._averaged_s - now_s) / _KINOVA_STEP_S - 1e-9)), 1)
        times = _KINOVA_STEP_S * np.arange(steps + 1, dtype=np.float64)
        positions = self._sent(plan, now_s, times)
        velocities = np.diff(positions, axis=0) / _KINOVA_STEP_S
        # Zeros at the end, so that the driver is told to stand; twice, for one version of it repeats the last but one.
        return JointTrajectory(
            self.names,
            np.vstack([positions[1:], positions[-1:], positions[-1:]]),
            np.append(times[1:], times[-1] + _KINOVA_STEP_S * np.array([1, 2])),
            np.vstack([velocities, np.zeros((2, len(self.arm.joints)))]),
        )


def _positions(motion: Motion) -> Array:
    """Return positions (P, n) rad of a motion, four between its knots."""
    knots = motion.times_s
    times = np.concatenate([np.linspace(knots[k], knots[k + 1], 5)[1:] for k in range(len(knots) - 1)])
    return motion.at(times)[0]
