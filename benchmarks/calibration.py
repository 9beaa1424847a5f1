"""How well a camera's place is found: real recordings without a board, and simulated ones with one; the table of docs.

python benchmarks/calibration.py ../shared/real --out docs/calibration.json
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
import yaml
from numpy.typing import NDArray
from report import Row, report

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.recordings.board import Sighting
from taskgan_ros.recordings.board_calibration import calibrate_by_board
from taskgan_ros.recordings.outline_calibration import OutlineOptions, Pictures, calibrate_by_outline, score, spread_out
from taskgan_ros.robot.board import parse_board
from taskgan_ros.robot.kinematics import forward, transform
from taskgan_ros.robot.meshes import read_meshes
from taskgan_ros.robot.models import Robot, load_robot
from taskgan_ros.robot.silhouette import View, silhouette
from taskgan_ros.robot.surface import ArmSurface
from taskgan_ros.vision.camera import Camera
from taskgan_ros.vision.camera_model import CameraModel
from taskgan_ros.vision.contour_fit import Estimate, change_between, moved

Array = NDArray[np.float64]

_FORWARD_X = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])  # roboreg's camera frame
_PANDA_COVERED = ("link6", "link7", "right_hand")  # by a hand and a chessboard that the model lacks
_LENS = "plumb_bob", 480, 640
_LEAST_FACING = 0.25  # cosine of the angle at which a board is still found
_HEIGHT_PX = 400  # of the pictures that are read


@dataclass(frozen=True)
class Config:
    """What is measured."""

    real: Annotated[Path, tyro.conf.Positional]
    """Folder of real recordings: panda/ and xarm7/."""
    starts: int = 20
    """Guesses for each distance."""
    med7: tuple[Path, Path] | None = None
    """Also a KUKA LBR Med 7: checkouts of lbr-stack/roboreg at 3685a61, and of lbr-stack/lbr_fri_ros2_stack."""
    out: Path | None = None
    """JSON to write."""
    only: tuple[str, ...] = ()
    """Of the measurements, those whose name has one of these in it; all if left out."""


@dataclass(frozen=True)
class Case:
    """A recording, its published camera, and whether the published masks are taken."""

    name: str
    robot: Robot
    view: View
    pictures: Pictures
    covered: tuple[str, ...] = ()


def panda(folder: Path) -> Case:
    """Return the 47 pictures of the Panda."""
    view = published_view(folder)
    images, joint_pos, _ = _labelled(folder, view)
    return Case("Panda, motion", _robot("panda"), view, Pictures(images, joint_pos), _PANDA_COVERED)


def published_view(folder: Path) -> View:
    """Return the Panda's camera as its dataset has it."""
    camera = json.loads((folder / "camera.json").read_text())
    turn, shift = np.split(np.array(camera["extrinsic_cTr_axis_angle_then_translation"]), 2)
    base = np.eye(4)
    base[:3, :3], base[:3, 3] = cv2.Rodrigues(turn)[0], shift
    return View(np.asarray(np.linalg.inv(base)), np.array(camera["K"]), camera["height"], camera["width"])


def xarm(folder: Path, with_masks: bool) -> Case:
    """Return the 10 pictures of the xArm 7."""
    info = yaml.safe_load((folder / "camera" / "camera_info.yaml").read_text())
    pose = np.load(folder / "camera" / "HT_hydra_robust.npy") @ _FORWARD_X
    whole = View(pose, np.reshape(info["k"], (3, 3)), info["height"], info["width"])
    view = whole.scaled(_HEIGHT_PX / whole.height)
    images, joint_pos, masks = _labelled(folder, view)
    what = "published masks" if with_masks else "motion"
    return Case(f"xArm 7, {what}", _robot("xarm7"), view, Pictures(images, joint_pos, masks if with_masks else None))


def med7(roboreg: Path, stack: Path, camera: str, with_masks: bool) -> Case:
    """Return pictures of a KUKA LBR Med 7: 10 by the left one of two cameras beside it, or 7 by `high_res`."""
    folder, side = roboreg / "test/data/lbr_med7/zed2i" / camera, "left_" if camera == "stereo_data" else ""
    image, joints = ("image", "joint_states") if not side else ("img", "joint_state")
    info = yaml.safe_load((folder / f"{side}camera_info.yaml").read_text())
    pose = np.load(folder / "HT_hydra_robust.npy") @ _FORWARD_X
    whole = View(pose, np.reshape(info["k"], (3, 3)), info["height"], info["width"])
    view = whole.scaled(_HEIGHT_PX / whole.height)
    rows = range(len(list(folder.glob(f"{joints}_*.npy"))))
    images = [_image(folder / f"{side}{image}_{k}.png", view) for k in rows]
    masks = [_mask(folder / f"{side}mask_{k}.png", view) for k in rows] if with_masks else None
    joint_pos = np.array([np.load(folder / f"{joints}_{k}.npy").ravel() for k in rows])
    robot = load_robot(stack / "lbr_description/urdf/med7/med7.xacro", "lbr_link_ee")
    name = f"LBR Med 7 by {camera}, {'published masks' if with_masks else 'motion'}"
    return Case(name, robot, view, Pictures(images, joint_pos, masks))


def ideal(case: Case) -> Case:
    """Return the case with masks drawn at the published camera: what the fit itself reaches."""
    surface = ArmSurface(case.robot.arm, case.robot.drawable)
    masks = [silhouette(surface, q, case.view) for q in case.pictures.joint_pos]
    pictures = Pictures(case.pictures.images, case.pictures.joint_pos, masks)
    return Case(f"{case.name.split(',')[0]}, ideal masks", case.robot, case.view, pictures)


def _labelled(folder: Path, view: View) -> tuple[list[NDArray[np.uint8]], Array, list[NDArray[np.bool_]]]:
    labels = json.loads((folder / "labels.json").read_text())
    images, masks = [], []
    for label in labels:
        images.append(_image(folder / label["image"], view))
        if "mask" in label:
            masks.append(_mask(folder / label["mask"], view))
    return images, np.array([label["positions_rad"] for label in labels]), masks


def _image(path: Path, view: View) -> NDArray[np.uint8]:
    rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
    return np.asarray(cv2.resize(rgb, (view.width, view.height), interpolation=cv2.INTER_AREA), np.uint8)


def _mask(path: Path, view: View) -> NDArray[np.bool_]:
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(mask, (view.width, view.height), interpolation=cv2.INTER_AREA) > 127  # type: ignore[arg-type]


def _robot(name: str) -> Robot:
    spec = importlib.util.find_spec("robosuite")  # found and not imported: it wants what only its simulator needs
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return load_robot(Path(spec.submodule_search_locations[0]) / "models/assets/robots" / name / "robot.xml")


def guesses(view: View, count: int, off_cm: float) -> Iterator[View]:
    """Yield cameras so many cm and degrees off, in random directions."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        shift, turn = (way / np.linalg.norm(way) for way in rng.normal(size=(2, 3)))
        pose = moved(view.pose, np.concatenate([shift * off_cm / 100, turn * np.deg2rad(off_cm)]))
        yield View(pose, view.matrix, view.height, view.width)


def measure(case: Case, off_cm: float, starts: int, advance: Callable[[int], None]) -> Row:
    """Calibrate from every guess and return how far the results are from the published camera."""
    surface = ArmSurface(case.robot.arm, case.robot.drawable)
    coarse = ArmSurface(case.robot.arm, read_meshes(case.robot.description, 2500))
    ignored = frozenset(k for k, name in enumerate(surface.link_names) if name in case.covered)
    options = OutlineOptions(ignored=ignored, fits_growth=case.pictures.masks is not None)
    errors, scores, refused, began = [], [], 0, time.process_time()
    for guess in guesses(case.view, starts, off_cm):
        try:
            found = calibrate_by_outline(surface, coarse, guess, case.pictures, options)
        except InputError as error:
            refused += 1
            print(f"{case.name}, {off_cm:g}: refused: {error}", flush=True)
        else:
            change = change_between(case.view.pose, found.view.pose)
            errors.append([100 * np.linalg.norm(change[:3]), np.rad2deg(np.linalg.norm(change[3:]))])
            scores.append(found.score)
            print(f"{case.name}, {off_cm:g}: {errors[-1]}, {found.score:.3f}, {found.rivals}", flush=True)
        advance(1)
    rows = spread_out(case.pictures.joint_pos, OutlineOptions().frames)
    there = Estimate(case.view, np.zeros(case.pictures.joint_pos.shape[1]), np.eye(6), 0.0, 0.0)
    published = score(surface, case.view, case.pictures.at(rows), options, there)
    on_edges = {"on edges": float(np.mean(scores)) if scores else np.nan, "published on edges": published}
    return _row(case.name, off_cm, errors, f"{refused} of {starts}", began, starts) | on_edges


def simulated_board(advance: Callable[[int], None], count: int = 10, noise_px: float = 0.5) -> Row:
    """Calibrate by simulated chessboards of 25 configurations each, and return the errors of the results."""
    arm, board = load_robot("panda").arm, parse_board("chessboard:9x6:0.02")
    lens = CameraModel(((600.0, 0.0, 325.0), (0.0, 600.0, 238.0), (0.0, 0.0, 1.0)), (-0.1, 0.02, 0, 0), *_LENS)
    camera = Camera(position=(1.1, 0.5, 0.7), target=(0.4, 0.0, 0.5), fov=0.8).pose()
    column, row = np.meshgrid(np.arange(9), np.arange(6))
    corners = np.stack([column.ravel(), row.ravel(), np.zeros(54)], axis=1) * board.size_m
    points = np.asarray(corners, np.float64)
    errors, began = [], time.process_time()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        joint_pos, seen = list[Array](), list[Sighting]()
        while len(seen) < 25:
            q = np.array(arm.home) + rng.uniform(-0.8, 0.8, len(arm.home))
            pose = np.linalg.inv(camera) @ forward(arm, q) @ transform([0.0, 0.05, 0.02], [0.3, 0.1, 0])
            local = points @ pose[:3, :3].T + pose[:3, 3]
            pixels = lens.project(local)
            inside = (local[:, 2] > 0.2).all() and (pixels > 0).all() and (pixels < [640, 480]).all()
            if inside and pose[2, 2] < -_LEAST_FACING:
                joint_pos.append(q)
                seen.append(Sighting(points, pixels + rng.normal(0, noise_px, pixels.shape)))
        fit = calibrate_by_board(arm, np.array(joint_pos), seen, lens, board)
        change = change_between(camera, fit.pose)
        errors.append([100 * np.linalg.norm(change[:3]), np.rad2deg(np.linalg.norm(change[3:]))])
        advance(1)
    return _row("simulated board, 25 poses, 0.5 px", 0.0, errors, f"0 of {count}", began, count)


def _row(what: str, off_cm: float, errors: list[list[float]], refused: str, began: float, count: int) -> Row:
    median, worst = (f(np.array(errors), 0) if errors else [np.nan] * 2 for f in (np.median, np.max))
    return {
        "what": what,
        "off cm, °": off_cm,
        "median cm": float(median[0]),
        "median °": float(median[1]),
        "worst cm": float(worst[0]),
        "worst °": float(worst[1]),
        "refused": refused,
        "CPU s": (time.process_time() - began) / count,
    }


def main(config: Config) -> None:
    """Measure, print, write."""
    arm = panda(config.real / "panda")
    other = [xarm(config.real / "xarm7" / "realsense", with_masks) for with_masks in (False, True)]
    cases = [(case, off) for case in (arm, *other, ideal(arm), ideal(other[0])) for off in (5.0, 10.0)]
    if config.med7:
        sets = [(camera, with_masks) for camera in ("high_res", "stereo_data") for with_masks in (False, True)]
        cases += [(med7(*config.med7, *one), off) for one in sets for off in (5.0, 10.0)]
    chosen = [pair for pair in cases if not config.only or any(word in pair[0].name for word in config.only)]
    with progress_bar("calibration", len(chosen) * config.starts, "starts") as advance:
        rows = [measure(case, off, config.starts, advance) for case, off in chosen]
    if not config.only or "board" in config.only:
        with progress_bar("calibration", 10, "boards") as advance:
            rows.append(simulated_board(advance) | {"on edges": "", "published on edges": ""})
    report("camera from the arm's outline", rows, config.out)


if __name__ == "__main__":
    main(tyro.cli(Config))
