"""Poses as recordings have them: seven numbers, and TF's tree of frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError

Array = NDArray[np.float64]

TF: Final = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")  # the second of old ROS 1 bags
KEYS: Final = ("x", "y", "z", "qx", "qy", "qz", "qw")
_UNIT_TOLERANCE: Final = 0.01  # of a quaternion's length


def pose_from(numbers: Sequence[float], origin: str) -> Array:
    """Return the pose (4, 4) of x, y, z in m and a quaternion x, y, z, w; errors name the `origin`.

    Raises:
        InputError: not seven finite numbers, or a quaternion of another length than 1.
    """
    if len(numbers) != len(KEYS) or not np.isfinite(numbers).all():
        raise InputError(f"{origin}: expected seven finite numbers {','.join(KEYS)}, got {list(numbers)}")
    length = float(np.linalg.norm(numbers[3:]))
    if abs(length - 1) > _UNIT_TOLERANCE:
        raise InputError(f"{origin}: expected a quaternion of length 1, got {length:.3g}")
    x, y, z, w = (part / length for part in numbers[3:])
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = numbers[:3]
    return pose


class TransformTree:
    """The newest transform of each frame to its parent; names without a leading slash.

    Attributes:
        parents: of each frame that has one, its parent and its pose (4, 4) in that.
    """

    def __init__(self) -> None:
        """Start without frames."""
        self.parents: dict[str, tuple[str, Array]] = {}

    def add(self, message: Any, origin: str) -> None:
        """Add one geometry_msgs/TransformStamped; errors name the `origin`.

        Raises:
            InputError: as `pose_from`.
        """
        child, parent = (name.lstrip("/") for name in (message.child_frame_id, message.header.frame_id))
        shift, turn = message.transform.translation, message.transform.rotation
        pose = pose_from([shift.x, shift.y, shift.z, turn.x, turn.y, turn.z, turn.w], origin)
        self.parents[child] = parent, pose

    @property
    def frames(self) -> list[str]:
        """Every frame that has been named, in order."""
        return sorted({*self.parents, *(parent for parent, _ in self.parents.values())})

    def pose(self, frame: str, base: str) -> Array | None:
        """Return the pose (4, 4) of a frame in the base's; None where the tree does not connect them."""
        (root, there), (base_root, here) = (self._in_root(name.lstrip("/")) for name in (frame, base))
        if root != base_root:
            return None
        pose: Array = np.linalg.inv(here) @ there
        return pose

    def _in_root(self, name: str) -> tuple[str, Array]:
        """Return the root above a frame, and the frame's pose (4, 4) in it."""
        pose = np.eye(4)
        for _ in range(len(self.parents)):  # a longer path is a cycle
            if name not in self.parents:
                break
            name, step = self.parents[name]
            pose = step @ pose
        return name, pose
