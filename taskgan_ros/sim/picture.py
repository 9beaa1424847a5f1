"""Pictures for people: an arm in several poses, and a scene as its camera sees it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from taskgan_ros.core.files import whole
from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.kinematics import joint_frames
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.episode import CellState, sample_test_episode
from taskgan_ros.tasks.scene import Camera, Scene, Stage

Array = NDArray[np.float64]

_PX = 400  # a side of one picture
_FINER = 2  # drawn so much larger and averaged: smooth edges
_FOV = 0.6


def write_scene_picture(path: Path, scene: Scene, domain: str = "target_wood") -> None:
    """Write what the scene's camera sees: starts on top, where the arm arrives below."""
    columns = []
    with Cell(scene, load_domain(domain), _PX * _FINER) as cell:
        for k in range(4):
            episode, look = sample_test_episode(scene, 0, k), cell.sample_look(0, k)
            arrived = episode.state.moved_to(episode.solution)
            columns.append(np.vstack([_smooth(cell.render(state, look)) for state in (episode.state, arrived)]))
    write_png(path, np.hstack(columns))


def draw_arm(arm_name: str, arm: Arm, poses: Array, table_height: float) -> NDArray[np.uint8]:
    """Return pictures (H, W, 3) of the arm in `poses` (P, n), side by side, whole and from in front."""
    points = np.concatenate([joint_frames(arm, q)[:, :3, 3] for q in poses] + [np.zeros((1, 3))])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = max(float(np.linalg.norm(points - middle, axis=1).max()), 0.1) + 0.12
    away = np.array([0.8, -0.5, 0.4]) / np.linalg.norm([0.8, -0.5, 0.4])
    position = middle + radius / np.sin(_FOV / 2) * away
    camera = Camera(position=tuple(position.tolist()), target=tuple(middle.tolist()), fov=_FOV)
    stage = Stage(  # type: ignore[call-arg]
        arm=arm_name,
        driven_joints=arm.joint_names,
        ready=arm.home,
        step_s=0.1,
        camera=camera,
        table_height=table_height,
    )
    domain = load_domain("target_wood")
    plain = dataclasses.replace(domain, sensor=load_domain("source").sensor)
    with Cell(stage, plain, _PX * _FINER) as cell:
        look = cell.sample_look(0, 0)
        return np.hstack([_smooth(cell.render(CellState(q), look)) for q in poses])


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image (H, W, 3) whole."""
    with whole(path, "the picture") as file:
        Image.fromarray(image).save(file, format="PNG")


def _smooth(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small = cv2.resize(image, None, fx=1 / _FINER, fy=1 / _FINER, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)
