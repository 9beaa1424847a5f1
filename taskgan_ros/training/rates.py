"""The learning rate over a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class RateSchedule:
    """A rate that stays over the first half of a run, and falls linearly over the second.

    Attributes:
        start: the optimiser's learning rate.
        steps: of the run.
    """

    start: float
    steps: int

    def rate(self, step: int) -> float:
        """Return the rate of step `step`, from 0."""
        return self.start * min(1.0, 2 * (1 - step / self.steps))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = rate
