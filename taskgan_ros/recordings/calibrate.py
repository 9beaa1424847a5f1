"""`taskgan calibrate`: find a recording's camera, and write it into a copy of the scene, with pictures to check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray

from taskgan_ros.core.config import expand_home
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_fetched, check_place
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.recordings.board import Sighting, find_board
from taskgan_ros.recordings.board_calibration import calibrate_by_board, place_by_board, solve_lens
from taskgan_ros.recordings.given_transform import read_pose, read_transform
from taskgan_ros.recordings.outline_calibration import OutlineOptions, calibrate_by_outline, spread_out
from taskgan_ros.recordings.overlay import fov_of, read_pictures, rectify, write_overlay
from taskgan_ros.recordings.read_options import SharedOptions
from taskgan_ros.recordings.recording import Recording, open_recording
from taskgan_ros.recordings.scene_camera import check_rewritable, write_scene
from taskgan_ros.robot.board import parse_board
from taskgan_ros.robot.meshes import read_meshes
from taskgan_ros.robot.silhouette import View
from taskgan_ros.robot.surface import ArmSurface
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.vision.camera import camera_at, pinhole_matrix
from taskgan_ros.vision.camera_model import CameraModel
from taskgan_ros.vision.contour_fit import Prior, change_between

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_COARSE_FACES = 2500  # of the arm, for the search
_MOST_BOARDS = 60  # frames with a board that are used
_SHOWN = 16  # pictures
_WRITTEN_RAD = 5e-6  # zeros are written to 1e-5
_SURE_SIGMAS = 2.0  # a zero nearer to 0 than this is insignificant


@dataclass(frozen=True)
class CalibrateConfig:
    """Find where a recording's camera stands, and write a copy of the scene with it."""

    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Bags, LeRobot datasets, or folders of images with joint angles, all by one camera that did not move."""
    scene: str
    """Shipped name or file. Without a board or transform its camera is the guess: 10 cm and 10° off at most."""
    out: Path
    """Scene file to write; must not exist. A picture is written beside it, worst frames first."""
    recording: SharedOptions
    """How to read them."""
    board: str | None = None
    """A board: chessboard:COLUMNSxROWS[:SQUARE_M] by its inner corners, charuco:COLUMNSxROWS:SQUARE_M:MARKER_M
    [:DICTIONARY] by its squares, or apriltag:COLUMNSxROWS:TAG_M:GAP_M[:DICTIONARY] by its tags."""
    board_on: Literal["hand", "table"] = "hand"
    """What carries the board. A board on the table locates the arm's base only with --board-pose."""
    board_pose: str | None = None
    """Pose of a board on the table in the base's frame: x,y,z,qx,qy,qz,qw; m."""
    transform: str | None = None
    """The camera's optical frame in the base's frame, where it is known: x,y,z,qx,qy,qz,qw in m, easy_handeye's YAML,
    or tf:BASE:CAMERA with two frames of the recording's TF."""
    masks: Path | None = None
    """Folder of masks, white where the arm is, one for each frame taken, in the order of their names."""
    joint_zeros: bool = False
    """Also find each joint's zero, except the first one's: a turn of the arm's base has the same effect."""
    solve_lens: bool = False
    """Also find the lens: all of it with a board, the focal length alone without one."""
    ignore_links: tuple[str, ...] = ()
    """Links whose outline is ignored, because something that the arm's model lacks covers them."""
    guess_off_m: float = 0.1
    """How far the scene's camera may be off, as a standard deviation."""
    guess_off_deg: float = 10.0
    """The same for its direction, in degrees."""
    starts: int = 5
    """Number of camera poses to start from, without a board."""


@dataclass(frozen=True)
class Found:
    """A camera: optical frame (4, 4) in the base's, zeros (n,) to add, covariance (6, 6), and how it was found.

    `fov` is that of the whole pictures where it was fitted, `lens` the camera's where a board gave it.
    `zeros_sigma` (n,) are the zeros' standard deviations.
    """

    pose: Array
    zeros: Array
    covariance: Array | None
    fov: float | None
    lens: CameraModel | None
    how: str
    zeros_sigma: Array | None = None


def calibrate(config: CalibrateConfig) -> None:
    """Find the camera, write scene and picture, print what was found.

    Raises:
        InputError: options that contradict, files that exist, or a recording that does not determine the camera.
    """
    out = expand_home(config.out)
    picture = out.with_suffix(".png")
    _check_options(config)
    check_rewritable(config.scene, out)  # and not after the fit, which may take an hour
    check_place(picture)
    scene = load_scene(config.scene)
    recording = open_recording(config.recordings, scene, config.recording)
    if config.solve_lens and recording.camera is None and recording.options.camera_fov is None:
        recording.options = replace(recording.options, camera_fov=scene.camera.fov)  # where the search starts
    found = _find(config, scene, recording)
    _print_found(scene, found)  # before anything is written: nothing is lost then
    names = scene.arm.joint_names
    zeros = {name: float(zero) for name, zero in zip(names, found.zeros, strict=True) if abs(zero) > 1e-9}
    view, pictures = read_pictures(recording, scene, found.lens)
    camera = camera_at(found.pose, _scene_fov(scene, found, recording, view.height, view.width), found.covariance)
    write_scene(config.scene, out, camera, zeros, f"by taskgan calibrate: {found.how}")
    shown = pictures.at(spread_out(pictures.joint_pos, _SHOWN))
    here = replace(view, pose=found.pose)
    if found.fov is not None:
        here = replace(here, matrix=pinhole_matrix(found.fov, view.height, view.width))
    surface = ArmSurface(scene.robot.arm, scene.robot.drawable, scene.held_joints)
    scores = write_overlay(picture, surface, here, shown, found.zeros)
    print_line(
        f"{out} and {picture}: {len(scores)} pictures, worst first; {100 * float(np.median(scores)):.0f} % of the "
        "outline on an edge in the median"
    )


def _check_options(config: CalibrateConfig) -> None:
    ways = {"--board": config.board, "--transform": config.transform, "--masks": config.masks}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"expected one of {list(ways)}, got {given}")
    if config.board is None and (config.board_pose is not None or config.board_on == "table"):
        raise InputError("--board-pose, --board-on: expected a --board with them, got none")
    if config.board is not None and (config.board_on == "table") != (config.board_pose is not None):
        raise InputError(
            "--board-on table: expected --board-pose x,y,z,qx,qy,qz,qw with it, and with it alone: a fixed camera and "
            "a fixed board alone do not locate the arm's base"
        )
    if config.starts < 1:
        raise InputError(f"--starts: expected 1 or more, got {config.starts}")
    for name, value in (("--guess-off-m", config.guess_off_m), ("--guess-off-deg", config.guess_off_deg)):
        if not 0 < value < np.inf:
            raise InputError(f"{name}: expected a finite number above 0, got {value}")


def _find(config: CalibrateConfig, scene: Scene, recording: Recording) -> Found:
    if config.transform is not None:
        pose = read_transform(config.transform, [expand_home(path) for path in config.recordings])
        return Found(pose, np.zeros(len(scene.arm.joint_names)), None, None, None, "a transform that was given")
    if config.board is not None:
        return _by_board(config, scene, recording)
    return _by_outline(config, scene, recording)


def _by_board(config: CalibrateConfig, scene: Scene, recording: Recording) -> Found:
    assert config.board is not None
    board = parse_board(config.board)
    seen, joint_pos, size, count = list[Sighting](), list[Array](), (0, 0), 0
    for frame in recording.frames("looking for the board"):
        size, count = frame.rgb.shape[:2], count + 1
        if sighting := find_board(board, frame.rgb):
            seen.append(sighting)
            joint_pos.append(frame.joint_pos)
    if not seen:
        raise InputError(f"{recording.name}: expected a {config.board} in the pictures, got none in {count} frames")
    lens = solve_lens(_some(seen), *size) if config.solve_lens else recording.camera
    if lens is None:
        raise InputError(f"{recording.name}: expected a camera_info, got none: --camera-info FILE or --solve-lens")
    own_lens = lens if config.solve_lens else None
    if config.board_pose is not None:
        pose, covariance = place_by_board(read_pose(config.board_pose, "--board-pose"), _some(seen), lens)
        how = f"a {board.kind} on the table in {len(seen)} frames"
        return Found(pose, np.zeros(len(scene.arm.joint_names)), covariance, None, own_lens, how)
    rows = spread_out(np.array(joint_pos), _MOST_BOARDS)
    fit = calibrate_by_board(
        scene.arm, np.array(joint_pos)[rows], [seen[k] for k in rows], lens, board, config.joint_zeros
    )
    how = f"a {board.kind} in {int(fit.is_inlier.sum())} of {len(rows)} frames, {fit.residual_px:.2g} px"
    if not board.is_measured:
        how += f", squares of {1000 * fit.size:.2f} mm"
    return Found(fit.pose, fit.zeros, fit.covariance, None, own_lens, how, fit.zeros_sigma)


def _some(seen: Sequence[Sighting]) -> list[Sighting]:
    rows = np.unique(np.linspace(0, len(seen) - 1, _MOST_BOARDS).astype(int))
    return [seen[k] for k in rows]


def _by_outline(config: CalibrateConfig, scene: Scene, recording: Recording) -> Found:
    robot = scene.robot
    surface = ArmSurface(robot.arm, robot.drawable, scene.held_joints)
    if strangers := [name for name in config.ignore_links if name not in surface.link_names]:
        raise InputError(f"--ignore-links: expected links of {list(surface.link_names)}, got {strangers}")
    view, pictures = read_pictures(recording, scene)
    if config.masks is not None:
        masks = _read_masks(expand_home(config.masks), len(pictures.images), recording, view)
        pictures = replace(pictures, masks=masks)
    options = OutlineOptions(
        prior=Prior(config.guess_off_m, np.deg2rad(config.guess_off_deg)),
        starts=config.starts,
        ignored=frozenset(surface.link_names.index(name) for name in config.ignore_links),
        fits_zeros=config.joint_zeros,
        fits_focal=config.solve_lens,
        fits_growth=config.masks is not None,
    )
    coarse = ArmSurface(robot.arm, read_meshes(robot.description, _COARSE_FACES), scene.held_joints)
    if not len(coarse.faces):
        coarse = surface  # a bundle's, whose meshes are read already
    with progress_bar("calibrating", config.starts, "starts") as advance:
        fit = calibrate_by_outline(surface, coarse, view, pictures, options, advance)
    what = "masks" if config.masks is not None else "motion"
    how = f"the arm's outline by {what}, {100 * fit.score:.0f} % on edges, {fit.residual_px:.2g} px at {fit.height_px}"
    fov = fov_of(fit.view) if config.solve_lens else None
    return Found(fit.view.pose, fit.zeros, fit.covariance, fov, None, how, fit.zeros_sigma)


def _read_masks(folder: Path, count: int, recording: Recording, view: View) -> list[NDArray[np.bool_]]:
    """Return the masks as `view` sees them; their files match the pictures as recorded."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".png", ".jpg", ".bmp"))
    if len(paths) != count:
        raise InputError(f"{folder}: expected a mask for each of {count} frames, got {len(paths)}")
    masks, size = [], next(iter(recording.frames())).rgb.shape[:2]
    for path in paths:
        check_fetched(path)
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise InputError(f"{path}: expected a picture")
        if mask.shape != size:
            wanted, got = (f"{width}x{height}" for height, width in (size, mask.shape[:2]))
            raise InputError(f"{path}: expected a mask of the pictures' size, {wanted}, got {got}")
        whole = np.asarray(cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), np.uint8)
        masks.append(rectify(recording, None, whole, view)[..., 0] > 127)
    return masks


def _scene_fov(scene: Scene, found: Found, recording: Recording, height: int, width: int) -> float:
    """Return the scene's own field of view, or the largest that square pictures of this camera have."""
    lens = found.lens or recording.camera
    whole = found.fov or recording.options.camera_fov
    if lens and found.fov is None:
        largest = lens.ideal_fov(1.0)
    else:
        assert whole is not None  # read_pictures refuses a camera without a known field of view
        largest = float(2 * np.arctan(np.tan(whole / 2) * min(1.0, width / height)))
    return min(scene.camera.fov, largest)


def _print_found(scene: Scene, found: Found) -> None:
    change = change_between(scene.camera.pose(), found.pose)
    shift, turn = 100 * float(np.linalg.norm(change[:3])), float(np.rad2deg(np.linalg.norm(change[3:])))
    print_line(f"camera by {found.how}; {shift:.1f} cm and {turn:.1f}° from the scene's")
    if found.covariance is not None:
        sigma = np.sqrt(np.diag(found.covariance))
        metres, radians = 100 * float(np.linalg.norm(sigma[:3])), float(np.rad2deg(np.linalg.norm(sigma[3:])))
        print_line(f"uncertainty (standard deviation): {metres:.2g} cm, {radians:.2g}°")
    if found.zeros.any():
        print_line(f"joints' zeros: {_zeros_in_words(scene.arm.joint_names, found)}")


def _zeros_in_words(names: Sequence[str], found: Found) -> str:
    """Return each zero with its standard deviation, and whether it is insignificant."""
    sigmas = np.full(len(names), np.nan) if found.zeros_sigma is None else found.zeros_sigma
    words = []
    for name, zero, sigma in zip(names, found.zeros, sigmas, strict=True):
        if abs(zero) < _WRITTEN_RAD:
            continue
        doubt = " (no more than its uncertainty)" if abs(zero) < _SURE_SIGMAS * sigma else ""
        words.append(f"{name} {np.rad2deg(zero):+.2f} ± {np.rad2deg(sigma):.2f}°{doubt}")
    return ", ".join(words)
