from __future__ import annotations

import pytest

from taskgan_ros.control.arm_clock import ArmClock


def test_joint_states_that_come_at_once_show_our_clock_although_some_come_late() -> None:
    clock = ArmClock()
    for k in range(100):
        clock.receive(0.02 * k, 0.15 if k % 5 else 0.004)
    assert clock.objection() == ""


@pytest.mark.parametrize("apart_s", [0.05, -0.05, 3600.0])
def test_another_clock_is_told_with_how_far_it_is(apart_s: float) -> None:
    clock = ArmClock()
    for k in range(100):
        clock.receive(0.02 * k, apart_s + 0.001 * (k % 5))
    assert f"joint states arrive {apart_s:.3f} s after their stamps" in clock.objection()


def test_without_joint_states_or_stamps_nothing_is_known() -> None:
    clock = ArmClock()
    assert clock.objection() == "joint states have no stamp, or image_age_s: 0.0 ignores it"
    clock.receive(0.0, 0.001)
    clock.receive(0.1, None)
    assert clock.objection() == "joint states have no stamp, or image_age_s: 0.0 ignores it"


def test_a_clock_that_was_set_right_is_believed_after_two_seconds() -> None:
    clock = ArmClock()
    for k in range(10):
        clock.receive(0.1 * k, -1.0)
    for k in range(10, 25):
        clock.receive(0.1 * k, 0.001)
    assert clock.objection()
    for k in range(25, 40):
        clock.receive(0.1 * k, 0.001)
    assert clock.objection() == ""
