from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import taskgan_ros
from taskgan_ros.core import files
from taskgan_ros.core.errors import InputError, OutputExistsError
from taskgan_ros.data.dataset import (
    Dataset,
    DatasetInfo,
    EpisodeRecord,
    check_compatible,
    load_dataset,
    open_writer,
    partial_path,
    read_info,
    read_joint_pos,
)

LENGTH, SIZE, EPISODES = 4, 16, 12
INFO = DatasetInfo(
    task="joint_velocities",
    units="rad/s",
    arm="mico",
    scene="reach",
    domain="target_wood",
    paired_domain="source",
    joint_names=("a", "b", "c"),
    action_names=("c", "a"),
    height=SIZE,
    width=SIZE + 2,
    seed=3,
    images=LENGTH * EPISODES,
    episodes=EPISODES,
)


def write_dataset(
    out: Path, info: DatasetInfo, records: Iterable[tuple[int, EpisodeRecord]], resume: bool = False
) -> None:
    with open_writer(out, info, resume) as writer:
        for index, written in records:
            writer.add(index, written)


def record(index: int, paired: bool = True) -> EpisodeRecord:
    rng = np.random.default_rng(index)
    images = rng.integers(0, 256, (2, LENGTH, SIZE, 1, 3), dtype=np.uint8).repeat(SIZE + 2, axis=3)  # compressible
    actions, joint_pos = rng.random((LENGTH, 2), np.float32), rng.random((LENGTH, 3), np.float32)
    return EpisodeRecord(images[0], actions, joint_pos, images[1] if paired else None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a dataset without fault, its episodes written in no order, as several workers finish them."""
    out = tmp_path / "data.h5"
    write_dataset(out, INFO, [(k, record(k)) for k in (*range(1, EPISODES), 0)])
    return out


def refusal(path: Path) -> str:
    """Return the message with which `load_dataset` refuses."""
    with pytest.raises(InputError) as error:
        load_dataset(path)
    return str(error.value)


def test_what_is_written_is_read_back_in_order(path: Path) -> None:
    data = load_dataset(path)
    assert data.info == read_info(path) == INFO
    assert data.paired is not None
    assert data.episode.tolist() == np.repeat(np.arange(EPISODES), LENGTH).tolist()
    for index in range(EPISODES):
        rows, expected = data.episode == index, record(index)
        np.testing.assert_array_equal(data.images[rows], expected.images)
        np.testing.assert_array_equal(data.paired[rows], expected.paired)
        np.testing.assert_array_equal(data.actions[rows], expected.actions)
        np.testing.assert_array_equal(data.joint_pos[rows], expected.joint_pos)


def test_a_dataset_without_pairs_has_none(tmp_path: Path) -> None:
    info = dataclasses.replace(INFO, paired_domain="", episodes=1, images=LENGTH)
    write_dataset(tmp_path / "data.h5", info, [(0, record(0, paired=False))])
    assert load_dataset(tmp_path / "data.h5").paired is None


def test_the_file_has_robomimics_layout(path: Path) -> None:
    with h5py.File(path, "r") as file:
        assert set(file["data"]) == {f"demo_{k}" for k in range(EPISODES)}
        demo = file["data/demo_3"]
        assert demo.attrs["num_samples"] == LENGTH
        assert (demo["obs/image"].shape, demo["obs/image"].dtype) == ((LENGTH, SIZE, SIZE + 2, 3), np.uint8)
        assert demo["actions"].shape == (LENGTH, 2)
        assert demo["obs/joint_pos"].shape == (LENGTH, 3)
        assert file["data"].attrs["domain"] == "target_wood"
        assert list(file["data"].attrs["action_names"]) == ["c", "a"]


# Atomic writing


def break_after(episodes: int, out: Path, error: BaseException) -> list[str]:
    """Fail after some episodes and return the notes that the error got."""

    def broken() -> None:
        with open_writer(out, INFO) as writer:
            for index in range(episodes):
                writer.add(index, record(index))
            raise error

    with pytest.raises(type(error)) as raised:
        broken()
    return getattr(raised.value, "__notes__", [])


FAILURES = [RuntimeError("the renderer broke"), InputError("the scene is empty"), KeyboardInterrupt()]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failure_before_the_first_episode_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    assert break_after(0, tmp_path / "data.h5", error) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failure_keeps_the_episodes_done_and_says_how_to_go_on(tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "data.h5"
    partial = partial_path(out)
    notes = break_after(2, out, error)
    assert notes[-1] == f"2 of {EPISODES} episodes are kept in {partial}: go on with --resume"
    assert list(tmp_path.iterdir()) == [partial]
    with pytest.raises(InputError, match=r"partial: expected no interrupted dataset, got one: go on with --resume"):
        write_dataset(out, INFO, [])
    with open_writer(out, INFO, resume=True) as writer:
        assert writer.done == {0, 1}


HOLD = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_dataset import INFO, open_writer, record
with open_writer(Path(sys.argv[1]), INFO) as writer:
    writer.add(0, record(0))
    print("ready", flush=True)
    sys.stdin.readline()
    for index in range(1, INFO.episodes):
        writer.add(index, record(index))
"""


@pytest.mark.parametrize("resume", [False, True])
def test_two_commands_cannot_write_one_dataset(tmp_path: Path, path: Path, resume: bool) -> None:
    out = tmp_path / "shared" / "data.h5"
    env = os.environ | {"PYTHONPATH": str(Path(taskgan_ros.__file__).parents[1])}
    command = [sys.executable, "-c", HOLD.format(here=str(Path(__file__).parent)), str(out)]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        with pytest.raises(InputError) as error:
            write_dataset(out, INFO, [(0, record(0))], resume)
        first.communicate("go on\n", timeout=60)
    held = f"but one is running and holds {partial_path(out)}"
    assert str(error.value) == f"{out}: expected no other command that writes it, {held}"
    assert first.returncode == 0
    np.testing.assert_array_equal(load_dataset(out).images, load_dataset(path).images)
    assert list(out.parent.iterdir()) == [out]


def test_a_file_that_another_program_writes_is_named_as_that(path: Path) -> None:
    with (
        files.lock(path),  # as HDF5 locks what it writes
        pytest.raises(InputError, match="expected no other program to be writing it, but one holds its lock"),
    ):
        load_dataset(path)


def test_a_partial_file_without_a_byte_is_started_afresh(tmp_path: Path) -> None:
    out = tmp_path / "data.h5"
    partial_path(out).touch()  # killed between making it and the first write
    write_dataset(out, INFO, [(index, record(index)) for index in range(EPISODES)])
    assert len(load_dataset(out)) == LENGTH * EPISODES


def test_ctrl_c_in_the_middle_of_an_episode_leaves_no_half_one(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, create = tmp_path / "resumed.h5", h5py.Group.create_dataset

    def press_ctrl_c(group: Any, name: str, *args: Any, **options: Any) -> Any:
        if name == "obs/image":
            os.kill(os.getpid(), signal.SIGINT)
        return create(group, name, *args, **options)

    def interrupted() -> None:
        with open_writer(out, INFO) as writer:
            writer.add(0, record(0))
            with monkeypatch.context() as patch:
                patch.setattr(h5py.Group, "create_dataset", press_ctrl_c)
                writer.add(1, record(1))

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not out.exists()
    with open_writer(out, INFO, resume=True) as writer:
        assert writer.done == {0}
        for index in range(1, EPISODES):
            writer.add(index, record(index))
    assert not partial_path(out).exists()
    for name in ("images", "paired", "actions", "joint_pos", "episode"):
        np.testing.assert_array_equal(getattr(load_dataset(out), name), getattr(load_dataset(path), name))


def test_resuming_another_dataset_is_refused_and_the_partial_one_kept(tmp_path: Path) -> None:
    out = tmp_path / "data.h5"

    def start(info: DatasetInfo, resume: bool) -> None:
        with open_writer(out, info, resume) as writer:
            writer.add(0, record(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(INFO, resume=False)
    with pytest.raises(InputError) as error:
        start(dataclasses.replace(INFO, height=64), resume=True)
    partial = partial_path(out)
    assert str(error.value) == f"{partial}: expected a partial dataset with height 64 to go on with, got {SIZE}"
    with open_writer(out, INFO, resume=True) as writer:
        assert writer.done == {0}


def test_an_existing_output_is_not_touched(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match=r"data\.h5 exists already: expected a path that does not"):
        write_dataset(path, INFO, [])
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"data\.h5: expected a place to write a dataset to, got: .*File exists"):
        write_dataset(tmp_path / "file" / "data.h5", INFO, [])


FILL = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from taskgan_ros.core.errors import InputError
from test_dataset import INFO, record, write_dataset
try:
    write_dataset(Path(sys.argv[1]), INFO, ((k, record(k)) for k in range(1000)))
except InputError as error:
    sys.exit("; ".join(["refused: " + str(error), *error.__notes__]))
"""


def test_a_full_disk_is_reported_and_keeps_the_episodes_done(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    in_namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=1500k tmpfs '{small}'"
    if subprocess.run([*in_namespace, mount], capture_output=True).returncode:
        pytest.skip("this machine lets no user mount a small file system")
    (tmp_path / "fill.py").write_text(FILL.format(here=str(Path(__file__).parent)))
    fill = shlex.join([sys.executable, str(tmp_path / "fill.py"), str(small / "data.h5")])
    env = os.environ | {"PYTHONPATH": str(Path(taskgan_ros.__file__).parents[1])}
    script = f"{mount} && {fill}; echo status $?; ls -A '{small}'; cp '{small}'/.data.h5.partial '{tmp_path}'/kept.h5"
    done = subprocess.run([*in_namespace, script], env=env, capture_output=True, text=True)
    message = f"refused: {small}: expected room for 1.1 MB more of the dataset, got: No space left on device"
    with h5py.File(tmp_path / "kept.h5", "r") as kept:
        count = len(kept["data"])
    partial = partial_path(small / "data.h5")
    assert count > 0
    assert done.stderr == f"{message}; {count} of {EPISODES} episodes are kept in {partial}: go on with --resume\n"
    assert done.stdout == "status 1\n.data.h5.partial\n"


# Reading


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "data.h5") == f"{tmp_path / 'data.h5'}: expected a dataset file, got none"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert refusal(path).startswith(f"{path}: expected a whole HDF5 file, got a truncated or other one: ")


def test_damaged_bytes_within_a_file_are_refused(path: Path) -> None:
    with h5py.File(path, "r") as file:
        chunk = file["data/demo_2/obs/image"].id.get_chunk_info(1)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes([255]) * chunk.size
    path.write_bytes(data)
    assert refusal(path).startswith(f"{path}: expected a whole HDF5 file, got a damaged one: ")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda data: data.pop("demo_2"), f": expected {EPISODES} episodes, got {EPISODES - 1}: the file is not whole"),
        (lambda data: data["demo_2"].pop("actions"), ": expected a whole HDF5 file, got a damaged one: "),
        (lambda data: data["demo_2"]["obs"].pop("image_paired"), ": expected a whole HDF5 file, got a damaged one: "),
        (
            lambda data: data["demo_2/actions"].write_direct(np.full((LENGTH, 2), np.nan, np.float32)),
            ": demo_2: expected finite actions and joint_pos, got others",
        ),
        (
            lambda data: data["demo_2"].attrs.__setitem__("num_samples", LENGTH + 1),
            f": demo_2: expected obs/image ({LENGTH + 1}, 16, 18, 3) uint8, got ({LENGTH}, 16, 18, 3) uint8",
        ),
        (
            lambda data: data.attrs.__setitem__("height", 64),
            f": demo_0: expected obs/image ({LENGTH}, 64, 18, 3) uint8, got ({LENGTH}, 16, 18, 3) uint8",
        ),
        (
            lambda data: data.attrs.__setitem__("action_names", ["a", "b", "c"]),
            f": demo_0: expected actions ({LENGTH}, 3) float32, got ({LENGTH}, 2) float32",
        ),
        (
            lambda data: data.create_group("notes"),
            ": data: expected episodes demo_0, demo_1 and so on, got ['notes']",
        ),
        (
            lambda data: data.move("demo_2", "demo_x"),
            ": data: expected episodes demo_0, demo_1 and so on, got ['demo_x']",
        ),
        (lambda data: data.attrs.__delitem__("arm"), ": expected the attribute arm, got none"),
        (lambda data: data.attrs.__setitem__("format", 2), ": expected a taskgan_ros dataset of format 1, got 2"),
        (lambda data: data.file.pop("data"), ": expected a taskgan_ros dataset of format 1, got None"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(path: Path, fault: Callable[[Any], Any], message: str) -> None:
    with h5py.File(path, "a") as file:
        fault(file["data"])
    assert refusal(path).startswith(f"{path}{message}")


def as_fixed_length(value: Any) -> Any:
    return np.array(value, dtype="S24") if isinstance(value, tuple) else np.bytes_(value)


def as_padded(value: Any) -> Any:
    return np.array([f"{item:24}".encode() for item in ((value,) if isinstance(value, str) else value)])


def as_double(value: Any) -> Any:
    return np.float64(value)


def as_array(value: Any) -> Any:
    return np.array([[value]]) if isinstance(value, int) else np.array([value], dtype=h5py.string_dtype())


NAMES = ("joint_names", "action_names")
TEXTS = ("task", "units", "arm", "scene", "domain", "paired_domain")
NUMBERS = ("format", "height", "width", "seed", "images", "episodes")
WAYS: list[tuple[str, Callable[[Any], Any]]] = [
    (name, way) for name in TEXTS + NAMES for way in (as_fixed_length, as_padded)
]
WAYS += [(name, way) for name in TEXTS for way in (as_array,)]
WAYS += [(name, way) for name in NUMBERS for way in (as_double, as_array, np.uint16)]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_an_attribute_as_another_tool_writes_it_is_taken_for_what_it_is(
    path: Path, name: str, way: Callable[[Any], Any]
) -> None:
    with h5py.File(path, "a") as file:
        file["data"].attrs[name] = way(1 if name == "format" else getattr(INFO, name))
        file["data/demo_3"].attrs["num_samples"] = way(LENGTH) if name in NUMBERS else LENGTH
    assert load_dataset(path).info == read_info(path) == INFO


def test_an_empty_attribute_is_an_empty_text_and_one_name_a_list_of_one(tmp_path: Path) -> None:
    info = dataclasses.replace(INFO, paired_domain="", action_names=("c",), episodes=1, images=LENGTH)
    one = record(0, paired=False)
    write_dataset(tmp_path / "data.h5", info, [(0, dataclasses.replace(one, actions=one.actions[:, :1]))])
    with h5py.File(tmp_path / "data.h5", "a") as file:
        file["data"].attrs["paired_domain"] = h5py.Empty("S1")
        file["data"].attrs["action_names"] = np.bytes_("c")
    assert load_dataset(tmp_path / "data.h5").info == info


def test_doubles_are_taken_for_floats(path: Path) -> None:
    with h5py.File(path, "a") as file:
        demo = file["data/demo_2"]
        for name, dtype in (("actions", ">f8"), ("obs/joint_pos", "f2")):
            values = demo[name][()].astype(dtype)
            del demo[name]
            demo[name] = values
    data = load_dataset(path)
    assert data.actions.dtype == data.joint_pos.dtype == np.float32
    np.testing.assert_array_equal(data.actions[data.episode == 2], record(2).actions)
    np.testing.assert_allclose(data.joint_pos[data.episode == 2], record(2).joint_pos, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("height", -SIZE, "data: height: Input should be greater than 0, got -16"),
        ("episodes", 0, "data: episodes: Input should be greater than 0, got 0"),
        (
            "images",
            48.5,
            "data: images: Input should be a valid integer, got a number with a fractional part, got 48.5",
        ),
        ("images", np.inf, "data: images: Input should be a finite number, got inf"),
        ("seed", [3, 4], "data: seed: Input should be a valid integer, got [3, 4]"),
        ("arm", 5, "data: arm: Input should be a valid string, got 5"),
        ("arm", np.bytes_(b"\xff"), "data: arm: Input should be a valid string, unable to parse raw data"),
        ("arm", h5py.Empty("f4"), "data: arm: Input should be a valid string, got None"),
        ("joint_names", [1, 2, 3], "data: joint_names.0: Input should be a valid string, got 1"),
        ("joint_names", ["a", "a", "c"], "expected joint_names that differ, got ['a', 'a', 'c']"),
        ("action_names", ["a", "a"], "expected action_names that differ, got ['a', 'a']"),
        (
            "task",
            "reach",
            "expected a task that is one of ['joint_velocities', 'joint_angles', 'joint_goals'], got 'reach'",
        ),
        ("units", "deg/s", "expected units of rad/s for joint_velocities, got 'deg/s'"),
        ("units", "rad", "expected units of rad/s for joint_velocities, got 'rad'"),
        ("action_names", ["c", "d"], "expected action_names from ['a', 'b', 'c'], got ['c', 'd']"),
        ("images", 10**12, f"expected {10**12} images, got 48: the file is not whole"),
    ],
)
def test_an_attribute_that_cannot_be_is_refused(path: Path, name: str, value: Any, message: str) -> None:
    with h5py.File(path, "a") as file:
        file["data"].attrs[name] = value
    assert refusal(path).startswith(f"{path}: {message}")


def test_labels_in_degrees_are_refused(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["data/demo_2/actions"][1, 0] = -36.0
    expected = "expected actions of at most 25 rad/s in magnitude, not degrees, got 36"
    assert refusal(path) == f"{path}: demo_2: {expected}"


@pytest.mark.parametrize("value", [-LENGTH, 0, 3.5, np.nan, np.inf, "four", [4, 4]])
def test_a_number_of_samples_that_cannot_be_is_refused(path: Path, value: Any) -> None:
    with h5py.File(path, "a") as file:
        file["data/demo_2"].attrs["num_samples"] = value
    assert refusal(path).startswith(f"{path}: demo_2: expected num_samples of 1 or more, got ")


def test_what_is_no_array_or_no_group_is_refused(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["data/demo_2/actions"]
        file["data/demo_2"].create_group("actions")
    assert refusal(path) == f"{path}: demo_2: expected actions ({LENGTH}, 2) float32, got a group"
    with h5py.File(path, "a") as file:
        del file["data/demo_2"]
        file["data/demo_2"] = np.zeros(3)
    assert refusal(path).startswith(f"{path}: expected a whole HDF5 file, got a damaged one: ")


odd_values = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.booleans(),
    st.binary(max_size=9).map(np.bytes_),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9),
    st.lists(st.floats(), max_size=3),
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3),
    st.sampled_from([h5py.Empty("S1"), h5py.Empty("f4"), np.array([(1, 2.0)], "i4,f8")]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([field.name for field in dataclasses.fields(DatasetInfo)] + ["format", "num_samples"]), odd_values
)
@example("joint_names", [0.0, 0.0])
@example("format", "1\n1")
def test_whatever_an_attribute_is_a_dataset_is_read_or_refused_in_one_line(path: Path, name: str, value: Any) -> None:
    with h5py.File(path, "a") as file:
        owner = file["data/demo_1"] if name == "num_samples" else file["data"]
        before = owner.attrs.get(name, "")  # a simulated one is of no recording
        owner.attrs[name] = value
    try:
        lines = refusal_lines(path)
    finally:
        with h5py.File(path, "a") as file:
            (file["data/demo_1"] if name == "num_samples" else file["data"]).attrs[name] = before
    assert len(lines) <= 1


def refusal_lines(path: Path) -> list[str]:
    """Return what a refusal says, line by line; nothing of a dataset that is read whole."""
    try:
        assert len(load_dataset(path)) == LENGTH * EPISODES
    except InputError as error:
        return str(error).splitlines()
    return []


# Splitting and mixing


def test_training_and_validation_share_no_episode(path: Path) -> None:
    data = load_dataset(path)
    training, validation = data.split_by_episode(0.25, seed=0)
    assert sorted([*training, *validation]) == list(range(len(data)))
    assert len(set(data.episode[validation])) == 3
    assert not set(data.episode[training]) & set(data.episode[validation])
    assert data.split_by_episode(0.25, seed=0)[1].tolist() == validation.tolist()
    assert data.split_by_episode(0.25, seed=1)[1].tolist() != validation.tolist()


@pytest.mark.parametrize("share", [0.0, 0.99])
def test_each_side_of_a_split_has_an_episode(path: Path, share: float) -> None:
    assert min(map(len, load_dataset(path).split_by_episode(share, seed=0))) == LENGTH


def test_one_episode_cannot_be_split(path: Path) -> None:
    data = load_dataset(path)
    one = Dataset(INFO, data.images[:4], data.actions[:4], data.joint_pos[:4], data.episode[:4], None)
    with pytest.raises(InputError, match="target_wood: expected at least 2 episodes to split, got 1"):
        one.split_by_episode(0.1, seed=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "joint_angles"),
        ("units", "rad"),
        ("arm", "ur5"),
        ("joint_names", ("x", "y", "z")),
        ("action_names", ("a", "c")),
        ("height", 64),
        ("width", 64),
    ],
)
def test_datasets_that_cannot_train_one_model_are_refused(field: str, value: Any) -> None:
    other = dataclasses.replace(INFO, domain="source", **{field: value})
    expected = getattr(INFO, field)
    with pytest.raises(InputError) as error:
        check_compatible(INFO, other)
    told = f"expected {field} {expected!r} as in target_wood, got {value!r} in source"
    assert str(error.value) == f"datasets do not fit: {told}"


def test_datasets_of_other_domains_counts_and_seeds_fit() -> None:
    check_compatible(INFO, dataclasses.replace(INFO, domain="source", paired_domain="", seed=9, images=8, episodes=2))


def test_joint_angles_are_read_without_the_images(path: Path) -> None:
    np.testing.assert_array_equal(read_joint_pos(path), load_dataset(path).joint_pos)
