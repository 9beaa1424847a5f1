"""Fit a task model's output layer to a handful of labelled target images, in closed form.

All images of a camera that is a little off share one error: what f_X predicts is shifted, turned and stretched. An
affine map of the predictions undoes most of it. It needs ten images where gradients need hundreds, and is multiplied
into the output layer, so that the network stays as it was.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from taskgan_ros.training.bank import Bank
from taskgan_ros.training.networks import TaskModel

Array = NDArray[np.float64]

_SHIFT, _SLOPE = 0.5, 0.1  # standard deviations expected of the map, of standardised labels: a Gaussian prior
_SAME = 0.01  # labels nearer than this are one: all images of an episode have the same joint goal
_FEWEST = 3  # different labels; fewer cannot tell whether the map helps for others
_HUBER = 1.345  # deviations beyond which an error counts linearly: 95 % efficiency for Gaussian errors (Huber 1981)
_TO_DEVIATION = 1.4826  # from a median of absolute errors, for Gaussian ones
_LEAST_DEVIATION = 0.02  # so that two or three errors that happen to agree do not rule the prior out
_ROUNDS = 15


@dataclass(frozen=True)
class OutputFit:
    """What a fit did.

    Attributes:
        network: the task model with its new output layer; with the old one where the map does not help.
        labels: how many different ones there were.
        before: mean absolute error of the old layer, in standard deviations.
        after: the same of the map, each label predicted by a map that was fitted to the others; NaN with too few.
    """

    network: TaskModel
    labels: int
    before: float
    after: float

    @property
    def is_tried(self) -> bool:
        """Whether there were labels enough."""
        return self.labels >= _FEWEST

    @property
    def is_better(self) -> bool:
        """Whether the map was kept."""
        return self.after < self.before


@torch.no_grad()
def fit_output(network: TaskModel, bank: Bank) -> OutputFit:
    """Return a copy of the network whose output layer is fitted to a bank of translated images and their labels.

    Predictions of images with one label count as their median. The map is ridge regression with a Gaussian prior, and
    robust (Huber 1981). It is kept if it predicts labels better that it was not fitted to.
    """
    predicted = torch.cat([network(bank.batch(index)[0]) for index in torch.arange(len(bank)).split(64)])
    seen, wanted = _by_label(predicted.double().cpu().numpy(), bank.labels.double().cpu().numpy())
    network = copy.deepcopy(network)
    before = float(np.abs(wanted - seen).mean())
    if len(seen) < _FEWEST:
        return OutputFit(network, len(seen), before, float("nan"))
    everyone = np.arange(len(seen))
    left_out = [_mapped(seen[everyone != k], wanted[everyone != k], seen[k : k + 1])[0] for k in everyone]
    fit = OutputFit(network, len(seen), before, float(np.abs(wanted - left_out).mean()))
    if fit.is_better:
        _multiply_in(network, *_affine(seen, wanted))
    return fit


def _by_label(predicted: Array, labels: Array) -> tuple[Array, Array]:
    """Return the median prediction (K, J) of each different label, and those labels (K, J)."""
    apart = np.abs(labels[:, None] - labels[None]).max(axis=2)
    group = (apart <= _SAME).argmax(axis=1)
    firsts = np.unique(group)
    medians = [np.median(predicted[group == first], axis=0) for first in firsts]
    return np.array(medians), labels[firsts]


def _mapped(seen: Array, wanted: Array, predicted: Array) -> Array:
    """Return `predicted` (N, J) by the map that is fitted to `seen` and `wanted` (K, J)."""
    slope, shift = _affine(seen, wanted)
    return predicted + predicted @ slope + shift


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
    deviation = max(float(np.median(np.abs(errors))), _LEAST_DEVIATION)
    freedom = math.sqrt(len(errors) / max(len(errors) - 2, 1))
    for _ in range(_ROUNDS):
        weighted = (inputs * trust[:, None]).T / deviation**2
        weights = np.asarray(np.linalg.solve(weighted @ inputs + prior, weighted @ errors), np.float64)
        left = np.abs(errors - inputs @ weights)
        deviation = max(_TO_DEVIATION * freedom * float(np.median(left)), _LEAST_DEVIATION)
        trust = np.minimum(1, _HUBER * deviation / np.maximum(left, 1e-9))
    return weights


def _multiply_in(network: TaskModel, slope: Array, shift: Array) -> None:
    """Make the output layer's predictions p those of the map, p + p @ slope + shift."""
    layer = network.output
    turned = torch.from_numpy(np.eye(len(slope)) + slope.T)
    weight, bias = layer.weight.double().cpu(), layer.bias.double().cpu()
    layer.weight.copy_(turned @ weight)
    layer.bias.copy_(turned @ bias + torch.from_numpy(shift))
