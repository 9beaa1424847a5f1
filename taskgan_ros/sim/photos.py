"""Photographs as textures: image files, and those that come with scikit-image, made to tile."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from taskgan_ros.core.config import expand_home
from taskgan_ros.core.errors import InputError

_BUNDLED = "skimage:"
_ENDINGS = (".png", ".jpg")
_WHITE_16_BIT = 65535


def find(name: str, folder: Path) -> Path:
    """Return the file of a photo: one that comes with scikit-image, or a path, which is relative to `folder`.

    Raises:
        InputError: no such file, or no scikit-image.
    """
    if name.startswith(_BUNDLED):
        return _find_bundled(name.removeprefix(_BUNDLED))
    path = folder / expand_home(name)
    if not path.is_file():
        raise InputError(f"{path}: expected a photo's file or {_BUNDLED}NAME, got none")
    return path


def _find_bundled(name: str) -> Path:
    """Look among the wheel's files: `skimage.data` would go to the network for others."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise InputError(
            f"{_BUNDLED}{name}: expected scikit-image, which this photo comes with, got none: pip install scikit-image"
        )
    files = (Path(spec.origin).parent / "data").iterdir()
    known = {file.stem: file for file in files if file.suffix in _ENDINGS}
    if name not in known:
        raise InputError(f"{_BUNDLED}{name}: expected one of {sorted(known)}, got {name!r}")
    return known[name]


def read_photo(path: Path) -> NDArray[np.uint8]:
    """Return a photo (H, W, 3) uint8 RGB; 16 bits are scaled to 8, and so are floats in [0, 1].

    Raises:
        InputError: a file that is no image, or one whose numbers cannot be a brightness.
    """
    try:
        with Image.open(path) as file:
            if file.mode == "I" and file.format == "TIFF":
                expected = "a photo of 8-bit or unsigned 16-bit integers, or of floats"
                raise InputError(f"{path}: expected {expected}, got other integers, whose white level is unknown")
            is_deep = file.mode[0] in "IF"  # convert() would clip these at 255
            image = _to_8_bits(np.asarray(file), path) if is_deep else file
            return np.asarray(image.convert("RGB"))
    except InputError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds, its decoders' own among them
        raise InputError(f"{path}: expected an image file, got: {error}") from error


def _to_8_bits(grey: NDArray[Any], path: Path) -> Image.Image:
    white = 1 if grey.dtype.kind == "f" else _WHITE_16_BIT
    lowest, highest = float(grey.min()), float(grey.max())
    if not 0 <= lowest <= highest <= white:  # false for NaN too
        raise InputError(
            f"{path}: expected values of 0 to {white} in a photo of {grey.dtype}, got {lowest} to {highest}"
        )
    return Image.fromarray((grey / white * 255).round().astype(np.uint8))


def tile(name: str, size_px: int) -> NDArray[np.uint8]:
    """Return a texture (2 size_px, 2 size_px, 3) uint8 RGB: the photo's middle square, mirrored to each side.

    Mirrored, because few photographs tile as they are, and a seam would be the strongest line on the table.

    Raises:
        InputError: as `find`, a file that is no image, or one whose numbers cannot be a brightness.
    """
    image = read_photo(find(name, Path()))
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = cv2.resize(image[top : top + side, left : left + side], (size_px, size_px), interpolation=cv2.INTER_AREA)
    upper = np.hstack([square, square[:, ::-1]])
    return np.vstack([upper, upper[::-1]]).astype(np.uint8)
