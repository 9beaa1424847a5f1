"""URDF and xacro → `Description`, by yourdfpy and xacrodoc."""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Mimic
from taskgan_ros.robot.description import DescribedJoint, Description, Link, MeshFile, Visual, make_description
from taskgan_ros.robot.locate import find_mesh, package_folder

Array = NDArray[np.float64]

_KINDS = {name: name for name in ("revolute", "continuous", "prismatic", "fixed", "floating", "planar")}


def read_urdf(path: Path, arguments: Mapping[str, str] | None = None) -> Description:
    """Return the robot in a URDF, or in a xacro file with these arguments.

    Raises:
        InputError: the file is neither, or describes no tree of links; the message says what was found.
    """
    text = expand_xacro(path, arguments or {}) if path.suffix == ".xacro" else _read(path)
    if arguments and path.suffix != ".xacro":
        raise InputError(f"{path}: expected a xacro file for arguments, got a URDF and {dict(arguments)}")
    robot = _parse(path, text)
    joints: dict[str, Any] = {}
    for joint in robot.joints:
        if joint.child in joints:
            both = f"{joints[joint.child].name} and {joint.name}"
            raise InputError(f"{path}: expected a tree, got a loop: both {both} hold the link {joint.child}")
        joints[joint.child] = joint
    _check_links(path, {link.name for link in robot.links}, list(joints.values()))
    materials = {material.name: material for material in robot.materials if material.color is not None}
    links = [_link(path, link, joints.get(link.name), materials) for link in robot.links]
    return make_description(robot.name or path.stem, str(path), links)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a URDF, got: {error}") from error


def expand_xacro(path: Path, arguments: Mapping[str, str]) -> str:
    """Return the URDF that a xacro file makes of these arguments.

    Raises:
        InputError: it does not expand; the message is xacro's.
    """
    from xacrodoc import XacroDoc, packages

    for name in set(re.findall(r"\$\(find\s+([\w-]+)\)|package://([\w-]+)/", _read(path))):
        package = next(filter(None, name))
        if folder := package_folder(package, path.parent):
            packages.update_package_cache({package: str(folder)})
    try:
        document = XacroDoc.from_file(path, subargs=dict(arguments), resolve_packages=False)
        return str(document.to_urdf_string())
    except Exception as error:  # xacro's own, xacrodoc's, the parser's and whatever an expression raises
        raise InputError(f"{path}: expected a xacro file that expands, got: {' '.join(str(error).split())}") from error


def _parse(path: Path, text: str) -> Any:
    import yourdfpy

    logging.getLogger("yourdfpy").setLevel(logging.CRITICAL)  # it reports foreign XML namespaces, which are no fault
    try:
        model = yourdfpy.URDF.load(
            io.BytesIO(text.encode()), build_scene_graph=False, load_meshes=False, filename_handler=lambda name: name
        )
    except Exception as error:  # lxml's, and what yourdfpy's own code runs into where an element is missing
        what = " ".join(str(error).split()) or type(error).__name__
        what = f"an element without the attribute {what}" if isinstance(error, KeyError) else what
        raise InputError(f"{path}: expected a URDF, got: {what}") from error
    if not model.robot.links:
        raise InputError(f"{path}: expected a URDF with links, got none")
    return model.robot


def _check_links(path: Path, links: set[str], joints: list[Any]) -> None:
    for joint in joints:
        for end, name in (("parent", joint.parent), ("child", joint.child)):
            if name not in links:
                raise InputError(f"{path}: joint {joint.name}: expected a {end} among the links, got {name!r}")
        if joint.type not in _KINDS:
            raise InputError(f"{path}: joint {joint.name}: expected a type of {list(_KINDS)}, got {joint.type!r}")


def _link(path: Path, link: Any, joint: Any, materials: Mapping[str, Any]) -> Link:
    visuals = tuple(_visual(path, link.name, visual, materials) for visual in link.visuals)
    if joint is None:
        return Link(link.name, None, np.eye(4), None, visuals)
    return Link(link.name, joint.parent, _pose(path, joint.name, joint.origin), _joint(path, joint), visuals)


def _joint(path: Path, joint: Any) -> DescribedJoint:
    lower, upper = -math.inf, math.inf
    if joint.limit is not None and joint.type in ("revolute", "prismatic"):
        lower, upper = (0.0 if end is None else float(end) for end in (joint.limit.lower, joint.limit.upper))
    axis = np.array([1.0, 0, 0] if joint.axis is None else joint.axis, dtype=np.float64)  # URDF's default
    length = float(np.linalg.norm(axis))
    mimic = joint.mimic and Mimic(
        joint=joint.mimic.joint,
        multiplier=1.0 if joint.mimic.multiplier is None else joint.mimic.multiplier,
        offset=joint.mimic.offset or 0.0,
    )
    velocity = joint.limit.velocity if joint.limit is not None else None
    return DescribedJoint(
        joint.name, joint.type, axis / length if length else axis, lower, upper, velocity or None, mimic
    )


def _pose(path: Path, name: str, origin: Array | None) -> Array:
    pose = np.eye(4) if origin is None else np.array(origin, dtype=np.float64)
    if not np.isfinite(pose).all():
        raise InputError(f"{path}: {name}: expected an origin of finite numbers, got {pose[:3, 3].tolist()} m")
    return pose


def _visual(path: Path, link: str, visual: Any, materials: Mapping[str, Any]) -> Visual:
    pose, geometry = _pose(path, link, visual.origin), visual.geometry
    rgb, material = _color(visual.material, materials)
    if geometry is None:
        raise InputError(f"{path}: link {link}: expected a geometry in each visual, got none")
    if geometry.box is not None:
        x, y, z = (float(edge) / 2 for edge in geometry.box.size)
        return Visual("box", pose, (x, y, z), rgb, material)
    if geometry.cylinder is not None:
        return Visual("cylinder", pose, (geometry.cylinder.radius, geometry.cylinder.length / 2, 0), rgb, material)
    if geometry.sphere is not None:
        return Visual("ellipsoid", pose, (geometry.sphere.radius,) * 3, rgb, material)
    scale = 1.0 if geometry.mesh.scale is None else geometry.mesh.scale
    x, y, z = np.broadcast_to(np.asarray(scale, dtype=np.float64), 3).tolist()
    name = geometry.mesh.filename
    return Visual("mesh", pose, (0, 0, 0), rgb, material, MeshFile(find_mesh(name, path.parent), name, (x, y, z)))


def _color(material: Any, materials: Mapping[str, Any]) -> tuple[tuple[float, float, float] | None, str]:
    if material is None:
        return None, ""
    known = material if material.color is not None else materials.get(material.name)
    if known is None or known.color is None:
        return None, ""
    red, green, blue = (float(value) for value in known.color.rgba[:3])
    return (red, green, blue), material.name or ""
