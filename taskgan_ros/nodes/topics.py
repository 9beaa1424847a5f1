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
DIAGNOSTICS: Final = "/diagnostics"  # absolute: tools look for it there
