from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.recording import Frame, ReadOptions, Recording, open_recording

COUNT = 10


def opened(bags: ModuleType, *paths: Path, **options: object) -> Recording:
    return open_recording(paths, bags.Scene(bags.arm("a", "b")), ReadOptions(**options))  # type: ignore[arg-type]


def read(bags: ModuleType, *paths: Path, **options: object) -> list[Frame]:
    return list(opened(bags, *paths, **options).frames())


def check_motion(bags: ModuleType, frames: list[Frame], count: int = COUNT) -> None:
    """Assert that these are the images of `motion`, each with where the joints were."""
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == list(range(count))
    for k, frame in enumerate(frames):
        assert np.array_equal(frame.rgb, bags.picture(k))
        assert frame.joint_pos == pytest.approx(bags.angles(k * 0.1))
        assert frame.stamp_s == pytest.approx(bags.START_S + k * 0.1)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compression", ["", "message", "file", "storage"])
@pytest.mark.parametrize("with_metadata", [True, False])
def test_bags_of_ros_2(bags: ModuleType, tmp_path: Path, storage: str, compression: str, with_metadata: bool) -> None:
    if compression == "storage" and storage == "sqlite3":
        pytest.skip("only MCAP compresses within itself")
    path = bags.write_bag_2(tmp_path / "bag", bags.motion(), storage, compression)
    if not with_metadata:
        (path / "metadata.yaml").unlink()
    recording = opened(bags, path)
    check_motion(bags, list(recording.frames()))
    check_motion(bags, list(recording.frames()))  # as often as wanted
    assert recording.notes.sentences() == ["10 of 10 images taken"]
    assert recording.camera is not None
    assert recording.camera.is_ideal


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_file_alone(bags: ModuleType, tmp_path: Path, storage: str) -> None:
    folder = bags.write_bag_2(tmp_path / "bag", bags.motion(), storage)
    (file,) = (file for file in folder.iterdir() if file.name != "metadata.yaml")
    check_motion(bags, read(bags, file))


def test_bags_of_ros_1(bags: ModuleType, tmp_path: Path) -> None:
    path = bags.write_bag_1(tmp_path / "one.bag", bags.motion(ros=1))
    check_motion(bags, read(bags, path))


@pytest.mark.parametrize("with_metadata", [True, False])
def test_split_bags_are_one(bags: ModuleType, tmp_path: Path, with_metadata: bool) -> None:
    messages, folder = bags.motion(), tmp_path / "split"
    folder.mkdir()
    names = []
    for k in range(12):  # 10 must come after 9
        part = bags.write_bag_2(tmp_path / f"part{k}", messages[k * 5 :] if k == 11 else messages[k * 5 : k * 5 + 5])
        names.append(f"split_{k}.mcap")
        shutil.copy(part / f"part{k}.mcap", folder / names[-1])
    if with_metadata:
        (folder / "metadata.yaml").write_text(f"rosbag2_bagfile_information: {{relative_file_paths: {names}}}")
    frames = read(bags, folder)
    check_motion(bags, frames)
    assert {frame.episode for frame in frames} == {0}


def test_a_file_that_the_metadata_name_is_missed(bags: ModuleType, tmp_path: Path) -> None:
    path = bags.write_bag_2(tmp_path / "bag", bags.motion())
    (path / "bag.mcap").rename(path / "other.mcap")
    with pytest.raises(InputError, match=r"expected the files that metadata.yaml names, got none of \['bag.mcap'\]"):
        read(bags, path)


@pytest.mark.parametrize("kind", ["bag", "mcap", "db3"])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_the_intact_part_of_a_truncated_bag_is_read(bags: ModuleType, tmp_path: Path, kind: str, share: float) -> None:
    messages = bags.motion(500, ros=1 if kind == "bag" else 2)
    if kind == "bag":
        file = bags.write_bag_1(tmp_path / "one.bag", messages)
    else:
        folder = bags.write_bag_2(tmp_path / "bag", messages, "mcap" if kind == "mcap" else "sqlite3")
        file = folder / f"bag.{kind}"
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    recording = opened(bags, file)
    frames = list(recording.frames())
    assert 500 * share - 120 < len(frames) <= 500 * share + 5  # a chunk of 1 MB is whole or not read
    for k, frame in enumerate(frames):
        assert np.array_equal(frame.rgb, bags.picture(k))
        assert frame.joint_pos == pytest.approx(bags.angles(k * 0.1))
    assert any("is not whole" in line or "cut off" in line for line in recording.notes.sentences())


@pytest.mark.parametrize("name", ["x.bag", "x.mcap", "x.db3", "x.mcap.zstd"])
def test_what_is_no_bag_is_refused_in_one_line(bags: ModuleType, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a bag" * 100)
    with pytest.raises(InputError, match=r"^.*x\..*: expected a (bag|zstd file), got") as caught:
        read(bags, tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["x.mcap", "x.mcap.zstd"])
def test_git_lfs_pointer_to_a_bag_is_named(bags: ModuleType, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:27\nsize 825\n")
    with pytest.raises(InputError, match=r"x\.mcap.*: expected the file itself, got Git LFS's pointer"):
        read(bags, tmp_path / name)


def test_images_that_repeat_are_taken_once_and_counted(bags: ModuleType, tmp_path: Path) -> None:
    data = [bags.png(k) for k in range(3)]
    messages = [message for message in bags.motion() if "image" not in message.topic]
    messages += [bags.compressed(data[k // 3], bags.START_S + 0.1 * k) for k in range(9)]
    path = bags.write_bag_2(tmp_path / "bag", sorted(messages, key=lambda one: one.received_s))
    recording = opened(bags, path)
    frames = list(recording.frames())
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [0, 1, 2]
    assert [frame.stamp_s - bags.START_S for frame in frames] == pytest.approx([0, 0.3, 0.6])
    assert recording.notes.repeated == 6
    assert len(read(bags, path, repeated=True)) == 9


def test_ambiguous_topics_are_listed(bags: ModuleType, tmp_path: Path) -> None:
    messages = [*bags.motion(), bags.image(1, bags.START_S + 2, "/wrist/image_raw")]
    path = bags.write_bag_2(tmp_path / "bag", messages)
    with pytest.raises(InputError, match=r"one topic of images, got \['/camera/image_raw', '/wrist/image_raw'\]"):
        read(bags, path)
    check_motion(bags, read(bags, path, image_topic="/camera/image_raw"))
    with pytest.raises(InputError, match=r"--image-topic of \['/camera/image_raw', .*, got '/nowhere'"):
        read(bags, path, image_topic="/nowhere")


def test_depth_and_the_compressed_twin_are_not_ambiguous(bags: ModuleType, tmp_path: Path) -> None:
    late = bags.START_S + 2
    twins = [bags.compressed(bags.png(1), late), bags.image(1, late, "/camera/depth/image_raw")]
    check_motion(bags, read(bags, bags.write_bag_2(tmp_path / "bag", [*bags.motion(), *twins])))


def test_a_bag_without_images_says_what_is_there(bags: ModuleType, tmp_path: Path) -> None:
    path = bags.write_bag_2(tmp_path / "bag", [bags.joints(bags.START_S, ["a", "b"], [0, 0])])
    with pytest.raises(InputError, match=r"got none: there are /joint_states \(JointState\)"):
        read(bags, path)


def test_joint_states_of_several_publishers_are_merged(bags: ModuleType, tmp_path: Path) -> None:
    messages = [message for message in bags.motion() if "joint" not in message.topic]
    for k in range(41):
        time_s = k / 40
        messages.append(bags.joints(bags.START_S + time_s, ["a"], bags.angles(time_s)[:1], "/left/joint_states"))
        messages.append(bags.joints(bags.START_S + time_s, ["b"], bags.angles(time_s)[1:], "/right/joint_states"))
    path = bags.write_bag_2(tmp_path / "bag", sorted(messages, key=lambda one: one.received_s))
    check_motion(bags, read(bags, path))
    with pytest.raises(InputError, match=r"got \['a'\]: missing \['b'\]"):
        read(bags, path, joint_topics=("/left/joint_states",))


def test_a_header_without_a_stamp_is_refused_and_the_recorders_clock_offered(bags: ModuleType, tmp_path: Path) -> None:
    messages = bags.motion()
    for message in messages:
        message.value.header.stamp.sec = message.value.header.stamp.nanosec = 0
    path = bags.write_bag_2(tmp_path / "bag", messages)
    with pytest.raises(InputError, match="expected stamps in the messages' headers, got 0: --stamps received"):
        read(bags, path)
    check_motion(bags, read(bags, path, stamps="received"))


def test_a_camera_that_nobody_calibrated_is_none(bags: ModuleType, tmp_path: Path) -> None:
    messages = [bags.info(bags.START_S, focal=0.0), *bags.motion()[1:]]
    recording = opened(bags, bags.write_bag_2(tmp_path / "bag", messages))
    assert recording.camera is None
    list(recording.frames())
    assert "/camera/camera_info says nothing: the camera was not calibrated" in recording.notes.sentences()


def test_a_topic_without_a_slash(bags: ModuleType, tmp_path: Path) -> None:
    names = {"/camera/image_raw": "image_raw", "/camera/camera_info": "camera_info"}
    messages = bags.motion()
    for message in messages:
        message.topic = names.get(message.topic, message.topic)
    recording = opened(bags, bags.write_bag_2(tmp_path / "bag", messages))
    assert recording.camera is not None
    check_motion(bags, list(recording.frames()))


def test_a_camera_info_that_makes_no_camera_is_named(bags: ModuleType, tmp_path: Path) -> None:
    messages = [bags.info(bags.START_S, focal=-60.0), *bags.motion()[1:]]
    path = bags.write_bag_2(tmp_path / "bag", messages)
    with pytest.raises(InputError, match="bag: /camera/camera_info: camera: expected focal lengths above 0"):
        opened(bags, path)


def test_messages_longer_than_they_need_be_are_read(bags: ModuleType, tmp_path: Path) -> None:
    # rclpy's serialize_message leaves four bytes behind a joint state without efforts.
    check_motion(bags, read(bags, bags.write_bag_2(tmp_path / "bag", bags.motion(), over=b"\xab\x01\x00\x02")))
    with pytest.raises(InputError, match="expected messages that follow sensor_msgs/msg/JointState"):
        read(bags, bags.write_bag_2(tmp_path / "long", bags.motion(), over=b"\x00" * 80))


def test_a_damaged_image_is_left_out_and_counted(bags: ModuleType, tmp_path: Path) -> None:
    messages = [message for message in bags.motion() if "image" not in message.topic]
    data = [bags.png(k) for k in range(4)]
    data[2] = data[2][: len(data[2]) // 2]
    messages += [bags.compressed(one, bags.START_S + 0.1 * k) for k, one in enumerate(data)]
    recording = opened(bags, bags.write_bag_2(tmp_path / "bag", sorted(messages, key=lambda one: one.received_s)))
    assert len(list(recording.frames())) == 3
    assert recording.notes.damaged == 1
    assert any("expected a whole PNG" in line for line in recording.notes.sentences())
