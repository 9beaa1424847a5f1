"""What a camera makes of a picture: exposure, blur, noise and what else follows the renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.sim.domain import Sensor

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_GLARE_RADIUS = 0.35  # of the bright spot, as a share of the image's height


@dataclass(frozen=True)
class SensorSample:
    """One episode's camera: scalars as in `domain.Sensor`, `balance` (3,) a factor a channel.

    Attributes:
        glare_at: (2,) where the lens is dazzled, as shares of the image's width and height.
    """

    gain: float
    gamma: float
    balance: Array
    vignette: float
    blur_px: float
    noise: float
    jpeg_quality: int | None = None
    shake_px: float = 0.0
    rolling_px: float = 0.0
    glare: float = 0.0
    glare_at: tuple[float, float] = (0.5, 0.5)

    @property
    def is_ideal(self) -> bool:
        """Whether the camera changes nothing."""
        added = (self.vignette, self.blur_px, self.noise, self.shake_px, self.rolling_px, self.glare)
        kept = self.gain == self.gamma == 1 and bool(np.all(self.balance == 1))
        return kept and not any(added) and self.jpeg_quality is None


def sample_sensor(sensor: Sensor, rng: np.random.Generator, seed: int, index: int) -> SensorSample:
    """Draw episode `index`'s camera.

    Args:
        sensor: what to draw from.
        rng: of the look; fields that were added later have their own streams, so that older draws do not change.
        seed: the run's seed.
        index: the episode's number.
    """
    packed, moved = np.random.default_rng([seed, index, 3]), np.random.default_rng([seed, index, 6])
    return SensorSample(
        gain=rng.uniform(*sensor.gain),
        gamma=rng.uniform(*sensor.gamma),
        balance=1 + rng.uniform(-sensor.white_balance, sensor.white_balance, 3),
        vignette=rng.uniform(*sensor.vignette),
        blur_px=rng.uniform(*sensor.blur_px),
        noise=rng.uniform(*sensor.noise),
        jpeg_quality=int(packed.integers(*sensor.jpeg_quality, endpoint=True)) if sensor.jpeg_quality else None,
        shake_px=moved.uniform(*sensor.shake_px),
        rolling_px=moved.uniform(*sensor.rolling_px),
        glare=moved.uniform(*sensor.glare),
        glare_at=(moved.uniform(), moved.uniform()),
    )


def apply_sensor(image: Image, sensor: SensorSample, rng: np.random.Generator) -> Image:
    """Return the image (H, W, 3) uint8 as the sensor would give it; exactly the input where the sensor is ideal.

    Args:
        image: as drawn.
        sensor: the episode's.
        rng: of the frame.
    """
    if sensor.is_ideal:
        return image
    values: Any = image.astype(np.float32) / 255
    if sensor.rolling_px > 0:
        values = _rolled(values, sensor.rolling_px, rng)
    if sensor.shake_px > 0:
        values = _shaken(values, sensor.shake_px, rng)
    if sensor.blur_px > 0:
        values = cv2.GaussianBlur(values, (0, 0), sensor.blur_px)
    if sensor.glare > 0:
        values = values + np.float32(sensor.glare) * _spot(sensor.glare_at, *image.shape[:2])
    if sensor.vignette > 0:
        values = values * (1 - sensor.vignette * _corner_distance(image.shape[0], image.shape[1]) ** 2)[..., None]
    values = values * (sensor.gain * sensor.balance).astype(np.float32)
    if sensor.gamma != 1:
        values = np.power(np.clip(values, 0, 1), np.float32(sensor.gamma))
    if sensor.noise > 0:
        values = values + rng.standard_normal(values.shape, dtype=np.float32) * np.float32(sensor.noise)
    developed = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    return developed if sensor.jpeg_quality is None else _compressed(developed, sensor.jpeg_quality)


def _shaken(values: Any, length_px: float, rng: np.random.Generator) -> Any:
    """Return the mean of the image along a line of this length, as a camera that moves at one speed sees it."""
    half = int(np.ceil(length_px / 2))
    along = np.linspace(-length_px / 2, length_px / 2, 8 * half + 1)
    angle = rng.uniform(0, np.pi)
    kernel = np.zeros((2 * half + 3, 2 * half + 3), np.float32)
    for x, y in zip(along * np.cos(angle) + half + 1, along * np.sin(angle) + half + 1, strict=True):
        column, row = int(x), int(y)
        right, down = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer([1 - down, down], [1 - right, right])
    return cv2.filter2D(values, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _rolled(values: Any, most_px: float, rng: np.random.Generator) -> Any:
    """Return the image with its rows shifted along a slow wave, half of one to a whole one from top to bottom."""
    height, width = values.shape[:2]
    rows = np.arange(height, dtype=np.float32) / height
    shift = most_px * np.sin(2 * np.pi * (rng.uniform(0.5, 1.0) * rows + rng.uniform()))
    x = np.arange(width, dtype=np.float32)[None] + shift[:, None].astype(np.float32)
    y = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _spot(at: tuple[float, float], height: int, width: int) -> NDArray[np.float32]:
    """Return a bright spot (H, W, 1) of height 1 that fades to all sides."""
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot(x - at[0] * width, y - at[1] * height) / (_GLARE_RADIUS * height)
    return np.exp(-(distance**2)).astype(np.float32)[..., None]


def _compressed(image: Image, quality: int) -> Image:
    """Return what is left of an image (H, W, 3) uint8 after JPEG."""
    _, code = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    left: Any = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return cv2.cvtColor(left, cv2.COLOR_BGR2RGB).astype(np.uint8)


def _corner_distance(height: int, width: int) -> NDArray[np.float32]:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (np.hypot(x, y) / np.sqrt(2)).astype(np.float32)
