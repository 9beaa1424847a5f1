"""Arms from their own models: an arm file that names a URDF, xacro or MJCF → the arm as numbers, and its description.

This is the training side: a robot's computer reads the numbers, which a bundle carries (`arm.load_arm`).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.config import is_path, read_yaml, resolve, share_dir
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_fetched
from taskgan_ros.core.schema import Before, config_dataclass
from taskgan_ros.robot.arm import Argument, Arm, Joint, Mimic, Model, ToolPart, build_line, load_arm
from taskgan_ros.robot.description import DescribedJoint, Description, Link, describe_shapes
from taskgan_ros.robot.drawing import read_drawing
from taskgan_ros.robot.held_tool import hold_tool
from taskgan_ros.robot.kinematics import joint_motion, rpy_from_rotation, transform
from taskgan_ros.robot.locate import find_mesh, is_reference, locate_model
from taskgan_ros.robot.meshes import read_meshes
from taskgan_ros.robot.units import LARGEST_ANGLE, LARGEST_SPEED, Rotation3, Vector3

Array = NDArray[np.float64]

MODEL_SUFFIXES = (".urdf", ".xacro", ".xml", ".mjcf")
_SPEED, _SLIDING_SPEED = 1.0, 0.1  # rad/s and m/s, slow for most arms: assumed where nothing names a limit
_OFFERED = 12  # ends to choose a tip from
_STOP_S = 0.5  # from the top speed to rest: what is assumed where no acceleration is named
_TIP_NAMES = (
    *("tcp", "tool0", "tool_center_point", "grip_site", "gripper_frame_link", "gripperframe", "attachment_site"),
    *("ee_link", "end_effector", "eef", "ee", "flange"),
)  # usual names of an arm's end in robot models, the outermost first


@config_dataclass
class Tip:
    """The end effector: a link, body or site, and where in its frame; m and rad."""

    link: str
    xyz: Vector3 = (0.0, 0.0, 0.0)
    rpy: Rotation3 = (0.0, 0.0, 0.0)


@config_dataclass
class JointLimits:
    """One entry of MoveIt's joint_limits.yaml: rad, m for prismatic joints; `has_…: false` is no limit."""

    has_position_limits: bool | None = None
    min_position: float | None = None
    max_position: float | None = None
    has_velocity_limits: bool | None = None
    max_velocity: float | None = None
    has_acceleration_limits: bool | None = None
    max_acceleration: float | None = None
    has_jerk_limits: bool | None = None
    max_jerk: float | None = None


@config_dataclass
class ArmFile:
    """An arm file: a robot model, plus what the model leaves open; see `docs/arms.md`.

    Attributes:
        model: URDF, xacro or MJCF: a path from this file's folder, `package://PACKAGE/PATH` or `menagerie:NAME`.
        arguments: of the xacro.
        tip: the end effector; may be left out where the model leaves no choice.
        base: the link whose frame counts as the arm's; the root if left out.
        joints: limits by joint; they come before the model's.
        home: rad or m by joint, a gripper's included; the model's own or zero where left out.
        tool: what the robot holds or carries and its model lacks.
    """

    name: str | None = None
    model: str
    arguments: dict[str, Argument] = dataclasses.field(default_factory=dict)
    tip: Annotated[Tip | None, Before(lambda tip: {"link": tip} if isinstance(tip, str) else tip)] = None
    base: str | None = None
    joints: dict[str, JointLimits] = dataclasses.field(default_factory=dict)
    home: dict[str, float] = dataclasses.field(default_factory=dict)
    tool: tuple[ToolPart, ...] = ()


@dataclass(frozen=True)
class Robot:
    """An arm, and the description of the robot that it is part of.

    Attributes:
        assumed: defaults for what neither the model nor the arm file gives; one line each.
        warnings: what is probably wrong with the model.
        is_drawn: whether the description's meshes are read and decimated already.
        tip: the link or site that the arm ends at.
    """

    arm: Arm
    description: Description
    tip: str = ""
    assumed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_drawn: bool = False

    @cached_property
    def drawable(self) -> Description:
        """The description with its meshes read and decimated.

        Raises:
            InputError: a mesh is missing or cannot be read.
        """
        return self.description if self.is_drawn else read_meshes(self.description)


def is_model(name_or_path: str | Path) -> bool:
    """Return whether this names a model itself, and not a shipped arm or an arm file."""
    return is_reference(str(name_or_path)) or str(name_or_path).endswith(MODEL_SUFFIXES)


def is_file_name(arm: str) -> bool:
    """Return whether a scene's `arm` is a path (relative to the scene's folder), not a name or a reference."""
    return (is_path(arm) or arm.endswith(MODEL_SUFFIXES)) and not is_reference(arm)


def load_robot(name_or_path: str | Path, tip: str | None = None) -> Robot:
    """Return a shipped arm by name, one in a user's arm file, or the one in a model itself.

    Args:
        name_or_path: a shipped name, a .yaml file, or a model: a path, `package://…` or `menagerie:NAME`.
        tip: a link or site in place of the file's own.

    Raises:
        InputError: unknown name, not an arm file, not a model, or a model without a chain to the tip.
    """
    text = str(name_or_path)
    if is_model(text):
        return _understand(ArmFile(model=text if is_reference(text) else str(Path(text).absolute())), Path(), text, tip)
    path = resolve("arms", name_or_path)
    return _load(path.absolute(), path.stat().st_mtime_ns, tip)


@lru_cache(maxsize=8)  # a scene's checks ask for its arm several times
def _load(path: Path, changed: int, tip: str | None) -> Robot:
    values = read_yaml(path)
    if not isinstance(values, dict) or "model" not in values or isinstance(values.get("joints"), list):
        return _load_numbers(path, values, tip)
    return _understand(build_line(ArmFile, values, str(path)), path.parent, str(path), tip)


def _load_numbers(path: Path, values: object, tip: str | None) -> Robot:
    """Return an arm that stands as numbers in its file: one with shapes of its own, or a bundle's."""
    if tip is not None:
        raise InputError(f"{path}: expected no other tip for an arm as numbers, got {tip!r}")
    arm = load_arm(path)
    if arm.drawn_from:
        return Robot(arm, read_drawing(path.parent / arm.drawn_from), "tip", is_drawn=True)
    description = describe_shapes(arm) if arm.model is None else read_model(arm.model, path.parent)
    return Robot(arm, hold_tool(arm, description, partial(find_mesh, near=path.parent)), "tip")


def read_model(model: Model, folder: Path) -> Description:
    """Return what a model's file describes; relative paths start at `folder`.

    Raises:
        InputError: no such file, or not a URDF, xacro or MJCF; or the packages that read it are missing.
    """
    path = locate_model(model.file, folder)
    check_fetched(path)
    try:
        if _is_mjcf(path):
            from taskgan_ros.robot.read_mjcf import read_mjcf

            if model.arguments:
                raise InputError(f"{path}: expected a xacro file for arguments, got an MJCF and {model.arguments}")
            return read_mjcf(path)
        from taskgan_ros.robot.read_urdf import read_urdf

        return read_urdf(path, model.arguments)
    except ModuleNotFoundError as error:
        raise InputError(f"{path}: expected the Python package {error.name}: pip install -e '.[arms]'") from error


def _is_mjcf(path: Path) -> bool:
    try:
        is_robot = re.search(rb"<robot\b", text := path.read_bytes())  # a URDF may hold a <mujoco> of its own
        return b"<mujoco" in text and not is_robot and path.suffix not in (".urdf", ".xacro")
    except OSError as error:
        raise InputError(f"{path}: expected a model, got: {error.strerror}") from error


def _understand(file: ArmFile, folder: Path, origin: str, tip: str | None) -> Robot:
    description = read_model(Model(file=file.model, arguments=file.arguments), folder)
    wanted = file.tip if tip is None else Tip(link=tip)
    assumed: list[str] = []
    if wanted is None:
        link, why = _find_tip(description)
        wanted = Tip(link=link)
        assumed.append(f"tip: {wanted.link}, {why}")
    unknown = sorted({*file.joints, *file.home} - set(description.joints))
    if unknown:
        raise InputError(f"{origin}: expected joints of {list(description.joints)}, got {unknown}")
    if led := sorted(name for name in file.home if description.joints[name].mimic):
        raise InputError(f"{origin}: expected home for joints that mimic no other, got {led}")
    path, last = _path(description, file.base, wanted)
    rest = _home(description, file.home)
    chain = _Chain(description, file.joints, rest)
    joints = chain.joints(path)
    if not joints:
        where = f"between {path[0].name if path else description.links[0].name} and {wanted.link}"
        stuck = [f"{name} from {joint.lower:g} to {joint.upper:g}" for name, joint in chain.stuck.items()]
        raise InputError(f"{description.source}: expected joints that move {where}, got {', '.join(stuck) or 'none'}")
    end = chain.pending @ last @ transform(wanted.xyz, wanted.rpy)
    names = [joint.name for joint in joints if joint.mimic is None]
    own = Model(
        file=file.model if is_reference(file.model) else str(locate_model(file.model, folder).absolute()),
        arguments=file.arguments,
        base=file.base,
        rest={name: value for name, value in rest.items() if name not in names},
    )
    values = {
        "name": file.name or (Path(origin).stem if origin.endswith((".yaml", ".yml")) else description.name),
        "joints": joints,
        "tip": {"xyz": end[:3, 3].tolist(), "rpy": rpy_from_rotation(end[:3, :3])},
        "home": [rest[name] for name in names],
        "model": own,
        "tool": file.tool,
    }
    arm = build_line(Arm, values, description.source)
    held = hold_tool(arm, description, partial(find_mesh, near=folder))
    return Robot(arm, held, wanted.link, tuple(assumed + chain.assumed), tuple(chain.warnings))


def _find_tip(description: Description) -> tuple[str, str]:
    """Return the link or site with a tool's name, or else the only leaf link; and why it was chosen."""
    known = [*(link.name for link in description.links), *description.frames]
    for end in _TIP_NAMES:
        named = [name for name in known if name == end or name.endswith("_" + end)]
        named = [name for name in named if _moves(_way(description, name))]
        if len(named) == 1:
            return named[0], "by its name"
    ends = [name for name in description.leaves if _moves(description.path(name))]
    if len(ends) == 1:
        return ends[0], "the only end"
    if not ends:
        raise InputError(f"{description.source}: expected joints that turn or slide, got none")
    offered = ", ".join(ends[:_OFFERED]) + (f" and {len(ends) - _OFFERED} more" if len(ends) > _OFFERED else "")
    raise InputError(f"{description.source}: expected --tip LINK, or tip: in the arm file, of several ends: {offered}")


def _way(description: Description, name: str) -> list[Link]:
    """Return the links from the root to a link, or to the one that a site is on."""
    return description.path(description.frames[name][0] if name in description.frames else name)


def _moves(path: list[Link]) -> bool:
    return any(link.joint is not None and link.joint.is_moving for link in path)


def _path(description: Description, base: str | None, tip: Tip) -> tuple[list[Link], Array]:
    """Return the links between base and tip, and the tip's frame in the last one."""
    links, last, name = description.by_name, np.eye(4), tip.link
    if name not in links:
        if name not in description.frames:
            known = ", ".join([*links, *description.frames][:40])
            raise InputError(f"{description.source}: expected a tip of [{known}], got {name!r}")
        name, last = description.frames[name]
    path = description.path(name)
    if base is not None:
        between = [link.name for link in path]
        if base not in between:
            raise InputError(f"{description.source}: expected a base on the way to {tip.link}, {between}, got {base!r}")
        path = path[between.index(base) + 1 :]
    for link in path:
        if link.joint and link.joint.kind in ("floating", "planar", "ball"):
            raise InputError(
                f"{description.source}: expected joints that turn or slide between base and {tip.link}, got the "
                f"{link.joint.kind} joint {link.joint.name}; base: {link.name.split('/')[0]} takes what is after it"
            )
        if link.joint and link.joint.is_curved:
            raise InputError(
                f"{description.source}: expected joints that follow others along a straight line, got a curve of "
                f"{link.joint.name}"
            )
    for one, other in description.loops:
        if _closes(description, path, one, other):
            raise InputError(f"{description.source}: expected a chain to {tip.link}, got a loop: {one} holds {other}")
    return path, last


def _closes(description: Description, path: list[Link], one: str, other: str) -> bool:
    """Return whether a loop closed between two links constrains a joint of the path."""
    ends = [{link.name for link in description.path(name)} for name in (one, other)]
    between = ends[0] ^ ends[1]
    return any(link.name in between and link.joint is not None and link.joint.is_moving for link in path)


def _home(description: Description, home: Mapping[str, float]) -> dict[str, float]:
    """Return where every independent joint is at rest: as `home` or the model says, or near zero."""
    rest = {}
    for name, joint in description.joints.items():
        if joint.mimic is None:
            rest[name] = float(home.get(name, description.home.get(name, np.clip(0.0, joint.lower, joint.upper))))
            if joint.lower == joint.upper:  # whatever a keyframe says
                rest[name] = joint.lower
    return rest


class _Chain:
    """Folds links into a chain of joints, and records what it had to assume.

    Attributes:
        pending: (4, 4) what follows the last joint so far.
        stuck: joints whose limits leave them no range.
        assumed, warnings: as `Robot` has them.
    """

    def __init__(self, description: Description, limits: Mapping[str, JointLimits], rest: Mapping[str, float]) -> None:
        self._description, self._limits = description, limits
        self._positions = description.positions(rest)
        self.pending = np.eye(4)
        self.stuck: dict[str, DescribedJoint] = {}
        self.assumed: list[str] = []
        self.warnings: list[str] = []

    def joints(self, path: list[Link]) -> list[Joint]:
        """Return the joints of the path; what does not move, or follows a joint that is not on it, is folded in."""
        own = {link.joint.name for link in path if link.joint and link.joint.is_moving}
        joints: list[Joint] = []
        for link in path:
            self.pending = self.pending @ link.origin
            if link.joint is None or not link.joint.is_moving:
                continue
            lower, upper = self._range(link.joint)
            leader, factor, offset = self._description.leader(link.joint.name)
            if lower == upper:
                self.stuck[link.joint.name] = link.joint
                self.warnings.append(
                    f"{link.joint.name}: a range of 0, from {lower:g} to {upper:g}; it is taken for fixed"
                )
            if lower == upper or leader not in own or factor == 0:
                self.pending = self.pending @ link.joint.at(self._positions[link.joint.name])
                continue
            mimic = None if leader == link.joint.name else Mimic(joint=leader, multiplier=factor, offset=offset)
            joints.append(self._joint(link.joint, lower, upper, mimic))
            self.pending = np.eye(4)
        return [self._narrowed(joint, joints) for joint in joints]

    def _range(self, joint: DescribedJoint) -> tuple[float, float]:
        limits = self._limits.get(joint.name, JointLimits())
        lower, upper = joint.lower, joint.upper
        if limits.has_position_limits is False:
            lower, upper = -math.inf, math.inf
        lower = lower if limits.min_position is None else limits.min_position
        upper = upper if limits.max_position is None else limits.max_position
        if not lower <= upper:
            where = f"{self._description.source}: joint {joint.name}"
            raise InputError(f"{where}: expected min_position <= max_position, got {lower:g} and {upper:g}")
        return lower, upper

    def _joint(self, joint: DescribedJoint, lower: float, upper: float, mimic: Mimic | None) -> Joint:
        limited = math.isfinite(lower) and math.isfinite(upper)
        if joint.kind == "revolute" and not limited:
            self.warnings.append(f"{joint.name}: no position limits; it is taken for continuous")
        if joint.kind != "prismatic" and limited and max(abs(lower), abs(upper)) > LARGEST_ANGLE:
            self.warnings.append(f"{joint.name}: limits that look like degrees, {lower:g} to {upper:g} rad")
        velocity, acceleration = self._speeds(joint, mimic)
        values = {
            "name": joint.name,
            "type": "prismatic" if joint.kind == "prismatic" else "revolute" if limited else "continuous",
            "axis": joint.axis.tolist(),
            "origin_xyz": self.pending[:3, 3].tolist(),
            "origin_rpy": rpy_from_rotation(self.pending[:3, :3]),
            "lower": lower if limited else None,
            "upper": upper if limited else None,
            "max_velocity": velocity,
            "max_acceleration": acceleration,
            "mimic": mimic,
        }
        return build_line(Joint, values, f"{self._description.source}: joint {joint.name}")

    def _speeds(self, joint: DescribedJoint, mimic: Mimic | None) -> tuple[float, float]:
        limits, unit = self._limits.get(joint.name, JointLimits()), "m" if joint.kind == "prismatic" else "rad"
        velocity = joint.max_velocity if limits.max_velocity is None else limits.max_velocity
        notes = []
        if velocity is None or limits.has_velocity_limits is False or velocity > LARGEST_SPEED:
            found = "no velocity limit" if velocity is None else f"a velocity limit of {velocity:g} {unit}/s"
            velocity = _SLIDING_SPEED if joint.kind == "prismatic" else _SPEED
            notes.append(f"{joint.name}: {found}; {velocity:g} {unit}/s is assumed")
        acceleration = limits.max_acceleration
        if acceleration is None or limits.has_acceleration_limits is False:
            acceleration = velocity / _STOP_S
            notes.append(f"{joint.name}: no acceleration limit; {acceleration:g} {unit}/s² is assumed")
        self.assumed += [] if mimic else notes  # mimic joints are never commanded
        return velocity, acceleration

    def _narrowed(self, joint: Joint, joints: list[Joint]) -> Joint:
        """Narrow a joint's limits so that its mimic joints stay within theirs."""
        lower = -math.inf if joint.lower is None else joint.lower
        upper = math.inf if joint.upper is None else joint.upper
        for other in joints:
            mimic = other.mimic
            if mimic is None or mimic.joint != joint.name or other.lower is None or other.upper is None:
                continue
            ends = sorted((end - mimic.offset) / mimic.multiplier for end in (other.lower, other.upper))
            lower, upper = max(lower, ends[0]), min(upper, ends[1])
        if not (math.isfinite(lower) and math.isfinite(upper)):
            return joint
        if lower >= upper:
            where = f"{self._description.source}: joint {joint.name}"
            raise InputError(f"{where}: expected a range that suits the joints that mimic it, got none")
        kind: Literal["prismatic", "revolute"] = "prismatic" if joint.kind == "prismatic" else "revolute"
        return dataclasses.replace(joint, type=kind, lower=lower, upper=upper)


def shift_zeros(robot: Robot, zeros: Mapping[str, float]) -> Robot:
    """Return the robot with shifted joint zeros: a joint that reads zero stands at its entry in `zeros`.

    Args:
        robot: as its model has it.
        zeros: rad or m, by joint of the arm, added to a joint's reading; its mimic joints move accordingly.
    """
    if not any(zeros.values()):
        return robot
    arm, description = robot.arm, robot.drawable
    offsets = arm.coupling[0] @ np.array([zeros.get(name, 0.0) for name in arm.joint_names])
    joints = tuple(_shifted_joint(*pair) for pair in zip(arm.joints, offsets.tolist(), strict=True))
    links = tuple(_shifted_link(link, description, zeros) for link in description.links)
    return dataclasses.replace(
        robot,
        arm=dataclasses.replace(arm, joints=joints),
        description=dataclasses.replace(description, links=links),
        is_drawn=True,
    )


def _shifted_joint(joint: Joint, zero: float) -> Joint:
    motion = joint_motion(joint.kind == "prismatic", joint.unit_axis, zero)
    pose = transform(joint.origin_xyz, joint.origin_rpy) @ motion
    x, y, z = pose[:3, 3].tolist()
    return dataclasses.replace(joint, origin_xyz=(x, y, z), origin_rpy=rpy_from_rotation(pose[:3, :3]))


def _shifted_link(link: Link, description: Description, zeros: Mapping[str, float]) -> Link:
    if link.joint is None or not link.joint.is_moving:
        return link
    leader, factor, _ = description.leader(link.joint.name)
    return dataclasses.replace(link, origin=link.origin @ link.joint.at(factor * zeros.get(leader, 0.0)))


def shipped_arms() -> tuple[str, ...]:
    """Return the names of the arms in `config/arms/`."""
    return tuple(sorted(path.stem for path in (share_dir() / "config" / "arms").glob("*.yaml")))
