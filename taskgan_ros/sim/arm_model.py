"""A robot as MuJoCo bodies: what its description is drawn with, moved by the joints of its arm."""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.board import parse_board, print_board
from taskgan_ros.robot.description import Description, Mesh, Visual, root_in_base
from taskgan_ros.robot.headless import mujoco
from taskgan_ros.sim.renderer import quaternion
from taskgan_ros.tasks.state import Object

Array = NDArray[np.float64]

_KINDS = {
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "mesh": mujoco.mjtGeom.mjGEOM_MESH,
}
_LEAST_INERTIA = 1e-6  # kg and kg m²: MuJoCo refuses moving bodies without any, and a link may have no shapes
_FLATTEST = 1e-5  # a mesh thinner than this, as a share of its extent, has no convex hull for the compiler
_THINNEST_M = 1e-6
_TURN = (5**0.5 - 1) / 2  # of the hue from one link to the next: no two of a few dozen come near (golden ratio)
_SPECK, _SMALLEST_SPECK_M = 1e-3, 1e-4  # what it gets instead, as a share of its extent: less than a pixel


@dataclass(frozen=True)
class ArmModel:
    """What `add_arm` has put into the world.

    Attributes:
        joints: MuJoCo's names of the joints that move.
        factors, offsets: (j, n) and (j,), which map the positions of the arm's n joints to those of `joints`.
        geoms: names, in the order of the description's visuals.
        kinds: of each geom; a board is one, though drawn as a box.
        materials: MuJoCo's names.
        colors: (m, 3), of each material.
    """

    joints: tuple[str, ...]
    factors: Array
    offsets: Array
    geoms: tuple[str, ...]
    kinds: tuple[str, ...]
    materials: tuple[str, ...]
    colors: Array


def own_name(name: str) -> str:
    """Return the MuJoCo name of a joint, body or material of the arm; no other object in the model has it."""
    return f"arm/{name}"


def add_arm(
    spec: mujoco.MjSpec, arm: Arm, description: Description, held: Mapping[str, float] | None = None
) -> ArmModel:
    """Add a robot to the world, the arm's base at its origin.

    Args:
        spec: to add to.
        arm: whose joints move.
        description: with its meshes read.
        held: where joints stand that are not the arm's; as the arm's model says where left out.
    """
    spec.compiler.boundmass = spec.compiler.boundinertia = _LEAST_INERTIA
    colors = {visual.material: visual.rgb for link in description.links for visual in link.visuals if visual.rgb}
    materials = dict.fromkeys((*arm.materials, *colors))  # an arm's own come in its file's order
    for name in materials:
        add_material(spec, own_name(name), arm.materials.get(name) or colors[name])
    for visual in (visual for link in description.links for visual in link.visuals if visual.pattern):
        _add_pattern(spec, visual)
    joints, geoms = _add_links(spec, arm, description, held or {})
    coupling = {name: k for k, name in enumerate(arm.joint_names)}
    factors, offsets = np.zeros((len(joints), len(coupling))), np.zeros(len(joints))
    for row, name in enumerate(joints):
        leader, factor, offset = description.leader(name)
        factors[row, coupling[leader]], offsets[row] = factor, offset
    rgb = [arm.materials.get(name) or colors[name] for name in materials]
    return ArmModel(
        tuple(map(own_name, joints)),
        factors,
        offsets,
        tuple(geoms),
        tuple("board" if visual.pattern else visual.kind for link in description.links for visual in link.visuals),
        tuple(map(own_name, materials)),
        np.reshape(rgb, (-1, 3)),
    )


def colored_by_link(description: Description) -> Description:
    """Return the robot with a colour for each link in place of its materials, boards apart; neighbours differ."""
    links = [
        dataclasses.replace(link, visuals=tuple(
            visual if visual.pattern else dataclasses.replace(visual, material=f"link {k}", rgb=_link_rgb(k))
            for visual in link.visuals
        ))
        for k, link in enumerate(description.links)
    ]  # fmt: skip
    return dataclasses.replace(description, links=tuple(links))


def _link_rgb(k: int) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(k * _TURN % 1, 0.9, (1.0, 0.7)[k % 2])


def add_material(spec: mujoco.MjSpec, name: str, rgb: tuple[float, float, float]) -> mujoco.MjsMaterial:
    """Add a matt material of this colour in [0, 1] and return it."""
    return spec.add_material(name=name, rgba=[*rgb, 1.0], specular=0.0, shininess=0.5)


def _add_pattern(spec: mujoco.MjSpec, board: Visual) -> None:
    """Print a board's pattern on its box's material; a flat texture lies across x and y, its first row at the top."""
    name = own_name(board.material)
    if spec.texture(name) is not None:  # two alike
        return
    image = print_board(parse_board(board.pattern), 2 * board.size[0], 2 * board.size[1])
    texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, nchannel=3)
    texture.height, texture.width = image.shape
    texture.data = np.repeat(image[..., None], 3, axis=2).tobytes()
    spec.material(name).textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _add_links(
    spec: mujoco.MjSpec, arm: Arm, description: Description, held: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """Add a body for each joint that moves with the arm; all else is part of the body before it."""
    at = {**arm.positions(arm.home), **held}
    positions, root = description.positions(at), root_in_base(arm, description, at)
    places: dict[str | None, tuple[mujoco.MjsBody, Array]] = {None: (spec.worldbody, root)}
    joints: list[str] = []
    geoms: list[str] = []
    for link in description.links:
        body, pose = places[link.parent]
        pose, joint = pose @ link.origin, link.joint
        if joint and joint.is_moving and description.leader(joint.name)[0] in arm.joint_names:
            body = body.add_body(
                name=own_name(joint.name), pos=pose[:3, 3].tolist(), quat=quaternion(pose[:3, :3]).tolist()
            )
            slides = joint.kind == "prismatic"
            kind = mujoco.mjtJoint.mjJNT_SLIDE if slides else mujoco.mjtJoint.mjJNT_HINGE
            body.add_joint(name=own_name(joint.name), type=kind, axis=joint.axis.tolist())
            joints.append(joint.name)
            pose = np.eye(4)
        elif joint and joint.is_moving:
            pose = pose @ joint.at(positions[joint.name])
        places[link.name] = body, pose
        for visual in link.visuals:
            geoms.append(_add_visual(spec, body, pose, visual, len(geoms)))
    return joints, geoms


def _add_visual(spec: mujoco.MjSpec, body: mujoco.MjsBody, place: Array, visual: Visual, count: int) -> str:
    pose, name = place @ visual.pose, f"arm{count}"
    geom = body.add_geom(name=name, type=_KINDS[visual.kind], material=own_name(visual.material))
    geom.pos, geom.quat = pose[:3, 3].tolist(), quaternion(pose[:3, :3]).tolist()
    geom.contype = geom.conaffinity = 0
    if not isinstance(visual.mesh, Mesh):
        geom.size = list(visual.size)
        return name
    _add_mesh(spec, geom, name, visual.mesh)
    return name


def _add_mesh(spec: mujoco.MjSpec, geom: mujoco.MjsGeom, name: str, triangles: Mesh) -> None:
    vertices, faces = _with_body(triangles)
    mesh = spec.add_mesh(name=name, uservert=vertices.flatten().tolist(), userface=faces.flatten().tolist())
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # a mesh with holes may have no volume
    geom.meshname = name


def _with_body(mesh: Mesh) -> tuple[Array, NDArray[np.int32]]:
    """Return a mesh's vertices and faces; a flat one gets a speck of volume, which the compiler requires."""
    thickness = np.linalg.svd(mesh.vertices - mesh.vertices.mean(axis=0), full_matrices=False)[1]
    if len(thickness) == 3 and thickness[-1] > max(_FLATTEST * thickness[0], _THINNEST_M):
        return mesh.vertices, mesh.faces
    side = max(_SPECK * float(np.ptp(mesh.vertices, axis=0).max()), _SMALLEST_SPECK_M)
    speck = mesh.vertices[0] + side * np.vstack([np.zeros(3), np.eye(3)])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32) + len(mesh.vertices)
    return np.vstack([mesh.vertices, speck]), np.vstack([mesh.faces, faces])


def add_object(spec: mujoco.MjSpec, thing: Object) -> None:
    """Add a body that can be put anywhere, centred on the object's half height; both have the object's name."""
    body = spec.worldbody.add_body(name=thing.name, mocap=True)
    geom = body.add_geom(name=thing.name, type=_KINDS[thing.kind], material=thing.surface)
    if thing.mesh is None:
        x, y, z = thing.half_size
        geom.size = [x, z, 0] if thing.kind == "cylinder" else [x, y, z]
        return
    lowest, highest = thing.mesh.vertices.min(axis=0), thing.mesh.vertices.max(axis=0)
    centred = Mesh(thing.mesh.vertices - (lowest + highest) / 2, thing.mesh.faces)
    _add_mesh(spec, geom, thing.name, centred)


class ThickMesh:
    """A compiled mesh that can be drawn thicker or thinner; a link's length is kinematics, so that stays.

    Attributes:
        mesh: its number in the model.
    """

    def __init__(self, model: mujoco.MjModel, mesh: int) -> None:
        """Store the vertices, and the axes to thicken along: all of the mesh's own but the longest."""
        self.mesh, self._drawn = mesh, 1.0
        self._rows = slice(model.mesh_vertadr[mesh], model.mesh_vertadr[mesh] + model.mesh_vertnum[mesh])
        self._vertices = model.mesh_vert[self._rows].copy()
        self._across = np.ptp(self._vertices, axis=0) < np.ptp(self._vertices, axis=0).max()

    def scale(self, model: mujoco.MjModel, thickness: float) -> bool:
        """Make it `thickness` times as thick as it is; return whether that changes the model's vertices."""
        if thickness == self._drawn:
            return False
        self._drawn = thickness
        model.mesh_vert[self._rows] = self._vertices * np.where(self._across, thickness, 1.0)
        return True


def self_collisions(arm: Arm, description: Description, depth_m: float) -> list[tuple[str, str]]:
    """Return the pairs of moving parts that overlap at the arm's home, their convex hulls by `depth_m` or more.

    Parts that one joint connects are left out: they touch. A part is called by the joint that moves it.
    """
    spec = mujoco.MjSpec()
    built = add_arm(spec, arm, description)
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 1
    try:
        model = spec.compile()
    except ValueError as error:
        raise InputError(f"{description.source}: expected shapes, got: {' '.join(str(error).split())}") from error
    data = mujoco.MjData(model)
    joints = [model.joint(name).qposadr[0] for name in built.joints]
    data.qpos[joints] = built.factors @ np.array(arm.home) + built.offsets
    mujoco.mj_forward(model, data)
    touching = {(int(contact.geom[0]), int(contact.geom[1])) for contact in data.contact if contact.dist < -depth_m}
    pairs = set[tuple[str, str]]()
    for geoms in sorted(touching):
        one, other = sorted(int(model.geom_bodyid[k]) for k in geoms)
        names = [model.body(k).name.removeprefix(own_name("")) for k in (one, other)]
        pair = names[0], names[1]
        if pair not in pairs and model.body_parentid[other] != one and _surfaces_meet(model, data, *geoms):
            pairs.add(pair)
    return sorted(pairs)


def _surfaces_meet(model: mujoco.MjModel, data: mujoco.MjData, one: int, other: int) -> bool:
    """Return whether two geoms whose hulls overlap do so themselves: meshes may be hollow or bent."""
    if not np.all(model.geom_type[[one, other]] == mujoco.mjtGeom.mjGEOM_MESH):
        return True
    first, second = (_triangles(model, data, k) for k in (one, other))
    lowest = np.maximum(first.min(axis=(0, 1)), second.min(axis=(0, 1)))
    highest = np.minimum(first.max(axis=(0, 1)), second.max(axis=(0, 1)))
    near = [
        part[np.all((part.min(axis=1) <= highest) & (part.max(axis=1) >= lowest), axis=1)] for part in (first, second)
    ]
    return _edges_cross(near[0], near[1]) or _edges_cross(near[1], near[0])


def _triangles(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> Array:
    """Return the corners (f, 3, 3) m of a mesh geom's triangles in the world."""
    mesh = model.geom_dataid[geom]
    vertices = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]].astype(np.float64)
    faces = model.mesh_face[model.mesh_faceadr[mesh] :][: model.mesh_facenum[mesh]]
    placed: Array = (vertices @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])[faces]
    return placed


def _edges_cross(edged: Array, crossed: Array) -> bool:
    """Return whether an edge of the triangles `edged` (e, 3, 3) m passes through one of `crossed` (f, 3, 3) m.

    By Möller and Trumbore's test, one triangle's edges at a time.
    """
    corner, along, across = crossed[:, 0], crossed[:, 1] - crossed[:, 0], crossed[:, 2] - crossed[:, 0]
    for triangle in edged:
        start = triangle[:, None]  # (3, 1, 3): each edge meets every triangle
        edge = np.roll(triangle, -1, axis=0)[:, None] - start
        normal = np.cross(edge, across)
        with np.errstate(divide="ignore", invalid="ignore"):  # edges along a triangle's plane do not cross it
            scale = 1 / np.sum(along * normal, axis=-1)
            offset = start - corner
            u = np.sum(offset * normal, axis=-1) * scale
            turned = np.cross(offset, along)
            v = np.sum(edge * turned, axis=-1) * scale
            t = np.sum(across * turned, axis=-1) * scale
            if np.any((u >= 0) & (v >= 0) & (u + v <= 1) & (t >= 0) & (t <= 1)):
                return True
    return False
