from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from taskgan_ros.robot.arm import load_arm
from taskgan_ros.robot.kinematics import forward, position_jacobian, rotation_from_rpy, tip_position

ARM = load_arm("mico")
PLANAR = """
name: planar
joints:
  - {name: shoulder, origin_xyz: [0, 0, 0.5], origin_rpy: [0, 0, 0], max_velocity: 1, max_acceleration: 1}
  - {name: elbow, origin_xyz: [0.4, 0, 0], origin_rpy: [0, 0, 0], max_velocity: 1, max_acceleration: 1}
tip: {xyz: [0.3, 0, 0], rpy: [0, 0, 0]}
home: [0, 0]
materials: {}
base: []
links: [[], []]
"""


def random_configurations(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-np.pi, np.pi, (count, len(ARM.joints)))


def test_the_tip_is_where_the_vendor_says() -> None:
    np.testing.assert_allclose(tip_position(ARM, [np.pi] * 6), [0, 0.2567, 0.6727], atol=1e-4)
    np.testing.assert_allclose(tip_position(ARM, ARM.home), [0.2149, -0.2034, 0.4188], atol=1e-4)


def test_an_arm_of_two_joints_moves_as_geometry_says(tmp_path: Path) -> None:
    (tmp_path / "planar.yaml").write_text(PLANAR)
    planar = load_arm(tmp_path / "planar.yaml")
    np.testing.assert_allclose(tip_position(planar, [0, 0]), [0.7, 0, 0.5], atol=1e-12)
    np.testing.assert_allclose(tip_position(planar, [np.pi / 2, 0]), [0, 0.7, 0.5], atol=1e-12)
    np.testing.assert_allclose(tip_position(planar, [np.pi / 2, -np.pi / 2]), [0.3, 0.4, 0.5], atol=1e-12)


def test_many_configurations_at_once_give_the_same_as_one_by_one() -> None:
    q = random_configurations(6)
    poses = forward(ARM, q.reshape(2, 3, 6))
    assert poses.shape == (2, 3, 4, 4)
    np.testing.assert_allclose(poses.reshape(6, 4, 4), [forward(ARM, row) for row in q], atol=1e-12)
    np.testing.assert_allclose(position_jacobian(ARM, q), [position_jacobian(ARM, row) for row in q], atol=1e-12)


def test_the_jacobian_is_the_derivative_of_the_tips_position() -> None:
    step = 1e-6 * np.eye(6)
    for q in random_configurations(20):
        difference = (tip_position(ARM, q + step) - tip_position(ARM, q - step)) / 2e-6
        np.testing.assert_allclose(position_jacobian(ARM, q), difference.T, atol=1e-8)


def test_roll_comes_before_yaw() -> None:
    axes = rotation_from_rpy([np.pi / 2, 0, np.pi / 2]).T  # where x, y and z end, worked out by hand
    np.testing.assert_allclose(axes, [[0, 1, 0], [0, 0, 1], [1, 0, 0]], atol=1e-12)


def test_a_configuration_of_another_arm_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected joint_pos \(\.\.\., 6\) for mico, got \(7,\)"):
        forward(ARM, np.zeros(7))
