"""From a policy's commands to trajectories within every limit of the arm."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.control.chunk import Segment, segments
from taskgan_ros.control.command_interfaces import KINOVA
from taskgan_ros.control.commander_config import VELOCITIES, CommanderConfig
from taskgan_ros.control.limits import duration, finite, limit_velocity
from taskgan_ros.control.motion import Motion, chain, cruise, stopping_time_s
from taskgan_ros.control.plan import Plan
from taskgan_ros.control.tracking import TrackingHistory, WithheldMotion
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.angles import angle_difference

Array = NDArray[np.float64]

_SAMPLE_S = 0.004  # between points; controllers interpolate linearly: at each, speed steps by acceleration x this
_FIRST_S = 0.001  # to the first point: less than a controller's update, so where it would start from does not matter
_KINOVA_STEP_S = 0.05  # between two velocities: several updates of the driver, which runs at 100 Hz at most
_ENTER_S = 0.05  # to reach the plan from wherever a controller is at rest
_CHANGE_S = 0.05  # at least, for passive joints to change their speed, even if the driven ones take less
_LAG_S = 0.15  # that an arm may be behind the plan at full speed: servos lag 0.02 to 0.1, and joint states are late
_LOST_S = 2 * _LAG_S  # an arm that is nowhere near where the plan has been in this time has lost it
_AT_REST_RAD = 0.05  # distance from the plan, of an arm that sags or has backlash
_DECIMALS = 6  # of a point's time in s; points closer than that are merged
_LOOKS = 10  # samples of the plan within _LOST_S
_HALVINGS = 8  # bisection steps to find the allowed share of a command
_FENCE_SHARES = np.arange(1, 5) / 4  # of the time between two knots, at which the tip is compared with the fence
_TOUCHED_M, _TOUCHED_RAD = 1e-6, 1e-9  # outside by rounding


class JointCommander:
    """Turns commands of one bundle into trajectories for one arm.

    All that was sent forms one motion over time, the plan. Each command continues it from the plan's position and
    velocity `lead_s` from now: it accelerates within the limits to the command's velocity, lasts `horizon_s` and ends
    with a smooth stop, which is what the arm does if nothing more comes. A servo lags behind the plan, so the plan does
    not restart where the arm was measured: it would step back at each command. It restarts there only if the arm has
    lost it, and it waits for an arm that lags by more than a servo does. The commands of a chunk follow each other,
    each for its step, the last until the horizon.

    What limits a command; where two limits contradict each other, the earlier one wins:

    - accelerations: all driven joints change their velocity together, so the one that needs longest sets the time.
    - positions: the arm file's, `margin_rad` inside; speed falls towards them so that the stop still fits.
    - speeds: all driven joints are slowed by one factor, which keeps the direction.
    - the fence and the largest step: all joints are slowed by one factor, down to the smooth stop.

    Attributes:
        config: see `CommanderConfig`.
        resets: how often it was reset.
    """

    def __init__(self, config: CommanderConfig) -> None:
        """Start from rest."""
        self.config, self.resets = config, 0
        self.reset()

    def reset(self) -> None:
        """Discard what was sent: the next trajectory starts from rest, where the arm is measured."""
        self.resets += 1
        self._plan: Plan | None = None
        self._entered_s = 0.0
        self._withheld = WithheldMotion(len(self.config.arm.joint_names), self.config.horizon_s)
        self._tracking = TrackingHistory(self.config.arm.is_continuous)

    def set_speed_scale(self, share: float) -> None:
        """Change the share of the arm file's speeds that is used.

        Raises:
            InputError: not in (0, 1].
        """
        self.config = dataclasses.replace(self.config, speed_scale=share)

    def follow(
        self, now_s: float, command: ArrayLike, measured: ArrayLike, passive: ArrayLike, age_s: float = 0.0,
        step_s: float | None = None, seen_s: float = math.inf,
    ) -> JointTrajectory:  # fmt: skip
        """Return the trajectory that follows `command` as far as the limits allow.

        The passive joints go to `passive`, each by itself, so that one that was moved by hand neither jumps back nor
        slows the task.

        Args:
            now_s: s, on a steady clock; the trajectory's times count from it.
            command: (J,) rad/s or rad, in the order of `driven_joints`; or (K, J), a chunk of them.
            measured: (n,) rad, all joints, in the arm's order.
            passive: (n,) rad; where the passive joints belong; those of the driven are not used.
            age_s: s, how long ago `measured` was.
            step_s: s that each command of a chunk is for.
            seen_s: s, on the same clock, when the chunk begins: what of it is over when the motion begins is left out.
                Without one, the chunk begins with the motion.

        Raises:
            InputError: a number that is not finite, or not one per joint, a negative age, or a chunk without a step.
        """
        here, home = self._checked("measured", measured), self._checked("passive", passive)
        target = self._checked_chunk(command)
        if not age_s >= 0:  # true for NaN too
            raise InputError(f"age of the joint state: expected 0 s or more, got {age_s}")
        plan, start_s = self._enter(now_s, here, age_s)
        start, before = plan.at(start_s)
        parts = self._segments(target, step_s, max(start_s - seen_s, 0.0))
        ahead = self._ahead(plan, now_s - age_s, here)
        goal = home if self.config.all_joints else None
        requested, velocities, pieces = self._velocities(parts, goal, start, before, ahead)
        is_entering = start_s == self._entered_s > now_s  # it stands until then
        self._withheld.set_rate(now_s, requested if is_entering else requested - velocities[0])
        until_start = self._commanded_positions(plan, now_s, start_s, here)
        if not self._is_allowed(pieces, until_start):
            lasts_s = [part.lasts_s for part in parts]
            pieces = self._allowed_pieces(start, before, velocities, lasts_s, until_start)
        return self._send(now_s, start_s, plan, chain(pieces))

    def stop(self, now_s: float, measured: ArrayLike, age_s: float = 0.0) -> JointTrajectory:
        """Return the smooth stop of what was sent; at rest, a hold.

        Args:
            now_s: s, on the clock of `follow`.
            measured: (n,) rad, the newest joint state.
            age_s: s, how long ago that was.

        Raises:
            InputError: a number that is not finite, or not one per joint.
        """
        here = self._checked("measured", measured)
        plan, start_s = self._enter(now_s, here, max(age_s, 0.0))
        self._withheld.set_rate(now_s, np.zeros_like(here))
        start, before = plan.at(start_s)
        return self._send(now_s, start_s, plan, cruise(start, before, before, 0.0, self.config.arm.max_acceleration))

    def tracking_error(self, now_s: float, measured: ArrayLike, age_s: float) -> float:
        """Return the largest difference of a joint's commanded and measured displacement in the last second, rad.

        To be called at every joint state: it shows a blocked arm, and frozen joint states. The plan waits for such an
        arm; how far it would have gone without waiting counts as commanded.

        Args:
            now_s: s, on the clock of `follow`.
            measured: (n,) rad, the newest joint state.
            age_s: s, how long ago that was.

        Raises:
            InputError: a number that is not finite, or not one per joint.
        """
        here = self._checked("measured", measured)
        if self._plan is None:
            return 0.0
        commanded = self._plan.at(now_s - age_s)[0] + self._withheld.displacement(now_s)
        return float(np.max(np.abs(self._tracking.error(now_s, here, commanded)[self.config.is_named])))

    def reset_tracking(self) -> None:
        """Clear the tracking history: this node no longer moves the arm."""
        self._tracking.clear()

    def is_small(self, command: ArrayLike, measured: ArrayLike, speed: float) -> bool:
        """Return whether `command`, or each of a chunk, requests of every driven joint less than `speed` rad/s.

        Args:
            command: as `follow` takes it.
            measured: (n,) rad.
            speed: rad/s.

        Raises:
            InputError: a number that is not finite, or not one per joint.
        """
        here, wanted = self._checked("measured", measured), self._checked_chunk(command)
        velocities = [self._velocity(each, here, self.config.approach_s(self.config.horizon_s)) for each in wanted]
        return bool(np.max(np.abs(velocities)) < speed)

    @property
    def plan(self) -> Plan | None:
        """All that was sent, as one motion over time; None before the first trajectory."""
        return self._plan

    # The plan, and where the arm is relative to it.

    def _enter(self, now_s: float, here: Array, age_s: float) -> tuple[Plan, float]:
        """Return the plan, and when a motion may take over from it.

        At the start, from rest, and after the arm has lost the plan, the controller may be off the plan. It then gets
        enough time to reach the plan within its top speed.
        """
        plan = self._plan
        if plan is None:
            plan, apart = Plan(now_s, here), np.zeros_like(here)
        elif self.config.is_integrated:  # the plan is where the arm is
            self._move(plan, -self._ahead(plan, now_s - age_s, here))
            self._plan, self._entered_s = plan, now_s
            return plan, now_s
        else:
            if not self.config.is_named.all():
                self._move(plan, np.where(self.config.is_named, 0.0, -self._ahead(plan, now_s - age_s, here)))
            is_lost = self._is_lost(plan, now_s - age_s, now_s, here)
            if not is_lost and now_s < plan.end_s + _LOST_S:
                return plan, max(now_s + max(self.config.lead_s, _FIRST_S), self._entered_s)
            apart = self._ahead(plan, now_s, here)
            if is_lost:
                self._move(plan, -self._ahead(plan, now_s - age_s, here))
                plan = Plan(now_s, here)
        self._plan = plan
        return_s = float(np.max(np.abs(apart) / self.config.arm.max_velocity))
        self._entered_s = now_s + max(self.config.lead_s, _ENTER_S, return_s)
        return plan, self._entered_s

    def _ahead(self, plan: Plan, time_s: float, here: Array) -> Array:
        """Return how far the plan was ahead of the arm at `time_s`, (n,) rad, modulo 2π for continuous joints."""
        return self._step_to(plan.at(time_s)[0], here)

    def _move(self, plan: Plan, offset: Array) -> None:
        """Shift the plan to the arm's position; this commands no motion."""
        plan.shift(offset)
        self._withheld.shift(offset)

    def _is_lost(self, plan: Plan, measured_s: float, now_s: float, here: Array) -> bool:
        """Return whether the arm was nowhere near the plan's recent positions when it was measured."""
        *recent, now = plan.at([*np.linspace(measured_s - _LOST_S, now_s, _LOOKS), measured_s])[0]
        measured = now - self._step_to(now, here)  # with the plan's count of turns
        outside = np.maximum(np.min(recent, axis=0) - measured, measured - np.max(recent, axis=0))
        return bool(np.any(outside > _AT_REST_RAD))

    # What a command may be.

    def _segments(self, commands: Array, step_s: float | None, passed_s: float) -> list[Segment]:
        """Return the rest of a chunk (K, J): velocities are held, positions move on linearly from one to the next.

        The last position is approached in steps too: in one long segment the arm would have to be slower, or overshoot.
        """
        config = self.config
        if len(commands) == 1:
            return segments(commands, np.zeros_like(commands), 0.0, 0.0, config.horizon_s)
        step_s = duration("step_s, of a chunk", math.nan if step_s is None else step_s)
        if config.task == VELOCITIES:
            return segments(commands, np.zeros_like(commands), step_s, passed_s, config.horizon_s)
        left = math.ceil((passed_s + config.horizon_s) / step_s) - len(commands)
        positions = np.vstack([commands, *[commands[-1:]] * left])
        positions = np.clip(positions, config.lower[config.driven], config.upper[config.driven])
        steps = angle_difference(positions[1:], positions[:-1], config.arm.is_continuous[config.driven])
        rates = np.vstack([steps / step_s, np.zeros_like(positions[:1])])
        return segments(positions, rates, step_s, passed_s, config.horizon_s)

    def _velocities(
        self, parts: Sequence[Segment], goal: Array | None, start: Array, before: Array, ahead: Array
    ) -> tuple[Array, Array, list[Motion]]:
        """Return what the first segment requests, (n,) rad/s, and the velocities (S, n) of all within reach.

        With them comes the motion of each segment with the stop that would end it there.
        """
        requested, velocities, pieces = [], [], []
        for part in parts:
            requested.append(self._limited(part, start if goal is None else goal, start))
            velocities.append(self._within_reach(requested[-1], ahead))
            pieces.append(self._cruise(start, before, velocities[-1], part.lasts_s))
            start, before = pieces[-1].positions[-2], pieces[-1].velocities[-2]
        return requested[0], np.array(velocities), pieces

    def _limited(self, part: Segment, goal: Array, start: Array) -> Array:
        """Return the velocities (n,) rad/s that lead where a segment requests, within speed and position limits."""
        top_speed = self.config.top_speed
        approach_s = self.config.approach_s(part.lasts_s)
        velocity = np.clip(self._step_to(goal, start) / approach_s, -top_speed, top_speed)
        requested = self._velocity(part.command, start, approach_s) + part.rate
        velocity[self.config.driven] = limit_velocity(requested, top_speed[self.config.driven])
        return self._within_positions(velocity, start, approach_s)

    def _velocity(self, command: Array, here: Array, approach_s: float) -> Array:
        if self.config.task == VELOCITIES:
            return command
        target = here.copy()
        target[self.config.driven] = command
        reachable = np.clip(target, self.config.lower, self.config.upper)
        return (self._step_to(reachable, here) / approach_s)[self.config.driven]

    def _step_to(self, target: Array, here: Array) -> Array:
        return angle_difference(target, here, self.config.arm.is_continuous)

    def _within_positions(self, velocity: Array, here: Array, approach_s: float) -> Array:
        """Slow each joint by itself towards its limits; one beyond a limit may not go further out."""
        up, down = np.maximum(self.config.upper - here, 0.0), np.maximum(here - self.config.lower, 0.0)
        return np.clip(velocity, -down / approach_s, up / approach_s)

    def _within_reach(self, velocity: Array, ahead: Array) -> Array:
        """Slow the plan if the arm lags by more than a servo does, down to zero at twice that lag.

        All driven joints are slowed by one factor.
        """
        lag = np.sign(velocity) * ahead / (self.config.arm.max_velocity * _LAG_S)
        room = self.config.top_speed * np.clip(2 - lag, 0.0, 1.0)
        slowed = np.clip(velocity, -room, room)
        driven = self.config.driven
        fastest = np.abs(velocity[driven])
        shares = np.divide(room[driven], fastest, out=np.ones(len(driven)), where=fastest > room[driven])
        slowed[driven] = velocity[driven] * shares.min()
        return slowed

    def _commanded_positions(self, plan: Plan, now_s: float, start_s: float, here: Array) -> Array:
        """Return where the arm is measured and the extremes until `start_s`, (E, n) rad, in the plan's turns."""
        planned = plan.extremes(now_s, start_s)
        return np.vstack([planned[-1] - self._step_to(planned[-1], here), planned])

    def _allowed_pieces(
        self, start: Array, before: Array, velocities: Array, lasts_s: Sequence[float], until_start: Array
    ) -> list[Motion]:
        """Return the motions at as large a share of `velocities` (S, n) below 1 as limits, fence and step allow.

        At share 0 they are the smooth stop, which was allowed as a part of the motion before.
        """
        best, share, part = self._pieces(start, before, 0.0 * velocities, lasts_s), 0.0, 1.0
        for _ in range(_HALVINGS):
            part /= 2
            tried = self._pieces(start, before, (share + part) * velocities, lasts_s)
            if self._is_allowed(tried, until_start):
                best, share = tried, share + part
        return best

    def _pieces(self, start: Array, before: Array, velocities: Array, lasts_s: Sequence[float]) -> list[Motion]:
        """Return the motion of each segment with the stop that would end it there."""
        pieces = []
        for velocity, for_s in zip(velocities, lasts_s, strict=True):
            pieces.append(self._cruise(start, before, velocity, for_s))
            start, before = pieces[-1].positions[-2], pieces[-1].velocities[-2]
        return pieces

    def _cruise(self, start: Array, before: Array, velocity: Array, for_s: float) -> Motion:
        """Return the motion to `velocity`; passive joints change their speed as far as they can in the same time."""
        largest, driven = self.config.arm.max_acceleration, self.config.driven
        change_s = stopping_time_s((velocity - before)[driven], largest[driven])
        change = np.clip(velocity - before, *(largest * max(change_s, _CHANGE_S) * [[-1], [1]]))
        return cruise(start, before, before + change, for_s, largest, change_s)

    def _is_allowed(self, pieces: Sequence[Motion], until_start: Array) -> bool:
        """Return whether the limits allow every piece and its stop, since the next command may start in any of them."""
        positions = np.vstack([piece.extremes(0.0, piece.lasts_s) for piece in pieces])
        start = pieces[0].start
        # Not only from the current measurement: an arm that reverses is measured further away at the next command.
        if np.any(np.ptp(np.vstack([until_start, positions]), axis=0) > self.config.max_step_rad):
            return False
        if np.any(positions < np.minimum(self.config.lower, start) - _TOUCHED_RAD):
            return False
        if np.any(positions > np.maximum(self.config.upper, start) + _TOUCHED_RAD):
            return False
        return self._is_within_fence(pieces)

    def _is_within_fence(self, pieces: Sequence[Motion]) -> bool:
        """Return whether the tip stays inside the fence, or at least goes no further outside than it starts."""
        if self.config.fence is None:
            return True
        positions = [pieces[0].start[None]]
        for piece in pieces:
            times = piece.times_s[:-1, None] + np.diff(piece.times_s)[:, None] * _FENCE_SHARES
            positions.append(piece.at(times.ravel())[0])
        now_m, *outside_m = self.config.fence.outside_m(np.vstack(positions))
        return bool(max(outside_m) <= now_m + _TOUCHED_M)

    def _checked_chunk(self, command: ArrayLike) -> Array:
        """Return the commands (K, J) of a chunk, or of the only one (J,)."""
        array = finite("command", command)
        rows = array if array.ndim == 2 and len(array) else [array]
        return np.array([self._checked("command", row, self.config.driven_joints) for row in rows])

    def _checked(self, what: str, values: ArrayLike, joints: tuple[str, ...] = ()) -> Array:
        names = joints or self.config.arm.joint_names
        array = finite(what, values)
        if array.shape != (len(names),):
            raise InputError(f"{what}: expected one value for each of {list(names)}, got shape {array.shape}")
        return array

    # What is sent.

    def _send(self, now_s: float, start_s: float, plan: Plan, motion: Motion) -> JointTrajectory:
        plan.extend(start_s, motion)
        if self.config.command_interface == KINOVA:
            return self._as_velocities(now_s, plan)
        times = self._times(max(self._entered_s - now_s, _FIRST_S), start_s - now_s, motion)
        positions = plan.at(now_s + times)[0]
        if not self.config.all_joints:
            positions = positions[:, self.config.driven]
        return JointTrajectory(self.config.names, positions, times)

    def _times(self, first_s: float, starts_s: float, motion: Motion) -> Array:
        """Return the times (P,) s of the points: before the motion starts, and while it lasts."""
        before = np.arange(_SAMPLE_S, starts_s, _SAMPLE_S)
        after = starts_s + motion.sample_times(_SAMPLE_S)
        times = np.round(np.concatenate([[first_s], before, [starts_s], after]), _DECIMALS)
        return np.unique(times[times >= times[0]])

    def _as_velocities(self, now_s: float, plan: Plan) -> JointTrajectory:
        steps = max(int(np.ceil((plan.end_s - now_s) / _KINOVA_STEP_S - 1e-9)), 1)
        times = _KINOVA_STEP_S * np.arange(steps + 1, dtype=np.float64)
        positions = plan.at(now_s + times)[0]
        velocities = np.diff(positions, axis=0) / _KINOVA_STEP_S
        # Zeros at the end stop the driver. They are sent twice: one version of it repeats the last point but one.
        return JointTrajectory(
            self.config.names,
            np.vstack([positions[1:], positions[-1:], positions[-1:]]),
            np.append(times[1:], times[-1] + _KINOVA_STEP_S * np.array([1, 2])),
            np.vstack([velocities, np.zeros((2, len(self.config.arm.joint_names)))]),
        )
