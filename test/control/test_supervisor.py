from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from taskgan_ros.control.joint_state_filter import JointStateFilter, JointStateFilterConfig
from taskgan_ros.control.states import Action, Fault, Source, State
from taskgan_ros.control.supervisor import Supervisor, SupervisorConfig
from taskgan_ros.core.config import fill
from taskgan_ros.core.errors import InputError

NAMES = ("shoulder", "elbow")
GOOD = [0.1, 0.2]
COMMAND, HOLD, NOTHING = Action.COMMAND, Action.HOLD, Action.NOTHING
TYPICAL: dict[str, Any] = {  # two continuous joints without a speed limit
    "joint_names": NAMES, "lower": [-math.inf] * 2, "upper": [math.inf] * 2, "max_velocity": [math.inf] * 2,
    "accept_jumps": False, "settle_s": 0.0, "image_timeout_s": 0.25, "joint_state_timeout_s": 0.25,
    "command_timeout_s": 0.5, "arrived_images": 0, "guard_images": 1, "guard_fault_s": 0.0,
}  # fmt: skip


def make_supervisor(**changes: Any) -> Supervisor:
    values = {**TYPICAL, **changes}
    lower, upper = np.array(values["lower"]), np.array(values["upper"])
    values |= {"lower": lower, "upper": upper, "is_continuous": np.isinf(lower) & np.isinf(upper)}
    source = SimpleNamespace(**{**values, "max_velocity": np.array(values["max_velocity"])})
    return Supervisor(fill(SupervisorConfig, source), JointStateFilter(fill(JointStateFilterConfig, source)))


def frame(supervisor: Supervisor, now_s: float, command: list[float] | None = None) -> Action:
    """Let everything arrive at once and be acted on 40 ms later; return the answer to the command."""
    supervisor.receive_joint_state(now_s, NAMES, GOOD)
    supervisor.receive_image(now_s)
    return supervisor.receive_command(now_s + 0.04, command or [0.1, 0.1], image_s=now_s)


@pytest.fixture
def running() -> Supervisor:
    """Return a supervisor that runs since 10.04 s."""
    supervisor = make_supervisor(image_timeout_s=0.25, joint_state_timeout_s=0.2, command_timeout_s=0.5)
    supervisor.activate(10.0)
    assert frame(supervisor, 10.0) is COMMAND
    return supervisor


def test_an_inactive_supervisor_lets_nothing_through() -> None:
    supervisor = make_supervisor()
    assert frame(supervisor, 1.0) is NOTHING
    assert supervisor.tick(1.0) is NOTHING
    assert supervisor.state is State.INACTIVE


def test_it_says_what_it_waits_for() -> None:
    supervisor = make_supervisor()
    supervisor.activate(0.0)
    assert (supervisor.state, supervisor.reason) == (State.WAITING, "no joint states yet, no images yet")
    assert supervisor.blocked_by == (Source.JOINT_STATES, Source.IMAGES)
    supervisor.receive_joint_state(0.1, NAMES, GOOD)
    supervisor.tick(0.1)
    assert supervisor.reason == "no images yet"
    supervisor.receive_image(0.2)
    supervisor.tick(0.2)
    assert supervisor.reason == "no commands yet"


def test_it_runs_once_everything_is_there(running: Supervisor) -> None:
    assert running.state is State.RUNNING
    assert running.blocked_by == ()
    np.testing.assert_array_equal(running.joint_states.positions, GOOD)


def test_without_a_joint_state_nothing_is_ever_sent() -> None:
    supervisor = make_supervisor()
    supervisor.activate(0.0)
    supervisor.receive_image(0.0)
    assert supervisor.receive_command(0.1, [0.1, 0.1], image_s=0.0) is NOTHING
    assert supervisor.receive_command(0.1, [math.nan, 0.1], image_s=0.0) is NOTHING
    assert supervisor.state is State.FAULT
    assert supervisor.deactivate() is NOTHING


def test_an_arm_that_was_not_commanded_is_not_held() -> None:
    supervisor = make_supervisor()
    supervisor.activate(0.0)
    assert frame(supervisor, 0.1, command=[math.nan, 0.1]) is NOTHING
    assert (supervisor.state, supervisor.blocked_by) == (State.FAULT, (Source.OUTPUT,))
    assert frame(supervisor, 0.2) is NOTHING
    assert supervisor.deactivate() is NOTHING


def test_a_pose_from_before_activation_is_forgotten(running: Supervisor) -> None:
    running.deactivate()
    assert running.joint_states.positions is not None  # for the hold
    running.activate(20.0)
    assert running.joint_states.positions is None
    assert math.isinf(running.joint_states.age_s(20.0))
    running.receive_image(20.1)
    assert running.receive_command(20.2, [math.nan, 0.1], image_s=20.1) is NOTHING


def test_it_knows_how_old_the_newest_joint_state_is(running: Supervisor) -> None:
    running.receive_joint_state(10.1, NAMES, [math.nan, 0.0])
    assert running.joint_states.age_s(10.15) == pytest.approx(0.15)


def test_an_image_that_was_refused_is_none_and_the_reason_says_so(running: Supervisor) -> None:
    for now_s in (10.1, 10.2, 10.3):
        running.receive_joint_state(now_s, NAMES, GOOD)
        running.reject_image("it is 9 s old")
    assert running.tick(10.3) is HOLD
    assert running.reason == "no images for 0.30 s, expected within 0.25 s; the last was rejected: it is 9 s old"
    running.receive_image(10.31)
    running.receive_joint_state(11.0, NAMES, GOOD)
    running.tick(11.0)
    assert "refused" not in running.reason


def test_a_policy_that_fails_holds_until_activated_again(running: Supervisor) -> None:
    assert running.receive_failure("out of memory", image_s=9.9) is NOTHING  # of before activation
    assert running.receive_failure("out of memory", image_s=10.0) is HOLD
    assert (running.state, running.blocked_by, running.reason) == (State.FAULT, (Source.OUTPUT,), "out of memory")
    assert frame(running, 10.2) is NOTHING
    running.deactivate()
    assert running.receive_failure("out of memory", image_s=10.0) is NOTHING


def test_a_camera_stop_holds_once_and_a_late_frame_resumes(running: Supervisor) -> None:
    running.receive_joint_state(10.24, NAMES, GOOD)
    assert running.tick(10.24) is NOTHING
    running.receive_joint_state(10.3, NAMES, GOOD)
    assert running.tick(10.3) is HOLD
    assert (running.state, running.blocked_by) == (State.HELD, (Source.IMAGES,))
    assert running.reason == "no images for 0.30 s, expected within 0.25 s"
    running.receive_joint_state(12.0, NAMES, GOOD)
    assert running.tick(12.0) is NOTHING
    assert running.reason == "no images for 2.00 s, expected within 0.25 s"
    running.receive_image(12.01)
    running.tick(12.02)
    assert (running.state, running.blocked_by) == (State.HELD, (Source.COMMANDS,))
    assert running.receive_command(12.05, [0.1, 0.1], image_s=12.01) is COMMAND
    assert running.state is State.RUNNING


def test_after_a_short_stop_it_waits_for_a_command_made_since(running: Supervisor) -> None:
    running.receive_joint_state(10.3, NAMES, GOOD)
    assert running.tick(10.3) is HOLD
    running.receive_image(10.31)
    assert running.tick(10.32) is NOTHING
    assert (running.state, running.reason) == (State.HELD, "waiting for the next command")


def test_a_second_cause_sends_no_second_hold(running: Supervisor) -> None:
    assert running.tick(10.3) is HOLD
    assert frame(running, 10.4, command=[math.nan, 0.1]) is NOTHING
    assert running.blocked_by == (Source.OUTPUT,)


def test_a_joint_state_stop_holds_and_says_why(running: Supervisor) -> None:
    running.receive_image(10.2)
    running.receive_joint_state(10.21, ["finger"], [0.0])
    assert running.tick(10.21) is HOLD
    assert running.blocked_by == (Source.JOINT_STATES,)
    assert running.reason.startswith("no joint states for 0.21 s, expected within 0.2 s; the last was rejected: ")
    assert "missing ['shoulder', 'elbow']" in running.reason
    assert frame(running, 11.0) is COMMAND


def test_another_arms_joint_state_hides_no_reason_of_the_arms_own(running: Supervisor) -> None:
    running.receive_joint_state(10.2, NAMES, [math.nan, 0.0])
    running.receive_joint_state(10.21, ["finger"], [0.0])
    running.receive_image(10.21)
    assert running.tick(10.22) is HOLD
    assert "the last was rejected: joint state: expected finite numbers" in running.reason
    assert "missing ['shoulder', 'elbow']" in running.joint_states.rejection


REJECTED: dict[str, tuple[list[str], list[float]]] = {
    "velocities alone": ([*NAMES], []),
    "one joint": (["shoulder"], [0.1]),
    "another arm's": (["finger"], [0.1]),
    "not finite": ([*NAMES], [0.1, math.inf]),
    "a jump": ([*NAMES], [2.0, 2.0]),
}


@pytest.mark.parametrize("first", REJECTED)
def test_a_joint_state_that_counts_as_none_does_not_use_up_its_stamp(first: str) -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0])
    supervisor.activate(0.0)
    assert frame(supervisor, 0.1) is COMMAND
    supervisor.receive_joint_state(0.2, *REJECTED[first], stamp_s=7.0)
    assert supervisor.joint_states.rejection
    supervisor.receive_joint_state(0.2, NAMES, GOOD, stamp_s=7.0)
    assert (supervisor.joint_states.rejection, supervisor.joint_states.age_s(0.2)) == ("", 0.0)
    supervisor.receive_joint_state(0.3, NAMES, GOOD, stamp_s=7.0)
    assert supervisor.joint_states.rejection == "expected a new stamp, got the previous one again"
    supervisor.receive_joint_state(0.3, NAMES, GOOD)  # without a stamp
    assert supervisor.joint_states.age_s(0.3) == 0.0


def test_a_joint_state_that_is_old_when_it_comes_counts_as_none_and_says_so() -> None:
    supervisor = make_supervisor(joint_state_timeout_s=0.25)
    supervisor.activate(0.0)
    supervisor.receive_joint_state(1.0, NAMES, GOOD, age_s=0.26)
    supervisor.tick(1.0)
    assert "no joint states yet; the last was rejected: expected one within 0.25 s, got one 0.26" in supervisor.reason
    supervisor.receive_joint_state(1.0, NAMES, GOOD, age_s=0.24)
    assert supervisor.joint_states.age_s(1.0) == pytest.approx(0.24)


def test_it_knows_whether_a_joint_state_is_missed() -> None:
    supervisor = make_supervisor(joint_state_timeout_s=0.25, settle_s=0.5)
    assert not supervisor.lacks_joint_states(9.0)  # nobody waits for one
    supervisor.activate(10.0)
    assert [supervisor.lacks_joint_states(now_s) for now_s in (10.2, 10.3)] == [False, True]
    supervisor.receive_joint_state(10.4, NAMES, GOOD)  # not settled yet, but it tells
    supervisor.receive_joint_state(10.6, ["finger"], [0.0])
    assert [supervisor.lacks_joint_states(now_s) for now_s in (10.6, 10.7)] == [False, True]


def test_a_joint_state_that_is_not_finite_is_not_taken(running: Supervisor) -> None:
    running.receive_joint_state(10.1, NAMES, [math.nan, 0.0])
    np.testing.assert_array_equal(running.joint_states.positions, GOOD)


def test_a_command_that_comes_when_something_is_late_holds_before_the_clock_is_looked_at(running: Supervisor) -> None:
    assert running.receive_command(10.27, [0.1, 0.1], image_s=10.0) is HOLD


def test_a_command_made_from_an_old_image_is_not_followed(running: Supervisor) -> None:
    for now_s in (10.2, 10.4, 10.6):
        running.receive_joint_state(now_s, NAMES, GOOD)
        running.receive_image(now_s)
    assert running.receive_command(10.62, [0.1, 0.1], image_s=10.1) is HOLD
    assert running.blocked_by == (Source.COMMANDS,)
    assert running.reason == "slow policy: its newest command's image is 0.52 s old, expected 0.5 s"


def test_a_stuck_policy_holds_once(running: Supervisor) -> None:
    answers = []
    for now_s in (10.2, 10.4, 10.6, 10.8):
        running.receive_joint_state(now_s, NAMES, GOOD)
        running.receive_image(now_s)
        answers.append(running.tick(now_s))
    assert answers == [NOTHING, NOTHING, HOLD, NOTHING]
    assert running.blocked_by == (Source.COMMANDS,)


def test_an_output_that_is_not_finite_holds_until_activated_again(running: Supervisor) -> None:
    assert frame(running, 10.1, command=[0.1, math.nan]) is HOLD
    assert (running.state, running.blocked_by) == (State.FAULT, (Source.OUTPUT,))
    assert running.reason == "the policy's output is not finite: [0.1, nan]"
    assert frame(running, 10.2) is NOTHING
    assert running.tick(20.0) is NOTHING
    assert running.blocked_by == (Source.OUTPUT,)
    running.deactivate()
    running.activate(21.0)
    assert frame(running, 21.0) is COMMAND


def test_deactivating_a_running_arm_holds_it(running: Supervisor) -> None:
    assert running.deactivate() is HOLD
    assert running.deactivate() is NOTHING
    assert frame(running, 10.2) is NOTHING


def test_deactivating_a_held_arm_sends_nothing_more(running: Supervisor) -> None:
    assert running.tick(11.0) is HOLD
    assert running.deactivate() is NOTHING


def test_nothing_from_before_activation_counts(running: Supervisor) -> None:
    running.deactivate()
    running.receive_image(10.1)
    running.receive_joint_state(10.1, NAMES, [5.0, 5.0])
    running.activate(10.11)
    assert running.reason == "no joint states yet, no images yet"
    assert running.joint_states.initial is None
    running.receive_joint_state(10.12, NAMES, [1.0, 2.0])
    running.receive_image(10.12)
    assert running.receive_command(10.13, [0.1, 0.1], image_s=10.1) is NOTHING  # made for the pose before
    assert running.receive_command(10.16, [0.1, 0.1], image_s=10.12) is COMMAND
    np.testing.assert_array_equal(running.joint_states.initial, [1.0, 2.0])


def test_the_initial_positions_stay_while_the_arm_moves(running: Supervisor) -> None:
    running.receive_joint_state(10.1, NAMES, [0.5, 0.5])
    np.testing.assert_array_equal(running.joint_states.initial, GOOD)


def test_an_arm_whose_commands_are_small_has_arrived_until_they_are_large_again() -> None:
    supervisor = make_supervisor(arrived_images=3)
    supervisor.activate(0.0)
    answers = []
    for k, is_small in enumerate([False, True, True, False, True, True, True, True, False]):
        now_s = 0.1 * k
        supervisor.receive_joint_state(now_s, NAMES, GOOD)
        supervisor.receive_image(now_s)
        answers.append(supervisor.receive_command(now_s, [0.0, 0.0], image_s=now_s, is_small=is_small))
        if k == 7:
            assert (supervisor.state, supervisor.blocked_by) == (State.ARRIVED, ())
            assert supervisor.reason == "the last 4 commands were small"
            assert supervisor.tick(now_s) is NOTHING
    assert answers == [COMMAND] * 6 + [HOLD, NOTHING, COMMAND]


def test_an_arm_that_has_arrived_is_held_without_a_second_stop_when_something_is_late() -> None:
    supervisor = make_supervisor(arrived_images=1)
    supervisor.activate(0.0)
    assert frame(supervisor, 0.0) is COMMAND
    supervisor.receive_joint_state(0.05, NAMES, GOOD)
    supervisor.receive_image(0.05)
    assert supervisor.receive_command(0.06, [0.0, 0.0], image_s=0.05, is_small=True) is HOLD
    assert supervisor.tick(1.0) is NOTHING
    assert supervisor.state is State.HELD
    for now_s, is_small, state in ((1.1, True, State.ARRIVED), (1.2, False, State.RUNNING)):
        supervisor.receive_joint_state(now_s, NAMES, GOOD)
        supervisor.receive_image(now_s)
        supervisor.receive_command(now_s, [0.0, 0.0], image_s=now_s, is_small=is_small)
        assert supervisor.state is state


def test_joint_states_that_continue_a_jump_are_a_fault_and_never_the_arms_pose() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0])
    supervisor.activate(0.0)
    assert frame(supervisor, 0.1) is COMMAND
    far = [0.4, 0.2]
    assert [supervisor.receive_joint_state(0.12 + 0.02 * k, NAMES, far) for k in range(5)] == [NOTHING] * 4 + [HOLD]
    assert (supervisor.state, supervisor.blocked_by) == (State.FAULT, (Source.ARM,))
    assert "5 in a row after a jump of [0.3, 0.0] rad: other zeros, or a second publisher?" in supervisor.reason
    np.testing.assert_array_equal(supervisor.joint_states.positions, GOOD)
    supervisor.deactivate()
    supervisor.activate(1.0)
    assert supervisor.receive_joint_state(1.1, NAMES, far) is NOTHING
    np.testing.assert_array_equal(supervisor.joint_states.positions, far)


def test_a_second_publisher_that_takes_turns_with_the_arm_is_a_fault() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0])
    supervisor.activate(0.0)
    assert frame(supervisor, 0.1) is COMMAND
    for k in range(9):
        supervisor.receive_joint_state(0.12 + 0.01 * k, NAMES, GOOD if k % 2 else [0.9, 0.2])
        assert supervisor.state is (State.RUNNING if k < 8 else State.FAULT)
    assert "5 that continue each other after a jump of [0.8, 0.0] rad" in supervisor.reason
    np.testing.assert_array_equal(supervisor.joint_states.positions, GOOD)


def test_joint_states_count_once_they_have_continued_each_other_for_a_while() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0], settle_s=0.5)
    supervisor.activate(0.0)
    for k in range(4):
        assert frame(supervisor, 0.1 + 0.1 * k) is NOTHING
        assert supervisor.joint_states.positions is None
    assert supervisor.reason == "joint states: waiting for 0.5 s of them without a jump or a gap"
    supervisor.receive_joint_state(0.45, NAMES, [0.9, 0.2])
    for k in range(5):
        assert frame(supervisor, 0.5 + 0.1 * k) is NOTHING, "a jump starts the time anew"
        assert "got a jump of [0.8, 0.0] rad: is there a second publisher?" in supervisor.reason
    assert frame(supervisor, 1.0) is COMMAND


def test_a_gap_while_joint_states_settle_begins_the_time_anew() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0], settle_s=0.5)
    supervisor.activate(0.0)
    assert [frame(supervisor, now_s) for now_s in (0.05, 0.6, 0.7, 0.9)] == [NOTHING] * 4
    assert [frame(supervisor, now_s) for now_s in (1.0, 1.15)] == [NOTHING, COMMAND]


def test_one_stale_joint_state_before_the_arms_own_is_no_fault() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0], settle_s=0.5)
    supervisor.activate(0.0)
    supervisor.receive_joint_state(0.01, NAMES, [3.0, 0.2])
    answers = [frame(supervisor, 0.02 + 0.02 * k) for k in range(40)]
    assert answers[-1] is COMMAND
    np.testing.assert_array_equal(supervisor.joint_states.initial, GOOD)


def test_two_publishers_from_the_start_never_get_a_command_nor_a_stop() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0], settle_s=0.5)
    supervisor.activate(0.0)
    for k in range(100):
        now_s = 0.01 * k
        assert supervisor.receive_joint_state(now_s, NAMES, [0.9, 0.2] if k % 2 == 0 else GOOD) is NOTHING
        supervisor.receive_image(now_s)
        assert supervisor.receive_command(now_s, [0.1, 0.1], image_s=now_s) is NOTHING
    assert (supervisor.state, supervisor.joint_states.positions) == (State.FAULT, None)


def test_a_joint_state_from_before_activation_that_comes_after_it_counts_for_nothing() -> None:
    supervisor = make_supervisor()
    supervisor.activate(1.0)
    supervisor.receive_joint_state(0.9, NAMES, GOOD)
    assert supervisor.joint_states.positions is None


def test_a_damaged_image_is_named_in_place_of_a_slow_policy(running: Supervisor) -> None:
    for k in range(1, 10):
        running.receive_joint_state(10 + 0.1 * k, NAMES, GOOD)
        running.receive_image(10 + 0.1 * k)
        running.reject_command("expected a JPEG, got half of one", image_s=10 + 0.1 * k)
        running.tick(10 + 0.1 * k)
    assert running.blocked_by == (Source.COMMANDS,)
    assert running.reason.startswith(
        "no commands for 0.90 s, expected within 0.5 s; the last was rejected: expected a JPEG"
    )
    assert frame(running, 11.0) is COMMAND
    running.receive_joint_state(11.6, NAMES, GOOD)
    running.receive_image(11.6)
    running.tick(11.6)
    assert "slow policy" in running.reason


def test_rare_glitches_are_no_fault_however_many() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0])
    supervisor.activate(0.0)
    for k in range(20):
        frame(supervisor, 0.1 + 1.5 * k)
        supervisor.receive_joint_state(0.12 + 1.5 * k, NAMES, [3.0, 0.2])
    assert supervisor.state is State.RUNNING


def test_an_arm_that_is_held_and_set_elsewhere_at_once_is_a_fault_too() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0])
    supervisor.activate(0.0)
    frame(supervisor, 0.1)
    supervisor.hold(True, 0.2)
    for k in range(5):
        supervisor.receive_joint_state(0.22 + 0.02 * k, NAMES, [2.0, 0.2])
    assert supervisor.state is State.FAULT


def test_a_simulated_arms_jump_is_rejected_and_accepted_once_it_stands() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0], accept_jumps=True)
    supervisor.activate(0.0)
    assert frame(supervisor, 0.1) is COMMAND
    far = [2.0, 0.2]
    for k in range(12):  # while it runs, a second publisher changes nothing
        supervisor.receive_joint_state(0.15 + 0.02 * k, NAMES, far)
        np.testing.assert_array_equal(supervisor.joint_states.positions, GOOD)
    supervisor.receive_image(0.39)
    assert supervisor.tick(0.4) is HOLD
    assert "expected one near the last, got a jump of [1.9, 0.0] rad: is there a second publisher?" in supervisor.reason
    for k in range(9):  # two that alternate are never accepted
        supervisor.receive_joint_state(0.5 + 0.001 * k, NAMES, far if k % 2 else [-2.0, 0.2])
    np.testing.assert_array_equal(supervisor.joint_states.positions, GOOD)
    for k in range(5):
        supervisor.receive_joint_state(0.6 + 0.001 * k, NAMES, far)
    np.testing.assert_array_equal(supervisor.joint_states.positions, far)


def test_a_simulated_arm_that_has_arrived_may_be_set_elsewhere_at_once() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0], arrived_images=1, accept_jumps=True)
    supervisor.activate(0.0)
    assert frame(supervisor, 0.1) is COMMAND
    assert supervisor.receive_command(0.1, [0.0, 0.0], 0.1, is_small=True) is HOLD
    for k in range(5):
        supervisor.receive_joint_state(0.12 + 0.01 * k, NAMES, [2.0, 0.2])
    np.testing.assert_array_equal(supervisor.joint_states.positions, [2.0, 0.2])
    assert supervisor.state is State.ARRIVED


def test_a_jump_leaves_in_doubt_where_the_arm_is_until_a_joint_state_is_taken() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0])
    supervisor.activate(0.0)
    assert frame(supervisor, 0.1) is COMMAND
    assert not supervisor.joint_states.is_in_doubt
    supervisor.receive_joint_state(0.12, NAMES, [2.0, 0.2])
    assert supervisor.joint_states.is_in_doubt
    supervisor.receive_joint_state(0.14, NAMES, GOOD)
    assert not supervisor.joint_states.is_in_doubt
    supervisor.receive_joint_state(0.16, NAMES, [2.0, 0.2])
    supervisor.activate(0.2)
    assert not supervisor.joint_states.is_in_doubt


def test_a_turn_is_a_jump_of_a_joint_that_has_limits() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0], lower=[-math.inf, -7.0], upper=[math.inf, 7.0])
    supervisor.activate(0.0)
    assert frame(supervisor, 0.1) is COMMAND
    supervisor.receive_joint_state(0.12, NAMES, [GOOD[0], GOOD[1] - 2 * math.pi])
    np.testing.assert_array_equal(supervisor.joint_states.positions, GOOD)


def test_a_continuous_joint_may_differ_by_whole_turns() -> None:
    supervisor = make_supervisor(max_velocity=[1.0, 1.0])
    supervisor.activate(0.0)
    assert frame(supervisor, 0.1) is COMMAND
    supervisor.receive_joint_state(0.12, NAMES, [GOOD[0] + 2 * math.pi, GOOD[1]])
    assert supervisor.joint_states.age_s(0.12) == 0


def test_a_fault_is_for_an_active_arm_and_the_first_one_stands(running: Supervisor) -> None:
    assert running.receive_fault(Fault(Source.ARM, "it is blocked")) is HOLD
    assert (running.state, running.blocked_by, running.reason) == (State.FAULT, (Source.ARM,), "it is blocked")
    assert running.receive_fault(Fault(Source.OUTPUT, "another")) is NOTHING
    assert running.reason == "it is blocked"
    running.deactivate()
    assert running.receive_fault(Fault(Source.ARM, "it is blocked")) is NOTHING
    assert running.state is State.INACTIVE


def unlike(supervisor: Supervisor, now_s: float) -> Action:
    supervisor.receive_joint_state(now_s, NAMES, GOOD)
    supervisor.receive_image(now_s)
    return supervisor.receive_out_of_distribution(now_s + 0.04, "it is upside down", image_s=now_s)


@pytest.fixture
def guarded() -> Supervisor:
    """Return a supervisor that runs, stops for three images in a row unlike training, and faults after 0.25 s."""
    supervisor = make_supervisor(guard_images=3, guard_fault_s=0.25)
    supervisor.activate(10.0)
    assert frame(supervisor, 10.0) is COMMAND
    return supervisor


def test_some_out_of_distribution_images_in_a_row_stop_the_arm_once_and_it_resumes(guarded: Supervisor) -> None:
    assert [unlike(guarded, 10.05 + 0.05 * k) for k in range(4)] == [NOTHING, NOTHING, HOLD, NOTHING]
    assert (guarded.state, guarded.blocked_by) == (State.HELD, (Source.GUARD,))
    assert guarded.reason == "4 out-of-distribution images in a row: it is upside down"
    assert frame(guarded, 10.4) is COMMAND
    assert [unlike(guarded, 10.45), unlike(guarded, 10.5)] == [NOTHING, NOTHING], "the count starts anew"
    assert frame(guarded, 10.55) is COMMAND


@pytest.mark.parametrize("rate_hz", [8, 20, 200])
def test_nothing_but_out_of_distribution_images_for_long_needs_a_person(guarded: Supervisor, rate_hz: int) -> None:
    for k in range(rate_hz // 4):
        unlike(guarded, 10.05 + k / rate_hz)
        assert guarded.state is not State.FAULT
    unlike(guarded, 10.31)
    assert (guarded.state, guarded.blocked_by) == (State.FAULT, (Source.GUARD,))
    assert frame(guarded, 10.5) is NOTHING
    guarded.deactivate()
    guarded.activate(11.0)
    assert frame(guarded, 11.1) is COMMAND


def test_an_outage_between_out_of_distribution_images_does_not_count(guarded: Supervisor) -> None:
    for now_s in (10.05, 14.5, 14.55):
        unlike(guarded, now_s)
    assert (guarded.state, guarded.blocked_by) == (State.HELD, (Source.GUARD,))


def test_two_images_unlike_training_with_nothing_between_are_not_many_however_long_it_was(
    guarded: Supervisor,
) -> None:
    unlike(guarded, 10.05)
    unlike(guarded, 15.0)
    assert (guarded.state, guarded.blocked_by) == (State.HELD, (Source.COMMANDS,))


def test_out_of_distribution_images_keep_an_arm_from_starting_and_are_a_fault_only_where_that_is_requested() -> None:
    supervisor = make_supervisor()
    supervisor.activate(0.0)
    assert {unlike(supervisor, 0.05 * k) for k in range(1, 500)} == {NOTHING}
    assert (supervisor.state, supervisor.blocked_by) == (State.WAITING, (Source.GUARD,))


def test_an_out_of_distribution_image_from_before_activation_counts_for_nothing(guarded: Supervisor) -> None:
    guarded.deactivate()
    assert guarded.receive_out_of_distribution(10.1, "late", image_s=10.05) is NOTHING
    guarded.activate(10.2)
    assert [guarded.receive_out_of_distribution(10.3, "late", image_s=10.1) for _ in range(9)] == [NOTHING] * 9
    assert frame(guarded, 10.4) is COMMAND


def test_a_person_holds_and_lets_resume(running: Supervisor) -> None:
    assert running.hold(True, 10.05) is HOLD
    assert (running.state, running.blocked_by) == (State.HELD, (Source.PERSON,))
    assert frame(running, 10.1) is NOTHING
    assert running.reason == "stopped by a person (the service hold)"
    running.deactivate()
    running.activate(11.0)
    assert frame(running, 11.0) is NOTHING  # the person has not let go
    assert running.hold(False, 11.1) is NOTHING
    assert frame(running, 11.2) is COMMAND


def test_a_person_may_hold_an_arm_that_does_not_run() -> None:
    supervisor = make_supervisor()
    assert supervisor.hold(True, 0.0) is NOTHING
    supervisor.activate(1.0)
    assert Source.PERSON in supervisor.blocked_by
    assert frame(supervisor, 1.1) is NOTHING


def test_a_joint_measured_beyond_its_limits_is_a_fault_for_a_person() -> None:
    supervisor = make_supervisor(lower=[-1.0, -math.inf], upper=[1.0, math.inf])
    assert supervisor.receive_joint_state(0.0, NAMES, [1.5, 0.0]) is NOTHING  # inactive
    supervisor.activate(1.0)
    assert frame(supervisor, 1.1) is COMMAND
    assert supervisor.receive_joint_state(1.2, NAMES, [1.5, 99.0]) is HOLD
    assert (supervisor.state, supervisor.blocked_by) == (State.FAULT, (Source.LIMITS,))
    assert "position limits, got [1.5] rad for ['shoulder']" in supervisor.reason
    assert frame(supervisor, 1.3) is NOTHING
    supervisor.deactivate()
    supervisor.activate(2.0)
    assert frame(supervisor, 2.1) is COMMAND


@given(st.sampled_from([0.0, -1.0, math.nan, math.inf]))
def test_a_timeout_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="image_timeout_s: expected a positive number of seconds, got"):
        make_supervisor(image_timeout_s=bad)


@dataclass
class Heard:
    """What a person with a notebook would know of the last good arrivals."""

    joint_state_s: float = -math.inf
    image_s: float = -math.inf


class AnyOrderOfEvents(RuleBasedStateMachine):
    """Whatever arrives in whatever order, the promises hold."""

    def __init__(self) -> None:
        super().__init__()
        self.supervisor = make_supervisor(
            joint_state_timeout_s=0.2, arrived_images=2, lower=[-2.0] * 2, upper=[2.0] * 2
        )
        self.now_s = 100.0
        self.heard = Heard()
        self.is_latched = self.is_held = False
        self.is_moving = False  # a command was sent, and no hold after it

    def note(self, action: Action, was: State) -> None:
        if action is COMMAND:
            assert self.supervisor.state is State.RUNNING
            assert self.now_s - self.heard.joint_state_s <= 0.2
            assert self.now_s - self.heard.image_s <= 0.25
            assert not self.is_latched
            assert not self.is_held
            self.is_moving = True
        if action is HOLD:
            assert was is State.RUNNING
            assert self.supervisor.joint_states.positions is not None
            self.is_moving = False

    @rule(passed_s=st.floats(0, 0.4))
    def wait_and_look(self, passed_s: float) -> None:
        was = self.supervisor.state
        self.now_s += passed_s
        self.note(self.supervisor.tick(self.now_s), was)

    @rule(value=st.sampled_from([0.0, 1.0, math.nan, 3.0]), has_all=st.booleans())
    def joint_state(self, value: float, has_all: bool) -> None:
        names, was = NAMES if has_all else NAMES[:1], self.supervisor.state
        self.note(self.supervisor.receive_joint_state(self.now_s, names, [value] * len(names)), was)
        self.is_latched |= was is not State.INACTIVE and has_all and value == 3.0
        if has_all and math.isfinite(value):
            self.heard.joint_state_s = self.now_s

    @rule()
    def image(self) -> None:
        self.supervisor.receive_image(self.now_s)
        self.heard.image_s = self.now_s

    @precondition(lambda self: self.heard.image_s > 0)
    @rule(value=st.sampled_from([0.0, 0.3, 0.3, math.inf]))
    def command(self, value: float) -> None:
        was = self.supervisor.state
        image_s, is_small = self.heard.image_s, value == 0.0
        self.note(self.supervisor.receive_command(self.now_s, [value, 0.0], image_s, is_small), was)
        self.is_latched |= was is not State.INACTIVE and self.supervisor.blocked_by == (Source.OUTPUT,)

    @rule(held=st.booleans())
    def person(self, held: bool) -> None:
        was = self.supervisor.state
        self.note(self.supervisor.hold(held, self.now_s), was)
        self.is_held = held

    @rule()
    def reactivate(self) -> None:
        was = self.supervisor.state
        self.note(self.supervisor.deactivate(), was)
        assert not self.is_moving
        self.now_s += 0.001
        self.supervisor.activate(self.now_s)
        self.heard, self.is_latched = Heard(), False

    @rule()
    def deactivate(self) -> None:
        was = self.supervisor.state
        self.note(self.supervisor.deactivate(), was)
        self.is_latched = False

    @invariant()
    def moves_only_while_running(self) -> None:
        assert self.is_moving == (self.supervisor.state is State.RUNNING)

    @invariant()
    def says_why_it_does_not_move(self) -> None:
        stands = self.supervisor.state in (State.WAITING, State.HELD, State.FAULT)
        assert bool(self.supervisor.reason) == (stands or self.supervisor.state is State.ARRIVED)
        assert bool(self.supervisor.blocked_by) == stands


TestAnyOrderOfEvents = AnyOrderOfEvents.TestCase
