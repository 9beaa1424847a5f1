"""What networks learn by where nothing is adversarial: Adam, or Muon, which takes fewer steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from taskgan_ros.training.networks import multiplies_bfloat16
from taskgan_ros.training.rates import set_rate

OptimiserName = Literal["adam", "muon"]

_MOMENTUM = 0.95  # Jordan's
_STEPS = 5  # of Newton and Schulz; singular values end between 0.7 and 1.2
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: steepest at 0, so that the smallest grow fastest
_ADAMS_RMS = 0.2  # of a step's elements, at a rate of 1 (Liu et al. 2025)


def make_optimiser(name: OptimiserName, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Return the optimiser of a network's parameters, with fresh moments."""
    kind = Muon if name == "muon" else torch.optim.Adam
    return kind(network.parameters(), rate)


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) on weights, each as a matrix, and Adam on biases, norms and other vectors.

    Muon makes the singular values of each step alike, so that what few images show is learned as soon as what all show.
    Its steps are as long as Adam's at the same rate (Liu et al. 2025), though it tolerates a higher one.

    torch's own takes matrices alone, which a convolution's weights are not. It computes in bfloat16, which takes twenty
    times as long on a CPU that has to emulate it.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        """Start with fresh moments."""
        given = list(parameters)
        super().__init__(given, {"lr": lr})
        self._weights = [values for values in given if _is_matrix(values)]
        rest = [values for values in given if not _is_matrix(values)]
        self._adam = torch.optim.Adam(rest, lr) if rest else None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do one step, at the rate of the first group."""
        assert closure is None
        rate = self.param_groups[0]["lr"]
        for weight in self._weights:
            if weight.grad is None:
                continue
            momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
            momentum.lerp_(weight.grad, 1 - _MOMENTUM)
            ahead = weight.grad.lerp(momentum, _MOMENTUM).flatten(1)  # Nesterov's
            length = _ADAMS_RMS * max(ahead.shape) ** 0.5
            weight.sub_(orthogonal(ahead).view(weight.shape), alpha=rate * length)
        if self._adam is not None:
            set_rate(self._adam, rate)
            self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the moments of both."""
        return {"muon": super().state_dict(), "adam": None if self._adam is None else self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load them."""
        super().load_state_dict(state["muon"])
        if self._adam is not None:
            self._adam.load_state_dict(state["adam"])


def orthogonal(matrix: Tensor) -> Tensor:
    """Return approximately U V' of a matrix (N, M) = U S V', by five Newton-Schulz iterations."""
    a, b, c = _COEFFICIENTS
    near = matrix.to(torch.bfloat16) if multiplies_bfloat16(matrix.device) else matrix
    is_tall = len(matrix) > matrix.shape[1]  # the products are then of its columns, the smaller ones
    near = near.T if is_tall else near
    near = near / near.norm().clamp_min(1e-7)
    for _ in range(_STEPS):
        gram = near @ near.T
        near = a * near + (b * gram + c * gram @ gram) @ near
    near = near.T if is_tall else near
    return near.to(matrix.dtype).contiguous()


def _is_matrix(values: Tensor) -> bool:
    """Return whether values have rows and columns; those of a norm have one column, whatever their dimensions."""
    return values.ndim > 1 and values[0].numel() > 1
