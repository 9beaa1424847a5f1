from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from taskgan_ros.control.limits import integrate, limit_velocity
from taskgan_ros.core.errors import InputError

Array = NDArray[np.float64]

J = 3
MAX = np.array([0.628, 0.838, math.inf])
LOWER = np.array([-1.0, 0.5, -math.inf])
UPPER = np.array([1.0, 2.5, math.inf])

any_number = st.floats(allow_nan=False, allow_infinity=False)
velocities = arrays(np.float64, (J,), elements=any_number)
batches = arrays(np.float64, (4, J), elements=st.floats(-10, 10))
not_finite = st.sampled_from([math.nan, math.inf, -math.inf])
within = st.builds(
    lambda share, turns: np.array([*(LOWER[:2] + share[:2] * (UPPER - LOWER)[:2]), turns]),
    arrays(np.float64, (J,), elements=st.floats(0, 1)),
    st.floats(-50, 50),
)


@given(velocities)
def test_no_joint_is_ever_faster_than_its_limit(velocity: Array) -> None:
    assert np.all(np.abs(limit_velocity(velocity, MAX)) <= MAX)


@given(arrays(np.float64, (J,), elements=st.floats(-100, 100)))
def test_the_direction_is_kept(velocity: Array) -> None:
    limited = limit_velocity(velocity, MAX)
    speed = np.linalg.norm(velocity)
    np.testing.assert_allclose(limited * speed, velocity * np.linalg.norm(limited), rtol=1e-9, atol=1e-9)
    assert np.all(limited * velocity >= 0)


@given(arrays(np.float64, (J,), elements=st.floats(-100, 100)))
def test_a_joint_at_its_limit_decides_and_nothing_is_slowed_without_need(velocity: Array) -> None:
    limited = limit_velocity(velocity, MAX)
    if np.all(np.abs(velocity) <= MAX):
        np.testing.assert_array_equal(limited, velocity)
    else:
        assert np.max(np.abs(limited) / MAX) == pytest.approx(1)


@given(batches)
def test_each_row_of_a_batch_is_limited_by_itself(velocity: Array) -> None:
    rows = [limit_velocity(row, MAX) for row in velocity]
    np.testing.assert_array_equal(limit_velocity(velocity, MAX), rows)


@given(within, velocities, st.floats(1e-3, 10))
def test_from_within_the_position_limits_nothing_leads_out(q: Array, velocity: Array, dt_s: float) -> None:
    finite_speed = np.array([*MAX[:2], 1.0])
    there = integrate(q, velocity, dt_s, LOWER, UPPER, finite_speed)
    assert np.all((there >= LOWER) & (there <= UPPER))
    assert np.all(np.abs(there - q) <= finite_speed * dt_s + 1e-12)


@given(arrays(np.float64, (J,), elements=st.floats(-10, 10)), batches)
def test_a_joint_beyond_a_limit_goes_no_further_and_is_not_thrown_back(q: Array, velocity: Array) -> None:
    speed = np.full(J, 0.5)
    there = integrate(np.broadcast_to(q, velocity.shape), velocity, 0.1, LOWER, UPPER, speed)
    assert np.all(there >= np.minimum(LOWER, q))
    assert np.all(there <= np.maximum(UPPER, q))
    assert np.all(np.abs(there - q) <= 0.05 + 1e-12)


def test_within_all_limits_the_step_is_exact() -> None:
    there = integrate([0.0, 1.0, 7.0], [0.1, -0.2, 0.3], 0.5, LOWER, UPPER, MAX)
    np.testing.assert_allclose(there, [0.05, 0.9, 7.15])


@given(st.integers(0, J - 1), not_finite)
def test_what_is_not_finite_is_refused(joint: int, bad: float) -> None:
    good, broken = np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0])
    broken[joint] = bad
    with pytest.raises(InputError, match="velocity: expected finite numbers, got"):
        limit_velocity(broken, MAX)
    with pytest.raises(InputError, match="velocity: expected finite numbers, got"):
        integrate(good, broken, 0.1, LOWER, UPPER, MAX)
    with pytest.raises(InputError, match="configuration: expected finite numbers, got"):
        integrate(broken, good, 0.1, LOWER, UPPER, MAX)


def test_a_step_to_infinity_is_refused() -> None:
    with (
        np.errstate(over="ignore"),
        pytest.raises(InputError, match="next configuration: expected finite numbers, got"),
    ):
        integrate([0.0, 1.0, 1e308], [0.0, 0.0, 1e308], 10.0, LOWER, UPPER, MAX)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_limits_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="max_velocity: expected positive numbers, got"):
        limit_velocity(np.zeros(J), [0.1, bad, 0.1])
    with pytest.raises(InputError, match="position limits: expected lower <= upper, got"):
        integrate(np.zeros(J), np.zeros(J), 0.1, [bad] * 3, [-2, -2, -2], MAX)


@pytest.mark.parametrize("bad", [0.0, -0.1, math.nan, math.inf])
def test_a_step_that_takes_no_time_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="dt_s: expected a positive number of seconds, got"):
        integrate(np.zeros(J), np.zeros(J), bad, LOWER, UPPER, MAX)


def test_another_number_of_joints_is_refused() -> None:
    with pytest.raises(InputError, match=r"velocity: expected shape \[\.\.\., J\] .*, got \[5\] and \[3\]"):
        limit_velocity(np.zeros(5), MAX)
