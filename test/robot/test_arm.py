from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import load_arm

ARM = load_arm("mico")


def test_the_mico_has_the_vendors_limits() -> None:
    assert ARM.joint_names == tuple(f"m1n6s200_joint_{n}" for n in range(1, 7))
    inf = np.inf
    assert ARM.lower.tolist() == [-inf, 0.8727, 0.6109, -inf, -inf, -inf]
    assert ARM.upper.tolist() == [inf, 5.4105, 5.6723, inf, inf, inf]
    np.testing.assert_allclose(ARM.max_velocity, np.deg2rad([36, 36, 36, 48, 48, 48]), atol=5e-4)


def test_indices_follow_the_order_of_the_names() -> None:
    names = [ARM.joint_names[2], ARM.joint_names[0]]
    assert ARM.indices(names).tolist() == [2, 0]
    with pytest.raises(ValueError, match="not in tuple"):
        ARM.indices(["joint_of_another_arm"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "colour: expected no such field, got 'red'"),
        ({"joints.0.speed": 1.0}, "joints.0.speed: expected no such field, got 1.0"),
        ({"joints.0.name": None}, "joints.0.name: expected this field, got none"),
        ({"tip": None}, "tip: expected this field, got none"),
        ({"joints.2.max_velocity": "fast"}, "joints.2.max_velocity: Input should be a valid number"),
        ({"joints.2.max_velocity": 0}, "joints.2.max_velocity: Input should be greater than 0, got 0"),
        ({"joints.1.origin_xyz": [0, 0]}, "joints.1.origin_xyz.2: expected this field, got none"),
        ({"joints.1.lower": 6.0}, "joints.1: Value error, expected lower < upper, got 6.0 and 5.4105"),
        ({"joints.1.lower": None}, "joints.1: Value error, expected both of lower and upper, or neither"),
        ({"joints.1.lower": float("nan")}, "joints.1.lower: Input should be a finite number, got nan"),
        ({"joints.1.name": "m1n6s200_joint_1"}, "expected joint names that differ, got ['m1n6s200_joint_1', 'm1n6s"),
        ({"joints": []}, "joints: Tuple should have at least 1 item"),
        ({"home": [0.0, 1.0]}, "expected 6 home angles and 6 links, got 2 and 6"),
        ({"base.0.material": "gold"}, "expected materials of ['carbon', 'finger', 'ring', 'shell'], got ['gold']"),
        (
            {"base.0.kind": "cone"},
            "base.0.kind: Input should be 'capsule', 'cylinder', 'ellipsoid' or 'box', got 'cone'",
        ),
        ({"base.0.radius": None}, "base.0: Value error, a cylinder needs from, to, radius; missing radius"),
        (
            {"joints.1.upper": 54.105},
            "m1n6s200_joint_2: expected limits of at most 12.6 rad in magnitude, not degrees",
        ),
        ({"joints.2.lower": -170}, "m1n6s200_joint_3: expected limits of at most 12.6 rad in magnitude, not degrees"),
        (
            {"joints.0.max_velocity": 36},
            "max_velocity: Value error, expected at most 25 rad/s in magnitude, not degrees/s",
        ),
        (
            {"joints.0.max_velocity": 180},
            "max_velocity: Value error, expected at most 25 rad/s in magnitude, not degrees/s",
        ),
        ({"joints.0.max_acceleration": 229}, "max_acceleration: Value error, expected at most 100 rad/s² in magnitude"),
        ({"joints.0.origin_rpy": [0, 180, 0]}, "origin_rpy.1: Value error, expected at most 12.6 rad in magnitude"),
        (
            {"joints.0.origin_xyz": [0, 0, 156.75]},
            "origin_xyz.2: Value error, expected at most 10 m in magnitude, not mm",
        ),
        ({"tip.xyz": [0, 0, -160]}, "tip.xyz.2: Value error, expected at most 10 m in magnitude, not mm"),
        ({"tip.rpy": [180, 0, 90]}, "tip.rpy.0: Value error, expected at most 12.6 rad in magnitude"),
        ({"home": [275, 167, 57, 240, 82, 75]}, "home.0: Value error, expected at most 12.6 rad in magnitude"),
        ({"base.0.radius": 75}, "base.0.radius: Value error, expected at most 1 m in magnitude, not mm"),
        ({"base.0.to": [0, 0, 20]}, "base.0.to.2: Value error, expected at most 10 m in magnitude, not mm"),
        ({"links.5.1.size": [32, 44, 34]}, "links.5.1.size.0: Value error, expected at most 1 m in magnitude, not mm"),
        (
            {"links.0.1.to": [0, 0, -0.075]},
            "links.0.1: Value error, expected a capsule whose from and to differ, got [0.0",
        ),
        (
            {"base.0.to": [0, 0, 0]},
            "base.0: Value error, expected a cylinder whose from and to differ, got [0.0, 0.0, 0.0]",
        ),
        ({"materials.ring": [0, 0, 255]}, "materials.ring.2: Input should be less than or equal to 1, got 255"),
    ],
)
def test_an_arm_file_with_a_fault_is_refused(
    yaml_file: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    path = yaml_file("arms", "mico", changes)
    with pytest.raises(InputError) as error:
        load_arm(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_an_unknown_arm_is_refused_with_the_shipped_ones() -> None:
    with pytest.raises(InputError, match=r"arms: expected a file or one of \[.*mico.*ur5e.*\], got 'ur5'"):
        load_arm("ur5")
