"""What Kinova's driver makes of a trajectory: it acts on the velocities alone, in the order of its joints."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.sim.controller import Trajectory
from taskgan_ros.sim.forward_controller import VelocityController

Array = NDArray[np.float64]


class KinovaDriver(VelocityController):
    """Holds each point's velocity until that point's time is over; then it stands."""

    def reset(self, positions: ArrayLike) -> None:
        """Stop, and hold at `positions` (n,) rad."""
        super().reset(positions)
        self._ends_s, self._velocities = np.zeros(0), np.zeros((0, len(self.joint_names)))

    def accept(self, order: Trajectory, now_s: float) -> None:
        """Play a trajectory from now on, in place of the one before.

        Raises:
            InputError: joints in another order, or a point without a position and a velocity for each.
        """
        if order.joint_names != self.joint_names:
            raise InputError(f"joint_names: expected {list(self.joint_names)}, got {list(order.joint_names)}")
        sizes = {(point.positions.size, point.velocities.size) for point in order.points}
        n = len(self.joint_names)
        if sizes != {(n, n)}:
            raise InputError(f"points: expected {n} positions and velocities each, got {sorted(sizes)}")
        self._ends_s = now_s + np.array([point.time_from_start_s for point in order.points])
        self._velocities = np.array([point.velocities for point in order.points])

    def wanted(self, now_s: float) -> Array:
        """Return the velocities of the point whose time it is."""
        k = int(np.searchsorted(self._ends_s, now_s, side="right"))
        return self._velocities[k] if k < len(self._ends_s) else np.zeros(len(self.joint_names))
