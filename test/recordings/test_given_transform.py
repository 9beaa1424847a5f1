from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.given_transform import read_transform

NUMBERS = "1.0,-0.5,0.8,0.5,-0.5,0.5,-0.5"
VALUES = dict(zip(("x", "y", "z", "qx", "qy", "qz", "qw"), (float(value) for value in NUMBERS.split(",")), strict=True))


def test_seven_numbers_are_a_pose() -> None:
    pose = read_transform(NUMBERS, ())
    np.testing.assert_allclose(pose[:3, 3], [1.0, -0.5, 0.8])
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    "values",
    [
        {"parameters": {"eye_on_hand": False}, "transformation": VALUES},
        {
            "parameters": {"calibration_type": "eye_on_base"},
            "transform": {
                "translation": {axis: VALUES[axis] for axis in "xyz"},
                "rotation": {axis: VALUES[f"q{axis}"] for axis in "xyzw"},
            },
        },
    ],
)
def test_easy_handeyes_file_is_the_same_pose(values: object, tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(yaml.safe_dump(values))
    np.testing.assert_allclose(read_transform(str(path), ()), read_transform(NUMBERS, ()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3", "seven finite numbers"),
        ("1,2,3,0,0,0,0.5", "quaternion of length 1"),
        ("1,2,3,a,b,c,d", "as numbers"),
        ("tf:base", "tf:BASE_FRAME:CAMERA_FRAME"),
        ("tf:base:camera", "TF connects"),
    ],
)
def test_other_transforms_are_refused(text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read_transform(text, ())


def test_a_camera_on_the_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(yaml.safe_dump({"parameters": {"eye_on_hand": True}, "transformation": VALUES}))
    with pytest.raises(InputError, match="on the hand"):
        read_transform(str(path), ())


def test_a_bags_tf_connects_base_and_camera(bags: ModuleType, tmp_path: Path) -> None:
    types = bags.ROS_2.types

    def link(parent: str, child: str, x: float, y: float, yaw: float = 0.0) -> Any:
        head = bags.header(1000.1)
        head.frame_id = parent
        shift = types["geometry_msgs/msg/Vector3"](x=x, y=y, z=0.0)
        turn = types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=float(np.sin(yaw / 2)), w=float(np.cos(yaw / 2)))
        transform = types["geometry_msgs/msg/Transform"](translation=shift, rotation=turn)
        return types["geometry_msgs/msg/TransformStamped"](header=head, child_frame_id=child, transform=transform)

    links = [
        link("world", "base_link", 1, 0, np.pi / 2),
        link("world", "stand", 1, 0.5),
        link("stand", "optical", 0.2, 0),
    ]
    tree = types["tf2_msgs/msg/TFMessage"](transforms=links)
    messages = [*bags.motion(), bags.Message("/tf_static", "tf2_msgs/msg/TFMessage", 1000.1, tree)]
    path = bags.write_bag_2(tmp_path / "bag", sorted(messages, key=lambda one: one.received_s))
    pose = read_transform("tf:base_link:optical", [path])
    np.testing.assert_allclose(pose[:3, 3], [0.5, -0.2, 0], atol=1e-9)
    np.testing.assert_allclose(pose[:3, :3], [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], atol=1e-9)
    with pytest.raises(InputError, match="TF connects"):
        read_transform("tf:base_link:nowhere", [path])
