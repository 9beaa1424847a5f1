"""Captions that stay readable on any image."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_PASSES: Final = ((_BLACK, 3), (_WHITE, 1))  # white letters with a black rim


def write_line(image: NDArray[np.uint8], text: str, corner: tuple[int, int], scale: float) -> None:
    """Write one line of ASCII on an image (H, W, 3), its lower left `corner` (x, y) in pixels, in OpenCV's scale."""
    for colour, thickness in _PASSES:
        cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
