from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import taskgan_ros
from taskgan_ros import cli
from taskgan_ros.core.config import resolve
from taskgan_ros.data.dataset import Dataset, load_dataset, partial_path

Collected = Callable[..., Path]
Start = Callable[[Path, int], subprocess.Popen[str]]
COLLECT = ["collect", "--domain", "source", "--image-size", "32", "--seed", "4", "--episodes", "6"]


def collect(out: Path, *options: str) -> int:
    return cli.run([*COLLECT, "--out", str(out), *options])


def arrays(data: Dataset) -> list[NDArray[np.generic]]:
    return [data.images, data.actions, data.joint_pos, data.episode]


def assert_same(first: Path, second: Path) -> None:
    one, other = load_dataset(first), load_dataset(second)
    assert one.info == other.info
    for mine, its in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what COLLECT gives without interruption and with one worker."""
    out = tmp_path_factory.mktemp("whole") / "data.h5"
    assert collect(out, "--workers", "1") == 0
    return out


def test_pairs_show_the_same_states(collected: Collected) -> None:
    paired = load_dataset(collected("target_wood", "--paired", "source", seed=1))
    plain = load_dataset(collected("source", seed=1))
    assert paired.paired is not None
    assert paired.info.paired_domain == "source"
    np.testing.assert_array_equal(paired.paired, plain.images)
    np.testing.assert_array_equal(paired.actions, plain.actions)
    np.testing.assert_array_equal(paired.joint_pos, plain.joint_pos)
    assert abs(paired.images.astype(int) - plain.images).mean() > 10


def test_a_dataset_says_what_it_holds(source: Path) -> None:
    data = load_dataset(source)
    assert len(data) == 48
    info = data.info
    assert (info.arm, info.domain, info.paired_domain, info.seed) == ("mico", "source", "", 0)
    assert (info.images, info.episodes, info.height, info.width) == (48, 3, 32, 32)
    assert (info.task, info.units, len(info.action_names)) == ("joint_velocities", "rad/s", 3)
    assert data.images.reshape(3, 16, -1).std(axis=1).mean() > 1  # the arm moves


def test_every_episode_of_velocities_ends_at_rest(source: Path) -> None:
    speeds = np.abs(load_dataset(source).actions.reshape(3, 16, 3)).sum(axis=2)
    assert (speeds[:, -1] < 1e-3).all()
    assert (speeds[:, 0] > 0.05).all()


def test_joint_goals_are_where_every_episode_ends(collected: Collected) -> None:
    data = load_dataset(collected("source", "--task", "joint_goals"))
    assert (data.info.task, data.info.units) == ("joint_goals", "rad")
    ends = data.joint_pos.reshape(3, 16, -1)[:, -1:, :3]
    np.testing.assert_allclose(data.actions.reshape(3, 16, 3), np.repeat(ends, 16, axis=1), atol=1e-6)


def test_a_task_may_have_another_number_of_joints(yaml_file: Callable[..., Path], tmp_path: Path) -> None:
    names = [f"m1n6s200_joint_{n}" for n in (5, 4, 3, 2, 1)]
    scene = yaml_file("scenes", "reach", {"driven_joints": names, "start.joint_spread": [0.5, 0.5, 0.9, 0.9, 1.2]})
    out = tmp_path / "angles.h5"
    assert collect(out, "--workers", "1", "--task", "joint_angles", "--scene", str(scene), "--episodes", "2") == 0
    data = load_dataset(out)
    assert (data.info.units, data.info.action_names) == ("rad", tuple(names))
    np.testing.assert_array_equal(data.actions, data.joint_pos[:, [4, 3, 2, 1, 0]])
    assert (data.actions.reshape(2, 16, 5).std(axis=1) > 0).all()


def test_another_seed_gives_other_states(collected: Collected) -> None:
    first, other = load_dataset(collected("source", seed=0)), load_dataset(collected("source", seed=1))
    assert (first.joint_pos[:, :3] != other.joint_pos[:, :3]).all()


def test_two_workers_give_what_one_gives(whole: Path, tmp_path: Path) -> None:
    assert collect(tmp_path / "data.h5", "--workers", "2") == 0
    assert_same(tmp_path / "data.h5", whole)
    assert [path.name for path in tmp_path.iterdir()] == ["data.h5"]


@pytest.fixture
def start_collecting() -> Iterator[Start]:
    """Return a function that gives a command in a process group of its own, with its first episodes done."""
    started = []

    def start(out: Path, episodes: int) -> subprocess.Popen[str]:
        options = ["--episodes", str(episodes), "--out", str(out), "--workers", "2"]
        command = [sys.executable, "-m", "taskgan_ros.cli", *COLLECT, *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process.pid)
        while process.poll() is None and not (partial_path(out).exists() and partial_path(out).stat().st_size > 20_000):
            time.sleep(0.02)
        return process

    yield start
    for group in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def workers(group: int) -> list[int]:
    """Return the processes of a group that render."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,pgid=,stat=,args="], capture_output=True, text=True).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()]
    return [int(pid) for pid, of, stat, words in rows if int(of) == group and "spawn_main" in words and stat[0] != "Z"]


def assert_no_worker_is_left(group: int) -> None:
    deadline = time.monotonic() + 10
    while workers(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers(group) == []


def assert_says_how_to_go_on(said: str, what: str, out: Path, episodes: int) -> None:
    last = said.splitlines()[-1]
    kept = rf"\d+ of {episodes} episodes are kept in {re.escape(str(partial_path(out)))}: go on with --resume"
    assert re.fullmatch(f"taskgan: {re.escape(what)}; {kept}", last), said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (signal.SIGTERM, "interrupted by SIGTERM"),
        (signal.SIGHUP, "interrupted by SIGHUP"),
        (signal.SIGINT, "interrupted"),
    ],
)
def test_a_signal_to_the_command_alone_ends_its_workers(
    tmp_path: Path, start_collecting: Start, number: signal.Signals, what: str
) -> None:
    process = start_collecting(tmp_path / "data.h5", 400)
    assert len(workers(process.pid)) == 2
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert_says_how_to_go_on(said, what, tmp_path / "data.h5", 400)
    assert_no_worker_is_left(process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_workers_die_with_a_command_that_is_killed(tmp_path: Path, start_collecting: Start) -> None:
    process = start_collecting(tmp_path / "data.h5", 400)
    assert len(workers(process.pid)) == 2
    process.kill()
    process.communicate(timeout=60)
    assert_no_worker_is_left(process.pid)


def test_workers_import_nothing_from_the_folder_that_the_command_is_called_in(tmp_path: Path) -> None:
    for name in ("pickle", "random", "signal", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the user's own file was imported')")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "taskgan").write_text("from taskgan_ros.cli import main\nif __name__ == '__main__': main()")
    command = [sys.executable, "bin/taskgan", *COLLECT, "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(Path(taskgan_ros.__file__).parents[1])}
    done = subprocess.run([*command, "--out", "data.h5"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_killed_worker_costs_no_finished_episode(tmp_path: Path, whole: Path, start_collecting: Start) -> None:
    out = tmp_path / "data.h5"
    process = start_collecting(out, 400)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2, said
    killed = "expected every worker to survive, got one that was killed: if memory is short, use fewer --workers"
    assert_says_how_to_go_on(said, killed, out, 400)
    assert [path.name for path in tmp_path.iterdir()] == [".data.h5.partial"]
    with h5py.File(partial_path(out), "r") as kept, h5py.File(whole, "r") as expected:
        assert len(kept["data"]) > 0
        for name in set(kept["data"]) & set(expected["data"]):  # which are done first, nobody knows
            np.testing.assert_array_equal(kept["data"][name]["obs/image"], expected["data"][name]["obs/image"])


@pytest.mark.parametrize(
    ("number", "what"), [(signal.SIGTERM, "interrupted by SIGTERM"), (signal.SIGHUP, "interrupted by SIGHUP")]
)
def test_a_signal_to_the_workers_too_ends_them_without_a_word(
    tmp_path: Path, start_collecting: Start, number: signal.Signals, what: str
) -> None:
    process = start_collecting(tmp_path / "data.h5", 400)
    os.killpg(process.pid, number)  # as a system does that stops a service, and a terminal that is closed
    _, said = process.communicate(timeout=60)
    assert_says_how_to_go_on(said, what, tmp_path / "data.h5", 400)


def test_ctrl_c_leaves_what_resume_completes(
    tmp_path: Path, start_collecting: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data.h5"
    process = start_collecting(out, 40)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert_says_how_to_go_on(said, "interrupted", out, 40)
    assert [path.name for path in tmp_path.iterdir()] == [".data.h5.partial"]

    assert collect(out, "--episodes", "40", "--workers", "1") == 2
    refused = (
        f"taskgan: {partial_path(out)}: expected no interrupted dataset, got one: go on with --resume, or remove it\n"
    )
    assert capfd.readouterr().err.endswith(refused)

    assert collect(out, "--episodes", "40", "--workers", "1", "--resume", "--seed", "5") == 2
    refused = f"taskgan: {partial_path(out)}: expected a partial dataset with seed 5 to go on with, got 4\n"
    assert capfd.readouterr().err.endswith(refused)

    assert collect(out, "--episodes", "40", "--workers", "1", "--resume") == 0
    resumed_from = int(capfd.readouterr().err.split("/40")[0].split()[-1])
    assert 0 < resumed_from < 40
    uninterrupted = tmp_path / "whole.h5"
    assert collect(uninterrupted, "--episodes", "40", "--workers", "1") == 0
    assert_same(out, uninterrupted)

    before = out.stat()
    assert collect(out, "--episodes", "40", "--workers", "1", "--resume") == 0  # as a training that has ended
    assert out.stat() == before
    assert "nothing to resume" in capfd.readouterr().out
    assert collect(out, "--episodes", "41", "--workers", "1", "--resume") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--domain", "marble"], "domains: expected a file or one of [colored, "),
        (["--paired", "marble"], "domains: expected a file or one of [colored, "),
        (
            ["--scene", "kitchen"],
            "scenes: expected a file or one of [panda_reach, poses, push, reach, so101_reach, ur5e_reach], "
            "got 'kitchen'",
        ),
        (["--episodes", "0"], "expected at least 1 episode, got 0"),
        (
            ["--image-size", "16"],
            "expected an image_size of 24 pixels or more that is a multiple of 8, as translators need",
        ),
        (
            ["--image-size", "100"],
            "expected an image_size of 24 pixels or more that is a multiple of 8, as translators need",
        ),
        (["--image-size", "4096"], "expected an image of 16 to 2048 pixels a side, got 4096x4096"),
        (["--workers", "-3"], "workers: expected at least 1, got -3"),
        (["--seed", "-1"], f"expected a seed of 0 to {2**63 - 1}, got -1"),
        (["--seed", str(2**63)], f"expected a seed of 0 to {2**63 - 1}, got {2**63}"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_wrong_option_is_refused_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str, workers: str
) -> None:
    assert collect(tmp_path / "data.h5", "--workers", workers, *options) == 2
    assert capsys.readouterr().err.startswith(f"taskgan: {message}")  # before the bar
    assert list(tmp_path.iterdir()) == []


def test_a_scene_without_an_episode_is_refused_before_anything_starts(
    tmp_path: Path, yaml_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    scene = yaml_file("scenes", "reach", {"target.radius": [3.0, 4.0]})
    begin = time.monotonic()
    assert collect(tmp_path / "new" / "data.h5", "--scene", str(scene)) == 2
    assert time.monotonic() - begin < 20
    message = "scene: expected a reachable target within (3.0, 4.0) m, got none in 200 draws"
    assert capsys.readouterr().err == f"taskgan: {message}\n"
    assert not (tmp_path / "new").exists()


needs_mitsuba = pytest.mark.skipif(importlib.util.find_spec("mitsuba") is None, reason="mitsuba")
UP = {"camera.target": [0.6, -1.0, 3.0]}  # past the arm


@pytest.mark.parametrize(
    ("scene", "name", "domain", "workers"),
    [
        (UP, "source", {}, "1"),
        (UP, "target_wood", {}, "2"),  # its noise differs, and its lamp moves
        pytest.param(UP, "lab_window", {}, "1", marks=needs_mitsuba),  # a path tracer's noise too
        ({}, "source", {"light.ambient": 0, "light.headlight": 0}, "1"),
        ({}, "source", {"sensor.gain": 0}, "1"),
    ],
)
def test_images_that_are_all_alike_are_refused_and_leave_nothing(
    scene: dict[str, object],
    name: str,
    domain: dict[str, object],
    workers: str,
    yaml_file: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine, look = yaml_file("scenes", "reach", scene), yaml_file("domains", name, domain)
    out = tmp_path / "out" / "never.h5"
    options = ["--scene", str(mine), "--domain", str(look), "--episodes", "2", "--workers", workers]
    assert collect(out, *options) == 2
    refused = (
        f"{mine} in {look}: expected a camera that sees the arm move, got 32 images that are all the same, with a mean"
    )
    assert refused in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []


def test_one_image_need_not_differ_from_another(yaml_file: Callable[..., Path], tmp_path: Path) -> None:
    scene = yaml_file("scenes", "poses", {"images_per_episode": 1})
    options = ["--scene", str(scene), "--task", "joint_angles", "--episodes", "1", "--workers", "1"]
    assert collect(tmp_path / "one.h5", *options) == 0


def test_the_summary_is_one_line_however_narrow_the_terminal(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = tmp_path / "[red]data.h5"
    assert collect(out, "--workers", "1", "--episodes", "1") == 0
    assert capsys.readouterr().out == f"{out}: 16 images of source, 0 MB\n"


def test_an_output_that_exists_is_refused_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data.h5"
    out.write_text("precious")
    for resume in ([], ["--resume"]):
        assert collect(out, *resume) == 2
        assert capsys.readouterr().err.startswith(f"taskgan: {out} exists already: expected a path that does not")
    assert out.read_text() == "precious"


def test_a_users_domain_can_be_collected(tmp_path: Path, yaml_file: Callable[..., Path], collected: Collected) -> None:
    mine = yaml_file("domains", "source", {"table.rgb": [0.1, 0.5, 0.1]})
    assert resolve("domains", mine) == mine
    data = load_dataset(collected(str(mine), episodes=1))
    assert data.info.domain == str(mine)
    assert data.images[..., 1].mean() > 1.3 * data.images[..., 0].mean()


POSES = ["--scene", "poses", "--task", "joint_angles"]


def test_random_poses_are_labelled_with_the_nominal_angles_in_every_domain(
    yaml_file: Callable[..., Path], tmp_path: Path
) -> None:
    off = yaml_file("domains", "target_a", {"calibration.joint_rad": [0.1] * 6, "sensor.jpeg_quality": [80, 90]})
    plain, real = tmp_path / "plain.h5", tmp_path / "real.h5"
    assert collect(plain, *POSES, "--workers", "1", "--episodes", "2") == 0
    assert collect(real, *POSES, "--workers", "2", "--episodes", "2", "--domain", str(off), "--paired", "source") == 0
    nominal, shown = load_dataset(plain), load_dataset(real)
    assert (nominal.info.task, nominal.info.scene, len(nominal)) == ("joint_angles", "poses", 32)
    np.testing.assert_array_equal(nominal.actions, nominal.joint_pos[:, :5])
    assert len(np.unique(nominal.joint_pos, axis=0)) == 32
    np.testing.assert_array_equal(shown.actions, nominal.actions)
    np.testing.assert_array_equal(shown.joint_pos, nominal.joint_pos)
    assert shown.paired is not None
    np.testing.assert_array_equal(shown.paired, nominal.images)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("joint_velocities", "poses: expected the task joint_angles for random poses, got joint_velocities"),
        ("joint_goals", "poses: expected a scene with the task reach for joint_goals, got poses"),
    ],
)
def test_random_poses_have_no_velocities_and_no_goal(
    task: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(tmp_path / "never.h5", "--scene", "poses", "--task", task) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_of_another_arm_is_refused_before_anything_is_written(
    yaml_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    domain = yaml_file("domains", "source", {"calibration.joint_rad": [0.1, 0.1]})
    assert collect(tmp_path / "out" / "never.h5", "--domain", str(domain)) == 2
    assert "expected calibration.joint_rad of 6 angles for mico, or none, got 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
