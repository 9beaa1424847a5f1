"""Two processes as torchrun starts them, on a CPU, against one process with the joint batch."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from taskgan_ros import cli
from taskgan_ros.training.run import load_checkpoint
from taskgan_ros.training.task_trainer import TaskModelTrainer

AtStep = Callable[..., AbstractContextManager[None]]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
OPTIONS = ["--device", "cpu", "--log-every", "1", "--show-every", "2", "--save-every", "2"]
COMMANDS = """
import json, os, pathlib, sys, torch
from taskgan_ros import cli
torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double
def status(words):
    try:
        return cli.run(words)
    except SystemExit as error:
        return error.code
statuses = [status(words) for words in json.loads(pathlib.Path(sys.argv[1]).read_text())]
pathlib.Path(sys.argv[1] + os.environ["RANK"]).write_text(json.dumps(statuses))
"""


@pytest.fixture
def double_precision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train in double precision: in single, Adam soon makes a step of what is only rounding."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def words_of(*words: object) -> list[str]:
    return [str(word) for word in words]


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_close(run: Path, expected: Path) -> None:
    """Compare figures and weights to what double precision leaves of them."""
    for line, wanted in zip(metrics(run), metrics(expected), strict=True):
        wanted.pop("gradient_ratio", None)  # its mean over the processes is not that of the joint batch
        line.pop("gradient_ratio", None)
        assert line == pytest.approx(wanted, rel=1e-9)
    names = {path.name for path in expected.glob("*.safetensors")}
    assert names == {path.name for path in run.glob("*.safetensors")}
    for name in names:
        weights, wanted_weights = load_file(run / name), load_file(expected / name)
        assert weights.keys() == wanted_weights.keys()
        for key, value in wanted_weights.items():
            torch.testing.assert_close(weights[key], value, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("double_precision")
def test_two_processes_train_what_one_does_with_the_joint_batch(
    source: Path, target: Path, randomized: Path, task_model_run: Path, tmp_path: Path, at_step: AtStep
) -> None:
    task = ["train", "task-model", "--dataset", source, "--steps", 3, "--batch-size", 4, "--augment", 1, *OPTIONS]
    data = ["--source", source, "--target", target, "--pretrain", randomized, "--task-model", task_model_run]
    tiny = [
        "--generator.widths",
        8,
        16,
        "--generator.blocks",
        1,
        "--pretrain-steps",
        2,
        "--align-steps",
        2,
        "--steps",
        2,
    ]
    gan = ["train", "translator", *data, *tiny, *OPTIONS]  # with all that the default recipe does
    one, two = tmp_path / "one", tmp_path / "two"
    assert cli.run(words_of(*task, "--out", one / "task")) == 0
    assert cli.run(words_of(*gan, "--out", one / "gan")) == 0
    with at_step(TaskModelTrainer, 1, signal.SIGINT):
        assert cli.run(words_of(*task, "--out", two / "resumed")) == 130

    commands = tmp_path / "commands.json"
    statuses = {
        0: [task, ["--out", two / "task"]],
        1: [gan, ["--out", two / "gan"]],
        2: [task, ["--out", two / "resumed", "--resume"]],
        3: [task, ["--out", two / "task"]],  # exists
        4: [task, ["--out", two / "odd", "--batch-size", 5]],
    }
    commands.write_text(json.dumps([words_of(*words, *out) for words, out in statuses.values()]))
    (tmp_path / "commands.py").write_text(COMMANDS)
    words = [*TORCHRUN, str(tmp_path / "commands.py"), str(commands)]
    ended = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)

    assert ended.returncode == 0, ended.stdout
    assert [json.loads(Path(f"{commands}{rank}").read_text()) for rank in (0, 1)] == [[0, 0, 0, 2, 2]] * 2
    assert_close(two / "task", one / "task")
    assert_close(two / "gan", one / "gan")
    assert_close(two / "resumed", one / "task")  # begun by one process
    told = [line for line in ended.stdout.splitlines() if line.startswith("taskgan: ")]
    assert told == [
        f"taskgan: {two / 'task'} exists already: expected a path that does not, because nothing is overwritten",
        "taskgan: expected batch_size to divide by the number of processes, 2, got 5",
    ]
    assert not (two / "odd").exists()


def test_stopping_torchrun_leaves_a_run_that_one_process_goes_on_with(
    source: Path, tmp_path: Path, at_step: AtStep
) -> None:
    out = tmp_path / "run"
    train = ["train", "task-model", "--dataset", source, "--out", out, "--steps", 100000, "--batch-size", 4]
    options = ["--device", "cpu", "--log-every", 1, "--show-every", 100000, "--save-every", 100000]
    words = words_of(*TORCHRUN, "-m", "taskgan_ros.cli", *train, *options)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while process.poll() is None and not (out / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)

    done = load_checkpoint(out)["step"]
    assert done == metrics(out)[-1]["step"], said
    assert f"taskgan: stopped after step {done} of 100000; resume with the same command and --resume" in said
    with at_step(TaskModelTrainer, done + 2, signal.SIGINT):
        assert cli.run(words_of(*train, *options, "--resume")) == 130
    assert [line["step"] for line in metrics(out)] == list(range(1, done + 3))
