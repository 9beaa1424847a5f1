"""An arm's silhouette in an image, and its contour with 3D points; numpy and OpenCV alone.

Pixels count as OpenCV and sensor_msgs/CameraInfo count them: the centre of the first one is at (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.robot.surface import ArmSurface

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_NEAR_M = 0.02  # the near plane, as in the simulated cell
_ON_LINE_PX = 1.0  # how far a point may be from the mask's border and be on it
_STEP_PX = 1.0  # between points along an edge
_MOST_STEPS = 400
_SMALL = 1e-9


@dataclass(frozen=True)
class View:
    """An ideal pinhole camera.

    Attributes:
        pose: (4, 4) optical frame (x right, y down, z forward) in the arm's base frame, m.
        matrix: (3, 3) K in pixels, pixel centres at whole numbers.
        height, width: of its pictures, in pixels.
    """

    pose: Array
    matrix: Array
    height: int
    width: int

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return pixels (k, 2) and depths (k,) m of points (k, 3) m in the base frame; depths may be 0 or less."""
        local = (points - self.pose[:3, 3]) @ self.pose[:3, :3]
        depth = local[:, 2]
        plane = local @ self.matrix.T
        return plane[:, :2] / np.where(np.abs(depth) < _SMALL, _SMALL, depth)[:, None], depth

    def scaled(self, factor: float) -> View:
        """Return a camera that sees the same in `factor` times as many pixels a side, rounded."""
        height, width = round(self.height * factor), round(self.width * factor)
        scale = np.diag([width / self.width, height / self.height, 1.0])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # the picture's corner is at -0.5
        return View(self.pose, np.linalg.inv(half) @ scale @ half @ self.matrix, height, width)


@dataclass(frozen=True)
class Contour:
    """Points of the line around an arm's silhouette.

    Attributes:
        points: (k, 3) m in the arm's base frame.
        pixels: (k, 2) where the camera sees them.
        normals: (k, 2) of length 1 in the picture, away from the arm.
        links: (k,) the link that each is on.
    """

    points: Array
    pixels: Array
    normals: Array
    links: NDArray[np.int32]

    def thinned(self, count: int) -> Contour:
        """Return `count` of the points at most, evenly taken."""
        rows = np.unique(np.linspace(0, len(self.points) - 1, min(count, len(self.points))).astype(int))
        return self.at(rows)

    def at(self, rows: NDArray[np.intp] | Mask) -> Contour:
        """Return the points at these rows."""
        return Contour(self.points[rows], self.pixels[rows], self.normals[rows], self.links[rows])


def silhouette(surface: ArmSurface, joint_pos: ArrayLike, view: View) -> Mask:
    """Return which pixels (H, W) have their centre on the arm, its joints at `joint_pos` (n,) rad or m."""
    return _fill(surface.place(joint_pos)[surface.faces], view)


def contour(surface: ArmSurface, joint_pos: ArrayLike, view: View, mask: Mask | None = None) -> Contour:
    """Return the contour of the arm's silhouette, about one point per pixel, without the image border.

    Args:
        surface: the arm.
        joint_pos: (n,) rad or m.
        view: the camera.
        mask: (H, W) what `silhouette` gave for the same, so that it is not drawn twice.
    """
    vertices = surface.place(joint_pos)
    if mask is None:
        mask = _fill(vertices[surface.faces], view)
    pixels, depth = view.project(vertices)
    first, second = surface.edges[_may_be_outline(surface, pixels, depth)].T
    length = np.linalg.norm(pixels[second] - pixels[first], axis=1)
    steps = np.clip(np.ceil(length / _STEP_PX), 1, _MOST_STEPS).astype(int)
    edge = np.repeat(np.arange(len(first)), steps)
    along = (np.arange(len(edge)) - np.repeat(np.cumsum(steps) - steps, steps) + 0.5) / np.repeat(steps, steps)
    points = vertices[first[edge]] + along[:, None] * (vertices[second[edge]] - vertices[first[edge]])
    return _on_border(points, surface.vertex_links[first[edge]], view, mask)


def signed_distance(mask: Mask) -> NDArray[np.float32]:
    """Return how far (H, W) each pixel is from a mask's border in pixels, negative inside."""
    if mask.all() or not mask.any():
        far = float(np.hypot(*mask.shape))
        return np.full(mask.shape, -far if mask.all() else far, np.float32)
    inside = mask.astype(np.uint8)
    outer = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inner = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.where(mask, 0.5 - inner, outer - 0.5).astype(np.float32)


def outlined(image: NDArray[np.uint8], mask: Mask, rgb: tuple[int, int, int], width: int = 1) -> NDArray[np.uint8]:
    """Return a copy of an RGB image (H, W, 3) with the line around a mask (H, W) drawn on it."""
    drawn = np.ascontiguousarray(image).copy()
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, lines, -1, rgb, width, cv2.LINE_AA if width > 1 else cv2.LINE_8)
    return drawn


def _may_be_outline(surface: ArmSurface, pixels: Array, depth: Array) -> Mask:
    """Return which edges (e,) have a camera-facing triangle on one side only, and lie in front of the camera."""
    a, b, c = (pixels[surface.faces[:, k]] for k in range(3))
    one, other = b - a, c - a
    faces_camera = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0] > 0
    left, right = surface.edge_faces.T
    alone = (left < 0) | (faces_camera[left] != faces_camera[right])
    return alone & (depth[surface.edges] > _NEAR_M).all(axis=1)


def _on_border(points: Array, links: NDArray[np.int32], view: View, mask: Mask) -> Contour:
    """Return those points (k, 3) that are seen on the mask's border, one per pixel."""
    pixels, _ = view.project(points)
    x, y = np.rint(pixels).astype(int).T
    is_seen = (x >= 1) & (x < view.width - 1) & (y >= 1) & (y < view.height - 1)
    distance = cv2.GaussianBlur(signed_distance(mask), (0, 0), 1.0)
    rows = np.flatnonzero(is_seen)
    rows = rows[np.abs(distance[y[rows], x[rows]]) < _ON_LINE_PX]
    _, first = np.unique(y[rows] * view.width + x[rows], return_index=True)
    rows = rows[first]
    right, down = cv2.Sobel(distance, cv2.CV_32F, 1, 0), cv2.Sobel(distance, cv2.CV_32F, 0, 1)
    normals = np.stack([right[y[rows], x[rows]], down[y[rows], x[rows]]], axis=-1).astype(np.float64)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + _SMALL
    return Contour(points[rows], pixels[rows], normals, links[rows])


def grown(mask: Mask, by_px: float) -> Mask:
    """Return a mask (H, W) larger by so many px on every side."""
    size = 2 * max(round(by_px), 0) + 1
    return cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) > 0


def _fill(corners: Array, view: View) -> Mask:
    """Return which pixel centres triangles (f, 3, 3) m cover: one span per row and triangle, then a running sum."""
    local = (corners - view.pose[:3, 3]) @ view.pose[:3, :3]
    local = _clip(local)
    plane = local @ view.matrix.T
    pixels = plane[..., :2] / local[..., 2:]
    y = pixels[..., 1]
    top = np.clip(np.ceil(y.min(axis=1)), 0, view.height).astype(int)
    bottom = np.clip(np.floor(y.max(axis=1)), -1, view.height - 1).astype(int)
    x = pixels[..., 0]
    count = np.where((x.max(axis=1) >= 0) & (x.min(axis=1) <= view.width - 1), np.maximum(bottom - top + 1, 0), 0)
    face = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count) + top[face]
    left, right = _spans(pixels[face], row)
    start = np.clip(np.ceil(left), 0, view.width).astype(int)
    end = np.clip(np.floor(right), -1, view.width - 1).astype(int) + 1
    has_any = end > start
    across = view.width + 1
    size = view.height * across
    opened = np.bincount(row[has_any] * across + start[has_any], minlength=size)
    closed = np.bincount(row[has_any] * across + end[has_any], minlength=size)
    mask: Mask = np.cumsum((opened - closed).reshape(view.height, across), axis=1)[:, :-1] > 0
    return mask


def _spans(pixels: Array, row: NDArray[np.intp]) -> tuple[Array, Array]:
    """Return where (s,) a picture's rows enter and leave triangles (s, 3, 2)."""
    left, right = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for k in range(3):
        (x0, y0), (x1, y1) = pixels[:, k].T, pixels[:, k - 1].T
        rise = y1 - y0
        share = (row - y0) / np.where(np.abs(rise) < _SMALL, _SMALL, rise)
        at, meets = x0 + share * (x1 - x0), (share >= 0) & (share <= 1)
        left, right = np.where(meets, np.minimum(left, at), left), np.where(meets, np.maximum(right, at), right)
    return left, right


def _clip(local: Array) -> Array:
    """Return triangles (f, 3, 3) in the camera's frame without what is nearer than the near plane."""
    is_before = local[..., 2] > _NEAR_M
    count = is_before.sum(axis=1)
    if (count == 3).all():
        return local
    kept = [local[count == 3]]
    for inside in (1, 2):
        cut, before = local[count == inside], is_before[count == inside]
        odd = np.argmax(before == (inside == 1), axis=1)  # the corner that is alone on its side
        turned = np.take_along_axis(cut, ((odd[:, None] + np.arange(3)) % 3)[..., None], axis=1)
        a, b, c = turned[:, 0], turned[:, 1], turned[:, 2]
        ab, ac = _meets_near(a, b), _meets_near(a, c)
        kept += [np.stack([a, ab, ac], 1)] if inside == 1 else [np.stack([ab, b, c], 1), np.stack([ab, c, ac], 1)]
    return np.concatenate(kept)


def _meets_near(a: Array, b: Array) -> Array:
    """Return where lines from a (k, 3) to b (k, 3), on two sides of the near plane, pass through it."""
    share = (_NEAR_M - a[:, 2:]) / (b[:, 2:] - a[:, 2:])
    met: Array = a + share * (b - a)
    return met
