from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taskgan_ros.robot.angles import angle_difference, whole_turns

CONTINUOUS = np.array([True, False])


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_a_continuous_joint_goes_the_shortest_way_and_a_limited_one_straight(here: float, target: float) -> None:
    shortest, straight = angle_difference(np.full(2, target), np.full(2, here), CONTINUOUS)
    assert straight == target - here
    assert abs(shortest) <= math.pi + 1e-12
    assert math.isclose(math.cos(here + shortest), math.cos(target), abs_tol=1e-9)


def test_within_half_a_turn_nothing_is_rounded() -> None:
    step = np.array([0.1, 0.1])
    np.testing.assert_array_equal(angle_difference(step, np.zeros(2), CONTINUOUS), step)


def test_a_non_finite_step_has_no_whole_turns() -> None:
    np.testing.assert_array_equal(whole_turns(np.array([math.nan, math.inf]), np.array([True, True])), 0)
