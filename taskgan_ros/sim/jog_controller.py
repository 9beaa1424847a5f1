"""Velocities by joint name, as MoveIt Servo takes them; its checks for collisions are not here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.control.limits import finite
from taskgan_ros.core.errors import InputError
from taskgan_ros.sim.forward_controller import VelocityController

Array = NDArray[np.float64]

_STALE_S = 0.1  # Servo's incoming_command_timeout, by default


@dataclass(frozen=True)
class Jog:
    """What a JointJog message says.

    Attributes:
        joint_names: some of the joints; the others stand.
        velocities: (J,) rad/s, in that order.
        stamp_s: s, on the controller's clock.
    """

    joint_names: tuple[str, ...]
    velocities: Array
    stamp_s: float


class JogController(VelocityController):
    """Simulates MoveIt Servo on JointJog messages in speed units, with a controller behind it that follows at once.

    Each update moves on by the last velocity times the period. A message older than `_STALE_S` by its stamp counts as a
    stop. Servo's smoothing filter is not simulated.
    """

    def reset(self, positions: ArrayLike) -> None:
        """Stop, and hold at `positions` (n,) rad."""
        super().reset(positions)
        self._velocities, self._stamp_s = np.zeros(len(self.joint_names)), -np.inf

    def accept(self, order: Jog, now_s: float) -> None:
        """Take velocities by name.

        Raises:
            InputError: Servo would refuse them: an unknown joint, not one velocity per name, or one that is not finite.
        """
        unknown = [name for name in order.joint_names if name not in self.joint_names]
        if unknown:
            raise InputError(f"joint_names: expected some of {list(self.joint_names)}, got {unknown}")
        if finite("velocities", order.velocities).shape != (len(order.joint_names),):
            raise InputError(f"velocities: expected {len(order.joint_names)}, got {len(order.velocities)}")
        velocities = np.zeros(len(self.joint_names))
        velocities[[self.joint_names.index(name) for name in order.joint_names]] = order.velocities
        self._velocities, self._stamp_s = velocities, order.stamp_s

    def wanted(self, now_s: float) -> Array:
        """Return the last velocities, or zeros where they are stale."""
        return self._velocities if now_s - self._stamp_s < _STALE_S else np.zeros_like(self._velocities)
