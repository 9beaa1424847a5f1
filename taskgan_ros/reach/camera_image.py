"""Camera images on their way to the policy: kept as received; only the newest is decoded, cropped and resized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.bundle import Bundle
from taskgan_ros.vision.camera_model import CameraModel
from taskgan_ros.vision.compressed import JPEG_PARTS
from taskgan_ros.vision.images import RawImage, centre_size, zoom_for


@dataclass(frozen=True)
class CameraImage:
    """An image on its way to the policy.

    Attributes:
        read: returns its pixels, or raises an InputError where its file is damaged; called for the newest alone.
        stamp_s: s, when it was taken, on the clock of stamps; 0 where nobody said.
        arrived_s: s, on the steady clock.
        seen_s: s, on that clock, when it was taken according to its stamp; a chunk of commands begins then.
        measured: (n,) rad, the newest joint state then; None before the first, and while it is in doubt.
        header: of the message that it came in, for whoever runs the reacher.
    """

    read: Callable[[], RawImage]
    stamp_s: float
    arrived_s: float
    seen_s: float
    measured: NDArray[np.float64] | None
    header: Any = None


@dataclass(frozen=True)
class Framing:
    """How a camera's image becomes one that shows what the bundle was trained on.

    Attributes:
        size: (H, W) pixels, the bundle's.
        squeeze: whether an image of another aspect ratio is squeezed instead of cropped.
        bundle_fov: rad, vertical, of the images that the bundle was trained on; 0 takes the whole image.
        camera_fov: rad, vertical, of the camera's whole image, which is free of distortion.
        camera: in place of `camera_fov`, its calibration, by which images are rectified.
        expects_camera: whether a calibration is still to come; images before it cannot be used.
    """

    size: tuple[int, int]
    squeeze: bool
    bundle_fov: float = 0.0
    camera_fov: float = 0.0
    camera: CameraModel | None = None
    expects_camera: bool = False

    def read(self, image: RawImage) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) uint8 RGB as the bundle was trained on it.

        Raises:
            InputError: an image with a narrower view than the bundle's, or one that the calibration does not fit.
        """
        if self.camera:
            return self.camera.rectify(image, self.bundle_fov, self.size)
        if self.expects_camera:
            raise InputError("image: expected the camera's camera_info before it, got none yet")
        height, width = image.pixels.shape[:2]
        return image.to_rgb(*self.size, self._zoom(height, width), self.squeeze)

    def shrink(self, height: int, width: int) -> int:
        """Return the factor (8, 4, 2 or 1) by which an image of that size may shrink without a change of the crop.

        Enough pixels remain, and the borders of the crop still lie between two of them.

        Raises:
            InputError: as `read` does.
        """
        if self.camera or self.expects_camera:
            return 1  # the camera's maps are of that size
        rows, columns = centre_size((height, width), self._shape(height, width), self._zoom(height, width))
        most = min(rows // self.size[0], columns // self.size[1])
        doubled = np.array([2 * height, 2 * width, height - rows, width - columns])  # the sides, and twice the margins
        return next(part for part in JPEG_PARTS if part == 1 or (part <= most and not np.any(doubled % (2 * part))))

    def _zoom(self, height: int, width: int) -> float:
        shown = self._shape(height, width)
        return zoom_for(self.camera_fov, (height, width), self.bundle_fov, shown) if self.bundle_fov else 1.0

    def _shape(self, height: int, width: int) -> tuple[int, int]:
        """Return the shape of what is cut out."""
        return (height, width) if self.squeeze else self.size

    def describe(self) -> str:
        """Return what is done to an image before the policy sees it, and what of the camera's view is left."""
        height, width = self.size
        if not self.bundle_fov or not (self.camera or self.camera_fov):
            return f"images are assumed to have the bundle's field of view, and resized to {width}x{height}"
        if not self.camera:
            own = f"a camera of {self.camera_fov:.4g} rad"
            return f"images of {own} are cropped to the bundle's {self.bundle_fov:.4g} rad"
        camera, seen = self.camera, self.camera.ideal_fov(width / height)
        own = f"{camera.width}x{camera.height}, {camera.model}, seen {seen:.4g} rad vertically in {width}:{height}"
        return f"images are rectified by the camera's calibration ({own}) to the bundle's {self.bundle_fov:.4g} rad"

    def seen_by(self, camera: CameraModel) -> Framing:
        """Return the view of a camera whose calibration has come.

        Raises:
            InputError: it sees less than the bundle did.
        """
        view = replace(self, camera=camera)
        view.read(RawImage(np.zeros((camera.height, camera.width, 3), np.uint8), "rgb8"))  # also makes its maps
        return view


def make_view(
    bundle: Bundle, camera_fov: float = 0.0, camera: CameraModel | None = None, expects_camera: bool = False
) -> Framing:
    """Return how a bundle sees the images of a camera.

    Args:
        bundle: says what it saw.
        camera_fov: rad, or 0 if it is not given; takes precedence over `camera`.
        camera: its calibration; with neither, images are assumed to have the bundle's field of view.
        expects_camera: whether the calibration is still to come.

    Raises:
        InputError: neither the bundle's card nor its scene says its field of view where it is needed, or images would
            be squeezed.
    """
    card = bundle.card
    if camera_fov:
        return Framing(card.image.shape, card.crop == "none", bundle.camera_fov, camera_fov)
    if not (camera or expects_camera):
        return Framing(card.image.shape, card.crop == "none")
    if card.crop == "none":
        raise InputError(f"bundle {card.name}: expected crop: centre, to rectify images for it, got crop: none")
    return Framing(card.image.shape, False, bundle.camera_fov, camera=camera, expects_camera=expects_camera)
