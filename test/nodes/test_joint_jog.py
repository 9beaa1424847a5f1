from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is needed: an installation, or the `ros-wheels` extra")

from builtin_interfaces.msg import Time

from taskgan_ros.control.joint_command import JointCommand
from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes.joint_jog import joint_jog_message, joint_jog_type
from taskgan_ros.nodes.sim_node import read_jog

COMMAND = JointCommand(("left_shoulder", "left_elbow"), np.array([0.3, -0.2]))


def test_what_is_sent_is_what_the_cell_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        joint_jog_type()
    except InputError:  # control_msgs is not on PyPI: its fields are enough here
        message: Any = ModuleType("control_msgs.msg")
        message.JointJog = SimpleNamespace
        monkeypatch.setitem(sys.modules, "control_msgs", ModuleType("control_msgs"))
        monkeypatch.setitem(sys.modules, "control_msgs.msg", message)
    sent = joint_jog_message(COMMAND, Time(sec=7, nanosec=500_000_000), 0.01)
    assert sent.duration == 0.01
    jog = read_jog(sent, clock_ahead_s=5.0)
    assert jog.joint_names == COMMAND.names
    np.testing.assert_array_equal(jog.velocities, COMMAND.values)
    assert jog.stamp_s == pytest.approx(2.5)


def test_the_debian_package_is_named_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "control_msgs", None)
    monkeypatch.setitem(sys.modules, "control_msgs.msg", None)
    monkeypatch.setenv("ROS_DISTRO", "kilted")
    with pytest.raises(InputError, match="the Debian package is ros-kilted-control-msgs"):
        joint_jog_type()
