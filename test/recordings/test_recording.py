from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.joint_readings import JointReadings
from taskgan_ros.recordings.recording import Frame, ReadOptions, Recording, open_recording
from taskgan_ros.recordings.source import JointTracks, Source
from taskgan_ros.robot.arm import Arm, Joint
from taskgan_ros.robot.arm import Frame as ArmFrame

REAL = Path(__file__).parents[3] / "shared" / "real"
PANDA = tuple(f"panda_joint{k}" for k in range(1, 8))
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings are not here")


def opened(bags: ModuleType, path: Path, names: tuple[str, ...] = ("a", "b"), **options: object) -> Recording:
    return open_recording([path], bags.Scene(bags.arm(*names)), ReadOptions(**options))  # type: ignore[arg-type]


def stamps(frames: list[Frame], start_s: float) -> list[float]:
    return [round(frame.stamp_s - start_s, 3) for frame in frames]


@pytest.fixture
def path(bags: ModuleType, tmp_path: Path) -> Path:
    written: Path = bags.write_bag_2(tmp_path / "bag", bags.motion())
    return written


def test_images_are_later_than_what_they_show_by_the_delay(bags: ModuleType, path: Path) -> None:
    recording = opened(bags, path, delay=0.03)
    frames = list(recording.frames())
    assert recording.notes.unmatched == 1  # the first one shows the arm before its first state
    for frame in frames:
        assert frame.joint_pos == pytest.approx(bags.angles(frame.stamp_s - bags.START_S - 0.03))


def test_joint_states_too_far_apart_are_not_interpolated(bags: ModuleType, tmp_path: Path) -> None:
    kept = [one for one in bags.motion() if "joint" not in one.topic or not 1000.31 < one.received_s < 1000.69]
    recording = opened(bags, bags.write_bag_2(tmp_path / "bag", kept))
    assert stamps(list(recording.frames()), bags.START_S) == [0, 0.1, 0.2, 0.3, 0.7, 0.8, 0.9]
    assert recording.notes.unmatched == 3
    assert len(list(opened(bags, tmp_path / "bag", largest_gap=0.5).frames())) == 10


def test_the_user_can_leave_parts_out(bags: ModuleType, path: Path) -> None:
    times = {
        "skip_start": (0.25, [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        "skip": (((0.15, 0.55), (0.75, 0.85)), [0, 0.1, 0.6, 0.7, 0.9]),
        "skip_end": (0.35, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),  # the joint states end at 1.0
        "rate": (5.0, [0, 0.2, 0.4, 0.6, 0.8]),
    }
    for option, (value, expected) in times.items():
        recording = opened(bags, path, ("a", "b"), **{option: value})
        assert stamps(list(recording.frames()), bags.START_S) == expected, option
        assert recording.notes.skipped + recording.notes.thinned == 10 - len(expected)


def test_stamps_that_go_back(bags: ModuleType, tmp_path: Path) -> None:
    messages = bags.motion()
    images = [one for one in messages if "image" in one.topic]
    images[4].value.header, images[5].value.header = images[5].value.header, images[4].value.header
    recording = opened(bags, bags.write_bag_2(tmp_path / "bag", messages))
    assert stamps(list(recording.frames()), bags.START_S) == [0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert recording.notes.backwards == 1


def test_a_clock_that_was_set_back_is_refused(bags: ModuleType, tmp_path: Path) -> None:
    messages = bags.motion()
    for message in messages[len(messages) // 2 :]:
        message.value.header.stamp.sec -= 10
    with pytest.raises(InputError, match=r"whose stamps increase, got some 9\.9\d s before the last"):
        opened(bags, bags.write_bag_2(tmp_path / "bag", messages))


def test_positions_that_are_no_numbers_are_left_out(bags: ModuleType, tmp_path: Path) -> None:
    messages = bags.motion()
    states = [one for one in messages if "joint" in one.topic]
    for one in states[5:8]:
        one.value.position[:] = np.nan
    recording = opened(bags, bags.write_bag_2(tmp_path / "bag", messages))
    for frame in recording.frames():
        assert frame.joint_pos == pytest.approx(bags.angles(frame.stamp_s - bags.START_S))
    assert recording.notes.not_finite == 9


def test_an_image_of_another_size_is_refused(bags: ModuleType, tmp_path: Path) -> None:
    kept = [one for one in bags.motion() if "image" not in one.topic or one.received_s < 1000.85]
    messages = [*kept, bags.image(9, bags.START_S + 0.9, shape=(24, 32))]
    recording = opened(bags, bags.write_bag_2(tmp_path / "bag", messages))
    with pytest.raises(InputError, match=r"images of 64x48 throughout, got 32x24 at 1000.900 s"):
        list(recording.frames())


def test_joints_that_are_missing_are_named(bags: ModuleType, path: Path) -> None:
    expected = r"the joints \['a', 'c', 'd'\] of two, got \['b', 'other', 'a'\]: missing \['c', 'd'\]"
    with pytest.raises(InputError, match=expected):
        opened(bags, path, ("a", "c", "d"))


def test_joints_have_other_names(bags: ModuleType, path: Path) -> None:
    (first, *_) = opened(bags, path, ("one", "two"), joint_names=("b", "a"), skip_start=0.35).frames()
    assert first.joint_pos == pytest.approx(bags.angles(0.4)[::-1])
    with pytest.raises(InputError, match=r"--joint-names for each of \['one', 'two'\], got 1: \['b'\]"):
        opened(bags, path, ("one", "two"), joint_names=("b",))


def test_a_still_arm_jumps_and_gaps_are_counted(bags: ModuleType, tmp_path: Path) -> None:
    messages = [bags.info(bags.START_S)]
    for k in range(20):
        stamp_s = bags.START_S + 0.1 * k + (2 if k >= 15 else 0)
        messages += [bags.joints(stamp_s, ["a", "b"], [0.9 * (k == 12), 0]), bags.image(k, stamp_s)]
    recording = opened(bags, bags.write_bag_2(tmp_path / "bag", messages))
    list(recording.frames())
    notes = recording.notes
    assert (notes.still, notes.jumps, notes.gaps) == (17, 2, 1)
    assert notes.longest_gap_s == pytest.approx(2.1)
    assert "the arm stands still in 17 of 20 images" in notes.sentences()


def test_numbers_that_look_like_degrees_are_named(bags: ModuleType, tmp_path: Path) -> None:
    messages = [one for one in bags.motion() if "joint" not in one.topic]
    messages += [bags.joints(bags.START_S + 0.1 * k, ["a", "b"], [90.0, 20.0]) for k in range(11)]
    path = bags.write_bag_2(tmp_path / "bag", sorted(messages, key=lambda one: one.received_s))
    recording = opened(bags, path)
    list(recording.frames())
    assert any("look like degrees" in line and "a at 90" in line for line in recording.notes.sentences())
    (first, *_) = opened(bags, path, units="degrees").frames()
    assert first.joint_pos == pytest.approx([np.pi / 2, np.pi / 9])


def test_a_delay_is_found_in_motion(bags: ModuleType, tmp_path: Path) -> None:
    """A square crosses the image as joint a turns, and the camera is 87 ms late."""
    delay_s, messages = 0.087, [bags.info(bags.START_S)]

    def place(time_s: float) -> float:
        return 0.5 * (np.sin(1.7 * time_s) + np.sin(0.9 * time_s + 1))

    messages += [bags.joints(bags.START_S + 0.01 * k, ["a", "b"], [place(0.01 * k), 0]) for k in range(1300)]
    for k in range(360):
        one = bags.image(0, bags.START_S + k / 30)
        pixels, at = np.full((48, 64, 3), 40, np.uint8), 24 + 20 * place(k / 30 - delay_s)
        columns = np.clip(8 - np.abs(np.arange(64) - at - 8), 0, 1)  # soft edges, that move by parts of a pixel
        pixels[20:36] = (40 + 180 * columns).astype(np.uint8)[None, :, None]
        one.value.data = pixels.ravel()
        messages.append(one)
    path = bags.write_bag_2(tmp_path / "bag", sorted(messages, key=lambda one: one.received_s))
    recording = opened(bags, path, delay="estimate", repeated=True)
    list(recording.frames())
    assert recording.notes.delay_s == pytest.approx(delay_s, abs=0.01)
    assert recording.notes.delay_error_s is not None
    assert recording.notes.delay_error_s < 0.02


def test_a_delay_that_nothing_shows_is_refused(bags: ModuleType, tmp_path: Path) -> None:
    messages = bags.motion(100)
    recording = opened(bags, bags.write_bag_2(tmp_path / "bag", messages), delay="estimate")
    with pytest.raises(InputError, match="expected motion in images and joints that fits at one delay"):
        list(recording.frames())


# Where the arm was


def readings(stamps_s: list[float], positions: list[float], joint: Joint, **options: object) -> JointReadings:
    tracks = JointTracks()
    for stamp_s, position in zip(stamps_s, positions, strict=True):
        tracks.add(stamp_s, [joint.name], [position])
    arm = Arm(name="x", joints=(joint,), tip=ArmFrame(xyz=(0, 0, 0), rpy=(0, 0, 0)), home=(0.0,), links=((),))
    source = Source("it", lambda: iter(()), 0, tracks)
    return JointReadings(source, arm, ReadOptions(**{"units": "radians", **options}))  # type: ignore[arg-type]


def joint(**limits: float) -> Joint:
    return Joint(name="a", origin_xyz=(0, 0, 0), origin_rpy=(0, 0, 0), max_velocity=1, max_acceleration=1, **limits)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=20, unique=True), st.floats(-1, 11))
def test_between_two_states_the_line_and_beyond_nothing(times: list[float], time_s: float) -> None:
    times.sort()
    found = readings(times, [2 * t for t in times], joint(lower=-30, upper=30), largest_gap=100.0).at(time_s)
    if min(times) <= time_s <= max(times):
        assert found == pytest.approx([2 * time_s], abs=0.003)  # a state within a millisecond is the image's own
    elif min(abs(time_s - t) for t in times) > 0.0011:
        assert found is None


def test_a_continuous_joint_passes_half_a_turn() -> None:
    found = readings([0.0, 0.1], [3.1, -3.1], joint()).at(0.05)
    assert found is not None
    assert np.mod(found, 2 * np.pi) == pytest.approx([np.pi], abs=1e-6)


def test_lerobots_units_span_the_limits() -> None:
    found = readings([0.0, 0.1], [-100.0, 50.0], joint(lower=-1, upper=2), units="lerobot")
    assert found.at(0.0) == pytest.approx([-1])
    assert found.at(0.1) == pytest.approx([1.25])
    assert "taken to span each joint's limits" in found.remarks[0]
    with pytest.raises(InputError, match="a: expected limits for positions in lerobot's -100 to 100, got none"):
        readings([0.0], [0.0], joint(), units="lerobot")


# Folders


def folder(bags: ModuleType, path: Path, table: str, name: str = "labels.csv") -> Path:
    path.mkdir()
    for k in range(3):
        (path / f"{k}.png").write_bytes(bags.png(k))
    (path / name).write_text(table)
    return path


def test_a_csv(bags: ModuleType, tmp_path: Path) -> None:
    table = "image,stamp,b,a\n0.png,5.0,10,20\n1.png,5.1,11,21\n2.png,5.3,12,22\n"
    path = folder(bags, tmp_path / "images", table)
    with pytest.raises(InputError, match="expected --units for joint positions, as the file does not have them"):
        opened(bags, path)
    frames = list(opened(bags, path, units="degrees").frames())
    assert stamps(frames, 0) == [5.0, 5.1, 5.3]
    assert np.degrees(frames[2].joint_pos) == pytest.approx([22, 12])
    assert np.array_equal(frames[1].rgb, bags.picture(1))


def test_a_json_without_stamps(bags: ModuleType, tmp_path: Path) -> None:
    rows = [{"image": f"{k}.png", "joint_names": ["b", "a"], "positions_rad": [k, -k]} for k in range(3)]
    recording = opened(bags, folder(bags, tmp_path / "images", json.dumps(rows), "any.json"))
    frames = list(recording.frames())
    assert frames[2].joint_pos == pytest.approx([-2, 2])
    assert "any.json has no stamps: its images count as 1 s apart" in recording.notes.sentences()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,a,b\n", "expected a row for each image, got none"),
        ("picture,a,b\n0.png,1,2\n", "row 1: expected a number, got '0.png'|row 1: picture: expected a number"),
        ("image,a,b\n9.png,1,2\n", r"expected 1 images, got none of \[.*9.png'\] \(1 missing\)"),
        ("image,a,b\n0.png,1,x\n", "row 1: b: expected a number, got 'x'"),
        ("image,a\n0.png,1\n", r"missing \['b'\]"),
        ("image,stamp,a,b\n0.png,0,1,2\n1.png,nan,1,2\n", "row 2: stamp: expected a finite number, got nan"),
        ("image,stamp,a,b\n0.png,inf,1,2\n", "row 1: stamp: expected a finite number, got inf"),
        ("image,a,b\n0.png,1,-inf\n", "row 1: b: expected a finite number, got -inf"),
        ("image,a,b,a\n0.png,1,2,3\n", r"expected each column once, got \['a'\] more often"),
    ],
)
def test_a_table_that_does_not_fit(bags: ModuleType, tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        opened(bags, folder(bags, tmp_path / "images", table), units="radians")


def test_git_lfs_pointers_to_images_are_named(bags: ModuleType, tmp_path: Path) -> None:
    images = folder(bags, tmp_path / "images", "image,a,b\n0.png,1,2\n")
    (images / "0.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:27\nsize 825\n")
    with pytest.raises(InputError, match=r"0\.png: expected the file itself, got Git LFS's pointer"):
        opened(bags, images, units="radians")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"positions_rad": None, "positions_deg": [1, 1]},
            "row 2: expected positions_rad as in row 1, got positions_deg",
        ),
        (
            {"positions_rad": None, "a": 1, "b": 1},
            "row 2: expected positions_rad as in row 1, got a key for each joint",
        ),
        ({"stamp": None}, "row 2: expected 'stamp', got"),
        ({"positions_rad": [10**400, 0]}, "row 2: positions_rad: expected a number, got 1000"),
        ({"image": "x" * 300}, "expected 2 images, got none of"),
    ],
)
def test_rows_that_differ_in_kind(bags: ModuleType, tmp_path: Path, change: dict[str, object], message: str) -> None:
    rows = [{"image": "0.png", "stamp": k, "joint_names": ["a", "b"], "positions_rad": [0, 0]} for k in range(2)]
    rows[1] = {key: value for key, value in (rows[1] | change).items() if value is not None}
    with pytest.raises(InputError, match=message):
        opened(bags, folder(bags, tmp_path / "images", json.dumps(rows), "labels.json"))


@pytest.mark.parametrize(
    "options",
    [
        {"rate": float("nan")}, {"rate": 0.0}, {"rate": float("inf")}, {"camera_fov": -1.0}, {"camera_fov": 60.0},
        {"largest_gap": float("nan")}, {"skip_start": -1.0}, {"skip_end": float("nan")}, {"delay": float("nan")},
        {"skip": ((float("nan"), 1.0),)}, {"skip": ((2.0, 1.0),)}, {"skip": ((-2.0, 1.0),)},
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_named(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')}: expected .*, got "):
        ReadOptions(**options)  # type: ignore[arg-type]


def test_a_recording_given_twice_is_refused(bags: ModuleType, path: Path) -> None:
    again = path.parent / "x" / ".." / path.name
    with pytest.raises(InputError, match=r"expected recordings that differ, got .* more than once"):
        open_recording([path, again], bags.Scene(bags.arm("a", "b")), ReadOptions())


def test_what_is_no_recording(bags: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a bag .*, got nothing there"):
        opened(bags, tmp_path / "nowhere")
    with pytest.raises(InputError, match="or images with one CSV or JSON of joint angles, got none of them"):
        opened(bags, tmp_path)


# What others recorded


@real
@pytest.mark.parametrize(
    ("name", "count", "images"),
    [
        ("bags/panda_9s_mcap", 47, 275),
        ("bags/panda_9s_raw_sqlite3", 47, 47),
        ("panda", 47, 47),
    ],
)
def test_the_pandas_clip(bags: ModuleType, name: str, count: int, images: int) -> None:
    recording = opened(bags, REAL / name, PANDA)
    frames = list(recording.frames())
    assert (len(frames), recording.notes.images) == (count, images)
    labels = json.loads((REAL / "panda" / "labels.json").read_text())
    for frame, label in zip(frames, labels, strict=True):
        assert frame.joint_pos == pytest.approx(label["positions_rad"], abs=1e-4)
    assert recording.camera is not None


@real
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bags/rosbag2_2025_09_10-13_03_56_0.mcap", r"one topic of images, got \['/compressed_image', '/image'\]"),
        ("bags/kuka_lwr_joint_states_41s.bag", r"got none: there are /joint_states \(JointState\)"),
        ("bags/realsense_color_depth_0.5s.bag", "got a file of librealsense's own recorder"),
        ("lerobot_cr5", "expected the files of 81 episodes, got those of 2, an incomplete download: --episodes 0 1"),
    ],
)
def test_what_cannot_be_used_says_why_in_one_line(bags: ModuleType, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        opened(bags, REAL / name, PANDA)
    assert len(str(caught.value).splitlines()) == 1
