from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from taskgan_ros.arm.arm import Arm, load_arm
from taskgan_ros.arm.kinematics import tip_position
from taskgan_ros.control.commander import ANGLES, JTC, KINOVA, VELOCITIES, JointCommander
from taskgan_ros.control.fence import make_fence
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.errors import InputError

Array = NDArray[np.float64]

ARM = load_arm("mico")
N = len(ARM.joints)
DRIVEN = (ARM.joint_names[2], ARM.joint_names[0])  # not in the arm's order: names decide, not places
PLACES = [2, 0]
HOME = np.array(ARM.home)
LOW, HIGH = np.maximum(ARM.lower, -7.0), np.minimum(ARM.upper, 7.0)
PERIOD_S = 0.05  # between two commands
TOLERANCE = 1e-9

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
    mode=st.sampled_from([JTC, KINOVA]),
    horizon_s=st.floats(0.05, 1.0),
    margin_rad=st.floats(0, 0.2),
    max_step_rad=st.floats(0.05, 1.0),
    speed_scale=st.floats(0.1, 1.0),
    fence=st.sampled_from([None, make_fence(ARM, [-0.3, -0.5, 0.1, 0.3, 0.5, 0.8])]),
)


def velocities(trajectory: JointTrajectory, measured: Array) -> Array:
    """Return (P + 1, J) rad/s: how fast each stretch is, and rest."""
    lasts_s = np.diff(trajectory.time_from_start_s, prepend=0.0)
    steps = np.diff(trajectory.positions, axis=0, prepend=measured[None])
    return np.vstack([steps / lasts_s[:, None], np.zeros(steps.shape[1])])


class IdealArm:
    """An arm that does what it is told, at once."""

    def __init__(self, commander: JointCommander, start: Array = HOME) -> None:
        self.commander, self.now_s, self.pose = commander, 0.0, start.copy()
        self._trajectory: JointTrajectory | None = None
        self._since_s = 0.0
        self._start = start

    def follow(self, command: Any, parked: Array = HOME) -> JointTrajectory:
        return self._take(self.commander.follow(self.now_s, command, self.pose, parked))

    def stop(self) -> JointTrajectory:
        return self._take(self.commander.stop(self.now_s, self.pose))

    def _take(self, trajectory: JointTrajectory) -> JointTrajectory:
        self._trajectory, self._since_s, self._start = trajectory, self.now_s, self.pose
        return trajectory

    def wait(self, time_s: float = PERIOD_S) -> None:
        self.now_s += time_s
        assert self._trajectory is not None
        times = np.append(0.0, self._trajectory.time_from_start_s)
        points = np.vstack([self._start, self._trajectory.positions])
        now_s = self.now_s - self._since_s
        self.pose = np.array([np.interp(now_s, times, column) for column in points.T])

    def run(self, command: Any, count: int) -> JointTrajectory:
        for _ in range(count):
            trajectory = self.follow(command)
            self.wait()
        return trajectory


@settings(max_examples=300)
@given(commanders, st.lists(st.tuples(commands, st.floats(0.001, 0.3)), min_size=1, max_size=8), configurations)
def test_an_arm_that_follows_never_leaves_any_limit(
    commander: JointCommander, sent: list[tuple[Array, float]], start: Array
) -> None:
    inside = np.clip(start, commander.lower, commander.upper)
    fence, arm = commander.fence, IdealArm(commander, inside)
    last, before_s = np.zeros(N), 0.05
    for command, wait_s in [*sent, (None, 0.05)]:
        outside_m = 0.0 if fence is None else float(fence.outside_m(arm.pose))
        trajectory = arm.stop() if command is None else arm.follow(command, inside)
        speeds = velocities(trajectory, arm.pose)
        assert np.isfinite(trajectory.positions).all()
        assert trajectory.velocities is None or not trajectory.velocities[-1].any()
        assert np.all(np.abs(speeds) <= ARM.max_velocity + TOLERANCE)
        assert np.all(trajectory.positions >= np.minimum(commander.lower, arm.pose) - TOLERANCE)
        assert np.all(trajectory.positions <= np.maximum(commander.upper, arm.pose) + TOLERANCE)
        assert np.all(np.abs(trajectory.positions - arm.pose) <= commander.max_step_rad + TOLERANCE)
        if fence is not None and outside_m == 0:
            assert np.max(fence.outside_m(trajectory.positions)) <= 0.002
        allowed_s = np.full((len(speeds), 1), 0.05)  # between two velocities of a motion
        if command is not None:
            allowed_s[0] = min(before_s, 0.05)  # since the last command
        before, after = np.vstack([last, speeds])[:-1], speeds
        slower = (np.abs(after) <= np.abs(before)) & (after * before >= 0)
        allowed_s = np.where(slower & (np.arange(len(speeds)) == 0)[:, None], max(before_s, 0.05), allowed_s)
        assert np.all(np.abs(after - before) <= ARM.max_acceleration * allowed_s + 1e-6)
        arm.wait(wait_s)
        before_s = wait_s
        since_s = arm.now_s - arm._since_s  # not wait_s: at the end of a velocity, rounding decides which it is
        place = int(np.searchsorted(trajectory.time_from_start_s, since_s, side="right"))
        last = speeds[min(place, len(speeds) - 1)]


@settings(max_examples=300)
@given(commanders, commands, configurations, configurations, st.floats(0, 2))
def test_from_wherever_the_arm_may_be_since_it_was_measured_no_joint_must_break_its_limit(
    commander: JointCommander, command: Array, measured: Array, parked: Array, age_share: float
) -> None:
    age_s = age_share * commander.horizon_s
    trajectory = commander.follow(7.0, command, measured, parked, age_s)
    since = ARM.max_velocity * min(age_s, commander.horizon_s)
    if trajectory.time_from_start_s[0] == pytest.approx(commander.horizon_s):
        first = np.abs(trajectory.positions[0] - measured)
        assert np.all(first + since <= ARM.max_velocity * commander.horizon_s + TOLERANCE)


def test_the_velocity_that_was_asked_for_is_reached_by_name_and_kept() -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN))
    arm.run([0.1, -0.3], 5)
    before = arm.pose.copy()
    arm.run([0.1, -0.3], 4)
    np.testing.assert_allclose((arm.pose - before)[PLACES], [0.02, -0.06], atol=1e-9)


def test_a_velocity_that_is_too_fast_keeps_its_direction() -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN))
    arm.run([1.0, -2.0], 8)
    before = arm.pose.copy()
    arm.run([1.0, -2.0], 1)
    np.testing.assert_allclose((arm.pose - before)[PLACES], [0.0157, -0.0314], atol=1e-9)


def test_an_old_joint_state_slows_all_driven_joints_by_one_factor() -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN))
    arm.run([1.0, -2.0], 8)
    measured = arm.pose.copy()
    arm.run([1.0, -2.0], 1)
    arm.commander.follow(arm.now_s, [1.0, -2.0], measured, HOME, age_s=0.05)
    speeds = arm.commander.motion.velocities[0, PLACES]
    assert -0.628 < speeds[1] < -0.4
    assert speeds[0] == pytest.approx(-speeds[1] / 2)


def test_speed_grows_with_the_acceleration_and_in_the_commands_direction() -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN))
    seen = [velocities(arm.follow([0.3, -0.6]), arm.pose)[0, PLACES]]
    arm.wait()
    seen.append(velocities(arm.follow([0.3, -0.6]), arm.pose)[0, PLACES])
    np.testing.assert_allclose(seen, [[0.1, -0.2], [0.2, -0.4]], atol=1e-9)


def test_without_a_next_trajectory_the_arm_stops_smoothly_by_itself() -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN))
    arm.run([0.3, -0.6], 6)
    speeds = velocities(arm.follow([0.3, -0.6]), arm.pose)
    assert np.all(np.diff(np.abs(speeds[:, 0])) <= 0)
    assert np.max(np.abs(np.diff(speeds, axis=0))) <= 4.0 * 0.05 + 1e-9
    arm.wait(10)
    rest = arm.pose
    arm.wait(10)
    np.testing.assert_array_equal(arm.pose, rest)


def test_a_stop_is_smooth_and_takes_no_longer_than_it_must() -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN))
    arm.run([0.3, -0.6], 6)
    trajectory = arm.stop()
    assert trajectory.time_from_start_s[-1] == pytest.approx(0.15)  # 0.6 rad/s at 4 rad/s²
    np.testing.assert_allclose(velocities(trajectory, arm.pose)[:, 0], [-0.5, -0.3, -0.1, 0], atol=1e-9)


@pytest.mark.parametrize(("speed", "age_s"), [(0.4, 0.1), (0.6, 0.25)])
def test_a_stop_goes_on_from_where_the_arm_must_be_when_joint_states_are_old(speed: float, age_s: float) -> None:
    commander = JointCommander(ARM, DRIVEN)
    arm = IdealArm(commander)
    arm.run([0.0, -speed], 6)
    arm.follow([0.0, -speed])
    measured = arm.pose.copy()
    arm.wait(age_s)
    trajectory = commander.stop(arm.now_s, measured, age_s)
    assert trajectory.positions[0, 0] < arm.pose[0]  # on, not back
    unmoved = commander.stop(arm.now_s + 9, measured, age_s=0.0)
    reach = ARM.max_velocity * 0.05
    assert np.all(np.abs(unmoved.positions - measured) <= reach + TOLERANCE)  # whatever was sent


def test_a_joint_slows_before_its_limit_and_rests_at_the_margin() -> None:
    commander = JointCommander(ARM, DRIVEN, margin_rad=0.05)
    start = HOME.copy()
    start[2] = ARM.upper[2] - 0.25
    arm = IdealArm(commander, start)
    positions = []
    for _ in range(80):
        arm.run([0.6, 0.0], 1)
        positions.append(arm.pose[2])
    steps = np.diff(positions)
    assert positions[-1] == pytest.approx(ARM.upper[2] - 0.05, abs=0.002)
    assert np.all(np.diff(steps[steps.argmax() :]) <= TOLERANCE)


def test_the_tip_slows_before_the_fence_and_stays_inside_and_can_leave_it() -> None:
    here_m = tip_position(ARM, HOME)
    box = [-2, -2, here_m[2] - 0.05, 2, 2, 2]
    arm = IdealArm(JointCommander(ARM, (ARM.joint_names[1],), fence=make_fence(ARM, box)))
    down = 1.0 if tip_position(ARM, HOME + 0.1 * np.eye(N)[1])[2] < here_m[2] else -1.0
    heights = []
    for _ in range(60):
        arm.run([down], 1)
        heights.append(tip_position(ARM, arm.pose)[2])
    assert min(heights) >= box[2] - 1e-4
    assert heights[-1] == pytest.approx(box[2], abs=0.01)
    arm.run([-down], 10)
    assert tip_position(ARM, arm.pose)[2] > box[2] + 0.02


def test_a_fence_that_the_arm_is_outside_of_lets_it_come_back_only() -> None:
    here_m = tip_position(ARM, HOME)
    fence = make_fence(ARM, [-2, -2, here_m[2] + 0.1, 2, 2, 2])
    assert fence is not None
    up = 1.0 if tip_position(ARM, HOME + 0.1 * np.eye(N)[1])[2] > here_m[2] else -1.0
    for direction, moves in ((up, True), (-up, False)):
        arm = IdealArm(JointCommander(ARM, (ARM.joint_names[1],), fence=fence))
        arm.run([0.3 * direction], 10)
        assert bool(abs(arm.pose[1] - HOME[1]) > 0.05) is moves


def test_no_joint_is_sent_further_than_the_largest_step() -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN, horizon_s=0.5, max_step_rad=0.1))
    for _ in range(20):
        assert np.max(np.abs(arm.follow([0.6, -0.6]).positions - arm.pose)) <= 0.1 + TOLERANCE
        arm.wait()
    assert np.linalg.norm(arm.pose - HOME) > 0.1  # but it gets on


def test_a_jerk_limit_lets_the_acceleration_grow_step_by_step_and_ends_without_overshoot() -> None:
    joints = tuple(dataclasses.replace(joint, max_jerk=20.0) for joint in ARM.joints)
    jerky: Arm = dataclasses.replace(ARM, joints=joints)
    arm = IdealArm(JointCommander(jerky, DRIVEN))
    speeds = [0.0]
    for _ in range(40):
        speeds.append(velocities(arm.follow([0.5, 0.0]), arm.pose)[0, 2])
        arm.wait()
    accelerations = np.diff(speeds) / PERIOD_S
    assert np.max(np.diff(accelerations, prepend=0.0)) <= 20.0 * PERIOD_S + 1e-6
    assert max(speeds) <= 0.51  # the steps are not as fine as the jerk
    assert speeds[-1] == pytest.approx(0.5, abs=0.01)


def test_in_kinovas_mode_velocities_stand_in_the_arms_order_and_end_with_zeros() -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN, mode=KINOVA))
    arm.run([0.1, -0.3], 6)
    trajectory = arm.follow([0.1, -0.3])
    assert trajectory.names == ARM.joint_names
    assert trajectory.velocities is not None
    np.testing.assert_allclose(trajectory.velocities[0], [-0.3, 0, 0.1, 0, 0, 0], atol=1e-9)
    assert not trajectory.velocities[-1].any()
    still = JointCommander(ARM, DRIVEN, mode=KINOVA).stop(0.0, HOME)
    assert still.velocities is not None
    assert not still.velocities.any()


def test_partial_goals_name_the_driven_joints_alone() -> None:
    commander = JointCommander(ARM, DRIVEN, all_joints=False)
    assert commander.follow(0.0, [0.1, -0.3], HOME, HOME).names == DRIVEN
    np.testing.assert_array_equal(
        JointCommander(ARM, DRIVEN, all_joints=False).stop(0.0, HOME).positions, [HOME[PLACES]]
    )


def test_joints_that_are_not_driven_stay_parked_although_they_sag() -> None:
    sagged = HOME - np.array([0, 0.01, 0, 0, 0, 0])
    arm = IdealArm(JointCommander(ARM, DRIVEN), sagged)
    arm.run([0.1, -0.3], 40)
    np.testing.assert_allclose(arm.pose[[1, 3, 4, 5]], HOME[[1, 3, 4, 5]], atol=1e-3)


def test_a_joint_moved_by_hand_comes_back_and_slows_nobody() -> None:
    pushed = HOME + np.array([0, 1.0, 0, 0, 0, 0])
    arm = IdealArm(JointCommander(ARM, DRIVEN), pushed)
    arm.run([0.3, -0.6], 8)
    before = arm.pose.copy()
    arm.run([0.3, -0.6], 1)
    np.testing.assert_allclose((arm.pose - before)[[0, 1, 2]], [-0.03, -0.0314, 0.015], atol=1e-9)


def test_angles_are_approached_within_the_limits_and_reached() -> None:
    goal = HOME[PLACES] + [0.3, -0.6]
    arm = IdealArm(JointCommander(ARM, DRIVEN, task=ANGLES))
    arm.run(goal, 80)
    np.testing.assert_allclose(arm.pose[PLACES], goal, atol=1e-3)
    assert arm.commander.is_small(goal, arm.pose, 0.02)
    assert not arm.commander.is_small(goal + 0.1, arm.pose, 0.02)


def test_angles_beyond_a_limit_end_at_the_limit_and_starve_no_other_joint() -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN, task=ANGLES))
    arm.run([100.0, HOME[0] + 0.5], 400)
    assert arm.pose[2] == pytest.approx(ARM.upper[2], abs=0.002)
    assert arm.pose[0] == pytest.approx(HOME[0] + 0.5, abs=0.002)


def test_a_continuous_joint_takes_the_short_way_round() -> None:
    measured = HOME + np.array([4 * math.pi, 0, 0, 0, 0, 0])  # the driver has counted two turns
    arm = IdealArm(JointCommander(ARM, DRIVEN, task=ANGLES), measured)
    for _ in range(40):
        arm.follow([HOME[2], HOME[0] + 0.01], measured)
        arm.wait()
    np.testing.assert_allclose(arm.pose - measured, [0.01, 0, 0, 0, 0, 0], atol=1e-3)


def test_an_arm_whose_joint_states_stop_slows_down_and_never_turns_back() -> None:
    commander = JointCommander(ARM, DRIVEN)
    arm = IdealArm(commander)
    arm.run([0.6, 0.0], 10)
    measured, measured_s, places = arm.pose.copy(), arm.now_s, [arm.pose[2]]
    for _ in range(5):  # the node stops it after 0.25 s
        arm._take(commander.follow(arm.now_s, [0.6, 0.0], measured, HOME, arm.now_s - measured_s))
        arm.wait()
        places.append(arm.pose[2])
    for _ in range(4):
        arm._take(commander.stop(arm.now_s, measured, arm.now_s - measured_s))
        arm.wait()
        places.append(arm.pose[2])
    steps = np.diff(places)
    assert np.all(steps >= -TOLERANCE)
    assert np.all(steps[1:] <= steps[:-1] + TOLERANCE)


@pytest.mark.parametrize("push", [0.05, 0.15, 0.3])
def test_an_arm_that_is_pushed_is_never_asked_for_more_than_its_top_speed(push: float) -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN))
    arm.run([0.3, -0.3], 8)
    arm.pose = arm.pose - push * np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])  # against its way
    for trajectory in (arm.follow([0.3, -0.3]), arm.stop()):
        assert np.all(np.abs(velocities(trajectory, arm.pose)) <= ARM.max_velocity + TOLERANCE)


def test_a_blocked_arm_and_joint_states_that_stand_still_are_noticed_and_a_lag_is_not() -> None:
    for share, least, most in ((1.0, 0.0, 0.02), (0.3, 0.0, 0.15), (0.0, 0.4, 0.7)):
        commander, pose, error = JointCommander(ARM, DRIVEN), HOME.copy(), 0.0
        for k in range(60):
            now_s = 0.05 * k
            error = commander.does_not_follow(now_s, pose, 0.0)
            goal = commander.follow(now_s, [0.0, -0.6], pose, HOME)
            way = (goal.positions[0] - pose) * 0.05 / goal.time_from_start_s[0]
            lag = commander._place(now_s) - commander._place(0.0) - (pose - HOME)
            pose = pose + (share * (way + lag) if share else 0.0)
        assert least <= error <= most


def test_an_arm_that_activity_begins_again_with_goes_on_as_it_moves() -> None:
    arm = IdealArm(JointCommander(ARM, DRIVEN))
    arm.run([0.3, -0.6], 8)
    arm.stop()
    arm.wait(0.02)
    speeds = velocities(arm.follow([-0.3, 0.6]), arm.pose)
    assert speeds[0, 0] < -0.2


@given(st.integers(0, 5), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_nothing_that_is_not_finite_becomes_a_trajectory(joint: int, bad: float) -> None:
    commander = JointCommander(ARM, DRIVEN)
    broken = HOME.copy()
    broken[joint] = bad
    with pytest.raises(InputError, match="command: expected finite numbers"):
        commander.follow(0.0, np.array([bad, 0.0]), HOME, HOME)
    with pytest.raises(InputError, match="measured: expected finite numbers"):
        commander.follow(0.0, [0, 0], broken, HOME)
    with pytest.raises(InputError, match="parked: expected finite numbers"):
        commander.follow(0.0, [0, 0], HOME, broken)
    with pytest.raises(InputError, match="measured: expected finite numbers"):
        commander.stop(0.0, broken)


def test_another_number_of_values_or_a_negative_age_is_refused() -> None:
    commander = JointCommander(ARM, DRIVEN)
    with pytest.raises(InputError, match=r"command: expected one value for each of \['m1n6s200_joint_3', .*\(3,\)"):
        commander.follow(0.0, [0, 0, 0], HOME, HOME)
    with pytest.raises(InputError, match=r"measured: expected one value for each of .* got shape \(2,\)"):
        commander.stop(0.0, [0, 0])
    for bad in (-0.01, math.nan):
        with pytest.raises(InputError, match="age of the joint state: expected 0 s or more, got"):
            commander.follow(0.0, [0.1, -0.3], HOME, HOME, age_s=bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"driven_joints": ("elbow",)}, r"driven joints: expected some of \['m1n6s200_joint_1'.* got \['elbow'\]"),
        ({"driven_joints": ()}, r"driven joints: expected some of .* got \[\]"),
        ({"driven_joints": DRIVEN[:1] * 2}, "driven joints: expected some of .*, each once"),
        ({"task": "torques"}, "task: expected joint_velocities or joint_angles, got 'torques'"),
        ({"mode": "moveit"}, "mode: expected jtc or kinova, got 'moveit'"),
        ({"mode": KINOVA, "all_joints": False}, "all_joints: expected true in the mode kinova"),
        ({"horizon_s": 0.0}, "horizon_s: expected a positive number"),
        ({"max_step_rad": 0.0}, "max_step_rad: expected a positive number"),
        ({"speed_scale": 1.5}, "speed_scale: expected more than 0 and at most 1, got 1.5"),
        ({"margin_rad": 3.0}, "margin_rad: expected less than half of each joint's range, got 3.0"),
    ],
)
def test_a_commander_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        JointCommander(**{"arm": ARM, "driven_joints": DRIVEN, **change})


def test_a_fence_is_six_numbers_or_none() -> None:
    assert make_fence(ARM, []) is None
    for bad in ([0, 0, 0], [0, 0, 0, 1, 1, 0]):
        with pytest.raises(InputError, match="fence: expected x, y, z of the lower corner and then of the upper one"):
            make_fence(ARM, bad)
