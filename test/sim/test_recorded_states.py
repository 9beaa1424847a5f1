"""Where the target was, by the labels of a recording, and the plain render that follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("h5py")

from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.sim.recorded_states import draw_plain, recorded_states, with_joint_goals
from taskgan_ros.tasks.registry import load_scene

Collected = Callable[..., Path]


@pytest.mark.parametrize("task", ["joint_velocities", "joint_goals"])
def test_the_target_is_where_the_labels_end(task: str, collected: Collected, short_scene: Path) -> None:
    data, scene = load_dataset(collected("source", "--task", task, seed=5)), load_scene(short_scene)
    truth = [scene.demonstrate(5, k)[0][0].objects[0, :2] for k in range(3)]
    found = recorded_states(data, scene)
    for state, episode in zip(found, data.episode, strict=True):
        np.testing.assert_allclose(state.objects[0, :2], truth[episode], atol=0.005)


def test_recorded_frames_get_the_plain_render_that_a_simulation_has(collected: Collected, short_scene: Path) -> None:
    data = load_dataset(collected("target_a", "--paired", "source", seed=5))
    drawn = draw_plain(dataclasses.replace(data, paired=None), load_scene(short_scene), "source")
    assert drawn is not None
    assert data.paired is not None
    difference = np.abs(drawn.astype(int) - data.paired)
    assert difference.mean() < 1, "but for the cube's turn, which no label tells"


def test_velocities_that_arrive_tell_the_joint_goals(collected: Collected, short_scene: Path) -> None:
    found = with_joint_goals(load_dataset(collected("source", seed=5)), load_scene(short_scene))
    expected = load_dataset(collected("source", "--task", "joint_goals", seed=5))
    assert found.info == expected.info
    np.testing.assert_allclose(found.actions, expected.actions, atol=1e-4)


def test_a_recording_that_never_arrives_has_no_plain_render_and_no_goals(
    collected: Collected, short_scene: Path
) -> None:
    data = load_dataset(collected("source", seed=5))
    away = dataclasses.replace(data, actions=data.actions + 0.5)
    assert draw_plain(away, load_scene(short_scene), "source") is None
    with pytest.raises(InputError, match=r"determine each goal, got others in the episodes \[0, 1, 2\]"):
        with_joint_goals(away, load_scene(short_scene))
    assert all(len(state.objects) == 0 for state in recorded_states(away, load_scene(short_scene)))
