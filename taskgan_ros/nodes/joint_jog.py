"""`control_msgs/JointJog`, MoveIt Servo's input, where that package is installed; PyPI has no wheel of it."""

from __future__ import annotations

import os
from array import array
from typing import Any

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from taskgan_ros.control.joint_command import JointCommand
from taskgan_ros.core.errors import InputError

_DISTRIBUTION = "jazzy"  # where the environment does not say


def joint_jog_type() -> Any:
    """Return the message's type.

    Raises:
        InputError: control_msgs is not installed.
    """
    try:
        from control_msgs.msg import JointJog
    except ImportError as error:
        package = f"ros-{os.environ.get('ROS_DISTRO', _DISTRIBUTION)}-control-msgs"
        raise InputError(
            f"command_interface joint_jog: expected control_msgs, got an installation without it ({error}); the Debian "
            f"package is {package}"
        ) from error
    return JointJog


def joint_jog_message(command: JointCommand, stamp: Time, duration_s: float) -> Any:
    """Return velocities, rad/s, by name: what Servo takes with `command_in_type: speed_units`.

    Args:
        command: velocities.
        stamp: now; Servo stops for one that is older than its `incoming_command_timeout`, and for none at all.
        duration_s: s until the next one; Servo does not look at it.
    """
    message = joint_jog_type()(header=Header(stamp=stamp), joint_names=list(command.names), duration=duration_s)
    message.velocities = array("d", command.values)
    return message
