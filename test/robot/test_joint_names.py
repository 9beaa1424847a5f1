from __future__ import annotations

import dataclasses

import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Mimic, load_arm
from taskgan_ros.robot.joint_names import rename, robot_names

ARM = load_arm("mico")
FIRST, *OTHERS = ARM.joint_names


def test_a_prefix_stands_before_every_name_given_or_kept() -> None:
    renamed = rename(ARM, robot_names(ARM, "left_", ["", f"{FIRST}=shoulder"]))
    assert renamed.joint_names == ("left_shoulder", *(f"left_{name}" for name in OTHERS))
    assert dataclasses.replace(renamed, joints=ARM.joints) == ARM


def test_without_either_names_stay() -> None:
    assert rename(ARM, robot_names(ARM)) == ARM


def test_joints_that_follow_another_follow_its_new_name() -> None:
    follower = dataclasses.replace(ARM.joints[-1], name="finger", mimic=Mimic(joint=FIRST))
    arm = dataclasses.replace(ARM, joints=(*ARM.joints, follower), links=(), model=None)
    renamed = rename(arm, robot_names(arm, "r_"))
    assert renamed.joints[-1].mimic == Mimic(joint=f"r_{FIRST}")


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ("shoulder", "expected arm_file_name=robot_name, got 'shoulder'"),
        ("elbow=shoulder", "expected some of .*, got 'elbow'"),
        (f"{FIRST}={OTHERS[0]}", "expected another name for each joint"),
    ],
)
def test_what_names_no_joint_or_two_alike_is_refused(pair: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        robot_names(ARM, "", [pair])
