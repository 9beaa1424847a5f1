"""Forward kinematics of a serial arm, batched, and the Jacobian that inverse kinematics needs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.units import Vector3

Array = NDArray[np.float64]


def rotation_from_rpy(rpy: ArrayLike) -> Array:
    """Return the (3, 3) rotation Rz(yaw) Ry(pitch) Rx(roll) of fixed-axis angles in rad, URDF's convention."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    roll = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    pitch = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return yaw @ pitch @ roll


def rpy_from_rotation(rotation: ArrayLike) -> tuple[float, float, float]:
    """Return the roll, pitch and yaw in rad of a (3, 3) rotation: `rotation_from_rpy` inverted, at any pitch."""
    r = np.asarray(rotation, dtype=np.float64)
    pitch, yaw = np.arctan2(-r[2, 0], np.hypot(r[0, 0], r[1, 0])), np.arctan2(r[1, 0], r[0, 0])
    sine, cosine = np.sin(yaw), np.cos(yaw)
    roll = np.arctan2(sine * r[0, 2] - cosine * r[1, 2], cosine * r[1, 1] - sine * r[0, 1])
    return float(roll), float(pitch), float(yaw)


def transform(xyz: ArrayLike, rpy: ArrayLike) -> Array:
    """Return the pose (4, 4) at `xyz` (3,) m, turned by `rpy` (3,) rad."""
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_rpy(rpy)
    pose[:3, 3] = xyz
    return pose


@lru_cache(maxsize=1024)
def _constant(xyz: Vector3, rpy: Vector3) -> Array:
    """Return the `transform` of an arm's numbers, made once: a robot asks for it with every command."""
    pose = transform(xyz, rpy)
    pose.flags.writeable = False
    return pose


def joint_motion(is_prismatic: bool, axis: ArrayLike, position: ArrayLike) -> Array:
    """Return the motion (..., 4, 4) of a joint at `position` (...) rad or m about or along the unit `axis` (3,).

    A turn is Rodrigues' formula.
    """
    k, q = np.asarray(axis, dtype=np.float64), np.asarray(position, dtype=np.float64)[..., None, None]
    motion = np.zeros((*q.shape[:-2], 4, 4)) + np.eye(4)
    if is_prismatic:
        motion[..., :3, 3] = q[..., 0] * k
        return motion
    cross = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    motion[..., :3, :3] = np.cos(q) * np.eye(3) + np.sin(q) * cross + (1 - np.cos(q)) * np.outer(k, k)
    return motion


def joint_frames(arm: Arm, joint_pos: ArrayLike) -> Array:
    """Return the pose of every joint's moved frame and, last, of the tip, in the arm's base frame.

    Args:
        arm: m joints, n of which follow no other.
        joint_pos: (..., n) rad or m.

    Returns:
        (m + 1, ..., 4, 4) homogeneous transforms.

    Raises:
        ValueError: the last axis is not n long.
    """
    q = np.asarray(joint_pos, dtype=np.float64)
    if q.shape[-1:] != (len(arm.joint_names),):
        raise ValueError(f"expected joint_pos (..., {len(arm.joint_names)}) for {arm.name}, got {q.shape}")
    factors, offsets = arm.coupling
    positions = q @ factors.T + offsets
    pose = np.broadcast_to(np.eye(4), (*q.shape[:-1], 4, 4))
    frames = []
    for i, joint in enumerate(arm.joints):
        motion = joint_motion(joint.kind == "prismatic", joint.unit_axis, positions[..., i])
        pose = pose @ _constant(joint.origin_xyz, joint.origin_rpy) @ motion
        frames.append(pose)
    frames.append(pose @ _constant(arm.tip.xyz, arm.tip.rpy))
    return np.stack(frames)


def is_clear(arm: Arm, joint_pos: Array, lowest_m: float) -> bool:
    """Return whether the arm at `joint_pos` (n,) is within its limits, and no joint but the first below `lowest_m`.

    The tip must not be below it either.
    """
    within = np.all(joint_pos >= arm.lower) and np.all(joint_pos <= arm.upper)
    return bool(within and joint_frames(arm, joint_pos)[1:, 2, 3].min() >= lowest_m)


def forward(arm: Arm, joint_pos: ArrayLike) -> Array:
    """Return the tip's pose (..., 4, 4) in the base frame at `joint_pos` (..., n) rad."""
    tip: Array = joint_frames(arm, joint_pos)[-1]
    return tip


def tip_position(arm: Arm, joint_pos: ArrayLike) -> Array:
    """Return the tip's position (..., 3) in m in the base frame at `joint_pos` (..., n) rad."""
    return forward(arm, joint_pos)[..., :3, 3]


def position_jacobian(arm: Arm, joint_pos: ArrayLike) -> Array:
    """Return d(tip position) / d(joint_pos) as (..., 3, n) in m/rad, m/m for prismatic joints."""
    return jacobian(arm, joint_pos)[..., :3, :]


def jacobian(arm: Arm, joint_pos: ArrayLike) -> Array:
    """Return the tip's geometric Jacobian (..., 6, n) in the base frame: linear velocity, then angular.

    A turning joint's column is [axis x (tip - joint), axis], a sliding one's [axis, 0]; a joint that follows another
    adds to that one's column.
    """
    frames = joint_frames(arm, joint_pos)
    tip = frames[-1][..., :3, 3]
    columns = []
    for joint, frame in zip(arm.joints, frames, strict=False):
        axis = frame[..., :3, :3] @ joint.unit_axis
        if joint.kind == "prismatic":
            columns.append(np.concatenate([axis, np.zeros_like(axis)], axis=-1))
        else:
            columns.append(np.concatenate([np.cross(axis, tip - frame[..., :3, 3]), axis], axis=-1))
    return np.stack(columns, axis=-1) @ arm.coupling[0]
