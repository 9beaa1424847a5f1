"""A joint trajectory controller that accepts, rejects and interpolates as ros2_control's does.

What it follows: `joint_trajectory_controller` of ros2_controllers for ROS 2 Jazzy with its default parameters, except
those that `JointTrajectoryController` has here, positions commanded, positions and velocities measured. What that one
lets through, this one lets through: NaN, positions beyond the limits, a joint named twice, a point at time 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.angles import whole_turns

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

    Attributes:
        commanded: the last update's command: the time of that update, and the positions (n,) rad, velocities (n,)
            rad/s and accelerations (n,) rad/s² to reach by the next one.
    """

    def __init__(
        self,
        joint_names: Sequence[str],
        positions: ArrayLike,
        continuous: ArrayLike | None = None,
        allow_partial_joints_goal: bool = False,
        interpolate_from_desired_state: bool = False,
    ) -> None:
        """Hold at `positions`.

        Args:
            joint_names: the n joints it controls.
            positions: (n,) rad.
            continuous: (n,) bool: joints that go to a first point the short way round; None for none.
            allow_partial_joints_goal: accept trajectories for some of the joints; the others stay.
            interpolate_from_desired_state: go to a trajectory's first point from what was commanded last, and not
                from where the arm was measured.
        """
        self.joint_names = tuple(joint_names)
        self._partial, self._from_desired = allow_partial_joints_goal, interpolate_from_desired_state
        self._continuous = np.zeros(len(self.joint_names), bool) if continuous is None else np.asarray(continuous)
        self.reset(positions)

    def reset(self, positions: ArrayLike) -> None:
        """Forget every trajectory and hold at `positions` (n,) rad."""
        still = np.zeros(len(self.joint_names))
        self.commanded = Point(-np.inf, np.array(positions, dtype=np.float64), still, still)
        self._pending: Trajectory | None = None
        self._points: tuple[Point, ...] = ()  # the running trajectory, its times on the controller's clock

    def accept(self, trajectory: Trajectory, now_s: float) -> None:
        """Check a trajectory; the next `take_up` replaces the running one by it.

        Raises:
            InputError: the real controller would reject it; the message says why. The running trajectory continues.
        """
        self._check_names(trajectory)
        _check_end(trajectory, now_s)
        _check_times(trajectory)
        for number, point in enumerate(trajectory.points):
            _check_sizes(number, point, len(trajectory.joint_names))
        self._pending = trajectory

    def update(self, now_s: float, period_s: float, positions: ArrayLike, velocities: ArrayLike) -> Array:
        """Return the command of one update, (n,) rad: where to be when the next one comes.

        Args:
            now_s: s; a trajectory with start 0 that was accepted since the last update starts now.
            period_s: s between two updates.
            positions: (n,) rad measured.
            velocities: (n,) rad/s measured.
        """
        if self._pending is not None:
            here, speed = np.array(positions, np.float64), np.array(velocities, np.float64)
            self._take_up(self._pending, now_s, Point(now_s, here, speed, np.zeros_like(here)))
            self._pending = None
        self.commanded = replace(self.sample(now_s + period_s), time_from_start_s=now_s)
        return self.commanded.positions

    def _take_up(self, trajectory: Trajectory, now_s: float, measured: Point) -> None:
        """Start a trajectory: from the last command, or from where the arm was measured.

        The last update's command was meant for the time of this one. The real controller gives it the last update's
        time all the same. So the first step towards a first point further away than one update is twice as long.
        """
        start_s = trajectory.start_s or now_s
        points = [
            replace(
                self._for_all_joints(trajectory.joint_names, point),
                time_from_start_s=start_s + point.time_from_start_s,
            )
            for point in trajectory.points
        ]
        before = self.commanded if self._from_desired else measured
        if not np.isfinite(before.time_from_start_s):  # no update yet
            before = replace(before, time_from_start_s=now_s)
        here = before.positions + whole_turns(points[0].positions - before.positions, self._continuous)
        self._points = (replace(before, positions=here), *points)

    def sample(self, now_s: float) -> Point:
        """Return where to be at `now_s`, and how fast."""
        for before, after in pairwise(self._points):
            if now_s < after.time_from_start_s:
                return interpolate(before, after, now_s)
        still = np.zeros(len(self.joint_names))
        last = self._points[-1].positions if self._points else self.commanded.positions
        return Point(now_s, last, still, still)

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
        """Return the point in the controller's order; joints that are not named keep their commanded position."""
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
            spread(point.positions, self.commanded.positions),
            spread(point.velocities, still),
            spread(point.accelerations, still),
        )


def interpolate(before: Point, after: Point, now_s: float) -> Point:
    """Return where to be at `now_s` between two points with times on one clock, and the velocities and accelerations.

    A straight line; the cubic that meets both ends' velocities where both have them; the quintic that meets their
    accelerations too where both have those.
    """
    whole_s = after.time_from_start_s - before.time_from_start_s
    share, powers = (now_s - before.time_from_start_s) / whole_s, _powers(before, after, whole_s)
    derivatives = [np.asarray(polyval(share, polyder(powers, m)) / whole_s**m) for m in range(3)]
    return Point(now_s, *derivatives)


def _powers(before: Point, after: Point, whole_s: float) -> Array:
    """Return the coefficients (K, J) of the curve's positions in powers of the share of the time that has passed."""
    start, step = before.positions, after.positions - before.positions
    if not (before.velocities.size and after.velocities.size):
        return np.stack([start, step])
    v0, v1 = before.velocities * whole_s, after.velocities * whole_s
    if not (before.accelerations.size and after.accelerations.size):
        return np.stack([start, v0, 3 * step - 2 * v0 - v1, v0 + v1 - 2 * step])
    a0, a1 = before.accelerations * whole_s**2 / 2, after.accelerations * whole_s**2 / 2
    third = 10 * step - 6 * v0 - 4 * v1 - 3 * a0 + a1
    fourth = -15 * step + 8 * v0 + 7 * v1 + 3 * a0 - 2 * a1
    fifth = 6 * step - 3 * (v0 + v1) - a0 + a1
    return np.stack([start, v0, a0, third, fourth, fifth])


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
            raise InputError(f"{what}: expected {joints}, one per joint, got {values.size} at point {number}")
    if point.effort.size:
        raise InputError(f"effort: expected none, got {point.effort.size} at point {number}")
