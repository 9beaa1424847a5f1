from __future__ import annotations

# isort: off
import taskgan_ros.sim.cell  # noqa: F401  # first: it chooses how MuJoCo draws, which the import of that settles
import mujoco

# isort: on
import numpy as np

from taskgan_ros.robot.kinematics import joint_frames, rotation_from_rpy
from taskgan_ros.robot.models import load_robot
from taskgan_ros.sim.arm_model import add_arm, own_name

ROBOT = load_robot("mico")
ARM = ROBOT.arm


def test_mujoco_puts_every_joint_where_the_kinematics_do() -> None:
    spec = mujoco.MjSpec()
    add_arm(spec, ARM, ROBOT.drawable)
    model = spec.compile()
    data = mujoco.MjData(model)
    joints = [model.joint(own_name(name)) for name in ARM.joint_names]
    for q in np.random.default_rng(0).uniform(-np.pi, np.pi, (50, len(ARM.joints))):
        data.qpos[[joint.qposadr[0] for joint in joints]] = q
        mujoco.mj_kinematics(model, data)
        *frames, tip = joint_frames(ARM, q)
        for joint, frame in zip(joints, frames, strict=True):
            body = joint.bodyid[0]
            np.testing.assert_allclose(data.xpos[body], frame[:3, 3], atol=1e-9)
            np.testing.assert_allclose(data.xmat[body].reshape(3, 3), frame[:3, :3], atol=1e-9)
        hand = data.xmat[joints[-1].bodyid[0]].reshape(3, 3)
        np.testing.assert_allclose(data.xpos[joints[-1].bodyid[0]] + hand @ ARM.tip.xyz, tip[:3, 3], atol=1e-9)
        np.testing.assert_allclose(hand @ rotation_from_rpy(ARM.tip.rpy), tip[:3, :3], atol=1e-9)
