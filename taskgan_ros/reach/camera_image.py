"""Camera images on their way to the policy: kept as they came until one is the newest, then read, cropped, resized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.policy.bundle import Bundle
from taskgan_ros.vision.images import RawImage, zoom_for


@dataclass(frozen=True)
class CameraImage:
    """An image on its way to the policy.

    Attributes:
        read: returns its pixels, or raises an InputError where its file is damaged; called for the newest alone.
        stamp_s: s, when it was taken, on the clock of stamps; 0 where nobody said.
        arrived_s: s, on the steady clock.
        seen_s: s, on that clock, when it was taken, as far as its stamp says: then a chunk of commands begins.
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
class View:
    """How a camera's image becomes one that shows what the bundle was trained on.

    Attributes:
        size: (H, W) pixels, the bundle's.
        squeeze: whether an image of another shape is squeezed, and not cut.
        bundle_fov: rad, vertical, of the images that the bundle was trained on; 0 takes the whole image.
        camera_fov: rad, vertical, of the camera's whole image.
    """

    size: tuple[int, int]
    squeeze: bool
    bundle_fov: float = 0.0
    camera_fov: float = 0.0

    def read(self, image: RawImage) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) uint8 RGB as the bundle was trained on it.

        Raises:
            InputError: an image that shows less than the bundle saw.
        """
        own_size = image.pixels.shape[:2]
        shown = own_size if self.squeeze else self.size
        zoom = zoom_for(self.camera_fov, own_size, self.bundle_fov, shown) if self.bundle_fov else 1.0
        return image.to_rgb(*self.size, zoom, self.squeeze)


def make_view(bundle: Bundle, camera_fov: float) -> View:
    """Return how a bundle sees the images of a camera; `camera_fov` 0 says that they show what it was trained on.

    Raises:
        InputError: a field of view, and neither the bundle's card nor its scene says its own.
    """
    card = bundle.card
    return View(card.image.shape, card.crop == "none", bundle.camera_fov if camera_fov else 0.0, camera_fov)
