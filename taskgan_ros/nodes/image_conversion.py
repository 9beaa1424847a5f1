"""Pictures from and to messages: by cv_bridge where it is installed, else by `vision/`, as with PyPI's wheels.

A message's size, step and length are checked first in either case: cv_bridge accepts many wrong ones.
"""

from __future__ import annotations

from array import array
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from taskgan_ros.core.errors import InputError
from taskgan_ros.vision.compressed import Shrink, check_compressed, read_compressed
from taskgan_ros.vision.images import RawImage, read_image, sample_size

# The encodings of `vision/` that cv_bridge converts to rgb8. It does not know uyvy, yuyv and nv* by these names, and
# does not treat 8UC* as colours.
BRIDGED: Final = frozenset(
    [f"{colours}{bits}" for colours in ("rgb", "bgr", "rgba", "bgra", "mono") for bits in (8, 16)]
    + [f"bayer_{mosaic}{bits}" for mosaic in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)]
    + ["yuv422", "yuv422_yuy2"]
)
# It returns these unchanged. Their colours are converted later, when the cropped and resized image has fewer pixels.
_KEPT: Final = ("rgb8", "bgr8", "rgba8", "bgra8")


def find_bridge() -> Any:
    """Return a CvBridge; None where there is none, or one that does not work, as PyPI's of ROS 1 does not."""
    try:
        from cv_bridge import CvBridge

        bridge = CvBridge()
        bridge.imgmsg_to_cv2(Image(height=1, width=1, step=3, encoding="rgb8", data=array("B", bytes(3))), "rgb8")
    except Exception:  # absent, or built for another numpy or OpenCV: it raises whatever it meets
        return None
    return bridge


BRIDGE: Final = find_bridge()
CONVERTER: Final = "cv_bridge" if BRIDGE else "taskgan_ros"  # what converts images, for the log


def raw_image(message: Image) -> RawImage:
    """Return a message's pixels, checked but not converted: a view of its memory.

    Raises:
        InputError: an unknown encoding, or sizes that contradict each other.
    """
    is_big_endian = bool(message.is_bigendian)
    return read_image(message.encoding, message.height, message.width, message.step, message.data, is_big_endian)


def converted(message: Image, checked: RawImage, bridge: Any = BRIDGE) -> RawImage:
    """Return the picture of a message.

    Args:
        message: an image.
        checked: what `raw_image` made of it.
        bridge: a CvBridge, or None.

    Raises:
        InputError: cv_bridge does not convert it.
    """
    if bridge is None or message.encoding not in BRIDGED:
        return checked
    encoding = message.encoding if message.encoding in _KEPT else "rgb8"
    desired = "passthrough" if encoding == message.encoding else encoding
    try:
        return RawImage(bridge.imgmsg_to_cv2(_repacked(message), desired), encoding)
    except Exception as error:  # CvBridgeError, and what numpy and OpenCV raise
        raise InputError(f"image: expected one that cv_bridge converts, got {error}") from error


def read_compressed_message(message: CompressedImage, shrink: Shrink | None = None, bridge: Any = BRIDGE) -> RawImage:
    """Return the picture of a compressed message, smaller where `shrink` says so: see `read_compressed`.

    cv_bridge decodes a file of 8-bit colours. It decodes even half a file, so its completeness is checked first.

    Raises:
        InputError: as `read_compressed` does.
    """
    if bridge is None or not check_compressed(message.format, message.data):
        return read_compressed(message.format, message.data, shrink)
    try:
        pixels = bridge.compressed_imgmsg_to_cv2(message)
    except Exception as error:  # as above
        raise InputError(f"image: expected one that cv_bridge decodes, got {error}") from error
    is_colour = pixels is not None and pixels.dtype == np.uint8 and pixels.shape[2:] == (3,)
    return RawImage(pixels, "bgr8") if is_colour else read_compressed(message.format, message.data)


def image_message(rgb: NDArray[np.uint8], header: Header, bridge: Any = BRIDGE) -> Image:
    """Return (H, W, 3) uint8 RGB as an rgb8 image."""
    if bridge is not None:
        made: Image = bridge.cv2_to_imgmsg(np.ascontiguousarray(rgb), "rgb8")
        made.header = header
        return made
    height, width = rgb.shape[:2]
    message = Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width)
    message.data = array("B", rgb.tobytes())  # an ndarray or a list would be checked value by value
    return message


def _repacked(message: Image) -> Image:
    """Return the message in a form that cv_bridge converts correctly: rows of whole pixels, native byte order.

    cv_bridge 3.4 assumes that a step holds a whole number of pixels, and skews the rows otherwise. It swaps bytes with
    a method that numpy 2 no longer has.
    """
    channels, sample_bytes = sample_size(message.encoding)
    pixel = channels * sample_bytes
    if message.step % pixel == 0 and not message.is_bigendian:
        return message
    row = message.width * pixel
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, :row]
    if message.is_bigendian and sample_bytes > 1:
        rows = rows.reshape(message.height, -1, sample_bytes)[..., ::-1]
    whole = Image(height=message.height, width=message.width, encoding=message.encoding, step=row)
    whole.data = array("B", np.ascontiguousarray(rows).tobytes())  # rows with gaps are slow to make bytes of
    return whole
