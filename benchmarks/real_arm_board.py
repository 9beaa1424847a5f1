"""Where the chessboard is that the real Panda carries: the numbers of `real_arm.py`, from its first frames alone.

Its corners are found by OpenCV; the camera and the joint angles are the published ones. No test frame is looked at.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from calibration import published_view
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from taskgan_ros.recordings.board import Sighting, find_board
from taskgan_ros.recordings.board_calibration import board_in_camera
from taskgan_ros.robot.board import parse_board
from taskgan_ros.robot.kinematics import forward
from taskgan_ros.robot.models import load_robot
from taskgan_ros.robot.silhouette import View
from taskgan_ros.vision.camera_model import CameraModel

Array = NDArray[np.float64]

_BOARD = parse_board("chessboard:9x6")  # its squares' size is not published: it is fitted too
_FRAMES = range(27)
_NEAR_M = 0.01  # a first guess of a square's side


def main(real: Annotated[Path, tyro.conf.Positional]) -> None:
    """Print the board's centre, angles and square in the frame of the Panda's tip, and how well they fit.

    Args:
        real: folder of real recordings, with panda/ in it.
    """
    folder = real / "panda"
    view, labels = published_view(folder), json.loads((folder / "labels.json").read_text())
    seen = {k: find_board(_BOARD, _picture(folder / labels[k]["image"])) for k in _FRAMES}
    sightings = {k: sighting for k, sighting in seen.items() if sighting}
    arm = load_robot("panda").arm
    tips = np.array([forward(arm, labels[k]["positions_rad"]) for k in sightings])
    pose, square_m, rms_px = fit(view, tips, list(sightings.values()))
    print(f"found in {len(sightings)} of {len(_FRAMES)} frames, {rms_px:.2f} px RMS")
    turned = Rotation.from_euler("xyz", pose[3:]) * Rotation.from_euler("x", np.pi)  # OpenCV's z points into the board
    rpy = turned.as_euler("xyz").round(4)
    print(f"at: {pose[:3].round(4).tolist()}  rpy: {rpy.tolist()}  square: {square_m:.4f} m")


def fit(view: View, tips: Array, sightings: list[Sighting]) -> tuple[Array, float, float]:
    """Return the board's centre in m and roll, pitch, yaw in rad (6,) in the tip's frame, a square's side, and px RMS.

    Args:
        view: the camera.
        tips: (F, 4, 4) the tip in the base's frame.
        sightings: of each frame, in squares.
    """
    centre = np.array([_BOARD.columns - 1, _BOARD.rows - 1, 0.0]) / 2
    points = np.array([sighting.points for sighting in sightings]) - centre
    pixels = np.array([sighting.pixels for sighting in sightings])
    in_camera = np.linalg.inv(view.pose) @ tips

    def off(values: Array) -> Array:
        on_hand = values[6] * points @ Rotation.from_euler("xyz", values[3:6]).as_matrix().T + values[:3]
        local = on_hand @ in_camera[:, :3, :3].transpose(0, 2, 1) + in_camera[:, None, :3, 3]
        return np.asarray(local @ view.matrix[:2].T / local[..., 2:] - pixels).ravel()

    (fx, _, cx), (_, fy, cy), _ = view.matrix
    lens = CameraModel(((fx, 0.0, cx), (0.0, fy, cy), (0.0, 0.0, 1.0)), (), "plumb_bob", view.height, view.width)
    seen = board_in_camera(Sighting(points[0], pixels[0]), lens)
    seen[:3, 3] *= _NEAR_M
    first = np.linalg.inv(in_camera[0]) @ seen
    turn = Rotation.from_matrix(first[:3, :3]).as_euler("xyz")
    found = least_squares(off, [*first[:3, 3], *turn, _NEAR_M], loss="soft_l1")
    rms_px = float(np.sqrt(np.mean(np.square(off(found.x)).reshape(-1, 2).sum(axis=1))))
    return found.x[:6], float(found.x[6]), rms_px


def _picture(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)  # type: ignore[arg-type]


if __name__ == "__main__":
    tyro.cli(main)
