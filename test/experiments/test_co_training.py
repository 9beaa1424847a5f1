from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.closed_loop import ClosedLoopConfig, measure_closed_loop
from experiments.co_training import main
from taskgan_ros.core.errors import InputError
from taskgan_ros.training.learned import load_task_model

Trained = Callable[..., Path]


@pytest.fixture
def trained(randomized: Path, target: Path, tmp_path: Path) -> Trained:
    """Return a function that trains for two steps: on randomised images alone, and with target images if it goes on."""

    def train(name: str, *options: object, begun: Path | None = None) -> Path:
        out = tmp_path / name
        words: list[object] = ["--dataset", randomized, "--validation", target, "--out", out, "--steps", 2]
        words += ["--task-model", begun, "--target", target, "--target-images", 10] if begun else []
        main([str(word) for word in [*words, *options, "--device", "cpu"]])
        return out

    return train


@pytest.mark.parametrize("reads", ["velocities", "place"])
def test_what_was_trained_is_continued_and_closes_the_loop(reads: str, trained: Trained, short_scene: Path) -> None:
    begun = trained("begun", "--reads", reads)
    out = trained("continued", "--reads", reads, begun=begun)
    first, second = load_task_model(begun)[1], load_task_model(out)[1]
    assert second.scale == pytest.approx(first.scale)
    assert (first.images, second.images) == (48, 58)
    config: dict[str, Any] = {
        "task_model": out,
        "domain": "target_wood",
        "scene": str(short_scene),
        "out": out / "loop",
    }
    assert measure_closed_loop(ClosedLoopConfig(**config, episodes=2))["episodes"] == 2
    for seed in (1, 2):  # of both datasets
        with pytest.raises(InputError, match="expected a seed that no training data was drawn with"):
            measure_closed_loop(ClosedLoopConfig(**config, episodes=2, seed=seed))


def test_a_task_model_does_not_become_a_detector(trained: Trained) -> None:
    begun = trained("begun")
    with pytest.raises(InputError, match="expected task 'target_place' as in randomized, got 'joint_velocities'"):
        trained("continued", "--reads", "place", begun=begun)


def test_more_target_images_than_there_are_is_refused(trained: Trained) -> None:
    begun = trained("begun")
    with pytest.raises(InputError, match="expected at most 48, which there are to train on, got 49"):
        trained("continued", "--target-images", 49, begun=begun)
