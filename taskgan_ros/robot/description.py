"""A robot as its own description has it: links, what joins them and what they are drawn with; URDF and MJCF alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Arm, Mimic, Shape
from taskgan_ros.robot.kinematics import joint_motion, transform

Array = NDArray[np.float64]
Kind = Literal["revolute", "continuous", "prismatic", "fixed", "floating", "planar", "ball"]

MOVING: tuple[Kind, ...] = ("revolute", "continuous", "prismatic")  # with one degree of freedom


@dataclass(frozen=True)
class MeshFile:
    """A mesh that is not read yet: its path, None where there is none, what the model calls it, and a scale (3,)."""

    path: Path | None
    reference: str
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Mesh:
    """Triangles: vertices (v, 3) m, faces (f, 3) indices of vertices."""

    vertices: Array
    faces: NDArray[np.int32]


@dataclass(frozen=True)
class Visual:
    """Something that a link is drawn with.

    Attributes:
        kind: all are centred on `pose`; cylinders and capsules run along its z.
        pose: (4, 4) in the link's frame.
        size: half-axes in m; of a cylinder or capsule its radius and half length. Meshes have none.
        rgb: linear or sRGB, as in the model; None if the model gives none (a mesh file may).
        material: name of that colour.
        mesh: of a mesh.
        pattern: of a board, a box, what is on the side that z points out of, as `taskgan calibrate --board` names it.
    """

    kind: Literal["box", "cylinder", "capsule", "ellipsoid", "mesh"]
    pose: Array
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rgb: tuple[float, float, float] | None = None
    material: str = ""
    mesh: MeshFile | Mesh | None = None
    pattern: str = ""


@dataclass(frozen=True)
class DescribedJoint:
    """What joins a link to its parent.

    Attributes:
        axis: (3,) unit vector in the link's own frame.
        lower, upper: rad or m; infinite where there are no limits.
        max_velocity: rad/s or m/s; None where the model does not say.
        mimic: the joint that this one follows.
        is_curved: whether it follows another joint along a curve, which `mimic` cannot express.
    """

    name: str
    kind: Kind
    axis: Array
    lower: float = -math.inf
    upper: float = math.inf
    max_velocity: float | None = None
    mimic: Mimic | None = None
    is_curved: bool = False

    @property
    def is_moving(self) -> bool:
        """Whether it has one degree of freedom."""
        return self.kind in MOVING

    def at(self, position: float) -> Array:
        """Return the (4, 4) motion at `position` rad or m; the identity unless it has one degree of freedom."""
        if not self.is_moving:
            return np.eye(4)
        return joint_motion(self.kind == "prismatic", self.axis, np.float64(position))


@dataclass(frozen=True)
class Link:
    """A rigid part; `origin` (4, 4) is its pose in the parent's frame when its joint is at zero."""

    name: str
    parent: str | None
    origin: Array
    joint: DescribedJoint | None = None
    visuals: tuple[Visual, ...] = ()


@dataclass(frozen=True)
class Description:
    """A tree of links.

    Attributes:
        name: of the robot.
        source: the file, as a user would name it.
        links: each after its parent; the first is the root, whose frame is the robot's.
        frames: named points on links beside the links' own frames, MJCF's sites: the link, and (4, 4) in its frame.
        home: where joints stand at rest, as far as the model says; rad or m by joint.
        loops: pairs of links that a constraint outside the tree joins (closed loops).
    """

    name: str
    source: str
    links: tuple[Link, ...]
    frames: Mapping[str, tuple[str, Array]] = field(default_factory=dict)
    home: Mapping[str, float] = field(default_factory=dict)
    loops: tuple[tuple[str, str], ...] = ()

    @property
    def by_name(self) -> dict[str, Link]:
        """Links by their names."""
        return {link.name: link for link in self.links}

    @property
    def joints(self) -> dict[str, DescribedJoint]:
        """Every joint with one degree of freedom, by name, in the links' order."""
        return {link.joint.name: link.joint for link in self.links if link.joint and link.joint.is_moving}

    @property
    def leaves(self) -> list[str]:
        """Names of links without children."""
        parents = {link.parent for link in self.links}
        return [link.name for link in self.links if link.name not in parents]

    def path(self, tip: str) -> list[Link]:
        """Return the links from the root to `tip`, both included."""
        links, path = self.by_name, [self.by_name[tip]]
        while path[-1].parent is not None:
            path.append(links[path[-1].parent])
        return path[::-1]

    def leader(self, name: str) -> tuple[str, float, float]:
        """Return the joint that `name` follows in the end (or itself), and the combined factor and offset."""
        factor, offset, joints = 1.0, 0.0, self.joints
        for _ in joints:
            mimic = joints[name].mimic
            if mimic is None:
                return name, factor, offset
            name, factor, offset = mimic.joint, factor * mimic.multiplier, factor * mimic.offset + offset
        raise InputError(f"{self.source}: expected mimic joints that follow a moving joint, got a cycle at {name}")

    def positions(self, at: Mapping[str, float]) -> dict[str, float]:
        """Return where every joint stands, mimics included, when the joints in `at` stand there and others at 0."""
        led = {name: self.leader(name) for name in self.joints}
        return {name: factor * at.get(lead, 0.0) + offset for name, (lead, factor, offset) in led.items()}

    def poses(self, at: Mapping[str, float]) -> dict[str, Array]:
        """Return the pose (4, 4) of every link in the root's frame, joints standing as `at` says."""
        positions, poses = self.positions(at), dict[str, Array]()
        for link in self.links:
            motion = link.joint.at(positions.get(link.joint.name, 0.0)) if link.joint else np.eye(4)
            before = poses[link.parent] if link.parent is not None else np.eye(4)
            poses[link.name] = before @ link.origin @ motion
        return poses


def make_description(
    name: str,
    source: str,
    links: Iterable[Link],
    frames: Mapping[str, tuple[str, Array]] | None = None,
    home: Mapping[str, float] | None = None,
    loops: Sequence[tuple[str, str]] = (),
) -> Description:
    """Return links in any order as a description, after checking that they are one tree.

    Raises:
        InputError: no link, a duplicate name, an unknown parent, a cycle or several roots; a joint without a
            direction, with swapped or non-finite limits, or one that mimics an unknown joint.
    """
    given = list(links)
    _check_names(source, "link", [link.name for link in given])
    _check_names(source, "joint", [link.joint.name for link in given if link.joint])
    roots = [link for link in given if link.parent is None]
    if len(roots) != 1:
        raise InputError(
            f"{source}: expected one root link, got {[link.name for link in roots] or 'none: they form a cycle'}"
        )
    children: dict[str | None, list[Link]] = {}
    for link in given:
        children.setdefault(link.parent, []).append(link)
    ordered, todo = list[Link](), [roots[0]]
    while todo:
        ordered.append(todo.pop())
        todo.extend(reversed(children.get(ordered[-1].name, [])))
    if lost := [link.name for link in given if link.name not in {one.name for one in ordered}]:
        raise InputError(f"{source}: expected connected links, got {lost} not connected to {roots[0].name}")
    description = Description(name, source, tuple(ordered), frames or {}, home or {}, tuple(loops))
    for joint in description.joints.values():
        _check_joint(description, joint)
    return description


def _check_names(source: str, what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{source}: expected {what} names that differ, got {twice} more than once")
    if what == "link" and not names:
        raise InputError(f"{source}: expected links, got none")


def _check_joint(description: Description, joint: DescribedJoint) -> None:
    where = f"{description.source}: joint {joint.name}"
    if not np.isclose(np.linalg.norm(joint.axis), 1.0):
        raise InputError(f"{where}: expected an axis with a direction, got {np.asarray(joint.axis).tolist()}")
    if not joint.lower <= joint.upper:  # NaN too
        raise InputError(f"{where}: expected lower <= upper, got {joint.lower:g} and {joint.upper:g}")
    if joint.max_velocity is not None and not 0 < joint.max_velocity < math.inf:
        raise InputError(f"{where}: expected a velocity limit above 0, got {joint.max_velocity:g}")
    if joint.mimic is not None:
        if joint.mimic.joint not in description.joints:
            raise InputError(f"{where}: expected to mimic a joint that turns or slides, got {joint.mimic.joint!r}")
        description.leader(joint.name)


def root_in_base(arm: Arm, description: Description, at: Mapping[str, float]) -> Array:
    """Return the pose (4, 4) of the description's root in the arm's base frame, joints standing as `at` says."""
    if arm.model is None or arm.model.base is None:
        return np.eye(4)
    return np.linalg.inv(description.poses(at)[arm.model.base]).astype(np.float64)


def describe_shapes(arm: Arm) -> Description:
    """Return an arm that is drawn with its own file's shapes: the base, and one link a joint."""
    links = [Link("base", None, np.eye(4), None, tuple(_visual(arm, shape) for shape in arm.base))]
    for joint, shapes in zip(arm.joints, arm.links or ((),) * len(arm.joints), strict=True):
        described = DescribedJoint(
            joint.name,
            joint.kind,
            joint.unit_axis,
            -math.inf if joint.lower is None else joint.lower,
            math.inf if joint.upper is None else joint.upper,
            joint.max_velocity,
            joint.mimic,
        )
        origin = transform(joint.origin_xyz, joint.origin_rpy)
        visuals = tuple(_visual(arm, shape) for shape in shapes)
        links.append(Link(f"{joint.name}_link", links[-1].name, origin, described, visuals))
    return Description(arm.name, arm.name, tuple(links))


def _visual(arm: Arm, shape: Shape) -> Visual:
    rgb = arm.materials[shape.material]
    if shape.start is not None and shape.end is not None and shape.radius is not None:
        pose, half = between(shape.start, shape.end)
        return Visual(shape.kind, pose, (shape.radius, half, 0.0), rgb, shape.material)
    pose = transform(shape.at or (0, 0, 0), (0, 0, 0))
    return Visual(shape.kind, pose, shape.size or (0, 0, 0), rgb, shape.material)


def between(start: Sequence[float], end: Sequence[float]) -> tuple[Array, float]:
    """Return the pose (4, 4) midway from `start` (3,) m to `end` (3,) m, z along, and half the distance."""
    first, last = np.array(start), np.array(end)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = z_along(last - first), (first + last) / 2
    return pose, float(np.linalg.norm(last - first)) / 2


def z_along(direction: Array) -> Array:
    """Return the (3, 3) rotation that turns z towards `direction` the short way."""
    z = direction / np.linalg.norm(direction)
    axis, cosine = np.cross([0, 0, 1.0], z), float(z[2])
    sine = float(np.linalg.norm(axis))
    if sine < np.finfo(float).eps:
        return np.diag([1.0, np.copysign(1.0, cosine), np.copysign(1.0, cosine)])
    return joint_motion(False, axis / sine, np.arctan2(sine, cosine))[:3, :3]
