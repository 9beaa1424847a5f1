from __future__ import annotations

from pathlib import Path

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
