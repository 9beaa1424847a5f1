"""One value per joint that a controller takes at once, or none at all. No ROS in here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.limits import finite
from taskgan_ros.core.errors import InputError


@dataclass(frozen=True)
class JointCommand:
    """Values that break no rule of a forward_command_controller or of MoveIt Servo, or are not made at all.

    A forward_command_controller knows values by their place alone: one per joint of its own, in its order. It drops a
    message with a number that is not finite, and with another number of values each of its updates fails. MoveIt Servo
    goes by name.

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
