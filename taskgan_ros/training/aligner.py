"""Fit the alignment of target images to their plain renders, and keep it only if held-out images are better for it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from taskgan_ros.training import distributed
from taskgan_ros.training.alignment import Alignment
from taskgan_ros.training.kept import relative_score
from taskgan_ros.training.rates import RateSchedule, set_rate

_RATE = 4e-3  # Adam's; 1e-2 gave the same after 200 steps


class Aligner:
    """An alignment in training, with its optimiser, and the one that target images are aligned with meanwhile.

    Attributes:
        used: the latter; None where images are taken as they were recorded.
    """

    def __init__(self, start: Alignment | None, steps: int, device: torch.device) -> None:
        """Begin with that of the translator started from, if it has one, and train for `steps`."""
        self.used = None if start is None else start.to(device)
        self._fitting = copy.deepcopy(self.used or Alignment()).to(device)
        self._adam = distributed.joint(torch.optim.Adam(self._fitting.parameters(), _RATE))
        self._steps = steps

    def step(self, step: int, loss_with: Callable[[Alignment], Tensor]) -> Tensor:
        """Do one step of Adam on the loss of images that the alignment in training has aligned, and return it."""
        set_rate(self._adam, RateSchedule(_RATE, self._steps).rate(step))
        loss = loss_with(self._fitting)
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return loss.detach()

    def choose(self, figures_with: Callable[[Alignment | None], dict[str, float]]) -> None:
        """Use from now on the one with the best figures of held-out images: none, the one used so far or the fitted."""
        unaligned = figures_with(None)
        candidates = [each for each in (self.used, copy.deepcopy(self._fitting)) if each is not None]
        scores = [relative_score(figures_with(each), unaligned) for each in candidates]
        best = min(scores)
        self.used = candidates[scores.index(best)] if best < 1 else None

    def state_dict(self) -> dict[str, Any]:
        """Return both alignments and the optimiser."""
        return {
            "alignment": None if self.used is None else self.used.state_dict(),
            "fitting": self._fitting.state_dict(),
            "aligner": self._adam.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load them; runs from before target images were aligned have none."""
        if "aligner" not in state:
            return
        self._fitting.load_state_dict(state["fitting"])
        self._adam.load_state_dict(state["aligner"])
        self.used = None
        if state["alignment"] is not None:
            self.used = Alignment().to(self._fitting.warp.device)
            self.used.load_state_dict(state["alignment"])
