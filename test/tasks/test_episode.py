from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.kinematics import joint_frames, tip_position
from taskgan_ros.tasks.poses import PoseScene
from taskgan_ros.tasks.reach import ReachEpisode, ReachScene
from taskgan_ros.tasks.registry import load_scene, load_scene_of

YamlFile = Callable[..., Path]


SCENE = load_scene_of(ReachScene, "reach")


def episodes(scene: ReachScene, count: int, seed: int = 0) -> list[ReachEpisode]:
    return [scene.sample_training_start(seed, index) for index in range(count)]


def starts(sampled: list[ReachEpisode]) -> np.ndarray:
    return np.array([episode.state.joint_pos for episode in sampled])


def test_the_solution_puts_the_tip_on_the_goal_within_the_limits() -> None:
    for episode in episodes(SCENE, 60):
        goal = SCENE.goal(episode.state.objects[0, :2])
        np.testing.assert_allclose(tip_position(SCENE.arm, episode.solution), goal, atol=1e-4)
        assert SCENE.distance(episode.state.moved_to(episode.solution)) < 1e-4
        assert (episode.solution >= SCENE.arm.lower).all()
        assert (episode.solution <= SCENE.arm.upper).all()
        parked = np.setdiff1d(np.arange(6), SCENE.driven)
        np.testing.assert_array_equal(episode.solution[parked], np.array(SCENE.ready)[parked])


def test_the_goal_is_above_the_cube() -> None:
    # cube's half edge 0.03 m, hover 0.05 m
    np.testing.assert_allclose(SCENE.goal(np.array([0.1, -0.3])), [0.1, -0.3, 0.08])


def test_one_goal_has_one_solution_and_near_goals_have_near_ones() -> None:
    # An image must not have two right answers: no jump between elbow up and elbow down anywhere in the cube's ring.
    for episode in episodes(SCENE, 40):
        goal = SCENE.goal(episode.state.objects[0, :2])
        for nudge in 2e-3 * np.eye(3)[:2]:
            solution = SCENE.solve(goal + nudge)
            assert solution is not None
            assert abs(solution - episode.solution).max() < 0.03


def test_a_goal_out_of_reach_has_no_solution() -> None:
    assert SCENE.solve(np.array([0.0, -1.5, 0.1])) is None
    assert SCENE.solve(np.array([0.0, -0.35, -0.2])) is None  # under the table


def test_the_same_seed_gives_the_same_episode_and_another_one_another() -> None:
    first, again, other_index, other_seed = (
        SCENE.sample_training_start(*key) for key in ((3, 7), (3, 7), (3, 8), (4, 7))
    )
    for name in ("joint_pos", "objects"):
        value = getattr(first.state, name)
        np.testing.assert_array_equal(getattr(again.state, name), value)
        for other in (other_index, other_seed):
            assert np.any(getattr(other.state, name) != value)


@pytest.mark.parametrize("sample", ["sample_training_start", "sample_start"])
def test_every_start_is_free_and_every_cube_in_its_ring(sample: str) -> None:
    for index in range(60):
        state = getattr(SCENE, sample)(1, index).state
        assert (state.joint_pos >= SCENE.arm.lower).all()
        assert (state.joint_pos <= SCENE.arm.upper).all()
        assert joint_frames(SCENE.arm, state.joint_pos)[1:, 2, 3].min() >= SCENE.start.clearance
        radius, azimuth = np.hypot(*state.objects[0, :2]), np.arctan2(*state.objects[0, 1::-1])
        assert SCENE.target.radius[0] <= radius <= SCENE.target.radius[1]
        assert SCENE.target.azimuth[0] <= azimuth <= SCENE.target.azimuth[1]


def test_a_third_of_the_training_starts_is_scattered_around_the_goal(yaml_file: YamlFile) -> None:
    never = load_scene_of(ReachScene, yaml_file("scenes", "reach", {"scattered_starts.share": 0.0}))
    scattered = (starts(episodes(SCENE, 240)) != starts(episodes(never, 240))).any(axis=1)
    assert 0.25 < scattered.mean() < 0.42


def test_scattered_starts_lie_on_every_side_of_the_goal(yaml_file: YamlFile) -> None:
    # Else the policy never sees how to come back once it is past the goal, and drifts away after arriving.
    always = load_scene_of(ReachScene, yaml_file("scenes", "reach", {"scattered_starts.share": 1.0}))
    near = episodes(always, 120)
    offsets = (starts(near) - [episode.solution for episode in near])[:, SCENE.driven]
    assert (offsets.std(axis=0) > 0.15).all()  # 0.25 less what would go through the table
    assert (offsets.std(axis=0) < 0.3).all()
    heights = tip_position(SCENE.arm, starts(near))[:, 2] - (0.03 + 0.05)
    assert (np.abs((offsets > 0).mean(axis=0) - 0.5) < 0.25).all()
    assert (heights < -0.005).any()
    distances = [SCENE.distance(episode.state) for episode in near]
    assert np.median(distances) < 0.2


def test_no_start_of_an_evaluation_is_scattered() -> None:
    begin = np.array([SCENE.distance(SCENE.sample_start(1000, k).state) for k in range(100)])
    for k in range(100):
        x, y, z = tip_position(SCENE.arm, SCENE.sample_start(1000, k).state.joint_pos)
        assert SCENE.start.radius[0] <= np.hypot(x, y) <= SCENE.start.radius[1]
        assert SCENE.start.height[0] <= z <= SCENE.start.height[1]
    assert (begin < SCENE.threshold_m).mean() < 0.1


def turned_scene(yaml_file: YamlFile, angle: float, counted: float = 0.0) -> ReachScene:
    """Return the shipped scene turned about the base, its azimuths counted from another zero."""
    azimuths = {part: np.array(getattr(SCENE, part).azimuth) + angle + counted for part in ("target", "start")}
    ready = [SCENE.ready[0] - angle, *SCENE.ready[1:]]  # the first axis points down
    fields = {f"{part}.azimuth": azimuth.tolist() for part, azimuth in azimuths.items()}
    return load_scene_of(ReachScene, yaml_file("scenes", "reach", {"ready": ready, **fields}))


@pytest.mark.parametrize("counted", [-2 * np.pi, 0.0, 2 * np.pi])
@pytest.mark.parametrize("angle", [-np.pi / 2, np.pi])
def test_a_turned_scene_has_the_same_episodes_turned(yaml_file: YamlFile, angle: float, counted: float) -> None:
    scene = turned_scene(yaml_file, angle, counted)
    for index in range(20):
        usual, turned = SCENE.sample_start(1, index), scene.sample_start(1, index)
        difference = turned.state.joint_pos - usual.state.joint_pos
        np.testing.assert_allclose(difference, [-angle, 0, 0, 0, 0, 0], atol=1e-9)


@pytest.mark.parametrize("ring", [[0.0, 6.2832], [-3.1416, 3.1416], [-6.3, 6.3]])
def test_a_whole_ring_holds_every_start(yaml_file: YamlFile, ring: list[float]) -> None:
    scene = load_scene_of(ReachScene, yaml_file("scenes", "reach", {"start.azimuth": ring}))
    tips = [tip_position(SCENE.arm, scene.sample_start(1, index).state.joint_pos) for index in range(60)]
    azimuths = [np.arctan2(y, x) for x, y, _ in tips]
    assert min(azimuths) < SCENE.start.azimuth[0] or max(azimuths) > SCENE.start.azimuth[1]


def test_a_scene_without_a_free_start_is_refused(yaml_file: YamlFile) -> None:
    high = load_scene_of(ReachScene, yaml_file("scenes", "reach", {"start.height": [3.0, 4.0]}))
    with pytest.raises(InputError, match=r"scene: expected a free start within Start\(.*, got none in 2000 draws"):
        high.sample_start(0, 0)


def pose_scene(name_or_path: str | Path = "poses") -> PoseScene:
    scene = load_scene(name_or_path)
    assert isinstance(scene, PoseScene)
    return scene


def poses(scene: PoseScene, count: int, seed: int = 0) -> np.ndarray:
    return np.array([state.joint_pos for index in range(count) for state, _ in scene.demonstrate(seed, index)])


def test_poses_may_have_to_be_in_the_picture(yaml_file: Callable[..., Path]) -> None:
    scene = pose_scene(yaml_file("scenes", "poses", {"poses.nearest_m": 1.2, "camera.fov": 0.4}))
    tips = np.array([tip_position(scene.arm, q) for q in poses(scene, 40)])
    seen = np.column_stack([tips, np.ones(len(tips))]) @ np.linalg.inv(scene.camera.pose()).T
    assert seen[:, 2].min() >= 1.2
    assert np.abs(seen[:, :2] / seen[:, 2:3]).max() <= np.tan(0.2)
    assert len(np.unique(seen[:, 0])) > 30


def test_poses_fill_their_spread_and_keep_off_the_table_and_within_the_limits() -> None:
    scene = pose_scene()
    drawn = poses(scene, 40)
    assert drawn.shape == (40 * 16, 6)
    offsets = drawn - np.array(scene.ready)
    assert (abs(offsets) <= scene.spread).all()
    assert (abs(offsets).max(axis=0) > 0.97 * scene.spread).all()  # the free sixth joint takes any angle
    assert ((drawn >= scene.arm.lower) & (drawn <= scene.arm.upper)).all()
    assert joint_frames(scene.arm, drawn)[1:, ..., 2, 3].min() >= scene.poses.clearance
    correlations = np.corrcoef(np.diff(drawn, axis=0).T[:5]) - np.eye(5)
    assert abs(correlations).max() < 0.15  # each joint is drawn by itself


def test_the_same_seed_gives_the_same_poses_and_another_others() -> None:
    scene = pose_scene()
    first = poses(scene, 2, seed=3)
    np.testing.assert_array_equal(poses(scene, 2, seed=3), first)
    assert len(np.unique(np.vstack([first, poses(scene, 2, seed=4)]), axis=0)) == 4 * 16


def test_a_joint_that_is_neither_driven_nor_free_stays_at_ready(yaml_file: YamlFile) -> None:
    scene = pose_scene(yaml_file("scenes", "poses", {"poses.free": {}}))
    assert set(poses(scene, 1)[:, 5]) == {scene.ready[5]}


def test_a_scene_without_a_free_pose_is_refused(yaml_file: YamlFile) -> None:
    high = pose_scene(yaml_file("scenes", "poses", {"poses.clearance": 2.0}))
    with pytest.raises(InputError, match=r"scene: expected a free pose within Poses\(.*, got none in 2000 draws"):
        high.demonstrate(0, 0)
