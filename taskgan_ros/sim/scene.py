"""The scene: what stands where, which joints a task drives, and where episodes start."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import pydantic
from numpy.typing import NDArray

from taskgan_ros.arm.arm import Arm, Positive, Vector3, load_arm
from taskgan_ros.config import build, config_dataclass, expand_home, is_path, read_yaml, resolve


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("expected [lowest, highest]")
    return bounds


Range = Annotated[tuple[float, float], pydantic.AfterValidator(_ordered)]


@config_dataclass
class Cube:
    """The target object: half its edge in m, and where it may lie: polar about the arm's base, m and rad."""

    half_size: Positive
    radius: Range
    azimuth: Range
    yaw: Range


@config_dataclass
class Start:
    """Where the tip may be when an episode starts.

    Attributes:
        radius: m from the base's axis.
        azimuth: rad.
        height: m above the table.
        joint_spread: rad about `ready`, half-width of the uniform draw, one a driven joint.
        clearance: m; no joint and not the tip is ever below it.
    """

    radius: Range
    azimuth: Range
    height: Range
    joint_spread: tuple[Positive, ...]
    clearance: float


@config_dataclass
class ScatteredStarts:
    """The share of episodes that start around the goal, and how far, in rad (standard deviation a driven joint)."""

    share: Annotated[float, pydantic.Field(ge=0, le=1)]
    std: Positive


@config_dataclass
class Camera:
    """A fixed pinhole camera: position and the point it looks at in m, vertical field of view in rad."""

    position: Vector3
    target: Vector3
    fov: Annotated[float, pydantic.Field(gt=0, lt=3)]


@config_dataclass
class Scene:
    """A cell and its task; `config/scenes/reach.yaml` says what each field is for."""

    arm_name: Annotated[str, pydantic.Field(alias="arm")]
    driven_joints: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    ready: tuple[float, ...]
    cube: Cube
    hover: float
    start: Start
    scattered_starts: ScatteredStarts
    approach_gain: Positive
    step_s: Positive
    steps: Annotated[int, pydantic.Field(gt=0)]
    images_per_episode: Annotated[int, pydantic.Field(ge=2)]
    threshold_m: Positive
    camera: Camera

    @pydantic.model_validator(mode="after")
    def _fits_its_arm(self) -> Scene:
        names = self.arm.joint_names
        unknown = [name for name in self.driven_joints if name not in names]
        if unknown:
            raise ValueError(f"expected driven_joints of {list(names)}, got {unknown}")
        if len(self.ready) != len(names):
            raise ValueError(f"expected {len(names)} ready angles, got {len(self.ready)}")
        if len(self.start.joint_spread) != len(self.driven_joints):
            raise ValueError(
                f"expected {len(self.driven_joints)} joint_spread values, got {len(self.start.joint_spread)}"
            )
        return self

    @cached_property
    def arm(self) -> Arm:
        """The arm that `arm` names."""
        return load_arm(self.arm_name)

    @cached_property
    def driven(self) -> NDArray[np.intp]:
        """(J,) indices of the driven joints among the arm's."""
        return np.array([self.arm.joint_names.index(name) for name in self.driven_joints])


def load_scene(name_or_path: str | Path) -> Scene:
    """Return a shipped scene by name, or the scene in a user's file; an arm's file is looked for beside the scene's.

    Raises:
        InputError: unknown name, or a file that does not describe a scene.
    """
    path = resolve("scenes", name_or_path)
    values = read_yaml(path)
    arm = values.get("arm") if isinstance(values, dict) else None
    if isinstance(arm, str) and is_path(arm):
        values["arm"] = str(path.parent / expand_home(arm))
    return build(Scene, values, origin=str(path))
