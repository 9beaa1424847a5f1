"""Bags of ROS 1 and 2 as recordings: topics found by their type, header stamps, messages into images and joints."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.recordings.bag_files import BagFile, Packet, bag_files
from taskgan_ros.recordings.read_options import RADIANS, ReadOptions
from taskgan_ros.recordings.source import JointTracks, Shot, Source
from taskgan_ros.vision.camera_model import CameraModel, camera_model
from taskgan_ros.vision.compressed import read_compressed
from taskgan_ros.vision.images import Image, read_image

IMAGE: Final = "sensor_msgs/msg/Image"
COMPRESSED: Final = "sensor_msgs/msg/CompressedImage"
JOINT_STATE: Final = "sensor_msgs/msg/JointState"
CAMERA_INFO: Final = "sensor_msgs/msg/CameraInfo"
_LIBREALSENSE: Final = "realsense_msgs/"
_DEPTH: Final = ("depth", "compressedDepth")  # in the name of a topic that has depths, not pictures
_NS: Final = 1e-9
_MOST_OVER: Final = 64  # trailing bytes after a message; rosbags itself allows 3
_OVER_STEP: Final = 4


class Bag:
    """All messages of a bag, in order, as often as wanted.

    Attributes:
        path: of the bag.
        counts: (topic, type) and how many messages there are.
        remarks: which files end early.
    """

    def __init__(self, path: Path) -> None:
        """Read which topics it has.

        Raises:
            InputError: not a bag, or a bag with a file of which nothing can be read.
        """
        self.path = path
        self.counts: Counter[tuple[str, str]] = Counter()
        self.remarks: list[str] = []
        folder = Path(tempfile.mkdtemp(prefix="taskgan-bag-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._files = [BagFile(file) for file in bag_files(path, folder)]
        for file in self._files:
            self.counts.update(file.counts)
            self._note(file)
        if not self.counts:
            raise InputError(f"{path}: expected a bag with messages, got one without any topic")

    def topics(self, *types: str) -> list[str]:
        """Return the topics of these types that have messages, sorted."""
        return sorted(topic for (topic, kind), count in self.counts.items() if kind in types and count)

    def count(self, topics: Collection[str]) -> int:
        """Return how many messages these topics have."""
        return sum(count for (topic, _), count in self.counts.items() if topic in topics)

    def messages(self, topics: Collection[str]) -> Iterator[tuple[Packet, Any]]:
        """Yield the messages of these topics: packet, and what it says as an object with the message's fields.

        Raises:
            InputError: a message does not follow its type's definition.
        """
        for file in self._files:
            for packet in file.packets(topics):
                yield packet, self._read(packet)
            self._note(file)

    def first(self, topics: Collection[str]) -> Any:
        """Return the first message of these topics, None where there is none."""
        for _, message in self.messages(topics):
            return message
        return None

    def _note(self, file: BagFile) -> None:
        if file.remark and file.remark not in self.remarks:
            self.remarks.append(file.remark)

    def _read(self, packet: Packet) -> Any:
        try:
            if packet.encoding == "cdr":
                return _read_cdr(packet)
            if packet.encoding == "ros1":
                return _types(Stores.ROS1_NOETIC).deserialize_ros1(packet.data, packet.type)
        except Exception as error:  # rosbags raises SerdeError, struct.error, IndexError and others
            raise InputError(
                f"{self.path}: {packet.topic}: expected messages that follow {packet.type}, got one that does not: "
                f"{' '.join(str(error).split())}"
            ) from error
        raise InputError(
            f"{self.path}: {packet.topic}: expected messages in cdr or ros1, got {packet.encoding or 'no encoding'!r}"
        )


def _read_cdr(packet: Packet) -> Any:
    """Deserialize a message, allowing trailing bytes: rclpy's serialize_message only estimates the length."""
    first: SerdeError | None = None
    for over in range(0, _MOST_OVER + 1, _OVER_STEP):
        try:
            return _types(Stores.ROS2_JAZZY).deserialize_cdr(packet.data[: len(packet.data) - over], packet.type)
        except SerdeError as error:
            first = first or error
            if "size mismatch" not in str(error):
                break
    assert first is not None
    raise first


@cache
def _types(store: Stores) -> Typestore:
    """Return ROS's own definitions: a bag may lack them, and those of sensor_msgs have not changed since Foxy."""
    return get_typestore(store)


def read_bag(path: Path, options: ReadOptions) -> Source:
    """Return a bag as a recording: joint states are read now, images later.

    Raises:
        InputError: no images, several topics of them, or none that is named; errors as `Bag`.
    """
    bag = Bag(path)
    image_topic = _image_topic(bag, options)
    joint_topics = options.joint_topics or bag.topics(JOINT_STATE)
    if unknown := [topic for topic in joint_topics if topic not in bag.topics(JOINT_STATE)]:
        raise InputError(
            f"{path}: expected --joint-topics of {bag.topics(JOINT_STATE)}, of {JOINT_STATE}, got {unknown}"
        )
    stamp = partial(stamp_s, path=path, received=options.stamps == "received")
    return Source(
        name=str(path),
        shots=partial(_shots, bag, image_topic, stamp),
        count=bag.count([image_topic]),
        joints=_joints(bag, joint_topics, stamp),
        camera=None if options.camera_info else _camera(bag, image_topic, options),
        default_units=RADIANS,
        remarks=bag.remarks,
    )


Stamp = Callable[[Packet, Any], float]


def _joints(bag: Bag, topics: Sequence[str], stamp: Stamp) -> JointTracks:
    tracks = JointTracks()
    if not topics:
        return tracks
    with progress_bar(f"{bag.path.name}: joint states", bag.count(topics), "messages") as advance:
        for packet, message in bag.messages(topics):
            interrupts.check()
            tracks.add(stamp(packet, message), message.name, message.position)
            advance(1)
    return tracks


def _shots(bag: Bag, topic: str, stamp: Stamp) -> Iterator[Shot]:
    for packet, message in bag.messages([topic]):
        decode = _decode_compressed if packet.type == COMPRESSED else _decode
        yield Shot(stamp(packet, message), message.data.tobytes(), partial(decode, message))


def _decode(message: Any) -> Image:
    image = read_image(
        message.encoding, message.height, message.width, message.step, message.data, bool(message.is_bigendian)
    )
    return image.to_rgb()


def _decode_compressed(message: Any) -> Image:
    return read_compressed(message.format, message.data.tobytes()).to_rgb()


def stamp_s(packet: Packet, message: Any, path: Path, received: bool) -> float:
    """Return when a message was made, by its header, or when it was `received`, in s.

    Raises:
        InputError: the header has no stamp.
    """
    if received:
        return packet.received_ns * _NS
    stamp = message.header.stamp
    if not (stamp.sec or stamp.nanosec):
        raise InputError(
            f"{path}: {packet.topic}: expected stamps in the messages' headers, got 0: --stamps received "
            "takes the time at which they were recorded"
        )
    return float(stamp.sec + stamp.nanosec * _NS)


def _image_topic(bag: Bag, options: ReadOptions) -> str:
    found = bag.topics(IMAGE, COMPRESSED)
    if any(kind.startswith(_LIBREALSENSE) for _, kind in bag.counts):
        raise InputError(
            f"{bag.path}: expected images that follow {IMAGE}, got a file of librealsense's own recorder, whose images "
            "do not: play it with realsense2_camera (rosbag_filename) and record its topics with the joint states"
        )
    if options.image_topic:
        if options.image_topic not in found:
            raise InputError(f"{bag.path}: expected --image-topic of {found}, got {options.image_topic!r}")
        return options.image_topic
    likely = [topic for topic in found if not any(word in topic for word in _DEPTH)] or found
    if not likely:
        topics = ", ".join(f"{topic} ({kind.split('/')[-1]})" for topic, kind in sorted(bag.counts))
        raise InputError(f"{bag.path}: expected a topic of {IMAGE} or {COMPRESSED}, got none: there are {topics}")
    raw = [topic for topic in likely if f"{topic}/compressed" in likely]
    likely = [topic for topic in likely if topic.removesuffix("/compressed") not in raw or topic in raw]
    if len(likely) > 1:
        raise InputError(f"{bag.path}: expected one topic of images, got {likely}: --image-topic names one")
    return likely[0]


def _camera(bag: Bag, image_topic: str, options: ReadOptions) -> CameraModel | None:
    """Return the calibration beside the images, None where there is none or it says nothing."""
    found = bag.topics(CAMERA_INFO)
    folder, slash, own = image_topic.removesuffix("/compressed").rpartition("/")
    topic = options.info_topic or f"{folder}{slash}camera_info"
    if topic not in found:
        if options.info_topic or len(found) > 1:
            expected = f"one {CAMERA_INFO} for {image_topic}, named by --info-topic"
            raise InputError(f"{bag.path}: expected {expected}, got {found}")
        if not found:
            return None
        topic = found[0]
    message = bag.first([topic])
    values = {name.lower(): getattr(message, name) for name in vars(message) if name.lower() in _INFO_FIELDS}
    is_rectified = "rect" in own
    if not float(values["p" if is_rectified else "k"][0]):
        bag.remarks.append(f"{topic} says nothing: the camera was not calibrated")
        return None
    try:
        return _checked(camera_model(values, is_rectified), message)
    except InputError as error:
        raise InputError(f"{bag.path}: {topic}: {error}") from error


_INFO_FIELDS: Final = ("height", "width", "distortion_model", "d", "k", "p")


def _checked(model: CameraModel, message: Any) -> CameraModel:
    """Refuse a camera_info of a part of the sensor, or of a binned one: K is the whole one's."""
    roi = message.roi
    if message.binning_x > 1 or message.binning_y > 1 or roi.x_offset or roi.y_offset:
        raise InputError("camera: expected the camera_info of whole images, got binning or a region of interest")
    return model
