from __future__ import annotations

from array import array
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("rclpy")

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes import image_conversion
from taskgan_ros.nodes.image_conversion import (
    BRIDGED,
    converted,
    image_message,
    raw_image,
    read_compressed_message,
)
from taskgan_ros.vision.images import ENCODINGS, sample_size

HEIGHT, WIDTH = 12, 16
CHROMA_ROWS = {"nv12": HEIGHT // 2, "nv21": HEIGHT // 2, "nv24": 2 * HEIGHT}
needs_cv_bridge = pytest.mark.skipif(image_conversion.BRIDGE is None, reason="cv_bridge is no part of PyPI's wheels")


class SkewingBridge:
    """Takes rows as cv_bridge 3.4 does: of as many pixels as a step holds whole, and swaps no bytes."""

    def imgmsg_to_cv2(self, message: Image, desired_encoding: str) -> NDArray[np.uint8]:
        assert desired_encoding == ("rgb8" if message.encoding == "rgb16" else "passthrough")
        assert not message.is_bigendian
        channels, sample_bytes = sample_size(message.encoding)
        shape = (message.height, message.step // channels // sample_bytes, channels, sample_bytes)
        pixels: NDArray[np.uint8] = np.ndarray(shape, np.uint8, message.data)
        return pixels[:, : message.width, :, -1]


def picture(encoding: str, padding: int = 0, big: bool = False) -> Image:
    """Return a smooth picture in an encoding."""
    channels, sample_bytes = sample_size(encoding)
    ramp = np.linspace(20, 220, HEIGHT * WIDTH * channels).astype(np.uint8)
    samples = np.zeros((ramp.size, sample_bytes), np.uint8)
    samples[:, 0 if big else -1] = ramp
    rows = samples.reshape(HEIGHT, -1)
    rows = np.hstack([rows, np.full((HEIGHT, padding), 99, np.uint8)])
    message = Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=rows.shape[1], is_bigendian=big)
    chroma = bytes([128]) * (CHROMA_ROWS.get(encoding, 0) * rows.shape[1])
    message.data = array("B", rows.tobytes() + chroma)
    return message


def compressed(kind: str, pixels: NDArray[Any]) -> CompressedImage:
    message = CompressedImage(format=kind)
    message.data = array("B", cv2.imencode(f".{kind}", pixels)[1].tobytes())
    return message


@needs_cv_bridge
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cv_bridge_makes_the_picture_that_we_make(encoding: str, big: bool) -> None:
    for padding in range(9):
        message = picture(encoding, padding, big)
        ours = raw_image(message)
        theirs = converted(message, ours)
        assert (theirs is ours) == (encoding not in BRIDGED)
        # Of 16 bits it rounds to 8, and we take the high ones.
        np.testing.assert_allclose(theirs.to_rgb().astype(int), ours.to_rgb(), atol="16" in encoding)


@needs_cv_bridge
def test_cv_bridge_converts_what_is_left_to_it() -> None:
    for encoding in BRIDGED:
        assert image_conversion.BRIDGE.imgmsg_to_cv2(picture(encoding), "rgb8").shape == (HEIGHT, WIDTH, 3)


@needs_cv_bridge
@pytest.mark.parametrize(
    ("kind", "channels", "wide"),
    [("jpeg", 1, False), ("jpeg", 3, False), *(("png", channels, wide) for channels in (1, 3, 4) for wide in (0, 1))],
)
def test_cv_bridge_decodes_the_picture_that_we_decode(kind: str, channels: int, wide: bool) -> None:
    pixels = np.linspace(20, 220, 40 * 56 * channels).reshape(40, 56, channels).astype(np.uint8)
    message = compressed(kind, pixels.astype(np.uint16) * 257 if wide else pixels)
    theirs, ours = read_compressed_message(message), read_compressed_message(message, bridge=None)
    # Two builds of libjpeg may interpolate colours by other code.
    np.testing.assert_allclose(theirs.to_rgb().astype(int), ours.to_rgb(), atol=3 * (kind == "jpeg"))


@needs_cv_bridge
def test_cv_bridge_publishes_what_we_publish() -> None:
    rgb = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    header = Header(frame_id="camera")
    assert image_message(rgb, header) == image_message(rgb, header, bridge=None)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ["rgb8", "rgb16", "rgba8"])
def test_rows_that_a_bridge_would_skew_are_repacked_for_it(encoding: str, big: bool) -> None:
    for padding in range(9):
        message = picture(encoding, padding, big)
        ours = raw_image(message)
        np.testing.assert_array_equal(converted(message, ours, SkewingBridge()).pixels, ours.pixels)


def test_no_bridge_sees_a_file_that_is_not_whole() -> None:
    message = compressed("jpeg", np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    file = message.data.tobytes()
    message.data = array("B", file[: len(file) // 2] + b"\xff\xd9")
    with pytest.raises(InputError, match="expected a whole JPEG"):
        read_compressed_message(message, bridge=object())


def test_what_a_bridge_does_not_convert_is_refused() -> None:
    message = picture("rgb8")
    with pytest.raises(InputError, match="image: expected one that cv_bridge converts, got"):
        converted(message, raw_image(message), bridge=object())
