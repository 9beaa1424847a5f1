"""How sure a figure is, and how far apart two sets of images are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError

Array = NDArray[np.float64]

_Z_95 = 1.96  # standard deviations on either side that hold 95 % of a normal distribution


def wilson_interval(successes: int, n: int, z: float = _Z_95) -> tuple[float, float]:
    """Return the bounds of a success rate, each in [0, 1] (Wilson 1927): sound also where all or none of n succeed.

    Args:
        successes: how many of `n` succeeded.
        n: how many were tried.
        z: the quantile; 1.96 gives 95 %.

    Raises:
        InputError: no trial, or more successes than trials.
    """
    if not (n > 0 and 0 <= successes <= n):
        raise InputError(f"expected 0 to n successes of at least 1 trial, got {successes} of {n}")
    rate = successes / n
    centre = rate + z**2 / (2 * n)
    spread = z * math.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
    shrink = 1 + z**2 / n
    return max(0.0, (centre - spread) / shrink), min(1.0, (centre + spread) / shrink)


def difference_interval(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """Return the 95 % bounds of the first success rate minus the second (Newcombe 1998, method 10).

    Args:
        first: successes and trials.
        second: the same.

    Raises:
        InputError: as `wilson_interval`.
    """
    (low, high), (other_low, other_high) = wilson_interval(*first), wilson_interval(*second)
    rate, other = first[0] / first[1], second[0] / second[1]
    down, up = math.hypot(rate - low, other_high - other), math.hypot(high - rate, other - other_low)
    return rate - other - down, rate - other + up


def kernel_distance(generated: Array, true: Array) -> float:
    """Return the squared maximum mean discrepancy of features, by the kernel (x·y / d + 1)³ of Binkowski et al. (2018).

    Row i of both is of the same state, so the unbiased estimate is the one for pairs (Gretton et al. 2012, eq. 4),
    which leaves i = j out of the mixed sum too: equal sets are exactly 0 apart, and it can fall below 0.

    Args:
        generated: (N, d) features.
        true: (N, d) features.

    Raises:
        InputError: other shapes, or fewer than two rows.
    """
    if generated.shape != true.shape or generated.ndim != 2 or len(true) < 2:
        raise InputError(f"expected features (N, d) of N > 1 pairs, got {generated.shape} and {true.shape}")
    within = _mean_kernel(generated, generated) + _mean_kernel(true, true)
    return within - 2 * _mean_kernel(generated, true)


def _mean_kernel(first: Array, second: Array) -> float:
    """Return the mean of the kernel over all i != j."""
    count, width = first.shape
    kernel = (first @ second.T / width + 1) ** 3
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))
