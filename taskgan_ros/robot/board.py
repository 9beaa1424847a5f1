"""Calibration boards: which one, how large it is, and what is printed on it; by OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError

Image = NDArray[np.uint8]

FORMS: Final = (
    "chessboard:COLUMNSxROWS[:SQUARE_M] (inner corners), charuco:COLUMNSxROWS:SQUARE_M:MARKER_M[:DICTIONARY] (squares) "
    "or apriltag:COLUMNSxROWS:TAG_M:GAP_M[:DICTIONARY] (tags)"
)
_DICTIONARIES: Final = {"charuco": "DICT_5X5_250", "apriltag": "DICT_APRILTAG_36h11"}
_PRINTED_PX = 1024  # of a plate's longer side: a square of 9x6 has 90
_WHITE = 255


@dataclass(frozen=True)
class Board:
    """A flat board.

    Attributes:
        kind: chessboard, charuco or apriltag.
        columns, rows: inner corners of a chessboard, squares of a ChArUco board, tags of an AprilTag grid.
        size_m: of a square or a tag; 1 where nobody has measured it.
        other_m: side of a marker in its square, or the gap between tags.
        dictionary: of the markers, as OpenCV's aruco calls it.
        is_measured: whether `size_m` is given.
    """

    kind: str
    columns: int
    rows: int
    size_m: float = 1.0
    other_m: float = 0.0
    dictionary: str = ""
    is_measured: bool = True

    @property
    def width_m(self) -> float:
        """Width of the pattern."""
        return self._extent_m(self.columns)

    @property
    def height_m(self) -> float:
        """Height of the pattern."""
        return self._extent_m(self.rows)

    def _extent_m(self, count: int) -> float:
        if self.kind == "apriltag":
            return count * self.size_m + (count - 1) * self.other_m
        return (count + (self.kind == "chessboard")) * self.size_m


def parse_board(text: str, what: str = "--board") -> Board:
    """Return the board that `text` names; `what` begins the message of an error.

    Raises:
        InputError: none of the forms, or a chessboard that looks the same upside down.
    """
    kind, *rest = text.split(":")
    try:
        columns, rows = (int(count) for count in rest[0].split("x"))
        sizes = [float(size) for size in rest[1:3]]
    except (ValueError, IndexError):
        raise InputError(f"{what}: expected {FORMS}, got {text!r}") from None
    wanted = {"chessboard": (0, 1), "charuco": (2,), "apriltag": (2,)}.get(kind, ())
    dictionary = rest[3] if len(rest) > 3 else _DICTIONARIES.get(kind, "")
    if (
        len(sizes) not in wanted
        or min(columns, rows) < 2
        or not all(0 < size < np.inf for size in sizes)
        or len(rest) > 4
    ):
        raise InputError(f"{what}: expected {FORMS}, got {text!r}")
    if dictionary and not hasattr(cv2.aruco, dictionary):
        raise InputError(f"{what}: expected a dictionary of cv2.aruco, such as DICT_5X5_250, got {dictionary!r}")
    if kind == "chessboard" and (columns + rows) % 2 == 0:
        raise InputError(
            f"{what}: expected an even and an odd count of inner corners, got {columns}x{rows}: such a chessboard "
            "looks the same upside down"
        )
    if kind == "charuco" and sizes[1] >= sizes[0]:
        raise InputError(f"{what}: expected markers smaller than squares, got {sizes[1]:g} and {sizes[0]:g} m")
    size_m, other_m = [*sizes, 1.0, 0.0][:2] if len(sizes) != 1 else (sizes[0], 0.0)
    return Board(kind, columns, rows, size_m, other_m, dictionary, is_measured=bool(sizes))


def charuco_board(board: Board) -> cv2.aruco.CharucoBoard:
    """Return OpenCV's ChArUco board."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    return cv2.aruco.CharucoBoard((board.columns, board.rows), board.size_m, board.other_m, dictionary)


def tag_grid(board: Board) -> cv2.aruco.GridBoard:
    """Return OpenCV's grid of AprilTags."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    return cv2.aruco.GridBoard((board.columns, board.rows), board.size_m, board.other_m, dictionary)


def print_board(board: Board, width_m: float, height_m: float) -> Image:
    """Return a white plate of this size (H, W) uint8, 1024 pixels on its longer side, the pattern in its middle."""
    per_m = _PRINTED_PX / max(width_m, height_m)
    plate = np.full((round(height_m * per_m), round(width_m * per_m)), _WHITE, np.uint8)
    height, width = round(board.height_m * per_m), round(board.width_m * per_m)
    top, left = (plate.shape[0] - height) // 2, (plate.shape[1] - width) // 2
    plate[top : top + height, left : left + width] = _pattern(board, width, height)
    return plate


def _pattern(board: Board, width: int, height: int) -> Image:
    if board.kind == "chessboard":
        column = np.arange(width) * (board.columns + 1) // width
        row = np.arange(height) * (board.rows + 1) // height
        return ((column + row[:, None]) % 2 * _WHITE).astype(np.uint8)
    whole = charuco_board(board) if board.kind == "charuco" else tag_grid(board)
    return np.asarray(whole.generateImage((width, height)), np.uint8)
