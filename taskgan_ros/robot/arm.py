"""An arm as numbers: a chain of joints, their limits, the tip; all that a robot's computer needs to know of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.core.config import build, read_yaml, resolve
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import Before, Field, config_dataclass, whole_rule
from taskgan_ros.robot.board import parse_board
from taskgan_ros.robot.units import LARGEST_ANGLE, Acceleration, Angle, HalfSize, Positive, Rotation3, Speed, Vector3

T = TypeVar("T")
Color = tuple[
    Annotated[float, Field(ge=0, le=1)],
    Annotated[float, Field(ge=0, le=1)],
    Annotated[float, Field(ge=0, le=1)],
]

# An argument of a xacro file: YAML parses 0.5 and true, but xacro needs strings.
Argument = Annotated[str, Before(lambda value: _as_argument(value))]

_SHORTEST_M = 1e-6  # a shorter axis has no direction for a renderer
_DIMENSIONS = {
    "capsule": ("from", "to", "radius"),
    "cylinder": ("from", "to", "radius"),
    "ellipsoid": ("at", "size"),
    "box": ("at", "size"),
    "mesh": ("file",),
    "board": ("pattern",),
}


def _as_argument(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def build_line(cls: type[T], values: Any, origin: str) -> T:
    """Check plain `values` against the `config_dataclass` `cls`, all faults on one line; `origin` begins it.

    Raises:
        InputError: not what `cls` describes.
    """
    try:
        return build(cls, values, origin)
    except InputError as error:
        first, *others = str(error).splitlines()
        raise InputError("; ".join([first, *(other.removeprefix(f"{origin}: ") for other in others)])) from error


@config_dataclass
class Shape:
    """A primitive that a link is drawn with, in the link's frame, metres.

    Attributes:
        kind: `capsule` and `cylinder` run from `start` to `end`; `ellipsoid` and `box` stand at `at`, half-axes `size`.
        material: a name in the arm's `materials`.
    """

    kind: Literal["capsule", "cylinder", "ellipsoid", "box"]
    material: str
    start: Annotated[Vector3 | None, Field(alias="from")] = None
    end: Annotated[Vector3 | None, Field(alias="to")] = None
    radius: HalfSize | None = None
    at: Vector3 | None = None
    size: tuple[HalfSize, HalfSize, HalfSize] | None = None

    @whole_rule
    def _has_its_dimensions(self) -> None:
        _check_dimensions(self)


@config_dataclass
class ToolPart:
    """A part that the robot holds or carries and its model lacks; m and rad in the frame it is fixed to.

    Attributes:
        kind: `capsule` and `cylinder` run from `start` to `end`; the others stand at `at`, turned by `rpy`.
        link: the link that it is fixed to; the tip if left out.
        size: half-axes; for a board those of its plate, sized to the pattern if left out.
        file: of a mesh, STL, OBJ or DAE: a path from the arm file's folder or `package://PACKAGE/PATH`.
        scale: metres per mesh unit: 0.001 for millimetres.
        pattern: of a board, as `taskgan calibrate --board` names it, on the side that z points out of.
        rgb: linear RGB; a mesh's own or grey if left out.
    """

    kind: Literal["capsule", "cylinder", "ellipsoid", "box", "mesh", "board"]
    link: str | None = None
    start: Annotated[Vector3 | None, Field(alias="from")] = None
    end: Annotated[Vector3 | None, Field(alias="to")] = None
    radius: HalfSize | None = None
    at: Vector3 | None = None
    rpy: Rotation3 = (0.0, 0.0, 0.0)
    size: tuple[HalfSize, HalfSize, HalfSize] | None = None
    file: str | None = None
    scale: Positive = 1.0
    pattern: str | None = None
    rgb: Color | None = None

    @whole_rule
    def _has_its_dimensions(self) -> None:
        _check_dimensions(self)
        if self.kind == "board":
            self._check_board()

    def _check_board(self) -> None:
        board = parse_board(self.pattern or "", "pattern")
        if not board.is_measured:
            raise ValueError(f"pattern: expected the size of its squares too, in m, got {self.pattern!r}")
        half = (board.width_m / 2, board.height_m / 2)
        if self.size is not None and (self.size[0] < half[0] or self.size[1] < half[1]):
            raise ValueError(f"size: expected a plate of {list(half)} m or more, half-axes, got {list(self.size)}")


def _check_dimensions(part: Shape | ToolPart) -> None:
    """Refuse a part that lacks a dimension of its kind, or whose two ends coincide."""
    fields = {"from": "start", "to": "end"}
    needed = _DIMENSIONS[part.kind]
    missing = [name for name in needed if getattr(part, fields.get(name, name)) is None]
    if missing:
        raise ValueError(f"a {part.kind} needs {', '.join(needed)}; missing {', '.join(missing)}")
    if part.start is not None and part.end is not None and math.dist(part.start, part.end) < _SHORTEST_M:
        raise ValueError(f"expected a {part.kind} whose from and to differ, got {list(part.start)} for both")


@config_dataclass
class Mimic:
    """The joint that a mimic joint follows: its position is `multiplier` times that one's plus `offset` (rad or m)."""

    joint: str
    multiplier: float = 1.0
    offset: float = 0.0


@config_dataclass
class Joint:
    """A joint of one degree of freedom; positions of prismatic ones are in m, and so are their limits, per s and s².

    Attributes:
        type: as declared; `kind` is the resolved one, as a joint that turns without limits is continuous.
        axis: in the joint's own frame; of any length but 0.
        origin_xyz: m, in the frame of the joint before.
        origin_rpy: rad, fixed-axis roll, pitch, yaw (URDF's convention).
        lower: rad; leave `lower` and `upper` out for a joint without limits.
        max_velocity: rad/s.
        max_acceleration: rad/s², what a command or a stop may ask for.
        mimic: the joint of the chain that it follows, itself no mimic; a mimic joint is never commanded.
    """

    name: Annotated[str, Field(min_length=1)]
    type: Literal["revolute", "continuous", "prismatic"] = "revolute"
    axis: Vector3 = (0.0, 0.0, 1.0)
    origin_xyz: Vector3
    origin_rpy: Rotation3
    max_velocity: Speed
    max_acceleration: Acceleration
    lower: float | None = None
    upper: float | None = None
    mimic: Mimic | None = None

    @whole_rule
    def _limits_are_a_range(self) -> None:
        if (self.lower is None) != (self.upper is None):
            raise ValueError("expected both of lower and upper, or neither for a continuous joint")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"expected lower < upper, got {self.lower} and {self.upper}")
        if self.type == "continuous" and self.lower is not None:
            raise ValueError(f"expected no limits of a continuous joint, got {self.lower} and {self.upper}")
        if not any(self.axis):
            raise ValueError(f"expected an axis with a direction, got {list(self.axis)}")

    @property
    def kind(self) -> Literal["revolute", "continuous", "prismatic"]:
        """How it moves; a joint that turns without limits is continuous."""
        if self.type == "prismatic":
            return "prismatic"
        return "continuous" if self.lower is None else "revolute"

    @cached_property
    def unit_axis(self) -> NDArray[np.float64]:
        """`axis` (3,) of length 1."""
        return np.array(self.axis) / np.linalg.norm(self.axis)


@config_dataclass
class Frame:
    """A fixed frame: `xyz` in m, `rpy` in rad."""

    xyz: Vector3
    rpy: Rotation3


@config_dataclass
class Model:
    """Where a robot's own description is.

    Attributes:
        file: URDF, xacro or MJCF: a path, `package://PACKAGE/PATH` or `menagerie:NAME`.
        arguments: of the xacro.
        base: the link whose frame counts as the arm's; None for the root.
        rest: where the model's other joints stand.
        drawing: a file beside the arm's, made of the model: what `drawing.to_drawing` wrote.
    """

    file: str
    arguments: dict[str, Argument] = dataclasses.field(default_factory=dict)
    base: str | None = None
    rest: dict[str, float] = dataclasses.field(default_factory=dict)
    drawing: str | None = None


@config_dataclass
class Arm:
    """A serial arm: what a robot needs to know of it, as numbers.

    Attributes:
        joints: base to tip, mimic joints included; n of them are independent.
        tip: the end effector in the last joint's frame.
        home: rad or m, one position for each of the n joints.
        model: the robot's own description, which it is drawn from; None for one with shapes of its own.
        materials: colour of each material that shapes name.
        base: shapes that do not move.
        links: one tuple of shapes per joint, or none at all.
        tool: what the robot holds or carries and its model lacks.
        drawing: of an arm without a model, a file beside the arm's: what `drawing.to_drawing` wrote, the tool included.
    """

    name: str
    joints: Annotated[tuple[Joint, ...], Field(min_length=1)]
    tip: Frame
    home: tuple[Angle, ...]
    model: Model | None = None
    materials: dict[str, Color] = dataclasses.field(default_factory=dict)
    base: tuple[Shape, ...] = ()
    links: tuple[tuple[Shape, ...], ...] = ()
    tool: tuple[ToolPart, ...] = ()
    drawing: str | None = None

    @whole_rule
    def _is_consistent(self) -> None:
        names = [joint.name for joint in self.joints]
        if len(set(names)) != len(names):
            raise ValueError(f"expected joint names that differ, got {names}")
        n, links = len(self.joint_names), len(self.joints) if self.links or not self.model else 0
        if len(self.home) != n or len(self.links) not in (0, links):
            raise ValueError(f"expected {n} home angles and {links} links, got {len(self.home)} and {len(self.links)}")
        unknown = {shape.material for shape in self.shapes} - set(self.materials)
        if unknown:
            raise ValueError(f"expected materials of {sorted(self.materials)}, got {sorted(unknown)}")
        strangers = {joint.mimic.joint for joint in self.joints if joint.mimic} - set(self.joint_names)
        if strangers:
            raise ValueError(f"expected mimics of {list(self.joint_names)}, got {sorted(strangers)}")

    @cached_property
    def independent_joints(self) -> tuple[Joint, ...]:
        """The n independent joints, which mimic no other, base to tip."""
        return tuple(joint for joint in self.joints if joint.mimic is None)

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the n joints, base to tip."""
        return tuple(joint.name for joint in self.independent_joints)

    def indices(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Return the indices (J,) of joints among the n.

        Raises:
            ValueError: a name is not of `joint_names`.
        """
        return np.array([self.joint_names.index(name) for name in names], np.intp)

    def positions(self, joint_pos: ArrayLike) -> dict[str, float]:
        """Return where the joints of the whole robot are, by name, with the arm's at `joint_pos` (n,): rad or m."""
        others = self.model.rest if self.model else {}
        return {**others, **dict(zip(self.joint_names, np.asarray(joint_pos).tolist(), strict=True))}

    @cached_property
    def coupling(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(m, n) factors and (m,) offsets that map the positions of the n free joints to those of all m joints."""
        factors, offsets = np.zeros((len(self.joints), len(self.joint_names))), np.zeros(len(self.joints))
        for row, joint in enumerate(self.joints):
            mimic = joint.mimic or Mimic(joint=joint.name)
            factors[row, self.joint_names.index(mimic.joint)], offsets[row] = mimic.multiplier, mimic.offset
        return factors, offsets

    @property
    def drawn_from(self) -> str | None:
        """The file beside the arm's that holds its visuals, tool included; None if there is none."""
        return self.model.drawing if self.model else self.drawing

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Every shape, base first."""
        return self.base + tuple(shape for link in self.links for shape in link)

    @cached_property
    def is_continuous(self) -> NDArray[np.bool_]:
        """(n,) whether a joint turns without limits: its angles compare modulo 2π."""
        return np.array([joint.kind == "continuous" for joint in self.independent_joints])

    @cached_property
    def lower(self) -> NDArray[np.float64]:
        """(n,) lower position limits in rad, -inf where continuous."""
        return np.array([-math.inf if joint.lower is None else joint.lower for joint in self.independent_joints])

    @cached_property
    def upper(self) -> NDArray[np.float64]:
        """(n,) upper position limits in rad, inf where continuous."""
        return np.array([math.inf if joint.upper is None else joint.upper for joint in self.independent_joints])

    @cached_property
    def max_velocity(self) -> NDArray[np.float64]:
        """(n,) speed limits in rad/s."""
        return np.array([joint.max_velocity for joint in self.independent_joints])

    @cached_property
    def max_acceleration(self) -> NDArray[np.float64]:
        """(n,) acceleration limits in rad/s²."""
        return np.array([joint.max_acceleration for joint in self.independent_joints])


def load_arm(name_or_path: str | Path) -> Arm:
    """Return a shipped arm by name, or the arm in a user's file; `models.load_robot` reads one that names a model.

    Raises:
        InputError: unknown name, or a file that does not hold an arm as numbers.
    """
    path = resolve("arms", name_or_path)
    values = read_yaml(path)
    if isinstance(values, dict) and not isinstance(values.get("joints"), list) and "model" in values:
        raise InputError(
            f"{path}: expected joints as a list of numbers, as a bundle has them, got the model {values['model']!r}"
        )
    arm = build(Arm, values, str(path))
    if wrong := limits_in_degrees(arm):
        raise InputError(
            f"{path}: {wrong[0]}: expected limits of at most {LARGEST_ANGLE} rad in magnitude, not degrees"
        )
    return arm


def limits_in_degrees(arm: Arm) -> list[str]:
    """Return the names of turning joints whose limits are too large for radians."""
    largest = [max(abs(joint.lower or 0), abs(joint.upper or 0)) for joint in arm.joints]
    pairs = zip(arm.joints, largest, strict=True)
    return [joint.name for joint, end in pairs if joint.kind == "revolute" and end > LARGEST_ANGLE]
