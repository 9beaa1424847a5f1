"""Pictures for people: an arm in several poses, and a scene as its camera sees it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from taskgan_ros.core.files import whole
from taskgan_ros.robot.description import Mesh, Visual, root_in_base
from taskgan_ros.robot.models import Robot
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import Domain, load_domain
from taskgan_ros.tasks.scene import MotionScene
from taskgan_ros.tasks.state import CellState, Object
from taskgan_ros.vision.camera import Camera

Array = NDArray[np.float64]

_PX = 400  # a side of one picture
_FINER = 2  # drawn so much larger and averaged
_FOV = 0.6
_VIEW = (0.8, -0.6, 0.35)  # from in front, a little from its right and above


@dataclass(frozen=True)
class Exhibit:
    """A robot on a table and a camera: what `Cell` shows where there is no task."""

    robot: Robot
    camera: Camera
    table_height: float
    held_joints: dict[str, float] = field(default_factory=dict)
    objects: tuple[Object, ...] = ()


def write_scene_picture(path: Path, scene: MotionScene, domain: str = "target_wood") -> None:
    """Write what the scene's camera sees: starts on top, where the arm arrives below."""
    columns = []
    with Cell(scene, _smooth(load_domain(domain)), _PX) as cell:
        for k in range(4):
            episode, look = scene.sample_start(0, k), cell.sample_look(0, k)
            shown = episode.state, scene.finish(episode)
            columns.append(np.vstack([cell.render(state, look) for state in shown]))
    write_png(path, np.hstack(columns))


def draw_arm(robot: Robot, poses: Array) -> NDArray[np.uint8]:
    """Return pictures (H, W, 3) of the arm in `poses` (P, n), side by side: whole, on a table below all of it."""
    points = np.concatenate([_points(robot, q) for q in poses])
    lowest, highest = points.min(axis=0), points.max(axis=0)
    middle, radius = (lowest + highest) / 2, float(np.linalg.norm(highest - lowest)) / 2
    away = np.array(_VIEW) / np.linalg.norm(_VIEW)
    x, y, z = (middle + 0.9 * radius / np.sin(_FOV / 2) * away).tolist()
    look_x, look_y, look_z = middle.tolist()
    exhibit = Exhibit(robot, Camera(position=(x, y, z), target=(look_x, look_y, look_z), fov=_FOV), float(lowest[2]))
    plain = dataclasses.replace(load_domain("target_wood"), sensor=load_domain("source").sensor)
    with Cell(exhibit, _smooth(plain), _PX) as cell:
        look = dataclasses.replace(cell.sample_look(0, 0), ambient=0.45, headlight=0.25)
        return np.hstack([cell.render(CellState(q), look) for q in poses])


def _points(robot: Robot, q: Array) -> Array:
    """Return the corners (c, 3) m of everything that the robot is drawn with in the base's frame."""
    description, at = robot.drawable, robot.arm.positions(q)
    poses, root = description.poses(at), root_in_base(robot.arm, description, at)
    corners = [np.zeros((1, 3))]
    for link in description.links:
        for visual in link.visuals:
            own = visual.mesh.vertices if isinstance(visual.mesh, Mesh) else _corners(visual)
            pose = root @ poses[link.name] @ visual.pose
            corners.append(own @ pose[:3, :3].T + pose[:3, 3])
    return np.concatenate(corners)


def _corners(visual: Visual) -> Array:
    """Return the corners (8, 3) m of a primitive's box."""
    radius, half = visual.size[:2]
    size = (
        np.array([radius, radius, half + radius]) if visual.kind in ("cylinder", "capsule") else np.array(visual.size)
    )
    return size * (np.indices((2, 2, 2)).reshape(3, 8).T * 2 - 1)


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image (H, W, 3) whole."""
    with whole(path, "the picture") as file:
        Image.fromarray(image).save(file, format="PNG")


def _smooth(domain: Domain) -> Domain:
    """Return the domain with smooth edges."""
    return dataclasses.replace(domain, sensor=dataclasses.replace(domain.sensor, supersampling=_FINER))
