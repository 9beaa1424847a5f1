"""The loop that all training steps share: seeded steps, progress, pictures, checkpoints, and a clean stop."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from taskgan_ros.progress import print_line, progress_bar
from taskgan_ros.training.run import Run


class Trainer(Protocol):
    """What the loop needs of an algorithm."""

    batch_size: int

    def train_step(self, step: int) -> dict[str, Tensor]:
        """Do step `step` (from 0) and return its losses; all randomness comes from torch's seeded generator."""

    def validate(self) -> dict[str, float]:
        """Return figures on held-out data."""

    def picture(self) -> Tensor | None:
        """Return a picture (3, H, W) in [0, 1] of where training stands, if there is one to show."""

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks whose weights the run is for, by file name."""

    def state_dict(self) -> dict[str, Any]:
        """Return all state."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over all state."""


@dataclass(frozen=True)
class Schedule:
    """When the loop does what, in steps."""

    steps: int
    log_every: int
    show_every: int
    save_every: int


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: the run was saved and can be resumed."""


def train(run: Run, trainer: Trainer, schedule: Schedule, seed: int, what: str) -> dict[str, float]:
    """Train until `schedule.steps`, from where the run stands, and return the last validation's figures.

    Every step is seeded by its number alone, so a resumed run repeats an uninterrupted one bit for bit on a CPU.

    Raises:
        Interrupted: a signal came; everything up to the last whole step is saved.
        FloatingPointError: a loss is not finite; the last checkpoint stays.
    """
    run.restore(trainer)
    figures: dict[str, float] = {}
    with _stop_signal() as stopped, progress_bar(what, schedule.steps, "steps", run.step) as advance:
        for step in range(run.step, schedule.steps):
            torch.manual_seed(_step_seed(seed, step))
            losses = trainer.train_step(step)
            done = step + 1
            last, stop = done == schedule.steps, bool(stopped)
            save = done % schedule.save_every == 0 or last or stop
            shown = _finite(losses, done) if save or done % schedule.log_every == 0 else {}
            if shown:
                run.log(done, shown)
                advance(0, **shown)
            if done % schedule.show_every == 0 or last:
                figures = trainer.validate()
                run.log(done, figures)
                picture = trainer.picture()
                if picture is not None:
                    run.show(done, "translations", picture)
            if save:
                run.save(done, trainer)
            advance(1)
            if stop and not last:
                run.close()
                raise Interrupted(
                    f"stopped after step {done} of {schedule.steps}; go on with --resume --out {run.path}"
                )
    if not figures:
        figures = trainer.validate()
    run.close()
    print_line(f"{run.path}: " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    return figures


def _finite(losses: dict[str, Tensor], step: int) -> dict[str, float]:
    values = {name: float(value) for name, value in losses.items()}
    broken = {name: value for name, value in values.items() if not math.isfinite(value)}
    if broken:
        raise FloatingPointError(f"step {step}: expected finite losses, got {broken}; the last checkpoint is whole")
    return values


def _step_seed(seed: int, step: int) -> int:
    return (seed * 1_000_003 + step) % 2**63  # a prime apart, so that neighbouring seeds share no step


@contextmanager
def _stop_signal() -> Iterator[list[int]]:
    """Yield a list that a SIGINT or SIGTERM puts itself on; a second one is not held back."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, previous[signal.Signals(number)])

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
