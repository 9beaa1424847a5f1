from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import taskgan_ros
from taskgan_ros import cli
from taskgan_ros.core.config import resolve
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.sim.evaluate import EvaluateConfig, rollout, summarise
from taskgan_ros.tasks.registry import load_motion_scene
from taskgan_ros.tasks.scene import MotionScene

SPEED = 0.628  # rad/s, the limit of each of the three joints
KEYS = {
    "success_rate",
    "final_distance_mean_m",
    "final_distance_std_m",
    "episodes",
    "steps",
    "threshold_m",
    "domain",
    "bundle",
    "seed",
    "translate",
    "command",
}


@pytest.fixture
def scene(short_scene: Path) -> MotionScene:
    return load_motion_scene(short_scene)


@pytest.fixture
def cell(scene: MotionScene) -> Iterator[Cell]:
    with Cell(scene, load_domain("source"), 16) as cell:
        yield cell


@pytest.fixture
def other_bundle(bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that gives the bundle with another card."""

    def copy(**changes: Any) -> Path:
        shutil.copytree(bundle, tmp_path / "bundle")
        card = tmp_path / "bundle" / "bundle.yaml"
        card.write_text(yaml.safe_dump({**yaml.safe_load(card.read_text()), **changes}))
        return card.parent

    return copy


def test_success_is_judged_at_the_last_step() -> None:
    distances = np.array([[0.5, 0.02, 0.3], [0.5, 0.4, 0.06], [0.05, 0.05, 0.1], [0.6, 0.2, 0.02]])
    config = EvaluateConfig(bundle="my bundle", domain="target_wood", episodes=4, translate=False)
    figures = summarise(distances, load_motion_scene("reach"), config)
    assert set(figures) == KEYS
    assert figures["success_rate"] == 0.5  # 0.06 and 0.02; 0.1 is not within 0.1
    assert figures["final_distance_mean_m"] == pytest.approx(0.12)
    assert figures["final_distance_std_m"] == pytest.approx(np.std([0.3, 0.06, 0.1, 0.02]))
    assert (figures["episodes"], figures["steps"], figures["threshold_m"]) == (4, 2, 0.1)
    expected = "taskgan evaluate --bundle 'my bundle' --domain target_wood --episodes 4 --seed 1000 --no-translate"
    assert figures["command"] == expected


def test_a_policy_that_does_nothing_stays_where_the_test_episodes_start(scene: MotionScene, cell: Cell) -> None:
    distances = rollout(scene, cell, lambda images, _: np.zeros((len(images), 3)), 1000, range(4, 7))
    starts = [scene.distance(scene.sample_start(1000, index).state) for index in range(4, 7)]
    assert distances.shape == (3, scene.steps + 1)
    np.testing.assert_allclose(distances, np.tile(starts, (scene.steps + 1, 1)).T)


def test_a_policy_sees_every_episode_at_every_step_and_moves_no_faster_than_the_arm_can(
    scene: MotionScene, cell: Cell
) -> None:
    seen, measured = [], []

    def act(images: np.ndarray, joint_pos: np.ndarray) -> np.ndarray:
        seen.append(images)
        measured.append(joint_pos)
        return np.array([[9.0, 0.0, 0.0], [0.0, 0.0, 0.1]])

    distances = rollout(scene, cell, act, 1000, range(2))
    for index, step in enumerate(([SPEED, 0, 0, 0, 0, 0], [0, 0, 0.1, 0, 0, 0])):
        state = scene.sample_start(1000, index).state
        for k in range(scene.steps + 1):
            moved = state.moved_to(state.joint_pos + 0.1 * k * np.array(step))
            assert distances[index, k] == pytest.approx(scene.distance(moved))
            if k < scene.steps:
                np.testing.assert_allclose(measured[k][index], moved.joint_pos)
                np.testing.assert_array_equal(seen[k][index], cell.render(moved, cell.sample_look(1000, index)))


def test_distances_are_where_the_arm_really_is(scene: MotionScene, yaml_file: Callable[..., Path]) -> None:
    off = yaml_file("domains", "source", {"calibration.joint_rad": [0.1, 0, 0, 0, 0, 0]})
    with Cell(scene, load_domain(off), 16) as cell:
        distances = rollout(scene, cell, lambda images, _: np.zeros((len(images), 3)), 1000, range(1))
    state = scene.sample_start(1000, 0).state
    really = state.moved_to(state.joint_pos + np.array([0.1, 0, 0, 0, 0, 0]))
    np.testing.assert_allclose(distances, scene.distance(really))


def test_a_bundle_is_evaluated_from_the_command_line(
    bundle: Path,
    tmp_path: Path,
    scene: MotionScene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = tmp_path / "results" / "evaluation.json"
    words = ["evaluate", "--bundle", str(bundle), "--domain", "target_a", "--episodes", "12", "--json", str(out)]
    assert cli.run([*words, "--workers", "2"]) == 0
    (line,) = capsys.readouterr().out.splitlines()  # not wrapped
    assert line.startswith(f"{bundle} in target_a: ")
    assert [path.name for path in out.parent.iterdir()] == ["evaluation.json"]
    figures = json.loads(out.read_text())
    assert set(figures) == KEYS
    assert (figures["episodes"], figures["steps"], figures["seed"]) == (12, scene.steps, 1000)
    assert (figures["bundle"], figures["domain"], figures["translate"]) == (str(bundle), "target_a", True)
    assert 0 < figures["final_distance_mean_m"] < 1

    assert cli.run(words) == 2  # the file exists now
    again = tmp_path / "again.json"
    assert cli.run([*words[:-1], str(again), "--workers", "1"]) == 0
    assert json.loads(again.read_text()) == figures


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--domain", "marble"], "domains: expected a file or one of [colored, "),
        (["--bundle", "marble"], "bundle: expected a folder or one of ["),
        (["--scene", "ur5e_reach"], "ur5e_reach: expected a scene of mico, the bundle's arm, got ur5e"),
        (["--episodes", "0"], "expected at least 1 episode, got 0"),
        (["--seed", "-5"], f"expected a seed of 0 to {2**63 - 1}, got -5"),
        (["--seed", "1"], "expected a seed that no training data was drawn with ({'source_data': 0, 'target_data': 1"),
    ],
)
def test_a_wrong_option_is_refused(
    bundle: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["evaluate", "--bundle", str(bundle), "--domain", "source", *options]) == 2
    assert capsys.readouterr().err.startswith(f"taskgan: {message}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": "joint_angles", "units": "rad"},
            "tiny: expected a bundle of joint_velocities to close the loop with, got joint_angles",
        ),
        (
            {"joint_names": [f"m1n6s200_joint_{n}" for n in (3, 2, 1)]},
            "tiny: expected the joints ('m1n6s200_joint_1', 'm1n6s200_joint_2', 'm1n6s200_joint_3') in this order, "
            "got ('m1n6s200_joint_3', 'm1n6s200_joint_2', 'm1n6s200_joint_1')",
        ),
    ],
)
def test_a_bundle_that_does_not_fit_the_scene_is_refused(
    other_bundle: Callable[..., Path],
    changes: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["evaluate", "--bundle", str(other_bundle(**changes)), "--domain", "source"]) == 2
    assert capsys.readouterr().err == f"taskgan: {message}\n"


def test_a_bundle_for_another_arm_is_refused(
    bundle: Path, other_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arm = yaml.safe_load(resolve("arms", "mico").read_text())
    arm["joints"][1]["max_velocity"] = 0.1
    slow = yaml.safe_dump(arm).encode()
    files = yaml.safe_load((bundle / "bundle.yaml").read_text())["files"]
    path = other_bundle(arm="slow.yaml", files=files | {"slow.yaml": hashlib.sha256(slow).hexdigest()})
    (path / "slow.yaml").write_bytes(slow)
    assert cli.run(["evaluate", "--bundle", str(path), "--domain", "source"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "taskgan: tiny: expected a bundle for the scene's arm mico, got one for slow.yaml: expected "
    )
    assert "max_velocity=0.628" in said.split(", got Joint")[0]
    assert "max_velocity=0.1," in said.split(", got Joint")[1]


def test_a_bad_place_for_the_figures_is_refused_before_the_first_episode(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "evaluation.json"
    words = ["evaluate", "--bundle", str(bundle), "--domain", "source", "--json", str(place)]
    assert cli.run(words) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"taskgan: {place}: expected a place to write the figures to, got: ")
    assert "evaluate in" not in said.err  # no bar
    assert said.out == ""


def test_figures_that_cannot_be_written_in_the_end_are_shown(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "results" / "evaluation.json"

    def summarise_without_folder(*args: Any) -> dict[str, object]:
        place.parent.rmdir()  # somebody tidies up while the episodes run
        return summarise(*args)

    monkeypatch.setattr("taskgan_ros.sim.evaluate.summarise", summarise_without_folder)
    words = ["evaluate", "--bundle", str(bundle), "--domain", "source", "--episodes", "1", "--json", str(place)]
    assert cli.run(words) == 2
    said = capsys.readouterr()
    assert "in source: " in said.out
    assert said.err.splitlines()[-1].startswith(f"taskgan: {place}: expected to write the figures above there, got: ")


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ("PYTHONIOENCODING=ascii $evaluate --json figures.json", 0, ""),
        ("$evaluate --json figures.json | true; exit ${PIPESTATUS[0]}", 0, "got: [Errno 32] Broken pipe"),
        ("$evaluate --json figures.json >/dev/full", 0, "got: [Errno 28] No space left on device"),
        ("$evaluate --json figures.json 2> >(true)", 0, ""),
        ("$evaluate >/dev/full", 2, "standard output: expected to print the figures there, got: [Errno 28] No space"),
        ("$evaluate --workers -3", 2, "taskgan: workers: expected at least 1, got -3"),
        ("MUJOCO_GL= $evaluate --json figures.json", 0, ""),
        ("MUJOCO_GL=bogus $evaluate", 2, "taskgan: MUJOCO_GL: expected egl, osmesa or glfw, got 'bogus'"),
        ("$evaluate --json -", 2, "expected a path to write to, got -"),
    ],
)
def test_figures_are_written_or_what_is_wrong_is_one_line(
    script: str, status: int, said: str, bundle: Path, tmp_path: Path
) -> None:
    words = ["evaluate", "--bundle", str(bundle), "--domain", "source", "--episodes", "1", "--workers", "1"]
    variables = os.environ | {"evaluate": f"{sys.executable} -m taskgan_ros.cli {' '.join(words)}"}
    variables["PYTHONPATH"] = str(Path(taskgan_ros.__file__).parents[1])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    written = list(tmp_path.iterdir())
    assert [path.name for path in written] == ["figures.json"] * (status == 0)
    assert all(json.loads(path.read_text())["episodes"] == 1 for path in written)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_an_evaluation_and_its_workers(number: signal.Signals, bundle: Path, tmp_path: Path) -> None:
    words = ["evaluate", "--bundle", str(bundle), "--domain", "source", "--episodes", "20000", "--workers", "2"]
    log = tmp_path / "log"
    with log.open("w") as file:
        command = [sys.executable, "-m", "taskgan_ros.cli", *words]
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    while process.poll() is None and "success=" not in log.read_text():
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=30) == 130
    assert log.read_text().splitlines()[-1] == f"taskgan: interrupted by {number.name}"
    group = subprocess.run(["ps", "-eww", "-o", "pgid=,args="], capture_output=True, text=True).stdout
    assert not [line for line in group.splitlines() if line.split()[0] == str(process.pid) and "spawn_main" in line]
