from __future__ import annotations

import numpy as np
import pytest

from experiments.statistics import difference_interval, kernel_distance, wilson_interval
from taskgan_ros.core.errors import InputError


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_that_of_newcombes_table(successes: int, n: int, low: float, high: float) -> None:
    # Newcombe (1998), Statistics in Medicine 17: 857-872, table I, method 3
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_all_and_none_of_the_episodes_leave_room_for_doubt() -> None:
    low, high = wilson_interval(100, 100)
    assert (low, high) == pytest.approx((0.963, 1), abs=5e-4)
    assert wilson_interval(0, 100) == pytest.approx((0, 1 - low))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_what_is_no_rate_is_refused(successes: int, n: int) -> None:
    with pytest.raises(InputError, match=f"got {successes} of {n}"):
        wilson_interval(successes, n)


def test_the_interval_of_a_difference_is_that_of_newcombes_table() -> None:
    # Newcombe (1998), Statistics in Medicine 17: 873-890, table II, method 10
    assert difference_interval((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert difference_interval((9, 10), (3, 10)) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert difference_interval((10, 10), (0, 10)) == pytest.approx((0.6075, 1.0), abs=5e-5)


def test_the_kernel_distance_is_the_mean_over_all_pairs_of_pairs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (7, 4)), rng.normal(0.5, 1, (7, 4))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((sum(p * q for p, q in zip(a, b, strict=True)) / 4 + 1) ** 3)

    terms = [
        k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]) for i in range(7) for j in range(7) if i != j
    ]
    assert kernel_distance(x, y) == pytest.approx(np.mean(terms))


def test_features_of_one_distribution_are_nowhere_apart_and_shifted_ones_are() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (2000, 8))
    assert kernel_distance(x, x) == pytest.approx(0, abs=1e-12)
    estimates = [kernel_distance(*rng.normal(0, 1, (2, 50, 8))) for _ in range(200)]
    assert abs(np.mean(estimates)) < 4 * np.std(estimates) / np.sqrt(200)  # unbiased
    assert abs(kernel_distance(x[:1000], x[1000:])) < 0.01 < 0.1 < kernel_distance(x[:1000], x[1000:] + 0.5)


def test_features_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(InputError, match=r"got \(3, 2\) and \(4, 2\)"):
        kernel_distance(np.zeros((3, 2)), np.zeros((4, 2)))
