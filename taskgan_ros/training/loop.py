"""The loop that all training steps share: seeded steps, progress, pictures, checkpoints, and a clean stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from taskgan_ros.core import interrupts
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.training import distributed
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
        """Load all state."""


@dataclass(frozen=True)
class Schedule:
    """When the loop does what, in steps."""

    steps: int
    log_every: int
    show_every: int
    save_every: int


def schedule_of(config: Any) -> Schedule:
    """Return when the loop does what, from a run's options with `steps`."""
    return Schedule(config.steps, config.log_every, config.show_every, config.save_every)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP: the run was saved and can be resumed."""


def train(run: Run, trainer: Trainer, schedule: Schedule, seed: int, what: str) -> dict[str, float]:
    """Train until `schedule.steps`, from where the run stands, and return the last validation's figures.

    Every step is seeded by its number alone, so a resumed run repeats an uninterrupted one bit for bit on a CPU. Of
    several processes all take every step; the first one does all the rest, and the others wait for it.

    Raises:
        Interrupted: a signal came; everything up to the last whole step is saved.
        FloatingPointError: a loss is not finite; the last checkpoint stays.
    """
    run.restore(trainer)
    # torchrun forwards signals that the terminal has already sent to its processes, and kills those that keep running.
    with interrupts.deferred(patient=distributed.world_size() > 1):
        figures = _take_steps(run, trainer, schedule, seed, what) or distributed.first(trainer.validate)
        if distributed.is_first():
            print_line(f"{run.path}: " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    return figures


def _take_steps(run: Run, trainer: Trainer, schedule: Schedule, seed: int, what: str) -> dict[str, float]:
    """Take the steps that are left, and return the last validation's figures; none where no step was left."""
    figures: dict[str, float] = {}
    if not schedule.steps:  # saving does the work: it fits the output layer
        figures = distributed.first(_look, run, trainer, 0)
        distributed.first(run.save, 0, trainer)
        return figures
    with _bar(what, schedule.steps, run.step) as advance:
        for step in range(run.step, schedule.steps):
            torch.manual_seed(_step_seed(seed, step))
            losses = trainer.train_step(step)
            done = step + 1
            last, stop = done == schedule.steps, distributed.any_of(interrupts.requested())
            save = done % schedule.save_every == 0 or last or stop
            shown = _finite(distributed.mean(losses), done) if save or done % schedule.log_every == 0 else {}
            if shown:
                distributed.first(run.log, done, shown)
                advance(0, **shown)
            if done % schedule.show_every == 0 or last:
                figures = distributed.first(_look, run, trainer, done)
            if save:
                distributed.first(run.save, done, trainer)
            advance(1)
            if stop and not last:
                raise Interrupted(f"stopped after step {done} of {schedule.steps}")
    return figures


def _look(run: Run, trainer: Trainer, step: int) -> dict[str, float]:
    """Validate, and log what came out: losses are of before a step, so only this sees a last step that diverged."""
    figures = _finite(trainer.validate(), step)
    run.log(step, figures)
    picture = trainer.picture()
    if picture is not None:
        run.show(step, "translations", picture)
    return figures


def _bar(what: str, steps: int, done: int) -> AbstractContextManager[Callable[..., None]]:
    return progress_bar(what, steps, "steps", done) if distributed.is_first() else nullcontext(lambda *_, **__: None)


def _finite(losses: dict[str, float], step: int) -> dict[str, float]:
    broken = {name: value for name, value in losses.items() if not math.isfinite(value)}
    if broken:
        raise FloatingPointError(f"step {step}: expected finite losses, got {broken}; the last checkpoint is intact")
    return losses


def _step_seed(seed: int, step: int) -> int:
    return (seed * 1_000_003 + step) % 2**63  # a prime apart, so that neighbouring seeds share no step
