"""Textures for tables: tileable patterns between two tones, wood, and photographs."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.sim import photos
from taskgan_ros.sim.domain import Pattern, Table

Array = NDArray[np.float64]

SIZE_PX = 512
_VARIANTS = 4  # textures of one pattern that a domain holds, so that no two episodes in a row need look alike
_PHOTOS = 1000  # the photos' stream of random numbers, beside the patterns' 0, 1, ...
_LIGHT_WOOD = np.array([0.80, 0.60, 0.38])
_DARK_WOOD = np.array([0.42, 0.25, 0.12])
_PLANKS = 4
_GAP_PX = 3


def of_table(table: Table, seed: int) -> list[NDArray[np.uint8]]:
    """Return the square textures (S, S, 3) uint8 of a table's patterns, four each, and then of its photos, one each.

    The same seed gives the same ones. Each texture's distance from its mean colour is multiplied by a draw from the
    table's `contrast`.

    Raises:
        InputError: a photo that cannot be read.
    """
    drawn = [image for pattern in dict.fromkeys(table.patterns) for image in _variants(pattern, seed, table.contrast)]
    return drawn + [_photo(name, [seed, _PHOTOS, k], table.contrast) for k, name in enumerate(table.photos)]


def _variants(pattern: Pattern, seed: int, contrast: tuple[float, float]) -> list[NDArray[np.uint8]]:
    if pattern == "plain":
        return []
    index = sorted(_PATTERNS).index(pattern)
    rngs = [np.random.default_rng([seed, index, k]) for k in range(_VARIANTS)]
    return [_to_uint8(_PATTERNS[pattern](rng), rng.uniform(*contrast)) for rng in rngs]


def _photo(name: str, seed: list[int], contrast: tuple[float, float]) -> NDArray[np.uint8]:
    return _to_uint8(photos.tile(name, SIZE_PX) / 255, np.random.default_rng(seed).uniform(*contrast))


def _to_uint8(image: Array, contrast: float) -> NDArray[np.uint8]:
    mean = image.mean(axis=(0, 1))
    return (np.clip(mean + (image - mean) * contrast, 0, 1) * 255).round().astype(np.uint8)


def _noise(rng: np.random.Generator, cells_x: int, cells_y: int) -> Array:
    """Return smooth noise in about [-1, 1] that tiles, with this many cells a side."""
    grid = rng.uniform(-1, 1, (cells_y, cells_x)).astype(np.float32)
    padded = np.pad(grid, 2, mode="wrap")
    scale = (SIZE_PX / cells_x, SIZE_PX / cells_y)
    size = (round(padded.shape[1] * scale[0]), round(padded.shape[0] * scale[1]))
    smooth = cv2.resize(padded, size, interpolation=cv2.INTER_CUBIC)
    left, top = round(2 * scale[0]), round(2 * scale[1])
    return smooth[top : top + SIZE_PX, left : left + SIZE_PX].astype(np.float64)


def _wood(rng: np.random.Generator) -> Array:
    """Planks along x, each cut from a log of its own: growth rings warped by noise, with fine fibres and gaps."""
    image = np.empty((SIZE_PX, SIZE_PX, 3))
    height = SIZE_PX // _PLANKS
    for k in range(_PLANKS):
        rows = slice(k * height, (k + 1) * height)
        image[rows] = _plank(rng)[rows]
        image[rows.start : rows.start + _GAP_PX] *= 0.45
        joint = rng.integers(SIZE_PX)
        image[rows, joint : joint + _GAP_PX] *= 0.45
    return image


def _plank(rng: np.random.Generator) -> Array:
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX] / SIZE_PX
    # The cut runs nearly along the log, so rings show as long arches: distance from an axis that leaves the board.
    across = (y - rng.uniform(0, 1)) * rng.uniform(5, 8) + 0.30 * _noise(rng, 2, 6)
    along = rng.uniform(0.15, 0.5) * np.sin(2 * np.pi * (x + rng.uniform())) + 0.15 * _noise(rng, 4, 3)
    radius = np.hypot(across, along)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * radius * rng.uniform(1.6, 2.6))
    late_wood = rings**3  # growth rings darken slowly and end sharply
    fibres = 0.5 * _noise(rng, 8, 256) + 0.5 * _noise(rng, 16, 512)
    tone = np.clip(0.24 + 0.42 * late_wood + 0.22 * fibres + 0.12 * _noise(rng, 2, 4), 0, 1)[..., None]
    tint = rng.uniform(0.82, 1.12) * (1 + rng.uniform(-0.04, 0.04, 3))
    return np.clip((_LIGHT_WOOD * (1 - tone) + _DARK_WOOD * tone) * tint, 0, 1)


def _two_tones(rng: np.random.Generator, mask: Array) -> Array:
    """Blend two random colours by a mask (SIZE_PX, SIZE_PX) in [0, 1]."""
    first, second = rng.uniform(0.15, 1.0, (2, 3))
    return first * (1 - mask[..., None]) + second * mask[..., None]


def _checker(rng: np.random.Generator) -> Array:
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX] * int(rng.integers(2, 6)) * 2 // SIZE_PX
    return _two_tones(rng, ((x + y) % 2).astype(np.float64))


def _stripes(rng: np.random.Generator) -> Array:
    y = np.mgrid[0:SIZE_PX, 0:SIZE_PX][0] / SIZE_PX
    wave = np.sin(2 * np.pi * y * int(rng.integers(3, 12)) + _noise(rng, 3, 3) * rng.uniform(0, 2))
    return _two_tones(rng, np.clip(0.5 + wave * rng.uniform(0.5, 3), 0, 1))


def _blotches(rng: np.random.Generator) -> Array:
    cells = int(rng.integers(3, 24))
    mask = 0.5 + rng.uniform(0.5, 1.5) * (_noise(rng, cells, cells) + 0.5 * _noise(rng, 4 * cells, 4 * cells))
    return _two_tones(rng, np.clip(mask, 0, 1))


def _gradient(rng: np.random.Generator) -> Array:
    return _two_tones(rng, np.clip(0.5 + 0.5 * _noise(rng, 2, 2), 0, 1))


_PATTERNS: dict[str, Callable[[np.random.Generator], Array]] = {
    "blotches": _blotches,
    "checker": _checker,
    "gradient": _gradient,
    "stripes": _stripes,
    "wood": _wood,
}
