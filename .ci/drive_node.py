"""Run reach_node with a shipped bundle, show it pictures and joint states, and see trajectories and translated images.

Needs ROS and numpy. It tells first which modules the node imports, and from where. .ci/debian_node runs it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable

import cv2
import numpy as np
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory

JOINTS = [f"m1n6s200_joint_{k}" for k in range(1, 7)]
READY = [4.712, 4.09, 1.52, 3.1416, 5.65, 3.1416]  # rad
SIZE, PERIOD_S, TRAJECTORIES, PATIENCE_S = 128, 1 / 30, 20, 60.0
FORBIDDEN = ("pydantic", "tyro", "mujoco", "torch", "h5py", "matplotlib", "rich", "tqdm")  # of other commands
IMPORTS = f"""
import sys
import taskgan_ros.nodes.reach_node
from taskgan_ros.nodes.image_conversion import CONVERTER
for name in ("numpy", "cv2", "yaml", "PIL", "onnxruntime", "simplejpeg"):
    print(f"{{name:12}} {{sys.modules[name].__version__:10}} {{sys.modules[name].__file__}}")
print("images by", CONVERTER)
assert not (found := [name for name in {FORBIDDEN} if name in sys.modules]), found
"""


class Robot(Node):
    """A camera, and an arm that starts at `READY` and is always where its newest trajectory says."""

    def __init__(self, transport: str) -> None:
        """Publish images by `transport`, raw or compressed."""
        super().__init__("robot")
        self.received: list[JointTrajectory] = []
        self.translated: list[Image] = []
        self._transport, self._noise = transport, np.random.default_rng(0)
        self._received_s = 0.0
        kind, topic = (Image, "image_raw") if transport == "raw" else (CompressedImage, "image_raw/compressed")
        self._images = self.create_publisher(kind, topic, QoSProfile(depth=1))
        self._joints = self.create_publisher(JointState, "joint_states", QoSProfile(depth=1))
        self.create_subscription(JointTrajectory, "joint_trajectory", self._receive, QoSProfile(depth=10))
        self.create_subscription(Image, "reach_node/translated_image", self.translated.append, QoSProfile(depth=1))
        self._transitions = self.create_client(ChangeState, "reach_node/change_state")
        self.create_timer(PERIOD_S, self._publish)

    def change(self, transition: int) -> None:
        """Bring the node through a transition."""
        assert self._transitions.wait_for_service(PATIENCE_S), "no reach_node"
        time.sleep(0.5)  # for the service to find us too (ros2/rmw_fastrtps#842)
        request = ChangeState.Request()
        request.transition.id = transition
        future = self._transitions.call_async(request)
        rclpy.spin_until_future_complete(self, future, timeout_sec=PATIENCE_S)
        assert future.result() is not None, f"no answer to transition {transition}"
        assert future.result().success, f"transition {transition} failed"

    def spin_until(self, is_done: Callable[[], bool], what: str) -> None:
        """Publish until it is done."""
        end_s = time.monotonic() + PATIENCE_S
        while not is_done():
            assert time.monotonic() < end_s, f"expected {what} within {PATIENCE_S:g} s"
            rclpy.spin_once(self, timeout_sec=0.1)

    def _receive(self, trajectory: JointTrajectory) -> None:
        self.received.append(trajectory)
        self._received_s = time.monotonic()

    def _position(self) -> list[float]:
        if not self.received:
            return READY
        points = self.received[-1].points
        times = [point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec for point in points]
        elapsed_s = time.monotonic() - self._received_s
        return [
            float(np.interp(elapsed_s, times, column)) for column in zip(*(p.positions for p in points), strict=True)
        ]

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        joints = JointState(name=JOINTS, position=self._position())
        joints.header.stamp = stamp
        self._joints.publish(joints)
        pixels = self._noise.integers(90, 160, (SIZE, SIZE, 3), dtype=np.uint8)
        if self._transport == "raw":
            message = Image(height=SIZE, width=SIZE, encoding="rgb8", step=3 * SIZE)
            message.data = array("B", pixels.tobytes())
        else:
            message = CompressedImage(format="jpeg")
            message.data = array("B", cv2.imencode(".jpg", pixels)[1].tobytes())
        message.header.stamp = stamp
        self._images.publish(message)


def drive(transport: str) -> int:
    """Configure, activate, feed and deactivate a node; return how many trajectories came."""
    arguments = ["-p", f"image_transport:={transport}", "-p", "guard:=off"]  # noise is out of distribution
    node = subprocess.Popen([sys.executable, "-m", "taskgan_ros.nodes.reach_node", "--ros-args", *arguments])
    robot = Robot(transport)
    try:
        robot.change(Transition.TRANSITION_CONFIGURE)
        robot.change(Transition.TRANSITION_ACTIVATE)
        robot.spin_until(lambda: len(robot.received) >= TRAJECTORIES, f"{TRAJECTORIES} trajectories")
        robot.spin_until(lambda: bool(robot.translated), "a translated image")
        shown = robot.translated[-1]
        assert (shown.height, shown.width, shown.encoding, len(shown.data)) == (SIZE, SIZE, "rgb8", 3 * SIZE * SIZE)
        moving = robot.received[-1]
        assert moving.joint_names == JOINTS, moving.joint_names
        assert all(np.isfinite(point.positions).all() for point in moving.points)
        robot.change(Transition.TRANSITION_DEACTIVATE)
    finally:
        robot.destroy_node()
        node.send_signal(signal.SIGINT)
        status = node.wait(PATIENCE_S)
    assert status == 0, f"reach_node ended with {status}"
    return len(robot.received)


def main() -> None:
    """Drive a node by raw images and one by compressed ones."""
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randrange(1, 101)))
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    rclpy.init()
    for transport in ("raw", "compressed"):
        print(f"{transport}: {drive(transport)} trajectories", flush=True)
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
