"""Names of the topics that nodes, launch files, demo, tests and benchmarks share.

Relative, so that a namespace applies. `sim_node` and `reach_node` meet without remapping.
"""

from __future__ import annotations

from typing import Final

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
