from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taskgan_ros.control.discontinuity import DiscontinuityDetector

TOP = np.array([1.0, 0.5])  # rad/s
CONTINUOUS = np.array([True, True])


def test_what_an_arm_can_do_is_accepted_and_what_it_cannot_is_counted() -> None:
    detector = DiscontinuityDetector(TOP, CONTINUOUS)
    assert detector.count_outliers(0.0, np.zeros(2)) == 0
    assert detector.count_outliers(0.1, np.array([0.2, 0.1])) == 0
    assert [detector.count_outliers(0.1 + 0.02 * k, np.array([0.6, 0.1])) for k in range(1, 4)] == [1, 2, 3]
    np.testing.assert_allclose(detector.displacement(np.array([0.6, 0.1])), [0.4, 0.0])
    assert detector.count_outliers(0.17, np.array([0.2, 0.1])) == 0


def test_a_jump_is_one_however_long_it_lasts() -> None:
    detector = DiscontinuityDetector(TOP, CONTINUOUS)
    detector.count_outliers(0.0, np.zeros(2))
    counts = [detector.count_outliers(0.02 * k, np.array([0.3, 0.0])) for k in range(1, 200)]
    assert counts == list(range(1, 200))


def test_after_a_gap_an_arm_may_be_further_away() -> None:
    detector = DiscontinuityDetector(TOP, CONTINUOUS)
    detector.count_outliers(0.0, np.zeros(2))
    assert detector.count_outliers(0.5, np.array([0.9, 0.4])) == 0


def test_outliers_that_do_not_continue_each_other_start_anew() -> None:
    detector = DiscontinuityDetector(TOP, CONTINUOUS)
    detector.count_outliers(0.0, np.zeros(2))
    places = (np.array([2.0, 0.0]), np.array([-2.0, 0.0]))
    assert [detector.count_outliers(0.001 * k, places[k % 2]) for k in range(1, 9)] == [1] * 8


def test_positions_may_be_accepted_from_outside() -> None:
    detector = DiscontinuityDetector(TOP, CONTINUOUS)
    detector.count_outliers(0.0, np.zeros(2))
    assert detector.count_outliers(0.02, np.full(2, 2.0)) == 1
    detector.accept(0.02, np.full(2, 2.0))
    assert detector.count_outliers(0.04, np.full(2, 2.0)) == 0
    detector.reset()
    assert detector.count_outliers(0.06, np.zeros(2)) == 0


@given(st.lists(st.tuples(st.floats(0.001, 0.3), st.floats(-1, 1), st.floats(-1, 1)), min_size=1), st.integers(-2, 2))
def test_an_arm_within_its_speeds_is_never_an_outlier_whatever_turns_its_driver_counts(
    steps: list[tuple[float, float, float]], turns: int
) -> None:
    detector, now_s, pose = DiscontinuityDetector(TOP, CONTINUOUS), 0.0, np.zeros(2)
    detector.count_outliers(now_s, pose)
    for passed_s, *shares in steps:
        now_s, pose = now_s + passed_s, pose + TOP * shares * passed_s
        assert detector.count_outliers(now_s, pose + 2 * np.pi * turns) == 0
