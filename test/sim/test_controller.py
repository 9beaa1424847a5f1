from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.sim.controller import JointTrajectoryController, Point, Trajectory, interpolate

Array = NDArray[np.float64]
JOINTS = ("shoulder", "elbow", "wrist")
START = np.array([1.0, 2.0, 3.0])
STILL = np.zeros(3)
NOW_S = 100.0


def point(time_s: float, *positions: float, **more: list[float]) -> Point:
    return Point(time_s, np.array(positions), **{name: np.array(values) for name, values in more.items()})


def trajectory(*points: Point, names: tuple[str, ...] = JOINTS, start_s: float = 0.0) -> Trajectory:
    return Trajectory(names, points, start_s)


@pytest.fixture
def controller() -> JointTrajectoryController:
    return JointTrajectoryController(JOINTS, START)


def run(controller: JointTrajectoryController, command: Trajectory, velocities: Array = STILL) -> None:
    """Accept and take up at NOW_S, the arm being at START."""
    controller.accept(command, NOW_S)
    controller.update(NOW_S, 0.0, START, velocities)


def at(controller: JointTrajectoryController, time_s: float) -> Array:
    return controller.sample(time_s).positions


GOAL = point(1.0, 2.0, 2.0, 2.0)

# Each with the reason. What the real controller rejects: validate_trajectory_msg in its source.
REJECTED = {
    "names of some joints only": (trajectory(point(1, 0, 0), names=JOINTS[:2]), "joint_names: expected all of"),
    "no names": (trajectory(point(1), names=()), "joint_names: expected"),
    "an unknown name": (trajectory(GOAL, names=("shoulder", "elbow", "tail")), r"joint_names: .* got \['tail'\]"),
    "an empty name": (trajectory(GOAL, names=("shoulder", "elbow", "")), r"joint_names: .* got \[''\]"),
    "no points": (trajectory(), "points: expected at least one, got none"),
    "a speed at the end": (
        trajectory(point(1, 2, 2, 2, velocities=[0, 0.01, 0])),
        "velocities: expected 0 at the last point, got 0.01 rad/s for elbow",
    ),
    "an end that is past": (trajectory(GOAL, start_s=NOW_S - 1.5), r"header.stamp: .* got one 0.500 s ago"),
    "times that do not increase": (
        trajectory(point(1, 0, 0, 0), point(1, 1, 1, 1)),
        "time_from_start: expected it to increase, got 1 s and 1 s at points 0 and 1",
    ),
    "too few positions": (trajectory(point(1, 2, 2)), "positions: expected 3, one per joint, got 2 at point 0"),
    "no positions": (
        trajectory(point(1, velocities=[0, 0, 0])),
        "positions: expected 3, one per joint, got 0 at point 0",
    ),
    "too few velocities": (
        trajectory(point(1, 2, 2, 2, velocities=[0])),
        "velocities: expected 3, .* got 1 at point 0",
    ),
    "too few accelerations": (
        trajectory(point(1, 2, 2, 2, accelerations=[0, 0])),
        "accelerations: expected 3, .* got 2 at point 0",
    ),
    "efforts": (trajectory(point(1, 2, 2, 2, effort=[0, 0, 0])), "effort: expected none, got 3 at point 0"),
}


@pytest.mark.parametrize("fault", REJECTED)
def test_rejects_with_the_reason_and_continues_what_ran(controller: JointTrajectoryController, fault: str) -> None:
    run(controller, trajectory(GOAL))
    bad, reason = REJECTED[fault]
    with pytest.raises(InputError, match=reason):
        controller.accept(bad, NOW_S)
    controller.update(NOW_S + 0.1, 0.0, START, STILL)
    np.testing.assert_allclose(at(controller, NOW_S + 0.5), (START + GOAL.positions) / 2)


ACCEPTED = {
    "any order of names": trajectory(GOAL, names=JOINTS[::-1]),
    "a point at once, which is a jump": trajectory(point(0, 2, 2, 2)),
    "positions that are not finite": trajectory(point(1, np.nan, 2, np.inf)),
    "a speed on the way": trajectory(point(1, 2, 2, 2, velocities=[1, 1, 1]), point(2, 3, 3, 3, velocities=[0, 0, 0])),
    "a speed at the end that float32 rounds to none": trajectory(point(1, 2, 2, 2, velocities=[1e-8, 0, 0])),
    "a start that is past with an end to come": trajectory(GOAL, start_s=NOW_S - 0.5),
    "a joint twice": trajectory(GOAL, names=("shoulder", "shoulder", "wrist")),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_accepts_what_the_real_one_accepts(controller: JointTrajectoryController, what: str) -> None:
    run(controller, ACCEPTED[what])
    assert at(controller, NOW_S + 0.3).shape == (3,)


def test_goes_straight_without_velocities_and_holds_the_last_point(controller: JointTrajectoryController) -> None:
    run(controller, trajectory(point(1, 2, 2, 2), point(3, 2, 4, 2)))
    np.testing.assert_allclose(at(controller, NOW_S), START)
    np.testing.assert_allclose(at(controller, NOW_S + 0.25), [1.25, 2, 2.75])
    np.testing.assert_allclose(at(controller, NOW_S + 2), [2, 3, 2])
    np.testing.assert_allclose(at(controller, NOW_S + 60), [2, 4, 2])


def test_starts_at_the_measured_velocity_when_the_message_has_velocities(controller: JointTrajectoryController) -> None:
    run(controller, trajectory(point(1, 1, 2, 3, velocities=[0, 0, 0])), velocities=np.array([0.8, 0, 0]))
    # The cubic from (1, speed 0.8) to (1, speed 0) in 1 s: 1 + 0.8 (u - 2u² + u³).
    np.testing.assert_allclose(at(controller, NOW_S + 0.5), [1.1, 2, 3])


def test_orders_by_name(controller: JointTrajectoryController) -> None:
    run(controller, trajectory(point(1, 30, 20, 10), names=JOINTS[::-1]))
    np.testing.assert_allclose(at(controller, NOW_S + 1), [10, 20, 30])


def test_newest_trajectory_replaces_the_running_one(controller: JointTrajectoryController) -> None:
    run(controller, trajectory(GOAL))
    half_way = at(controller, NOW_S + 0.5)
    controller.accept(trajectory(point(1, *START)), NOW_S + 0.5)
    controller.update(NOW_S + 0.5, 0.0, half_way, STILL)
    np.testing.assert_allclose(at(controller, NOW_S + 1), (half_way + START) / 2)


def test_stamp_says_when_it_starts(controller: JointTrajectoryController) -> None:
    run(controller, trajectory(point(1, 2, 2, 2), start_s=NOW_S + 1))
    np.testing.assert_allclose(at(controller, NOW_S + 1), [1.5, 2, 2.5])  # two seconds in all, from now
    np.testing.assert_allclose(at(controller, NOW_S + 2), [2, 2, 2])


def test_joints_that_are_not_named_stay() -> None:
    controller = JointTrajectoryController(JOINTS, START, allow_partial_joints_goal=True)
    run(controller, trajectory(point(1, 9.0), names=("elbow",)))
    np.testing.assert_allclose(at(controller, NOW_S + 1), [1, 9, 3])


def test_continuous_joints_go_the_short_way_round() -> None:
    controller = JointTrajectoryController(JOINTS, START, continuous=[True, False, False])
    target = START + np.array([2 * np.pi + 0.2, 0.2, 0.2])
    run(controller, trajectory(point(1, *target)))
    np.testing.assert_allclose(at(controller, NOW_S), START + np.array([2 * np.pi, 0, 0]))  # one turn on
    np.testing.assert_allclose(at(controller, NOW_S + 1), target)


DT_S = 0.01


def replacements(from_desired: bool, first_s: float) -> Array:
    """Return the commands (3,) rad around a replacement of a motion of 0.8 rad/s by itself, the arm 0.1 rad behind."""
    controller = JointTrajectoryController(("joint",), [0.0], interpolate_from_desired_state=from_desired)
    commands = []
    for k in range(20):
        now_s, here = NOW_S + k * DT_S, np.array([0.8 * (k * DT_S) - 0.1])
        if k % 10 == 0:
            done = 0.8 * k * DT_S
            way = trajectory(point(first_s, done + 0.8 * first_s), point(1.0, done + 0.8), names=("joint",))
            controller.accept(way, now_s)
        commands.append(controller.update(now_s, DT_S, here, np.zeros(1))[0])
    return np.array(commands[9:12])


def test_a_lagging_arm_is_set_back_at_a_replacement_by_default_as_the_real_one_is() -> None:
    before, after, _ = replacements(from_desired=False, first_s=0.2)
    assert after < before - 0.03


def test_from_the_desired_state_a_replacement_takes_a_double_step_as_the_real_one_does() -> None:
    steps = np.diff(replacements(from_desired=True, first_s=0.2))
    np.testing.assert_allclose(steps / (0.8 * DT_S), [2 * 0.2 / 0.21, 0.2 / 0.21], rtol=1e-6)


@pytest.mark.parametrize("from_desired", [True, False])
def test_with_a_first_point_within_an_update_the_start_does_not_matter(from_desired: bool) -> None:
    steps = np.diff(replacements(from_desired, first_s=0.001))
    np.testing.assert_allclose(steps, 0.8 * DT_S, rtol=1e-6)


def test_reset_drops_what_ran_and_what_was_to_come(controller: JointTrajectoryController) -> None:
    run(controller, trajectory(GOAL))
    controller.accept(trajectory(GOAL), NOW_S)
    controller.reset(STILL)
    controller.update(NOW_S + 1, 0.0, START, STILL)
    np.testing.assert_array_equal(at(controller, NOW_S + 2), STILL)


numbers = st.lists(st.floats(-3, 3), min_size=2, max_size=2)


@given(positions=numbers, velocities=numbers, accelerations=numbers, whole_s=st.floats(0.01, 50))
def test_polynomials_meet_both_ends(
    positions: list[float], velocities: list[float], accelerations: list[float], whole_s: float
) -> None:
    def ends(with_acceleration: bool) -> list[Point]:
        return [
            point(t, q, velocities=[v], **({"accelerations": [a]} if with_acceleration else {}))
            for t, q, v, a in zip((5.0, 5.0 + whole_s), positions, velocities, accelerations, strict=True)
        ]

    h = 1e-4 * whole_s
    scale = 1 + 3 * whole_s + 3 * whole_s**2  # of the polynomial's values
    for order in (3, 5):
        before, after = ends(order == 5)
        for end, side in ((before, 1), (after, -1)):
            q = [interpolate(before, after, end.time_from_start_s + side * k * h).positions[0] for k in range(3)]
            assert q[0] == pytest.approx(end.positions[0], abs=1e-9 * scale)
            speed = side * (-3 * q[0] + 4 * q[1] - q[2]) / (2 * h)
            assert speed == pytest.approx(end.velocities[0], abs=1e-5 * scale / whole_s)
            if order == 5:
                bend = (q[0] - 2 * q[1] + q[2]) / h**2
                assert bend == pytest.approx(end.accelerations[0], abs=6e-2 * scale / whole_s**2)
