"""Bars close to the lens, out of focus, that hide a part of the picture and swing slowly."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.sim.domain import Occlusion

Image = NDArray[np.uint8]

_SOFT = 0.02  # of a bar's edge, as a share of the image's height
_PERIOD_S = 9.0  # of one swing there and back


@dataclass(frozen=True)
class Bar:
    """A bar across the picture; lengths are shares of the image's height.

    Attributes:
        angle: rad, of its normal.
        offset: of its middle line from the image's centre, along the normal.
        half_width: of it.
        swing: to each side; `phase` rad where it begins.
        brightness: of its grey, in [0, 1].
    """

    angle: float
    offset: float
    half_width: float
    swing: float
    phase: float
    brightness: float


def sample_bars(occlusion: Occlusion, seed: int, index: int) -> tuple[Bar, ...]:
    """Draw episode `index`'s bars."""
    rng = np.random.default_rng([seed, index, 8])
    return tuple(
        Bar(
            angle=rng.uniform(0, np.pi),
            offset=rng.uniform(-0.4, 0.4),
            half_width=rng.uniform(*occlusion.width) / 2,
            swing=rng.uniform(*occlusion.swing),
            phase=rng.uniform(0, 2 * np.pi),
            brightness=rng.uniform(*occlusion.brightness),
        )
        for _ in range(rng.integers(*occlusion.count, endpoint=True))
    )


def draw_bars(image: Image, bars: tuple[Bar, ...], time_s: float) -> Image:
    """Return the image (H, W, 3) with the bars before it, `time_s` into the episode."""
    if not bars:
        return image
    height, width = image.shape[:2]
    y, x = (np.mgrid[0:height, 0:width] + 0.5 - np.array([height, width])[:, None, None] / 2) / height
    values = image.astype(np.float32)
    for bar in bars:
        middle = bar.offset + bar.swing * np.sin(bar.phase + 2 * np.pi * time_s / _PERIOD_S)
        inside = bar.half_width - np.abs(x * np.cos(bar.angle) + y * np.sin(bar.angle) - middle)
        cover = np.clip(inside / _SOFT + 0.5, 0, 1).astype(np.float32)[..., None]
        values += cover * (255 * bar.brightness - values)
    return cv2.convertScaleAbs(values).astype(np.uint8)
