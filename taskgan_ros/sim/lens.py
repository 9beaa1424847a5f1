"""A lens's radial distortion: which point of an ideal image each pixel of the camera's shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError

_WIDEST = 4.0  # times the corner's radius: the farthest point of the ideal image that a corner may show
_SAMPLES = 4000  # of the radius, to invert the polynomial by interpolation; its error is 1e-6 of the radius


@dataclass(frozen=True)
class Lens:
    """A lens in front of an ideal camera that sees a little more than the real one.

    Attributes:
        fov: rad, the ideal image's vertical field of view.
        columns: (H, W) float32, which pixel of the ideal image each of the camera's shows; `rows` likewise.
    """

    fov: float
    columns: NDArray[np.float32]
    rows: NDArray[np.float32]

    def bend(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the camera's image (H, W, 3) of an ideal one of the same shape."""
        return cv2.remap(image, self.columns, self.rows, cv2.INTER_LINEAR).astype(np.uint8)


def make_lens(distortion: tuple[float, float], fov: float, height: int, width: int) -> Lens | None:
    """Return the lens with OpenCV's radial k1 and k2, or None where both are 0.

    A point at the radius r in the ideal image (in focal lengths) is seen at r (1 + k1 r^2 + k2 r^4).

    Args:
        distortion: k1 and k2.
        fov: rad, the camera's vertical field of view, were its lens ideal.
        height: of the image in pixels.
        width: of the image in pixels.

    Raises:
        InputError: the lens folds the image over itself, or has nothing to show in the corners.
    """
    k1, k2 = distortion
    if k1 == k2 == 0:
        return None
    focal_px = height / 2 / np.tan(fov / 2)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    offsets = (np.stack([x, y], axis=-1) - np.array([width, height]) / 2) / focal_px
    seen = np.linalg.norm(offsets, axis=-1)
    radii = np.linspace(0, _WIDEST * seen.max(), _SAMPLES)
    bent = radii * (1 + k1 * radii**2 + k2 * radii**4)
    rising = int(np.argmin(np.append(np.diff(bent) > 0, False)))
    if bent[rising] < seen.max():
        raise InputError(f"expected a sensor.distortion that shows every point once, got {list(distortion)}")
    factor = np.interp(seen, bent[: rising + 1], radii[: rising + 1]) / np.maximum(seen, 1e-9)
    ideal = offsets * np.where(seen > 1e-9, factor, 1.0)[..., None]
    # Where the lens reaches outside, the ideal image must hold that much more.
    wider = max(1.0, float((np.abs(ideal) / np.abs(offsets[0, 0])).max()))
    pixels = ideal * focal_px / wider + np.array([width, height]) / 2 - 0.5
    columns, rows = np.moveaxis(pixels.astype(np.float32), -1, 0)
    return Lens(fov=2 * float(np.arctan(np.tan(fov / 2) * wider)), columns=columns.copy(), rows=rows.copy())
