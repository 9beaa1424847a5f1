"""A camera and an arm that cost next to nothing: a film at a fixed rate and its joint states, over real DDS."""

from __future__ import annotations

import array
import sys
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import UInt64

from taskgan_ros.nodes import topics
from taskgan_ros.robot.arm import load_arm

JOINT_NAMES = list(load_arm("mico").joint_names)


def main() -> None:
    """Publish until killed: `camera.py FILM.npz IMAGE_RATE_HZ JOINT_STATE_RATE_HZ`; counts images on `~/published`."""
    film, image_rate_hz, joint_rate_hz = np.load(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    rclpy.init()
    node = rclpy.create_node("camera")
    messages, poses, order = make_messages(film), film["joint_pos"], film["order"]
    kind, topic = (CompressedImage, topics.COMPRESSED_IMAGE) if film["is_jpeg"] else (Image, topics.IMAGE)
    images = node.create_publisher(kind, topic, 1)
    joint_states = node.create_publisher(JointState, topics.JOINT_STATES, 10)
    counts = node.create_publisher(UInt64, "~/published", QoSProfile(depth=1))
    started_s = time.monotonic()
    image_due_s = joint_due_s = started_s
    published = 0
    while node.context.ok():
        now_s = time.monotonic()
        # By the clock: a late one continues where the arm is by then.
        place = (now_s - started_s) * image_rate_hz
        if now_s >= joint_due_s:
            joint_due_s = max(joint_due_s + 1 / joint_rate_hz, now_s)
            before, share = int(place), place % 1
            pose = (1 - share) * poses[before % len(poses)] + share * poses[(before + 1) % len(poses)]
            joints = JointState(name=JOINT_NAMES, position=array.array("d", pose))
            joints.header.stamp = node.get_clock().now().to_msg()
            joint_states.publish(joints)
        if now_s >= image_due_s:
            image_due_s = max(image_due_s + 1 / image_rate_hz, now_s)
            message = messages[order[round(place) % len(order)]]
            message.header.stamp = node.get_clock().now().to_msg()
            images.publish(message)
            published += 1
            counts.publish(UInt64(data=published))
        time.sleep(max(0.0, min(image_due_s, joint_due_s) - time.monotonic()))


def make_messages(film: Any) -> list[Image] | list[CompressedImage]:
    """Return a message for each image: made once, for making one copies it several times."""
    height, width = (int(side) for side in film["size"])
    files = [array.array("B", file.tobytes()) for file in np.split(film["data"], film["ends"][:-1])]
    if film["is_jpeg"]:
        return [CompressedImage(format="rgb8; jpeg compressed bgr8", data=file) for file in files]
    return [Image(height=height, width=width, encoding="rgb8", step=3 * width, data=file) for file in files]


if __name__ == "__main__":
    main()
