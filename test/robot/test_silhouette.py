from __future__ import annotations

# isort: off
import taskgan_ros.sim.cell  # noqa: F401  # first: it chooses how MuJoCo draws, which the import of that settles
import mujoco

# isort: on
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgan_ros.robot.models import Robot, load_robot
from taskgan_ros.robot.silhouette import View, contour, signed_distance, silhouette
from taskgan_ros.robot.surface import ArmSurface
from taskgan_ros.sim.arm_model import add_arm

HEIGHT, WIDTH, FOV = 240, 320, 0.9


def looking(eye: tuple[float, float, float], at: tuple[float, float, float]) -> View:
    forward = np.subtract(at, eye) / np.linalg.norm(np.subtract(at, eye))
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = np.column_stack([right, np.cross(forward, right), forward]), eye
    focal = HEIGHT / 2 / np.tan(FOV / 2)
    matrix = np.array([[focal, 0, WIDTH / 2 - 0.5], [0, focal, HEIGHT / 2 - 0.5], [0, 0, 1]])
    return View(pose, matrix, HEIGHT, WIDTH)


def drawn_by_mujoco(robot: Robot, joint_pos: np.ndarray, view: View) -> np.ndarray:
    spec = mujoco.MjSpec()
    spec.visual.global_.offheight, spec.visual.global_.offwidth = view.height, view.width
    spec.visual.quality.offsamples, spec.visual.map.znear, spec.stat.extent = 0, 0.02, 1.0
    arm = add_arm(spec, robot.arm, robot.drawable)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, (view.pose[:3, :3] * [1, -1, -1]).flatten())
    spec.worldbody.add_camera(name="camera", pos=view.pose[:3, 3], quat=quaternion, fovy=np.rad2deg(FOV))
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[[model.joint(name).qposadr[0] for name in arm.joints]] = arm.factors @ joint_pos + arm.offsets
    mujoco.mj_kinematics(model, data)
    mujoco.mj_camlight(model, data)
    with mujoco.Renderer(model, view.height, view.width) as renderer:
        renderer.enable_segmentation_rendering()
        renderer.update_scene(data, camera="camera")
        return renderer.render()[..., 0] >= 0


def shared(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


@pytest.mark.parametrize("name", ["mico", "ur5e"])
@pytest.mark.parametrize("eye", [(1.3, -0.7, 1.0), (0.2, 0.1, 1.4), (0.45, 0.3, 0.5)])  # the last: amid the arm
def test_silhouette_is_what_mujoco_draws(name: str, eye: tuple[float, float, float]) -> None:
    robot, view = load_robot(name), looking(eye, (0.1, 0.0, 0.3))
    joint_pos = robot.arm.home + np.random.default_rng(1).uniform(-0.7, 0.7, len(robot.arm.home))
    mask = silhouette(ArmSurface(robot.arm, robot.drawable), joint_pos, view)
    assert shared(mask, drawn_by_mujoco(robot, joint_pos, view)) >= 0.98


def test_an_arm_behind_the_camera_is_not_drawn() -> None:
    robot = load_robot("mico")
    view = looking((1.0, 0.0, 0.5), (2.0, 0.0, 0.5))
    surface = ArmSurface(robot.arm, robot.drawable)
    assert not silhouette(surface, robot.arm.home, view).any()
    assert len(contour(surface, robot.arm.home, view).points) == 0


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6), st.floats(-3, 3))
def test_contour_lies_on_the_silhouettes_border(turns: list[float], azimuth: float) -> None:
    robot = load_robot("mico")
    surface, joint_pos = ArmSurface(robot.arm, robot.drawable), np.add(robot.arm.home, turns)
    view = looking((1.2 * np.cos(azimuth), 1.2 * np.sin(azimuth), 0.8), (0.0, 0.0, 0.3))
    mask = silhouette(surface, joint_pos, view)
    line = contour(surface, joint_pos, view)
    pixels, depth = view.project(line.points)
    np.testing.assert_allclose(pixels, line.pixels, atol=1e-9)
    assert (depth > 0).all()
    distance = signed_distance(mask)
    columns, rows = np.rint(pixels).astype(int).T
    assert np.abs(distance[rows, columns]).mean() < 0.8
    border = np.argwhere(np.abs(distance) <= 0.5)[:, ::-1]
    border = border[((border > 1) & (border < [WIDTH - 2, HEIGHT - 2])).all(axis=1)]
    nearest = np.linalg.norm(border[:, None] - pixels, axis=2).min(axis=1)
    assert np.mean(nearest < 2) > 0.97  # the line is closed, but where a sliver is thinner than a pixel


def test_a_point_turns_with_its_link() -> None:
    robot = load_robot("mico")
    surface, view = ArmSurface(robot.arm, robot.drawable), looking((1.3, -0.7, 1.0), (0.0, 0.0, 0.3))
    line = contour(surface, robot.arm.home, view)
    turned = np.add(robot.arm.home, [0.01, 0, 0, 0, 0, 0])
    change = surface.poses(turned) @ np.linalg.inv(surface.poses(robot.arm.home))
    moved = np.einsum("kij,kj->ki", change[line.links, :3, :3], line.points) + change[line.links, :3, 3]
    on_base = line.links == surface.link_names.index("base")
    assert on_base.any()
    np.testing.assert_allclose(moved[on_base], line.points[on_base], atol=1e-9)
    assert np.linalg.norm(moved[~on_base] - line.points[~on_base], axis=1).max() > 1e-3


def test_a_scaled_camera_sees_the_same() -> None:
    view = looking((1.3, -0.7, 1.0), (0.0, 0.0, 0.3))
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (9, 3))
    np.testing.assert_allclose(
        (view.project(points)[0] + 0.5) / 2, view.scaled(0.5).project(points)[0] + 0.5, atol=1e-9
    )
