from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="ROS 2 is needed: an installation, or the `ros-wheels` extra")

from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy, QoSProfile

from taskgan_ros.nodes.camera_frame import FRAME, broadcast, optical_frame
from taskgan_ros.robot.urdf import BASE_LINK


@given(st.lists(st.floats(-2, 2), min_size=6, max_size=6))
def test_the_frame_is_the_pose(numbers: list[float]) -> None:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array(numbers[:3]))[0]
    pose[:3, 3] = numbers[3:]
    message = optical_frame(pose, Time(sec=3), "left_")
    assert (message.header.frame_id, message.child_frame_id) == (f"left_{BASE_LINK}", "left_camera_optical_frame")
    assert message.header.stamp.sec == 3
    moved, turned = message.transform.translation, message.transform.rotation
    np.testing.assert_allclose([moved.x, moved.y, moved.z], numbers[3:], atol=1e-12)
    x, y, z, w = turned.x, turned.y, turned.z, turned.w
    assert x * x + y * y + z * z + w * w == pytest.approx(1)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    np.testing.assert_allclose(np.eye(3) + 2 * w * cross + 2 * cross @ cross, pose[:3, :3], atol=1e-6)


def test_whoever_comes_later_gets_it_and_an_installation_without_tf2_msgs_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []
    logged: list[str] = []
    publisher = SimpleNamespace(publish=made.append)

    def advertise(_kind: type, topic: str, qos: QoSProfile) -> Any:
        made.extend([topic, qos.durability])
        return publisher

    node: Any = SimpleNamespace(
        create_publisher=advertise,
        get_clock=lambda: SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: Time(sec=3))),
        get_logger=lambda: SimpleNamespace(info=logged.append),
    )
    monkeypatch.setitem(sys.modules, "tf2_msgs", None)
    assert broadcast(node, np.eye(4)) is None
    assert "expected the package tf2_msgs" in logged[0]
    message = SimpleNamespace(msg=SimpleNamespace(TFMessage=SimpleNamespace))
    monkeypatch.setitem(sys.modules, "tf2_msgs", message)
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", message.msg)
    assert broadcast(node, np.eye(4)) is publisher
    topic, durability, sent = made
    assert (topic, durability) == ("/tf_static", DurabilityPolicy.TRANSIENT_LOCAL)
    assert [frame.child_frame_id for frame in sent.transforms] == [FRAME]
