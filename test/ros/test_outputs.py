"""Each command interface moves the simulated cell's arm, and stops it whatever ends the motion."""

from __future__ import annotations

import importlib.util
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from taskgan_ros.control.command_interfaces import JOINT_JOG, KINOVA, POSITION_GROUP, VELOCITY_GROUP
from taskgan_ros.nodes import topics
from taskgan_ros.robot.arm import load_arm

if TYPE_CHECKING:
    from taskgan_ros.demo.isolation import ChildProcess
    from test.ros.conftest import Lab

MakeBundle = Callable[..., Path]
Wait = Callable[..., None]

ARM = load_arm("mico")
CELL = {"domain": "source", "image_height": 16, "image_width": 16, "camera_rate_hz": 1.0}
VELOCITY = (0.15, -0.1, 0.05)  # rad/s: far from every limit for the seconds of a test
FAST, STILL = 0.1, 1e-3  # rad/s
HAS_CONTROL_MSGS = importlib.util.find_spec("control_msgs") is not None
NEEDS_CONTROL_MSGS = pytest.mark.skipif(not HAS_CONTROL_MSGS, reason="control_msgs is needed, and not on PyPI")
INTERFACES = [  # and joint_trajectory, which every other test of the cell uses
    POSITION_GROUP,
    VELOCITY_GROUP,
    pytest.param(JOINT_JOG, marks=NEEDS_CONTROL_MSGS),
    KINOVA,
]


class Cell:
    """The simulated cell's arm, whose camera the lab stands in for."""

    def __init__(self, lab: Lab, interface: str, wait_until: Wait, side: str = "", **parameters: Any) -> None:
        self._wait_until, self.states = wait_until, []  # type: ignore[var-annotated]
        self.values: list[list[float]] = []
        lab.listen(JointState, f"{side}/joint_states" if side else topics.JOINT_STATES, self.states.append)
        if interface in (POSITION_GROUP, VELOCITY_GROUP):
            topic = f"{side}/{topics.COMMANDS}" if side else topics.COMMANDS
            lab.listen(Float64MultiArray, topic, lambda message: self.values.append(list(message.data)))
        arguments = ["-r", f"{topics.IMAGE}:=cell_image", *(["-r", f"__ns:=/{side}"] if side else [])]
        self.process: ChildProcess = lab.start(
            "sim_node", arguments, **{**CELL, "command_interface": interface, **parameters}
        )
        wait_until(lambda: self.states, "the cell")

    @property
    def speed(self) -> float:
        return float(np.max(np.abs(self.states[-1].velocity)))

    @property
    def positions(self) -> np.ndarray:
        return np.array(self.states[-1].position)

    def until_moving(self) -> None:
        self._wait_until(lambda: self.speed > FAST, "an arm that moves")

    def until_still(self, what: str) -> None:
        self._wait_until(lambda: self.speed < STILL, f"the end of the motion after {what}")
        before = self.positions
        time.sleep(0.5)
        np.testing.assert_allclose(self.positions, before, rtol=0, atol=2e-3, err_msg=f"it moved on after {what}")


@pytest.mark.parametrize("interface", INTERFACES)
def test_moves_the_arm_and_stops_it_however_the_motion_ends(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait, interface: str
) -> None:
    cell = Cell(lab, interface, wait_until)
    node = lab.start_reach(make_bundle(velocity=VELOCITY), command_interface=interface, accept_jumps=True)
    end = lab.feed_images()
    cell.until_moving()
    assert lab.call(SetBool, "reach_node/hold", SetBool.Request(data=True)).success
    cell.until_still("a hold")
    assert lab.call(SetBool, "reach_node/hold", SetBool.Request(data=False)).success
    cell.until_moving()
    assert lab.change("deactivate")
    cell.until_still("deactivate")
    assert lab.change("activate")
    cell.until_moving()
    end()
    cell.until_still("the camera fell silent")
    end = lab.feed_images()
    cell.until_moving()
    node.send(signal.SIGINT)
    assert node.wait() == 0
    cell.until_still("SIGINT")
    assert "rejected" not in cell.process.text, cell.process.text
    assert f"{interface}, 100% of the arm's top speed, the tip within [" in node.text
    assert ("the arm does not stop" in node.text) == (interface == VELOCITY_GROUP)
    if interface == VELOCITY_GROUP:
        assert not any(cell.values[-1])
    if interface == POSITION_GROUP:
        np.testing.assert_allclose(cell.positions, cell.values[-1], atol=1e-3)
    assert all(len(values) == len(ARM.joint_names) for values in cell.values)


def test_values_come_at_the_rate_and_after_the_motion_no_more(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    cell = Cell(lab, VELOCITY_GROUP, wait_until)
    lab.start_reach(make_bundle(velocity=VELOCITY), command_interface=VELOCITY_GROUP, command_rate_hz=50.0)
    end = lab.feed_images()
    cell.until_moving()
    wait_until(lambda: len(cell.values) > 60, "values")
    end()
    cell.until_still("the camera fell silent")
    time.sleep(0.5)
    count = len(cell.values)
    time.sleep(0.5)
    assert len(cell.values) == count, "whoever else commands the arm is left alone"
    speeds = np.array(cell.values)
    np.testing.assert_allclose(speeds.max(axis=0)[0], VELOCITY[0], rtol=0.05)
    changes = np.abs(np.diff(speeds, axis=0))
    assert np.all(changes <= ARM.max_acceleration * 0.1 + 1e-9)  # a sample may be late by some periods


@pytest.mark.skipif(HAS_CONTROL_MSGS, reason="control_msgs is installed")
def test_without_control_msgs_joint_jog_is_refused_with_the_packages_name(lab: Lab, make_bundle: MakeBundle) -> None:
    node = lab.start("reach_node", bundle=make_bundle(), command_interface=JOINT_JOG)
    assert not lab.change("configure")
    assert "expected control_msgs" in node.text
    assert "-control-msgs" in node.text


@pytest.mark.parametrize(
    ("parameter", "why"),
    [
        ({"command_interface": "jtc"}, "got 'jtc', which is joint_trajectory now"),
        ({"command_mode": "kinova"}, "parameter command_mode: expected its new name command_interface"),
    ],
)
def test_former_words_are_refused_with_todays(lab: Lab, parameter: dict[str, str], why: str) -> None:
    node = lab.start("reach_node", **parameter)
    assert node.wait() != 0
    assert why in node.text


def test_one_bundle_drives_two_arms_by_their_prefixes(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    bundle, cells, first = make_bundle(velocity=VELOCITY), {}, ARM.joint_names[0]
    names = [f"{first}=shoulder"]
    for side in ("left", "right"):
        changes = {"command_interface": POSITION_GROUP, "joint_prefix": f"{side}_", "joint_names": names}
        cells[side] = Cell(lab, POSITION_GROUP, wait_until, side, frame_prefix=f"{side}_", **changes)
        node = lab.start(
            "reach_node", ["-r", f"__ns:=/{side}", "-r", "image_raw:=/image_raw"], bundle=bundle, **changes
        )
        assert lab.change("configure", f"{side}/reach_node"), node.text
        assert lab.change("activate", f"{side}/reach_node"), node.text
    lab.feed_images()
    for side, cell in cells.items():
        cell.until_moving()
        assert list(cell.states[-1].name) == [f"{side}_shoulder", *(f"{side}_{name}" for name in ARM.joint_names[1:])]
        assert "rejected" not in cell.process.text
    assert lab.change("deactivate", "left/reach_node")
    cells["left"].until_still("deactivate")
    np.testing.assert_allclose(cells["left"].positions, cells["left"].values[-1], atol=1e-3)
    cells["right"].until_moving()


def test_a_controller_that_has_its_joints_in_another_order_gets_nothing(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.node.declare_parameter("joints", list(ARM.joint_names[::-1]))
    heard: list[Any] = []
    lab.listen(Float64MultiArray, topics.COMMANDS, heard.append)
    node = lab.start_reach(make_bundle(), command_interface=POSITION_GROUP)
    lab.feed_joint_states()
    wait_until(lambda: "this controller matches joints by position" in node.text, "a warning")
    lab.feed_images()
    wait_until(lambda: lab.diagnostics().get("state") == "running", "a node that runs")
    time.sleep(1.0)
    assert not heard
