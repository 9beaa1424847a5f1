"""`taskgan overlay`: the arm as the scene has it, drawn over recorded pictures, as in the paper's figure 10."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image as PilImage

from taskgan_ros.core.config import expand_home, short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_place, whole
from taskgan_ros.core.progress import print_line
from taskgan_ros.recordings.outline_calibration import Pictures, spread_out
from taskgan_ros.recordings.read_options import SharedOptions
from taskgan_ros.recordings.recording import Recording, open_recording
from taskgan_ros.robot.silhouette import View, outlined, silhouette
from taskgan_ros.robot.surface import ArmSurface
from taskgan_ros.sim.picture import write_png
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.vision.camera import pinhole_matrix
from taskgan_ros.vision.camera_model import CameraModel
from taskgan_ros.vision.caption import write_line
from taskgan_ros.vision.contour_fit import Estimate, Observation, Problem, support
from taskgan_ros.vision.moved_camera import camera_motion

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_RGB = (40, 255, 40)
_TINT = 0.25  # of the arm's pixels
_HEIGHT_PX, _COLUMNS = 400, 4
_COMPARED, _COMPARED_PX = 8, 240  # pictures, and their height, by which the camera is compared with the scene's
_MOST_READ = 600  # frames in memory at a time
_TEXT = 0.5
_GIF_MS = 200


@dataclass(frozen=True)
class OverlayConfig:
    """Draw a scene's arm over recorded pictures, those with the worst match first."""

    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Bags, LeRobot datasets, or folders of images with joint angles."""
    scene: str
    """Shipped name or file."""
    recording: SharedOptions
    """How to read them."""
    out: Path | None = None
    """PNG to write, or a GIF of all in their order; SCENE_overlay.png by default. Must not exist."""
    pictures: int = 16
    """How many, spread over the arm's configurations."""


def overlay(config: OverlayConfig) -> None:
    """Write the picture; print how much of the outline lies on an edge, and how far the camera seems to be off.

    Raises:
        InputError: what `open_recording` refuses, no camera, or a file that exists.
    """
    out = expand_home(config.out or f"{short_name(config.scene)}_overlay.png")
    check_place(out)
    if out.suffix not in (".png", ".gif"):
        raise InputError(f"--out: expected a .png or .gif, got {out.name}")
    if config.pictures < 1:
        raise InputError(f"--pictures: expected 1 or more, got {config.pictures}")
    scene = load_scene(config.scene)
    recording = open_recording(config.recordings, scene, config.recording)
    view, pictures = read_pictures(recording, scene)
    pictures = pictures.at(spread_out(pictures.joint_pos, config.pictures))
    surface = ArmSurface(scene.robot.arm, scene.robot.drawable, scene.held_joints)
    scores = write_overlay(out, surface, view, pictures)
    print_line(
        f"{out}: {len(scores)} pictures; {100 * float(np.median(scores)):.0f} % of the outline on an edge in the "
        f"median, {100 * min(scores):.0f} % in the worst, which comes first"
    )
    print_line(_compared(surface, view, pictures))


def _compared(surface: ArmSurface, view: View, pictures: Pictures) -> str:
    """Return how far the camera that took the pictures stands from where the scene says, in words."""
    few = pictures.at(spread_out(pictures.joint_pos, _COMPARED))
    small = view.scaled(min(_COMPARED_PX / view.height, 1.0))
    images = few.sized(small.height, small.width).images
    motion = camera_motion(surface, small, images, few.joint_pos)
    if not motion.is_certain:
        return (
            f"camera: no pose nearby fits the outline ({100 * motion.share:.0f} % of it on an edge at best): "
            "farther off than 5 cm or 5°, another arm, a model that lacks what the arm carries, or an arm of the "
            "background's colours: judge by the picture"
        )
    sigma = np.sqrt(np.diag(motion.covariance))
    spread_cm, spread_deg = 100 * np.linalg.norm(sigma[:3]), np.rad2deg(np.linalg.norm(sigma[3:]))
    x, y, z = 100 * motion.shift_m
    return (
        f"camera: {100 * motion.distance_m:.1f} ± {spread_cm:.1f} cm (x {x:+.1f}, y {y:+.1f}, z {z:+.1f}) and "
        f"{np.rad2deg(motion.angle_rad):.1f} ± {spread_deg:.1f}° from where the scene has it; the outline is "
        f"{motion.pixels:.1f} px off at {small.height}"
    )


def read_pictures(
    recording: Recording, scene: Scene, camera: CameraModel | None = None, height_px: int = _HEIGHT_PX
) -> tuple[View, Pictures]:
    """Return a recording's pictures as an ideal camera sees them, and where the scene says that it stands.

    Each picture is kept whole, as far as rectification allows. Of many, an evenly spaced selection is read.

    Args:
        recording: of the scene's arm.
        scene: where the camera stands.
        camera: its lens, in place of the recording's.
        height_px: of the pictures at most.

    Raises:
        InputError: the camera's field of view is unknown.
    """
    images, joint_pos, view = [], [], None
    every = max(1, -(-recording.count // _MOST_READ))
    for k, frame in enumerate(recording.frames("reading")):
        if k % every:
            continue
        view = view or ideal_view(recording, scene, camera, frame.rgb.shape[:2], height_px)
        images.append(rectify(recording, camera, frame.rgb, view))
        joint_pos.append(frame.joint_pos)
    assert view is not None  # frames() refuses a recording without any
    return view, Pictures(images, np.array(joint_pos))


def ideal_view(
    recording: Recording, scene: Scene, camera: CameraModel | None, size: Sequence[int], height_px: int
) -> View:
    """Return the ideal camera that shows as much of a recording's pictures (H, W) as it can, where the scene says."""
    own_height, own_width = size
    height = min(own_height, height_px)
    width = round(own_width * height / own_height)
    camera = camera or recording.camera
    fov = camera.ideal_fov(width / height) if camera else recording.options.camera_fov
    if not fov:
        raise InputError(
            f"{recording.name}: expected a camera_info with the images, got none that tells what it sees: "
            "--camera-info FILE names one, or --camera-fov RAD for an undistorted camera"
        )
    return View(scene.camera.pose(), pinhole_matrix(fov, height, width), height, width)


def rectify(recording: Recording, camera: CameraModel | None, rgb: Image, view: View) -> Image:
    """Return a recording's picture as `view` sees it."""
    fov, size = fov_of(view), (view.height, view.width)
    return camera.rectify(rgb, fov, size) if camera else recording.rectified(rgb, fov, size)


def fov_of(view: View) -> float:
    """Return the vertical field of view in rad of an ideal camera."""
    return float(2 * np.arctan(view.height / 2 / view.matrix[1, 1]))


def drawn_over(image: Image, surface: ArmSurface, joint_pos: Array, view: View) -> Image:
    """Return a picture (H, W, 3) with the arm drawn over it: a line around it, and a tint."""
    mask = silhouette(surface, joint_pos, view)
    tinted = image.copy()
    tinted[mask] = (tinted[mask] * (1 - _TINT) + np.array(_RGB) * _TINT).astype(np.uint8)
    return outlined(tinted, mask, _RGB, max(1, view.height // 250))


def write_overlay(
    out: Path, surface: ArmSurface, view: View, pictures: Pictures, zeros: Array | None = None
) -> list[float]:
    """Write pictures with the arm drawn over them, worst first, or in their order as a GIF; return their scores.

    Returns:
        For each picture, the share in [0, 1] of the outline with an edge nearby.
    """
    joint_pos = pictures.joint_pos + (0 if zeros is None else zeros)
    none = np.zeros(pictures.images[0].shape[:2], np.float32)
    shots = [Observation(q, none, image) for q, image in zip(joint_pos, pictures.images, strict=True)]
    here = Estimate(view, np.zeros(joint_pos.shape[1]), np.zeros((6, 6)), 0.0, 0.0)
    scores = support(Problem(surface, shots, view), here)
    drawn = [
        _titled(drawn_over(image, surface, q, view), f"{100 * score:.0f} %")
        for image, q, score in zip(pictures.images, joint_pos, scores, strict=True)
    ]
    if out.suffix == ".gif":
        frames = [PilImage.fromarray(image) for image in drawn]
        with whole(out, "the film") as file:
            frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=_GIF_MS, loop=0)
    else:
        write_png(out, _grid([drawn[k] for k in np.argsort(scores)]))
    return scores


def _titled(image: Image, text: str) -> Image:
    write_line(image, text, (6, 18), _TEXT)
    return image


def _grid(images: Sequence[Image]) -> Image:
    columns = min(_COLUMNS, len(images))
    blank = [np.zeros_like(images[0])] * (-len(images) % columns)
    every = [*images, *blank]
    return np.vstack([np.hstack(every[k : k + columns]) for k in range(0, len(every), columns)])
