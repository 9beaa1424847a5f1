"""Controllers that hold the last values they were given: ros2_control's forward_command_controller, as in Jazzy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.control.limits import finite
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Arm
from taskgan_ros.sim.controller import Point

Array = NDArray[np.float64]


class ForwardPositionController:
    """Commands the last positions it was given, for ever; before the first ones, the pose it was reset to.

    It checks only that the values are finite, and their number. The real one drops a message with a non-finite value,
    and fails at each update after one of the wrong size.

    Attributes:
        commanded: as that of `JointTrajectoryController`.
    """

    def __init__(self, joint_names: Sequence[str], positions: ArrayLike) -> None:
        """Hold at `positions` (n,) rad."""
        self._joint_names = tuple(joint_names)
        self.reset(positions)

    def reset(self, positions: ArrayLike) -> None:
        """Discard what was given and hold at `positions` (n,) rad."""
        self._positions = np.array(positions, np.float64)
        self.commanded = hold(-np.inf, self._positions)

    def accept(self, values: Array, now_s: float) -> None:
        """Take positions (n,) rad, in the order of the joints, from the next update on.

        Raises:
            InputError: the real controller would drop them, or fail.
        """
        self._positions = check_values(values, self._joint_names)

    def update(self, now_s: float, period_s: float, positions: Array, velocities: Array) -> Array:
        """Return the command of one update, as that of `JointTrajectoryController`."""
        self.commanded = hold(now_s, self._positions)
        return self._positions


class VelocityController:
    """Integrates velocities, as velocity-controlled motors do; stops at the arm's joint limits.

    Attributes:
        commanded: as that of `JointTrajectoryController`.
    """

    def __init__(self, arm: Arm, joint_names: Sequence[str], positions: ArrayLike) -> None:
        """Hold at `positions` (n,) rad.

        Args:
            arm: whose limits hold.
            joint_names: what its joints are called here.
            positions: (n,) rad.
        """
        self._arm, self.joint_names = arm, tuple(joint_names)
        self.reset(positions)

    def reset(self, positions: ArrayLike) -> None:
        """Discard what was given and hold at `positions` (n,) rad."""
        self.commanded = hold(-np.inf, np.array(positions, np.float64))

    def accept(self, order: Any, now_s: float) -> None:
        """Take velocities from the next update on.

        Raises:
            InputError: the real controller would refuse them.
        """
        raise NotImplementedError

    def wanted(self, now_s: float) -> Array:
        """Return the velocities (n,) rad/s at `now_s`."""
        raise NotImplementedError

    def update(self, now_s: float, period_s: float, positions: Array, velocities: Array) -> Array:
        """Return the command of one update, as that of `JointTrajectoryController`."""
        wanted, arm = np.clip(self.wanted(now_s), -self._arm.max_velocity, self._arm.max_velocity), self._arm
        reached = np.clip(self.commanded.positions + wanted * period_s, arm.lower, arm.upper)
        self.commanded = Point(now_s, reached, wanted, np.zeros_like(wanted))
        return reached


class ForwardVelocityController(VelocityController):
    """Commands the last velocities it was given, for ever: it has no timeout."""

    def reset(self, positions: ArrayLike) -> None:
        """Stop, and hold at `positions` (n,) rad."""
        super().reset(positions)
        self._velocities = np.zeros(len(self.joint_names))

    def accept(self, order: Array, now_s: float) -> None:
        """Take velocities (n,) rad/s, in the order of the joints.

        Raises:
            InputError: the real controller would drop them, or fail.
        """
        self._velocities = check_values(order, self.joint_names)

    def wanted(self, now_s: float) -> Array:
        """Return the last velocities."""
        return self._velocities


def check_values(values: Array, joint_names: Sequence[str]) -> Array:
    """Return the values (n,).

    Raises:
        InputError: they are not finite, or not one per joint.
    """
    if finite("data", values).shape != (len(joint_names),):
        raise InputError(f"data: expected {len(joint_names)} values, for {list(joint_names)}, got {len(values)}")
    return values


def hold(now_s: float, positions: Array) -> Point:
    """Return the command to be at `positions` (n,) rad, at rest."""
    still = np.zeros_like(positions)
    return Point(now_s, positions, still, still)
