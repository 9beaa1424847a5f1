"""A camera's image, as a sensor_msgs/CompressedImage has it: JPEG or PNG, decoded whole or refused. No ROS in here."""

from __future__ import annotations

import io
import re
import warnings
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import cv2
import numpy as np
import simplejpeg
from PIL import Image as Pillow

from taskgan_ros.core.errors import InputError
from taskgan_ros.vision.images import ENCODINGS, Image, RawImage, check_size

Shrink = Callable[[int, int], int]

# Decoders allocate the size that a header claims, and a few bytes can claim gigabytes. The limit is twice the pixels
# of the largest robot cameras, less than 200 MB of RGB.
MAX_PIXELS: Final = 64_000_000

# A block of samples takes at least one bit and covers at most 128 pixels. A file too short for its claimed size is
# refused before decoding takes a second. Each scan of a progressive file takes as long as an image.
_JPEG_PIXELS_A_BYTE: Final = 1024
_MAX_JPEG_SCANS: Final = 32
JPEG_PARTS: Final = (8, 4, 2, 1)  # scale denominators that decode fast and still read every bit; 3/8 does not

# How each kind begins and ends; cameras may pad what follows.
_MAGIC: Final = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n"}
_END: Final = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
# 0xff 0x00 is a byte of pixels, and 0xff 0xd0 to 0xd7 are restart markers.
# Not `\xff+`, which means the same here: only a pattern that begins with a literal is searched for quickly.
_JPEG_MARKER: Final = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})  # Huffman codes: baseline, extended and progressive
_OTHER_FRAMES: Final = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN: Final = 0xDA
_COEFFICIENTS: Final = 64  # of a block
_THREE_COLOURS: Final = ("RGB", "YCbCr")
# Webcams leave a few bytes after the last block of pixels. More than that are pixels misplaced by a gap.
_LEFT_OVER: Final = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_MAX_LEFT_OVER: Final = 8
_LONGEST_NAME: Final = 40  # of a string that a message's sender chose, in a line of the log


def read_compressed(
    format: str, data: bytes | bytearray | memoryview | array[int], shrink: Shrink | None = None
) -> RawImage:
    """Decode a compressed image; 16-bit samples keep their high byte, and alpha is dropped.

    The data's own first bytes say what it is, as many publishers leave `format` empty or wrong; so do its own
    colours, which are in a standard file whatever the order was in the publisher's memory.

    Args:
        format: as compressed_image_transport writes it ("jpeg", "png", "bgr8; png compressed bgr8"), or anything.
        data: the file.
        shrink: maps height and width to the integer factor by which the image may shrink; None for no shrinking.
            A JPEG is then decoded at a half, a quarter or an eighth.

    Returns:
        An rgb8 image (H, W, 3), or a bayer_*8 one (H, W, 1) where `format` says that the grey file is a sensor's
        mosaic: compressed_image_transport puts it into a PNG as it is.

    Raises:
        InputError: neither JPEG nor PNG, compressed depth, more than `MAX_PIXELS`, or a file that is truncated or
            damaged.
    """
    file = bytes(data)
    kind = _kind(format, file)
    with _refusing(kind, file):
        pixels = _decode_jpeg(file, shrink) if kind == "JPEG" else _decode_png(file)
    if pixels.ndim == 3:
        return RawImage(pixels, "rgb8")
    mosaic = _mosaic(format)
    if mosaic is None:
        return RawImage(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), "rgb8")  # type: ignore[arg-type]
    check_size(mosaic, *pixels.shape)
    return RawImage(pixels[..., None], mosaic)


def check_compressed(format: str, data: bytes | bytearray | memoryview | array[int]) -> bool:
    """Check that a compressed image is complete, for decoders that also accept truncated ones.

    Args:
        format: as `read_compressed` takes it.
        data: the file.

    Returns:
        Whether it has three colour channels, and no leftover bytes that a decoder would warn about.

    Raises:
        InputError: as `read_compressed` does.
    """
    file = bytes(data)
    kind = _kind(format, file)
    with _refusing(kind, file):
        if kind == "PNG":
            image = _open_png(file)
            image.verify()
            return bool(image.mode == "RGB")
        if _check_jpeg(file)[2] not in _THREE_COLOURS:
            return False
        try:
            simplejpeg.decode_jpeg(file, "RGB", min_height=1, min_width=1)  # an eighth of its size, but all its bits
        except ValueError as error:
            if _left_over(error):
                return False
            raise
    return True


def _kind(format: str, file: bytes) -> str:
    """Return JPEG or PNG."""
    if "compresseddepth" in format.lower():
        raise InputError(f"image: expected a compressed image, got compressed depth {format[:_LONGEST_NAME]!r}")
    kind = next((kind for kind, magic in _MAGIC.items() if file.startswith(magic)), None)
    if kind is None:
        raise InputError(
            f"image: expected JPEG or PNG data, got {len(file)} bytes that begin with {file[:8].hex(' ') or 'nothing'} "
            f"in the format {format[:_LONGEST_NAME]!r}"
        )
    if _END[kind] not in file:
        raise InputError(f"image: expected a whole {kind}, got {len(file)} bytes without its end")
    return kind


@contextmanager
def _refusing(kind: str, file: bytes) -> Iterator[None]:
    """Turn what decoders raise into an InputError."""
    # Pillow's warnings, on sizes and on EXIF, are on what is refused or not used here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # Pillow raises a dozen kinds, its decoders' own among them; simplejpeg ValueError
            raise InputError(f"image: expected a whole {kind}, got {len(file)} bytes: {error}") from error


def _check_jpeg(file: bytes) -> tuple[int, int, str]:
    """Refuse a JPEG whose headers show it too large or incomplete; return height, width and colours."""
    height, width, colours, _ = simplejpeg.decode_jpeg_header(file)
    _check_pixels(height, width)
    if height * width > _JPEG_PIXELS_A_BYTE * len(file):
        raise InputError(f"image: expected a whole JPEG, got {len(file)} bytes for {width}x{height} pixels")
    _check_scans(file)
    return height, width, str(colours)


def _decode_jpeg(file: bytes, shrink: Shrink | None) -> Image:
    """Return (H, W, 3) RGB or (H, W) grey."""
    height, width, colours = _check_jpeg(file)
    part = next(part for part in JPEG_PARTS if part <= (shrink(height, width) if shrink else 1))
    size = -(-height // part), -(-width // part)
    if colours == "Gray":
        return _decode_scans(file, "GRAY", *size)[..., 0]
    if colours in ("CMYK", "YCCK"):
        inks = _decode_scans(file, "CMYK", *size).astype(np.uint16)  # 255 is no ink, as Adobe writes them
        return (inks[..., :3] * inks[..., 3:] // 255).astype(np.uint8)
    return _decode_scans(file, "RGB", *size)


def _decode_scans(file: bytes, colours: str, height: int, width: int) -> Image:
    """Return (height, width, C) of a JPEG without a gap."""
    try:
        return simplejpeg.decode_jpeg(file, colours, min_height=height, min_width=width)
    except ValueError as error:
        left_over = _left_over(error)
        if not left_over:
            raise
        end = file.rfind(_END["JPEG"])
        whole = file[: end - left_over] + file[end:]
        return simplejpeg.decode_jpeg(whole, colours, min_height=height, min_width=width)


def _left_over(error: ValueError) -> int:
    """Return how many bytes a decoder found behind the pixels; 0 where those are not all that is wrong."""
    found = _LEFT_OVER.search(str(error))
    return int(found[1]) if found and int(found[1]) <= _MAX_LEFT_OVER else 0


def _check_scans(file: bytes) -> None:
    """Refuse a JPEG with scans missing, which libjpeg takes for one whose rest is still to come."""
    missing, scans = np.ones((0, _COEFFICIENTS), bool), 0
    components: list[int] = []
    for marker, segment in _segments(file):
        if marker in _OTHER_FRAMES:
            raise InputError(f"image: expected a baseline or progressive JPEG, got the frame type 0x{marker:x}")
        if marker in _FRAMES:
            components = list(segment[6::3])
            missing = np.ones((len(components), _COEFFICIENTS), bool)
        if marker == _SCAN:
            scans += 1
            first, last, bits = segment[-3:]
            for name in segment[1:-3:2]:
                missing[components.index(name), first : last + 1] = bits & 0x0F  # low bits that a later scan has
    if missing.any() or not scans:
        raise InputError(f"image: expected a whole JPEG, got {len(file)} bytes with scans missing")
    if scans > _MAX_JPEG_SCANS:
        raise InputError(f"image: expected a JPEG of at most {_MAX_JPEG_SCANS} scans, got {scans}")


def _segments(file: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the content of each segment of a JPEG, without the pixels."""
    at = len(_END["JPEG"])
    while match := _JPEG_MARKER.search(file, at):
        marker, at = match[1][0], match.end()
        if marker == _END["JPEG"][1]:
            return
        size = int.from_bytes(file[at : at + 2], "big")
        yield marker, file[at + 2 : at + size]
        at += size


def _decode_png(file: bytes) -> Image:
    """Return (H, W, 3) RGB or (H, W) grey."""
    _open_png(file).verify()  # checksums, which loading skips; no image can be loaded after it
    return _pixels(_open_png(file))


def _open_png(file: bytes) -> Pillow.Image:
    image = Pillow.open(io.BytesIO(file), formats=("PNG",))
    _check_pixels(image.height, image.width)
    return image


def _check_pixels(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise InputError(f"image: expected at most {MAX_PIXELS} pixels, got {width}x{height}")


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
