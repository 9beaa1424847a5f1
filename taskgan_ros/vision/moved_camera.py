"""How far a camera has moved from where it should stand, from one or a few of its pictures of the arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.robot.silhouette import Mask, View, contour, silhouette
from taskgan_ros.robot.surface import ArmSurface
from taskgan_ros.vision.contour_fit import (
    Estimate,
    Evidence,
    Observation,
    Prior,
    Problem,
    change_between,
    refine,
    support,
)

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_REACH = 0.06  # of the image height: the first search range for the arm's edge
_LEAST_REACH_PX = 3.0
_LEVELS = 8  # histogram bins per colour channel
_MOST_ODDS = 1.0  # magnitude of the log odds that a pixel's colour alone can give
_LEAST_SHARE = 0.45  # of the outline that must have an edge of the arm nearby; noise gives 0.25 to 0.3


@dataclass(frozen=True)
class CameraMotion:
    """How far a camera is from where it should stand.

    Attributes:
        shift_m: (3,) along the arm's base frame.
        turn_rad: (3,) rotation vector about its axes; the camera turns in place.
        covariance: (6, 6) of both, as geometry_msgs/PoseWithCovariance has it.
        pixels: the shift of the outline in the image, the median over its points.
        residual_px: the outline's distance from the arm's edges after the fit, likewise.
        share: of the outline's points with an edge of the arm nearby, after the fit.
        is_certain: whether enough of them do.
    """

    shift_m: Array
    turn_rad: Array
    covariance: Array
    pixels: float
    residual_px: float
    share: float
    is_certain: bool

    @property
    def distance_m(self) -> float:
        """How far it has moved."""
        return float(np.linalg.norm(self.shift_m))

    @property
    def angle_rad(self) -> float:
        """How far it has turned."""
        return float(np.linalg.norm(self.turn_rad))


def camera_motion(
    surface: ArmSurface,
    view: View,
    images: Sequence[Image],
    joint_pos: ArrayLike,
    prior: Prior | None = None,
    ignored: frozenset[int] = frozenset(),
) -> CameraMotion:
    """Return how far the camera that took `images` stands from `view`.

    Args:
        surface: the arm.
        view: where the camera should stand; it may be off by some cm and degrees.
        images: N of (H, W, 3) uint8 RGB, rectified, of the view's size.
        joint_pos: (N, n) rad or m, where the arm was in each.
        prior: how far off it may be, as standard deviations.
        ignored: links whose outline does not count.

    Raises:
        ValueError: no image, or of another size than the view's.
    """
    poses = np.atleast_2d(np.asarray(joint_pos, np.float64))
    if len(images) != len(poses) or not images or images[0].shape[:2] != (view.height, view.width):
        raise ValueError(f"expected images of {view.height}x{view.width}, one for each of {len(poses)} poses")
    now: Estimate | None = None
    reach = max(_REACH * view.height, 2 * _LEAST_REACH_PX)
    for here in (reach, reach, reach / 2, max(reach / 4, _LEAST_REACH_PX), max(reach / 4, _LEAST_REACH_PX)):
        at = now.view if now else view
        evidence = color_evidence(images, [silhouette(surface, q, at) for q in poses], here)
        shots = [Observation(*seen) for seen in zip(poses, evidence, images, strict=True)]
        problem = Problem(surface, shots, view, prior or Prior(), ignored)
        now = refine(problem, now, (here,))
    assert now is not None
    return _compare(problem, poses[0], now)


def color_evidence(images: Sequence[Image], masks: Sequence[Mask], reach_px: float) -> list[Evidence]:
    """Return the log odds (H, W) that pixels show the arm, from colour histograms inside and around the masks.

    Args:
        images: (H, W, 3) uint8.
        masks: (H, W) approximately where the arm is.
        reach_px: width of the band around the arm that counts as background; a margin at the border is left out.
    """
    size = 2 * max(int(reach_px / 2), 1) + 1
    near, far = np.ones((size, size), np.uint8), np.ones((3 * size, 3 * size), np.uint8)
    codes = [(image // (256 // _LEVELS)).astype(np.int32) @ [_LEVELS**2, _LEVELS, 1] for image in images]
    own, others = np.ones(_LEVELS**3), np.ones(_LEVELS**3)  # one of each: no colour is impossible
    for code, mask in zip(codes, masks, strict=True):
        drawn = mask.astype(np.uint8)
        around = (cv2.dilate(drawn, far) > 0) & (cv2.dilate(drawn, near) == 0)
        own += np.bincount(code[cv2.erode(drawn, near) > 0], minlength=len(own))
        others += np.bincount(code[around], minlength=len(own))
    odds = np.clip(np.log(own / own.sum()) - np.log(others / others.sum()), -_MOST_ODDS, _MOST_ODDS)
    return [odds[code].astype(np.float32) for code in codes]


def _compare(problem: Problem, joint_pos: Array, found: Estimate) -> CameraMotion:
    view = problem.view
    change, share = change_between(view.pose, found.view.pose), float(np.mean(support(problem, found)))
    line = contour(problem.surface, joint_pos, view)
    way = ((found.view.project(line.points)[0] - line.pixels) * line.normals).sum(axis=1)
    pixels = float(np.median(np.abs(way))) if len(way) else 0.0
    is_certain = share >= _LEAST_SHARE and len(way) > 0
    return CameraMotion(change[:3], change[3:], found.covariance, pixels, found.residual_px, share, is_certain)
