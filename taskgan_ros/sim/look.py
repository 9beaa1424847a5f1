"""A look: one episode's draw from a domain, and the sensor effects that follow the renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.sim.background import BackgroundLook, sample_background
from taskgan_ros.sim.domain import Domain, Sensor, Surface

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SensorLook:
    """One episode's camera: scalars as in `domain.Sensor`, `balance` (3,) a factor a channel."""

    gain: float
    gamma: float
    balance: Array
    vignette: float
    blur_px: float
    noise: float
    jpeg_quality: int | None = None

    @property
    def is_ideal(self) -> bool:
        """Whether the camera changes nothing."""
        added = (self.vignette, self.blur_px, self.noise)
        kept = self.gain == self.gamma == 1 and bool(np.all(self.balance == 1))
        return kept and not any(added) and self.jpeg_quality is None


@dataclass(frozen=True)
class Look:
    """One episode's draw from a domain; all that `Cell.render` needs beside the state.

    Attributes:
        seed: seeds each frame's noise.
        texture: which of the cell's table textures, or None for plain.
        texture_scale_m: edge of one tile.
        table_rotation: rad.
        table_rgb, cube_rgb, mark_rgb: (3,) in [0, 1].
        material_rgb: (m, 3), in the order of the arm's materials.
        gloss: highlight of the arm, 0 to 1.
        ambient, headlight: brightness.
        lamp_rgb: (3,).
        lamp_position: (3,) m at rest; `lamp_sway` (3,) m is the swing's half-width; `lamp_phase` rad where it starts.
        thickness: (s,) factors on the arm's shapes.
        cube_size: factor.
        camera_offset: (3,) m; `camera_turn` (3,) rad about the camera's own axes.
        background: how the domain's background looks; None where the table is behind the arm.
    """

    seed: tuple[int, int]
    texture: int | None
    texture_scale_m: float
    table_rotation: float
    table_rgb: Array
    cube_rgb: Array
    mark_rgb: Array
    material_rgb: Array
    gloss: float
    ambient: float
    headlight: float
    lamp_rgb: Array
    lamp_position: Array
    lamp_sway: Array
    lamp_phase: float
    thickness: Array
    cube_size: float
    camera_offset: Array
    camera_turn: Array
    sensor: SensorLook
    background: BackgroundLook | None = None


def sample_look(
    domain: Domain, seed: int, index: int, textures: int, materials: Array, shapes: int, focus: Array
) -> Look:
    """Draw the look of episode `index`.

    Args:
        domain: what to draw from.
        seed: the run's seed.
        index: the episode's number; with `seed` it fixes the draw.
        textures: how many table textures the cell holds.
        materials: (m, 3) the arm's own colours.
        shapes: how many shapes the arm is drawn with.
        focus: (3,) m, the point the lamp is placed around.
    """
    rng = np.random.default_rng([seed, index, 1])  # 1: another stream than the episode's state
    light, table, sensor = domain.light, domain.table, domain.sensor
    kinds = len(table.patterns) + len(table.photos)
    patterned = textures > 0 and rng.random() >= table.patterns.count("plain") / kinds
    azimuth, elevation = rng.uniform(*light.azimuth), rng.uniform(*light.elevation)
    flat = np.array([np.cos(azimuth), np.sin(azimuth), 0])
    direction = np.cos(elevation) * flat + np.sin(elevation) * np.array([0, 0, 1])
    return Look(
        seed=(seed, index),
        texture=int(rng.integers(textures)) if patterned else None,
        texture_scale_m=rng.uniform(*table.scale_m),
        table_rotation=rng.uniform(*table.rotation),
        table_rgb=_color(table, rng),
        cube_rgb=_color(domain.cube, rng),
        mark_rgb=_color(domain.mark, np.random.default_rng([seed, index, 4])),  # its own: it came later than the others
        material_rgb=_jittered(materials * rng.uniform(*domain.arm.brightness), domain.arm.jitter, rng),
        gloss=rng.uniform(*domain.arm.gloss),
        ambient=rng.uniform(*light.ambient),
        headlight=rng.uniform(*light.headlight),
        lamp_rgb=np.clip(rng.uniform(*light.lamp) * (1 + rng.uniform(-light.tint, light.tint, 3)), 0, 1),
        lamp_position=focus + rng.uniform(*light.distance_m) * direction,
        lamp_sway=rng.uniform(*light.sway_m) * np.array([-flat[1], flat[0], 0]),
        lamp_phase=rng.uniform(0, 2 * np.pi),
        thickness=rng.uniform(*domain.deformation.arm_thickness, shapes),
        cube_size=rng.uniform(*domain.deformation.cube_size),
        camera_offset=rng.normal(0, 1, 3) * domain.camera_error.position_m,
        camera_turn=rng.normal(0, 1, 3) * domain.camera_error.rotation_rad,
        sensor=_sample_sensor(sensor, rng, np.random.default_rng([seed, index, 3])),
        background=sample_background(domain.background, np.random.default_rng([seed, index, 5]))
        if domain.background
        else None,
    )


def _jittered(rgb: Array, jitter: float, rng: np.random.Generator) -> Array:
    return np.clip(rgb + rng.uniform(-jitter, jitter, rgb.shape), 0, 1)


def _color(surface: Surface, rng: np.random.Generator) -> Array:
    return _jittered(np.array(surface.rgb) * rng.uniform(*surface.brightness), surface.jitter, rng)


def _sample_sensor(sensor: Sensor, rng: np.random.Generator, own: np.random.Generator) -> SensorLook:
    return SensorLook(
        gain=rng.uniform(*sensor.gain),
        gamma=rng.uniform(*sensor.gamma),
        balance=1 + rng.uniform(-sensor.white_balance, sensor.white_balance, 3),
        vignette=rng.uniform(*sensor.vignette),
        blur_px=rng.uniform(*sensor.blur_px),
        noise=rng.uniform(*sensor.noise),
        jpeg_quality=int(own.integers(*sensor.jpeg_quality, endpoint=True)) if sensor.jpeg_quality else None,
    )


def apply_sensor(image: NDArray[np.uint8], sensor: SensorLook, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) uint8 as the sensor would give it; exactly the input where the sensor is ideal."""
    if sensor.is_ideal:
        return image
    values: Any = image.astype(np.float32) / 255
    if sensor.blur_px > 0:
        values = cv2.GaussianBlur(values, (0, 0), sensor.blur_px)
    if sensor.vignette > 0:
        values = values * (1 - sensor.vignette * _corner_distance(image.shape[0], image.shape[1]) ** 2)[..., None]
    values = values * (sensor.gain * sensor.balance).astype(np.float32)
    if sensor.gamma != 1:
        values = np.power(np.clip(values, 0, 1), np.float32(sensor.gamma))
    if sensor.noise > 0:
        values = values + rng.standard_normal(values.shape, dtype=np.float32) * np.float32(sensor.noise)
    developed = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    return developed if sensor.jpeg_quality is None else _compressed(developed, sensor.jpeg_quality)


def _compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return what is left of an image (H, W, 3) uint8 after JPEG."""
    _, code = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    left: Any = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return cv2.cvtColor(left, cv2.COLOR_BGR2RGB).astype(np.uint8)


def _corner_distance(height: int, width: int) -> NDArray[np.float32]:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (np.hypot(x, y) / np.sqrt(2)).astype(np.float32)
