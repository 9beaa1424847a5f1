from __future__ import annotations

import cv2
import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.board import Sighting, find_board
from taskgan_ros.recordings.board_calibration import calibrate_by_board, check_turns, place_by_board, solve_lens
from taskgan_ros.robot.board import Board, parse_board
from taskgan_ros.robot.kinematics import forward, transform
from taskgan_ros.robot.models import load_robot
from taskgan_ros.vision.camera import Camera
from taskgan_ros.vision.camera_model import CameraModel
from taskgan_ros.vision.contour_fit import change_between

ARM = load_robot("mico").arm
POSE = Camera(position=(1.0, -0.8, 0.7), target=(0.1, -0.1, 0.4), fov=0.8).pose()
LENS = CameraModel(
    ((560.0, 0.0, 330.0), (0.0, 558.0, 235.0), (0.0, 0.0, 1.0)), (-0.2, 0.05, 0.001, 0.0), "plumb_bob", 480, 640
)
ON_HAND = transform([0.01, 0.02, 0.05], [0.3, -0.2, 0.4])
BOARD = parse_board("chessboard:7x6:0.02")


def grid(board: Board) -> np.ndarray:
    column, row = np.meshgrid(np.arange(board.columns), np.arange(board.rows))
    return np.stack([column.ravel(), row.ravel(), np.zeros(column.size)], 1) * board.size_m


def simulate(
    count: int = 25, noise_px: float = 0.5, spread: float = 0.7, size: float = 0.02, seed: int = 0, zeros: float = 0.0
) -> tuple[np.ndarray, list[Sighting]]:
    """Return configurations (N, n) and what the camera sees of a board on the hand."""
    rng = np.random.default_rng(seed)
    poses: list[np.ndarray] = []
    seen: list[Sighting] = []
    while len(poses) < count:
        q = ARM.home + rng.uniform(-spread, spread, len(ARM.home))
        corners = grid(BOARD) * size / BOARD.size_m
        pose = np.linalg.inv(POSE) @ forward(ARM, q + zeros * np.array([0, 1, -1, 0, 0, 0])) @ ON_HAND
        local = corners @ pose[:3, :3].T + pose[:3, 3]
        pixels = LENS.project(local)
        is_seen = (local[:, 2] > 0.2).all() and (pixels > 0).all() and (pixels < [640, 480]).all()
        if is_seen and abs(pose[2, 2]) > 0.25:
            poses.append(q)
            seen.append(Sighting(grid(BOARD), pixels + rng.normal(0, noise_px, pixels.shape)))
    return np.array(poses), seen


def error(pose: np.ndarray) -> tuple[float, float]:
    change = change_between(POSE, pose)
    return float(np.linalg.norm(change[:3])), float(np.rad2deg(np.linalg.norm(change[3:])))


@pytest.mark.parametrize("seed", range(3))
def test_a_board_on_the_hand_places_the_camera(seed: int) -> None:
    found = calibrate_by_board(ARM, *simulate(seed=seed), LENS, BOARD)
    metres, degrees = error(found.pose)
    assert metres < 0.002
    assert degrees < 0.2
    assert found.is_inlier.all()
    assert metres < 4 * np.sqrt(np.trace(found.covariance[:3, :3]))


def test_frames_that_contradict_are_left_out() -> None:
    joint_pos, seen = simulate()
    joint_pos[[3, 11, 17]] += 0.4
    found = calibrate_by_board(ARM, joint_pos, seen, LENS, BOARD)
    assert not found.is_inlier[[3, 11, 17]].any()
    assert error(found.pose)[0] < 0.002


def test_a_squares_size_follows_from_the_arms_motion() -> None:
    joint_pos, seen = simulate(size=0.03)
    found = calibrate_by_board(ARM, joint_pos, seen, LENS, Board("chessboard", 7, 6, 0.02, is_measured=False))
    assert found.size == pytest.approx(1.5, rel=0.01)
    assert error(found.pose)[0] < 0.003


def test_joints_zeros_are_found() -> None:
    joint_pos, seen = simulate(40, zeros=0.015)
    found = calibrate_by_board(ARM, joint_pos, seen, LENS, BOARD, fits_zeros=True)
    np.testing.assert_allclose(found.zeros[1:3], [0.015, -0.015], atol=0.004)
    assert found.zeros_sigma is not None
    assert (np.abs(found.zeros[1:3] - [0.015, -0.015]) < 4 * found.zeros_sigma[1:3]).all()
    assert (found.zeros_sigma[1:3] < 0.004).all()
    assert error(found.pose)[0] < 0.005


def still_but_one_axis(joint: int | None) -> tuple[np.ndarray, list[Sighting]]:
    joint_pos, _ = simulate(1, spread=0.1)
    turns = np.linspace(-0.4, 0.4, 12)
    poses = np.repeat(joint_pos, len(turns), axis=0)
    if joint is not None:
        poses[:, joint] += turns
    sights = []
    for q in poses:
        pose = np.linalg.inv(POSE) @ forward(ARM, q) @ ON_HAND
        sights.append(Sighting(grid(BOARD), LENS.project(grid(BOARD) @ pose[:3, :3].T + pose[:3, 3])))
    return poses, sights


@pytest.mark.parametrize("joint", [None, 0, 1, 4])
def test_a_hand_that_turns_about_one_axis_is_refused(joint: int | None) -> None:
    with pytest.raises(InputError, match="about two axes"):
        calibrate_by_board(ARM, *still_but_one_axis(joint), LENS, BOARD)


def test_too_few_frames_are_refused() -> None:
    joint_pos, seen = simulate(4)
    with pytest.raises(InputError, match="at least 6 frames, got 4"):
        calibrate_by_board(ARM, joint_pos, seen, LENS, BOARD)


def test_a_board_that_slides_on_the_hand_is_refused() -> None:
    joint_pos, seen = simulate(20)
    with pytest.raises(InputError, match="agree"):
        calibrate_by_board(ARM, np.random.default_rng(1).permutation(joint_pos), seen, LENS, BOARD)


def test_turns_count_whatever_the_first_pose_is() -> None:
    check_turns(forward(ARM, simulate()[0]))


def test_the_lens_is_solved_for() -> None:
    found = solve_lens(simulate(30, 0.2)[1], 480, 640)
    assert found.matrix[0][0] == pytest.approx(560, rel=0.03)


def test_a_board_on_the_table_places_the_camera_when_its_pose_is_known() -> None:
    table = transform([0.2, -0.1, 0.0], [0, 0, 0.3])
    pose = np.linalg.inv(POSE) @ table
    pixels = LENS.project(grid(BOARD) @ pose[:3, :3].T + pose[:3, 3])
    rng = np.random.default_rng(0)
    seen = [Sighting(grid(BOARD), pixels + rng.normal(0, 0.3, pixels.shape)) for _ in range(10)]
    found, covariance = place_by_board(table, seen, LENS)
    assert error(found)[0] < 0.01
    assert np.linalg.eigvalsh(covariance)[0] > 0


def drawn(board: Board) -> np.ndarray:
    """Draw a board seen at an angle, as an image (480, 640, 3)."""
    if board.kind == "chessboard":
        squares = np.indices((board.rows + 1, board.columns + 1)).sum(0) % 2
        flat = np.pad(np.kron(255 * squares, np.ones((40, 40))), 40, constant_values=255).astype(np.uint8)
    else:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
        size = (board.columns, board.rows)
        kind = cv2.aruco.CharucoBoard if board.kind == "charuco" else cv2.aruco.GridBoard
        made = kind(size, board.size_m, board.other_m, dictionary).generateImage((600, 600), marginSize=40)
        flat = np.asarray(made, np.uint8)
    height, width = flat.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    seen = np.array([[150, 80], [470, 60], [520, 400], [120, 420]], np.float32)
    warped = cv2.warpPerspective(flat, cv2.getPerspectiveTransform(corners, seen), (640, 480), borderValue=128)
    return np.repeat(warped[..., None], 3, axis=2)


@pytest.mark.parametrize("text", ["chessboard:7x6:0.02", "charuco:5x4:0.03:0.02", "apriltag:3x3:0.03:0.01"])
def test_boards_are_found_whichever_way_up(text: str) -> None:
    board = parse_board(text)
    image = drawn(board)
    found, turned = find_board(board, image), find_board(board, np.ascontiguousarray(image[::-1, ::-1]))
    assert found is not None
    assert turned is not None
    assert len(found.points) == len(turned.points) >= 12
    np.testing.assert_allclose(found.points, turned.points)
    np.testing.assert_allclose(found.pixels, [639, 479] - turned.pixels, atol=0.6)
    homography, _ = cv2.findHomography(found.points[:, :2], found.pixels)
    seen = cv2.perspectiveTransform(found.points[None, :, :2], homography)[0]
    assert np.abs(seen - found.pixels).max() < 1
    assert find_board(board, np.full((480, 640, 3), 90, np.uint8)) is None


@pytest.mark.parametrize(
    "text",
    ["chessboard", "chessboard:9x7:0.02", "chessboard:9", "charuco:5x4:0.02:0.03", "checker:9x6:0.1", "apriltag:3x3"],
)
def test_other_boards_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--board"):
        parse_board(text)
