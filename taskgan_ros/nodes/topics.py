"""Names of the topics that nodes, launch files, demo, tests and benchmarks share.

Relative, so that a namespace applies. `sim_node` and `reach_node` meet without remapping.
"""

from __future__ import annotations

from typing import Final

from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name

from taskgan_ros.core.errors import InputError

IMAGE: Final = "image_raw"
COMPRESSED_IMAGE: Final = f"{IMAGE}/compressed"  # beside the image's topic, as image_transport has it
CAMERA_INFO: Final = "camera_info"
JOINT_STATES: Final = "joint_states"
TRAJECTORY: Final = "joint_trajectory"
AUTO: Final = "auto"  # in the place of a camera_info's topic: the one beside the images
COMMANDS: Final = "joint_commands"  # of the command interfaces that take one value per joint at a time
DIAGNOSTICS: Final = "/diagnostics"  # absolute: tools look for it there


def camera_info_beside(image_topic: str) -> str:
    """Return the topic of the camera_info that goes with images, raw or compressed, as image_transport has it."""
    folder, slash, _ = image_topic.removesuffix("/compressed").rpartition("/")
    return f"{folder}{slash}{CAMERA_INFO}"


def check_name(what: str, name: str) -> None:
    """Check the name of a topic or a namespace; ROS refuses a bad one without saying which argument it came from.

    Raises:
        InputError: the name is invalid; the message begins with `what`.
    """
    try:
        validate_full_topic_name(expand_topic_name(name, "node", "/"))
    except (InvalidTopicNameException, ValueError):  # the second by expand_topic_name
        raise InputError(
            f"{what}: expected letters, digits, _ and /, no part empty or with a digit first, got {name!r}"
        ) from None
