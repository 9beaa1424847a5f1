from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from taskgan_ros.control.limits import integrate
from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.labels import demonstration_labels
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of
from taskgan_ros.tasks.state import CellState

SCENE = load_scene_of(ReachScene, "reach")
FAR = [SCENE.sample_start(0, index) for index in range(10)]  # from the goal
EPISODES = [SCENE.sample_training_start(0, index) for index in range(30)]


def test_the_path_runs_evenly_from_the_start_to_the_goal() -> None:
    for episode in EPISODES:
        path = np.array([state.joint_pos for state in SCENE.path(episode)])
        assert len(path) == 16
        np.testing.assert_array_equal(path[0], episode.state.joint_pos)
        np.testing.assert_allclose(path[-1], episode.solution, atol=1e-12)
        np.testing.assert_allclose(np.diff(path, axis=0), np.tile(path[1] - path[0], (15, 1)), atol=1e-12)


def test_the_path_ends_at_rest() -> None:
    # The first trap: without the end among its images, a policy arrives and drifts away again.
    for episode in EPISODES:
        *before, last = SCENE.path(episode)
        assert SCENE.distance(last) < 1e-4
        assert abs(SCENE.velocities(last, episode.solution)).max() < 1e-3
        assert abs(SCENE.velocities(before[-1], episode.solution)).max() > 1e-3
        np.testing.assert_array_equal(SCENE.velocities(last.moved_to(episode.solution), episode.solution), np.zeros(3))


def test_a_recorded_label_is_the_collected_one_and_a_cube_out_of_reach_is_refused() -> None:
    episode = SCENE.sample_training_start(0, 3)
    label = SCENE.recorded_velocities(episode.state.joint_pos, episode.state.objects[0, :2])
    np.testing.assert_allclose(label, SCENE.velocities(episode.state, episode.solution))
    turned = episode.state.joint_pos - 2 * np.pi * np.array([1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(SCENE.recorded_velocities(turned, episode.state.objects[0, :2]), label)
    elsewhere = episode.state.joint_pos + np.array([0, 0, 0, 0, 0.5, 0])
    with pytest.raises(InputError, match=r"expected \['m1n6s200_joint_4', .*\] at \[3.1416, 5.65, 3.1416\] rad"):
        SCENE.recorded_velocities(elsewhere, episode.state.objects[0, :2])
    with pytest.raises(InputError, match=r"expected a cube that the arm can reach, got one at \[2.0, 0.0\] m"):
        SCENE.recorded_velocities(episode.state.joint_pos, np.array([2.0, 0.0]))


def test_a_velocity_label_is_the_way_to_the_solution_with_the_distance_as_its_l1_norm() -> None:
    for episode in EPISODES:
        for state in SCENE.path(episode)[:-1]:
            label = SCENE.velocities(state, episode.solution)
            distance = SCENE.distance(state)
            np.testing.assert_allclose(np.abs(label).sum(), SCENE.approach_gain * distance, rtol=1e-9)
            way = (episode.solution - state.joint_pos)[SCENE.driven]
            np.testing.assert_allclose(label / np.linalg.norm(label), way / np.linalg.norm(way), atol=1e-9)


def test_one_label_towards_a_goal_tells_where_it_is() -> None:
    for episode in EPISODES[:10]:
        place = episode.state.objects[0, :2]
        for state in SCENE.path(episode)[:-1:4]:
            label = SCENE.velocities(state, episode.solution)
            found = SCENE.recorded_targets(state.joint_pos[None], label[None])
            assert found == pytest.approx(place[None], abs=1e-4)
            sagging = state.joint_pos + np.array([0, 0, 0, 0.05, -0.05, 0])  # which are not driven
            label = SCENE.recorded_velocities(sagging, place)
            assert SCENE.recorded_targets(sagging[None], label[None]) == pytest.approx(place[None], abs=1e-4)
        assert SCENE.place_of(episode.solution[SCENE.driven]) == pytest.approx(place, abs=1e-4)


def test_goals_that_change_within_an_episode_are_told_image_by_image() -> None:
    states = [(state, episode) for episode in EPISODES[:4] for state in SCENE.path(episode)[::5]]
    q = np.array([state.joint_pos for state, _ in states])
    labels = np.array([SCENE.velocities(state, episode.solution) for state, episode in states])
    places = np.array([episode.state.objects[0, :2] for _, episode in states])
    assert SCENE.recorded_targets(q, labels) == pytest.approx(places, abs=1e-4)


def test_a_demonstration_tells_its_goal_only_where_it_ends_at_one() -> None:
    for episode in FAR:
        q = np.array([state.joint_pos for state in SCENE.path(episode)])
        q[1:-1, 0] += 0.3 * np.sin(np.linspace(0, np.pi, 14))  # by a way of its own
        found = SCENE.recorded_targets(q, demonstration_labels(SCENE, q))
        assert found == pytest.approx(np.tile(episode.state.objects[0, :2], (16, 1)), abs=1e-3)
        assert SCENE.recorded_targets(q[:10], demonstration_labels(SCENE, q[:10])) is None  # in the air


def test_labels_that_lead_elsewhere_tell_no_goal() -> None:
    for episode in FAR:
        q = np.array([state.joint_pos for state in SCENE.path(episode)[:8]])
        labels = np.array([SCENE.velocities(state, episode.solution) for state in SCENE.path(episode)[:8]])
        assert SCENE.recorded_targets(q, labels[:, [1, 2, 0]]) is None
        assert SCENE.recorded_targets(q, labels * 1.3) is None  # past it


def test_a_continuous_joint_takes_the_short_way_round() -> None:
    episode = EPISODES[0]
    turn = 2 * np.pi * np.array([1, 0, 0, 0, 0, 0])
    usual = np.array([state.joint_pos for state in SCENE.path(episode)])
    for turned in (episode.state.joint_pos + turn, episode.state.joint_pos - turn):
        elsewhere = dataclasses.replace(episode, state=episode.state.moved_to(turned))
        path = np.array([state.joint_pos for state in SCENE.path(elsewhere)])
        np.testing.assert_allclose(np.diff(path, axis=0), np.diff(usual, axis=0), atol=1e-12)
        label = SCENE.velocities(elsewhere.state, episode.solution)
        np.testing.assert_allclose(label, SCENE.velocities(episode.state, episode.solution), atol=1e-12)


def test_an_angle_label_is_the_configuration_of_the_driven_joints() -> None:
    state = CellState(np.arange(6.0))
    np.testing.assert_array_equal(SCENE.angles(state), [0.0, 1.0, 2.0])


def test_the_expert_reaches_the_cube_in_100_of_100_episodes() -> None:
    driven, arm = SCENE.driven, SCENE.arm
    limits = arm.lower[driven], arm.upper[driven], arm.max_velocity[driven]
    final = []
    for index in range(100):
        episode = SCENE.sample_start(1000, index)
        state = episode.state
        for _ in range(SCENE.steps):
            label = SCENE.velocities(state, episode.solution)
            joint_pos = state.joint_pos.copy()
            joint_pos[driven] = integrate(joint_pos[driven], label, SCENE.step_s, *limits)
            state = state.moved_to(joint_pos)
        final.append(SCENE.distance(state))
    assert (np.array(final) < SCENE.threshold_m).sum() == 100
    assert np.mean(final) < 0.01  # arrived, not passing by
