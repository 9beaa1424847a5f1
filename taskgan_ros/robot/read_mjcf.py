"""MJCF → `Description`, by MuJoCo's own parser and compiler."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Mimic
from taskgan_ros.robot.description import DescribedJoint, Description, Kind, Link, Mesh, Visual, make_description
from taskgan_ros.robot.headless import mujoco

Array = NDArray[np.float64]

_WORLD = "world"
_HINGE, _SLIDE, _BALL = mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_BALL
_GEOMS = {
    mujoco.mjtGeom.mjGEOM_BOX: "box",
    mujoco.mjtGeom.mjGEOM_CYLINDER: "cylinder",
    mujoco.mjtGeom.mjGEOM_CAPSULE: "capsule",
    mujoco.mjtGeom.mjGEOM_ELLIPSOID: "ellipsoid",
    mujoco.mjtGeom.mjGEOM_SPHERE: "ellipsoid",
    mujoco.mjtGeom.mjGEOM_MESH: "mesh",
}
_DRAWN_GROUPS = 3  # MuJoCo's viewers show geoms of groups 0 to 2 unless asked for more


def read_mjcf(path: Path) -> Description:
    """Return the robot in an MJCF file: the world is its root, a body with several joints is several links.

    Raises:
        InputError: MuJoCo does not take the file; the message is its own.
    """
    try:
        model = mujoco.MjModel.from_xml_path(str(path))
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{path}: expected an MJCF that MuJoCo takes, got: {' '.join(str(error).split())}") from error
    if model.nbody < 2:
        raise InputError(f"{path}: expected an MJCF with bodies, got none but the world")
    names = _body_names(model)
    visuals = _visuals(model)
    links = [Link(_WORLD, None, np.eye(4))]
    for body in range(1, model.nbody):
        links += _links(model, body, names, visuals)
    frames = {}
    for k in range(model.nsite):
        site = model.site(k)
        if not site.name:
            continue
        frames[site.name] = (names[site.bodyid[0]], _pose(site.pos, site.quat))
    name = Path(path).stem if path.stem not in ("robot", "scene") else path.parent.name
    return make_description(name, str(path), links, frames, _home(model), _loops(model, names))


def _joint_name(model: mujoco.MjModel, k: int) -> str:
    return model.joint(k).name or f"joint{k}"


def _body_names(model: mujoco.MjModel) -> list[str]:
    return [_WORLD] + [model.body(k).name or f"body{k}" for k in range(1, model.nbody)]


def _pose(position: Array, quaternion: Array) -> Array:
    rotation, pose = np.zeros(9), np.eye(4)
    mujoco.mju_quat2Mat(rotation, quaternion)
    pose[:3, :3], pose[:3, 3] = rotation.reshape(3, 3), position
    return pose


def _shift(offset: Array) -> Array:
    pose = np.eye(4)
    pose[:3, 3] = offset
    return pose


def _links(model: mujoco.MjModel, body: int, names: list[str], visuals: dict[int, Visual]) -> list[Link]:
    """Return a link for each joint of the body, at its anchor, and the body's own, which has the visuals.

    In the body's frame a joint turns about its anchor: shift there, turn, shift back; the next one follows.
    """
    parent, origin = names[model.body_parentid[body]], _pose(model.body_pos[body], model.body_quat[body])
    links = []
    first = model.body_jntadr[body]
    for k in range(first, first + model.body_jntnum[body]):
        joint, anchor = _joint(model, k), model.jnt_pos[k]
        name = f"{names[body]}/{joint.name}"
        origin = origin @ _shift(anchor)
        if joint.is_moving:
            origin = origin @ joint.at(-model.qpos0[model.jnt_qposadr[k]])  # MuJoCo poses bodies at qpos0, not at zero
        links.append(Link(name, parent, origin, joint))
        parent, origin = name, _shift(-anchor)
    own = range(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body])
    drawn = tuple(visuals[geom] for geom in own if geom in visuals)
    fixed = DescribedJoint(f"{names[body]}/fixed", "fixed", np.array([0, 0, 1.0]))
    return [*links, Link(names[body], parent, origin, fixed, drawn)]


def _joint(model: mujoco.MjModel, k: int) -> DescribedJoint:
    limited = bool(model.jnt_limited[k])
    kind: Kind = {_HINGE: "revolute" if limited else "continuous", _SLIDE: "prismatic", _BALL: "ball"}.get(
        mujoco.mjtJoint(model.jnt_type[k]), "floating"
    )
    lower, upper = model.jnt_range[k].tolist() if limited else (-math.inf, math.inf)
    if (held := _held(model, k)) is not None:
        kind, lower, upper = "prismatic" if kind == "prismatic" else "revolute", held, held
    curves = [model.eq_data[e, 2:5].any() for e in _joint_equalities(model, k) if model.eq_obj2id[e] >= 0]
    name, axis = _joint_name(model, k), model.jnt_axis[k].copy()
    return DescribedJoint(name, kind, axis, lower, upper, None, _mimic(model, k), any(curves))


def _joint_equalities(model: mujoco.MjModel, k: int) -> list[int]:
    """Return the active equalities that hold joint `k` by a polynomial."""
    return [
        e
        for e in range(model.neq)
        if model.eq_type[e] == mujoco.mjtEq.mjEQ_JOINT and model.eq_obj1id[e] == k and model.eq_active0[e]
    ]


def _held(model: mujoco.MjModel, k: int) -> float | None:
    """Return where an equality with no other joint holds joint `k`, rad or m; None if nothing does."""
    alone = [e for e in _joint_equalities(model, k) if model.eq_obj2id[e] < 0]
    return float(model.qpos0[model.jnt_qposadr[k]] + model.eq_data[alone[0], 0]) if alone else None


def _mimic(model: mujoco.MjModel, k: int) -> Mimic | None:
    """Return the joint that an equality makes this one follow, if the relation is linear."""
    for e in _joint_equalities(model, k):
        leader, curve = model.eq_obj2id[e], model.eq_data[e, :5]
        if leader >= 0 and not curve[2:].any():  # q - q0 = c0 + c1 (leader - its q0)
            here, there = (model.qpos0[model.jnt_qposadr[j]] for j in (k, leader))
            offset = float(here + curve[0] - curve[1] * there)
            return Mimic(joint=_joint_name(model, leader), multiplier=float(curve[1]), offset=offset)
    return None


def _loops(model: mujoco.MjModel, names: list[str]) -> list[tuple[str, str]]:
    """Return the pairs of bodies that an equality holds together."""
    loops = []
    for e in range(model.neq):
        if mujoco.mjtEq(model.eq_type[e]) not in (mujoco.mjtEq.mjEQ_CONNECT, mujoco.mjtEq.mjEQ_WELD):
            continue
        if not model.eq_active0[e]:
            continue
        ends = model.eq_obj1id[e], model.eq_obj2id[e]
        if model.eq_objtype[e] == mujoco.mjtObj.mjOBJ_SITE:
            ends = tuple(model.site_bodyid[list(ends)])
        loops.append((names[ends[0]], names[ends[1]]))
    return loops


def _home(model: mujoco.MjModel) -> dict[str, float]:
    """Return the joints of the keyframe `home`, or the first one."""
    keys = [model.key(k).name for k in range(model.nkey)]
    if not keys:
        return {}
    positions = model.key_qpos[keys.index("home") if "home" in keys else 0]
    simple = [k for k in range(model.njnt) if mujoco.mjtJoint(model.jnt_type[k]) in (_HINGE, _SLIDE)]
    return {_joint_name(model, k): float(positions[model.jnt_qposadr[k]]) for k in simple}


def _visuals(model: mujoco.MjModel) -> dict[int, Visual]:
    """Return the visuals by geom: those of groups with non-colliding geoms, if there are any."""
    meshes, rgba = [_mesh(model, k) for k in range(model.nmesh)], _rgba(model)
    shown = (model.geom_group < _DRAWN_GROUPS) & (rgba[:, 3] > 0) & (model.geom_bodyid > 0)
    idle = shown & (model.geom_contype == 0) & (model.geom_conaffinity == 0)
    if idle.any():
        shown &= np.isin(model.geom_group, np.unique(model.geom_group[idle]))
    drawn = [int(k) for k in np.flatnonzero(shown) if mujoco.mjtGeom(model.geom_type[k]) in _GEOMS]
    return {k: _visual(model, k, rgba[k], meshes) for k in drawn}


def _rgba(model: mujoco.MjModel) -> Array:
    """Return the colour (g, 4) of each geom: its material's, times the mean of its texture."""
    colors = model.geom_rgba.astype(np.float64)
    for k in np.flatnonzero(model.geom_matid >= 0):
        material = model.geom_matid[k]
        default = np.allclose(colors[k], [0.5, 0.5, 0.5, 1])  # MuJoCo's, which gives way to the material
        colors[k] = model.mat_rgba[material] if default else colors[k]
        texture = model.mat_texid[material][mujoco.mjtTextureRole.mjTEXROLE_RGB]
        if texture >= 0 and model.tex_nchannel[texture] >= 3:
            texels = model.tex_data[model.tex_adr[texture] :][: math.prod(_texture_shape(model, texture))]
            colors[k, :3] *= texels.reshape(-1, model.tex_nchannel[texture])[:, :3].mean(axis=0) / 255
    return colors


def _texture_shape(model: mujoco.MjModel, k: int) -> tuple[int, int, int]:
    return int(model.tex_height[k]), int(model.tex_width[k]), int(model.tex_nchannel[k])


def _visual(model: mujoco.MjModel, k: int, rgba: Array, meshes: list[Mesh]) -> Visual:
    kind = _GEOMS[mujoco.mjtGeom(model.geom_type[k])]
    red, green, blue = rgba[:3].clip(0, 1).tolist()
    pose, size = _pose(model.geom_pos[k], model.geom_quat[k]), model.geom_size[k].tolist()
    material = model.mat(model.geom_matid[k]).name if model.geom_matid[k] >= 0 else ""
    if kind == "mesh":
        return Visual("mesh", pose, (0, 0, 0), (red, green, blue), material, meshes[model.geom_dataid[k]])
    if model.geom_type[k] == mujoco.mjtGeom.mjGEOM_SPHERE:
        size = [size[0]] * 3
    return Visual(kind, pose, tuple(size), (red, green, blue), material)  # type: ignore[arg-type]


def _mesh(model: mujoco.MjModel, k: int) -> Mesh:
    vertices = model.mesh_vert[model.mesh_vertadr[k] :][: model.mesh_vertnum[k]]
    faces = model.mesh_face[model.mesh_faceadr[k] :][: model.mesh_facenum[k]]
    return Mesh(vertices.astype(np.float64), faces.astype(np.int32))
