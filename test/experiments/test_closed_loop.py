from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.closed_loop import ClosedLoopConfig, measure_closed_loop
from taskgan_ros import cli
from taskgan_ros.core.errors import InputError
from taskgan_ros.sim.evaluate import EvaluateConfig, evaluate


@pytest.fixture
def config(short_scene: Path, refined_run: Path, translator_run: Path, tmp_path: Path) -> dict[str, Any]:
    runs = {"task_model": refined_run, "translator": translator_run}
    return {**runs, "domain": "target_wood", "scene": str(short_scene), "episodes": 12, "out": tmp_path / "out"}


def test_runs_arrive_where_the_bundle_exported_from_them_does(config: dict[str, Any], bundle: Path) -> None:
    figures = measure_closed_loop(ClosedLoopConfig(**config))
    expected = evaluate(EvaluateConfig(bundle=str(bundle), domain="target_wood", episodes=12, workers=1))
    for name in ("success_rate", "episodes", "steps", "threshold_m"):
        assert figures[name] == expected[name]
    for name in ("final_distance_mean_m", "final_distance_std_m"):
        assert figures[name] == pytest.approx(expected[name], abs=1e-6)
    distances_m = figures["final_distances_m"]
    assert len(distances_m) == 12
    assert sum(distances_m) / 12 == pytest.approx(figures["final_distance_mean_m"], abs=1e-4)
    assert figures["successes"] == sum(distance < figures["threshold_m"] for distance in distances_m)


def test_a_model_of_goals_arrives_where_its_bundle_does(
    collected: Callable[..., Path], short_scene: Path, tmp_path: Path
) -> None:
    data, run, made = collected("source", "--task", "joint_goals"), tmp_path / "run", tmp_path / "made"
    training = ["train", "task-model", "--dataset", data, "--out", run, "--steps", 20, "--device", "cpu"]
    export = ["export", "--task-model", run, "--target", data, "--out", made]
    for words in (training, export):
        assert cli.run([str(word) for word in words]) == 0
    config = ClosedLoopConfig(task_model=run, domain="source", scene=str(short_scene), episodes=4, out=tmp_path / "out")
    figures = measure_closed_loop(config)
    expected = evaluate(EvaluateConfig(bundle=str(made), domain="source", episodes=4, workers=1))
    assert figures["final_distance_mean_m"] == pytest.approx(expected["final_distance_mean_m"], abs=1e-6)


def test_the_number_of_workers_changes_no_figure(config: dict[str, Any]) -> None:
    alone = measure_closed_loop(ClosedLoopConfig(**config))
    assert measure_closed_loop(ClosedLoopConfig(**config, workers=2)) == alone


def test_without_a_translator_the_task_model_sees_the_camera(config: dict[str, Any], bundle: Path) -> None:
    figures = measure_closed_loop(ClosedLoopConfig(**{**config, "translator": None, "episodes": 2}))
    expected = evaluate(
        EvaluateConfig(bundle=str(bundle), domain="target_wood", episodes=2, workers=1, translate=False)
    )
    assert figures["final_distance_mean_m"] == pytest.approx(expected["final_distance_mean_m"], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain": "marble"}, "domains: expected a file or one of"),
        ({"seed": 2}, "expected a seed that no training data was drawn with"),
        ({"seed": -1}, "expected a seed of 0 to"),
    ],
)
def test_a_wrong_option_is_refused(config: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure_closed_loop(ClosedLoopConfig(**{**config, **changes}))


def test_a_model_of_joint_angles_cannot_close_the_loop(config: dict[str, Any], angles_run: Path) -> None:
    with pytest.raises(
        InputError, match="expected task 'joint_velocities' or 'joint_goals' to close the loop with, got 'joint_angles'"
    ):
        measure_closed_loop(ClosedLoopConfig(**{**config, "task_model": angles_run, "translator": None}))
