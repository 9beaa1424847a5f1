"""Two nodes in one graph, each in its arm's namespace."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.nodes import topics

if TYPE_CHECKING:
    from test.ros.conftest import Lab

SIDES = ("left", "right")
APART_RAD = 0.2  # of every joint, so that a trajectory shows whose joint states it starts from


def test_each_arm_is_commanded_by_its_own_camera_and_from_its_own_joint_states(
    lab: Lab, make_bundle: Callable[..., Path], wait_until: Callable[..., None]
) -> None:
    bundle = make_bundle(velocity=(0.05, -0.04, 0.03))
    said: dict[str, str] = {}
    lab.listen(DiagnosticArray, topics.DIAGNOSTICS, lambda m: said.update({s.name: s.message for s in m.status}))
    sent: dict[str, list[JointTrajectory]] = {side: [] for side in SIDES}
    poses = {side: [angle - APART_RAD * k for angle in lab.ready] for k, side in enumerate(SIDES)}
    images = {side: lab.node.create_publisher(Image, f"{side}/image_raw", 1) for side in SIDES}
    for side in SIDES:
        process = lab.start("reach_node", ["-r", f"__ns:=/{side}"], bundle=bundle, follow_tolerance_rad=100.0)
        assert lab.change("configure", f"{side}/reach_node"), process.text
        assert lab.change("activate", f"{side}/reach_node"), process.text
        lab.listen(JointTrajectory, f"{side}/joint_trajectory", sent[side].append)
        wait_until(lambda side=side: lab.node.count_subscribers(f"/{side}/image_raw") == 1, "a subscription of images")
        publisher = lab.node.create_publisher(JointState, f"{side}/joint_states", 10)
        lab.feed(publisher, functools.partial(joint_state_at, lab, poses[side]), rate_hz=50)

    for side, other in (SIDES, SIDES[::-1]):
        end = lab.feed(images[side], lab.image, rate_hz=20)
        others = len(sent[other])
        wait_until(lambda side=side: said.get(f"{side}/reach_node: reach") == "running", f"the {side} arm to run alone")
        wait_until(lambda side=side: len(sent[side]) > 5, "trajectories")
        assert len(sent[other]) == others
        end()
        wait_until(lambda side=side: str(said[f"{side}/reach_node: reach"]).startswith("held"), "the end of it")

    for side in SIDES:
        lab.trajectories += [(0.0, message) for message in sent[side]]  # for the rules that hold for all
        for message in sent[side]:
            np.testing.assert_allclose(message.points[0].positions[3:], poses[side][3:], atol=1e-9)
            assert np.abs(np.array(message.points[0].positions) - poses[side]).max() < APART_RAD / 2
    assert lab.node.count_publishers("/joint_trajectory") == 0


def joint_state_at(lab: Lab, pose: list[float]) -> JointState:
    message = lab.joint_state()
    message.position = pose
    return message
