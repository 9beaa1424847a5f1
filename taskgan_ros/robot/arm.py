"""An arm as data: `config/arms/*.yaml` read into frozen dataclasses."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from taskgan_ros.core.config import config_dataclass, load, resolve
from taskgan_ros.robot.units import Acceleration, Angle, HalfSize, Positive, Rotation3, Speed, Vector3

Color = tuple[
    Annotated[float, pydantic.Field(ge=0, le=1)],
    Annotated[float, pydantic.Field(ge=0, le=1)],
    Annotated[float, pydantic.Field(ge=0, le=1)],
]

_SHORTEST_M = 1e-6  # a shorter axis has no direction for a renderer


@config_dataclass
class Shape:
    """A primitive that a link is drawn with, in the link's frame, metres.

    Attributes:
        kind: `capsule` and `cylinder` run from `start` to `end`; `ellipsoid` and `box` stand at `at`, half-axes `size`.
        material: a name in the arm's `materials`.
    """

    kind: Literal["capsule", "cylinder", "ellipsoid", "box"]
    material: str
    start: Annotated[Vector3 | None, pydantic.Field(alias="from")] = None
    end: Annotated[Vector3 | None, pydantic.Field(alias="to")] = None
    radius: HalfSize | None = None
    at: Vector3 | None = None
    size: tuple[HalfSize, HalfSize, HalfSize] | None = None

    @pydantic.model_validator(mode="after")
    def _has_its_dimensions(self) -> Shape:
        round_shape = self.kind in ("capsule", "cylinder")
        needed = ("from", "to", "radius") if round_shape else ("at", "size")
        values = (self.start, self.end, self.radius) if round_shape else (self.at, self.size)
        missing = [name for name, value in zip(needed, values, strict=True) if value is None]
        if missing:
            raise ValueError(f"a {self.kind} needs {', '.join(needed)}; missing {', '.join(missing)}")
        if self.start is not None and self.end is not None and math.dist(self.start, self.end) < _SHORTEST_M:
            raise ValueError(f"expected a {self.kind} whose from and to differ, got {list(self.start)} for both")
        return self


@config_dataclass
class Joint:
    """A revolute joint about z of its own frame.

    Attributes:
        origin_xyz: m, in the frame of the joint before.
        origin_rpy: rad, fixed-axis roll, pitch, yaw (URDF's convention).
        lower: rad; leave `lower` and `upper` out for a continuous joint.
        max_velocity: rad/s.
        max_acceleration: rad/s², what a command or a stop may ask for.
        max_jerk: rad/s³; leave it out for none. Stops do not keep to it.
    """

    name: Annotated[str, pydantic.Field(min_length=1)]
    origin_xyz: Vector3
    origin_rpy: Rotation3
    max_velocity: Speed
    max_acceleration: Acceleration
    max_jerk: Positive | None = None
    lower: Angle | None = None
    upper: Angle | None = None

    @pydantic.model_validator(mode="after")
    def _limits_are_a_range(self) -> Joint:
        if (self.lower is None) != (self.upper is None):
            raise ValueError("expected both of lower and upper, or neither for a continuous joint")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"expected lower < upper, got {self.lower} and {self.upper}")
        return self


@config_dataclass
class Frame:
    """A fixed frame: `xyz` in m, `rpy` in rad."""

    xyz: Vector3
    rpy: Rotation3


@config_dataclass
class Arm:
    """A serial arm of revolute joints.

    Attributes:
        joints: base to tip.
        tip: the end effector in the last joint's frame.
        home: rad, one angle a joint.
        materials: colour of each material that shapes name.
        base: shapes that do not move.
        links: one tuple of shapes a joint.
    """

    name: str
    joints: Annotated[tuple[Joint, ...], pydantic.Field(min_length=1)]
    tip: Frame
    home: tuple[Angle, ...]
    materials: dict[str, Color]
    base: tuple[Shape, ...]
    links: tuple[tuple[Shape, ...], ...]

    @pydantic.model_validator(mode="after")
    def _is_consistent(self) -> Arm:
        n = len(self.joints)
        if len(set(self.joint_names)) != n:
            raise ValueError(f"expected joint names that differ, got {list(self.joint_names)}")
        if len(self.home) != n or len(self.links) != n:
            raise ValueError(f"expected {n} home angles and {n} links, got {len(self.home)} and {len(self.links)}")
        unknown = {shape.material for shape in self.shapes} - set(self.materials)
        if unknown:
            raise ValueError(f"expected materials of {sorted(self.materials)}, got {sorted(unknown)}")
        return self

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of all n joints, base to tip."""
        return tuple(joint.name for joint in self.joints)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Every shape, base first."""
        return self.base + tuple(shape for link in self.links for shape in link)

    @cached_property
    def is_continuous(self) -> NDArray[np.bool_]:
        """(n,) whether a joint has no limits: turns count nothing."""
        return np.isinf(self.lower) & np.isinf(self.upper)

    @cached_property
    def lower(self) -> NDArray[np.float64]:
        """(n,) lower position limits in rad, -inf where continuous."""
        return np.array([-math.inf if joint.lower is None else joint.lower for joint in self.joints])

    @cached_property
    def upper(self) -> NDArray[np.float64]:
        """(n,) upper position limits in rad, inf where continuous."""
        return np.array([math.inf if joint.upper is None else joint.upper for joint in self.joints])

    @cached_property
    def max_velocity(self) -> NDArray[np.float64]:
        """(n,) speed limits in rad/s."""
        return np.array([joint.max_velocity for joint in self.joints])

    @cached_property
    def max_acceleration(self) -> NDArray[np.float64]:
        """(n,) acceleration limits in rad/s²."""
        return np.array([joint.max_acceleration for joint in self.joints])

    @cached_property
    def max_jerk(self) -> NDArray[np.float64]:
        """(n,) jerk limits in rad/s³, inf where there is none."""
        return np.array([math.inf if joint.max_jerk is None else joint.max_jerk for joint in self.joints])


def load_arm(name_or_path: str | Path) -> Arm:
    """Return a shipped arm by name, or the arm in a user's file.

    Raises:
        InputError: unknown name, or a file that does not describe an arm.
    """
    return load(Arm, resolve("arms", name_or_path))
