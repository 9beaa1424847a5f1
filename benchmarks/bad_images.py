"""Images that must be rejected: each kind has one fault, and every sample of it must be refused."""

from __future__ import annotations

import array
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from taskgan_ros.core.errors import InputError
from taskgan_ros.vision.compressed import read_compressed

Rng = np.random.Generator

_LARGEST: Final = 2**32 - 1  # of the fields' type
_CHANNELS: Final = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC3": 3}
_DEEP: Final = {"mono16": 2, "rgb16": 6, "rgba16": 8, "16UC1": 2, "bayer_rggb16": 2}  # bytes a pixel
_BAYER: Final = tuple(f"bayer_{order}{bits}" for order in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16))
_SIDE_PX: Final = (3, 96)
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = 12  # bytes of the last chunk


def _size(rng: Rng) -> tuple[int, int]:
    height, width = rng.integers(*_SIDE_PX, 2, endpoint=True)
    return int(height), int(width)


def _message(rng: Rng, encoding: str, height: int, width: int, step: int, length: int) -> Image:
    message = Image(encoding=encoding, height=height, width=width, step=step, is_bigendian=int(rng.integers(2)))
    message.data = array.array("B", rng.bytes(length))
    return message


def _sound(rng: Rng) -> Image:
    """Return a valid image to put a fault into."""
    encoding, channels = list(_CHANNELS.items())[rng.integers(len(_CHANNELS))]
    height, width = _size(rng)
    step = width * channels + int(rng.integers(4))
    return _message(rng, encoding, height, width, step, height * step)


# sensor_msgs/Image


def _short_step(rng: Rng) -> Image:
    image = _sound(rng)
    image.step = int(rng.integers(image.width * _CHANNELS[image.encoding]))
    image.data = image.data[: image.height * image.step]
    return image


def _other_step(rng: Rng) -> Image:
    image = _sound(rng)
    image.step += int(rng.integers(1, 1000))
    return image


def _short_data(rng: Rng) -> Image:
    image = _sound(rng)
    image.data = image.data[: rng.integers(len(image.data))]
    return image


def _long_data(rng: Rng) -> Image:
    image = _sound(rng)
    image.data = image.data + array.array("B", rng.bytes(int(rng.integers(1, 5000))))
    return image


def _no_pixels(rng: Rng) -> Image:
    height, width = [(0, 0), (0, int(rng.integers(1, 100))), (int(rng.integers(1, 100)), 0)][rng.integers(3)]
    return _message(rng, "rgb8", height, width, 3 * width, height * 3 * width if rng.random() < 0.5 else 100)


def _unknown_encoding(rng: Rng) -> Image:
    image = _sound(rng)
    words = ["RGB8", "rgb8 ", "32FC1", "64FC3", "8UC2", "nv13", "bayer_rgbg8", "jpeg", "%s%n", "ü" * 20, "x" * 100_000]
    image.encoding = words[rng.integers(len(words))]
    return image


def _empty_encoding(rng: Rng) -> Image:
    image = _sound(rng)
    image.encoding = ""
    return image


def _huge_claim(rng: Rng) -> Image:
    image = _sound(rng)
    for name in rng.permutation(["height", "width", "step"])[: rng.integers(1, 4)]:
        setattr(image, name, _LARGEST)
    return image


def _odd_deep(rng: Rng) -> Image:
    """16-bit samples of which half a one is missing or left over, with any byte for a flag of their order."""
    encoding, size = list(_DEEP.items())[rng.integers(len(_DEEP))]
    height, width = _size(rng)
    image = _message(rng, encoding, height, width, width * size, height * width * size + int(rng.choice([-1, 1])))
    image.is_bigendian = int(rng.integers(256))
    return image


def _odd_yuv422(rng: Rng) -> Image:
    height, half = _size(rng)
    encoding = str(rng.choice(["uyvy", "yuyv", "yuv422", "yuv422_yuy2"]))
    return _message(rng, encoding, height, 2 * half + 1, 2 * (2 * half + 1), height * 2 * (2 * half + 1))


def _odd_planes(rng: Rng) -> Image:
    """nv12 and nv21 of odd sizes, and nv24 without the half of its second plane."""
    height, width = _size(rng)
    if rng.random() < 0.3:
        return _message(rng, "nv24", height, width, width, height * width * 2)
    odd = (2 * height + 1, width) if rng.random() < 0.5 else (height, 2 * width + 1)
    return _message(rng, str(rng.choice(["nv12", "nv21"])), *odd, odd[1], odd[0] * odd[1] * 3 // 2)


def _small_bayer(rng: Rng) -> Image:
    """Fewer than the three rows or columns that a colour's neighbours need."""
    encoding, few, many = str(rng.choice(_BAYER)), int(rng.integers(1, 3)), int(rng.integers(1, 100))
    height, width = (few, many) if rng.random() < 0.5 else (many, few)
    step = width * (2 if encoding.endswith("16") else 1)
    return _message(rng, encoding, height, width, step, height * step)


def _noise(rng: Rng) -> Image:
    """Any bytes in every field; height and step alone promise more than a message can hold."""
    height, width, step = (int(value) for value in rng.integers(2**16, _LARGEST, 3))
    encoding = rng.bytes(int(rng.integers(40))).decode("latin-1").replace("\0", "")
    image = _message(rng, encoding, height, width, step, int(rng.integers(5000)))
    image.is_bigendian = int(rng.integers(256))
    return image


# sensor_msgs/CompressedImage


def _file(rng: Rng, extension: str, options: Sequence[int] = (), size: tuple[int, int] | None = None) -> bytes:
    height, width = size or _size(rng)
    small = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    pixels = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.imencode(extension, pixels, options)[1].tobytes()


def _compressed(data: bytes, format: str) -> CompressedImage:
    return CompressedImage(format=format, data=array.array("B", data))


def _jpeg(data: bytes) -> CompressedImage:
    return _compressed(data, "rgb8; jpeg compressed bgr8")


def _png(data: bytes) -> CompressedImage:
    return _compressed(data, "rgb8; png compressed bgr8")


def _truncated_jpeg(rng: Rng) -> CompressedImage:
    file = _file(rng, ".jpg")
    return _jpeg(file[: rng.integers(1, len(file))])


def _truncated_png(rng: Rng) -> CompressedImage:
    file = _file(rng, ".png")
    return _png(file[: rng.integers(1, len(file))])


def _gapped_jpeg(rng: Rng) -> CompressedImage:
    """A JPEG of any coding that lacks a fifth or more of its pixel data, mid-file or at the end, but has its end.

    A JPEG has no checksum: one that lacks only a few bytes within a block still decodes.
    """
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(rng.integers(2)), cv2.IMWRITE_JPEG_RST_INTERVAL, int(rng.integers(4))]
    file = _file(rng, ".jpg", options, size=(int(rng.integers(48, 97)), int(rng.integers(48, 97))))
    begin, end = file.index(b"\xff\xda") + 20, len(file) - 2
    gap = int(rng.uniform(0.2, 0.9) * (end - begin))
    start = end - gap if rng.random() < 0.5 else int(rng.integers(begin, end - gap))
    return _jpeg(file[:start] + file[start + gap :])


def _flipped(rng: Rng, file: bytes, end: int) -> bytes:
    bits = np.unpackbits(np.frombuffer(file, np.uint8))
    places = rng.choice(8 * end, int(rng.integers(1, 30)), replace=False)
    bits[places] ^= 1
    return np.packbits(bits).tobytes()


def _flipped_jpeg(rng: Rng) -> CompressedImage:
    """Wrong bits anywhere. A JPEG has no checksum: one that decodes all the same is an image, and another is drawn."""
    while True:
        file = _file(rng, ".jpg")
        message = _jpeg(_flipped(rng, file, len(file)))
        try:
            read_compressed(message.format, message.data)
        except InputError:
            return message


def _flipped_png(rng: Rng) -> CompressedImage:
    """Wrong bits anywhere before the last chunk: every chunk has a checksum."""
    file = _file(rng, ".png")
    return _png(_flipped(rng, file, len(file) - _PNG_END))


def _depth_format(rng: Rng) -> CompressedImage:
    kinds = ["16UC1; compressedDepth", "32FC1; compressedDepth png", "compresseddepth", "COMPRESSEDDEPTH rvl"]
    return _compressed(_file(rng, ".png"), kinds[rng.integers(len(kinds))])


def _wrong_format(rng: Rng) -> CompressedImage:
    """A sound file of another kind that calls itself JPEG or PNG."""
    extension = [".webp", ".bmp", ".tiff", ".ppm"][rng.integers(4)]
    return _compressed(_file(rng, extension), str(rng.choice(["jpeg", "png", "", "rgb8; jpeg compressed bgr8"])))


def _small_mosaic(rng: Rng) -> CompressedImage:
    """A Bayer mosaic that is too small."""
    pixels = rng.integers(0, 256, (2, int(rng.integers(1, 50))), dtype=np.uint8)
    return _compressed(cv2.imencode(".png", pixels)[1].tobytes(), "bayer_rggb8; png compressed")


def _png_bomb(rng: Rng) -> CompressedImage:
    """A few bytes that claim 900 megapixels or more, every checksum right."""
    side = int(rng.integers(30_000, 2**31 - 1)) if rng.random() < 0.5 else 30_000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(int(rng.integers(1, 1_000_000))))
    return _png(_PNG_MAGIC + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _jpeg_bomb(rng: Rng) -> CompressedImage:
    """A JPEG whose header claims far more pixels than it has, up to the largest there can be."""
    file = bytearray(_file(rng, ".jpg"))
    place = file.index(b"\xff\xc0") + 5
    file[place : place + 4] = struct.pack(">HH", *(int(side) for side in rng.integers(2000, 65_500, 2)))
    return _jpeg(bytes(file))


def _empty(rng: Rng) -> CompressedImage:
    return _compressed(b"", str(rng.choice(["jpeg", "png", ""])))


def _compressed_noise(rng: Rng) -> CompressedImage:
    """Random bytes, half of them behind the first and before the last bytes of a JPEG or PNG."""
    noise, kind = rng.bytes(int(rng.integers(1, 20_000))), rng.integers(4)
    if kind == 0:
        return _jpeg(b"\xff\xd8\xff" + noise + b"\xff\xd9")
    if kind == 1:
        return _png(_PNG_MAGIC + noise + _chunk(b"IEND", b""))
    return _compressed(b"\0" + noise, "jpeg" if kind == 2 else "")


RAW: Final[dict[str, Callable[[Rng], Image]]] = {
    "step shorter than a row": _short_step,
    "step longer than the data": _other_step,
    "data too short": _short_data,
    "data too long": _long_data,
    "no pixels": _no_pixels,
    "unknown encoding": _unknown_encoding,
    "empty encoding": _empty_encoding,
    "claims 2^32 - 1": _huge_claim,
    "half a 16-bit sample": _odd_deep,
    "odd width in yuv422": _odd_yuv422,
    "odd size in nv12, nv21, nv24": _odd_planes,
    "bayer below 3x3": _small_bayer,
    "random fields and bytes": _noise,
}

COMPRESSED: Final[dict[str, Callable[[Rng], CompressedImage]]] = {
    "truncated JPEG": _truncated_jpeg,
    "truncated PNG": _truncated_png,
    "JPEG with a gap": _gapped_jpeg,
    "flipped bits in JPEG": _flipped_jpeg,
    "flipped bits in PNG": _flipped_png,
    "compressed depth": _depth_format,
    "WebP, BMP, TIFF, PPM": _wrong_format,
    "bayer below 3x3 in PNG": _small_mosaic,
    "PNG bomb": _png_bomb,
    "JPEG bomb": _jpeg_bomb,
    "empty": _empty,
    "random bytes": _compressed_noise,
}
