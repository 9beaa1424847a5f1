from __future__ import annotations

import numpy as np
import pytest

from taskgan_ros.robot.models import load_robot
from taskgan_ros.robot.silhouette import View, silhouette
from taskgan_ros.robot.surface import ArmSurface
from taskgan_ros.vision.camera import Camera
from taskgan_ros.vision.contour_fit import Observation, Problem, change_between, moved, refine
from taskgan_ros.vision.moved_camera import camera_motion

SIZE = (120, 160)
ROBOT = load_robot("mico")
SURFACE = ArmSurface(ROBOT.arm, ROBOT.drawable)
CAMERA = Camera(position=(0.9, -0.7, 0.8), target=(0.0, 0.0, 0.35), fov=0.8)
VIEW = View(CAMERA.pose(), CAMERA.matrix(*SIZE), *SIZE)
POSES = ROBOT.arm.home + np.random.default_rng(4).uniform(-0.6, 0.6, (4, 6))


def pictures(view: View = VIEW) -> list[np.ndarray]:
    """Draw an arm of one colour before a wall with a pattern."""
    rng = np.random.default_rng(0)
    wall = np.repeat(np.repeat(rng.integers(60, 120, (12, 16, 3)), 10, axis=0), 10, axis=1)
    masks = [silhouette(SURFACE, q, view)[..., None] for q in POSES]
    return [np.where(mask, 210, wall).astype(np.uint8) for mask in masks]


def test_a_camera_that_stands_right_has_not_moved() -> None:
    found = camera_motion(SURFACE, VIEW, pictures(), POSES)
    assert found.is_certain
    assert found.distance_m < 0.015
    assert found.angle_rad < np.deg2rad(0.8)
    assert found.pixels < 0.5


@pytest.mark.parametrize(
    "change", [(0.04, 0, 0, 0, 0, 0), (0, -0.03, 0.02, 0, 0, 0), (0, 0, 0, 0.05, 0, 0), (0, 0, 0, 0, 0.03, -0.03)]
)
def test_a_camera_that_has_moved_is_found_where_it_is(change: tuple[float, ...]) -> None:
    here = View(moved(VIEW.pose, change), VIEW.matrix, *SIZE)
    found = camera_motion(SURFACE, VIEW, pictures(here), POSES)
    assert found.is_certain
    assert found.pixels > 1
    np.testing.assert_allclose(found.shift_m, change[:3], atol=0.012)
    np.testing.assert_allclose(found.turn_rad, change[3:], atol=0.012)
    error = np.concatenate([found.shift_m, found.turn_rad]) - change
    assert (np.abs(error) < 4 * np.sqrt(np.diag(found.covariance))).all()


def test_pictures_without_the_arm_are_not_certain() -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in POSES]
    assert not camera_motion(SURFACE, VIEW, noise, POSES).is_certain


def test_an_arm_that_is_out_of_the_picture_says_nothing() -> None:
    away = Camera(position=(0.9, -0.7, 0.8), target=(2.0, -2.0, 0.8), fov=0.8)
    found = camera_motion(SURFACE, View(away.pose(), VIEW.matrix, *SIZE), pictures()[:1], POSES[:1])
    assert not found.is_certain
    assert np.isfinite(found.shift_m).all()


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="120x160"):
        camera_motion(SURFACE, VIEW, [np.zeros((64, 64, 3), np.uint8)], POSES[:1])


def test_zeros_and_focal_length_are_found_with_the_camera() -> None:
    zeros, focal = np.array([0, 0.02, -0.02, 0, 0, 0]), 1.04
    matrix = VIEW.matrix * [[focal, 1, 1], [1, focal, 1], [1, 1, 1]]
    here = View(moved(VIEW.pose, [0.01, 0, 0, 0, 0.01, 0]), matrix, *SIZE)
    shots = [Observation(q, np.where(silhouette(SURFACE, q + zeros, here), 3, -3).astype(np.float32)) for q in POSES]
    problem = Problem(SURFACE, shots, VIEW, fits_zeros=True, fits_focal=True)
    found = refine(problem, reach_px=(8, 8, 4, 4, 3, 3, 3, 3))
    assert found.residual_px < 0.4
    assert np.linalg.norm(change_between(here.pose, found.view.pose)[:3]) < 0.05
    assert abs(found.view.matrix[0, 0] / matrix[0, 0] - 1) < 0.02
    np.testing.assert_allclose(found.zeros[1:3], zeros[1:3], atol=0.012)
