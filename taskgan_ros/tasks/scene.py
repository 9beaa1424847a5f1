"""Scenes: what stands where, which joints a task is about, and where episodes start or which poses they show."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from taskgan_ros.core.config import build, config_dataclass, expand_home, is_path, read_yaml, resolve
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Arm, limits_in_degrees
from taskgan_ros.robot.locate import is_reference
from taskgan_ros.robot.models import Robot, load_robot
from taskgan_ros.robot.units import Angle, HalfSize, Metres, Positive, Vector3


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    """Refuse a range whose ends are swapped."""
    if bounds[0] > bounds[1]:
        raise ValueError("expected [lowest, highest]")
    return bounds


def _both_ends(bounds: Any) -> Any:
    """Let a number be a range that begins and ends there."""
    is_number = isinstance(bounds, (int, float)) and not isinstance(bounds, bool)
    return (bounds, bounds) if is_number else bounds


_Number = TypeVar("_Number")
Bounds = Annotated[
    tuple[_Number, _Number], pydantic.BeforeValidator(_both_ends), pydantic.AfterValidator(_ordered)
]  # [lowest, highest], or one number for both
Range = Bounds[float]
_NEAREST_M = 1e-6  # to what a camera looks at; nearer, its direction is undefined
Radius = Annotated[Metres, pydantic.Field(ge=0)]
Spread = Annotated[Angle, pydantic.Field(gt=0)]


@config_dataclass
class Cube:
    """The target object: half its edge in m, and where it may lie: polar about `center`, m and rad.

    Attributes:
        center: (x, y) m in the arm's base frame: where the arm's first joint stands; the base if left out.
    """

    half_size: HalfSize
    center: tuple[Metres, Metres] = (0.0, 0.0)
    radius: Bounds[Radius]
    azimuth: Bounds[Angle]
    yaw: Bounds[Angle]


@config_dataclass
class Start:
    """Where the tip may be when an episode starts.

    Attributes:
        radius: m from the cube's `center`.
        azimuth: rad.
        height: m above the table.
        joint_spread: rad about `ready`, half-width of the uniform draw, one a driven joint.
        clearance: m; no joint and not the tip is ever below it.
    """

    radius: Bounds[Radius]
    azimuth: Bounds[Angle]
    height: Bounds[Metres]
    joint_spread: tuple[Spread, ...]
    clearance: Metres


@config_dataclass
class ScatteredStarts:
    """The share of episodes that start around the goal, and how far, in rad (standard deviation a driven joint)."""

    share: Annotated[float, pydantic.Field(ge=0, le=1)]
    std: Spread


@config_dataclass
class Camera:
    """A fixed pinhole camera: position and the point it looks at in m, vertical field of view in rad.

    Up in its picture is the world's z, or y if it looks straight down or up.
    """

    position: Vector3
    target: Vector3
    fov: Annotated[float, pydantic.Field(gt=0, lt=3)]

    @pydantic.model_validator(mode="after")
    def _looks_somewhere(self) -> Camera:
        if math.dist(self.position, self.target) < _NEAREST_M:
            raise ValueError(f"expected a target that differs from the position, got {list(self.position)} for both")
        return self


@config_dataclass
class Poses:
    """Random configurations of the arm, each drawn by itself.

    Attributes:
        spread: rad about `ready`, half-width of the uniform draw, one a driven joint; less than pi, so that no two
            labels are of one picture and none jumps by a turn.
        free: the same of joints that vary without being labelled, by name.
        clearance: m; no joint and not the tip is ever below it.
    """

    spread: tuple[Annotated[float, pydantic.Field(gt=0, lt=math.pi)], ...]
    free: dict[str, Spread] = pydantic.Field(default_factory=dict)
    clearance: Metres


@config_dataclass
class Stage:
    """What every scene has: an arm, the joints that labels are for, and a camera that looks at it.

    Attributes:
        ready: rad, one angle a joint of the arm.
        step_s: s between two images of an episode.
        held_joints: rad or m, where joints stand that are not the arm's, such as a gripper's; else as at home.
        table_height: m, of the table's top over the arm's base.
    """

    arm_name: Annotated[str, pydantic.Field(alias="arm")]
    driven_joints: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    ready: tuple[Angle, ...]
    step_s: Positive
    camera: Camera
    held_joints: dict[str, float] = pydantic.Field(default_factory=dict)
    table_height: Metres = 0.0

    @pydantic.model_validator(mode="after")
    def _fits_its_arm(self) -> Self:
        names = self.arm.joint_names
        unknown = [name for name in self.driven_joints if name not in names]
        if unknown:
            raise ValueError(f"expected driven_joints of {list(names)}, got {unknown}")
        if len(set(self.driven_joints)) < len(self.driven_joints):
            raise ValueError(f"expected driven_joints that differ, got {list(self.driven_joints)}")
        if len(self.ready) != len(names):
            raise ValueError(f"expected {len(names)} ready angles, got {len(self.ready)}")
        others = [name for name in self.robot.description.joints if name not in names]
        if strangers := [name for name in self.held_joints if name not in others]:
            raise ValueError(f"expected held_joints of {others}, got {strangers}")
        return self

    @cached_property
    def robot(self) -> Robot:
        """The arm that `arm` names, and what it is drawn with."""
        robot = load_robot(self.arm_name)
        if wrong := limits_in_degrees(robot.arm):
            raise InputError(f"{self.arm_name}: expected limits in rad, got some that look like degrees: {wrong}")
        return robot

    @property
    def arm(self) -> Arm:
        """The arm that `arm` names."""
        return self.robot.arm

    @cached_property
    def driven(self) -> NDArray[np.intp]:
        """(J,) indices of the driven joints among the arm's."""
        return np.array([self.arm.joint_names.index(name) for name in self.driven_joints])


@config_dataclass
class Scene(Stage):
    """A cell in which the arm reaches for a cube; `config/scenes/reach.yaml` says what each field is for."""

    cube: Cube
    hover: Metres
    start: Start
    scattered_starts: ScatteredStarts
    approach_gain: Positive
    steps: Annotated[int, pydantic.Field(gt=0)]
    images_per_episode: Annotated[int, pydantic.Field(ge=2)]
    threshold_m: Annotated[Metres, pydantic.Field(gt=0)]

    @pydantic.model_validator(mode="after")
    def _spreads_every_driven_joint(self) -> Self:
        expected, actual = len(self.driven_joints), len(self.start.joint_spread)
        if actual != expected:
            raise ValueError(f"expected {expected} joint_spread values, got {actual}")
        return self


@config_dataclass
class PoseScene(Stage):
    """An arm alone in random configurations; `config/scenes/poses.yaml` says what each field is for."""

    poses: Poses
    images_per_episode: Annotated[int, pydantic.Field(ge=1)]

    @pydantic.model_validator(mode="after")
    def _spreads_its_joints(self) -> Self:
        expected, actual = len(self.driven_joints), len(self.poses.spread)
        if actual != expected:
            raise ValueError(f"expected {expected} spread values, got {actual}")
        others = [name for name in self.arm.joint_names if name not in self.driven_joints]
        unknown = [name for name in self.poses.free if name not in others]
        if unknown:
            raise ValueError(f"expected free joints of {others}, got {unknown}")
        return self

    @cached_property
    def spread(self) -> NDArray[np.float64]:
        """(n,) rad, the half-width of each joint's draw; 0 where it is parked."""
        widths = {**dict(zip(self.driven_joints, self.poses.spread, strict=True)), **self.poses.free}
        return np.array([widths.get(name, 0.0) for name in self.arm.joint_names])


def load_scene(name_or_path: str | Path) -> Scene:
    """Return a scene to reach in: a shipped one by name, or the one in a user's file.

    Raises:
        InputError: unknown name, a file that does not describe a scene, or one of random poses.
    """
    scene = load_any_scene(name_or_path)
    if isinstance(scene, PoseScene):
        raise InputError(f"{name_or_path}: expected a scene with a cube to reach for, got one of random poses")
    return scene


def load_any_scene(name_or_path: str | Path) -> Scene | PoseScene:
    """Return a scene of either kind: one with `poses` is a `PoseScene`. An arm's file is looked for beside the scene's.

    Raises:
        InputError: unknown name, or a file that does not describe a scene.
    """
    path = resolve("scenes", name_or_path)
    values = read_yaml(path)
    known = values if isinstance(values, dict) else {}
    arm = known.get("arm")
    if isinstance(arm, str) and is_path(arm) and not is_reference(arm):
        known["arm"] = str(path.parent / expand_home(arm))
    return build(PoseScene, values, str(path)) if "poses" in known else build(Scene, values, str(path))
