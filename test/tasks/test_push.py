from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.tasks.push import PushScene
from taskgan_ros.tasks.registry import load_scene, load_scene_of
from taskgan_ros.tasks.state import CellState

SCENE = load_scene_of(PushScene, "push")


def test_the_expert_pushes_the_puck_onto_the_mark() -> None:
    before, after = [], []
    for index in range(40):
        episode = SCENE.sample_start(1000, index)
        before.append(SCENE.distance(episode.state))
        after.append(SCENE.distance(SCENE.finish(episode)))
    assert min(before) > SCENE.threshold_m
    assert np.mean(np.array(after) < SCENE.threshold_m) >= 0.95
    assert np.mean(after) < 0.015


def test_no_label_is_faster_than_the_arm() -> None:
    for index in range(10):
        for state, velocities in SCENE.demonstrate(0, index):
            assert velocities is not None
            assert np.all(np.abs(velocities) <= SCENE.arm.max_velocity[SCENE.driven] + 1e-9)
            assert SCENE.is_free(state.joint_pos, 0.0)


def test_the_puck_makes_way_and_is_not_pulled() -> None:
    q = SCENE.sample_start(0, 0).state.joint_pos
    low = SCENE.table_height + SCENE.push_height
    tip = tip_position(SCENE.arm, q)
    beside = np.array([[tip[0] + 0.5, tip[1], 0.0], [0.0, -0.4, 0.0]])
    moved = q + 0.05 * np.eye(6)[0]
    np.testing.assert_array_equal(SCENE.move(CellState(q, beside), moved).objects, beside)
    assert low > 0


def test_the_same_seed_gives_the_same_episode() -> None:
    for (one, first), (other, second) in zip(SCENE.demonstrate(3, 1), SCENE.demonstrate(3, 1), strict=True):
        np.testing.assert_array_equal(one.objects, other.objects)
        np.testing.assert_array_equal(first, second)


def test_a_task_that_is_not_there_is_refused(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "config" / "scenes" / "push.yaml").read_text()
    (tmp_path / "dance.yaml").write_text(text.replace("task: push", "task: dance"))
    with pytest.raises(InputError, match=r"task: expected one of \['reach', 'poses', 'push'.*\], got 'dance'"):
        load_scene(tmp_path / "dance.yaml")
