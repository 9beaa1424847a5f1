"""Forward kinematics of a serial arm, batched, and the position Jacobian that inverse kinematics needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.robot.arm import Arm

Array = NDArray[np.float64]


def rotation_from_rpy(rpy: ArrayLike) -> Array:
    """Return the (3, 3) rotation Rz(yaw) Ry(pitch) Rx(roll) of fixed-axis angles in rad, URDF's convention."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    roll = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    pitch = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return yaw @ pitch @ roll


def _transform(xyz: ArrayLike, rpy: ArrayLike) -> Array:
    transform = np.eye(4)
    transform[:3, :3] = rotation_from_rpy(rpy)
    transform[:3, 3] = xyz
    return transform


def joint_frames(arm: Arm, joint_pos: ArrayLike) -> Array:
    """Return the pose of every joint's turned frame and, last, of the tip, in the arm's base frame.

    Args:
        arm: n joints.
        joint_pos: (..., n) rad.

    Returns:
        (n + 1, ..., 4, 4) homogeneous transforms.

    Raises:
        ValueError: the last axis is not n long.
    """
    q = np.asarray(joint_pos, dtype=np.float64)
    if q.shape[-1:] != (len(arm.joints),):
        raise ValueError(f"expected joint_pos (..., {len(arm.joints)}) for {arm.name}, got {q.shape}")
    pose = np.broadcast_to(np.eye(4), (*q.shape[:-1], 4, 4))
    frames = []
    for i, joint in enumerate(arm.joints):
        turn = np.zeros((*q.shape[:-1], 4, 4))
        turn[..., 0, 0] = turn[..., 1, 1] = np.cos(q[..., i])
        turn[..., 1, 0] = np.sin(q[..., i])
        turn[..., 0, 1] = -turn[..., 1, 0]
        turn[..., 2, 2] = turn[..., 3, 3] = 1
        pose = pose @ _transform(joint.origin_xyz, joint.origin_rpy) @ turn
        frames.append(pose)
    frames.append(pose @ _transform(arm.tip.xyz, arm.tip.rpy))
    return np.stack(frames)


def forward(arm: Arm, joint_pos: ArrayLike) -> Array:
    """Return the tip's pose (..., 4, 4) in the base frame at `joint_pos` (..., n) rad."""
    tip: Array = joint_frames(arm, joint_pos)[-1]
    return tip


def tip_position(arm: Arm, joint_pos: ArrayLike) -> Array:
    """Return the tip's position (..., 3) in m in the base frame at `joint_pos` (..., n) rad."""
    return forward(arm, joint_pos)[..., :3, 3]


def position_jacobian(arm: Arm, joint_pos: ArrayLike) -> Array:
    """Return d(tip position) / d(joint_pos) as (..., 3, n) in m/rad: each column is axis x (tip - joint)."""
    frames = joint_frames(arm, joint_pos)
    tip = frames[-1][..., :3, 3]
    columns = [np.cross(frame[..., :3, 2], tip - frame[..., :3, 3]) for frame in frames[:-1]]
    return np.stack(columns, axis=-1)
