"""A camera's image, as a sensor_msgs/Image has it, checked and turned into RGB. No ROS in here."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.errors import InputError

Image = NDArray[np.uint8]

# Channels of each encoding, and OpenCV's code for the way to RGB; None is RGB already.
_ENCODINGS: Final[dict[str, tuple[int, int | None]]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
}
ENCODINGS: Final = tuple(_ENCODINGS)


@dataclass(frozen=True)
class RawImage:
    """A checked image in the encoding it came in.

    Attributes:
        pixels: (H, W, C) uint8, a view of the message's memory; rows may be padded.
        encoding: one of `ENCODINGS`.
    """

    pixels: Image
    encoding: str

    def to_rgb(self, height: int | None = None, width: int | None = None) -> Image:
        """Return (height, width, 3) uint8 RGB, contiguous; None keeps the image's own size.

        Another size is stretched to: areas are averaged to shrink, pixels interpolated to grow.
        """
        own_height, own_width = self.pixels.shape[:2]
        height, width = height or own_height, width or own_width
        pixels = self.pixels
        if (height, width) != (own_height, own_width):
            shrinks = height <= own_height and width <= own_width
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            # Before the colours, as there are fewer pixels then.
            pixels = cv2.resize(pixels, (width, height), interpolation=how)  # type: ignore[assignment]
        code = _ENCODINGS[self.encoding][1]
        rgb = pixels if code is None else cv2.cvtColor(pixels, code)
        return np.ascontiguousarray(rgb, dtype=np.uint8)


def read_image(
    encoding: str, height: int, width: int, step: int, data: bytes | bytearray | memoryview | array[int]
) -> RawImage:
    """Check an image's fields and return a view of its pixels; nothing is copied.

    Args:
        encoding: one of `ENCODINGS`.
        height: rows.
        width: columns.
        step: bytes from one row to the next, padding included.
        data: the bytes, exactly `height * step` of them.

    Raises:
        InputError: an encoding that is not known, an image without pixels, a step shorter than a row, or data
            of another length than the fields say.
    """
    if encoding not in _ENCODINGS:
        raise InputError(f"image: expected an encoding of {list(ENCODINGS)}, got {encoding!r}")
    if height < 1 or width < 1:
        raise InputError(f"image: expected at least one pixel, got {width}x{height}")
    channels = _ENCODINGS[encoding][0]
    row = width * channels
    if step < row:
        raise InputError(f"image: expected a step of at least {row} bytes for {width} pixels, got {step}")
    flat = np.frombuffer(data, dtype=np.uint8)
    if flat.size != height * step:
        raise InputError(f"image: expected {height} rows of {step} bytes = {height * step}, got {flat.size}")
    pixels = flat.reshape(height, step)[:, :row].reshape(height, width, channels)
    return RawImage(pixels, encoding)
