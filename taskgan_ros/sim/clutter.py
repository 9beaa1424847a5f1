"""Things on the table that are not the task's, and a person who walks past the lamp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.robot.headless import mujoco
from taskgan_ros.sim.domain import Clutter

Array = NDArray[np.float64]

_KINDS = (  # in turn, so that every episode has several
    mujoco.mjtGeom.mjGEOM_CYLINDER,
    mujoco.mjtGeom.mjGEOM_BOX,
    mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    mujoco.mjtGeom.mjGEOM_CAPSULE,
)
_TALLEST = 1.6  # of a thing, to its half width
_CLEAR_M = 0.06  # between a thing and what it must not touch: the hand comes down over the task's objects
_BASE_M = 0.12  # about the arm's base, where it turns
_NOWHERE = (0.0, 0.0, -50.0)  # beyond what the camera draws

_PERSON_M = 0.25, 0.65  # radius, and half of the height without the head's
_PERSON_AWAY_M = 1.1  # from the workspace's middle, towards the lamp
_STROLL_M, _STROLL_S = 1.2, 7.0  # to each side, and how long it takes there and back


@dataclass(frozen=True)
class ClutterSample:
    """One episode's things, and its person.

    Attributes:
        places: (k, 3) x and y in m from what the camera looks at, and yaw in rad.
        half_sizes: (k, 3) m.
        rgb: (k, 3) in [0, 1].
        passer: the phase at which the person's walk begins, rad; None without a person.
    """

    places: Array
    half_sizes: Array
    rgb: Array
    passer: float | None = None

    def stroll_m(self, time_s: float) -> float:
        """Return how far aside the person is, m."""
        return _STROLL_M * float(np.sin((self.passer or 0.0) + 2 * np.pi * time_s / _STROLL_S))


def sample_clutter(clutter: Clutter, passer: float, cube_rgb: Array, seed: int, index: int) -> ClutterSample:
    """Draw episode `index`'s things.

    Args:
        clutter: what to draw from.
        passer: share of episodes with a person.
        cube_rgb: (3,) the cube's colour in this episode.
        seed: the run's seed.
        index: the episode's number.
    """
    rng = np.random.default_rng([seed, index, 7])
    count = int(rng.integers(*clutter.count, endpoint=True))
    distance, angle = rng.uniform(*clutter.distance_m, count), rng.uniform(-np.pi, np.pi, count)
    half = rng.uniform(*clutter.size_m, (count, 1))
    half_sizes = half * np.column_stack([np.ones((count, 2)), rng.uniform(0.5, _TALLEST, count)])
    is_red = (rng.random(count) < clutter.red) & (kinds(count) != mujoco.mjtGeom.mjGEOM_BOX)
    rgb = np.where(is_red[:, None], cube_rgb, rng.uniform(0.05, 0.95, (count, 3)))
    places = np.column_stack([distance * np.cos(angle), distance * np.sin(angle), rng.uniform(-np.pi, np.pi, count)])
    begins = rng.uniform(0, 2 * np.pi)
    return ClutterSample(places, half_sizes, rgb, begins if rng.random() < passer else None)


def kinds(count: int) -> NDArray[np.int_]:
    """Return MuJoCo's kind (count,) of each thing."""
    return np.resize([int(kind) for kind in _KINDS], count)


class ClutterParts:
    """The things of a compiled model."""

    def __init__(self, count: int, has_passer: bool) -> None:
        """Have `count` of them at most."""
        self._count, self._has_passer = count, has_passer
        self._geoms: list[int] = []

    def add(self, spec: mujoco.MjSpec) -> None:
        """Add them to the world, out of sight."""
        for k, kind in enumerate(kinds(self._count)):
            spec.worldbody.add_geom(name=f"clutter{k}", type=kind, size=[0.01, 0.01, 0.01], pos=_NOWHERE)
        if self._has_passer:
            spec.worldbody.add_geom(
                name="passer", type=mujoco.mjtGeom.mjGEOM_CAPSULE, size=[*_PERSON_M, 0], rgba=[0.2, 0.2, 0.25, 1.0]
            )

    def find(self, model: mujoco.MjModel) -> None:
        """Find them in the compiled model, whose geoms may be moved from now on."""
        self._geoms = [model.geom(f"clutter{k}").id for k in range(self._count)]
        moving = [*self._geoms, *([model.geom("passer").id] if self._has_passer else [])]
        model.geom_sameframe[moving] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE  # otherwise their poses are ignored

    def place(self, model: mujoco.MjModel, look: ClutterSample, middle: Array, objects: Array, sizes: Array) -> None:
        """Stand the things where the look has them, except those that would be in the task's way.

        Args:
            model: compiled.
            look: the episode's.
            middle: (3,) m, what the camera looks at, on the table.
            objects: (o, 2) m, where the task's objects are.
            sizes: (o,) m, half of each one's width.
        """
        model.geom_pos[self._geoms] = _NOWHERE
        for geom, (x, y, yaw), half, rgb in zip(self._geoms, look.places, look.half_sizes, look.rgb, strict=False):
            at, own = np.array([middle[0] + x, middle[1] + y]), float(half[0]) * np.sqrt(2)
            away = np.linalg.norm(objects - at, axis=1) - sizes
            if np.linalg.norm(at) < _BASE_M + own or np.any(away < _CLEAR_M + own):
                continue
            size, height = _dimensions(mujoco.mjtGeom(model.geom_type[geom]), half)
            model.geom_size[geom], model.geom_pos[geom] = size, [*at, middle[2] + height]
            model.geom_quat[geom] = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
            model.geom_rgba[geom] = [*rgb, 1.0]

    def walk(self, model: mujoco.MjModel, look: ClutterSample, middle: Array, lamp: Array, time_s: float) -> None:
        """Put the person between `lamp` (3,) m and `middle` (3,) m, `time_s` into the episode."""
        if not self._has_passer:
            return
        flat = (lamp - middle)[:2]
        towards = flat / max(float(np.linalg.norm(flat)), 1e-9)
        at = middle[:2] + _PERSON_AWAY_M * towards + look.stroll_m(time_s) * np.array([-towards[1], towards[0]])
        place = [*at, middle[2] + _PERSON_M[1]]
        model.geom_pos[model.geom("passer").id] = _NOWHERE if look.passer is None else place


def _dimensions(kind: mujoco.mjtGeom, half: Array) -> tuple[Array, float]:
    """Return MuJoCo's size (3,) of a thing with these half-axes (3,) m, and how high its middle stands, m."""
    if kind in (mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_ELLIPSOID):
        return half, float(half[2])
    round_end = float(half[0]) if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else 0.0
    return np.array([half[0], half[2], 0.0]), float(half[2]) + round_end
