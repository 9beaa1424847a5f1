from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

import taskgan_ros
from taskgan_ros import cli
from taskgan_ros.data.dataset import load_dataset, read_info
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.policy.policy import Policy
from taskgan_ros.training.alignment import Alignment
from taskgan_ros.training.learned import load_task_model
from taskgan_ros.training.lineage import data_seeds, fitted_images, refined_domains
from taskgan_ros.training.networks import run_batches, shape_of, to_network
from taskgan_ros.training.objectives import mmd_loss
from taskgan_ros.training.run import load_checkpoint, read_description, save_weights
from taskgan_ros.training.splits import spread_rows
from taskgan_ros.training.steps.fit_guard import read_task_model
from taskgan_ros.training.task_trainer import TaskModelTrainer

AtStep = Callable[..., AbstractContextManager[None]]
AssertSame = Callable[[Path, Path], None]
OPTIONS = ["--batch-size", "4", "--device", "cpu", "--log-every", "1", "--show-every", "3", "--save-every", "2"]


def train(dataset: Path, out: Path, *options: object) -> int:
    words = ["train", "task-model", "--dataset", dataset, "--out", out, "--steps", 6, *OPTIONS, *options]
    return cli.run([str(word) for word in words])


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of 6 steps that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(source, out) == 0
    return out


def test_a_run_says_what_it_was_and_what_it_learned(whole: Path, source: Path) -> None:
    described = yaml.safe_load((whole / "config.yaml").read_text())
    assert (described["kind"], described["taskgan_version"]) == ("task_model", taskgan_ros.__version__)
    assert described["config"]["dataset"] == str(source)
    assert (described["config"]["seed"], described["config"]["learning_rate"]) == (0, 1e-3)
    learned = yaml.safe_load((whole / "learned.yaml").read_text())
    assert learned["images"] == 32  # one of three episodes validates
    assert learned["data"]["action_names"] == [f"m1n6s200_joint_{n}" for n in (1, 2, 3)]
    lines = metrics(whole)
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "validation_error" in line] == [3, 6]
    assert list((whole / "tensorboard").iterdir())


def test_angles_far_from_zero_are_about_right_from_the_start(collected: Callable[..., Path], tmp_path: Path) -> None:
    assert train(collected("source", "--task", "joint_angles"), tmp_path / "run", "--learning-rate", 1e-9) == 0
    # In variances of the labels, some of which lie ten standard deviations from 0.
    assert max(line["loss"] for line in metrics(tmp_path / "run") if "loss" in line) < 5


def test_the_labels_of_the_training_episodes_give_the_scale(whole: Path, source: Path) -> None:
    data = load_dataset(source)
    training, _ = data.split_by_episode(0.05, 0)
    np.testing.assert_allclose(load_task_model(whole)[1].scale, data.actions[training].std(axis=0), rtol=1e-6)


def test_training_learns_the_labels(source: Path, tmp_path: Path) -> None:
    assert train(source, tmp_path / "run", "--steps", 120, "--batch-size", 16) == 0
    network, learned = load_task_model(tmp_path / "run")
    data = load_dataset(source)
    training, _ = data.split_by_episode(0.05, 0)
    with torch.no_grad():
        predicted = network(to_network(torch.from_numpy(data.images[training]))).numpy() * learned.scale
    assert np.square(predicted - data.actions[training]).mean() < 0.1 * data.actions[training].var(axis=0).mean()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_run_is_saved_and_resumed_to_the_same_bits(
    number: signal.Signals,
    source: Path,
    whole: Path,
    tmp_path: Path,
    at_step: AtStep,
    assert_same_run: AssertSame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    with at_step(TaskModelTrainer, 3, number):
        assert train(source, out) == 130
    told = "taskgan: stopped after step 3 of 6; resume with the same command and --resume"
    assert capsys.readouterr().err.splitlines()[-1] == told
    assert load_checkpoint(out)["step"] == 3
    load_task_model(out)  # usable as it is
    assert train(source, out, "--resume") == 0
    assert_same_run(out, whole)
    assert metrics(out) == metrics(whole)


def test_a_run_that_died_between_checkpoints_repeats_its_steps_without_doubling_its_figures(
    source: Path, whole: Path, tmp_path: Path, at_step: AtStep, assert_same_run: AssertSame
) -> None:
    out = tmp_path / "run"
    with at_step(TaskModelTrainer, 4, MemoryError("killed")), pytest.raises(MemoryError):
        train(source, out)
    assert [line["step"] for line in metrics(out) if "loss" in line] == [1, 2, 3]  # the checkpoint is of step 2
    assert train(source, out, "--resume") == 0
    assert_same_run(out, whole)
    assert metrics(out) == metrics(whole)


def test_a_run_that_died_before_its_first_checkpoint_starts_again(
    source: Path, whole: Path, tmp_path: Path, at_step: AtStep, assert_same_run: AssertSame
) -> None:
    out = tmp_path / "run"
    with at_step(TaskModelTrainer, 1, MemoryError("killed")), pytest.raises(MemoryError):
        train(source, out)
    assert train(source, out, "--resume") == 0
    assert_same_run(out, whole)


def test_another_seed_trains_another_model(source: Path, whole: Path, tmp_path: Path) -> None:
    assert train(source, tmp_path / "run", "--seed", 1) == 0
    first, other = load_task_model(whole)[0].output.weight, load_task_model(tmp_path / "run")[0].output.weight
    assert not torch.equal(first, other)


def test_ctrl_c_on_the_command_leaves_a_usable_run(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", "task-model", "--dataset", str(source), "--out", str(out), "--steps", "100000", *OPTIONS]
    process = subprocess.Popen([sys.executable, "-m", "taskgan_ros.cli", *words], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (out / "metrics.jsonl").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("taskgan: stopped after step ")
    assert said.splitlines()[-1].endswith(" of 100000; resume with the same command and --resume")
    load_task_model(out)


def test_a_run_is_trained_by_one_command_alone(
    source: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    train_step, statuses = TaskModelTrainer.train_step, []

    def start_another(self: TaskModelTrainer, step: int) -> dict[str, torch.Tensor]:
        if step == 4:
            statuses.append(train(source, out, "--resume"))
        return train_step(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TaskModelTrainer, "train_step", start_another)
        assert train(source, out) == 0
    assert statuses == [2]
    refused = f"taskgan: {out}: expected no other command to be training this run, but one is\n"
    assert refused in capsys.readouterr().err
    assert metrics(out) == metrics(whole)
    assert train(source, out, "--resume") == 0  # it is free again


def test_an_interrupt_before_the_first_step_says_how_to_go_on(
    source: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("taskgan_ros.training.steps.task_model.TaskModel", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        assert train(source, out) == 130
    assert capsys.readouterr().err == "taskgan: interrupted; resume with the same command and --resume\n"
    assert train(source, out, "--resume") == 0
    assert metrics(out) == metrics(whole)


def test_a_signal_that_is_sent_twice_at_once_saves_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step = TaskModelTrainer.train_step

    def end(self: TaskModelTrainer, step: int) -> dict[str, torch.Tensor]:
        if step == 3:
            for _ in range(2):  # `timeout` sends it to the process, and to its group
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.001)
        return train_step(self, step)

    monkeypatch.setattr(TaskModelTrainer, "train_step", end)
    assert train(source, tmp_path / "run") == 130
    assert load_checkpoint(tmp_path / "run")["step"] == 4


def test_tensorboards_full_disk_is_one_line(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", fail)
    assert train(source, tmp_path / "run") == 2
    said = capsys.readouterr().err
    told = "expected to write TensorBoard's curves there, got: [Errno 28] No space left on device"
    assert told in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_loss_that_is_not_finite_stops_the_run_with_its_checkpoint_whole(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert train(source, out, "--learning-rate", 1e30, "--save-every", 1, "--log-every", 5) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("taskgan: step 2: expected finite losses, got {'loss': ")
    assert said.endswith("; the last checkpoint is intact")
    assert all(parameter.isfinite().all() for parameter in load_task_model(out)[0].parameters())


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one_whole(
    source: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    assert_same_run: AssertSame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, train_step = tmp_path / "run", TaskModelTrainer.train_step
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_the_disk(self: TaskModelTrainer, step: int) -> dict[str, torch.Tensor]:
        if step == 3:  # the checkpoints are of steps 2, 4 and 6
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))  # the weights have 1.1 MB
        return train_step(self, step)

    monkeypatch.setattr(TaskModelTrainer, "train_step", fill_the_disk)
    try:
        assert train(source, out) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    monkeypatch.undo()
    told = (
        f"{out / 'checkpoint.pt'}: expected to write 3.4 MB there, got: [Errno 27] File too large; what was there is "
    )
    assert told in capsys.readouterr().err
    assert [path.name for path in out.glob(".*")] == []
    assert load_checkpoint(out)["step"] == 2
    assert train(source, out, "--resume") == 0
    assert_same_run(out, whole)


# Fewer images, and images of another domain


def with_others(dataset: Path, out: Path, kept: NDArray[np.int64], field: str = "obs/image") -> Path:
    """Return a copy of a dataset in which all but the rows `kept` have zeros as their `field`."""
    shutil.copy(dataset, out)
    with h5py.File(out, "a") as file:
        for k in range(len(file["data"])):
            values = file["data"][f"demo_{k}"][field]
            lost = np.setdiff1d(np.arange(16), kept - 16 * k)
            values[lost] = np.zeros((len(lost), *values.shape[1:]), values.dtype)
    return out


def same_weights(first: Path, second: Path) -> bool:
    networks = [load_task_model(run)[0].parameters() for run in (first, second)]
    return all(torch.equal(a, b) for a, b in zip(*networks, strict=True))


@pytest.mark.parametrize("count", [1, 5])
def test_spread_images_train_with_the_scale_of_all(count: int, source: Path, whole: Path, tmp_path: Path) -> None:
    training, held_out = load_dataset(source).split_by_episode(0.05, 0)
    seen = with_others(source, tmp_path / "seen.h5", np.union1d(spread_rows(training, count, ""), held_out))
    for name, dataset in (("run", source), ("same", seen)):
        assert train(dataset, tmp_path / name, "--images", count) == 0
    assert same_weights(tmp_path / "run", tmp_path / "same")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "same")
    learned = load_task_model(tmp_path / "run")[1]
    assert (learned.images, learned.label_scale) == (count, load_task_model(whole)[1].label_scale)


def test_with_a_dataset_to_validate_on_nothing_is_held_out(
    source: Path, collected: Callable[..., Path], tmp_path: Path
) -> None:
    validation = collected("source", seed=9, episodes=1)
    assert train(source, tmp_path / "run", "--validation", validation) == 0
    network, learned = load_task_model(tmp_path / "run")
    assert learned.images == 48
    data = load_dataset(validation)
    with torch.no_grad():
        predicted = network(to_network(torch.from_numpy(data.images))).numpy()
    error = np.square(predicted - data.actions / learned.scale).mean()
    assert metrics(tmp_path / "run")[-1]["validation_error"] == pytest.approx(error, rel=1e-4)


def test_adapting_draws_the_features_together_without_the_targets_labels(
    source: Path, target: Path, tmp_path: Path
) -> None:
    unlabelled = with_others(target, tmp_path / "unlabelled.h5", np.arange(0), "actions")
    runs = {"apart": (target, 1e-9), "together": (target, 3), "unlabelled": (unlabelled, 3)}
    for name, (dataset, weight) in runs.items():
        adapt = ["--target", dataset, "--mmd-weight", weight, "--target-images", 20]
        assert train(source, tmp_path / name, "--steps", 40, "--batch-size", 16, *adapt) == 0
    last = {name: [line["mmd"] for line in metrics(tmp_path / name) if "mmd" in line][-1] for name in runs}
    assert last["together"] < 0.7 * last["apart"]
    assert same_weights(tmp_path / "together", tmp_path / "unlabelled")


def test_a_run_goes_on_from_anothers_weights_and_scale(source: Path, whole: Path, tmp_path: Path) -> None:
    few = ["--images", 3, "--learning-rate", 1e-12, "--task-model", whole]
    assert train(source, tmp_path / "on", "--steps", 1, *few) == 0
    (network, learned), (begun, before) = load_task_model(tmp_path / "on"), load_task_model(whole)
    assert learned.label_scale == before.label_scale
    for weights, old in zip(network.parameters(), begun.parameters(), strict=True):
        torch.testing.assert_close(weights, old)


def test_the_discrepancy_is_that_of_a_mean_of_gaussian_kernels() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, (5, 7)), rng.normal(1, 2, (4, 7))
    both = [*first, *second]
    distances = sorted(np.sum((a - b) ** 2) for k, a in enumerate(both) for b in both[:k])
    median = distances[(len(distances) - 1) // 2]

    def mean_kernel(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        scales = (0.25, 0.5, 1, 2, 4)
        return float(
            np.mean([[np.exp(-np.sum((a - b) ** 2) / (s * median)) for s in scales] for a in one for b in other])
        )

    expected = mean_kernel(first, first) + mean_kernel(second, second) - 2 * mean_kernel(first, second)
    features = torch.from_numpy(first), torch.from_numpy(second)
    assert mmd_loss(*features).item() == pytest.approx(expected)
    assert mmd_loss(features[0], features[0]).item() == pytest.approx(0, abs=1e-12)
    assert mmd_loss(features[0] * 100, features[1] * 100).item() == pytest.approx(expected)
    assert mmd_loss(torch.zeros(3, 7), torch.zeros(3, 7)).item() == 0  # all ReLUs off


# Refusals


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.removeprefix("taskgan: ").rstrip("\n")


def test_an_output_that_exists_is_refused(whole: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (whole / "checkpoint.pt").read_bytes()
    assert train(source, whole) == 2
    assert refused(capsys).startswith(f"{whole} exists already: expected a path that does not")
    assert (whole / "checkpoint.pt").read_bytes() == before


def test_images_and_domains_that_do_not_fit_are_refused_before_a_run_is_made(
    source: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapt = ["--target", target, "--mmd-weight", 1]
    for options, message in (
        (["--images", 33], "images of source: expected at most 32, which there are to train on, got 33"),
        (["--validation", target], f"validation: {target}: expected the domain source, got target_wood"),
        (["--task-model", target.parent], f"{target.parent}: expected a training run"),
        (["--target", target], f"target: expected mmd_weight above 0 to adapt to {target}, got 0"),
        (adapt[2:], "mmd_weight and target_images: expected --target DATASET to adapt to, got none"),
        (
            [*adapt, "--target-images", 49],
            f"target_images of {target}: expected at most 48, which there are to train on, got 49",
        ),
    ):
        assert train(source, tmp_path / "run", *options) == 2
        assert refused(capsys).startswith(message)
        assert not (tmp_path / "run").exists()


def test_resuming_with_another_configuration_is_refused_with_both(
    whole: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(source, whole, "--resume", "--seed", 5) == 2
    assert refused(capsys) == f"{whole}: expected the configuration it started with, {{'seed': 0}}, got {{'seed': 5}}"


def test_resuming_what_is_no_run_is_refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(source, tmp_path / "run", "--resume") == 2
    assert refused(capsys) == f"{tmp_path / 'run'}: expected a training run (a folder with config.yaml), got none"
    assert list(tmp_path.iterdir()) == []


def test_resuming_a_run_of_another_kind_is_refused(
    translator_run: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(source, translator_run, "--resume") == 2
    assert refused(capsys) == f"{translator_run}: expected a run of task_model to resume, got one of translator"


def test_a_damaged_checkpoint_is_refused(
    whole: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    data = (out / "checkpoint.pt").read_bytes()
    (out / "checkpoint.pt").write_bytes(data[: len(data) // 2])
    assert train(source, out, "--resume") == 2
    assert refused(capsys).startswith(f"{out / 'checkpoint.pt'}: expected a whole checkpoint, got a damaged one: ")


def test_a_truncated_dataset_is_refused_before_a_run_is_made(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.h5"
    broken.write_bytes(source.read_bytes()[:-5000])
    assert train(broken, tmp_path / "run") == 2
    assert refused(capsys).startswith(f"{broken}: expected a whole HDF5 file, got a truncated or other one: ")
    assert not (tmp_path / "run").exists()


def test_a_gpu_that_is_not_there_is_refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert train(source, tmp_path / "run", "--device", "cuda") == 2
    assert refused(capsys).startswith("expected a CUDA GPU for device 'cuda', got none on this machine")
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_none_is_refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(source, tmp_path / "run", "--device", "gpu") == 2
    assert refused(capsys) == "expected auto, cpu or cuda as device, got 'gpu'"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["", "[1, 2]", "name: somebody's", "kind: task_model", "{"])
def test_a_configuration_that_no_run_wrote_is_refused(
    text: str, whole: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "config.yaml").write_text(text)
    assert train(source, out, "--resume") == 2
    assert refused(capsys).startswith(f"{out / 'config.yaml'}: ")


def test_figures_that_were_cut_short_are_made_again(source: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert train(source, out, "--resume") == 0
    assert metrics(out) == metrics(whole)


# Refinement


def refine(task_model: Path, translator: Path | None, source: Path, target: Path, out: Path, *options: object) -> int:
    data = ["--source", source, "--target", target, "--task-model", task_model, "--translator", translator]
    words = ["refine", *data, "--out", out, "--steps", 6, *OPTIONS, *options]
    return cli.run([str(word) for word in words])


@pytest.fixture
def refine_here(
    task_model_run: Path, translator_run: Path, source: Path, target: Path, tmp_path: Path
) -> Callable[..., Path]:
    """Return a function that refines to a folder of this name and expects a status."""

    def here(name: str, *options: object, status: int = 0) -> Path:
        assert refine(task_model_run, translator_run, source, target, tmp_path / name, *options) == status
        return tmp_path / name

    return here


def test_refinement_starts_from_the_source_weights_and_moves_them(
    refine_here: Callable[..., Path], task_model_run: Path
) -> None:
    before, learned_before = load_task_model(task_model_run)
    after, learned_after = load_task_model(refine_here("run"))
    assert learned_after == learned_before
    moved = [abs(a - b).max().item() for a, b in zip(after.parameters(), before.parameters(), strict=True)]
    assert 0 < max(moved) < 6.1e-4  # six steps of Adam at 1e-4
    assert {"validation_target_error", "validation_source_error"} < set(metrics(refine_here("again"))[-1])


def test_refinement_learns_as_step_1_did_but_more_slowly(
    refine_here: Callable[..., Path], task_model_run: Path, tmp_path: Path, source: Path
) -> None:
    begun = tmp_path / "begun"
    assert train(source, begun, "--optimiser", "muon", "--learning-rate", 2e-3) == 0
    continued = tmp_path / "gentle"
    assert train(source, continued, "--task-model", task_model_run, "--learning-rate", 1e-4) == 0
    given = {
        "adam": ((), ("adam", 1e-4)),
        "muon": (("--task-model", begun), ("muon", 5e-4)),
        "chosen": (("--task-model", begun, "--optimiser", "adam", "--learning-rate", 2e-4), ("adam", 2e-4)),
        "again": (("--task-model", tmp_path / "muon"), ("muon", 5e-4)),
        "continued": (("--task-model", continued), ("adam", 1e-4)),  # a tenth of what it began with
    }
    for name, (options, expected) in given.items():
        described = read_description(refine_here(name, *options)).config
        assert (described["optimiser"], described["learning_rate"]) == expected, name
        learned = load_checkpoint(tmp_path / name)["trainer"]["optimiser"]
        assert ("muon" in learned) == (expected[0] == "muon"), name


def test_a_stopped_refinement_is_resumed_to_the_same_bits(
    refine_here: Callable[..., Path], at_step: AtStep, assert_same_run: AssertSame
) -> None:
    whole = refine_here("whole")
    with at_step(TaskModelTrainer, 4, signal.SIGINT):
        stopped = refine_here("stopped", status=130)
    assert_same_run(refine_here("stopped", "--resume"), whole)
    assert metrics(stopped) == metrics(whole)


def test_a_refinement_goes_on_as_it_began(
    refine_here: Callable[..., Path], source: Path, at_step: AtStep, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    assert train(source, begun, "--optimiser", "muon", "--learning-rate", 2e-3) == 0
    with at_step(TaskModelTrainer, 4, signal.SIGINT):
        run = refine_here("run", "--task-model", begun, "--optimiser", "adam", "--learning-rate", 1e-4, status=130)
    described = yaml.safe_load((run / "config.yaml").read_text())
    del described["config"]["optimiser"]  # as a version wrote it that knew Adam alone
    (run / "config.yaml").write_text(yaml.safe_dump(described))
    refine_here("run", "--task-model", begun, "--resume")
    assert load_checkpoint(run)["step"] == 6


def test_refinement_trains_on_what_the_translator_makes_of_the_target(
    task_model_run: Path, translator_run: Path, source: Path, target: Path, tmp_path: Path
) -> None:
    grey = tmp_path / "grey"  # a translator that makes all images grey
    shutil.copytree(translator_run, grey)
    weights = load_file(grey / "translator.safetensors")
    save_file({name: torch.zeros_like(value) for name, value in weights.items()}, grey / "translator.safetensors")
    errors: list[dict[str, float]] = []
    for translator in (translator_run, grey):
        out = tmp_path / f"run{len(errors)}"
        assert refine(task_model_run, translator, source, target, out, "--steps", 1, "--learning-rate", 1e-9) == 0
        errors.append(metrics(out)[-1])
    network, learned = load_task_model(task_model_run)
    data = load_dataset(target)
    held_out = data.actions[data.split_by_episode(0.1, 0)[1]] / learned.scale
    with torch.no_grad():
        blind = network(to_network(torch.full((1, 32, 32, 3), 128, dtype=torch.uint8))).numpy()
    assert errors[1]["validation_target_error"] == pytest.approx(np.square(blind - held_out).mean(), rel=1e-4)
    assert errors[0]["validation_target_error"] != errors[1]["validation_target_error"]
    assert errors[0]["validation_source_error"] == pytest.approx(errors[1]["validation_source_error"], rel=1e-4)


def test_spread_target_images_refine_and_another_dataset_validates(
    refine_here: Callable[..., Path], target: Path, collected: Callable[..., Path], tmp_path: Path
) -> None:
    seen = with_others(target, tmp_path / "seen.h5", np.array([0, 23, 47]))
    validation = ["--validation", collected("target_wood", seed=7, episodes=1)]
    runs = [
        refine_here(f"run{n}", "--target", data, "--target-images", 3, *validation)
        for n, data in enumerate((target, seen))
    ]
    assert same_weights(*runs)
    assert metrics(runs[0]) == metrics(runs[1])
    refine_here("none", "--target-images", 33, status=2)  # 32 are not held out
    assert not (tmp_path / "none").exists()


def shifted(dataset: Path, out: Path, by: float) -> Path:
    """Return a copy of a dataset whose labels are all off by the same."""
    shutil.copyfile(dataset, out)
    with h5py.File(out, "r+") as file:
        for demo in file["data"].values():
            demo["actions"][...] += by
    return out


def test_the_output_layer_is_fitted_to_a_few_images_at_the_end(
    refine_here: Callable[..., Path],
    target: Path,
    at_step: AtStep,
    assert_same_run: AssertSame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--fit-output", shifted(target, tmp_path / "shifted.h5", 0.5), "--fit-images", 10]
    plain, fitted = refine_here("plain"), refine_here("fitted", *options)
    before, after = (load_file(run / "task_model.safetensors") for run in (plain, fitted))
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"output.weight", "output.bias"}
    assert metrics(fitted)[-1]["fit_after"] < metrics(fitted)[-1]["fit_before"]
    assert f"{fitted}: output layer fitted; in episodes it was not fitted to" in capsys.readouterr().out
    learned = (load_checkpoint(run)["trainer"]["network"]["output.bias"] for run in (plain, fitted))
    assert torch.equal(*learned)
    assert data_seeds(fitted)["target_data"] == read_info(target).seed
    assert (fitted_images(plain), fitted_images(fitted)) == (0, 10)
    with at_step(TaskModelTrainer, 4, signal.SIGINT):
        refine_here("stopped", *options, status=130)
    assert_same_run(refine_here("stopped", *options, "--resume"), fitted)


def test_any_domain_fits_behind_a_translator_that_saw_none(
    task_model_run: Path, source: Path, target: Path, collected: Callable[..., Path], tmp_path: Path
) -> None:
    pairs = collected("randomized", "--paired", "source", episodes=3, seed=9)
    words = ["train", "translator", "--source", source, "--pretrain", pairs, "--task-model", task_model_run]
    words += ["--steps", 0, "--pretrain-steps", 1, "--out", tmp_path / "pretrained", "--device", "cpu"]
    assert cli.run([*map(str, words)]) == 0
    given = (task_model_run, tmp_path / "pretrained", source, pairs, tmp_path / "run")
    assert refine(*given, "--fit-output", target, "--variants", 1) == 0
    assert "fit_before" in metrics(tmp_path / "run")[-1]


def test_any_domain_fits_a_task_model_that_has_no_translator(
    task_model_run: Path, source: Path, target: Path, tmp_path: Path
) -> None:
    assert refine(task_model_run, None, source, source, tmp_path / "run", "--fit-output", target) == 0
    assert "fit_before" in metrics(tmp_path / "run")[-1]
    assert refined_domains(tmp_path / "run") == ("source", "target_wood")


def test_only_the_target_cameras_images_are_aligned(
    task_model_run: Path, translator_run: Path, source: Path, target: Path, randomized: Path, tmp_path: Path
) -> None:
    aligned = tmp_path / "aligned"
    shutil.copytree(translator_run, aligned)
    alignment = Alignment()
    with torch.no_grad():
        alignment.warp[2] = 0.25
    save_weights(aligned / "alignment.safetensors", alignment)
    runs = {}
    for name, translator in (("with", aligned), ("without", translator_run)):
        given = (task_model_run, translator, source)
        for data in (randomized, target):
            out = tmp_path / f"{name}-{data.stem}"
            assert refine(*given, data, out, "--variants", 1) == 0
            runs[name, data] = load_file(out / "task_model.safetensors")
    same = {
        data: runs["with", data]["output.bias"].equal(runs["without", data]["output.bias"])
        for data in (randomized, target)
    }
    assert same == {randomized: True, target: False}


def test_no_steps_fit_the_output_layer_alone_as_after_some(
    refine_here: Callable[..., Path], target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--fit-output", shifted(target, tmp_path / "shifted.h5", 0.5)]
    refined, at_once = refine_here("refined"), refine_here("at-once", *few)
    later = refine_here("later", *few, "--steps", 0, "--task-model", refined)
    after, wanted = (load_file(run / "task_model.safetensors") for run in (later, at_once))
    assert all(torch.equal(after[name], wanted[name]) for name in wanted)
    assert metrics(later)[-1]["fit_after"] == metrics(at_once)[-1]["fit_after"]
    assert data_seeds(later) == data_seeds(at_once)
    refine_here("later", *few, "--steps", 0, "--task-model", refined, "--resume")
    capsys.readouterr()
    refine_here("nothing", "--steps", 0, status=2)
    assert refused(capsys).startswith("steps: expected 1 or more without --fit-output DATASET, got 0")


def test_images_that_do_not_fit_are_refused_before_a_run_is_made(
    refine_here: Callable[..., Path],
    target: Path,
    collected: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = collected("target_a", seed=8, episodes=1)
    for options, expected in (
        (["--fit-output", other], f"fit_output: {other}: expected the domain "),
        (["--fit-output", target, "--fit-images", 49], f"fit_images of {target}: expected at most 48"),
        (["--fit-images", 3], "fit_images: expected --fit-output DATASET"),
    ):
        capsys.readouterr()
        refine_here("none", *options, status=2)
        assert refused(capsys).startswith(expected)
        assert not (tmp_path / "none").exists()


def test_the_paper_pure_refinement_sees_translated_images_alone(
    task_model_run: Path, translator_run: Path, source: Path, target: Path, tmp_path: Path
) -> None:
    blind = tmp_path / "blind.h5"  # a source whose images would change the weights if they were seen
    shutil.copy(source, blind)
    with h5py.File(blind, "a") as file:
        for demo in file["data"].values():
            demo["obs/image"][...] = np.zeros((16, 32, 32, 3), np.uint8)
    runs: list[torch.nn.Module] = []
    for dataset in (source, blind):
        out = tmp_path / f"run{len(runs)}"
        assert refine(task_model_run, translator_run, dataset, target, out, "--translated-share", 1.0) == 0
        runs.append(load_task_model(out)[0])
    assert all(torch.equal(a, b) for a, b in zip(*(run.parameters() for run in runs), strict=True))


def test_refining_with_another_domain_is_refused(
    refine_here: Callable[..., Path],
    translator_run: Path,
    collected: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = collected("target_a", seed=3)
    forward = tmp_path / "forward"
    shutil.copytree(translator_run, forward)
    text = (forward / "config.yaml").read_text()
    (forward / "config.yaml").write_text(text.replace("direction: inverse", "direction: forward"))
    for options, message in (
        (["--source", other], f"source: {other}: expected the domain source, got target_a"),
        (["--target", other], f"target: {other}: expected the domain target_wood or randomized, got target_a"),
        (
            ["--translator", forward],
            f"{forward}, what it translates into: expected the domain source, got target_wood",
        ),
    ):
        capsys.readouterr()
        assert not refine_here("run", *options, status=2).exists()
        assert refused(capsys) == message


def test_images_that_the_translator_pre_trained_on_refine_too(
    refine_here: Callable[..., Path], target: Path, collected: Callable[..., Path]
) -> None:
    randomized = collected("randomized", seed=3)
    run = refine_here("run", "--target", randomized, "--validation", target)
    assert "validation_target_error" in metrics(run)[-1]


def test_refining_with_a_task_model_in_place_of_a_translator_is_refused(
    task_model_run: Path, source: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refine(task_model_run, task_model_run, source, target, tmp_path / "run") == 2
    assert refused(capsys) == f"{task_model_run}: expected a run of a translator, got one of task_model"


def test_refining_a_translator_in_place_of_a_task_model_is_refused(
    translator_run: Path, source: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refine(translator_run, translator_run, source, target, tmp_path / "run") == 2
    assert refused(capsys) == f"{translator_run}: expected a run of a task model, got one of translator"


def test_weights_of_another_network_are_refused(task_model_run: Path, translator_run: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(task_model_run, mixed)
    shutil.copy(translator_run / "translator.safetensors", mixed / "task_model.safetensors")
    with pytest.raises(ValueError, match=r"task_model\.safetensors: expected weights of TaskModel, got others: "):
        load_task_model(mixed)
    (mixed / "task_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"task_model\.safetensors: expected weights, got no file"):
        load_task_model(mixed)


@pytest.mark.parametrize("kind", ["blocks: 1\ncoordinates: true\n", "blocks: 1\nnorm: true\npositions: true\n"])
def test_another_network_is_learned_continued_and_exported(source: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "small.yaml").write_text(f"widths: [8, 8]\n{kind}")
    assert train(source, tmp_path / "run", "--network", tmp_path / "small.yaml") == 0
    network, learned = load_task_model(tmp_path / "run")
    assert shape_of({name: tuple(value.shape) for name, value in network.state_dict().items()}).widths == (8, 8)
    assert train(source, tmp_path / "on", "--task-model", tmp_path / "run", "--steps", 2) == 0
    words = ["export", "--task-model", tmp_path / "run", "--target", source, "--out", tmp_path / "bundle"]
    assert cli.run([str(word) for word in words]) == 0
    bundle, images = load_bundle(tmp_path / "bundle"), load_dataset(source).images[:4]
    predicted = run_batches(network.eval(), to_network(torch.from_numpy(images)).numpy()) * learned.scale
    np.testing.assert_allclose(Policy(bundle).act(images).commands[:, 0], predicted, atol=1e-4)
    same = read_task_model((bundle.path / "task_model.onnx").read_bytes(), bundle)
    assert same.state_dict().keys() == network.state_dict().keys()


def test_an_unknown_network_is_refused(source: Path, tmp_path: Path) -> None:
    assert train(source, tmp_path / "none", "--network", "huge") == 2
