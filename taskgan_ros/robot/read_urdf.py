"""URDF and xacro → `Description`, by yourdfpy and xacrodoc."""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Mimic, build_line
from taskgan_ros.robot.description import DescribedJoint, Description, Link, MeshFile, Visual, make_description
from taskgan_ros.robot.locate import find_mesh, package_folder

Array = NDArray[np.float64]

_NO_LIMIT = 1e4  # rad or m; CAD exports write 1e16 for none
_KINDS = {name: name for name in ("revolute", "continuous", "prismatic", "fixed", "floating", "planar")}


def read_urdf(path: Path, arguments: Mapping[str, str] | None = None) -> Description:
    """Return the robot in a URDF, or in a xacro file with these arguments.

    Raises:
        InputError: the file is neither, or describes no tree of links; the message says what was found.
    """
    text = expand_xacro(path, arguments or {}).encode() if path.suffix == ".xacro" else _read(path)
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
    named = [*robot.materials, *(visual.material for link in robot.links for visual in link.visuals)]
    materials = {material.name: material for material in reversed(named) if material and material.color}
    links = [_link(path, link, joints.get(link.name), materials) for link in robot.links]
    return make_description(robot.name or path.stem, str(path), links)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a URDF, got: {error}") from error


def expand_xacro(path: Path, arguments: Mapping[str, str]) -> str:
    """Return the URDF that a xacro file makes of these arguments.

    Raises:
        InputError: it does not expand; the message is xacro's.
    """
    from xacrodoc import XacroDoc, packages

    def find(package: str) -> str:
        if folder := package_folder(package, path.parent):
            return str(folder.absolute())
        missing.append(package)
        raise packages.PackageNotFoundError(package)

    missing: list[str] = []
    packages.reset()  # another file's packages may be elsewhere
    packages._finder.finder_funcs = [(find, packages.PackageNotFoundError)]  # also for included files; no public API
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where xacro warns of constants that are defined again
            document = XacroDoc.from_file(path, walk_up=False, subargs=dict(arguments), resolve_packages=False)
            return str(document.to_urdf_string())
    except Exception as error:  # xacro's own, xacrodoc's, the parser's and whatever an expression raises
        if missing:
            where = f"AMENT_PREFIX_PATH, ROS_PACKAGE_PATH or above {path.parent}"
            raise InputError(f"{path}: expected the package {missing[0]} in {where}, got none") from error
        raise InputError(f"{path}: expected a xacro file that expands, got: {' '.join(str(error).split())}") from error


def _parse(path: Path, text: bytes) -> Any:
    import yourdfpy

    _check_elements(path, text)
    logging.getLogger("yourdfpy").setLevel(logging.CRITICAL)  # it reports foreign XML namespaces, which are no fault
    try:
        model = yourdfpy.URDF.load(
            io.BytesIO(text), build_scene_graph=False, load_meshes=False, filename_handler=lambda name: name
        )
    except Exception as error:  # lxml's, and what yourdfpy's own code runs into where an element is missing
        what = " ".join(str(error).split()) or type(error).__name__
        what = f"an element without the attribute {what}" if isinstance(error, KeyError) else what
        raise InputError(f"{path}: expected a URDF, got: {what}") from error
    if not model.robot.links:
        raise InputError(f"{path}: expected a URDF with links, got none")
    return model.robot


def _check_elements(path: Path, text: bytes) -> None:
    """Refuse malformed XML, or a URDF that lacks elements which yourdfpy assumes."""
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(recover=True, resolve_entities=False)
    try:
        root = etree.fromstring(text, parser) if text.strip() else None
    except etree.XMLSyntaxError as error:  # nothing of it can be recovered
        raise InputError(f"{path}: expected a URDF, got: {error}") from error
    foreign = etree.ErrorDomains.NAMESPACE  # prefixes that nothing declares, as in drake:acceleration
    faults = [fault for fault in parser.error_log if fault.domain != foreign]
    if root is None or faults:
        what = f"{faults[0].message.strip()}, line {faults[0].line}" if faults else "nothing"
        raise InputError(f"{path}: expected a URDF, got: {what}")
    if root.tag != "robot":
        raise InputError(f"{path}: expected a URDF, which is a <robot>, got <{root.tag}>")
    if "name" not in root.attrib:
        raise InputError(f"{path}: expected a URDF's <robot> with a name, got none")
    for joint in root.findall("joint"):
        if missing := [tag for tag in ("parent", "child") if joint.find(tag) is None]:
            raise InputError(f"{path}: joint {joint.get('name')}: expected a {missing[0]}, got none")
    for link in root.findall("link"):
        for visual in link.findall("visual"):
            if not len(visual.find("geometry") if visual.find("geometry") is not None else ()):
                raise InputError(f"{path}: link {link.get('name')}: expected a geometry in each visual, got none")


def _check_links(path: Path, links: set[str], joints: list[Any]) -> None:
    for joint in joints:
        for end, name in (("parent", joint.parent), ("child", joint.child)):
            if name not in links:
                raise InputError(f"{path}: joint {joint.name}: expected a {end} among the links, got {name!r}")
        if joint.type not in _KINDS:
            raise InputError(f"{path}: joint {joint.name}: expected a type of {list(_KINDS)}, got {joint.type!r}")


def _link(path: Path, link: Any, joint: Any, materials: Mapping[str, Any]) -> Link:
    visuals = tuple(filter(None, (_visual(path, link.name, visual, materials) for visual in link.visuals)))
    if joint is None:
        return Link(link.name, None, np.eye(4), None, visuals)
    return Link(link.name, joint.parent, _pose(path, joint.name, joint.origin), _joint(path, joint), visuals)


def _joint(path: Path, joint: Any) -> DescribedJoint:
    lower, upper = -math.inf, math.inf
    if joint.limit is not None and joint.type in ("revolute", "prismatic"):
        lower, upper = (0.0 if end is None else float(end) for end in (joint.limit.lower, joint.limit.upper))
        lower, upper = -math.inf if lower < -_NO_LIMIT else lower, math.inf if upper > _NO_LIMIT else upper
    where = f"{path}: joint {joint.name}"
    axis = np.array([1.0, 0, 0] if joint.axis is None else joint.axis, dtype=np.float64)  # URDF's default
    if axis.shape != (3,):
        raise InputError(f"{where}: expected an axis of 3 numbers, got {axis.tolist()}")
    length = float(np.linalg.norm(axis))
    velocity = joint.limit.velocity if joint.limit is not None else None
    velocity = None if velocity in (0, math.inf) else velocity
    axis = axis / length if length else axis
    return DescribedJoint(joint.name, joint.type, axis, lower, upper, velocity, _mimic(where, joint.mimic))


def _mimic(where: str, mimic: Any) -> Mimic | None:
    if mimic is None:
        return None
    multiplier = 1.0 if mimic.multiplier is None else mimic.multiplier
    values = {"joint": mimic.joint, "multiplier": multiplier, "offset": mimic.offset or 0.0}
    return build_line(Mimic, values, f"{where}: mimic")


def _pose(path: Path, name: str, origin: Array | None) -> Array:
    pose = np.eye(4) if origin is None else np.array(origin, dtype=np.float64)
    if not np.isfinite(pose).all():
        raise InputError(f"{path}: {name}: expected an origin of finite numbers, got {pose[:3, 3].tolist()} m")
    return pose


def _visual(path: Path, link: str, visual: Any, materials: Mapping[str, Any]) -> Visual | None:
    """Return a link's visual, or None for a placeholder of zero size."""
    pose, geometry = _pose(path, link, visual.origin), visual.geometry
    rgb, material = _color(visual.material, materials)
    where = f"{path}: link {link}"
    if geometry.mesh is None:
        kind, size = _primitive(where, geometry)
        used = size[:2] if kind == "cylinder" else size
        return Visual(kind, pose, size, rgb, material) if min(used) > 0 else None
    scale = np.asarray(1.0 if geometry.mesh.scale is None else geometry.mesh.scale, dtype=np.float64)
    if scale.size not in (1, 3) or not np.isfinite(scale).all():
        raise InputError(f"{where}: expected a mesh's scale of 3 numbers, got {scale.tolist()}")
    x, y, z = np.broadcast_to(scale, 3).tolist()
    name = geometry.mesh.filename
    if not name:
        raise InputError(f"{where}: expected a mesh with a filename, got none")
    if not x * y * z:
        return None
    return Visual("mesh", pose, (0, 0, 0), rgb, material, MeshFile(find_mesh(name, path.parent), name, (x, y, z)))


def _primitive(where: str, geometry: Any) -> tuple[Literal["box", "cylinder", "ellipsoid"], tuple[float, float, float]]:
    """Return a primitive's kind and its half-axes, or radius, half length and 0, in m."""
    kind: Literal["box", "cylinder", "ellipsoid"] = "box"
    if geometry.box is not None:
        size = [float(edge) / 2 for edge in geometry.box.size]
    elif geometry.cylinder is not None:
        kind, size = "cylinder", [geometry.cylinder.radius, geometry.cylinder.length / 2, 0.0]
    else:
        kind, size = "ellipsoid", [geometry.sphere.radius] * 3
    if len(size) != 3 or not all(0 <= half < math.inf for half in size):
        raise InputError(f"{where}: expected a size of its {kind}, got {size} m from the middle")
    return kind, (size[0], size[1], size[2])


def _color(material: Any, materials: Mapping[str, Any]) -> tuple[tuple[float, float, float] | None, str]:
    if material is None:
        return None, ""
    known = material if material.color is not None else materials.get(material.name)
    if known is None or known.color is None:
        return None, ""
    red, green, blue = np.clip(np.nan_to_num(known.color.rgba[:3]), 0, 1).tolist()
    return (red, green, blue), material.name or ""
