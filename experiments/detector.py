"""A rival of the study `adaptation`: a network reads where the target lies, and the task's own expert drives there.

The arm's pose comes from the encoders, so that the image has only two numbers to give.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from experiments.models import Policy
from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import Dataset
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.state import CellState

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]

PLACE, AXES = "target_place", ("x", "y")  # the task of such a network and its outputs, in place of joint velocities


def middle(scene: ReachScene) -> Array:
    """Return the middle (2,) in m of where targets may lie; labels count from it, so that they are small."""
    return _from_polar(scene, np.mean(scene.target.radius), np.mean(scene.target.azimuth))


def with_places(dataset: Dataset, scene: ReachScene) -> Dataset:
    """Return a dataset of reaching whose labels (N, 2) in m are where the target lies, from `middle`.

    An episode's target lies where its labels say that the tip arrives: for the expert's episodes within 0.01 mm.

    Raises:
        InputError: labels of another task, or an episode in which the tip never arrives.
    """
    info = dataset.info
    if info.task != "joint_velocities":
        raise InputError(f"{info.domain}: expected labels of joint_velocities to find targets by, got {info.task}")
    places = np.empty((len(dataset), 2), np.float32)
    for episode in np.unique(dataset.episode):
        rows = dataset.episode == episode
        place = scene.recorded_target(dataset.joint_pos[rows].astype(np.float64), dataset.actions[rows])
        if place is None:
            raise InputError(f"{info.domain}: expected episodes that arrive, got {episode}, which does not")
        places[rows] = place - middle(scene)
    info = dataclasses.replace(info, task=PLACE, units="m", action_names=AXES)
    return dataclasses.replace(dataset, info=info, actions=places)


class DetectorPolicy:
    """The expert, which drives to the median of where the target was seen since the episodes began: it never moves."""

    def __init__(self, detector: Policy, scene: ReachScene) -> None:
        """Take a network of targets' places; for one batch of episodes."""
        self._detector, self._scene = detector, scene
        self._seen: list[Array] = []

    def act(self, images: Pixels, joint_pos: Array) -> Array:
        """Return velocities (E, J) in rad/s at the next step's images (E, H, W, 3) and joint angles (E, n) rad."""
        self._seen.append(nearest_places(self._scene, self._detector.act(images) + middle(self._scene)))
        places = np.median(self._seen, axis=0)
        return np.stack([self._drive(q, place) for q, place in zip(joint_pos, places, strict=True)])

    def _drive(self, joint_pos: Array, place: Array) -> Array:
        """Return the expert's velocities (J,); none where the arm cannot get there."""
        solution = self._scene.solve(self._scene.goal(place))
        if solution is None:
            return np.zeros(len(self._scene.driven))
        return self._scene.velocities(CellState(joint_pos, np.array([[*place, 0.0]])), solution)


def nearest_places(scene: ReachScene, places: Array) -> Array:
    """Return places (E, 2) in m, those where no target may lie moved to the edge of where one may."""
    across, along = (places - scene.center).T
    target, start = scene.target, np.mean(scene.target.azimuth)
    turn = (np.arctan2(along, across) - start + np.pi) % (2 * np.pi) - np.pi
    azimuth = np.clip(start + turn, *target.azimuth)
    return _from_polar(scene, np.clip(np.hypot(across, along), *target.radius), azimuth)


def _from_polar(scene: ReachScene, radius: Array | np.floating, azimuth: Array | np.floating) -> Array:
    """Return places (…, 2) in m."""
    offset = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=-1) * np.expand_dims(radius, -1)
    return np.asarray(scene.center + offset)
