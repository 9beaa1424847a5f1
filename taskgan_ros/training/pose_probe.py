"""A linear probe of the arm's pose in f_X's features, with its usual error: does the picture fit the joint states?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

TARGET_WEIGHT = 4.0  # of a target image beside one of the simulation: the probe is for those
SPREAD_RANGE = (-1.5, 3.0)  # of the logarithm of the variance: beyond the poses seen a parabola is no guide
_RIDGE = 3e-3  # of the features' mean variance; 3e-4 to 3e-2 did the same on held-out images
_SPREAD_RIDGE = 5.0  # weight, in images, of the prior of one covariance for all poses
_SMALLEST_ERROR = 0.05  # in variances, of an error whose logarithm is taken


@dataclass(frozen=True)
class Views:
    """Images of known poses, as f_X sees them: features (N, D) of its last convolution, angles (N, J) in rad."""

    features: Array
    angles: Array


@dataclass(frozen=True)
class PoseProbe:
    """The pose by a linear map of f_X's last convolution, and the covariance of its errors, which depends on the pose.

    Attributes:
        weights: (D, J), bias: (J,): features to rad.
        centre, width: (J,) rad, mean and deviation of the target images' poses.
        whitening: (J, J) of the errors.
        spread: coefficients of the logarithm of the errors' variance, a parabola over poses.
    """

    weights: Array
    bias: Array
    centre: Array
    width: Array
    whitening: Array
    spread: Array


def fit_pose_probe(
    plain: Views, target: Views, folds: NDArray[np.int64], other: Views | None
) -> tuple[PoseProbe, Array]:
    """Return the probe, and the target images' scores (N,), each by a probe that did not see its fold.

    Args:
        plain: of the simulation.
        target: of translated target images.
        folds: (N,) numbers that share no episode.
        other: of translated images with other looks, which only tell what poses are hard to see.
    """
    errors = np.zeros_like(target.angles)
    for fold in np.unique(folds):
        kept, left = folds != fold, folds == fold
        weights, bias = _fit(plain, Views(target.features[kept], target.angles[kept]))
        errors[left] = target.features[left] @ weights + bias - target.angles[left]
    weights, bias = _fit(plain, target)
    whitening = np.linalg.cholesky(np.linalg.inv(errors.T @ errors / len(errors)))
    centre, width = target.angles.mean(axis=0), target.angles.std(axis=0) + 1e-6
    seen, sizes = (target.angles - centre) / width, _size(errors @ whitening)
    poses, squares = seen, sizes**2
    if other is not None:
        more = _size((other.features @ weights + bias - other.angles) @ whitening) ** 2
        # Other looks have larger errors everywhere; what counts is where they are largest.
        poses = np.concatenate([poses, (other.angles - centre) / width])
        squares = np.concatenate([squares, more * squares.mean() / more.mean()])
    spread = _fit_spread(poses, squares)
    scale = np.exp(np.clip(_terms(seen) @ spread, *SPREAD_RANGE) / 2)
    return PoseProbe(weights, bias, centre, width, whitening, spread), sizes / scale


def parabola(poses: Tensor) -> Tensor:
    """Return 1, each angle and each product of two (N, P) of poses (N, J)."""
    rows, columns = torch.triu_indices(poses.shape[1], poses.shape[1])
    products = poses[:, rows] * poses[:, columns]
    return torch.cat([torch.ones_like(poses[:, :1]), poses, products], dim=1)


def _terms(poses: Array) -> Array:
    terms: Array = parabola(torch.from_numpy(poses)).numpy()
    return terms


def _fit_spread(poses: Array, squares: Array) -> Array:
    terms, logs = _terms(poses), np.log(squares + _SMALLEST_ERROR)
    gram = terms.T @ terms + _SPREAD_RIDGE * np.eye(terms.shape[1])
    return np.asarray(np.linalg.solve(gram, terms.T @ logs), np.float64)


def _fit(plain: Views, target: Views) -> tuple[Array, Array]:
    """Return weights (D, J) and bias (J,) of the weighted ridge regression of features to angles."""
    weight: Array = np.repeat([1.0, TARGET_WEIGHT], [len(plain.angles), len(target.angles)])[:, None]
    x = np.concatenate([plain.features, target.features])
    y = np.concatenate([plain.angles, target.angles])
    x_mean, y_mean = (weight * x).sum(axis=0) / weight.sum(), (weight * y).sum(axis=0) / weight.sum()
    centred = x - x_mean
    gram, cross = centred.T @ (weight * centred), centred.T @ (weight * (y - y_mean))
    ridge = _RIDGE * np.trace(gram) / len(gram) + 1e-12  # features may all be zero, in a test's network
    weights = np.linalg.solve(gram + ridge * np.eye(len(gram)), cross)
    return weights, y_mean - x_mean @ weights


def _size(white: Array) -> Array:
    size: Array = np.sqrt(np.mean(white**2, axis=1))
    return size
