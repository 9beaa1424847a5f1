from __future__ import annotations

import numpy as np

from taskgan_ros.robot.models import load_robot
from taskgan_ros.robot.silhouette import View, silhouette
from taskgan_ros.robot.surface import ArmSurface
from taskgan_ros.vision.camera import Camera
from taskgan_ros.vision.contour_fit import Estimate, Observation, Problem, moved, support

SIZE = (240, 320)
ROBOT = load_robot("mico")
SURFACE = ArmSurface(ROBOT.arm, ROBOT.drawable)
CAMERA = Camera(position=(0.9, -0.7, 0.8), target=(0.0, 0.0, 0.35), fov=0.8)
HOME = np.array(ROBOT.arm.home)
VIEW = View(CAMERA.pose(), CAMERA.matrix(*SIZE), *SIZE)


def test_a_bare_wall_is_no_edge_of_the_arm() -> None:
    rng = np.random.default_rng(0)
    wall = np.clip(150 + rng.normal(0, 1.5, (*SIZE, 3)), 0, 255)
    image = np.where(silhouette(SURFACE, HOME, VIEW)[..., None], 60, wall).astype(np.uint8)
    problem = Problem(SURFACE, [Observation(HOME, np.zeros(SIZE, np.float32), image)], VIEW)

    def share(change: tuple[float, ...]) -> float:
        view = View(moved(VIEW.pose, change), VIEW.matrix, *SIZE)
        return support(problem, Estimate(view, np.zeros(len(HOME)), np.eye(6), 0.0, 0.0))[0]

    assert share((0, 0, 0, 0, 0, 0)) > 0.9
    assert share((0, 0, 0.3, 0, 0, 0)) < 0.3
