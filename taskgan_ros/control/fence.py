"""A workspace fence: a box that the arm's tip stays in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.control.limits import finite
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.robot.units import LARGEST_M

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fence:
    """A box in the frame of the arm's base, sides along its axes.

    Attributes:
        arm: whose tip it is.
        lower, upper: (3,) m, opposite corners.
    """

    arm: Arm
    lower: Array
    upper: Array

    def outside_m(self, joint_pos: ArrayLike) -> Array:
        """Return how far the tip is outside at `joint_pos` (..., n) rad: (...,) m, 0 inside."""
        tip = tip_position(self.arm, joint_pos)
        distances: Array = np.linalg.norm(tip - np.clip(tip, self.lower, self.upper), axis=-1)
        return distances


def make_fence(arm: Arm, box: ArrayLike) -> Fence | None:
    """Return the fence of `box`, x, y, z of the lower corner and then of the upper one in m, or None for no numbers.

    Raises:
        InputError: neither six numbers nor none, corners that are not opposite, or millimetres.
    """
    corners = finite("fence", box).ravel()
    if not corners.size:
        return None
    if corners.size != 6 or not np.all(corners[:3] < corners[3:]):
        expected = "x, y, z of the lower corner and then of the upper one, or nothing"
        raise InputError(f"fence: expected {expected}, got {corners.tolist()}")
    if np.abs(corners).max() > LARGEST_M:  # such a fence would never stop the arm
        expected = f"at most {LARGEST_M:g} m in magnitude, not mm, or nothing for no fence"
        raise InputError(f"fence: expected {expected}, got {corners.tolist()}")
    return Fence(arm, corners[:3], corners[3:])
