"""A camera's pose from a board on the hand: robot-world/hand-eye, RANSAC, then bundle adjustment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.board import Sighting
from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.board import Board
from taskgan_ros.robot.kinematics import forward
from taskgan_ros.vision.camera_model import CameraModel
from taskgan_ros.vision.contour_fit import moved

Array = NDArray[np.float64]

LEAST_SIGHTINGS = 6
_LEAST_TURN_RAD = np.deg2rad(8.0)  # standard deviation of the hand's turns about the second axis
_DRAWS, _SAMPLE = 100, 4
_INLIER_PX = 4.0  # RMS over a board, before joint zeros and the rest are fitted
_LEAST_AGREEING = 0.5  # of the frames
_PX = 1.0  # residual from which the loss is linear
_ZERO_RAD = np.deg2rad(1.0)  # prior of a joint's zero
_FIXED_RAD = 1e-6
_FOCAL_ERROR = 0.02  # standard deviation, as a share, of a focal length that is determined
_LARGEST_M, _LARGEST_RAD = 0.01, np.deg2rad(1.0)  # standard deviations of a camera that is determined


@dataclass(frozen=True)
class BoardFit:
    """What was found.

    Attributes:
        pose: (4, 4) of the camera's optical frame in the arm's base frame.
        board: (4, 4) of the board in the tip's frame.
        zeros: (n,) what is added to the joints' readings.
        covariance: (6, 6) as `Camera` has it.
        residual_px: RMS over the corners of the frames that count.
        size: a square's true size relative to the given one; 1 where it was measured.
        is_inlier: (N,) which frames count.
        zeros_sigma: (n,) standard deviations of the zeros; None where they are not fitted.
    """

    pose: Array
    board: Array
    zeros: Array
    covariance: Array
    residual_px: float
    size: float
    is_inlier: NDArray[np.bool_]
    zeros_sigma: Array | None = None


def solve_lens(sightings: Sequence[Sighting], height: int, width: int) -> CameraModel:
    """Return the camera's matrix and lens from what it saw of a board.

    Raises:
        InputError: too few sightings, or a board that is always seen at the same angle.
    """
    if len(sightings) < LEAST_SIGHTINGS:
        raise InputError(f"expected the board in at least {LEAST_SIGHTINGS} frames, got {len(sightings)}")
    points = [sighting.points.astype(np.float32) for sighting in sightings]
    pixels = [sighting.pixels.astype(np.float32) for sighting in sightings]
    guess = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1.0]])
    keep = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST
    _, matrix, lens, _, _, error, _, _ = cv2.calibrateCameraExtended(
        points, pixels, (width, height), guess, np.zeros(5), flags=keep
    )
    if error[0, 0] > _FOCAL_ERROR * matrix[0, 0]:
        raise InputError(
            f"expected a board seen at many angles to solve for the lens, got a focal length of {matrix[0, 0]:.0f} ± "
            f"{error[0, 0]:.0f} px: give --camera-info FILE"
        )
    rows = tuple(tuple(float(value) for value in row) for row in matrix)
    return CameraModel(rows, tuple(lens.ravel()[:5].tolist()), "plumb_bob", height, width)  # type: ignore[arg-type]


def calibrate_by_board(
    arm: Arm,
    joint_pos: Array,
    sightings: Sequence[Sighting],
    camera: CameraModel,
    board: Board,
    fits_zeros: bool = False,
) -> BoardFit:
    """Return the pose of a fixed camera that sees a board on the arm's hand.

    Args:
        arm: whose tip carries the board.
        joint_pos: (N, n) rad or m.
        sightings: N, of the board.
        camera: its matrix and lens.
        board: whether its size is known.
        fits_zeros: whether each joint's zero is fitted too.

    Raises:
        InputError: too few sightings, too little rotation or about one axis only, frames that contradict each other,
            or frames that do not determine the camera. The message has figures.
    """
    if len(sightings) < LEAST_SIGHTINGS:
        raise InputError(f"expected the board in at least {LEAST_SIGHTINGS} frames, got {len(sightings)}")
    hands = forward(arm, joint_pos)
    check_turns(hands)
    seen = [board_in_camera(sighting, camera) for sighting in sightings]
    world = _World(arm, joint_pos, sightings, camera, fits_zeros, not board.is_measured)
    start, is_inlier = _search(world, hands, np.stack(seen))
    check_turns(hands[is_inlier])
    return _bundle(world, start, is_inlier)


def place_by_board(board_pose: Array, sightings: Sequence[Sighting], camera: CameraModel) -> tuple[Array, Array]:
    """Return the camera's pose (4, 4), and its covariance (6, 6), from a fixed board whose pose (4, 4) is known."""
    from scipy.optimize import least_squares

    first = board_pose @ np.linalg.inv(board_in_camera(sightings[0], camera))

    def residuals(change: Array) -> Array:
        back = np.linalg.inv(moved(first, change)) @ board_pose
        return np.concatenate([_project(camera, back, one.points) - one.pixels for one in sightings]).ravel()

    found = least_squares(residuals, np.zeros(6), loss="soft_l1", f_scale=_PX)
    return moved(first, found.x), _covariance(found)[:6, :6]


def check_turns(hands: Array) -> None:
    """Refuse poses (N, 4, 4) of a hand that do not turn about two axes: they do not determine the camera's pose.

    Raises:
        InputError: with how far they turn.
    """
    mean = hands[0, :3, :3]
    for _ in range(5):
        turns = np.array([cv2.Rodrigues(mean.T @ hand[:3, :3])[0].ravel() for hand in hands])
        mean = mean @ cv2.Rodrigues(turns.mean(axis=0))[0]
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(turns.T))[::-1], 0))
    if spread[1] < _LEAST_TURN_RAD:
        first, second = np.rad2deg(spread[:2])
        raise InputError(
            f"expected a hand that turns about two axes by {np.rad2deg(_LEAST_TURN_RAD):.0f}° (standard deviation) at "
            f"least, got {first:.1f}° about one and {second:.1f}° about the next in {len(hands)} frames: record the "
            "board tilted and turned in more ways"
        )


class _World:
    """The observations, and the corners' residuals as a function of camera, board, zeros and size."""

    def __init__(
        self,
        arm: Arm,
        joint_pos: Array,
        sightings: Sequence[Sighting],
        camera: CameraModel,
        fits_zeros: bool,
        fits_size: bool,
    ) -> None:
        self.arm, self.joint_pos, self.sightings, self.camera = arm, joint_pos, sightings, camera
        self.zeros, self.fits_size = (joint_pos.shape[1] if fits_zeros else 0), fits_size

    def residuals(self, pose: Array, board: Array, zeros: Array, size: float, rows: NDArray[np.intp]) -> list[Array]:
        """Return each frame's residuals (k, 2) px."""
        hands = forward(self.arm, self.joint_pos[rows] + zeros)
        back = np.linalg.inv(pose)
        return [
            _project(self.camera, back @ hand @ board, self.sightings[k].points * size) - self.sightings[k].pixels
            for k, hand in zip(rows, hands, strict=True)
        ]


@dataclass(frozen=True)
class _Start:
    pose: Array
    board: Array
    size: float


def _search(world: _World, hands: Array, seen: Array) -> tuple[_Start, NDArray[np.bool_]]:
    """Return the hand-eye solution that most frames agree with, and which they are."""
    rng, count = np.random.default_rng(0), len(hands)
    every, none = np.arange(count), np.zeros(world.joint_pos.shape[1])

    def errors(start: _Start) -> Array:
        frames = world.residuals(start.pose, start.board, none, start.size, every)
        return np.array([np.sqrt((frame**2).sum(axis=1).mean()) for frame in frames])

    draws = [every, *(rng.choice(count, min(_SAMPLE, count), replace=False) for _ in range(_DRAWS))]
    starts = [start for rows in draws if (start := _hand_eye(hands[rows], seen[rows], world.fits_size)) is not None]
    if not starts:
        raise InputError(f"expected frames that a camera and a board agree with, got none of {count}")
    best = min(starts, key=lambda start: float(np.minimum(errors(start), 4 * _INLIER_PX).sum()))
    limit = max(_INLIER_PX, 2.5 * float(np.median(errors(best))))
    is_inlier = errors(best) <= limit
    again = (
        _hand_eye(hands[is_inlier], seen[is_inlier], world.fits_size) if is_inlier.sum() >= LEAST_SIGHTINGS else None
    )
    if again is None or is_inlier.sum() < _LEAST_AGREEING * count or limit > 4 * _INLIER_PX:
        raise InputError(
            f"expected frames that agree on the camera, got {int(is_inlier.sum())} of {count} within "
            f"{limit:.0f} px: are the stamps right (--delay), is the board fixed to the hand?"
        )
    return min((best, again), key=lambda start: float(errors(start)[is_inlier].sum())), is_inlier


def _hand_eye(hands: Array, seen: Array, fits_size: bool) -> _Start | None:
    """Return the camera and the board from hands (N, 4, 4) and boards seen (N, 4, 4); None if these are degenerate.

    Rotations by OpenCV (Shah 2013), independent of the board's size; positions and size then follow linearly.
    """
    places = list(seen[:, :3, 3]), list(hands[:, :3, 3])  # the rotations do not depend on these
    try:  # OpenCV's world, base and gripper are the board, the hand and the base here: board_T_hand, camera_T_base
        to_board, _, to_camera, _ = cv2.calibrateRobotWorldHandEye(
            list(seen[:, :3, :3]), places[0], list(hands[:, :3, :3]), places[1]
        )
    except cv2.error:
        return None
    camera_turn, on_hand = np.asarray(to_camera, np.float64).T, np.asarray(to_board, np.float64).T
    rotations = _consistent(hands, seen, camera_turn, on_hand)
    if rotations is None:
        return None
    camera_turn, on_hand = rotations
    count, eye = len(hands), np.eye(3)
    matrix = np.zeros((3 * count, 7))
    matrix[:, :3] = np.tile(eye, (count, 1))
    matrix[:, 3:6] = -hands[:, :3, :3].reshape(-1, 3)
    matrix[:, 6] = (seen[:, :3, 3] @ camera_turn.T).ravel()
    wanted = hands[:, :3, 3].ravel()
    if not fits_size:
        wanted, matrix = wanted - matrix[:, 6], matrix[:, :6]
    solution = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    size = float(solution[6]) if fits_size else 1.0
    if size <= 0:
        return None
    pose, board = np.eye(4), np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera_turn, solution[:3]
    board[:3, :3], board[:3, 3] = on_hand, solution[3:6]
    return _Start(pose, board, size)


def _consistent(hands: Array, seen: Array, camera_turn: Array, on_hand: Array) -> tuple[Array, Array] | None:
    """Return the camera's and the board's rotation, refined so that base-camera-board is base-hand-board."""
    for _ in range(20):
        between = np.einsum("kji,jl,klm->im", hands[:, :3, :3], camera_turn, seen[:, :3, :3])
        on_hand = _nearest_rotation(between)
        camera_turn = _nearest_rotation(np.einsum("kij,jl,kml->im", hands[:, :3, :3], on_hand, seen[:, :3, :3]))
    return (camera_turn, on_hand) if np.isfinite(camera_turn).all() else None


def _nearest_rotation(matrix: Array) -> Array:
    left, _, right = np.linalg.svd(matrix)
    rotation: Array = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    return rotation


def _bundle(world: _World, start: _Start, is_inlier: NDArray[np.bool_]) -> BoardFit:
    """Return the robust fit to all corners at once; zeros have a prior."""
    from scipy.optimize import least_squares

    rows, joints = np.flatnonzero(is_inlier), world.joint_pos.shape[1]

    def unpack(x: Array) -> tuple[Array, Array, Array, float]:
        zeros = x[12 : 12 + joints] if world.zeros else np.zeros(joints)
        size = start.size * float(np.exp(x[-1])) if world.fits_size else 1.0
        return moved(start.pose, x[:6]), moved(start.board, x[6:12]), zeros, size

    def residuals(x: Array) -> Array:
        corners = np.concatenate(world.residuals(*unpack(x), rows)).ravel()
        return np.concatenate([corners, x[12 : 12 + world.zeros] / sigma[: world.zeros]])

    sigma = np.full(joints, _ZERO_RAD)
    sigma[[0, -1]] = _FIXED_RAD  # unobservable: the base's and the board's frames absorb them
    first = np.zeros(12 + world.zeros + world.fits_size)
    found = least_squares(residuals, first, loss="soft_l1", f_scale=_PX, x_scale="jac")
    pose, board, zeros, size = unpack(found.x)
    every = _covariance(found)
    covariance = every[:6, :6]
    zeros_sigma = np.sqrt(np.diag(every)[12 : 12 + joints]) if world.zeros else None
    shift, turn = (float(np.sqrt(np.linalg.eigvalsh(part)[-1])) for part in (covariance[:3, :3], covariance[3:, 3:]))
    if shift > _LARGEST_M or turn > _LARGEST_RAD:
        raise InputError(
            f"expected poses that determine the camera, got {100 * shift:.1f} cm and {np.rad2deg(turn):.1f}° of "
            f"uncertainty from {len(rows)} frames: record the board nearer, farther and tilted in more ways"
        )
    corners = np.concatenate(world.residuals(pose, board, zeros, size, rows))
    residual_px = float(np.sqrt((corners**2).sum(axis=1).mean()))
    return BoardFit(pose, board, zeros, covariance, residual_px, size, is_inlier, zeros_sigma)


def _covariance(found: object) -> Array:
    """Return the covariance (p, p) of a fit's numbers, by its residuals' own spread."""
    jacobian, cost = found.jac, found.cost  # type: ignore[attr-defined]
    freedom = max(len(jacobian) - jacobian.shape[1], 1)
    covariance: Array = np.linalg.pinv(jacobian.T @ jacobian) * max(2 * cost / freedom, 1e-6)
    return covariance


def board_in_camera(sighting: Sighting, camera: CameraModel) -> Array:
    """Return the board's pose (4, 4) in the camera's frame, in units of the board's points."""
    rays = _rays(sighting.pixels, camera)
    _, turn, shift = cv2.solvePnP(sighting.points, rays, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE)
    turn, shift = cv2.solvePnPRefineLM(sighting.points, rays, np.eye(3), None, turn, shift)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], shift.ravel()
    return pose


def _rays(pixels: Array, camera: CameraModel) -> Array:
    """Return pixels (k, 2) on the plane z = 1 of an ideal camera."""
    matrix, lens = np.array(camera.matrix), np.array(camera.distortion or (0.0,) * 4)
    undo = cv2.fisheye.undistortPoints if camera.model == "equidistant" else cv2.undistortPoints
    return np.asarray(undo(pixels.reshape(-1, 1, 2), matrix, lens), np.float64).reshape(-1, 2)


def _project(camera: CameraModel, pose: Array, points: Array) -> Array:
    """Return the pixels (k, 2) of points (k, 3) m of a board at `pose` (4, 4) in the camera's frame."""
    local = points @ pose[:3, :3].T + pose[:3, 3]
    return camera.project(local)
