"""Task `poses`: random configurations of the arm alone; joint angles from one image (section 4.2)."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import Field, config_dataclass, whole_rule
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.robot.units import Metres
from taskgan_ros.tasks.scene import MAX_DRAWS, Scene, Spread
from taskgan_ros.tasks.state import CellState

Array = NDArray[np.float64]


@config_dataclass
class Poses:
    """Random configurations of the arm, each drawn by itself.

    Attributes:
        spread: rad about `ready`, half-width of the uniform draw, one per driven joint; less than pi, so that
            each picture has one label, and labels do not wrap.
        free: the same of joints that vary without being labelled, by name.
        clearance: m; no joint and not the tip is ever below it.
        nearest_m: m, optional: the tip is at least this far in front of the lens, and inside a square picture. Without
            it, the tip may be out of view, and the last joints' angles cannot be seen.
    """

    spread: tuple[Annotated[float, Field(gt=0, lt=math.pi)], ...]
    free: dict[str, Spread] = dataclasses.field(default_factory=dict)
    clearance: Metres
    nearest_m: Annotated[Metres, Field(gt=0)] | None = None


@config_dataclass
class PoseScene(Scene):
    """An arm alone in random configurations; `config/scenes/poses.yaml` says what each field is for."""

    task: Literal["poses"] = "poses"
    poses: Poses
    images_per_episode: Annotated[int, Field(ge=1)]

    @whole_rule
    def _spreads_its_joints(self) -> None:
        expected, actual = len(self.driven_joints), len(self.poses.spread)
        if actual != expected:
            raise ValueError(f"expected {expected} spread values, got {actual}")
        others = [name for name in self.arm.joint_names if name not in self.driven_joints]
        unknown = [name for name in self.poses.free if name not in others]
        if unknown:
            raise ValueError(f"expected free joints of {others}, got {unknown}")

    @cached_property
    def spread(self) -> NDArray[np.float64]:
        """(n,) rad, the half-width of each joint's draw; 0 where it is passive."""
        widths = {**dict(zip(self.driven_joints, self.poses.spread, strict=True)), **self.poses.free}
        return np.array([widths.get(name, 0.0) for name in self.arm.joint_names])

    def demonstrate(self, seed: int, index: int) -> list[tuple[CellState, Array | None]]:
        """Draw the configurations that episode `index` shows, each by itself; none has velocities.

        Raises:
            InputError: no configuration within the scene's spread is free.
        """
        rng = np.random.default_rng([seed, index])
        return [(CellState(self._draw(rng)), None) for _ in range(self.images_per_episode)]

    def _draw(self, rng: np.random.Generator) -> Array:
        for _ in range(MAX_DRAWS):
            q = np.array(self.ready) + rng.uniform(-self.spread, self.spread)
            if self.is_free(q, self.poses.clearance) and self._is_seen(q):
                return q
        raise InputError(f"scene: expected a free pose within {self.poses}, got none in {MAX_DRAWS} draws")

    def _is_seen(self, q: Array) -> bool:
        if self.poses.nearest_m is None:
            return True
        x, y, ahead = (np.linalg.inv(self.camera.pose()) @ [*tip_position(self.arm, q), 1.0])[:3]
        return bool(ahead >= self.poses.nearest_m and max(abs(x), abs(y)) <= ahead * math.tan(self.camera.fov / 2))
