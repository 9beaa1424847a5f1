"""Grids of images, as the paper's figures 7 and 8 show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from taskgan_ros.core.files import whole

Pixels = NDArray[np.uint8]

SYMMETRY = "symmetry.png"
TRANSLATIONS = "translations.jpg"  # a tenth of a PNG of noisy images
_ROWS = 4
_ENLARGE = 2
_MARGIN_PX, _TITLE_PX, _FONT_PX = 6, 28, 15
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def write_translations(folder: Path, images: Pixels, translated: Pixels, truth: Pixels) -> None:
    """Write a grid of evenly spaced inputs, their translations, the true images, and the last two superimposed.

    Args:
        folder: is made where there is none.
        images: (N, H, W, 3) uint8 RGB that were translated.
        translated: the same shape.
        truth: the same shape.
    """
    rows = spread(len(images))
    both = (translated[rows].astype(np.uint16) + truth[rows] + 1) // 2
    columns = {
        "input": images[rows],
        "translation": translated[rows],
        "truth": truth[rows],
        "superimposed": both.astype(np.uint8),
    }
    write_grid(folder / TRANSLATIONS, columns)


def spread(count: int) -> NDArray[np.intp]:
    """Return the indices of the images that a grid shows of so many."""
    return np.unique(np.linspace(0, count - 1, _ROWS).round().astype(int))


def write_grid(path: Path, columns: dict[str, Pixels]) -> None:
    """Write images (N, H, W, 3) uint8 RGB in titled columns as JPEG, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path, "the pictures") as partial:
        _draw_grid(columns).save(partial, quality=88)


def _draw_grid(columns: dict[str, Pixels]) -> Image.Image:
    """Return images (N, H, W, 3) in titled columns, enlarged without smoothing."""
    count, height, width, _ = next(iter(columns.values())).shape
    across, down = width * _ENLARGE + _MARGIN_PX, height * _ENLARGE + _MARGIN_PX
    page = Image.new("RGB", (len(columns) * across + _MARGIN_PX, count * down + _TITLE_PX), _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT_PX)
    for column, (title, images) in enumerate(columns.items()):
        left = _MARGIN_PX + column * across
        draw.text((left + width * _ENLARGE / 2, _TITLE_PX / 2), title, _INK, font, anchor="mm")
        for row, pixels in enumerate(images):
            tile = Image.fromarray(pixels).resize((width * _ENLARGE, height * _ENLARGE), Image.Resampling.NEAREST)
            page.paste(tile, (left, _TITLE_PX + row * down))
    return page
