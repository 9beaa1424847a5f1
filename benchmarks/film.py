"""What benchmarks show to a camera: episodes' images, and the joint angles that each of them shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.policy.bundle import Bundle
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of

SEED = 7  # of neither training nor evaluation

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Film:
    """Images, each once, and the order in which a camera takes them.

    Attributes:
        images: (N, H, W, 3) uint8 RGB.
        joint_pos: (N, n) rad, all of the arm's joints.
        order: (T,) which image comes when; the last one's pose is the first one's.
    """

    images: NDArray[np.uint8]
    joint_pos: Array
    order: NDArray[np.intp]

    def save(self, path: Path, as_jpeg: bool = False) -> None:
        """Write what `camera.py` plays; JPEGs are compressed now, so that it costs nothing later."""
        files = [cv2.imencode(".jpg", image[..., ::-1])[1] if as_jpeg else image.ravel() for image in self.images]
        np.savez(
            path,
            data=np.concatenate(files),
            ends=np.cumsum([len(file) for file in files]),
            size=self.images.shape[1:3],
            is_jpeg=as_jpeg,
            joint_pos=self.joint_pos[self.order],
            order=self.order,
        )


def render(bundle: Bundle, size: tuple[int, int], episodes: int = 1, step_rad: float = 0.015) -> Film:
    """Return the expert's paths from the scene's ready pose to a cube and back, one after the other.

    A cell's field of view is vertical, so an image that is wider than high shows what a square one does, and more at
    its sides: cropped in the middle, as the node does, it is what the bundle was trained on.

    Args:
        bundle: whose scene and target domain it is.
        size: height and width in pixels.
        episodes: each has a cube and a look of its own.
        step_rad: the most that a joint moves between two images; it starts and stops smoothly.
    """
    scene = load_scene_of(ReachScene, bundle.scene_name)
    images: list[NDArray[np.uint8]] = []
    poses: list[Array] = []
    order: list[int] = []
    with Cell(scene, load_domain(bundle.card.target_domain), size) as cell:
        for index in range(episodes):
            episode, look = scene.sample_start(SEED, index), cell.sample_look(SEED, index)
            way = smooth_way(np.array(scene.ready), episode.solution, step_rad)
            there = list(range(len(images), len(images) + len(way)))
            order += there + there[-2::-1]
            images += [cell.render(episode.state.moved_to(pose), look, k * scene.step_s) for k, pose in enumerate(way)]
            poses += list(way)
    return Film(np.stack(images), np.array(poses), np.array(order))


def smooth_way(start: Array, end: Array, step_rad: float) -> Array:
    """Return poses (T, n) from `start` to `end` that are nowhere further than `step_rad` from one to the next."""
    count = 1 + int(np.ceil(np.pi / 2 * np.abs(end - start).max() / step_rad))  # the largest step is pi/2 of the mean
    shares = (1 - np.cos(np.linspace(0, np.pi, count + 1))) / 2
    return start + shares[:, None] * (end - start)
