"""A joint trajectory that an arm's controller accepts, checked when it is made. No ROS in here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.limits import finite
from taskgan_ros.core.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class JointTrajectory:
    """A trajectory that ros2_control's JointTrajectoryController accepts; an invalid one raises when made.

    The controller checks some rules and rejects the message. But it executes NaN, duplicate names, and a point at time
    0, which is a jump. It rejects efforts, so there are none here.

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


def fastest(trajectory: JointTrajectory, joints: tuple[str, ...]) -> Array:
    """Return the velocity (J,) rad/s of these joints in the segment in which they are fastest."""
    if len(trajectory.time_from_start_s) < 2:
        return np.zeros(len(joints))
    columns = [trajectory.names.index(name) for name in joints]
    steps = np.diff(trajectory.positions[:, columns], axis=0)
    velocities = steps / np.diff(trajectory.time_from_start_s)[:, None]
    row = int(np.argmax(np.linalg.norm(velocities, axis=1)))
    fast: Array = velocities[row]
    return fast
