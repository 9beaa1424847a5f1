"""Forward kinematics of a serial arm, batched, and the Jacobian that inverse kinematics needs."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate

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
    """Return the `transform` of an arm's numbers, cached: it is needed at every command."""
    pose = transform(xyz, rpy)
    pose.flags.writeable = False
    return pose


@lru_cache(maxsize=1024)
def _terms(xyz: Vector3, rpy: Vector3, axis: Vector3, is_prismatic: bool) -> Array:
    """Return (3, 16) terms: a joint's frame in the previous one is their sum, weighted by `_weights`."""
    terms: Array = (transform(xyz, rpy) @ _motion_terms(is_prismatic, np.array(axis) / np.linalg.norm(axis))).reshape(
        3, 16
    )
    terms.flags.writeable = False
    return terms


def _motion_terms(is_prismatic: bool, axis: Array) -> Array:
    """Return (3, 4, 4) terms: the motion about or along the unit `axis` (3,) is their sum, weighted by `_weights`.

    A turn is Rodrigues' formula: I + sin q K + (1 - cos q) K², with K the cross product by the axis.
    """
    x, y, z = axis
    cross, along = np.zeros((4, 4)), np.zeros((4, 4))
    cross[:3, :3], along[:3, 3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]], axis
    square, whole, none = cross @ cross, np.eye(4), np.zeros((4, 4))
    return np.stack((whole, along, none) if is_prismatic else (whole + square, -square, cross))


def _weights(is_prismatic: ArrayLike, positions: Array) -> Array:
    """Return (..., 3) at positions (...) rad or m: [1, cos q, sin q], or [1, q, 0] of prismatic joints' terms."""
    return np.stack(
        [np.ones_like(positions), np.where(is_prismatic, positions, np.cos(positions)), np.sin(positions)], axis=-1
    )


def joint_motion(is_prismatic: bool, axis: ArrayLike, position: ArrayLike) -> Array:
    """Return the motion (..., 4, 4) of a joint at `position` (...) rad or m about or along the unit `axis` (3,)."""
    weights = _weights(is_prismatic, np.asarray(position, np.float64))
    motion: Array = np.tensordot(weights, _motion_terms(is_prismatic, np.asarray(axis, np.float64)), axes=1)
    return motion


def joint_frames(arm: Arm, joint_pos: ArrayLike) -> Array:
    """Return the pose of every joint's moved frame and, last, of the tip, in the arm's base frame.

    Args:
        arm: m joints, n of which are independent.
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
    frames = list(accumulate(_motions(arm, q.reshape(-1, q.shape[-1]) @ factors.T + offsets), np.matmul))
    frames.append(frames[-1] @ _constant(arm.tip.xyz, arm.tip.rpy))
    return np.stack(frames).reshape(len(frames), *q.shape[:-1], 4, 4)


def _motions(arm: Arm, positions: Array) -> Array:
    """Return each joint's frame in the previous one (m, N, 4, 4) at `positions` (N, m) of all joints."""
    weights = _weights([joint.kind == "prismatic" for joint in arm.joints], positions).swapaxes(0, 1)
    terms = [_terms(joint.origin_xyz, joint.origin_rpy, joint.axis, joint.kind == "prismatic") for joint in arm.joints]
    return (weights @ np.stack(terms)).reshape(len(terms), len(positions), 4, 4)


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
