"""Small recordings for tests: bags by rosbags, folders of images; of an arm with the joints a and b."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rosbags import rosbag1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from taskgan_ros.robot.arm import Arm, Frame, Joint

ROS_1, ROS_2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_JAZZY)
HEIGHT, WIDTH, FOCAL = 48, 64, 60.0
START_S = 1000.0


@dataclass
class Message:
    """Of a topic, recorded at `received_s`."""

    topic: str
    type: str
    received_s: float
    value: Any


def store(ros: int) -> Any:
    return ROS_1 if ros == 1 else ROS_2


def header(stamp_s: float, ros: int = 2) -> Any:
    types = store(ros).types
    nanoseconds = round(stamp_s * 1e9)
    stamp = types["builtin_interfaces/msg/Time"](sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    extra = {"seq": 0} if ros == 1 else {}
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id="", **extra)


def picture(k: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) that differs from those of other numbers, its red being k modulo 256."""
    image = np.random.default_rng(k).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[..., 0] = k % 256
    return image


def image(
    k: int,
    stamp_s: float,
    topic: str = "/camera/image_raw",
    ros: int = 2,
    shape: tuple[int, int] = (HEIGHT, WIDTH),
) -> Message:
    height, width = shape
    value = store(ros).types["sensor_msgs/msg/Image"](
        header=header(stamp_s, ros), height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width,
        data=picture(k, height, width).ravel(),
    )  # fmt: skip
    return Message(topic, "sensor_msgs/msg/Image", stamp_s, value)


def compressed(data: bytes, stamp_s: float, topic: str = "/camera/image_raw/compressed") -> Message:
    value = ROS_2.types["sensor_msgs/msg/CompressedImage"](
        header=header(stamp_s), format="png", data=np.frombuffer(data, np.uint8)
    )
    return Message(topic, "sensor_msgs/msg/CompressedImage", stamp_s, value)


def png(k: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(k)).save(file, format="PNG")
    return file.getvalue()


def joints(
    stamp_s: float, names: Sequence[str], positions: Sequence[float], topic: str = "/joint_states", ros: int = 2
) -> Message:
    empty = np.zeros(0)
    value = store(ros).types["sensor_msgs/msg/JointState"](
        header=header(stamp_s, ros), name=list(names), position=np.array(positions, float), velocity=empty, effort=empty
    )
    return Message(topic, "sensor_msgs/msg/JointState", stamp_s, value)


def info(stamp_s: float, topic: str = "/camera/camera_info", focal: float = FOCAL, ros: int = 2) -> Message:
    types = store(ros).types
    roi = types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    x, y = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    values = {
        "d": np.zeros(5), "k": np.array([focal, 0, x, 0, focal, y, 0, 0, float(focal > 0)]), "r": np.eye(3).ravel(),
        "p": np.array([focal, 0, x, 0, 0, focal, y, 0, 0, 0, 1, 0]),
    }  # fmt: skip
    value = types["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_s, ros), height=HEIGHT, width=WIDTH, distortion_model="plumb_bob", binning_x=0,
        binning_y=0, roi=roi, **{(name.upper() if ros == 1 else name): value for name, value in values.items()},
    )  # fmt: skip
    return Message(topic, "sensor_msgs/msg/CameraInfo", stamp_s, value)


def angles(time_s: float) -> tuple[float, float]:
    """Return where the joints are, s after the start."""
    return 0.5 * time_s, -0.2 * time_s


def motion(count: int = 10, ros: int = 2, period_s: float = 0.1) -> list[Message]:
    """Return `count` images, joint states four times as often, and a camera_info."""
    messages = [info(START_S, ros=ros)]
    for k in range(4 * count + 1):
        time_s = k * period_s / 4
        a, b = angles(time_s)
        messages.append(joints(START_S + time_s, ["b", "other", "a"], [b, 9.0, a], ros=ros))
    messages += [image(k, START_S + k * period_s, ros=ros) for k in range(count)]
    return sorted(messages, key=lambda message: message.received_s)


def write_bag_2(
    path: Path, messages: Sequence[Message], storage: str = "mcap", compression: str = "", over: bytes = b""
) -> Path:
    """Write a rosbag2's folder; `compression` is message, file (zstd), or storage (within MCAP), `over` ends each."""
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer as bag:
        connections: dict[str, Any] = {}
        for one in messages:
            if one.topic not in connections:
                connections[one.topic] = bag.add_connection(one.topic, one.type, typestore=ROS_2)
            data = bytes(ROS_2.serialize_cdr(one.value, one.type)) + over
            bag.write(connections[one.topic], round(one.received_s * 1e9), data)
    return path


def write_bag_1(path: Path, messages: Sequence[Message]) -> Path:
    with rosbag1.Writer(path) as bag:
        connections: dict[str, Any] = {}
        for one in messages:
            if one.topic not in connections:
                connections[one.topic] = bag.add_connection(one.topic, one.type, typestore=ROS_1)
            bag.write(connections[one.topic], round(one.received_s * 1e9), ROS_1.serialize_ros1(one.value, one.type))
    return path


@dataclass
class Scene:
    """As much of a scene as reading needs."""

    arm: Arm


def arm(*names: str, limit: float = 3.0) -> Arm:
    """Return an arm of joints one above the other."""
    joint = {"origin_xyz": (0, 0, 0.1), "origin_rpy": (0, 0, 0), "max_velocity": 2.5, "max_acceleration": 10.0}
    joints = tuple(Joint(name=name, lower=-limit, upper=limit, **joint) for name in names)  # type: ignore[arg-type]
    tip = Frame(xyz=(0.0, 0.0, 0.1), rpy=(0.0, 0.0, 0.0))
    return Arm(name="two", joints=joints, tip=tip, home=(0.0,) * len(names), links=((),) * len(names))


@pytest.fixture
def bags() -> ModuleType:
    """Return this module: what is in it makes recordings."""
    return sys.modules[__name__]
