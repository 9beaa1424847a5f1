"""The weights worth keeping: adversarial training may make a translator worse, and its last weights the worst."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

TASK, PIXEL, LOOK = "validation_task", "validation_pixel", "validation_look"
_TINY = 1e-9  # keeps ratios finite where the start was without error


def relative_score(figures: dict[str, float], reference: dict[str, float]) -> float:
    """Return how good a validation is in units of another, 1; smaller is better.

    It is the mean of two ratios: that of the task errors, and that of how far pictures are from the output domain, by
    pixel where the true ones are known and else by look.
    """
    names = TASK, PIXEL if PIXEL in reference else LOOK
    return sum(figures[name] / max(reference[name], _TINY) for name in names) / len(names)


class KeptWeights:
    """The weights of the best validation since the adversarial steps began.

    They are compared by `relative_score`, so weights that are no better than those at the beginning are never kept.

    Attributes:
        network: with those weights; None before the beginning.
        step: after which they were.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.network: nn.Module | None = None
        self.step = 0
        self._start: dict[str, float] = {}
        self._score = 1.0

    def begin(self, step: int, network: nn.Module, figures: dict[str, float]) -> None:
        """Keep the weights from before the adversarial steps."""
        self.network, self.step = copy.deepcopy(network).requires_grad_(False), step
        self._start, self._score = dict(figures), 1.0

    def offer(self, step: int, network: nn.Module, figures: dict[str, float]) -> None:
        """Keep these weights if their figures are the best so far; nothing before the beginning."""
        if self.network is None:
            return
        score = relative_score(figures, self._start)
        if score < self._score:
            self.network.load_state_dict(network.state_dict())
            self.step, self._score = step, score

    def state_dict(self) -> dict[str, Any]:
        """Return all state."""
        if self.network is None:
            return {}
        return {"weights": self.network.state_dict(), "step": self.step, "start": self._start, "score": self._score}

    def load_state_dict(self, state: dict[str, Any], like: nn.Module) -> None:
        """Take it over; `like` has the network's shape."""
        if not state:
            return
        self.begin(state["step"], like, state["start"])
        assert self.network is not None
        self.network.load_state_dict(state["weights"])
        self._score = state["score"]
