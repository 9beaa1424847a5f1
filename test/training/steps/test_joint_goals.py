"""From images labelled with the joint angles at the goal to a bundle that drives there, by what users type."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from taskgan_ros import cli
from taskgan_ros.data.dataset import Dataset, load_dataset
from taskgan_ros.policy.bundle import Bundle, load_bundle
from taskgan_ros.policy.policy import Policy
from taskgan_ros.robot.angles import angle_difference
from taskgan_ros.training.learned import load_task_model
from taskgan_ros.training.networks import TaskModel, to_network
from taskgan_ros.training.steps.export import APPROACH_RATE, GoalGraph

Collected = Callable[..., Path]
RATE = 2.0  # 1/s


def run(*words: object) -> int:
    return cli.run([str(word) for word in words])


@pytest.fixture(scope="module")
def target(collected: Collected) -> Path:
    return collected("target_wood", "--task", "joint_goals", "--paired", "source", seed=1)


@pytest.fixture(scope="module")
def refined(collected: Collected, target: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on randomised images that went on with target images, no translator before it."""
    folder, usual = tmp_path_factory.mktemp("goals"), ["--steps", 3, "--device", "cpu"]
    randomized = collected("randomized", "--task", "joint_goals", seed=2)
    begun, out = folder / "begun", folder / "refined"
    assert run("train", "task-model", "--dataset", randomized, "--out", begun, *usual) == 0
    data = ["--source", randomized, "--target", target, "--out", out]
    assert run("refine", "--task-model", begun, *data, *usual) == 0
    return out


@pytest.fixture(scope="module")
def bundle(refined: Path, target: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("models") / "goals"
    given = ["--task-model", refined, "--target", target, "--approach-rate", RATE]
    assert run("export", *given, "--out", out) == 0
    return load_bundle(out)


@pytest.fixture(scope="module")
def data(target: Path) -> Dataset:
    return load_dataset(target)


def goals(refined: Path, data: Dataset) -> np.ndarray:
    network, learned = load_task_model(refined)
    with torch.no_grad():
        read: np.ndarray = network.eval()(to_network(torch.from_numpy(data.images))).numpy() * learned.scale
    return read


def test_the_bundle_commands_what_is_left_to_the_goal(bundle: Bundle, refined: Path, data: Dataset) -> None:
    assert (bundle.card.task, bundle.card.units, bundle.card.observes) == (
        "joint_velocities", "rad/s", ("image", "joint_pos"),
    )  # fmt: skip
    joint_pos = data.joint_pos.astype(np.float64)
    expected = RATE * (goals(refined, data) - joint_pos[:, :3])
    np.testing.assert_allclose(Policy(bundle).act(data.images, joint_pos).commands[:, 0], expected, atol=1e-4)
    turned = joint_pos + 2 * np.pi * bundle.arm.is_continuous  # as a driver may report them after a turn
    np.testing.assert_allclose(Policy(bundle).act(data.images, turned).commands[:, 0], expected, atol=1e-4)


def test_it_closes_the_loop_and_is_measured_on_recordings(
    bundle: Bundle, refined: Path, data: Dataset, target: Path, collected: Collected, tmp_path: Path
) -> None:
    assert run("evaluate", "--bundle", bundle.path, "--domain", "target_wood", "--episodes", 2, "--workers", 1) == 0
    assert run("evaluate", "--bundle", bundle.path, "--recording", target, "--json", tmp_path / "errors.json") == 0
    figures = json.loads((tmp_path / "errors.json").read_text())
    error = np.sqrt(np.square(goals(refined, data) - data.actions).mean())
    assert (figures["label_rms"], figures["units"]) == (pytest.approx(error, rel=1e-3), "rad")
    velocities = collected("target_wood", "--paired", "source", seed=1)  # the same images, which determine the goals
    assert run("evaluate", "--bundle", bundle.path, "--recording", velocities, "--json", tmp_path / "same.json") == 0
    assert json.loads((tmp_path / "same.json").read_text())["label_rms"] == pytest.approx(error, rel=1e-3)


def test_a_recordings_whole_turns_are_no_error(collected: Collected, tmp_path: Path) -> None:
    data, turned = collected("source", "--task", "joint_angles"), tmp_path / "turned.h5"
    assert run("train", "task-model", "--dataset", data, "--out", tmp_path / "f", "--steps", 2, "--device", "cpu") == 0
    assert run("export", "--task-model", tmp_path / "f", "--target", data, "--out", tmp_path / "mine") == 0
    shutil.copyfile(data, turned)
    with h5py.File(turned, "r+") as file:
        for demo in file["data"].values():
            demo["actions"][:, 0] -= 2 * np.pi  # of the first joint, which has no limits
    errors = []
    for recording in (data, turned):
        out = tmp_path / f"{recording.stem}.json"
        assert run("evaluate", "--bundle", tmp_path / "mine", "--recording", recording, "--json", out) == 0
        errors.append(json.loads(out.read_text())["label_rms_per_joint"]["m1n6s200_joint_1"])
    assert errors[1] == pytest.approx(errors[0], rel=1e-4)


def test_each_joint_goes_the_way_that_is_its_own() -> None:
    network, scale = TaskModel(3, (32, 32)), np.ones(3, np.float32)
    is_continuous = np.array([False, True, False])
    graph = GoalGraph(network.eval(), scale, RATE, is_continuous)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (20, 32, 32, 3), np.uint8))
    joint_pos = rng.uniform(-4, 4, (20, 3)).astype(np.float32)
    with torch.no_grad():
        goals = network(to_network(images)).numpy().astype(np.float64)
        expected = RATE * angle_difference(goals, joint_pos.astype(np.float64), is_continuous)
        np.testing.assert_allclose(graph(images, torch.from_numpy(joint_pos)).numpy(), expected, atol=1e-4)


def test_joints_in_another_order_are_observed_in_theirs(
    collected: Collected, yaml_file: Callable[..., Path], tmp_path: Path
) -> None:
    names = [f"m1n6s200_joint_{n}" for n in (3, 1, 2)]  # the second is the continuous one
    scene = yaml_file("scenes", "reach", {"driven_joints": names})
    data = collected("source", "--task", "joint_goals", "--scene", scene)
    assert run("train", "task-model", "--dataset", data, "--out", tmp_path / "f", "--steps", 2, "--device", "cpu") == 0
    assert run("export", "--task-model", tmp_path / "f", "--target", data, "--out", tmp_path / "mine") == 0
    made, seen = load_bundle(tmp_path / "mine"), load_dataset(data)
    joint_pos = seen.joint_pos.astype(np.float64)
    expected = APPROACH_RATE * (goals(tmp_path / "f", seen) - joint_pos[:, [2, 0, 1]])
    np.testing.assert_allclose(Policy(made).act(seen.images, joint_pos).commands[:, 0], expected, atol=1e-4)


def test_velocities_have_no_rate_of_approach(
    task_model_run: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--task-model", task_model_run, "--target", source, "--approach-rate", 2]
    assert run("export", *given, "--out", tmp_path / "mine") == 2
    assert "approach_rate: expected none but for a task model of joint goals, got 2.0" in capsys.readouterr().err


def test_refining_without_a_translator_validates_in_the_target_domain(
    refined: Path, collected: Collected, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    randomized = collected("randomized", "--task", "joint_goals", seed=2)
    other = collected("target_a", "--task", "joint_goals", seed=3)
    given = ["--task-model", refined, "--source", randomized, "--target", target, "--validation", other]
    assert run("refine", *given, "--out", tmp_path / "run", "--steps", 1) == 2
    assert "expected the domain target_wood, got target_a" in capsys.readouterr().err


def test_images_of_another_domain_need_a_translator(
    refined: Path, collected: Collected, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = collected("target_a", "--task", "joint_goals", seed=3)
    assert run("export", "--task-model", refined, "--target", other, "--out", tmp_path / "other") == 2
    assert "expected the domain randomized or target_wood, got target_a" in capsys.readouterr().err
