"""An arm as MuJoCo bodies: its joints where `kinematics` puts them, its shapes as plain geoms."""

from __future__ import annotations

import mujoco
import numpy as np

from taskgan_ros.robot.arm import Arm, Shape
from taskgan_ros.robot.kinematics import rotation_from_rpy

_KINDS = {
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    "box": mujoco.mjtGeom.mjGEOM_BOX,
}


_LEAST_INERTIA = 1e-6  # kg and kg m²: MuJoCo refuses moving bodies without any, and a link may have no shapes


def own_name(name: str) -> str:
    """Return the MuJoCo name of a joint, body or material of the arm; no other object in the model has it."""
    return f"arm/{name}"


def add_arm(spec: mujoco.MjSpec, arm: Arm) -> None:
    """Add the arm to the world: joints by `own_name`, geoms `arm0`, `arm1`, … in the order of `arm.shapes`."""
    spec.compiler.boundmass = spec.compiler.boundinertia = _LEAST_INERTIA
    for name, rgb in arm.materials.items():
        add_material(spec, own_name(name), rgb)
    count = _add_shapes(spec.worldbody, arm.base, 0)
    body = spec.worldbody
    for joint, shapes in zip(arm.joints, arm.links, strict=True):
        name = own_name(joint.name)
        body = body.add_body(name=name, pos=list(joint.origin_xyz), quat=_quaternion(joint.origin_rpy))
        body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1])
        count = _add_shapes(body, shapes, count)


def add_material(spec: mujoco.MjSpec, name: str, rgb: tuple[float, float, float]) -> mujoco.MjsMaterial:
    """Add a matt material of this colour in [0, 1] and return it."""
    return spec.add_material(name=name, rgba=[*rgb, 1.0], specular=0.0, shininess=0.5)


def _quaternion(rpy: tuple[float, float, float]) -> list[float]:
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, rotation_from_rpy(rpy).flatten())
    return quaternion.tolist()


def _add_shapes(body: mujoco.MjsBody, shapes: tuple[Shape, ...], count: int) -> int:
    for shape in shapes:
        geom = body.add_geom(name=f"arm{count}", type=_KINDS[shape.kind], material=own_name(shape.material))
        if shape.start is not None and shape.end is not None and shape.radius is not None:
            geom.fromto, geom.size = [*shape.start, *shape.end], [shape.radius, 0, 0]
        elif shape.at is not None and shape.size is not None:
            geom.pos, geom.size = list(shape.at), list(shape.size)
        count += 1
    return count
