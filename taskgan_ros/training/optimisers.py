"""What networks learn by where nothing is adversarial: Adam, or Muon, which takes fewer steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from taskgan_ros.training.rates import set_rate

OptimiserName = Literal["adam", "muon"]


def make_optimiser(name: OptimiserName, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Return the optimiser of a network's parameters, with fresh moments."""
    kind = Muon if name == "muon" else torch.optim.Adam
    return kind(network.parameters(), rate)


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) on weights, each as a matrix with a row a filter, and Adam on biases and norms.

    Muon makes all of a step's singular values alike, so that what few images show is learned as fast as what all show.
    torch's own takes matrices alone; a convolution's weights are given to it as views. Its steps are as long as Adam's
    at the same rate (Liu et al. 2025), so one rate serves both.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        """Start with fresh moments."""
        given = list(parameters)
        super().__init__(given, {"lr": lr})
        self._weights = [values for values in given if values.ndim > 1]
        self._matrices = [nn.Parameter(_as_matrix(weight.detach(), weight)) for weight in self._weights]
        rest = [values for values in given if values.ndim <= 1]
        muon = torch.optim.Muon(self._matrices, lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        self._parts = {"muon": muon, **({"adam": torch.optim.Adam(rest, lr)} if rest else {})}

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do one step of both, at the rate of the first group."""
        assert closure is None
        for matrix, weight in zip(self._matrices, self._weights, strict=True):
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad, weight)
        for part in self._parts.values():
            set_rate(part, self.param_groups[0]["lr"])
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the moments of both."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them over."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


def _as_matrix(values: Tensor, weight: Tensor) -> Tensor:
    """Return values (N, ...) as a matrix (N, M) in the order that `weight` has in memory: of itself, a view."""
    return values.flatten(1) if weight.is_contiguous() else values.movedim(1, -1).flatten(1)
