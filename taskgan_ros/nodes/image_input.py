"""Camera images on their way to the policy: stamps are checked on arrival, pixels are read and cropped later."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from taskgan_ros.core.errors import InputError
from taskgan_ros.vision.compressed import read_compressed
from taskgan_ros.vision.images import RawImage, read_image, zoom_for

_REPLAYED_S = 1.0  # an image so much older than the last, or less, is a replay; more is a clock that was set back


@dataclass(frozen=True)
class CameraImage:
    """An image on its way to the policy.

    Attributes:
        header: the message's.
        content: its pixels, or the file that they are in.
        arrived_s: s, on the steady clock.
        seen_s: s, on that clock, when it was taken, as far as its stamp says: then a chunk of commands begins.
        measured: (n,) rad, the newest joint state then; None before the first, and while it is in doubt.
    """

    header: Header
    content: RawImage | CompressedImage
    arrived_s: float
    seen_s: float
    measured: NDArray[np.float64] | None


class OldImageError(InputError):
    """An image's stamp is further from the ROS clock than is allowed."""


class StampCheck:
    """Checks that each image is of now, and another one than the last."""

    def __init__(self) -> None:
        """Start before the first image."""
        self._last_s = -math.inf

    def check(self, stamp_s: float, age_s: float, limit_s: float) -> None:
        """Check an image's stamp, and compare the next one with it.

        Args:
            stamp_s: s, on the ROS clock.
            age_s: s, how long before it came that was; negative if it is in the future.
            limit_s: s, the largest age, either way.

        Raises:
            OldImageError: the age is beyond the limit.
            InputError: the stamp repeats the last one, or is slightly before it.
        """
        behind_s = self._last_s - stamp_s
        if behind_s == 0:
            raise InputError(
                "image: expected a stamp of its own, got the one before again: does the camera stand still?"
            )
        if abs(age_s) > limit_s:
            age = f"{age_s:.3f} s old" if age_s > 0 else f"{-age_s:.3f} s in the future"
            raise OldImageError(
                f"image: expected a stamp within {limit_s:g} s (image_age_s) of this node's clock, got one {age}: "
                "an old image, or the clocks of camera and node differ"
            )
        if 0 < behind_s <= _REPLAYED_S:
            raise InputError(
                f"image: expected a stamp of its own, got one {behind_s:.3f} s before the last: is there a second "
                "camera?"
            )
        self._last_s = stamp_s


def read_message(message: Image) -> RawImage:
    """Return a message's pixels.

    Raises:
        InputError: an unknown encoding, or sizes that contradict each other.
    """
    is_big_endian = bool(message.is_bigendian)
    return read_image(message.encoding, message.height, message.width, message.step, message.data, is_big_endian)


def read_rgb(
    content: RawImage | CompressedImage,
    size: tuple[int, int],
    camera_fov: float,
    bundle_fov: float,
    squeeze: bool = False,
) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) uint8 RGB as the bundle was trained on it.

    Args:
        content: of a `CameraImage`.
        size: (H, W) pixels, the bundle's.
        camera_fov: rad, vertical, of the camera.
        bundle_fov: rad, vertical, of the images that the bundle was trained on; 0 takes the whole image.
        squeeze: whether an image of another shape is squeezed, and not cut.

    Raises:
        InputError: a damaged image, or one that shows less than the bundle saw.
    """
    image = content if isinstance(content, RawImage) else read_compressed(content.format, content.data)
    own_size = image.pixels.shape[:2]
    zoom = zoom_for(camera_fov, own_size, bundle_fov, own_size if squeeze else size) if bundle_fov else 1.0
    return image.to_rgb(*size, zoom, squeeze)
