"""A joint trajectory controller that accepts, rejects and interpolates as ros2_control's does.

What it follows: `joint_trajectory_controller` of ros2_controllers for ROS 2 Jazzy with its default parameters,
positions commanded, positions and velocities measured. What that one lets through, this one lets through: NaN,
positions beyond the limits, a joint named twice, a point at time 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.errors import InputError

Array = NDArray[np.float64]

_AT_REST = float(np.finfo(np.float32).eps)  # rad/s; the real controller's tolerance on the last velocity


def _nothing() -> Array:
    return np.zeros(0)


@dataclass(frozen=True)
class Point:
    """A point of a trajectory: one value for each named joint, or none where a field is left empty.

    Attributes:
        time_from_start_s: s.
        positions: (J,) rad.
        velocities: (J,) rad/s, or empty.
        accelerations: (J,) rad/s², or empty.
        effort: empty, or the trajectory is rejected.
    """

    time_from_start_s: float
    positions: Array
    velocities: Array = field(default_factory=_nothing)
    accelerations: Array = field(default_factory=_nothing)
    effort: Array = field(default_factory=_nothing)


@dataclass(frozen=True)
class Trajectory:
    """What a JointTrajectory message says.

    Attributes:
        joint_names: in the order of the points' values.
        points: by time.
        start_s: when it starts, on the controller's clock; 0 is as soon as it is taken up.
    """

    joint_names: tuple[str, ...]
    points: tuple[Point, ...]
    start_s: float = 0.0


class JointTrajectoryController:
    """Executes the newest accepted trajectory; holds the last point after it, or the pose it was reset to.

    All times are seconds of one clock that the caller chooses. It is not thread-safe.
    """

    def __init__(
        self,
        joint_names: Sequence[str],
        positions: ArrayLike,
        continuous: ArrayLike | None = None,
        allow_partial_joints_goal: bool = False,
    ) -> None:
        """Hold at `positions`.

        Args:
            joint_names: the n joints it controls.
            positions: (n,) rad.
            continuous: (n,) bool: joints that go to a first point the short way round; None for none.
            allow_partial_joints_goal: accept trajectories for some of the joints; the others stay.
        """
        self.joint_names = tuple(joint_names)
        self._partial = allow_partial_joints_goal
        self._continuous = np.zeros(len(self.joint_names), bool) if continuous is None else np.asarray(continuous)
        self.reset(positions)

    def reset(self, positions: ArrayLike) -> None:
        """Forget every trajectory and hold at `positions` (n,) rad."""
        self._setpoint = np.array(positions, dtype=np.float64)
        self._pending: Trajectory | None = None
        self._points: tuple[Point, ...] = ()  # the running trajectory, its times on the controller's clock

    def accept(self, trajectory: Trajectory, now_s: float) -> None:
        """Check a trajectory; the next `take_up` replaces the running one by it.

        Raises:
            InputError: the real controller would reject it; the message says why. What ran goes on.
        """
        self._check_names(trajectory)
        _check_end(trajectory, now_s)
        _check_times(trajectory)
        for number, point in enumerate(trajectory.points):
            _check_sizes(number, point, len(trajectory.joint_names))
        self._pending = trajectory

    def take_up(self, now_s: float, positions: ArrayLike, velocities: ArrayLike) -> None:
        """Start what was accepted since the last call, if anything, from the measured state.

        Args:
            now_s: s; the start of a trajectory that says 0.
            positions: (n,) rad measured.
            velocities: (n,) rad/s measured.
        """
        if self._pending is None:
            return
        trajectory, self._pending = self._pending, None
        start_s = trajectory.start_s or now_s
        points = [
            replace(
                self._for_all_joints(trajectory.joint_names, point),
                time_from_start_s=start_s + point.time_from_start_s,
            )
            for point in trajectory.points
        ]
        here = self._unwound(np.asarray(positions, np.float64), points[0].positions)
        unmeasured = np.zeros_like(here) if points[0].accelerations.size else _nothing()
        self._points = (Point(now_s, here, np.array(velocities, np.float64), unmeasured), *points)

    def sample(self, now_s: float) -> Array:
        """Return the positions (n,) rad to be at now."""
        for before, after in pairwise(self._points):
            if now_s < after.time_from_start_s:
                self._setpoint = interpolate(before, after, now_s)
                return self._setpoint
        if self._points:
            self._setpoint = self._points[-1].positions
        return self._setpoint

    def _check_names(self, trajectory: Trajectory) -> None:
        names, own = trajectory.joint_names, list(self.joint_names)
        if not self._partial and len(names) != len(own):
            raise InputError(f"joint_names: expected all of {own}, got {list(names)}")
        if not names:
            raise InputError(f"joint_names: expected some of {own}, got none")
        if not trajectory.points:
            raise InputError("points: expected at least one, got none")
        unknown = [name for name in names if name not in own]
        if unknown:
            raise InputError(f"joint_names: expected some of {own}, got {unknown}")

    def _for_all_joints(self, names: tuple[str, ...], point: Point) -> Point:
        """Return the point in the controller's order; joints that are not named stay where they are told to be."""
        place = [self.joint_names.index(name) for name in names]

        def spread(values: Array, missing: Array) -> Array:
            if not values.size:
                return values
            whole = missing.copy()
            whole[place] = values
            return whole

        still = np.zeros(len(self.joint_names))
        return Point(
            point.time_from_start_s,
            spread(point.positions, self._setpoint),
            spread(point.velocities, still),
            spread(point.accelerations, still),
        )

    def _unwound(self, positions: Array, target: Array) -> Array:
        """Return `positions`, continuous joints changed by whole turns to at most half a turn from `target`."""
        turns = np.round((target - positions) / (2 * np.pi))
        return positions + np.where(self._continuous & np.isfinite(turns), turns, 0.0) * 2 * np.pi


def interpolate(before: Point, after: Point, now_s: float) -> Array:
    """Return the positions (J,) rad at `now_s` between two points whose times are on the same clock.

    A straight line; the cubic that meets both ends' velocities where both have them; the quintic that meets their
    accelerations too where both have those.
    """
    whole_s = after.time_from_start_s - before.time_from_start_s
    u = (now_s - before.time_from_start_s) / whole_s
    if not (before.velocities.size and after.velocities.size):
        return before.positions + (after.positions - before.positions) * u
    v0, v1 = before.velocities * whole_s, after.velocities * whole_s
    step = after.positions - before.positions
    if not (before.accelerations.size and after.accelerations.size):
        cubic = v0 * (u - 2 * u**2 + u**3) + step * (3 * u**2 - 2 * u**3) + v1 * (u**3 - u**2)
        return np.asarray(before.positions + cubic)
    a0, a1 = before.accelerations * whole_s**2, after.accelerations * whole_s**2
    quintic = (
        v0 * (u - 6 * u**3 + 8 * u**4 - 3 * u**5)
        + a0 * (u**2 - 3 * u**3 + 3 * u**4 - u**5) / 2
        + step * (10 * u**3 - 15 * u**4 + 6 * u**5)
        + v1 * (-4 * u**3 + 7 * u**4 - 3 * u**5)
        + a1 * (u**3 - 2 * u**4 + u**5) / 2
    )
    return np.asarray(before.positions + quintic)


def _check_end(trajectory: Trajectory, now_s: float) -> None:
    last = trajectory.points[-1]
    for name, speed in zip(trajectory.joint_names, last.velocities, strict=False):
        if abs(speed) > _AT_REST:
            raise InputError(f"velocities: expected 0 at the last point, got {speed:g} rad/s for {name}")
    end_s = trajectory.start_s + last.time_from_start_s
    if trajectory.start_s != 0 and end_s < now_s:
        raise InputError(f"header.stamp: expected 0 or an end in the future, got one {now_s - end_s:.3f} s ago")


def _check_times(trajectory: Trajectory) -> None:
    times = [point.time_from_start_s for point in trajectory.points]
    for number, (before, after) in enumerate(pairwise(times)):
        if after <= before:
            where = f"points {number} and {number + 1}"
            raise InputError(f"time_from_start: expected it to increase, got {before:g} s and {after:g} s at {where}")


def _check_sizes(number: int, point: Point, joints: int) -> None:
    for what, values in (
        ("positions", point.positions),
        ("velocities", point.velocities),
        ("accelerations", point.accelerations),
    ):
        may_be_empty = what != "positions"
        if values.size != joints and not (may_be_empty and not values.size):
            raise InputError(f"{what}: expected {joints}, one a joint, got {values.size} at point {number}")
    if point.effort.size:
        raise InputError(f"effort: expected none, got {point.effort.size} at point {number}")
