from __future__ import annotations

import pytest

from taskgan_ros.control.arm_clock import ArmClock

NO_STAMP = "joint states have no stamp, or image_age_s: 0.0 ignores it"
ROS_S = 1e9  # the ROS clock counts from 1970, the steady clock from anywhere


class Joints:
    """Sends joint states to a clock, with any age on arrival."""

    def __init__(self, clock: ArmClock) -> None:
        self._clock, self._now_s = clock, 0.0

    def send(self, ages_s: list[float], period_s: float = 0.02, jump_s: float = 0.0) -> tuple[float, float]:
        """Return both clocks at the last one; the ROS clock is `jump_s` ahead."""
        for age_s in ages_s:
            self._now_s += period_s
            ros_s = ROS_S + self._now_s + jump_s
            self._clock.receive(self._now_s, ros_s, ros_s - age_s)
        return self._now_s, ros_s


def test_joint_states_that_come_at_once_show_our_clock_although_some_come_late() -> None:
    clock = ArmClock()
    clocks = Joints(clock).send([0.004, 0.15, 0.15, 0.15, 0.15] * 20)
    assert clock.objection(*clocks) == ""


@pytest.mark.parametrize("apart_s", [0.05, -0.05, 3600.0])
def test_another_clock_is_reported_with_its_offset(apart_s: float) -> None:
    clock = ArmClock()
    clocks = Joints(clock).send([apart_s + 0.001 * (k % 5) for k in range(100)])
    assert f"joint states arrive {apart_s:.3f} s after their stamps" in clock.objection(*clocks)


def test_without_joint_states_or_stamps_nothing_is_known() -> None:
    clock = ArmClock()
    assert clock.objection(0.0, ROS_S) == NO_STAMP
    clock.receive(0.0, ROS_S, ROS_S)
    clock.receive(0.1, ROS_S + 0.1, 0.0)
    assert clock.objection(0.1, ROS_S + 0.1) == NO_STAMP


def test_an_arm_whose_clock_was_set_right_is_accepted_after_two_seconds() -> None:
    clock = ArmClock()
    joints = Joints(clock)
    joints.send([-1.0] * 10, period_s=0.1)
    assert clock.objection(*joints.send([0.001] * 15, period_s=0.1))
    assert clock.objection(*joints.send([0.001] * 15, period_s=0.1)) == ""


@pytest.mark.parametrize("jump_s", [-10.0, -0.05, 1.5, 10.0])
def test_after_a_jump_of_the_ros_clock_nothing_is_known_until_a_joint_state_comes(jump_s: float) -> None:
    clock = ArmClock()
    joints = Joints(clock)
    now_s, ros_s = joints.send([0.001] * 100)
    assert f"jumped by {jump_s:.3f} s" in clock.objection(now_s + 0.01, ros_s + 0.01 + jump_s)
    assert clock.objection(*joints.send([0.001], jump_s=jump_s)) == ""
    assert f"joint states arrive {jump_s:.3f} s" in clock.objection(*joints.send([jump_s], jump_s=2 * jump_s))


@pytest.mark.parametrize("rate", [0.0, 0.3, 5.0])
def test_the_clock_of_a_slow_or_fast_simulator_only_goes_on(rate: float) -> None:
    clock = ArmClock()
    for k in range(100):
        clock.receive(0.02 * k, 100.0 + rate * 0.02 * k, 100.0 + rate * 0.02 * k)
    assert clock.objection(2.0 + 0.1, 100.0 + rate * (2.0 + 0.1)) == ""
