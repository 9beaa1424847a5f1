"""Inverse kinematics: damped least squares on the tip's position and, optionally, the tool's direction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.kinematics import forward, jacobian, position_jacobian, tip_position

Array = NDArray[np.float64]

_STEPS = 100
_DAMPING = 1e-4  # m^2: small against the Jacobian's square (0.1), enough to pass singular poses
_TOLERANCE_M = 1e-5
_STEP_RAD = 0.3  # keeps the solution on the branch it started on
_MARGIN_RAD = 0.05  # from a limit, so that the arm can still move in every direction
_MARGIN_SHARE = 0.1  # of the range, if that is less: a slide of 20 cm has no 5 to spare
_POINTING_M = 0.3  # what a radian of the tool's direction is worth in metres: a forearm's length


def solve_position(arm: Arm, goal: Array, start: Array, driven: NDArray[np.intp]) -> Array | None:
    """Return the configuration (n,) near `start` (n,) that puts the tip on `goal` (3,) m; None if 100 steps do not.

    Only the joints with indices `driven` move. The result is deterministic and ignores joint limits.
    """
    q = np.array(start, dtype=np.float64)
    for _ in range(_STEPS):
        error = goal - tip_position(arm, q)
        if np.linalg.norm(error) < _TOLERANCE_M:
            return q
        part = position_jacobian(arm, q)[:, driven]
        step = part.T @ np.linalg.solve(part @ part.T + _DAMPING * np.eye(3), error)
        q[driven] += np.clip(step, -_STEP_RAD, _STEP_RAD)
    return None


def solve_pointing(arm: Arm, goal: Array, tool: Array, direction: Array, start: Array) -> tuple[Array, float]:
    """Return a configuration inside the limits that puts the tip near `goal` and points the tool along `direction`.

    Args:
        arm: all of its joints move.
        goal: (3,) m.
        tool: (3,) unit vector in the tip's frame.
        direction: (3,) unit vector in the base's frame.
        start: (n,) where to begin.

    Returns:
        The best configuration found (n,), and its residual in m; one radian counts as 0.3 m.
    """
    margin = np.minimum(_MARGIN_RAD, _MARGIN_SHARE * (arm.upper - arm.lower))
    lower, upper = arm.lower + margin, arm.upper - margin
    q = np.clip(start, lower, upper)
    best, left = q, np.inf
    for _ in range(_STEPS):
        pose, whole = forward(arm, q), jacobian(arm, q)
        axis = pose[:3, :3] @ tool
        error = np.concatenate([goal - pose[:3, 3], _POINTING_M * (direction - axis)])
        if (now := float(np.linalg.norm(error))) < left:
            best, left = q, now
        turning = np.cross(whole[3:].T, axis).T  # the axis moves as angular velocity x axis
        rows = np.vstack([whole[:3], _POINTING_M * turning])
        step = rows.T @ np.linalg.solve(rows @ rows.T + _DAMPING * np.eye(6), error)
        q = np.clip(q + np.clip(step, -_STEP_RAD, _STEP_RAD), lower, upper)
    return best, left
