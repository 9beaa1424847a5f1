"""A command of one value per joint, checked when it is made. No ROS in here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.limits import finite
from taskgan_ros.core.errors import InputError


@dataclass(frozen=True)
class JointCommand:
    """Joint values that a forward_command_controller and MoveIt Servo accept; invalid ones raise when made.

    A forward_command_controller matches values by position: one per joint, in its own order. It drops a message with a
    non-finite number; with a wrong number of values, each of its updates fails. MoveIt Servo matches by name.

    Attributes:
        names: the J joints, each once, in the order of the controller's parameter `joints`.
        values: (J,) rad or rad/s, finite.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check every rule.

        Raises:
            InputError: a rule is broken; the message says which, expected and actual.
        """
        if not self.names or not all(self.names) or len(set(self.names)) < len(self.names):
            raise InputError(f"joint command: expected joint names, each once, got {list(self.names)}")
        if finite("joint command", self.values).shape != (len(self.names),):
            raise InputError(f"joint command: expected {len(self.names)} values, got shape {self.values.shape}")
