"""A look: one episode's appearance, sampled from a domain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.sim.background import BackgroundSample, sample_background
from taskgan_ros.sim.clutter import ClutterSample, sample_clutter
from taskgan_ros.sim.domain import Domain, Surface
from taskgan_ros.sim.occlusion import Bar, sample_bars
from taskgan_ros.sim.sensor import SensorSample, sample_sensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """One episode's appearance, sampled from a domain; all that `Cell.render` needs besides the state.

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
        clutter: what stands on the table beside the task's objects.
        bars: what is close to the lens.
        fade: factor on all light at the end of the domain's `fade_s`.
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
    sensor: SensorSample
    clutter: ClutterSample
    bars: tuple[Bar, ...]
    fade: float
    background: BackgroundSample | None = None


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
    light, table = domain.light, domain.table
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
        cube_rgb=(cube_rgb := _color(domain.cube, rng)),
        mark_rgb=_color(domain.mark, np.random.default_rng([seed, index, 4])),  # its own stream: added later
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
        sensor=sample_sensor(domain.sensor, rng, seed, index),
        clutter=sample_clutter(domain.clutter, light.passer, cube_rgb, seed, index),
        bars=sample_bars(domain.occlusion, seed, index),
        fade=np.random.default_rng([seed, index, 9]).uniform(*light.fade),
        background=sample_background(domain.background, np.random.default_rng([seed, index, 5]))
        if domain.background
        else None,
    )


def _jittered(rgb: Array, jitter: float, rng: np.random.Generator) -> Array:
    return np.clip(rgb + rng.uniform(-jitter, jitter, rgb.shape), 0, 1)


def _color(surface: Surface, rng: np.random.Generator) -> Array:
    return _jittered(np.array(surface.rgb) * rng.uniform(*surface.brightness), surface.jitter, rng)
