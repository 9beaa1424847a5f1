"""What images look like, coarsely: a Gaussian of their cells' colours, and how far others are from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from taskgan_ros.training.networks import run_batches, to_network

Array = NDArray[np.float64]

_GRID = 16  # cells a side: an object of a tenth of the picture shows


@dataclass(frozen=True)
class Appearance:
    """A distribution of coarse images: mean (D,), and the whitening (D, D) of their covariance."""

    mean: Array
    whitening: Array

    def distance(self, values: Array) -> Array:
        """Return the Mahalanobis distance (N,) of `values` (N, D), 1 on average."""
        white = (values - self.mean) @ self.whitening
        distance: Array = np.sqrt(np.mean(white**2, axis=1))
        return distance


def fit_appearance(values: Array) -> Appearance:
    """Fit the distribution of `values` (N, D), with the covariance shrunk by OAS (Chen et al. 2010, eq. 23)."""
    mean = values.mean(axis=0)
    centred = values - mean
    n, d = values.shape
    covariance = centred.T @ centred / n
    trace, trace_2 = np.trace(covariance), np.sum(covariance**2)
    numerator = (1 - 2 / d) * trace_2 + trace**2
    share = min(1.0, numerator / ((n + 1 - 2 / d) * (trace_2 - trace**2 / d)))
    shrunk = (1 - share) * covariance + share * trace / d * np.eye(d)
    return Appearance(mean, np.linalg.cholesky(np.linalg.inv(shrunk)))


def coarse(images: NDArray[np.uint8]) -> Array:
    """Return images (N, H, W, 3) uint8 as (N, D) means over the cells of a grid, in [-1, 1]."""
    return run_batches(lambda part: cells(to_network(part)), images).astype(np.float64)


def cells(images: Tensor) -> Tensor:
    """Return images (N, 3, H, W) as (N, D) means over the cells of a grid."""
    kernel = [max(1, side // _GRID) for side in images.shape[-2:]]
    return functional.avg_pool2d(images, kernel).flatten(1)


def cross_validated(values: Array, folds: NDArray[np.int64]) -> Array:
    """Return the distance (N,) of each of `values` (N, D) from those of the other folds; `folds` (N,) numbers them."""
    distances = np.zeros(len(values))
    for fold in np.unique(folds):
        distances[folds == fold] = fit_appearance(values[folds != fold]).distance(values[folds == fold])
    return distances
