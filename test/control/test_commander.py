from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from taskgan_ros.control.command_interfaces import INTEGRATED, JOINT_TRAJECTORY, KINOVA
from taskgan_ros.control.commander import JointCommander
from taskgan_ros.control.commander_config import ANGLES, VELOCITIES, CommanderConfig
from taskgan_ros.control.fence import make_fence
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Arm, load_arm
from taskgan_ros.robot.kinematics import tip_position

Array = NDArray[np.float64]

ARM = load_arm("mico")
N = len(ARM.joints)
DRIVEN = (ARM.joint_names[2], ARM.joint_names[0])  # not in the arm's order: names decide, not places
PLACES = [2, 0]
HOME = np.array(ARM.home)
PERIOD_S = 0.05  # between two commands
GRID_S = 0.002  # of what is looked at
WINDOW = 5  # times GRID_S: 10 ms
TOLERANCE = 1e-9


TYPICAL = CommanderConfig(
    arm=ARM, driven_joints=DRIVEN, task=VELOCITIES, command_interface=JOINT_TRAJECTORY, horizon_s=0.2, lead_s=0.02,
    all_joints=True, margin_rad=0.0, max_step_rad=0.5, speed_scale=1.0, fence=None,
)  # fmt: skip


def make_arm(max_velocity: float, max_acceleration: float) -> Arm:
    """Return the Mico's chain with other motors; every second joint is twice as fast."""
    joints = tuple(
        dataclasses.replace(joint, max_velocity=max_velocity * (1 + k % 2), max_acceleration=max_acceleration)
        for k, joint in enumerate(ARM.joints)
    )
    return dataclasses.replace(ARM, joints=joints)


def make_commander(**changes: Any) -> JointCommander:
    """Return one for the Mico and two of its joints, but for the changes."""
    return JointCommander(dataclasses.replace(TYPICAL, **changes))


class Servo:
    """An arm behind a controller that takes up trajectories when they were meant, and whose motors lag.

    Attributes:
        now_s: s.
        pose: (n,) rad, where the arm is.
        commanded: what the controller commanded, every GRID_S, from the start on.
    """

    def __init__(self, commander: JointCommander, start: Array = HOME, lag_s: float = 0.0) -> None:
        self.commander, self.now_s, self.pose, self._lag_s = commander, 0.0, start.copy(), lag_s
        self.commanded, self.poses = [start.copy()], [start.copy()]
        self._times, self._points = np.zeros(1), start[None].copy()

    def follow(self, command: Any, passive: Array = HOME, age_s: float = 0.0) -> JointTrajectory:
        return self._take(self.commander.follow(self.now_s, command, self.measured(age_s), passive, age_s))

    def stop(self, age_s: float = 0.0) -> JointTrajectory:
        return self._take(self.commander.stop(self.now_s, self.measured(age_s), age_s))

    def measured(self, age_s: float) -> Array:
        return self.poses[-1 - min(round(age_s / GRID_S), len(self.poses) - 1)]

    def _take(self, trajectory: JointTrajectory) -> JointTrajectory:
        self._times = np.append(self.now_s, self.now_s + trajectory.time_from_start_s)
        self._points = np.vstack([self.commanded[-1], trajectory.positions])
        return trajectory

    def wait(self, time_s: float = PERIOD_S) -> None:
        count = round(time_s / GRID_S)
        times_s = self.now_s + GRID_S * np.arange(1, count + 1)
        commanded = np.column_stack([np.interp(times_s, self._times, column) for column in self._points.T])
        share = 1 - math.exp(-GRID_S / self._lag_s) if self._lag_s else 1.0
        for command in commanded:
            self.pose = self.pose + share * (command - self.pose)
            self.poses.append(self.pose)
        self.commanded += list(commanded)
        self.now_s += count * GRID_S

    def run(self, command: Any, count: int, age_s: float = 0.0) -> JointTrajectory:
        for _ in range(count):
            trajectory = self.follow(command, age_s=age_s)
            self.wait()
        return trajectory

    def speeds(self) -> Array:
        """Return the command's (T, n) rad/s, each over 10 ms."""
        commanded = np.array(self.commanded)
        return (commanded[WINDOW:] - commanded[:-WINDOW]) / (WINDOW * GRID_S)

    def accelerations(self) -> Array:
        """Return the command's (T, n) rad/s², each over 10 ms."""
        speeds = self.speeds()
        return (speeds[WINDOW:] - speeds[:-WINDOW]) / (WINDOW * GRID_S)


def velocities_of(trajectory: JointTrajectory) -> Array:
    """Return its (P, n) rad/s, which it must have."""
    assert trajectory.velocities is not None
    return trajectory.velocities


def ends(low: float, high: float) -> st.SearchStrategy[float]:
    """Return numbers of a range, its ends often."""
    return st.sampled_from([low, high]) | st.floats(low, high)


arms = st.builds(make_arm, ends(0.2, 6.0), ends(0.5, 30.0))
commands = arrays(np.float64, (2,), elements=st.floats(-1e6, 1e6) | st.floats(-1, 1))
commanders = st.builds(
    make_commander,
    arm=arms,
    task=st.sampled_from([VELOCITIES, ANGLES]),
    horizon_s=ends(0.01, 5.0),
    lead_s=ends(0.0, 0.5),
    margin_rad=ends(0.0, 1.0),
    max_step_rad=ends(0.01, 3.0),
    speed_scale=ends(0.01, 1.0),
    fence=st.sampled_from([None, make_fence(ARM, [-0.3, -0.5, 0.1, 0.3, 0.5, 0.8])]),
)
starts = arrays(np.float64, (N,), elements=st.floats(0, 1))


def place(commander: JointCommander, share: Array) -> Array:
    """Return a pose within the position limits, continuous joints within two turns."""
    low, high = np.maximum(commander.config.lower, -7.0), np.minimum(commander.config.upper, 7.0)
    return np.clip(low + share * (high - low), low, high)


@settings(max_examples=200, deadline=None)
@given(
    commanders,
    st.lists(st.tuples(st.none() | commands, ends(0.02, 0.3)), min_size=1, max_size=8),
    starts,
    ends(0.0, 0.08),
    ends(0.01, 0.125),
)
def test_what_a_controller_makes_of_it_keeps_every_limit(
    commander: JointCommander, sent: list[tuple[Array | None, float]], share: Array, lag_s: float, age_s: float
) -> None:
    start = place(commander, share)
    servo, arm = Servo(commander, start, lag_s), commander.config.arm
    for command, wait_s in [*sent, (None, 2.0)]:
        trajectory = servo.stop(age_s) if command is None else servo.follow(command, start, age_s)
        assert np.isfinite(trajectory.positions).all()
        servo.wait(wait_s)
    commanded = np.array(servo.commanded)
    assert np.all(np.abs(servo.speeds()) <= arm.max_velocity * (1 + 1e-6))
    assert np.all(np.abs(servo.accelerations()) <= 1.1 * arm.max_acceleration)
    assert np.all(commanded >= commander.config.lower - 1e-6)
    assert np.all(commanded <= commander.config.upper + 1e-6)
    if commander.config.fence is not None and not commander.config.fence.outside_m(start):
        assert np.max(commander.config.fence.outside_m(commanded)) <= 0.002


@settings(max_examples=100, deadline=None)
@given(commanders, st.lists(commands, min_size=1, max_size=12), starts)
@example(
    make_commander(arm=make_arm(0.2, 2.0), horizon_s=0.0625, lead_s=0.125, max_step_rad=0.01),
    [np.array([-1.0, -1.0]), np.zeros(2), np.ones(2), np.ones(2), np.zeros(2)],  # turns round
    np.ones(N),
)
def test_no_joint_is_sent_further_than_the_largest_step_from_where_it_was_measured(
    commander: JointCommander, sent: list[Array], share: Array
) -> None:
    servo = Servo(commander, place(commander, share))
    for command in sent:
        trajectory = servo.follow(command, servo.pose)
        # An arm without a lag is behind the plan by what the message's lead is.
        ahead = np.abs(trajectory.positions - servo.pose)
        assert np.all(ahead <= commander.config.max_step_rad + TOLERANCE)
        servo.wait()


@pytest.mark.parametrize("lag_s", [0.0, 0.02, 0.08])
@pytest.mark.parametrize("age_s", [0.0, 0.02, 0.1])
def test_the_velocity_that_was_asked_for_is_reached_by_name_and_kept(lag_s: float, age_s: float) -> None:
    servo = Servo(make_commander(), lag_s=lag_s)
    servo.run([0.1, -0.3], 20, age_s)
    before = servo.pose.copy()
    servo.run([0.1, -0.3], 10, age_s)
    np.testing.assert_allclose((servo.pose - before)[PLACES], [0.05, -0.15], atol=1e-4)


def test_a_command_never_goes_back_although_the_arm_lags() -> None:
    servo = Servo(make_commander(), lag_s=0.08)
    servo.run([0.3, -0.6], 30, age_s=0.05)
    steps = np.diff(np.array(servo.commanded)[:, PLACES], axis=0)
    assert np.all(steps * [1, -1] >= -TOLERANCE)


def test_a_velocity_that_is_too_fast_keeps_its_direction() -> None:
    servo = Servo(make_commander())
    servo.run([1.0, -2.0], 8)
    np.testing.assert_allclose(servo.speeds()[:, PLACES][-1], [0.314, -0.628], atol=1e-9)


def test_speed_changes_at_the_limits_acceleration_and_in_the_commands_direction() -> None:
    servo = Servo(make_commander())
    servo.run([0.3, -0.6], 6)
    accelerations, speeds = servo.accelerations()[:, PLACES], servo.speeds()[:, PLACES]
    assert np.max(np.abs(accelerations)) == pytest.approx(4.0, rel=0.05)
    moving = np.abs(speeds[:, 1]) > 0.01
    np.testing.assert_allclose(speeds[moving, 0] / speeds[moving, 1], -0.5, atol=1e-6)


def test_without_a_next_trajectory_the_arm_stops_smoothly_by_itself() -> None:
    servo = Servo(make_commander())
    servo.run([0.3, -0.6], 6)
    seen = len(servo.commanded)
    servo.wait(10)
    assert np.max(np.abs(servo.accelerations())) <= 4.0 * 1.1
    assert np.all(np.diff(np.abs(servo.speeds()[seen:, 0])) <= TOLERANCE)
    rest = servo.pose
    servo.wait(10)
    np.testing.assert_array_equal(servo.pose, rest)


def test_a_stop_is_smooth_and_takes_no_longer_than_it_must() -> None:
    servo = Servo(make_commander())
    servo.run([0.3, -0.6], 6)
    trajectory = servo.stop()
    assert trajectory.time_from_start_s[-1] == pytest.approx(0.02 + 0.15)  # the lead; 0.6 rad/s at 4 rad/s²
    servo.wait(0.5)
    assert np.max(np.abs(servo.accelerations())) <= 4.0 * 1.1


@pytest.mark.parametrize("age_s", [0.1, 0.25])
def test_a_stop_continues_from_the_plan_when_joint_states_are_old(age_s: float) -> None:
    servo = Servo(make_commander(), lag_s=0.05)
    servo.run([0.0, -0.6], 10)
    servo.stop(age_s)
    servo.wait(0.5)
    assert np.max(np.abs(servo.accelerations())) <= 4.0 * 1.1
    assert np.all(np.diff(np.array(servo.commanded)[:, 0]) <= TOLERANCE)


@pytest.mark.parametrize(("speed", "acceleration"), [(math.pi, 5.0), (3.0, 10.0), (0.628, 4.0)])
@pytest.mark.parametrize("age_s", [0.02, 0.06, 0.125])
@pytest.mark.parametrize("max_step_rad", [0.1, 0.5])
def test_the_stop_at_a_trajectorys_end_is_whole(
    speed: float, acceleration: float, age_s: float, max_step_rad: float
) -> None:
    servo = Servo(make_commander(arm=make_arm(speed, acceleration), max_step_rad=max_step_rad), lag_s=0.03)
    servo.run([9.0, -9.0], 12, age_s)
    servo.wait(2.0)
    assert np.max(np.abs(servo.accelerations())) <= 1.1 * acceleration
    assert np.max(np.abs(servo.speeds())) > 0.05  # it moved at all


def test_a_joint_slows_before_its_limit_and_rests_at_the_margin() -> None:
    start = HOME.copy()
    start[2] = ARM.upper[2] - 0.25
    servo = Servo(make_commander(margin_rad=0.05), start)
    servo.run([0.6, 0.0], 80)
    assert servo.pose[2] == pytest.approx(ARM.upper[2] - 0.05, abs=0.002)
    assert np.all(np.diff(np.array(servo.commanded)[:, 2]) >= -TOLERANCE)


def test_the_tip_slows_before_the_fence_and_stays_inside_and_can_leave_it() -> None:
    here_m = tip_position(ARM, HOME)
    box = [-2, -2, here_m[2] - 0.05, 2, 2, 2]
    servo = Servo(make_commander(driven_joints=(ARM.joint_names[1],), fence=make_fence(ARM, box)))
    down = 1.0 if tip_position(ARM, HOME + 0.1 * np.eye(N)[1])[2] < here_m[2] else -1.0
    servo.run([down], 60)
    heights = tip_position(ARM, np.array(servo.commanded))[:, 2]
    assert min(heights) >= box[2] - 1e-4
    assert heights[-1] == pytest.approx(box[2], abs=0.01)
    servo.run([-down], 10)
    assert tip_position(ARM, servo.pose)[2] > box[2] + 0.02


def test_a_fence_that_the_arm_is_outside_of_lets_it_come_back_only() -> None:
    here_m = tip_position(ARM, HOME)
    fence = make_fence(ARM, [-2, -2, here_m[2] + 0.1, 2, 2, 2])
    assert fence is not None
    up = 1.0 if tip_position(ARM, HOME + 0.1 * np.eye(N)[1])[2] > here_m[2] else -1.0
    for direction, moves in ((up, True), (-up, False)):
        servo = Servo(make_commander(driven_joints=(ARM.joint_names[1],), fence=fence))
        servo.run([0.3 * direction], 10)
        assert bool(abs(servo.pose[1] - HOME[1]) > 0.05) is moves


def test_a_small_largest_step_lets_the_arm_get_on() -> None:
    servo = Servo(make_commander(horizon_s=0.5, max_step_rad=0.1), lag_s=0.03)
    servo.run([0.6, -0.6], 20)
    assert np.linalg.norm(servo.pose - HOME) > 0.1


def test_in_kinovas_mode_velocities_stand_in_the_arms_order_and_end_with_zeros() -> None:
    commander = make_commander(command_interface=KINOVA)
    pose, now_s = HOME.copy(), 0.0
    for _ in range(8):  # as its driver: at the velocities, whatever the positions are
        trajectory = commander.follow(now_s, [0.1, -0.3], pose, HOME)
        velocities = velocities_of(trajectory)
        pose, now_s = pose + PERIOD_S * velocities[0], now_s + PERIOD_S
    assert trajectory.names == ARM.joint_names
    np.testing.assert_allclose(velocities[0], [-0.3, 0, 0.1, 0, 0, 0], atol=1e-9)
    assert np.max(np.abs(np.diff(velocities, axis=0))) <= 4.0 * PERIOD_S + TOLERANCE
    assert not velocities[-1].any()
    assert not velocities_of(make_commander(command_interface=KINOVA).stop(0.0, HOME)).any()


def test_in_kinovas_mode_positions_are_kept_although_the_driver_drifts() -> None:
    commander = make_commander(driven_joints=(ARM.joint_names[1],), command_interface=KINOVA, margin_rad=0.05)
    pose, now_s = HOME.copy(), 0.0
    for _ in range(200):
        velocities = velocities_of(commander.follow(now_s, [0.6], pose, HOME))
        pose, now_s = pose + 1.1 * PERIOD_S * velocities[0], now_s + PERIOD_S
    assert pose[1] == pytest.approx(ARM.upper[1] - 0.05, abs=0.01)


def test_partial_goals_name_the_driven_joints_alone() -> None:
    commander = make_commander(all_joints=False)
    assert commander.follow(0.0, [0.1, -0.3], HOME, HOME).names == DRIVEN
    still = make_commander(all_joints=False).stop(0.0, HOME).positions
    np.testing.assert_array_equal(still, [HOME[PLACES]])


def test_a_joint_that_nobody_commands_may_move_elsewhere() -> None:
    commander = make_commander(all_joints=False)
    servo = Servo(commander)
    speeds = []
    for k in range(20):  # joint 4 is moved by somebody else
        measured = servo.pose + 0.1 * k * np.eye(N)[3]
        trajectory = commander.follow(servo.now_s, [0.3, 0.0], measured, HOME)
        servo._times = np.append(servo.now_s, servo.now_s + trajectory.time_from_start_s)
        whole = np.tile(servo.commanded[-1], (len(servo._times), 1))
        whole[1:, PLACES] = trajectory.positions
        servo._points = whole
        servo.wait()
        speeds.append(servo.speeds()[-1, 2])
    assert speeds[-1] == pytest.approx(0.3)


def test_passive_joints_keep_their_position_although_they_sag() -> None:
    sagged = HOME - np.array([0, 0.01, 0, 0, 0, 0])
    servo = Servo(make_commander(), sagged)
    servo.run([0.1, -0.3], 60)
    np.testing.assert_allclose(servo.pose[[1, 3, 4, 5]], HOME[[1, 3, 4, 5]], atol=1e-3)


def test_an_arm_that_sags_does_not_creep_from_stop_to_stop() -> None:
    sag = np.array([0, 0.02, 0.03, 0, 0, 0])
    servo = Servo(make_commander())
    for _ in range(10):
        servo.pose = servo.commanded[-1] - sag  # a motor that is too weak for its arm
        servo.poses.append(servo.pose)
        servo._take(servo.commander.follow(servo.now_s, [0.0, 0.0], servo.pose, HOME))
        servo.wait(1.0)
    assert np.max(np.abs(servo.commanded[-1] - HOME)) <= 0.03 + TOLERANCE


def test_a_joint_moved_by_hand_comes_back_and_slows_nobody() -> None:
    pushed = HOME + np.array([0, 1.0, 0, 0, 0, 0])
    servo = Servo(make_commander(), pushed)
    servo.run([0.3, -0.6], 10)
    np.testing.assert_allclose(servo.speeds()[-1, :3], [-0.6, -0.628, 0.3], atol=1e-9)


@pytest.mark.parametrize("acceleration", [0.5, 4.0])
def test_angles_are_approached_within_the_limits_and_reached(acceleration: float) -> None:
    goal = HOME[PLACES] + [0.3, -0.6]
    arm = make_arm(0.628, acceleration)
    servo = Servo(make_commander(arm=arm, task=ANGLES), lag_s=0.03)
    servo.run(goal, 480)
    np.testing.assert_allclose(servo.pose[PLACES], goal, atol=1e-3)
    assert np.max(np.array(servo.commanded)[:, 2]) <= goal[0] + 1e-3  # no overshoot
    assert servo.commander.is_small(goal, servo.pose, 0.02)
    assert not servo.commander.is_small(goal + 0.1, servo.pose, 0.02)


def test_angles_beyond_a_limit_end_at_the_limit_and_starve_no_other_joint() -> None:
    servo = Servo(make_commander(task=ANGLES))
    servo.run([100.0, HOME[0] + 0.5], 300)
    assert servo.pose[2] == pytest.approx(ARM.upper[2], abs=0.002)
    assert servo.pose[0] == pytest.approx(HOME[0] + 0.5, abs=0.002)


def test_a_continuous_joint_takes_the_short_way_round() -> None:
    turned = HOME + np.array([4 * math.pi, 0, 0, 0, 0, 0])  # the driver has counted two turns
    servo = Servo(make_commander(task=ANGLES), turned)
    servo.run([HOME[2], HOME[0] + 0.01], 60)
    np.testing.assert_allclose(servo.pose - turned, [0.01, 0, 0, 0, 0, 0], atol=1e-3)


def test_a_driver_that_wraps_its_angles_changes_nothing() -> None:
    commander = make_commander()
    start = HOME.copy()
    start[0] = math.pi - 0.1
    servo = Servo(commander, start)
    for _ in range(20):
        wrapped = np.remainder(servo.pose + math.pi, 2 * math.pi) - math.pi
        wrapped[1:] = servo.pose[1:]
        servo._take(commander.follow(servo.now_s, [0.0, 0.5], wrapped, start))
        servo.wait()
    assert np.max(np.abs(servo.speeds())) <= 0.5 + TOLERANCE
    assert servo.pose[0] > math.pi + 0.2


def test_an_arm_whose_joint_states_stop_is_stopped_and_never_turns_back() -> None:
    servo = Servo(make_commander(), lag_s=0.03)
    servo.run([0.6, 0.0], 10)
    for k in range(5):  # the node stops it after 0.25 s
        servo.follow([0.6, 0.0], age_s=PERIOD_S * k)
        servo.wait()
    servo.stop(0.25)
    servo.wait(1.0)
    assert np.all(np.diff(np.array(servo.commanded)[:, 2]) >= -TOLERANCE)
    assert np.max(np.abs(servo.accelerations())) <= 4.0 * 1.1


@pytest.mark.parametrize("push", [0.05, 0.15, 0.3, 1.0])
@pytest.mark.parametrize("is_stop", [True, False])
def test_an_arm_that_was_pushed_is_asked_for_no_more_than_its_top_speed(push: float, is_stop: bool) -> None:
    servo = Servo(make_commander())
    servo.run([0.3, -0.3], 8)
    pushed = servo.pose - push * np.eye(N)[2]  # against its way
    for _ in range(20):
        if is_stop:
            servo._take(servo.commander.stop(servo.now_s, pushed))
        else:
            servo._take(servo.commander.follow(servo.now_s, [0.3, -0.3], pushed, HOME))
        servo.wait()
    assert np.max(np.abs(servo.speeds()) / ARM.max_velocity) <= 1 + 1e-5
    if push > 0.2:  # no lag explains that: the arm is sent on from where it is
        assert abs(servo.commanded[-1][2] - pushed[2]) < push - 0.05


@pytest.mark.parametrize(("share", "least", "most"), [(1.0, 0.0, 0.06), (0.3, 0.25, 1.0), (0.0, 0.45, 0.7)])
def test_a_blocked_arm_has_a_tracking_error_and_one_that_lags_has_not(share: float, least: float, most: float) -> None:
    servo = Servo(make_commander(), lag_s=0.08)
    pose, error, before = HOME.copy(), 0.0, HOME.copy()
    for _ in range(60):
        error = servo.commander.tracking_error(servo.now_s, pose, 0.0)
        servo._take(servo.commander.follow(servo.now_s, [0.0, -0.6], pose, HOME))
        servo.wait()
        pose, before = pose + share * (servo.pose - before), servo.pose
    assert least <= error <= most


@pytest.mark.parametrize("interface", INTEGRATED)
@pytest.mark.parametrize(("share", "least", "most"), [(1.0, 0.0, 0.06), (0.3, 0.25, 1.0), (0.0, 0.45, 0.7)])
def test_tracking_errors_are_the_same_where_the_controller_integrates_velocities(
    interface: str, share: float, least: float, most: float
) -> None:
    commander, pose, error = make_commander(command_interface=interface), HOME.copy(), 0.0
    for tick in range(300):
        now_s = 0.01 * tick
        if not tick % 5:
            commander.follow(now_s, [0.0, -0.6], pose, HOME)
        assert commander.plan
        pose = pose + share * 0.01 * commander.plan.at(now_s + 0.005)[1]
        error = commander.tracking_error(now_s + 0.01, pose, 0.0)
    assert least <= error <= most


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_plan_waits_for_an_arm_that_lags_far_behind(share: float) -> None:
    servo = Servo(make_commander())
    pose, before = HOME.copy(), HOME.copy()
    for _ in range(60):
        servo._take(servo.commander.follow(servo.now_s, [0.0, -0.6], pose, HOME))
        servo.wait()
        pose, before = pose + share * (servo.pose - before), servo.pose
        assert abs(servo.commanded[-1][0] - pose[0]) < 0.3


def test_an_arm_that_goes_on_while_it_stops_goes_on_as_it_moves() -> None:
    servo = Servo(make_commander())
    servo.run([0.3, -0.6], 8)
    servo.stop()
    servo.wait(0.02)
    servo.run([-0.3, 0.6], 10)
    assert np.max(np.abs(servo.accelerations())) <= 4.0 * 1.1


@given(st.integers(0, 5), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_nothing_that_is_not_finite_becomes_a_trajectory(joint: int, bad: float) -> None:
    commander = make_commander()
    broken = HOME.copy()
    broken[joint] = bad
    with pytest.raises(InputError, match="command: expected finite numbers"):
        commander.follow(0.0, np.array([bad, 0.0]), HOME, HOME)
    with pytest.raises(InputError, match="measured: expected finite numbers"):
        commander.follow(0.0, [0, 0], broken, HOME)
    with pytest.raises(InputError, match="passive: expected finite numbers"):
        commander.follow(0.0, [0, 0], HOME, broken)
    with pytest.raises(InputError, match="measured: expected finite numbers"):
        commander.stop(0.0, broken)


def test_another_number_of_values_or_a_negative_age_is_refused() -> None:
    commander = make_commander()
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
        ({"command_interface": "moveit"}, "command_interface: expected one of"),
        ({"command_interface": KINOVA, "all_joints": False}, "all_joints: expected true with kinova"),
        ({"horizon_s": 0.0}, "horizon_s: expected a positive number"),
        ({"lead_s": -0.1}, "lead_s: expected 0 s or more, got -0.1"),
        ({"max_step_rad": 0.0}, "max_step_rad: expected a positive number"),
        ({"speed_scale": 1.5}, "speed_scale: expected more than 0 and at most 1, got 1.5"),
        ({"margin_rad": 3.0}, "margin_rad: expected less than half of each joint's range, got 3.0"),
    ],
)
def test_a_commander_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_commander(**change)


def test_a_fence_is_six_numbers_or_none() -> None:
    assert make_fence(ARM, []) is None
    for bad in ([0, 0, 0], [0, 0, 0, 1, 1, 0]):
        with pytest.raises(InputError, match="fence: expected x, y, z of the lower corner and then of the upper one"):
            make_fence(ARM, bad)


def test_a_fence_in_millimetres_is_refused() -> None:
    with pytest.raises(InputError, match=r"fence: expected at most 10 m in magnitude, not mm, or nothing .*750\.0\]"):
        make_fence(ARM, [-750, -750, 20, 750, 750, 750])
    assert make_fence(ARM, [-10, -10, 0, 10, 10, 10]) is not None


# Chunks: random ones keep every limit, and what an arm does of them is what they say.

STEP_S = 0.1
QUICK = make_arm(1.0, 50.0)  # reaches any speed in 0.02 s


class ChunkServo(Servo):
    """A `Servo` that is sent chunks, seen some time before they are sent."""

    def follow_chunk(
        self, chunk: Any, step_s: float = STEP_S, late_s: float = 0.0, passive: Array = HOME, age_s: float = 0.0
    ) -> JointTrajectory:
        here, seen_s = self.measured(age_s), self.now_s - late_s
        return self._take(self.commander.follow(self.now_s, chunk, here, passive, age_s, step_s, seen_s))

    def speed_at(self, time_s: float) -> Array:
        """Return the driven joints' commanded speed (J,) rad/s around a time."""
        k = round(time_s / GRID_S)
        return np.asarray(self.commanded[k + 2] - self.commanded[k - 2])[PLACES] / (4 * GRID_S)


chunks = st.integers(1, 6).flatmap(
    lambda count: arrays(np.float64, (count, 2), elements=st.floats(-1e6, 1e6) | st.floats(-7, 7))
)


@settings(max_examples=200, deadline=None)
@given(
    commanders,
    st.lists(st.tuples(st.none() | chunks, ends(0.02, 0.3), ends(0.01, 0.5), ends(0.0, 0.5)), min_size=1, max_size=6),
    starts,
    ends(0.0, 0.08),
    ends(0.01, 0.125),
)
def test_random_chunks_keep_every_limit(
    commander: JointCommander,
    sent: list[tuple[Array | None, float, float, float]],
    share: Array,
    lag_s: float,
    age_s: float,
) -> None:
    start = place(commander, share)
    servo, config = ChunkServo(commander, start, lag_s), commander.config
    arm = config.arm
    for chunk, wait_s, step_s, late_s in [*sent, (None, 2.0, 0.0, 0.0)]:
        if chunk is None:
            servo.stop(age_s)
        else:
            servo.follow_chunk(chunk, step_s, late_s, start, age_s)
        servo.wait(wait_s)
    commanded = np.array(servo.commanded)
    assert np.all(np.abs(servo.speeds()) <= arm.max_velocity * (1 + 1e-6))
    assert np.all(np.abs(servo.accelerations()) <= 1.1 * arm.max_acceleration)
    assert np.all(commanded >= config.lower - 1e-6)
    assert np.all(commanded <= config.upper + 1e-6)
    if config.fence is not None and not config.fence.outside_m(start):
        assert np.max(config.fence.outside_m(commanded)) <= 0.002


@settings(max_examples=100, deadline=None)
@given(commanders, st.lists(chunks, min_size=1, max_size=6), starts, ends(0.01, 0.5))
def test_no_chunk_sends_a_joint_further_than_the_largest_step(
    commander: JointCommander, sent: list[Array], share: Array, step_s: float
) -> None:
    servo = ChunkServo(commander, place(commander, share))
    for chunk in sent:
        ahead = np.abs(servo.follow_chunk(chunk, step_s, passive=servo.pose).positions - servo.pose)
        assert np.all(ahead <= commander.config.max_step_rad + 1e-4)
        servo.wait()


@given(commanders, st.lists(commands, min_size=1, max_size=6), starts, ends(0.01, 0.5), ends(0.0, 0.5))
def test_a_chunk_of_one_is_a_single_command(
    commander: JointCommander, sent: list[Array], share: Array, step_s: float, late_s: float
) -> None:
    start = place(commander, share)
    one, other = ChunkServo(commander, start), []
    for command in sent:
        other.append(one.follow(command, start))
        one.wait()
    commander.reset()
    again = ChunkServo(commander, start)
    for command, expected in zip(sent, other, strict=True):
        given_back = again.follow_chunk(command[None], step_s, late_s, start)
        np.testing.assert_array_equal(given_back.positions, expected.positions)
        np.testing.assert_array_equal(given_back.time_from_start_s, expected.time_from_start_s)
        again.wait()


def test_each_velocity_is_kept_for_its_step_and_then_the_arm_stops_by_itself() -> None:
    servo = ChunkServo(make_commander(arm=QUICK, horizon_s=0.3, lead_s=0.0))
    chunk = np.array([[0.3, -0.1], [-0.2, 0.2], [0.1, 0.0]])
    trajectory = servo.follow_chunk(chunk)
    servo.wait(1.0)
    for k, velocity in enumerate(chunk):  # from rest, the first begins 0.05 s late
        np.testing.assert_allclose(servo.speed_at((k + 0.8) * STEP_S), velocity, atol=1e-3)
    assert trajectory.time_from_start_s[-1] < 0.05 + 0.3 + 0.02
    np.testing.assert_array_equal(servo.speed_at(0.9), 0.0)


def test_the_horizon_cuts_a_long_chunk_and_the_last_command_fills_a_long_horizon() -> None:
    chunk = np.array([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0], [0.4, 0.0]])
    for horizon_s, stops_s, last in ((0.2, 0.25, 0.3), (0.8, 0.85, 0.4)):
        servo = ChunkServo(make_commander(arm=QUICK, horizon_s=horizon_s, lead_s=0.0, max_step_rad=3.0))
        servo.follow_chunk(chunk)
        servo.wait(1.2)
        np.testing.assert_allclose(servo.speed_at(stops_s - 0.02), [last, 0.0], atol=1e-3)
        np.testing.assert_array_equal(servo.speed_at(stops_s + 0.05), 0.0)


def test_what_is_over_when_a_chunk_takes_effect_is_left_out() -> None:
    servo = ChunkServo(make_commander(arm=QUICK, horizon_s=0.3, lead_s=0.0))
    servo.follow_chunk(np.array([[0.9, 0.9], [0.9, 0.9], [0.2, 0.1], [0.1, 0.0]]), late_s=2 * STEP_S)
    servo.wait(0.5)
    np.testing.assert_allclose(servo.speed_at(0.05 + 0.03), [0.2, 0.1], atol=1e-3)  # it takes 0.05 s to begin
    np.testing.assert_allclose(servo.speed_at(0.05 + 0.1), [0.1, 0.0], atol=1e-3)


def test_the_newest_chunk_replaces_the_one_before_without_a_jolt() -> None:
    def wanted(time_s: Any) -> Array:
        return 0.3 * np.stack([np.sin(4 * time_s), np.cos(4 * time_s)], axis=-1)

    servo = ChunkServo(make_commander(arm=make_arm(1.0, 10.0), horizon_s=0.4))
    for _ in range(20):
        servo.follow_chunk(wanted(servo.now_s + 0.05 * (np.arange(8) + 0.5)), step_s=0.05)
        servo.wait(0.1)
    times_s = np.arange(0.5, 1.9, 0.01)
    speeds = np.array([servo.speed_at(time_s) for time_s in times_s])
    assert np.max(np.abs(speeds - wanted(times_s))) < 0.05  # a step of 0.05 s changes them by 0.06
    assert np.max(np.abs(servo.accelerations()[250:900])) < 11.0


def test_positions_of_a_chunk_are_passed_when_they_are_due() -> None:
    start = HOME[PLACES]
    line = start + np.outer(np.arange(20), [0.02, -0.015])  # 0.2 and 0.15 rad/s
    servo = ChunkServo(make_commander(arm=QUICK, task=ANGLES, horizon_s=2.0, lead_s=0.0, max_step_rad=3.0))
    trajectory = servo.follow_chunk(line)
    servo.wait(4.0)
    passed = np.array(servo.commanded)[:, PLACES]
    for k in range(1, 19):
        np.testing.assert_allclose(passed[round(k * STEP_S / GRID_S)], line[k], atol=0.012)
    np.testing.assert_allclose(passed[-1], line[-1], atol=0.012)
    assert trajectory.time_from_start_s[-1] < 0.05 + 2.0 + 0.05


def test_positions_go_the_short_way_round_and_none_is_overshot() -> None:
    start = HOME[PLACES]
    target = start + np.array([0.4, 0.1])
    chunk = np.array([start, target, target, target])
    chunk[1:, 1] += 2 * np.pi  # joint 1 has no limits: the driver counts turns apart
    servo = ChunkServo(make_commander(arm=ARM, task=ANGLES, horizon_s=3.0, max_step_rad=3.0))
    for _ in range(6):
        servo.follow_chunk(chunk, late_s=servo.now_s)
        servo.wait(0.5)
    driven = np.array(servo.commanded)[:, PLACES]
    assert np.all(driven <= target + 1e-3)
    np.testing.assert_allclose(driven[-1], target, atol=0.01)


@pytest.mark.parametrize("task", [VELOCITIES, ANGLES])
def test_a_chunk_is_small_if_each_of_its_commands_is(task: str) -> None:
    commander = make_commander(arm=ARM, task=task)
    rest = np.zeros(2) if task == VELOCITIES else HOME[PLACES]
    assert commander.is_small([rest, rest + 0.001], HOME, 0.02)
    assert not commander.is_small([rest, rest + 0.1], HOME, 0.02)


@pytest.mark.parametrize(
    ("chunk", "step_s", "message"),
    [
        (np.zeros((2, 2)), None, "step_s, of a chunk: expected a positive number of seconds, got nan"),
        (np.zeros((2, 2)), 0.0, "step_s, of a chunk: expected a positive number of seconds, got 0.0"),
        (np.zeros((0, 2)), 0.1, r"command: expected one value for each of .*, got shape \(0, 2\)"),
        (np.zeros((2, 3)), 0.1, r"command: expected one value for each of .*, got shape \(3,\)"),
        (np.zeros((2, 2, 2)), 0.1, r"command: expected one value for each of .*, got shape \(2, 2, 2\)"),
        ([[0.0, 0.0], [math.nan, 0.0]], 0.1, r"command: expected finite numbers, got \[\[0.0, 0.0\], \[nan, 0.0\]\]"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(chunk: Any, step_s: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_commander(arm=ARM).follow(0.0, chunk, HOME, HOME, step_s=step_s)
