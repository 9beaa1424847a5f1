"""Calibration boards: where their corners are in a picture; by OpenCV."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.robot.board import Board, charuco_board, tag_grid

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_SMALL_PX = 480  # pictures lower than this are enlarged: their squares have few pixels
_LEAST_CORNERS = 6


@dataclass(frozen=True)
class Sighting:
    """A board in a picture.

    Attributes:
        points: (k, 3) m on the board, z = 0.
        pixels: (k, 2) where they are seen.
    """

    points: Array
    pixels: Array


def find_board(board: Board, image: Image) -> Sighting | None:
    """Return where the board is in an RGB image (H, W, 3); None where it is not found whole, or enough of it."""
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    factor = 1 if gray.shape[0] >= _SMALL_PX else -(-_SMALL_PX // gray.shape[0])
    if factor > 1:
        gray = np.asarray(cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)
    found = _chessboard(board, gray) if board.kind == "chessboard" else _markers(board, gray)
    if found is None or len(found.points) < _LEAST_CORNERS:
        return None
    return Sighting(found.points, (found.pixels + 0.5) / factor - 0.5)


def _chessboard(board: Board, gray: Image) -> Sighting | None:
    size = (board.columns, board.rows)
    is_found, corners = cv2.findChessboardCornersSB(gray, size, flags=cv2.CALIB_CB_ACCURACY)
    if not is_found:
        fast = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
        is_found, corners = cv2.findChessboardCorners(gray, size, flags=fast)
        if not is_found:
            return None
        accuracy = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 30, 0.01)
        corners = cv2.cornerSubPix(gray, corners, (3, 3), (-1, -1), accuracy)
    pixels = np.asarray(corners, np.float64).reshape(-1, 2)
    if not _starts_dark(board, gray, pixels):
        pixels = pixels[::-1]  # rotated by 180°: OpenCV does not tell which way round it is
    column, row = np.meshgrid(np.arange(board.columns), np.arange(board.rows))
    points = np.stack([column.ravel(), row.ravel(), np.zeros(column.size)], axis=1) * board.size_m
    return Sighting(points.astype(np.float64), pixels)


def _starts_dark(board: Board, gray: Image, pixels: Array) -> bool:
    """Return whether the first square between four corners is darker than the last one in its row and column."""
    grid = pixels.reshape(board.rows, board.columns, 2)
    middles = (grid[:-1, :-1] + grid[1:, 1:] + grid[:-1, 1:] + grid[1:, :-1]) / 4
    columns, rows = np.rint(middles).astype(int).reshape(-1, 2).T
    values = gray[np.clip(rows, 0, gray.shape[0] - 1), np.clip(columns, 0, gray.shape[1] - 1)].astype(np.float64)
    is_even = np.indices(middles.shape[:2]).sum(axis=0).ravel() % 2 == 0
    return bool(values[is_even].mean() < values[~is_even].mean())


def _markers(board: Board, gray: Image) -> Sighting | None:
    if board.kind == "charuco":
        charuco = charuco_board(board)
        corners, ids, _, _ = cv2.aruco.CharucoDetector(charuco).detectBoard(gray)
        if ids is None or len(ids) < _LEAST_CORNERS:
            return None
        points, pixels = charuco.matchImagePoints(corners, ids)  # type: ignore[call-overload]
    else:
        grid = tag_grid(board)
        parameters = cv2.aruco.DetectorParameters()
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        tags, ids, _ = cv2.aruco.ArucoDetector(grid.getDictionary(), parameters).detectMarkers(gray)
        if ids is None or not len(ids):
            return None
        points, pixels = grid.matchImagePoints(tags, ids)
    if points is None or not len(points):
        return None
    return Sighting(np.asarray(points, np.float64).reshape(-1, 3), np.asarray(pixels, np.float64).reshape(-1, 2))
