from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from taskgan_ros.arm.arm import load_arm
from taskgan_ros.control.trajectory import ANGLES, VELOCITIES, JointCommander, JointTrajectory
from taskgan_ros.errors import InputError

Array = NDArray[np.float64]

ARM = load_arm("mico")
N = len(ARM.joints)
DRIVEN = (ARM.joint_names[2], ARM.joint_names[0])  # not in the arm's order: names decide, not places
PLACES = [2, 0]
HOME = np.array(ARM.home)
LOW, HIGH = np.maximum(ARM.lower, -7.0), np.minimum(ARM.upper, 7.0)

commands = arrays(np.float64, (2,), elements=st.floats(-1e6, 1e6))
configurations = st.builds(
    lambda share: np.clip(LOW + share * (HIGH - LOW), LOW, HIGH),
    arrays(np.float64, (N,), elements=st.floats(0, 1)),
)
commanders = st.builds(
    JointCommander,
    st.just(ARM),
    st.just(DRIVEN),
    task=st.sampled_from([VELOCITIES, ANGLES]),
    horizon_s=st.floats(0.01, 1.0),
    all_joints=st.booleans(),
)


def step(trajectory: JointTrajectory, measured: Array) -> Array:
    """Return (n,) how far each joint is sent."""
    target = dict(zip(trajectory.names, trajectory.positions[-1], strict=True))
    return np.array([target.get(name, here) - here for name, here in zip(ARM.joint_names, measured, strict=True)])


@given(commanders, commands, configurations, configurations)
def test_every_command_keeps_the_controllers_rules_and_the_arms_limits(
    commander: JointCommander, command: Array, measured: Array, parked: Array
) -> None:
    for trajectory in (commander.next_point(command, measured, parked), commander.hold(measured)):
        expected = ARM.joint_names if commander.all_joints else DRIVEN
        assert trajectory.names == expected
        assert trajectory.positions.shape == (1, len(expected))
        assert np.isfinite(trajectory.positions).all()
        assert trajectory.velocities is None or not trajectory.velocities[-1].any()
        assert trajectory.time_from_start_s[0] > 0
        moved = step(trajectory, measured)
        assert np.all(np.abs(moved) <= ARM.max_velocity * commander.horizon_s + 1e-12)
        assert np.all(measured + moved >= ARM.lower - 1e-12)
        assert np.all(measured + moved <= ARM.upper + 1e-12)


def test_a_velocity_goes_by_name_to_where_it_leads_within_the_horizon() -> None:
    commander = JointCommander(ARM, DRIVEN, horizon_s=0.2)
    trajectory = commander.next_point([0.1, -0.3], HOME, HOME)
    np.testing.assert_allclose(step(trajectory, HOME), [-0.06, 0, 0.02, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(trajectory.time_from_start_s, [0.2])


def test_a_velocity_that_is_too_fast_keeps_its_direction() -> None:
    trajectory = JointCommander(ARM, DRIVEN, horizon_s=0.1).next_point([1.0, -2.0], HOME, HOME)
    np.testing.assert_allclose(step(trajectory, HOME)[PLACES], [0.0314, -0.0628])


@given(commanders, commands, configurations, configurations, st.floats(0, 2))
def test_from_wherever_the_arm_may_be_since_it_was_measured_no_joint_must_break_its_limit(
    commander: JointCommander, command: Array, measured: Array, parked: Array, age_share: float
) -> None:
    age_s = age_share * commander.horizon_s
    moved = step(commander.next_point(command, measured, parked, age_s), measured)
    # Points from before end `horizon_s` after they were sent, so the arm is never further away than that.
    since = ARM.max_velocity * min(age_s, commander.horizon_s)
    assert np.all(np.abs(moved) + since <= ARM.max_velocity * commander.horizon_s + 1e-12)


def test_an_old_joint_state_slows_only_what_is_near_the_limit_and_keeps_its_direction() -> None:
    commander = JointCommander(ARM, DRIVEN, horizon_s=0.2)
    slow = commander.next_point([0.1, -0.3], HOME, HOME, age_s=0.05)
    np.testing.assert_allclose(step(slow, HOME)[PLACES], [0.02, -0.06])
    fast = commander.next_point([1.0, -2.0], HOME, HOME, age_s=0.05)
    np.testing.assert_allclose(step(fast, HOME)[PLACES], [0.0471, -0.0942])
    for bad in (-0.01, math.nan):
        with pytest.raises(InputError, match="age of the joint state: expected 0 s or more, got"):
            commander.next_point([0.1, -0.3], HOME, HOME, age_s=bad)


def test_partial_goals_name_the_driven_joints_alone() -> None:
    commander = JointCommander(ARM, DRIVEN, horizon_s=0.2, all_joints=False)
    assert commander.next_point([0.1, -0.3], HOME, HOME).names == DRIVEN
    np.testing.assert_array_equal(commander.hold(HOME).positions, [HOME[PLACES]])


def test_joints_that_are_not_driven_stay_parked_although_they_sag() -> None:
    sagged = HOME - np.array([0, 0.01, 0, 0, 0, 0])
    trajectory = JointCommander(ARM, DRIVEN).next_point([0.1, -0.3], sagged, HOME)
    np.testing.assert_allclose(trajectory.positions[0, [1, 3, 4, 5]], HOME[[1, 3, 4, 5]], atol=1e-12)


def test_a_joint_moved_by_hand_comes_back_at_limited_speed_and_slows_nobody() -> None:
    pushed = HOME + np.array([0, 1.0, 0, 0, 0, 0])
    commander = JointCommander(ARM, DRIVEN, horizon_s=0.1)
    slow = step(commander.next_point([0.1, -0.3], pushed, HOME), pushed)
    np.testing.assert_allclose(slow, [-0.03, -0.0628, 0.01, 0, 0, 0], atol=1e-12)
    too_fast = step(commander.next_point([1.0, -2.0], pushed, HOME), pushed)
    np.testing.assert_allclose(too_fast, [-0.0628, -0.0628, 0.0314, 0, 0, 0], atol=1e-12)


def test_angles_are_approached_in_a_straight_line_at_limited_speed_and_reached() -> None:
    commander = JointCommander(ARM, DRIVEN, task=ANGLES, horizon_s=0.1)
    goal, q = HOME[PLACES] + [0.3, -0.6], HOME
    first = step(commander.next_point(goal, q, HOME), q)[PLACES]
    np.testing.assert_allclose(first, [0.0314, -0.0628])
    for _ in range(10):
        q = commander.next_point(goal, q, HOME).positions[0]
    np.testing.assert_allclose(q[PLACES], goal, atol=1e-12)


def test_angles_beyond_a_limit_end_at_the_limit_and_starve_no_other_joint() -> None:
    commander = JointCommander(ARM, DRIVEN, task=ANGLES, horizon_s=1.0)
    q, way = HOME, ARM.upper[2] - HOME[2]
    first = step(commander.next_point([100.0, HOME[0] + way / 2], q, HOME), q)
    np.testing.assert_allclose(first[PLACES], [0.628, 0.314])
    for _ in range(20):
        q = commander.next_point([100.0, HOME[0]], q, HOME).positions[0]
    assert q[2] == ARM.upper[2]


def test_a_continuous_joint_takes_the_short_way_round() -> None:
    commander = JointCommander(ARM, DRIVEN, task=ANGLES, horizon_s=0.1)
    measured = HOME + np.array([4 * math.pi, 0, 0, 0, 0, 0])  # the driver has counted two turns
    trajectory = commander.next_point([HOME[2], HOME[0] + 0.01], measured, HOME)
    np.testing.assert_allclose(step(trajectory, measured), [0.01, 0, 0, 0, 0, 0], atol=1e-9)


def test_hold_stops_at_the_measured_configuration() -> None:
    trajectory = JointCommander(ARM, DRIVEN).hold(HOME)
    np.testing.assert_array_equal(trajectory.positions, [HOME])


@given(st.integers(0, 5), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_nothing_that_is_not_finite_becomes_a_trajectory(joint: int, bad: float) -> None:
    commander = JointCommander(ARM, DRIVEN)
    broken = HOME.copy()
    broken[joint] = bad
    with pytest.raises(InputError, match="command: expected finite numbers"):
        commander.next_point(np.array([bad, 0.0]), HOME, HOME)
    with pytest.raises(InputError, match="measured: expected finite numbers"):
        commander.next_point([0, 0], broken, HOME)
    with pytest.raises(InputError, match="parked: expected finite numbers"):
        commander.next_point([0, 0], HOME, broken)
    with pytest.raises(InputError, match="measured: expected finite numbers"):
        commander.hold(broken)


def test_another_number_of_values_is_refused() -> None:
    commander = JointCommander(ARM, DRIVEN)
    with pytest.raises(InputError, match=r"command: expected one value for each of \['m1n6s200_joint_3', .*\(3,\)"):
        commander.next_point([0, 0, 0], HOME, HOME)
    with pytest.raises(InputError, match=r"measured: expected one value for each of .* got shape \(2,\)"):
        commander.hold([0, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"driven_joints": ("elbow",)}, r"driven joints: expected some of \['m1n6s200_joint_1'.* got \['elbow'\]"),
        ({"driven_joints": ()}, r"driven joints: expected some of .* got \[\]"),
        ({"driven_joints": DRIVEN[:1] * 2}, "driven joints: expected some of .*, each once"),
        ({"task": "torques"}, "task: expected joint_velocities or joint_angles, got 'torques'"),
        ({"horizon_s": 0.0}, "horizon_s: expected a positive number of seconds, got 0.0"),
    ],
)
def test_a_commander_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        JointCommander(**{"arm": ARM, "driven_joints": DRIVEN, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("a", "a")}, "expected joint names, each once"),
        ({"names": ("a", "")}, "expected joint names, each once"),
        ({"names": ()}, "expected joint names, each once"),
        ({"positions": np.zeros((2, 3))}, r"expected positions of shape \(2, 2\), got \(2, 3\)"),
        ({"positions": np.full((2, 2), math.nan)}, "positions: expected finite numbers"),
        ({"time_from_start_s": np.array([0.0, 0.1])}, "expected times above 0 that increase"),
        ({"time_from_start_s": np.array([0.2, 0.2])}, "expected times above 0 that increase"),
        ({"time_from_start_s": np.array([])}, "expected times above 0 that increase"),
        ({"velocities": np.zeros((1, 2))}, r"expected velocities of shape \(2, 2\), got \(1, 2\)"),
        ({"velocities": np.full((2, 2), 0.1)}, r"expected to end at rest, got velocities \[0.1, 0.1\]"),
    ],
)
def test_a_trajectory_that_a_controller_rejects_cannot_be_made(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "names": ("a", "b"),
        "positions": np.zeros((2, 2)),
        "time_from_start_s": np.array([0.1, 0.2]),
    }
    JointTrajectory(**good, velocities=np.array([[0.1, 0.1], [0, 0]]))
    with pytest.raises(InputError, match=message):
        JointTrajectory(**{**good, **change})
