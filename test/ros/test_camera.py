"""What the node does with a camera's calibration, and what it shows a person who aims one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from taskgan_ros.nodes.messages import seconds

if TYPE_CHECKING:
    from test.ros.conftest import Lab

SIZE = 16
TOPIC = "camera_info"
BUNDLE_FOCAL_PX, NARROW_FOCAL_PX = 16.0, 40.0  # of 16 pixels: 0.93 rad, more than the bundle's 0.72; and 0.4


def info(focal_px: float, lens: tuple[float, ...] = (0.1, 0.0, 0.0, 0.0, 0.0)) -> CameraInfo:
    middle = (SIZE - 1) / 2
    matrix = [focal_px, 0.0, middle, 0.0, focal_px, middle, 0.0, 0.0, 1.0]
    return CameraInfo(height=SIZE, width=SIZE, distortion_model="plumb_bob", d=list(lens), k=matrix)


@pytest.mark.parametrize("named", [TOPIC, "auto"])
def test_images_are_rectified_by_camera_info_and_refused_before_it(
    named: str, lab: Lab, make_bundle: Callable[..., Path], wait_until: Callable[..., None]
) -> None:
    process = lab.start_reach(make_bundle(), camera_info_topic=named)
    publisher = lab.node.create_publisher(CameraInfo, TOPIC, QoSProfile(depth=1))
    lab.feed_joint_states()
    lab.feed_images()
    wait_until(lambda: "camera_info before it, got none yet" in process.text, "a refusal")
    assert not lab.trajectories
    lab.feed(publisher, lambda: info(NARROW_FOCAL_PX), 5)
    wait_until(lambda: "expected to see at least 0.72 rad" in process.text, "a refusal with numbers")
    assert not lab.trajectories
    lab.feed(publisher, lambda: info(BUNDLE_FOCAL_PX), 5)
    lab.until_commanded()
    assert "images are rectified by the camera's calibration (16x16, plumb_bob" in process.text


def test_the_overlay_is_the_camera_image_larger_and_drawn_on_while_somebody_looks(
    lab: Lab, make_bundle: Callable[..., Path], wait_until: Callable[..., None]
) -> None:
    process = lab.start_reach(make_bundle())
    stamps: set[float] = set()
    overlays: list[Image] = []
    lab.listen(Image, "image_raw", lambda image: stamps.add(seconds(image.header.stamp)))
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    subscription = lab.listen(Image, "reach_node/overlay", overlays.append)
    wait_until(lambda: len(overlays) > 2, "overlays")
    lab.node.destroy_subscription(subscription)
    overlay = overlays[-1]
    assert (overlay.height, overlay.width, overlay.encoding, overlay.header.frame_id) == (512, 512, "rgb8", "lens")
    assert seconds(overlay.header.stamp) in stamps
    assert len(set(overlay.data)) > 1, "a line on an image of one colour"
    lab.until_commanded()
    assert lab.change("deactivate"), process.text
    assert lab.change("cleanup"), process.text
    assert "Traceback" not in process.text
