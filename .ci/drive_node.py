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

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.demo.peer import Peer

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


class Robot(Peer):
    """A camera, and an arm that starts at `READY` and is always where its newest trajectory says."""

    def __init__(self, transport: str) -> None:
        """Publish images by `transport`, raw or compressed."""
        super().__init__(int(os.environ["ROS_DOMAIN_ID"]), "robot")
        self.received: list[JointTrajectory] = []
        self.translated: list[Image] = []
        self._transport, self._noise = transport, np.random.default_rng(0)
        self._received_s = 0.0
        kind, topic = (Image, "image_raw") if transport == "raw" else (CompressedImage, "image_raw/compressed")
        self._images = self.node.create_publisher(kind, topic, 1)
        self._joints = self.node.create_publisher(JointState, "joint_states", 1)
        self.listen(JointTrajectory, "joint_trajectory", self._receive)
        self.listen(Image, "reach_node/translated_image", self.translated.append)
        self.node.create_timer(PERIOD_S, self._publish)

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
        stamp = self.node.get_clock().now().to_msg()
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
        robot.change("configure")
        robot.change("activate")
        robot.wait(f"{TRAJECTORIES} trajectories", lambda: len(robot.received) >= TRAJECTORIES)
        robot.wait("a translated image", lambda: robot.translated)
        shown = robot.translated[-1]
        assert (shown.height, shown.width, shown.encoding, len(shown.data)) == (SIZE, SIZE, "rgb8", 3 * SIZE * SIZE)
        moving = robot.received[-1]
        assert moving.joint_names == JOINTS, moving.joint_names
        assert all(np.isfinite(point.positions).all() for point in moving.points)
        robot.change("deactivate")
    finally:
        robot.close()
        node.send_signal(signal.SIGINT)
        status = node.wait(PATIENCE_S)
    assert status == 0, f"reach_node ended with {status}"
    return len(robot.received)


def main() -> None:
    """Drive a node by raw images and one by compressed ones."""
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randrange(1, 101)))
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    for transport in ("raw", "compressed"):
        print(f"{transport}: {drive(transport)} trajectories", flush=True)


if __name__ == "__main__":
    main()
