from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from taskgan_ros import cli
from taskgan_ros.data.dataset import Dataset, load_dataset
from taskgan_ros.training.learned import load_task_model
from taskgan_ros.training.networks import TaskModel, to_network
from taskgan_ros.training.run import load_checkpoint
from taskgan_ros.training.splits import spread_rows
from taskgan_ros.training.steps.two_column import TwoColumn, TwoColumnTrainer

Collected = Callable[..., Path]
Train = Callable[..., Path]
OPTIONS = ["--device", "cpu", "--log-every", 1, "--show-every", 3, "--save-every", 2]
TINY = ["--generator.widths", 8, 16, "--generator.blocks", 1]


def taskgan(*words: object) -> None:
    assert cli.run([str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def forward(source: Path, target: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of G, which f_Y held to the task."""
    folder = tmp_path_factory.mktemp("forward")
    taskgan("train", "task-model", "--dataset", target, "--out", folder / "f_Y", "--steps", 2, "--device", "cpu")
    runs = ["--task-model", folder / "f_Y", "--out", folder / "G", "--direction", "forward", "--recipe", "paper"]
    taskgan("train", "translator", *runs, "--source", source, "--target", target, "--steps", 2, *TINY, *OPTIONS)
    return folder / "G"


@pytest.fixture
def train(task_model_run: Path, tmp_path: Path) -> Train:
    """Return a function that trains two columns to a folder of this name and expects a status."""

    def run(name: str, *options: object, status: int = 0) -> Path:
        words = ["train", "two-column", "--task-model", task_model_run, "--out", tmp_path / name, "--steps", 4]
        assert cli.run([str(word) for word in [*words, *OPTIONS, *options]]) == status
        return tmp_path / name

    return run


def metrics(run: Path, key: str) -> dict[int, float]:
    """Return the figures of this name by step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[key] for line in lines if key in line}


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1].removeprefix("taskgan: ")


def error(run: Path, data: Dataset, rows: np.ndarray) -> float:
    """Return the error of a run's task model in standard deviations squared."""
    network, learned = load_task_model(run)
    with torch.no_grad():
        predicted = network(to_network(torch.from_numpy(data.images[rows]))).numpy()
    return float(np.square(predicted - data.actions[rows] / learned.scale).mean())


def test_the_columns_start_alike_and_share_the_output_layer() -> None:
    task_model, images = TaskModel(3, (32, 32)), torch.rand(2, 3, 32, 32)
    before = task_model(images)
    own, other, predictions = TwoColumn(task_model)(images, images)
    assert own.shape == (2, 256)
    assert torch.equal(own, other)
    torch.testing.assert_close(predictions, torch.stack([before, before]))


def test_pairs_teach_the_targets_column_which_is_saved_as_a_task_model_of_the_target(
    train: Train, task_model_run: Path, target: Path
) -> None:
    run = train("run", "--target", target, "--steps", 120, "--show-every", 60)
    assert yaml.safe_load((run / "config.yaml").read_text())["kind"] == "two_column"
    network, learned = load_task_model(run)
    before = load_task_model(task_model_run)[1]
    assert (learned.data.domain, learned.images, learned.label_scale) == ("target_wood", 32, before.label_scale)
    data = load_dataset(target)
    training, held_out = data.split_by_episode(0.1, 0)
    assert metrics(run, "validation_error")[120] == pytest.approx(error(run, data, held_out), rel=1e-4)
    assert error(run, data, training) < 0.3 * error(task_model_run, data, training)
    columns = load_checkpoint(run)["trainer"]["network"]
    assert torch.equal(columns["target.output.weight"], network.output.weight)
    assert not torch.equal(columns["source.0.weight"], columns["target.extractor.0.weight"])


def test_the_feature_weight_draws_the_columns_together(train: Train, target: Path) -> None:
    apart, together = (
        metrics(train(name, "--target", target, "--steps", 40, "--feature-weight", weight), "features")[40]
        for name, weight in (("apart", 0), ("together", 100))
    )
    assert together < 0.5 * apart


def test_spread_translated_images_train_with_their_labels(
    train: Train, forward: Path, source: Path, tmp_path: Path
) -> None:
    grey = tmp_path / "grey"  # a translator that makes all images grey
    shutil.copytree(forward, grey)
    weights = load_file(grey / "translator.safetensors")
    save_file({name: torch.zeros_like(value) for name, value in weights.items()}, grey / "translator.safetensors")
    given = ["--translator", grey, "--source", source, "--translated-images", 32]
    run = train("run", *given)
    network, learned = load_task_model(run)
    data = load_dataset(source)
    rows = spread_rows(np.arange(len(data)), 32, "")
    parts = [rows[data.episode[rows] == episode] for episode in range(3)]  # of three episodes one validates
    assert learned.data.domain == "target_wood"
    assert learned.images in {32 - len(part) for part in parts}
    with torch.no_grad():
        blind = network(to_network(torch.full((1, 32, 32, 3), 128, dtype=torch.uint8))).numpy()
    errors = [pytest.approx(np.square(blind - data.actions[part] / learned.scale).mean()) for part in parts]
    assert metrics(run, "validation_error")[4] in errors


def test_half_of_a_batch_is_of_each_kind_and_one_target_image_is_enough(
    train: Train,
    forward: Path,
    source: Path,
    target: Path,
    collected: Collected,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    banks: list[list[tuple[int, int]]] = []
    train_step = TwoColumnTrainer.train_step

    def noting(self: TwoColumnTrainer, step: int) -> dict[str, torch.Tensor]:
        banks.append([(len(bank), count) for bank, count in self._banks])
        return train_step(self, step)

    monkeypatch.setattr(TwoColumnTrainer, "train_step", noting)
    validation = collected("target_wood", seed=7, episodes=1)
    translated = ["--translator", forward, "--source", source, "--translated-images", 40]
    run = train("run", "--target", target, "--target-images", 1, "--validation", validation, *translated)
    assert banks[0] == [(1, 8), (40, 8)]
    assert load_task_model(run)[1].images == 41
    data = load_dataset(validation)
    assert metrics(run, "validation_error")[4] == pytest.approx(error(run, data, np.arange(len(data))), rel=1e-4)


def test_a_stopped_run_is_resumed_to_the_same_bits_and_serves_as_the_targets_task_model(
    train: Train,
    forward: Path,
    source: Path,
    target: Path,
    tmp_path: Path,
    at_step: Callable[..., AbstractContextManager[None]],
    assert_same_run: Callable[[Path, Path], None],
) -> None:
    given = ["--target", target, "--translator", forward, "--source", source, "--translated-images", 48]
    given += ["--augment", 1]
    whole = train("whole", *given)
    with at_step(TwoColumnTrainer, 3, signal.SIGINT):
        train("stopped", *given, status=130)
    assert_same_run(train("stopped", *given, "--resume"), whole)
    runs = ["--task-model", whole, "--out", tmp_path / "G", "--direction", "forward", "--recipe", "paper"]
    taskgan("train", "translator", *runs, "--source", source, "--target", target, "--steps", 1, *TINY, *OPTIONS)


def test_what_does_not_fit_is_refused_before_a_run_is_made(
    train: Train,
    forward: Path,
    translator_run: Path,
    source: Path,
    target: Path,
    collected: Collected,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = collected("target_a", "--paired", "source", seed=3)
    alone = collected("target_a", seed=3)
    both = ["--translator", forward, "--source", source]
    for options, message in (
        ([], "expected target, translator or both, to have images of the target domain, got neither"),
        (["--translator", forward], "expected translator and source together, got translator alone"),
        (["--target", target, "--source", source], "expected translator and source together, got source alone"),
        ([*both, "--target-images", 3], "target_images: expected a target to take 3 images of, got none"),
        (
            [*both, "--target", target, "--batch-size", 1],
            "batch_size: expected at least 2, a half of each kind of pairs, got 1",
        ),
        (
            ["--target", alone],
            f"target: {alone}, what its pairs show (collect --paired): expected the domain source, got none",
        ),
        (both, f"translated_images of {source}: expected at most 48, which there are to train on, got 8000"),
        (
            ["--target", target, "--target-images", 33],
            "images of target_wood: expected at most 32, which there are to train on, got 33",
        ),
        (
            [*both, "--target", other, "--translated-images", 48],
            f"{forward}, what it translates into: expected the domain target_a, got target_wood",
        ),
        (
            ["--translator", translator_run, "--source", source],
            f"{translator_run}: expected a forward translator, G, got an inverse one",
        ),
        (
            ["--translator", forward, "--source", target],
            f"source: {target}: expected the domain source, got target_wood",
        ),
        (
            ["--target", target, "--validation", source],
            f"validation: {source}: expected the domain target_wood, got source",
        ),
        (
            ["--target", target, "--task-model", forward.parent / "f_Y"],
            f"target: {target}, what its pairs show (collect --paired): expected the domain target_wood, got source",
        ),
    ):
        capsys.readouterr()
        assert not train("run", *options, status=2).exists()
        assert refused(capsys) == message
