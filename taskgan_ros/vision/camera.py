"""A fixed camera as an ideal pinhole: where it stands, where it looks, how much it sees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.schema import Field, config_dataclass, field_rule, whole_rule
from taskgan_ros.robot.units import Rotation3, Vector3

Array = NDArray[np.float64]
Row = tuple[float, float, float, float, float, float]

_NEAREST_M = 1e-6  # to what a camera looks at; nearer, its direction is undefined
_LEAST_AHEAD_M = 0.1  # of what it looks at, where no target is given
_STRAIGHT = 1e-6  # sine of a camera's angle to the vertical, below which it looks straight down or up
_ASYMMETRY = 1e-6  # of a covariance, as a share of its largest entry


@config_dataclass
class Camera:
    """A fixed pinhole camera with square pixels and its principal point in the middle.

    Attributes:
        position: m, in the arm's base frame.
        target: m, a point that it looks at; up in its picture is then the world's z, or y if it looks straight down
            or up.
        rotation: rad, in place of `target`: the rotation vector of its optical frame (x right, y down, z forward) in
            the base frame, as a calibration gives it.
        fov: rad, vertical.
        covariance: (6, 6) of where it stands, in the order of geometry_msgs/PoseWithCovariance: x, y, z in m and turns
            about the base frame's axes in rad; None where nobody has measured it.
    """

    position: Vector3
    target: Vector3 | None = None
    rotation: Rotation3 | None = None
    fov: Annotated[float, Field(gt=0, lt=3)]
    covariance: tuple[Row, Row, Row, Row, Row, Row] | None = None

    @whole_rule
    def _looks_somewhere(self) -> None:
        if (self.target is None) == (self.rotation is None):
            given = "neither" if self.target is None else "both"
            raise ValueError(f"expected either target or rotation, got {given}")
        if self.target is not None and math.dist(self.position, self.target) < _NEAREST_M:
            raise ValueError(f"expected a target that differs from the position, got {list(self.position)} for both")

    @staticmethod
    @field_rule("covariance")
    def _is_a_covariance(rows: tuple[Row, ...] | None, _: Mapping[str, Any]) -> None:
        if rows is not None:
            matrix = np.array(rows)
            slack = _ASYMMETRY * max(float(np.abs(matrix).max()), 1e-12)
            if np.abs(matrix - matrix.T).max() > slack or np.linalg.eigvalsh(matrix)[0] < -slack:
                raise ValueError("expected a covariance that is symmetric and has no negative variance")

    def pose(self) -> Array:
        """Return the optical frame (4, 4) in the base frame."""
        pose = np.eye(4)
        pose[:3, 3] = self.position
        if self.rotation is not None:
            pose[:3, :3] = cv2.Rodrigues(np.array(self.rotation))[0]
        else:
            assert self.target is not None
            pose[:3, :3] = _looking_at(np.array(self.position), np.array(self.target))
        return pose

    def aim(self) -> Array:
        """Return the point (3,) m that it looks at: `target`, or where its axis comes nearest to the base's z axis."""
        if self.target is not None:
            return np.array(self.target)
        pose = self.pose()
        position, forward = pose[:3, 3], pose[:3, 2]
        across = float(forward[:2] @ forward[:2])
        ahead = -float(position[:2] @ forward[:2]) / across if across > _STRAIGHT else abs(float(position[2]))
        return position + max(ahead, _LEAST_AHEAD_M) * forward

    def matrix(self, height: int, width: int) -> Array:
        """Return K (3, 3) of its images in pixels, as OpenCV counts them: the first pixel's centre is at (0, 0)."""
        return pinhole_matrix(self.fov, height, width)


def camera_at(pose: Array, fov: float, covariance: Array | None = None) -> Camera:
    """Return the camera whose optical frame is at `pose` (4, 4) in the base frame; `fov` in rad, covariance (6, 6)."""
    x, y, z = (round(float(value), 6) for value in pose[:3, 3])
    a, b, c = (round(float(value), 6) for value in cv2.Rodrigues(np.asarray(pose[:3, :3], np.float64))[0].ravel())
    rows = None if covariance is None else tuple(tuple(float(value) for value in row) for row in covariance)
    return Camera(position=(x, y, z), rotation=(a, b, c), fov=float(fov), covariance=rows)  # type: ignore[arg-type]


def pinhole_matrix(fov: float, height: int, width: int) -> Array:
    """Return K (3, 3) in pixels of an ideal camera, `fov` rad vertically; the first pixel's centre is at (0, 0)."""
    focal_px = height / 2 / math.tan(fov / 2)
    return np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1.0]])


def _looking_at(position: Array, target: Array) -> Array:
    """Return the rotation (3, 3) of the optical frame at `position` that looks at `target`."""
    back = (position - target) / np.linalg.norm(position - target)
    right = np.cross([0, 0, 1.0], back)
    if np.linalg.norm(right) < _STRAIGHT:
        right = np.cross([0, 1.0, 0], back)
    right /= np.linalg.norm(right)
    return np.column_stack([right, -np.cross(back, right), -back])
