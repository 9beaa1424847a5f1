"""A policy of somebody else, exported by torch, bundled by the command, driven by the node in the simulated cell."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from torch import Tensor, nn

from taskgan_ros import cli
from taskgan_ros.robot.arm import load_arm

if TYPE_CHECKING:
    from taskgan_ros.demo.isolation import ChildProcess
    from test.ros.conftest import Lab

Wait = Callable[..., None]

NAMES = load_arm("mico").joint_names
THEIRS = [NAMES[2], NAMES[0], NAMES[1]]  # their order of the joints, not the arm's
POSTURE = [1.7, 4.9, 3.9]  # rad, where it goes, in their order
STEPS, STEP_S = 4, 0.1


class Homing(nn.Module):
    """NCHW floats in 0..1 and joint positions to a chunk of velocities or positions, which lead to the posture."""

    def __init__(self, gives_positions: bool) -> None:
        super().__init__()
        self.gives_positions = gives_positions

    def forward(self, image: Tensor, state: Tensor) -> Tensor:
        steps = torch.arange(STEPS)[None, :, None]
        way = torch.tensor(POSTURE) - state
        seen = 1e-9 * image.mean(dim=(1, 2, 3))[:, None, None]  # else the input would be left out
        if self.gives_positions:
            return state[:, None] + torch.clamp(way, -0.05, 0.05)[:, None] * steps + seen
        return torch.clamp(1.5 * way, -0.4, 0.4)[:, None] * torch.exp(-1.5 * STEP_S * steps) + seen


@pytest.fixture
def bundle_theirs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """Return a function that makes the bundle of a task."""

    def make(task: str) -> Path:
        example = torch.rand(1, 3, 24, 32), torch.rand(1, 3)
        inputs = ["observation.image", "observation.state"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            policy = Homing(task == "joint_angles").eval()
            torch.onnx.export(policy, example, tmp_path / "theirs.onnx", input_names=inputs, output_names=["action"])
        words = ["bundle", "--task-model", tmp_path / "theirs.onnx", "--out", tmp_path / "theirs", "--scene", "reach"]
        words += ["--task", task, "--joints", *THEIRS, "--step-s", STEP_S]
        assert cli.run([str(word) for word in words]) == 0, capsys.readouterr().err
        return tmp_path / "theirs"

    return make


class Arm:
    """The simulated cell's arm, as its joint states show it."""

    def __init__(self, lab: Lab, wait_until: Wait) -> None:
        self.states: list[JointState] = []
        lab.listen(JointState, "joint_states", self.states.append)
        self.process: ChildProcess = lab.start("sim_node", domain="source", image_height=24, image_width=32)
        wait_until(lambda: self.states, "the cell")
        assert lab.call(Trigger, "sim_node/start_episode", Trigger.Request()).success

    @property
    def theirs(self) -> np.ndarray:
        """Where the joints of the policy are, rad, in its order."""
        return np.array([self.states[-1].position[NAMES.index(name)] for name in THEIRS])

    @property
    def is_at_rest(self) -> bool:
        return not any(self.states[-1].velocity)


@pytest.mark.parametrize("task", ["joint_velocities", "joint_angles"])
def test_a_strangers_policy_drives_the_arm_where_it_wants_it(
    lab: Lab, wait_until: Wait, bundle_theirs: Callable[..., Path], task: str
) -> None:
    arm = Arm(lab, wait_until)
    reach = lab.start("reach_node", bundle=bundle_theirs(task), horizon_s=0.4, accept_jumps=True)
    assert lab.change("configure"), reach.text
    assert "chunks of 4 commands of 0.1 s, of which horizon_s executes 0.4 s" in reach.text
    assert reach.text.count("has no translator") == 1
    assert lab.change("activate"), reach.text
    wait_until(lambda: np.max(np.abs(arm.theirs - POSTURE)) < 0.05, "the arm at the policy's posture")
    assert int(lab.diagnostics("cell")["rejected"]) == 0
    if task == "joint_velocities":  # steps of positions are as long however near the arm is
        wait_until(lambda: "arrived" in reach.text, "the arrival")


def test_the_arm_stands_when_the_node_is_killed_in_a_chunk(
    lab: Lab, wait_until: Wait, bundle_theirs: Callable[..., Path]
) -> None:
    arm = Arm(lab, wait_until)
    reach = lab.start("reach_node", bundle=bundle_theirs("joint_velocities"), horizon_s=0.4, accept_jumps=True)
    assert lab.change("configure"), reach.text
    assert lab.change("activate"), reach.text
    wait_until(lambda: not arm.is_at_rest, "the arm to move")
    reach.send(signal.SIGKILL)
    reach.wait()
    wait_until(lambda: arm.is_at_rest, "the arm to stand", 3.0)
    assert np.max(np.abs(arm.theirs - POSTURE)) > 0.05  # it was on its way


def test_without_joint_states_nothing_is_asked_of_a_policy_that_needs_them(
    lab: Lab, wait_until: Wait, bundle_theirs: Callable[..., Path]
) -> None:
    process = lab.start_reach(bundle_theirs("joint_velocities"))
    lab.feed_images()
    wait_until(lambda: int(lab.diagnostics().get("images", "0")) > 5, "images")
    assert "waiting: no joint states yet" in process.text
    assert not lab.trajectories
    lab.feed_joint_states()
    lab.until_commanded()
