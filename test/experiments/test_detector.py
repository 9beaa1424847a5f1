from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from experiments.detector import DetectorPolicy, middle, nearest_places, with_places
from experiments.models import Policy
from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of

EDGES = [(0.28, -0.85), (0.44, -2.3)]  # of the shipped scene's ring: radius in m and azimuth in rad


@pytest.fixture(scope="module")
def scene() -> ReachScene:
    return load_scene_of(ReachScene, "reach")


def at(radius: float, azimuth: float) -> list[float]:
    return [radius * np.cos(azimuth), radius * np.sin(azimuth)]


def detector(*seen: list[list[float]]) -> Policy:
    """Return a network that sees these places, from the ring's middle, one batch after the other."""
    batches = iter(seen)
    return cast(Policy, types.SimpleNamespace(act=lambda images: np.array(next(batches))))


def test_targets_are_found_where_they_were_drawn(collected: Callable[..., Path], scene: ReachScene) -> None:
    dataset = load_dataset(collected("source", episodes=3, seed=7))
    found = with_places(dataset, scene)
    expected = [scene.sample_training_start(7, episode).state.objects[0, :2] for episode in dataset.episode]
    assert np.abs(found.actions + middle(scene) - expected).max() < 2e-5  # inverse kinematics ends within 1e-5 m
    assert (found.info.task, found.info.action_names) == ("target_place", ("x", "y"))


def test_labels_of_angles_find_no_target(angles_target: Path, scene: ReachScene) -> None:
    with pytest.raises(InputError, match="expected labels of joint_velocities to find targets by, got joint_angles"):
        with_places(load_dataset(angles_target), scene)


@pytest.mark.parametrize(("radius", "azimuth"), EDGES)
def test_a_place_outside_the_ring_moves_to_its_edge(scene: ReachScene, radius: float, azimuth: float) -> None:
    beyond = 1.5 * radius if radius > 0.4 else 0.5 * radius
    further = azimuth + (0.3 if azimuth > -1 else -0.3)
    places = np.array([at(beyond, azimuth), at(radius, further), at(0.36, -1.5), at(0.36, 1.4)])
    found = nearest_places(scene, places)
    assert found[:3] == pytest.approx(np.array([at(radius, azimuth)] * 2 + [at(0.36, -1.5)]))
    assert np.arctan2(*found[3, ::-1]) == pytest.approx(-0.85)  # from behind, to the nearer end


def test_the_expert_drives_to_the_median_of_what_was_seen(scene: ReachScene) -> None:
    offset, wrong = [0.02, -0.03], [0.05, 0.05]
    policy = DetectorPolicy(detector([offset], [wrong], [offset]), scene)
    q = np.array([scene.ready])
    images: Any = None
    first, _, third = (policy.act(images, q) for _ in range(3))
    expected = scene.recorded_velocities(q[0], middle(scene) + offset)
    assert first == pytest.approx(expected[None])
    assert third == pytest.approx(expected[None])
