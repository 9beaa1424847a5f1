"""Controllers that take velocities, or hold their last value: what the real ones do, they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from taskgan_ros.control.command_interfaces import JOINT_JOG, KINOVA, POSITION_GROUP, VELOCITY_GROUP
from taskgan_ros.core.errors import InputError
from taskgan_ros.sim.controller import Point, Trajectory
from taskgan_ros.sim.jog_controller import Jog
from taskgan_ros.sim.robot import Drive, SimulatedRobot
from taskgan_ros.tasks.registry import load_motion_scene

SCENE = load_motion_scene("reach")
NAMES = SCENE.arm.joint_names
EPISODE = SCENE.sample_start(seed=7, index=0)
HERE = EPISODE.state.joint_pos
SPEED = np.array([0.1, 0, 0, 0, 0, 0])  # rad/s
STEP = np.array([0.1, 0, 0, 0, 0, 0])  # rad
START_S = 100.0
NOW_S = START_S + 1.0


def robot(interface: str, lag_s: float = 0.0, **changes: Any) -> SimulatedRobot:
    drive = Drive(servo_lag_s=lag_s, command_interface=interface)
    made = SimulatedRobot(SCENE, EPISODE, START_S, 0.3, drive, **changes)
    made.step(NOW_S)
    return made


def moved(robot: SimulatedRobot, for_s: float) -> float:
    """Return how far the first joint is from its start."""
    return float(robot.step(NOW_S + for_s).state.joint_pos[0] - HERE[0])


def test_positions_are_held_for_ever_and_reached_with_the_servos_lag() -> None:
    arm = robot(POSITION_GROUP, lag_s=0.05)
    arm.command(HERE + STEP / 10, NOW_S)
    assert 0 < moved(arm, 0.05) < 0.01
    assert moved(arm, 60.0) == pytest.approx(0.01)


def test_velocities_are_held_for_ever_up_to_the_limits() -> None:
    arm = robot(VELOCITY_GROUP)
    arm.command(SPEED, NOW_S)
    assert moved(arm, 1.0) == pytest.approx(0.1, abs=0.002)
    assert moved(arm, 2.0) == pytest.approx(0.2, abs=0.002), "nobody says that it is to stop"
    arm.command(np.zeros(6), NOW_S + 2.0)
    assert moved(arm, 3.0) == pytest.approx(0.2, abs=0.002)
    arm.command(np.array([0, 0.6, 0, 0, 0, 0]), NOW_S + 3.0)
    assert arm.step(NOW_S + 60.0).state.joint_pos[1] == pytest.approx(SCENE.arm.upper[1])


def test_jogs_go_stale() -> None:
    arm = robot(JOINT_JOG)
    arm.command(Jog(NAMES[:1], SPEED[:1], NOW_S), NOW_S)
    assert moved(arm, 1.0) == pytest.approx(0.01, abs=0.002)
    arm.command(Jog(NAMES[:1], SPEED[:1], NOW_S), NOW_S + 1.0)
    assert moved(arm, 2.0) == pytest.approx(0.01, abs=0.002), "its stamp is a second old"


def test_kinovas_driver_plays_each_velocity_until_its_time() -> None:
    arm = robot(KINOVA)
    points = tuple(Point(0.5 * (k + 1), HERE, speed) for k, speed in enumerate((SPEED, 2 * SPEED, 0 * SPEED)))
    arm.command(Trajectory(NAMES, points), NOW_S)
    assert moved(arm, 0.5) == pytest.approx(0.05, abs=0.003)
    assert moved(arm, 5.0) == pytest.approx(0.15, abs=0.003)


@pytest.mark.parametrize(
    ("interface", "order", "why"),
    [
        (POSITION_GROUP, HERE[:3], "data: expected 6 values, .* got 3"),
        (POSITION_GROUP, HERE * np.nan, "data: expected finite numbers"),
        (VELOCITY_GROUP, np.zeros(7), "data: expected 6 values, .* got 7"),
        (JOINT_JOG, Jog(("elbow",), np.zeros(1), NOW_S), "joint_names: expected some of .* got .'elbow'."),
        (JOINT_JOG, Jog(NAMES, np.zeros(1), NOW_S), "velocities: expected 6, got 1"),
        (KINOVA, Trajectory(NAMES[::-1], (Point(1.0, HERE, SPEED),)), "joint_names: expected"),
        (KINOVA, Trajectory(NAMES, (Point(1.0, HERE),)), "positions and velocities each"),
    ],
)
def test_what_the_real_ones_drop_or_fail_on_is_refused(interface: str, order: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        robot(interface).command(order, NOW_S)


def test_after_a_start_what_was_meant_for_elsewhere_is_ignored() -> None:
    arm = robot(POSITION_GROUP)
    arm.start(EPISODE, NOW_S)
    assert not arm.command(HERE + 1.0, NOW_S + 0.1)
    assert arm.command(HERE + 0.01, NOW_S + 0.1)
    arm = robot(VELOCITY_GROUP)
    arm.command(SPEED, NOW_S)
    arm.step(NOW_S + 0.1)
    arm.start(EPISODE, NOW_S + 0.1)
    assert not arm.command(SPEED, NOW_S + 0.15)
    assert moved(arm, 0.2) == 0.0
    assert arm.command(0 * SPEED, NOW_S + 0.2)
    assert arm.command(SPEED, NOW_S + 0.21), "a new motion begins at rest"
    assert moved(arm, 0.3) > 0.0


def test_joints_go_by_the_robots_names() -> None:
    names = [f"left_{name}" for name in NAMES]
    arm = robot(JOINT_JOG, joint_names=names)
    arm.command(Jog((names[0],), SPEED[:1], NOW_S), NOW_S)
    assert moved(arm, 0.05) > 0
    with pytest.raises(InputError, match="left_"):
        arm.command(Jog((NAMES[0],), SPEED[:1], NOW_S), NOW_S + 0.1)
