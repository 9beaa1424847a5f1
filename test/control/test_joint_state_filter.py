from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from taskgan_ros.control.joint_state_filter import JointStateFilter, JointStateFilterConfig, Watch
from taskgan_ros.control.states import Fault, Source

NAMES = ("shoulder", "elbow")
GOOD = [0.1, 0.2]
FAR = [0.9, 0.2]
TYPICAL = JointStateFilterConfig(
    joint_names=NAMES, lower=np.full(2, -3.0), upper=np.full(2, 3.0), max_velocity=np.ones(2),
    is_continuous=np.zeros(2, bool), joint_state_timeout_s=0.25, accept_jumps=False, settle_s=0.0,
)  # fmt: skip


def make_filter(**changes: Any) -> JointStateFilter:
    made = JointStateFilter(dataclasses.replace(TYPICAL, **changes))
    made.reset(0.0)
    return made


def receive(
    joint_states: JointStateFilter, now_s: float, positions: list[float], watch: Watch = Watch.MOVING
) -> Fault | None:
    return joint_states.receive(now_s, NAMES, positions, 0.0, 0.0, watch)


def test_positions_are_ordered_by_name_and_other_joints_left_out() -> None:
    joint_states = make_filter()
    joint_states.receive(1.0, ["finger", "elbow", "shoulder"], [9.0, 0.2, 0.1], 0.05, 0.0, Watch.STANDING)
    np.testing.assert_array_equal(joint_states.positions, GOOD)
    assert joint_states.age_s(1.0) == pytest.approx(0.05)


def test_the_initial_positions_are_the_first_since_reset() -> None:
    joint_states = make_filter()
    receive(joint_states, 0.1, GOOD)
    receive(joint_states, 0.3, [0.3, 0.2])
    np.testing.assert_array_equal(joint_states.initial, GOOD)
    joint_states.reset(1.0)
    assert joint_states.positions is None
    assert math.isinf(joint_states.age_s(1.0))


def test_one_outlier_is_rejected_and_leaves_in_doubt_where_the_arm_is() -> None:
    joint_states = make_filter()
    receive(joint_states, 0.1, GOOD)
    assert receive(joint_states, 0.12, FAR) is None
    assert joint_states.is_in_doubt
    assert "got a jump of [0.8, 0.0] rad" in joint_states.rejection
    np.testing.assert_array_equal(joint_states.positions, GOOD)
    assert receive(joint_states, 0.14, GOOD) is None
    assert (joint_states.is_in_doubt, joint_states.rejection) == (False, "")


@pytest.mark.parametrize(
    ("watch", "accept_jumps", "is_fault", "is_accepted"),
    [
        (Watch.MOVING, False, True, False),
        (Watch.STANDING, False, True, False),
        (Watch.MOVING, True, False, False),
        (Watch.STANDING, True, False, True),
        (Watch.OFF, False, False, True),
    ],
)
def test_outliers_that_continue_each_other_are_a_fault_or_where_the_arm_is(
    watch: Watch, accept_jumps: bool, is_fault: bool, is_accepted: bool
) -> None:
    joint_states = make_filter(accept_jumps=accept_jumps)
    receive(joint_states, 0.1, GOOD)
    *earlier, last = [receive(joint_states, 0.12 + 0.02 * k, FAR, watch) for k in range(5)]
    assert earlier == [None] * 4
    assert (last is not None and last.source is Source.ARM) is is_fault
    np.testing.assert_array_equal(joint_states.positions, FAR if is_accepted else GOOD)
    assert joint_states.was_set is (accept_jumps and is_accepted)
    receive(joint_states, 0.22, FAR if is_accepted else GOOD, watch)
    assert not joint_states.was_set


@pytest.mark.parametrize(("watch", "is_fault"), [(Watch.MOVING, True), (Watch.STANDING, True), (Watch.OFF, False)])
def test_positions_beyond_the_limits_are_a_fault_of_a_watched_arm(watch: Watch, is_fault: bool) -> None:
    fault = receive(make_filter(), 0.1, [3.1, 0.0], watch)
    assert (fault is not None) is is_fault
    if fault:
        assert (fault.source, "got [3.1] rad for ['shoulder']" in fault.reason) == (Source.LIMITS, True)


def test_silence_counts_from_the_last_joint_state_that_could_be_read() -> None:
    joint_states = make_filter(settle_s=0.5)
    assert joint_states.silent_s(0.3) == pytest.approx(0.3)
    receive(joint_states, 0.4, GOOD)  # not settled yet
    joint_states.receive(0.6, ["finger"], [0.0], 0.0, 0.0, Watch.STANDING)
    assert joint_states.silent_s(0.7) == pytest.approx(0.3)
    assert joint_states.positions is None
