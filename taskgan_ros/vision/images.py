"""A camera's image, as a sensor_msgs/Image has it, checked and turned into RGB. No ROS in here."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError

Image = NDArray[np.uint8]

FOV_TOLERANCE: Final = 0.01  # a camera's field of view is hardly ever known better
_LONGEST_NAME: Final = 40  # of a string that a message's sender chose, in a line of the log


class _Encoding(NamedTuple):
    """How an encoding lays its pixels out.

    Attributes:
        channels: samples of a pixel, in the first plane if there are two.
        code: OpenCV's code for the conversion to RGB; None is RGB already.
        sample_bytes: 1 or 2.
        pixelwise: each pixel has its own colour, so that cropping and resizing may precede the conversion.
        block: rows and columns of pixels that have one chroma sample; sizes must be multiples.
        least: rows and columns that OpenCV needs; it makes smaller images black.
        chroma_plane: a plane of chroma pairs, one for each block, follows the first.
    """

    channels: int
    code: int | None
    sample_bytes: int = 1
    pixelwise: bool = True
    block: tuple[int, int] = (1, 1)
    least: int = 1
    chroma_plane: bool = False


def _bayer(code: int, sample_bytes: int) -> _Encoding:
    return _Encoding(1, code, sample_bytes, pixelwise=False, least=3)


def _yuv422(code: int) -> _Encoding:
    return _Encoding(2, code, pixelwise=False, block=(1, 2))


def _two_planes(code: int, block: tuple[int, int]) -> _Encoding:
    return _Encoding(1, code, pixelwise=False, block=block, chroma_plane=True)


# The names are those of sensor_msgs/image_encodings.hpp, old and new, and nv12 of its newest. YUV is BT.601 with
# its limited range, as OpenCV, cv_bridge and nearly all cameras have it.
_ENCODINGS: Final = {
    "rgb8": _Encoding(3, None),
    "bgr8": _Encoding(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Encoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Encoding(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Encoding(1, cv2.COLOR_GRAY2RGB),
    "rgb16": _Encoding(3, None, 2),
    "bgr16": _Encoding(3, cv2.COLOR_BGR2RGB, 2),
    "rgba16": _Encoding(4, cv2.COLOR_RGBA2RGB, 2),
    "bgra16": _Encoding(4, cv2.COLOR_BGRA2RGB, 2),
    "mono16": _Encoding(1, cv2.COLOR_GRAY2RGB, 2),
    # OpenCV's types say nothing of colours: its own order is meant.
    "8UC1": _Encoding(1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Encoding(3, cv2.COLOR_BGR2RGB),
    "8UC4": _Encoding(4, cv2.COLOR_BGRA2RGB),
    "16UC1": _Encoding(1, cv2.COLOR_GRAY2RGB, 2),
    # OpenCV's BayerBG is ROS's rggb; only its names with four letters say the same as ROS's.
    "bayer_rggb8": _bayer(cv2.COLOR_BayerRGGB2RGB, 1),
    "bayer_bggr8": _bayer(cv2.COLOR_BayerBGGR2RGB, 1),
    "bayer_gbrg8": _bayer(cv2.COLOR_BayerGBRG2RGB, 1),
    "bayer_grbg8": _bayer(cv2.COLOR_BayerGRBG2RGB, 1),
    "bayer_rggb16": _bayer(cv2.COLOR_BayerRGGB2RGB, 2),
    "bayer_bggr16": _bayer(cv2.COLOR_BayerBGGR2RGB, 2),
    "bayer_gbrg16": _bayer(cv2.COLOR_BayerGBRG2RGB, 2),
    "bayer_grbg16": _bayer(cv2.COLOR_BayerGRBG2RGB, 2),
    "uyvy": _yuv422(cv2.COLOR_YUV2RGB_UYVY),
    "yuv422": _yuv422(cv2.COLOR_YUV2RGB_UYVY),
    "yuyv": _yuv422(cv2.COLOR_YUV2RGB_YUYV),
    "yuv422_yuy2": _yuv422(cv2.COLOR_YUV2RGB_YUYV),
    "nv12": _two_planes(cv2.COLOR_YUV2RGB_NV12, (2, 2)),
    "nv21": _two_planes(cv2.COLOR_YUV2RGB_NV21, (2, 2)),
    "nv24": _two_planes(cv2.COLOR_YUV2RGB_YUYV, (1, 1)),
}
ENCODINGS: Final = tuple(_ENCODINGS)


@dataclass(frozen=True)
class RawImage:
    """A checked image in the encoding it came in.

    Attributes:
        pixels: (H, W, C) uint8, a view of the message's memory; rows may be padded. Of 16-bit samples the high bytes.
        encoding: one of `ENCODINGS`.
        chroma: the second plane of nv12 and nv21, (H/2, W/2, 2) uint8, and of nv24, (H, W, 2); else None.
    """

    pixels: Image
    encoding: str
    chroma: Image | None = None

    def to_rgb(
        self, height: int | None = None, width: int | None = None, zoom: float = 1.0, squeeze: bool = False
    ) -> Image:
        """Return (height, width, 3) uint8 RGB, contiguous; None keeps the image's own size.

        The centre is cropped: 1/zoom of the largest rectangle of aspect ratio height:width, to the nearest pixel.
        With `squeeze` the crop keeps the image's own aspect ratio. Then it is resized: areas are averaged to shrink,
        pixels interpolated to grow.

        Raises:
            InputError: a zoom that is not finite, or below 1.
        """
        if not 1.0 <= zoom < math.inf:
            raise InputError(f"image: expected a zoom of at least 1, got {zoom}")
        own_height, own_width = self.pixels.shape[:2]
        height, width = height or own_height, width or own_width
        known = _ENCODINGS[self.encoding]
        pixels = self.pixels if known.pixelwise else self._convert()
        shape = (own_height, own_width) if squeeze else (height, width)
        pixels = _resize(_centre(pixels, *shape, zoom), height, width)
        if known.pixelwise and known.code is not None:  # last, as there are fewer pixels now
            pixels = cv2.cvtColor(pixels, known.code)  # type: ignore[assignment]
        return np.ascontiguousarray(pixels, dtype=np.uint8)

    def _convert(self) -> Image:
        """Return the whole image in RGB, for encodings in which pixels share their colours."""
        code = _ENCODINGS[self.encoding].code
        assert code is not None
        if self.chroma is None:
            return cv2.cvtColor(self.pixels, code)  # type: ignore[return-value]
        if self.chroma.shape[:2] != self.pixels.shape[:2]:
            return cv2.cvtColorTwoPlane(self.pixels, self.chroma, code)  # type: ignore[return-value]
        # OpenCV has no 4:4:4 with a limited range, but every pixel twice makes it 4:2:2.
        luma, u, v = self.pixels[..., 0], self.chroma[..., 0], self.chroma[..., 1]
        doubled = np.stack([luma, u, luma, v], axis=-1).reshape(len(luma), -1, 2)
        return cv2.cvtColor(doubled, code)[:, ::2]  # type: ignore[return-value]


def read_image(
    encoding: str,
    height: int,
    width: int,
    step: int,
    data: bytes | bytearray | memoryview | array[int],
    is_bigendian: bool = False,
) -> RawImage:
    """Check an image's fields and return a view of its pixels; nothing is copied.

    Args:
        encoding: one of `ENCODINGS`.
        height: rows.
        width: columns.
        step: bytes from one row to the next, padding included; in nv12, nv21 and nv24 of the first plane.
        data: the bytes, exactly `height * step` of them; half as many more in nv12 and nv21, three times in nv24.
        is_bigendian: 16-bit samples have the high byte first.

    Raises:
        InputError: an encoding that is not known, an image without pixels or of a size that the encoding cannot
            have, a step shorter than a row, or data of another length than the fields say.
    """
    known = _ENCODINGS.get(encoding)
    if known is None:
        raise InputError(f"image: expected an encoding of {list(ENCODINGS)}, got {encoding[:_LONGEST_NAME]!r}")
    check_size(encoding, height, width)
    row = width * known.channels * known.sample_bytes
    if step < row:
        raise InputError(f"image: expected a step of at least {row} bytes for {width} pixels, got {step}")
    block_height, block_width = known.block
    chroma_height, chroma_width = height // block_height, width // block_width
    chroma_step = 2 * step // block_width
    luma_size, planes = height * step, f"{height} rows of {step} bytes"
    size = luma_size
    if known.chroma_plane:
        size += chroma_height * chroma_step
        planes += f" and {chroma_height} of {chroma_step}"
    flat = np.frombuffer(data, dtype=np.uint8)
    if flat.size != size:
        raise InputError(f"image: expected {planes} = {size}, got {flat.size}")
    samples = flat[:luma_size].reshape(height, step)[:, :row]
    samples = samples.reshape(height, width, known.channels, known.sample_bytes)
    pixels = samples[..., 0 if is_bigendian else -1]
    if not known.chroma_plane:
        return RawImage(pixels, encoding)
    pairs = flat[luma_size:].reshape(chroma_height, chroma_step)[:, : 2 * chroma_width]
    return RawImage(pixels, encoding, pairs.reshape(chroma_height, chroma_width, 2))


def sample_size(encoding: str) -> tuple[int, int]:
    """Return the samples of a pixel, in the first plane if there are two, and the bytes of a sample, of `ENCODINGS`."""
    known = _ENCODINGS[encoding]
    return known.channels, known.sample_bytes


def check_size(encoding: str, height: int, width: int) -> None:
    """Check that there may be a height x width image of this encoding, one of `ENCODINGS`.

    Raises:
        InputError: it has no pixels, too few, or not whole blocks of them.
    """
    known, got = _ENCODINGS[encoding], f"{width}x{height}"
    if height < 1 or width < 1:
        raise InputError(f"image: expected at least one pixel, got {got}")
    if min(height, width) < known.least:
        raise InputError(f"image: expected at least {known.least}x{known.least} pixels in {encoding}, got {got}")
    block_height, block_width = known.block
    if height % block_height or width % block_width:
        multiples = f"{block_width}x{block_height}"
        raise InputError(f"image: expected whole blocks of {multiples} pixels in {encoding}, got {got}")


def zoom_for(
    camera_fov: float,
    camera_size: tuple[int, int],
    bundle_fov: float,
    bundle_size: tuple[int, int],
    wanted_by: str = "bundle",
) -> float:
    """Return the zoom with which `RawImage.to_rgb` shows what a bundle was trained on.

    Both cameras are pinholes: an image distorted by its lens must be rectified first.

    Args:
        camera_fov: vertical field of view of the camera's whole image, in rad.
        camera_size: height and width of its images, in pixels.
        bundle_fov: vertical field of view of the images that the bundle was trained on, in rad.
        bundle_size: their height and width, in pixels.
        wanted_by: what the images are for, in errors.

    Returns:
        At least 1; a camera that sees up to a hundredth less than the bundle needs passes as 1.

    Raises:
        InputError: the camera sees less than that, or a field of view is not an angle between 0 and pi.
    """
    for whose, fov in (("camera", camera_fov), (wanted_by, bundle_fov)):
        if not 0.0 < fov < math.pi:
            raise InputError(f"{whose}: expected a vertical field of view between 0 and pi rad, got {fov}")
    height, width = camera_size
    kept_height, _ = _aspect_crop(height, width, *bundle_size)
    # In a pinhole image, lengths are proportional to the tangent, not to the angle.
    kept = math.tan(camera_fov / 2) * kept_height / height
    zoom = kept / math.tan(bundle_fov / 2)
    if zoom < 1.0 - FOV_TOLERANCE:
        kept_fov = 2 * math.atan(kept)
        raise InputError(
            f"camera: expected to see at least {bundle_fov:.4g} rad vertically, as the {wanted_by} has it, got "
            f"{kept_fov:.4g} rad: {camera_fov:.4g} rad, {width}x{height} cropped to "
            f"{bundle_size[1]}:{bundle_size[0]}"
        )
    return max(1.0, zoom)


def _aspect_crop(height: int, width: int, to_height: int, to_width: int) -> tuple[float, float]:
    """Return height and width of the largest rectangle to_height:to_width in height x width."""
    return min(height, width * to_height / to_width), min(width, height * to_width / to_height)


def centre_size(size: tuple[int, int], to_size: tuple[int, int], zoom: float) -> tuple[int, int]:
    """Return rows and columns of what `RawImage.to_rgb` cuts out of an image of `size` (H, W)."""
    crop_height, crop_width = _aspect_crop(*size, *to_size)
    return max(1, round(crop_height / zoom)), max(1, round(crop_width / zoom))


def _centre(pixels: Image, to_height: int, to_width: int, zoom: float) -> Image:
    height, width = pixels.shape[:2]
    rows, columns = centre_size((height, width), (to_height, to_width), zoom)
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def _resize(pixels: Image, height: int, width: int) -> Image:
    own_height, own_width = pixels.shape[:2]
    if (height, width) == (own_height, own_width):
        return pixels
    if height > own_height or width > own_width:
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]
    # Means of 2x2 pixels take a tenth of the time that areas of other sizes do.
    while own_height % 2 == own_width % 2 == 0 and own_height >= 2 * height and own_width >= 2 * width:
        own_height, own_width = own_height // 2, own_width // 2
        pixels = cv2.resize(pixels, (own_width, own_height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
