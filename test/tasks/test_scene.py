from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.robot.models import shipped_arms
from taskgan_ros.tasks.registry import load_motion_scene, load_scene


def test_the_shipped_scene_is_the_papers_task() -> None:
    scene = load_motion_scene("reach")
    assert scene.driven_joints == tuple(f"m1n6s200_joint_{n}" for n in (1, 2, 3))
    assert (scene.steps, scene.step_s, scene.images_per_episode, scene.threshold_m) == (100, 0.1, 16, 0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gravity": 9.81}, "gravity: expected no such field, got 9.81"),
        ({"target.colour": "red"}, "target.colour: expected no such field, got 'red'"),
        ({"camera": None}, "camera: expected this field, got none"),
        ({"arm": "ur5"}, f"arms: expected a file or one of [{', '.join(shipped_arms())}], got 'ur5'"),
        ({"driven_joints": ["elbow"]}, "expected driven_joints of ['m1n6s200_joint_1', "),
        ({"driven_joints": ["m1n6s200_joint_1"] * 3}, "expected driven_joints that differ, got ['m1n6s200_joint_1', "),
        ({"driven_joints": []}, "driven_joints: Tuple should have at least 1 item"),
        ({"ready": [0.0]}, "expected 6 ready angles, got 1"),
        ({"start.joint_spread": [1.0]}, "expected 3 joint_spread values, got 1"),
        ({"start.height": [0.5, 0.1]}, "start.height: Value error, expected [lowest, highest], got [0.5, 0.1]"),
        ({"scattered_starts.share": 33}, "scattered_starts.share: Input should be less than or equal to 1, got 33"),
        ({"steps": 0}, "steps: Input should be greater than 0, got 0"),
        ({"steps": 1.5}, "steps: Input should be a valid integer"),
        ({"images_per_episode": 1}, "images_per_episode: Input should be greater than or equal to 2, got 1"),
        ({"target.half_size": 30}, "target.half_size: Value error, expected at most 1 m in magnitude, not mm"),
        ({"target.radius": [280, 440]}, "target.radius.0: Value error, expected at most 10 m in magnitude, not mm"),
        (
            {"target.azimuth": [-130, -50]},
            "target.azimuth.0: Value error, expected at most 12.6 rad in magnitude, not degrees",
        ),
        ({"target.yaw": 90}, "target.yaw.0: Value error, expected at most 12.6 rad in magnitude"),
        ({"hover": 50}, "hover: Value error, expected at most 10 m in magnitude"),
        ({"start.radius": [220, 500]}, "start.radius.0: Value error, expected at most 10 m in magnitude"),
        ({"start.radius": [-0.2, 0.5]}, "start.radius.0: Input should be greater than or equal to 0"),
        ({"start.azimuth": [-155, -26]}, "start.azimuth.0: Value error, expected at most 12.6 rad in magnitude"),
        ({"start.height": [100, 500]}, "start.height.0: Value error, expected at most 10 m in magnitude"),
        ({"start.clearance": 60}, "start.clearance: Value error, expected at most 10 m in magnitude"),
        (
            {"start.joint_spread": [70, 50, 50]},
            "start.joint_spread.0: Value error, expected at most 12.6 rad in magnitude",
        ),
        ({"scattered_starts.std": 14}, "scattered_starts.std: Value error, expected at most 12.6 rad in magnitude"),
        ({"ready": [270, 234, 87, 180, 324, 180]}, "ready.0: Value error, expected at most 12.6 rad in magnitude"),
        ({"threshold_m": 100}, "threshold_m: Value error, expected at most 10 m in magnitude"),
        ({"camera.position": [620, -1020, 800]}, "camera.position.0: Value error, expected at most 10 m in magnitude"),
        ({"camera.target": [0, -210, 190]}, "camera.target.1: Value error, expected at most 10 m in magnitude"),
        (
            {"camera.target": [0.62, -1.02, 0.8]},
            "camera: Value error, expected a target that differs from the position, got [0.62",
        ),
        ({"camera.fov": 45}, "camera.fov: Input should be less than 3, got 45"),
    ],
)
def test_a_scene_file_with_a_fault_is_refused(
    yaml_file: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as error:
        load_motion_scene(yaml_file("scenes", "reach", changes))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": {"half_size": 0.03}}, "target: expected no such field, got {'half_size': 0.03}"),
        ({"poses.spread": [1.0]}, "expected 5 spread values, got 1"),
        ({"poses.spread": [1.0, 1.0, 1.0, 1.0, 3.2]}, "poses.spread.4: Input should be less than 3.14"),
        (
            {"poses.free": {"m1n6s200_joint_5": 1.0}},
            "expected free joints of ['m1n6s200_joint_6'], got ['m1n6s200_joint_5",
        ),
        ({"poses": {"spread": [1.0] * 5}}, "poses.clearance: expected this field, got none"),
        ({"poses": None}, "poses: expected this field, got none"),
    ],
)
def test_a_scene_of_poses_with_a_fault_is_refused(
    yaml_file: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as error:
        load_scene(yaml_file("scenes", "poses", changes))
    assert message in str(error.value)


def test_nothing_can_be_reached_for_in_a_scene_of_poses() -> None:
    expected = r"^poses: expected a scene with a task of \['reach', 'push'.*\], got one of random poses$"
    with pytest.raises(InputError, match=expected):
        load_motion_scene("poses")


def test_joint_zeros_move_the_arm_and_not_its_readings(yaml_file: Callable[..., Path]) -> None:
    plain = load_motion_scene("reach")
    name = plain.arm.joint_names[0]
    shifted = load_motion_scene(yaml_file("scenes", "reach", {"joint_zeros": {name: 0.1}}))
    assert shifted.arm.joint_names == plain.arm.joint_names
    q = np.array(plain.ready)
    turned = q + 0.1 * (np.arange(len(q)) == 0)
    np.testing.assert_allclose(tip_position(shifted.arm, q), tip_position(plain.arm, turned), atol=1e-12)
    with pytest.raises(InputError, match="expected joint_zeros of"):
        load_motion_scene(yaml_file("scenes", "reach", {"joint_zeros": {"elbow": 0.1}}))
