from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from taskgan_ros.control.motion import Motion, cruise
from taskgan_ros.control.plan import Plan

POSE = np.array([1.0, 2.0])
LIMIT = np.array([4.0, 4.0])
FAST = np.array([0.4, -0.8])


def test_a_motion_takes_over_from_where_the_plan_is_without_a_step() -> None:
    plan = Plan(0.0, POSE)
    for start_s, velocity in ((1.0, FAST), (1.15, -FAST), (1.2, 0 * FAST)):
        start, before = plan.at(start_s)
        plan.extend(start_s, cruise(start, before, velocity, 0.2, LIMIT))
    times = np.linspace(0.9, 2.0, 1101)
    positions, velocities = plan.at(times)
    assert np.max(np.abs(np.diff(velocities, axis=0))) <= 4.0 * 0.001 + 1e-9
    np.testing.assert_allclose(np.diff(positions, axis=0) / 0.001, (velocities[1:] + velocities[:-1]) / 2, atol=1e-6)


def test_before_it_began_and_after_it_ended_the_arm_rests() -> None:
    plan = Plan(5.0, POSE)
    plan.extend(5.1, cruise(POSE, 0 * FAST, FAST, 0.2, LIMIT))
    np.testing.assert_array_equal(plan.at(-1.0)[0], POSE)
    ended, velocity = plan.at(plan.end_s + 1)
    np.testing.assert_array_equal(velocity, 0)
    np.testing.assert_array_equal(plan.at(plan.end_s + 100)[0], ended)
    assert plan.end_s == pytest.approx(5.1 + 0.2 + 0.2)  # the velocity's time, and the stop from 0.8 rad/s


def test_what_was_sent_later_replaces_what_had_not_begun() -> None:
    plan = Plan(0.0, POSE)
    plan.extend(1.0, cruise(POSE, 0 * FAST, FAST, 0.2, LIMIT))
    plan.extend(0.5, cruise(POSE, 0 * FAST, 0 * FAST, 0.2, LIMIT))
    np.testing.assert_array_equal(plan.at(9.0)[0], POSE)


def test_a_long_run_is_forgotten_but_for_its_end() -> None:
    plan = Plan(0.0, POSE)
    for k in range(10_000):
        start, before = plan.at(0.05 * k)
        plan.extend(0.05 * k, cruise(start, before, FAST * (-1) ** k, 0.2, LIMIT))
    assert len(plan._pieces) < 1000


def test_a_shift_moves_what_was_and_what_comes() -> None:
    plan = Plan(0.0, POSE)
    plan.extend(1.0, cruise(POSE, 0 * FAST, FAST, 0.2, LIMIT))
    times = np.array([0.0, 1.1, 3.0])
    before = plan.at(times)[0]
    plan.shift(np.array([0.1, -0.1]))
    np.testing.assert_allclose(plan.at(times)[0], before + np.array([0.1, -0.1]))


def test_points_are_close_where_the_speed_changes_and_nowhere_else() -> None:
    motion = cruise(POSE, 0 * FAST, FAST, 0.5, LIMIT)
    times = motion.sample_times(0.004)
    gaps = np.diff(times, prepend=0.0)
    assert np.sum(gaps > 0.004 + 1e-9) == 1  # the time at one speed
    assert times[-1] == pytest.approx(motion.lasts_s)
    still = Motion(POSE, np.zeros(2), np.zeros((2, 2)))
    assert still.sample_times(0.004).size == 0


def test_a_change_that_takes_longer_than_the_command_lasts_is_cut_and_ends_at_rest() -> None:
    motion = cruise(POSE, -FAST, FAST, 0.1, LIMIT)
    _, velocities = motion.at(np.array([0.1, motion.lasts_s]))
    np.testing.assert_allclose(velocities[0], -FAST + 2 * FAST * 0.1 / 0.4)
    np.testing.assert_array_equal(velocities[1], 0)


@given(arrays(np.float64, (4, 2), elements=st.floats(-1, 1)), st.floats(-0.5, 3.0), st.floats(0.0, 2.0))
def test_no_position_between_two_times_is_beyond_the_extremes(
    velocities: NDArray[np.float64], first_s: float, span_s: float
) -> None:
    plan = Plan(0.0, POSE)
    for k, velocity in enumerate(velocities):
        start, before = plan.at(0.3 * k)
        plan.extend(0.3 * k, cruise(start, before, velocity, 0.4, LIMIT))
    times = np.linspace(first_s, first_s + span_s, 200)
    positions, extremes = plan.at(times)[0], plan.extremes(first_s, first_s + span_s)
    assert np.all(positions >= extremes.min(axis=0) - 1e-12)
    assert np.all(positions <= extremes.max(axis=0) + 1e-12)
    np.testing.assert_allclose(extremes[-1], positions[-1], atol=1e-12)


def test_a_joint_that_turns_round_is_furthest_where_it_stands() -> None:
    motion = cruise(POSE, FAST, -FAST, 1.0, LIMIT)
    np.testing.assert_allclose(motion.extremes(0.0, 0.35)[:, 0].max(), 1.0 + 0.4 * 0.2 / 2)  # 0.4 rad/s, 0 after 0.2 s
