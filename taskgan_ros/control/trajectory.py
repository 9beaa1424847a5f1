"""From a policy's command to a joint trajectory that a JointTrajectoryController accepts. No ROS in here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.arm.arm import Arm
from taskgan_ros.control.limits import duration, finite, integrate, limit_velocity
from taskgan_ros.errors import InputError

Array = NDArray[np.float64]

VELOCITIES, ANGLES = "joint_velocities", "joint_angles"


@dataclass(frozen=True)
class JointTrajectory:
    """A trajectory that breaks no rule of ros2_control's JointTrajectoryController, or is not made at all.

    The controller checks some of them and rejects the message; NaN, a name given twice and a point at time 0,
    which is a jump, it executes. Efforts are rejected there, so there is no place for them here.

    Attributes:
        names: the J joints, each once.
        positions: (P, J) rad, P ≥ 1 points.
        time_from_start_s: (P,) s, the first positive, increasing.
        velocities: (P, J) rad/s, the last point's all zero; or None: constant speed from point to point.
    """

    names: tuple[str, ...]
    positions: Array
    time_from_start_s: Array
    velocities: Array | None = None

    def __post_init__(self) -> None:
        """Check every rule.

        Raises:
            InputError: a rule is broken; the message says which, expected and actual.
        """
        self._check_names()
        self._check_times()
        self._check_values("positions", self.positions)
        if self.velocities is not None:
            self._check_values("velocities", self.velocities)
            last = self.velocities[-1]
            if np.any(last != 0):
                raise InputError(f"trajectory: expected to end at rest, got velocities {last.tolist()}")

    def _check_names(self) -> None:
        if not self.names or not all(self.names) or len(set(self.names)) < len(self.names):
            raise InputError(f"trajectory: expected joint names, each once, got {list(self.names)}")

    def _check_times(self) -> None:
        times = finite("time_from_start", self.time_from_start_s)
        if times.ndim != 1 or not times.size or np.any(np.diff(times, prepend=0.0) <= 0):
            raise InputError(f"trajectory: expected times above 0 that increase, got {times.tolist()}")

    def _check_values(self, what: str, values: Array) -> None:
        expected = (len(self.time_from_start_s), len(self.names))
        if finite(what, values).shape != expected:
            raise InputError(f"trajectory: expected {what} of shape {expected}, got {values.shape}")


@dataclass(frozen=True)
class JointCommander:
    """Turns commands of one bundle into trajectories for one arm.

    A trajectory is a single point `horizon_s` ahead of the *measured* configuration: without a next message
    the arm is at rest after `horizon_s`, whoever has failed. The point has no velocity: a controller then
    goes there in a straight line at the commanded speed, while a zero velocity would make it a cubic that
    starts and ends slowly and is half again too fast in between.

    Attributes:
        arm: names and limits of all n joints.
        driven_joints: the J joints that the bundle commands, in its output order.
        task: `joint_velocities` (commands in rad/s) or `joint_angles` (commands in rad).
        horizon_s: s; how far ahead a point lies. Less than the time between two commands makes the arm
            stutter.
        all_joints: name all n joints, in the arm's order, and hold those that are not driven; or only the
            driven ones, for a controller that allows partial goals.
    """

    arm: Arm
    driven_joints: tuple[str, ...]
    task: str = VELOCITIES
    horizon_s: float = 0.2
    all_joints: bool = True

    def __post_init__(self) -> None:
        """Check what does not change.

        Raises:
            InputError: a joint that the arm has not, or that is named twice; an unknown task; a horizon that
                is not a positive time.
        """
        known, names = self.arm.joint_names, self.driven_joints
        if not names or not set(names) <= set(known) or len(set(names)) < len(names):
            raise InputError(f"driven joints: expected some of {list(known)}, each once, got {list(names)}")
        if self.task not in (VELOCITIES, ANGLES):
            raise InputError(f"task: expected {VELOCITIES} or {ANGLES}, got {self.task!r}")
        duration("horizon_s", self.horizon_s)

    @cached_property
    def driven(self) -> NDArray[np.intp]:
        """(J,) indices of the driven joints among the arm's."""
        return np.array([self.arm.joint_names.index(name) for name in self.driven_joints])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The joints of every trajectory, in its order."""
        return self.arm.joint_names if self.all_joints else self.driven_joints

    def next_point(
        self, command: ArrayLike, measured: ArrayLike, parked: ArrayLike, age_s: float = 0.0
    ) -> JointTrajectory:
        """Return the trajectory that follows `command` within the arm's speed and position limits.

        The driven joints share one slow-down, which keeps the command's direction. The others go to `parked`
        each at its limited speed, so that one that was moved by hand neither jumps back nor slows the task.

        The arm may have moved at its limit since it was measured, in any direction, and has `horizon_s` from now
        to the point. So that even then it need not be faster than the limit, the point lies no further from
        `measured` than the limit leads in `horizon_s - age_s`; at `measured` itself where that is not positive.

        Args:
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
            return self.hold(here)
        top_speed = self.arm.max_velocity * (1 - age_s / self.horizon_s)
        velocity = np.clip(self._step_to(goal, here) / self.horizon_s, -top_speed, top_speed)
        velocity[self.driven] = limit_velocity(self._velocity(wanted, here), top_speed[self.driven])
        lower, upper = self.arm.lower, self.arm.upper
        return self._to(integrate(here, velocity, self.horizon_s, lower, upper, top_speed))

    def hold(self, measured: ArrayLike) -> JointTrajectory:
        """Return the trajectory that stops the arm at `measured` (n,) rad, the newest joint state.

        Should that be old, because the joint states have stopped, the way back to it is still no faster than
        the speed limit: every point sent since lies within `horizon_s` at that limit.

        Raises:
            InputError: a number that is not finite, or not one a joint.
        """
        return self._to(self._checked("measured", measured))

    def _velocity(self, command: Array, here: Array) -> Array:
        if self.task == VELOCITIES:
            return command
        target = here.copy()
        target[self.driven] = command
        reachable = np.clip(target, self.arm.lower, self.arm.upper)
        return (self._step_to(reachable, here) / self.horizon_s)[self.driven]

    def _step_to(self, target: Array, here: Array) -> Array:
        """Return target − here, for a continuous joint the short way round: drivers count turns apart."""
        step = target - here
        around = np.remainder(step + np.pi, 2 * np.pi) - np.pi
        return np.where(np.isinf(self.arm.lower) & np.isinf(self.arm.upper), around, step)

    def _checked(self, what: str, values: ArrayLike, joints: tuple[str, ...] = ()) -> Array:
        names = joints or self.arm.joint_names
        array = finite(what, values)
        if array.shape != (len(names),):
            raise InputError(f"{what}: expected one value for each of {list(names)}, got shape {array.shape}")
        return array

    def _to(self, configuration: Array) -> JointTrajectory:
        positions = configuration if self.all_joints else configuration[self.driven]
        return JointTrajectory(self.names, positions[None, :].copy(), np.array([self.horizon_s]))
