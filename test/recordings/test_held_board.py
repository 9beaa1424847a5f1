from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from taskgan_ros.core.config import resolve
from taskgan_ros.recordings.board import find_board
from taskgan_ros.recordings.calibrate import CalibrateConfig, calibrate
from taskgan_ros.recordings.read_options import ReadOptions
from taskgan_ros.recordings.scene_camera import write_scene
from taskgan_ros.robot.board import parse_board
from taskgan_ros.robot.kinematics import forward, transform
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.tasks.state import CellState
from taskgan_ros.vision.camera import camera_at
from taskgan_ros.vision.contour_fit import change_between, moved

SIZE, FRAMES, FOV = (360, 480), 12, 0.5
ON_HAND = {"at": [0.0, 0.0, 0.11], "rpy": [1.5708, 0.0, 0.0]}  # beyond the fingers
OFF = (0.05, -0.06, 0.04, 0.05, -0.05, 0.06)


def cell_with(pattern: str, folder: Path) -> Path:
    """Return the shipped scene `poses`, a board on its arm's hand."""
    arm = yaml.safe_load(resolve("arms", "mico").read_text())
    (folder / "arm.yaml").write_text(
        yaml.safe_dump({**arm, "tool": [{"kind": "board", "pattern": pattern, **ON_HAND}]})
    )
    values = yaml.safe_load(resolve("scenes", "poses").read_text())
    values["camera"]["fov"] = FOV
    (folder / "scene.yaml").write_text(yaml.safe_dump({**values, "arm": "./arm.yaml"}))
    return folder / "scene.yaml"


def facing(scene: Scene, count: int) -> list[np.ndarray]:
    """Return configurations in which the camera sees the board's face, whole."""
    rng, poses = np.random.default_rng(0), list[np.ndarray]()
    camera, edge = scene.camera.pose(), np.array([[x, y, 0.0] for x in (-0.12, 0.12) for y in (-0.08, 0.08)])
    while len(poses) < count:
        q = np.array(scene.ready) + rng.uniform(-0.9, 0.9, len(scene.ready))
        board = np.linalg.inv(camera) @ forward(scene.arm, q) @ transform(ON_HAND["at"], ON_HAND["rpy"])
        pixels = (edge @ board[:3, :3].T + board[:3, 3]) @ scene.camera.matrix(*SIZE).T
        pixels = pixels[:, :2] / pixels[:, 2:]
        if (pixels > 0).all() and (pixels < SIZE[::-1]).all() and board[2, 2] < -0.6:
            poses.append(q)
    return poses


@pytest.mark.parametrize(
    "pattern", ["chessboard:7x6:0.02", "charuco:5x3:0.045:0.036:DICT_4X4_50", "apriltag:3x3:0.04:0.01"]
)
def test_a_board_on_the_simulated_hand_is_found_and_no_mirror_image(pattern: str, tmp_path: Path) -> None:
    scene, board = load_scene(cell_with(pattern, tmp_path)), parse_board(pattern)
    with Cell(scene, load_domain("target_wood"), SIZE) as cell:
        look = cell.sample_look(0, 0)
        images = [cell.render(CellState(q, np.empty((0, 3))), look) for q in facing(scene, 6)]
    assert sum(find_board(board, image) is not None for image in images) >= 3


def test_a_recording_of_the_simulated_cell_is_calibrated_by_its_board(tmp_path: Path) -> None:
    pattern = "chessboard:7x6:0.02"
    path = cell_with(pattern, tmp_path)
    scene, rows = load_scene(path), []
    with Cell(scene, load_domain("target_wood"), SIZE) as cell:
        look = cell.sample_look(0, 0)
        for k, q in enumerate(facing(scene, FRAMES)):
            image = cell.render(CellState(q, np.empty((0, 3))), look, k)
            cv2.imwrite(str(tmp_path / f"{k:02}.png"), image[..., ::-1])
            names = list(scene.arm.joint_names)
            rows.append({"image": f"{k:02}.png", "stamp": k, "joint_names": names, "positions_rad": q.tolist()})
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    camera = scene.camera
    info = {"k": camera.matrix(*SIZE).ravel().tolist(), "d": [0.0] * 5, "distortion_model": "plumb_bob"}
    (tmp_path / "camera_info.yaml").write_text(yaml.safe_dump({**info, "height": SIZE[0], "width": SIZE[1]}))
    guess, out = tmp_path / "guess.yaml", tmp_path / "own.yaml"
    write_scene(str(path), guess, camera_at(moved(camera.pose(), OFF), camera.fov))
    calibrate(CalibrateConfig((tmp_path,), str(guess), out, ReadOptions(), board=pattern))
    change = change_between(camera.pose(), load_scene(out).camera.pose())
    assert np.linalg.norm(change[:3]) < 0.005
    assert np.rad2deg(np.linalg.norm(change[3:])) < 0.5
