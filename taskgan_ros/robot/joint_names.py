"""Maps an arm file's joint names to the robot's: dual arms have prefixes, and drivers have their own names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Arm


def robot_names(arm: Arm, prefix: str = "", pairs: Sequence[str] = ()) -> dict[str, str]:
    """Return the robot's name of each joint of `arm`, mimic joints included.

    Args:
        arm: as its file has it.
        prefix: before every name.
        pairs: each `arm_file_name=robot_name`; empty ones are ignored. A joint without one keeps its name.

    Raises:
        InputError: not a pair, a joint that the arm does not have, or two joints with the same name.
    """
    own = [joint.name for joint in arm.joints]
    given: dict[str, str] = {}
    for pair in filter(None, pairs):
        name, _, robot_name = pair.partition("=")
        if not name or not robot_name:
            raise InputError(f"joint_names: expected arm_file_name=robot_name, got {pair!r}")
        if name not in own or name in given:
            raise InputError(f"joint_names: expected some of {own}, each once, got {name!r}")
        given[name] = robot_name
    names = {name: prefix + given.get(name, name) for name in own}
    if len(set(names.values())) < len(names):
        raise InputError(f"joint_names: expected another name for each joint, got {list(names.values())}")
    return names


def rename(arm: Arm, names: Mapping[str, str]) -> Arm:
    """Return `arm` with the robot's names of its joints; its shapes and its model are left as they are.

    Args:
        arm: as its file has it.
        names: of `robot_names`.
    """
    joints = []
    for joint in arm.joints:
        mimic = joint.mimic and replace(joint.mimic, joint=names[joint.mimic.joint])
        joints.append(replace(joint, name=names[joint.name], mimic=mimic))
    return replace(arm, joints=tuple(joints))
