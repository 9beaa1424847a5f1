"""sRGB, in which screens and most files take colours, from linear intensities and back (IEC 61966-2-1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def to_srgb(linear: ArrayLike) -> Array:
    """Return linear intensities in [0, 1], of any shape, as sRGB in [0, 1]."""
    light = np.asarray(linear, np.float64)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def from_srgb(encoded: ArrayLike) -> Array:
    """Return sRGB in [0, 1], of any shape, as linear intensities in [0, 1]."""
    value = np.asarray(encoded, np.float64)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
