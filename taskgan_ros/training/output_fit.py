"""Fit a task model's output layer to a handful of labelled target images, in closed form.

All images of a camera that is a little off share one error: what f_X predicts is shifted, turned and stretched. An
affine map of the predictions undoes most of it. Ten images are enough for it. It is multiplied into the output layer,
so the network keeps its structure.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from taskgan_ros.training.bank import Bank
from taskgan_ros.training.networks import TaskModel

Array = NDArray[np.float64]

_SHIFT, _SLOPE = 0.5, 0.1  # prior standard deviations about the identity, in units of standardised labels
_SAME = 0.01  # labels nearer than this are one: all images of an episode have the same joint goal
_FEWEST = 3  # episodes; fewer cannot tell whether the map helps in others
_FOLDS = 20  # maps that are fitted at most to see whether it does
_HUBER = 1.345  # deviations beyond which an error counts linearly: 95 % efficiency for Gaussian errors (Huber 1981)
_TO_DEVIATION = 1.4826  # from a median of absolute errors, for Gaussian ones
_LEAST_DEVIATION = 0.02  # so that two or three errors that happen to agree do not rule the prior out
_ROUNDS = 15


@dataclass(frozen=True)
class FitErrors:
    """Whether a fit helps.

    Attributes:
        episodes: how many with different labels there were.
        before: mean absolute error of the old layer, in standard deviations.
        after: the same of the map, each episode predicted by a map that was fitted to others; None with too few.
    """

    episodes: int
    before: float
    after: float | None

    @property
    def is_better(self) -> bool:
        """Whether the map was kept."""
        return self.after is not None and self.after < self.before

    def __str__(self) -> str:
        """Say what happened, for people."""
        if self.after is None:
            return f"left as it was: expected {_FEWEST} episodes with different labels or more, got {self.episodes}"
        errors = f"in episodes it was not fitted to, the error is {self.after:.3f} standard deviations"
        kept = "fitted" if self.is_better else "left as it was: a fit does not help"
        return f"{kept}; {errors}, {self.before:.3f} before"


def fit_errors(figures: Mapping[str, float]) -> FitErrors:
    """Return what a run's figures say of its fit: those of `FitErrors`, with `fit_` before their names."""
    return FitErrors(int(figures["fit_episodes"]), figures["fit_before"], figures.get("fit_after"))


@torch.no_grad()
def fit_output(network: TaskModel, bank: Bank, episode: NDArray[np.int64]) -> tuple[TaskModel, FitErrors]:
    """Return a copy of the network with its output layer fitted to labelled images, and whether that helps.

    The map is ridge regression with a Gaussian prior, and robust (Huber 1981). It is kept if it predicts labels better
    in episodes that it was not fitted to.

    Args:
        network: a task model.
        bank: translated images and their labels.
        episode: (N,) which one each image is of.
    """
    device = bank.labels.device
    parts = torch.arange(len(bank), device=device).split(64)
    predicted = torch.cat([network(bank.batch(index)[0]) for index in parts]).double().cpu().numpy()
    seen, wanted, group = _observed(predicted, bank.labels.double().cpu().numpy(), episode)
    count = len(np.unique(group))
    after = _left_out_error(seen, wanted, group) if count >= _FEWEST else None
    errors = FitErrors(count, float(np.abs(wanted - seen).mean()), after)
    network = copy.deepcopy(network)
    if errors.is_better:
        _multiply_in(network, *_affine(seen, wanted))
    return network, errors


def _observed(predicted: Array, labels: Array, episode: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.intp]]:
    """Return predictions and labels (K, J) to fit to, and whose each is (K,).

    The images of an episode with one label count as one, by their medians. Episodes with the same labels are one.
    """
    index = np.unique(episode, return_inverse=True)[1]
    means = np.array([labels[index == k].mean(axis=0) for k in range(index.max() + 1)])
    owner = (np.abs(means[:, None] - means[None]).max(axis=2) <= _SAME).argmax(axis=1)[index]
    seen, wanted, group = [], [], []
    for one in np.unique(owner):
        rows = owner == one
        part, target = predicted[rows], labels[rows]
        if np.ptp(target, axis=0).max() <= 2 * _SAME:
            part, target = (np.median(values, axis=0, keepdims=True) for values in (part, target))
        seen.append(part)
        wanted.append(target)
        group += [one] * len(part)
    return np.concatenate(seen), np.concatenate(wanted), np.array(group)


def _left_out_error(seen: Array, wanted: Array, group: NDArray[np.intp]) -> float:
    """Return the mean absolute error of maps on the groups that they were not fitted to."""
    errors = np.empty_like(wanted)
    fold = np.unique(group, return_inverse=True)[1] % _FOLDS
    for k in np.unique(fold):
        out = fold == k
        slope, shift = _affine(seen[~out], wanted[~out])
        errors[out] = wanted[out] - seen[out] - seen[out] @ slope - shift
    return float(np.abs(errors).mean())


def _affine(seen: Array, wanted: Array) -> tuple[Array, Array]:
    """Return the slope (J, J) and shift (J,) of the map: what has to be added is `seen @ slope + shift`."""
    centre = seen.mean(axis=0)
    inputs = np.column_stack([np.ones(len(seen)), seen - centre])
    prior = np.diag(1 / np.array([_SHIFT, *[_SLOPE] * seen.shape[1]]) ** 2)
    weights = np.column_stack([_robust(inputs, errors, prior) for errors in (wanted - seen).T])
    return weights[1:], weights[0] - centre @ weights[1:]


def _robust(inputs: Array, errors: Array, prior: Array) -> Array:
    """Return the weights (J + 1,) of one output, by iteratively reweighted least squares; errors are (K,)."""
    weights: Array = np.zeros(len(prior))
    trust = np.ones(len(errors))
    freedom = math.sqrt(len(errors) / max(len(errors) - 2, 1))
    left = np.abs(errors - np.median(errors))  # what they share is for the map, and no noise
    for _ in range(_ROUNDS):
        deviation = max(_TO_DEVIATION * freedom * float(np.median(left)), _LEAST_DEVIATION)
        trust = np.minimum(1, _HUBER * deviation / np.maximum(left, 1e-9))
        weighted = (inputs * trust[:, None]).T / deviation**2
        weights = np.asarray(np.linalg.solve(weighted @ inputs + prior, weighted @ errors), np.float64)
        left = np.abs(errors - inputs @ weights)
    return weights


def _multiply_in(network: TaskModel, slope: Array, shift: Array) -> None:
    """Make the output layer's predictions p those of the map, p + p @ slope + shift."""
    layer = network.output
    turned = torch.from_numpy(np.eye(len(slope)) + slope.T)
    weight, bias = layer.weight.double().cpu(), layer.bias.double().cpu()
    layer.weight.copy_(turned @ weight)
    layer.bias.copy_(turned @ bias + torch.from_numpy(shift))
