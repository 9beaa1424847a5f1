from __future__ import annotations

import numpy as np
import pytest

from taskgan_ros.sim.controller import Point, Trajectory
from taskgan_ros.sim.domain import Calibration
from taskgan_ros.sim.robot import Drive, SimulatedRobot, Snapshot, follow
from taskgan_ros.tasks.registry import load_motion_scene
from taskgan_ros.tasks.scene import MotionScene
from taskgan_ros.tasks.state import Episode

NOW_S = 100.0


@pytest.fixture(scope="module")
def scene() -> MotionScene:
    return load_motion_scene("reach")


@pytest.fixture
def episode(scene: MotionScene) -> Episode:
    return scene.sample_start(seed=7, index=0)


@pytest.fixture
def robot(scene: MotionScene, episode: Episode) -> SimulatedRobot:
    return SimulatedRobot(scene, episode, NOW_S, 0.3, Drive(servo_lag_s=0.0, interpolate_from_desired_state=False))


def go_to(scene: MotionScene, positions: np.ndarray, time_s: float) -> Trajectory:
    return Trajectory(scene.arm.joint_names, (Point(time_s, positions),))


def run(robot: SimulatedRobot, start_s: float, seconds: float) -> Snapshot:
    for k in range(round(seconds * 50) + 1):
        now = robot.step(start_s + k / 50)
    return now


def test_executes_a_trajectory_at_its_speed(scene: MotionScene, episode: Episode, robot: SimulatedRobot) -> None:
    step = np.array([0.2, -0.1, 0.1, 0, 0, 0])
    start_s = NOW_S + 1
    robot.step(start_s)
    assert robot.command(go_to(scene, episode.state.joint_pos + step, 0.5), start_s)
    half_way = run(robot, start_s, 0.24)
    np.testing.assert_allclose(half_way.velocities, step / 0.5, atol=1e-6)
    end = run(robot, start_s + 0.26, 0.4)
    np.testing.assert_allclose(end.state.joint_pos, episode.state.joint_pos + step, atol=1e-9)
    np.testing.assert_allclose(end.velocities, 0, atol=1e-9)
    assert end.distance_m == pytest.approx(scene.distance(end.state))
    assert end.time_s == pytest.approx(1.66)


def test_a_servo_lags_behind_what_is_commanded(scene: MotionScene, episode: Episode) -> None:
    robot = SimulatedRobot(scene, episode, NOW_S, 0.3, Drive(servo_lag_s=0.05, update_rate_hz=250.0))
    start_s, step = NOW_S + 1, np.array([0.4, 0, 0, 0, 0, 0])
    robot.command(go_to(scene, episode.state.joint_pos + step, 1.0), start_s)
    run(robot, start_s, 0.5)
    commanded = robot.take_commanded()
    assert np.diff([point.time_from_start_s for point in commanded]) == pytest.approx(0.004)
    behind = commanded[-1].positions - run(robot, start_s + 0.5, 0.0).state.joint_pos
    assert behind[0] == pytest.approx(0.4 * 0.05, rel=0.1)  # its speed times the lag
    end = run(robot, start_s + 0.5, 1.5)
    np.testing.assert_allclose(end.state.joint_pos, episode.state.joint_pos + step, atol=1e-6)


def test_start_drops_the_running_trajectory_and_ignores_late_ones(
    scene: MotionScene, episode: Episode, robot: SimulatedRobot
) -> None:
    robot.step(NOW_S + 1)
    robot.command(go_to(scene, episode.state.joint_pos + 0.2, 2.0), NOW_S + 1)
    run(robot, NOW_S + 1, 0.2)
    other = scene.sample_start(seed=7, index=1)
    robot.start(other, NOW_S + 1.2)
    assert not robot.command(go_to(scene, episode.state.joint_pos, 1.0), NOW_S + 1.45)
    now = run(robot, NOW_S + 1.2, 0.3)
    np.testing.assert_array_equal(now.state.joint_pos, other.state.joint_pos)
    assert robot.command(go_to(scene, episode.state.joint_pos, 1.0), NOW_S + 1.51)


def test_what_begins_where_an_episode_starts_is_executed_at_once(scene: MotionScene, robot: SimulatedRobot) -> None:
    # Else a fast arm is sent half a radian while it stands still, and looks blocked.
    here = scene.sample_start(seed=7, index=1)
    robot.start(here, NOW_S + 1.2)
    way = (Point(0.001, here.state.joint_pos), Point(1.0, here.state.joint_pos + 0.3))
    assert robot.command(Trajectory(scene.arm.joint_names, way), NOW_S + 1.25)
    assert not robot.command(Trajectory(("elbow",), (Point(0.001, np.zeros(1)),)), NOW_S + 1.25)
    now = run(robot, NOW_S + 1.25, 0.5)
    np.testing.assert_allclose(now.state.joint_pos, here.state.joint_pos + 0.15, atol=0.01)


def test_motors_neither_jump_nor_leave_their_range_nor_follow_nan(scene: MotionScene, episode: Episode) -> None:
    arm, start = scene.arm, episode.state.joint_pos
    jump = follow(arm, start, start + np.pi / 2, dt_s=0.02)
    assert np.all(jump - start <= arm.max_velocity * 0.02 + 1e-12)
    far = start
    for _ in range(1000):
        far = follow(arm, far, np.array([0, 9, 9, 0, 0, 0.0]), dt_s=0.02)
    np.testing.assert_array_equal(far[1:3], arm.upper[1:3])
    strange = np.array([np.nan, np.inf, -np.inf, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(follow(arm, start, strange, dt_s=0.02), start)


def test_a_trajectory_that_is_not_finite_leaves_the_arm_where_it_is(
    scene: MotionScene, episode: Episode, robot: SimulatedRobot
) -> None:
    robot.step(NOW_S + 1)
    robot.command(go_to(scene, np.full(6, np.nan), 0.1), NOW_S + 1)
    now = run(robot, NOW_S + 1, 0.5)
    np.testing.assert_array_equal(now.state.joint_pos, episode.state.joint_pos)


def test_the_distance_is_where_the_arm_really_is(scene: MotionScene, episode: Episode) -> None:
    error = np.array([0.1, 0, 0, 0, 0, 0])
    robot = SimulatedRobot(scene, episode, NOW_S, calibration=Calibration(joint_rad=tuple(error)))
    seen = robot.step(NOW_S + 0.1)
    np.testing.assert_allclose(seen.state.joint_pos, episode.state.joint_pos)
    really = episode.state.moved_to(episode.state.joint_pos + error)
    assert seen.distance_m == pytest.approx(scene.distance(really))
