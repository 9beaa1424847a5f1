"""A camera and an arm that cost next to nothing: recorded images at a fixed rate, and joint states, over real DDS."""

from __future__ import annotations

import array
import sys
import time

import numpy as np
import rclpy
from sensor_msgs.msg import Image, JointState

from taskgan_ros.policy.bundle import load_bundle


def main() -> None:
    """Publish until killed: `camera.py IMAGES.npy RATE_HZ BUNDLE`."""
    images, rate_hz, arm = np.load(sys.argv[1]), float(sys.argv[2]), load_bundle(sys.argv[3]).arm
    rclpy.init()
    node = rclpy.create_node("camera")
    image_pub = node.create_publisher(Image, "image_raw", 1)
    joint_pub = node.create_publisher(JointState, "joint_states", 1)
    height, width = images.shape[1:3]
    due_s, k = time.monotonic(), 0
    while node.context.ok():
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.data = array.array("B", images[k % len(images)].tobytes())
        message.header.stamp = node.get_clock().now().to_msg()
        joints = JointState(name=list(arm.joint_names), position=list(arm.home))
        joints.header.stamp = message.header.stamp
        joint_pub.publish(joints)
        image_pub.publish(message)
        due_s, k = due_s + 1 / rate_hz, k + 1
        time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main()
