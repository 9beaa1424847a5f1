"""A camera's image, as a sensor_msgs/CompressedImage has it: JPEG or PNG, decoded whole or refused. No ROS in here."""

from __future__ import annotations

import io
import re
import warnings
from array import array
from typing import Final

import cv2
import numpy as np
from PIL import Image as Pillow

from taskgan_ros.errors import InputError
from taskgan_ros.policy.images import ENCODINGS, Image, RawImage, check_size

# What a file claims is allocated before its data says otherwise, and a few bytes can claim gigabytes. Twice the
# pixels of the largest cameras that robots carry, and less than 200 MB of RGB.
MAX_PIXELS: Final = 64_000_000

# A block of samples takes a bit at least, and no more than 128 pixels share one. A file with fewer bytes than its claim
# needs is refused before a second goes into decoding it.
_JPEG_PIXELS_A_BYTE: Final = 1024

# How each kind begins and ends; cameras may pad what follows.
_MAGIC: Final = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n"}
_END: Final = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_JPEG_SCAN: Final = b"\xff\xda"
_JPEG_MARKER: Final = re.compile(rb"\xff+[^\x00\xff]")  # 0xff 0x00 is a byte of pixels
_FILLER: Final = b"\xaa" * 64  # alternating bits are long codes of large values, whatever the code
_LAST_FILLER: Final = 32 * _FILLER  # fills the blocks beyond the image's edge, that nobody sees, and goes on
_RESTARTS: Final = b"".join(bytes([0xFF, 0xD0 + number]) + _LAST_FILLER for number in range(8))
_LONGEST_NAME: Final = 40  # of a string that a message's sender chose, in a line of the log


def read_compressed(format: str, data: bytes | bytearray | memoryview | array[int]) -> RawImage:
    """Decode a compressed image; 16-bit samples keep their high byte, and alpha is dropped.

    The data's own first bytes say what it is, as many publishers leave `format` empty or wrong; so do its own
    colours, which are in a standard file whatever the order was in the publisher's memory.

    Args:
        format: as compressed_image_transport writes it ("jpeg", "png", "bgr8; png compressed bgr8"), or anything.
        data: the file.

    Returns:
        An rgb8 image (H, W, 3), or a bayer_*8 one (H, W, 1) where `format` says that the grey file is a sensor's
        mosaic: compressed_image_transport puts it into a PNG as it is.

    Raises:
        InputError: neither JPEG nor PNG, compressed depth, more than `MAX_PIXELS`, or a file that is truncated or
            damaged.
    """
    if "compresseddepth" in format.lower():
        raise InputError(f"image: expected a compressed image, got the depths {format[:_LONGEST_NAME]!r}")
    file = bytes(data)
    kind = next((kind for kind, magic in _MAGIC.items() if file.startswith(magic)), None)
    if kind is None:
        raise InputError(
            f"image: expected JPEG or PNG data, got {len(file)} bytes that begin with {file[:8].hex(' ') or 'nothing'} "
            f"in the format {format[:_LONGEST_NAME]!r}"
        )
    if _END[kind] not in file:
        raise InputError(f"image: expected a whole {kind}, got {len(file)} bytes without its end")
    # Pillow's warnings, on sizes and on EXIF, are on what is refused or not used here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels = _decode_jpeg(file) if kind == "JPEG" else _decode_png(file)
        except InputError:
            raise
        except Exception as error:  # Pillow raises a dozen kinds, its decoders' own among them
            raise InputError(f"image: expected a whole {kind}, got {len(file)} bytes: {error}") from error
    if pixels.ndim == 3:
        return RawImage(pixels, "rgb8")
    mosaic = _mosaic(format)
    if mosaic is None:
        return RawImage(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), "rgb8")  # type: ignore[arg-type]
    check_size(mosaic, *pixels.shape)
    return RawImage(pixels[..., None], mosaic)


def _decode_jpeg(file: bytes) -> Image:
    """Return (H, W, 3) RGB or (H, W) grey."""
    image = _open(file, "JPEG")
    if image.width * image.height > _JPEG_PIXELS_A_BYTE * len(file):
        raise InputError(f"image: expected a whole JPEG, got {len(file)} bytes for {image.width}x{image.height} pixels")
    pixels = _pixels(image)
    if not np.array_equal(pixels, _pixels(_open(_refilled(file), "JPEG"))):
        raise InputError(f"image: expected a whole JPEG, got {len(file)} bytes with a gap in the pixels")
    return pixels


def _refilled(file: bytes) -> bytes:
    """Return the JPEG with filler before each marker, where its pixels ought to be complete.

    Where pixels lack there, libjpeg makes up grey ones, and neither OpenCV nor Pillow tells. Filler is skipped
    where nothing lacks, and becomes other pixels where something does.
    """
    start, end = 2, file.rfind(_END["JPEG"])
    while start < end and not file.startswith(_JPEG_SCAN, start):  # a thumbnail in a segment has scans of its own
        is_segment = file[start] == 0xFF and file[start + 1] != 0xFF
        start += 2 + int.from_bytes(file[start + 2 : start + 4], "big") if is_segment else 1
    start += len(_JPEG_SCAN)
    scans = _JPEG_MARKER.sub(_FILLER + rb"\g<0>", file[start:end].rstrip(b"\xff"))
    return file[:start] + scans + _LAST_FILLER + _RESTARTS + file[end:]


def _decode_png(file: bytes) -> Image:
    """Return (H, W, 3) RGB or (H, W) grey."""
    _open(file, "PNG").verify()  # checksums, which loading skips; no image can be loaded after it
    return _pixels(_open(file, "PNG"))


def _open(file: bytes, kind: str) -> Pillow.Image:
    image = Pillow.open(io.BytesIO(file), formats=(kind,))
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"image: expected at most {MAX_PIXELS} pixels, got {image.width}x{image.height}")
    return image


def _pixels(image: Pillow.Image) -> Image:
    image.info.pop("transparency", None)  # Pillow would look for a colour that stands for it
    if image.mode.startswith("I"):  # 16-bit grey, which convert() clips at 255
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(image if image.mode == "L" else image.convert("RGB"))


def _mosaic(format: str) -> str | None:
    """Return the 8-bit Bayer encoding of the grey pixels, None if they are grey."""
    encoding, _, codec = format.partition(";")
    encoding = encoding.strip().removesuffix("8").removesuffix("16") + "8"
    return encoding if encoding.startswith("bayer_") and encoding in ENCODINGS and "mono" not in codec else None
