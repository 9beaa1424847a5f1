"""An arm as URDF, for robot_state_publisher, RViz and Foxglove: how it is put together and how it looks.

There are no masses and no collision shapes, because an arm file has none: a physics simulator needs more than this.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from taskgan_ros.robot.arm import Arm, Frame, Joint, Shape
from taskgan_ros.robot.locate import find_mesh, locate_model
from taskgan_ros.robot.srgb import to_srgb

BASE_LINK = "base_link"
TOOL_LINK = "tool"
_TOOL_JOINT = "tool_joint"

# URDF requires an effort limit beside a velocity limit, and an arm file has none. Viewers and kinematics ignore it.
# Any other reader should rather move nothing than apply an invented torque.
_NO_EFFORT = 0.0


def robot_description(arm: Arm, folder: Path = Path()) -> str:
    """Return what robot_state_publisher shows: the arm's own URDF where it has one, else `urdf` of its numbers.

    Args:
        arm: with or without a model.
        folder: where a model's relative path starts.

    Raises:
        InputError: a model that is not on this machine; its numbers, which the bundle has, do not show how it looks.
    """
    if arm.model is None:
        return urdf(arm)
    path = locate_model(arm.model.file, folder)
    text = path.read_text(encoding="utf-8")
    if "<mujoco" in text:
        return urdf(arm)
    if path.suffix == ".xacro":
        from taskgan_ros.robot.read_urdf import expand_xacro

        text = expand_xacro(path, arm.model.arguments)
    return re.sub(r'filename="([^"]+)"', lambda match: f'filename="{_found(match[1], path.parent)}"', text)


def _found(reference: str, near: Path) -> str:
    """Return a mesh by its path: viewers look for `package://` in ROS packages alone."""
    path = find_mesh(reference, near)
    return reference if path is None else path.absolute().as_uri()


def urdf(arm: Arm) -> str:
    """Return the arm as URDF: links in m, joints in rad, where `kinematics` puts them.

    The root is `base_link`, the arm's base frame; each joint turns the link `<joint>_link`; the tip is `tool`. A joint
    called `base` turns `base_link_`: its name stays, and so does the root's.
    URDF has neither capsules nor ellipsoids: a capsule is a cylinder with a sphere at each end, an ellipsoid the sphere
    of the same volume.
    """
    links = [BASE_LINK, *(_free(f"{joint.name}_link", [BASE_LINK]) for joint in arm.joints), TOOL_LINK]
    robot = Element("robot", name=arm.name)
    for name, rgb in arm.materials.items():
        SubElement(SubElement(robot, "material", name=name), "color", rgba=_numbers((*to_srgb(rgb), 1.0)))
    shapes_of = (arm.base, *(arm.links or ((),) * len(arm.joints)), ())
    for name, shapes in zip(links, shapes_of, strict=True):
        link = SubElement(robot, "link", name=name)
        for shape in shapes:
            _add_visuals(link, shape)
    for joint, parent, child in zip(arm.joints, links, links[1:], strict=False):
        _add_turning_joint(robot, joint, parent, child)
    tool = _add_joint(robot, _free(_TOOL_JOINT, [joint.name for joint in arm.joints]), "fixed", links[-2], TOOL_LINK)
    _add_origin(tool, arm.tip)
    ElementTree.indent(robot)
    return ElementTree.tostring(robot, encoding="unicode")


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _add_turning_joint(robot: Element, joint: Joint, parent: str, child: str) -> None:
    element = _add_joint(robot, joint.name, joint.kind, parent, child)
    _add_origin(element, Frame(xyz=joint.origin_xyz, rpy=joint.origin_rpy))
    SubElement(element, "axis", xyz=_numbers(joint.axis))
    limit = SubElement(element, "limit", effort=_numbers([_NO_EFFORT]), velocity=_numbers([joint.max_velocity]))
    if joint.lower is not None and joint.upper is not None:
        limit.attrib |= {"lower": _numbers([joint.lower]), "upper": _numbers([joint.upper])}
    if joint.mimic is not None:
        factor, offset = _numbers([joint.mimic.multiplier]), _numbers([joint.mimic.offset])
        SubElement(element, "mimic", joint=joint.mimic.joint, multiplier=factor, offset=offset)


def _add_joint(robot: Element, name: str, kind: str, parent: str, child: str) -> Element:
    joint = SubElement(robot, "joint", name=name, type=kind)
    SubElement(joint, "parent", link=parent)
    SubElement(joint, "child", link=child)
    return joint


def _add_visuals(link: Element, shape: Shape) -> None:
    if shape.start is not None and shape.end is not None and shape.radius is not None:
        frame, length = _along(shape.start, shape.end)
        _add_visual(link, shape.material, frame, "cylinder", radius=[shape.radius], length=[length])
        if shape.kind == "capsule":
            for end in (shape.start, shape.end):
                _add_visual(link, shape.material, Frame(xyz=end, rpy=(0, 0, 0)), "sphere", radius=[shape.radius])
    elif shape.at is not None and shape.size is not None:
        frame = Frame(xyz=shape.at, rpy=(0, 0, 0))
        if shape.kind == "box":
            _add_visual(link, shape.material, frame, "box", size=[2 * half for half in shape.size])
        else:
            _add_visual(link, shape.material, frame, "sphere", radius=[math.prod(shape.size) ** (1 / 3)])


def _add_visual(link: Element, material: str, frame: Frame, kind: str, **dimensions: Sequence[float]) -> None:
    visual = SubElement(link, "visual")
    _add_origin(visual, frame)
    SubElement(SubElement(visual, "geometry"), kind, {key: _numbers(value) for key, value in dimensions.items()})
    SubElement(visual, "material", name=material)


def _add_origin(element: Element, frame: Frame) -> None:
    SubElement(element, "origin", xyz=_numbers(frame.xyz), rpy=_numbers(frame.rpy))


def _along(start: Sequence[float], end: Sequence[float]) -> tuple[Frame, float]:
    """Return the frame midway whose z points from `start` to `end`, and the distance: URDF's cylinder lies so."""
    x, y, z = (b - a for a, b in zip(start, end, strict=True))
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
    return Frame(xyz=middle, rpy=(0, math.atan2(math.hypot(x, y), z), math.atan2(y, x))), math.hypot(x, y, z)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value + 0.0:.9g}" for value in values)  # + 0.0 makes 0 of -0
