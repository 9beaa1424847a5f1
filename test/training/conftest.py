"""What more than one test of training needs: a real signal at a chosen step, and runs compared to the last bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from taskgan_ros.training.run import load_checkpoint

AtStep = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> AtStep:
    """Return a context in which something really happens to this process while a trainer's step (from 1) runs."""

    @contextmanager
    def happen(trainer: type, step: int, what: signal.Signals | Exception) -> Any:
        train_step = trainer.train_step  # type: ignore[attr-defined]

        def disturbed(self: Any, number: int) -> Any:
            if number == step - 1:
                if isinstance(what, Exception):
                    raise what
                os.kill(os.getpid(), what)
            return train_step(self, number)

        with monkeypatch.context() as patch:
            patch.setattr(trainer, "train_step", disturbed)
            yield

    return happen


@pytest.fixture
def assert_same_run() -> Callable[[Path, Path], None]:
    """Return a function that compares two runs' weights and checkpoints, bit for bit."""

    def compare(first: Path, second: Path) -> None:
        names = sorted(path.name for path in first.glob("*.safetensors"))
        assert names
        for name in names:
            _assert_equal(load_file(first / name), load_file(second / name))
        _assert_equal(load_checkpoint(first), load_checkpoint(second))

    return compare


def _assert_equal(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            _assert_equal(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            _assert_equal(one, other)
    else:
        assert first == second
