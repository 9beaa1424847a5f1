"""Where the simulated cell's camera stands, as TF has it: RViz's Camera display and image_proc look it up."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from taskgan_ros.robot.urdf import BASE_LINK

FRAME: Final = "camera_optical_frame"  # x right, y down, z forward (REP-103)
TOPIC: Final = "/tf_static"  # absolute, as tf2 has it


def optical_frame(pose: NDArray[np.float64], stamp: Time, prefix: str = "") -> TransformStamped:
    """Return the camera's optical frame in the arm's base frame.

    Args:
        pose: (4, 4) of it, in m.
        stamp: of now.
        prefix: of both frames' names.
    """
    x, y, z = pose[:3, 3].tolist()
    header = Header(stamp=stamp, frame_id=f"{prefix}{BASE_LINK}")
    transform = Transform(translation=Vector3(x=x, y=y, z=z), rotation=_quaternion(pose[:3, :3]))
    return TransformStamped(header=header, child_frame_id=f"{prefix}{FRAME}", transform=transform)


def broadcast(node: Node, pose: NDArray[np.float64], prefix: str = "") -> Any:
    """Publish the frame for whoever comes, and return the publisher; None where tf2_msgs is not installed.

    PyPI has no tf2_msgs. The one message needs no tf2_ros: a static frame is published once and latched.
    """
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        node.get_logger().info(f"no {FRAME} on {TOPIC}: expected the package tf2_msgs, got an installation without it")
        return None
    publisher = node.create_publisher(
        TFMessage, TOPIC, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    )
    stamp = node.get_clock().now().to_msg()
    publisher.publish(TFMessage(transforms=[optical_frame(pose, stamp, prefix)]))
    return publisher


def _quaternion(rotation: NDArray[np.float64]) -> Quaternion:
    """Return a rotation matrix (3, 3) as a quaternion."""
    from taskgan_ros.sim.renderer import quaternion  # here: it needs OpenGL, and `SimNode` says where that is missing

    w, x, y, z = quaternion(rotation).tolist()
    return Quaternion(x=x, y=y, z=z, w=w)
