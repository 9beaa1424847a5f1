"""A recording's own empty scene: made from its frames, and drawn behind the simulated arm and objects.

A camera's background is what differs most from a simulation's, and what is cheapest to have: arm and objects are masked
in each frame by their recorded places, the median of what is left is the scene without them, and what they always hid
is filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.angles import angle_difference
from taskgan_ros.robot.silhouette import grown
from taskgan_ros.sim.domain import Background
from taskgan_ros.sim.photos import read_photo
from taskgan_ros.sim.silhouettes import Silhouettes
from taskgan_ros.tasks.state import CellState

if TYPE_CHECKING:
    from taskgan_ros.sim.cell import Shown

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

DATASETS = (".h5", ".hdf5")
_MOVED_RAD = 0.02  # of a joint, or m: less, and a frame shows what the one before it showed
_MOST_FRAMES = 400  # evenly over the recording: more make the median no better
# About the silhouette, as a share of the image's height: shadows at its edge, and a calibration that is a little off.
_MARGIN, _LEAST_MARGIN_PX = 0.03, 2
_LEAST_SEEN = 3  # frames in which a pixel is free of the arm; of fewer, the median may be an outlier
_MOST_FILLED = 0.5  # of the image: beyond, the scene is made up
_INPAINT_PX = 3
_OTHER_SHAPE = 0.02  # of width over height, which rounding to whole pixels may change


@dataclass(frozen=True)
class EmptyScene:
    """A recording's scene without its arm.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        frames: how many it was made of.
        filled: share of its pixels that the arm always hid, which were filled from around them.
    """

    image: Image
    frames: int
    filled: float


@dataclass(frozen=True)
class BackgroundSample:
    """One episode's background: factors (3,) on its channels, and its shift (2,) to the right and down in pixels."""

    gain: Array
    shift_px: Array


def sample_background(background: Background, rng: np.random.Generator) -> BackgroundSample | None:
    """Draw how a domain's background looks in one episode; None where that has the domain's own table."""
    if rng.random() >= background.share:
        return None
    tint = 1 + rng.uniform(-background.jitter, background.jitter, 3)
    shift = rng.uniform(-background.shift_px, background.shift_px, 2)
    return BackgroundSample(rng.uniform(*background.brightness) * tint, shift)


def empty_scene(images: Image, states: Sequence[CellState], scene: Shown) -> EmptyScene:
    """Return the scene behind arm and objects: per pixel the median of the frames in which they do not hide it.

    Frames in which the arm has not moved since the last one taken are left out: where it rests, they would outvote all
    others. What is hidden in nearly every frame is filled from around it (Telea 2004). Objects whose places the states
    do not have stay, if they never move.

    Args:
        images: (N, H, W, 3) uint8 RGB, of one fixed camera.
        states: N of them, in order.
        scene: where arm and camera stand.

    Raises:
        InputError: an arm that hides more than half of the image in all frames, or no headless OpenGL.
    """
    rows = _moved(np.stack([state.joint_pos for state in states]), scene)
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_FRAMES)).round().astype(int)]
    hidden = masks([states[row] for row in rows], scene, *images.shape[1:3])
    holes = (~hidden).sum(axis=0) < min(_LEAST_SEEN, len(rows))
    if holes.mean() > _MOST_FILLED:
        expected = f"frames that show at least {_MOST_FILLED:.0%} of the scene behind the arm"
        raise InputError(f"background: expected {expected}, got {1 - holes.mean():.0%} of {len(rows)} frames")
    median = np.stack([_median(images[rows, y], hidden[:, y]) for y in range(images.shape[1])])
    filled = cv2.inpaint(median, holes.astype(np.uint8), _INPAINT_PX, cv2.INPAINT_TELEA) if holes.any() else median
    return EmptyScene(filled.astype(np.uint8), len(rows), float(holes.mean()))


def masks(states: Sequence[CellState], scene: Shown, height: int, width: int) -> NDArray[np.bool_]:
    """Return where (N, height, width) arm and objects hide the scene, with a margin."""
    margin_px = max(_LEAST_MARGIN_PX, _MARGIN * height)
    with Silhouettes(scene, height, width) as silhouettes:
        return np.stack([grown(silhouettes.draw(state), margin_px) for state in states])


def load_background(background: Background, scene: Shown, height: int, width: int) -> Image:
    """Return a domain's background (height, width, 3) uint8: an image file, or made of a dataset's frames.

    Raises:
        InputError: a file that is neither, frames of another arm, an image of another shape than the camera's.
    """
    path = Path(background.file)
    image = _from_dataset(path, scene) if path.suffix in DATASETS else read_photo(path)
    shape = image.shape[1] / image.shape[0]
    if abs(shape * height / width - 1) > _OTHER_SHAPE:
        expected = f"a background of the camera's shape, {width}:{height}"
        raise InputError(f"{path}: expected {expected}, got {image.shape[1]}:{image.shape[0]}")
    if image.shape[:2] == (height, width):
        return image
    smaller = image.shape[0] > height
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR).astype(
        np.uint8
    )


def vary(image: Image, look: BackgroundSample) -> NDArray[np.float32]:
    """Return a background (H, W, 3) as it looks in one episode, float32 of 0 to 255; a shift repeats edge pixels."""
    height, width = image.shape[:2]
    shown: NDArray[np.float32] = image.astype(np.float32)
    if look.shift_px.any():
        move = np.column_stack([np.eye(2), look.shift_px]).astype(np.float32)
        shown = cv2.warpAffine(shown, move, (width, height), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    return np.clip(shown * look.gain.astype(np.float32), 0, 255)


def _from_dataset(path: Path, scene: Shown) -> Image:
    from taskgan_ros.data.dataset import load_dataset  # here: a simulated cell does without h5py
    from taskgan_ros.sim.recorded_states import recorded_states

    data = load_dataset(path)
    if data.info.joint_names != scene.robot.arm.joint_names:
        expected = f"a recording of {scene.robot.arm.name} with the joints {list(scene.robot.arm.joint_names)}"
        raise InputError(f"{path}: expected {expected}, got {list(data.info.joint_names)}")
    return empty_scene(data.images, recorded_states(data, scene), scene).image


def _moved(joint_pos: Array, scene: Shown) -> NDArray[np.int64]:
    """Return the rows at which the arm has moved since the row before them."""
    rows = [0]
    for k in range(1, len(joint_pos)):
        step = angle_difference(joint_pos[k], joint_pos[rows[-1]], scene.robot.arm.is_continuous)
        if np.max(np.abs(step)) > _MOVED_RAD:
            rows.append(k)
    return np.array(rows)


def _median(line: Image, hidden: NDArray[np.bool_]) -> Image:
    """Return the median (W, 3) of one line of frames (N, W, 3) where not `hidden` (N, W); of all where all are."""
    free = np.where((hidden & ~hidden.all(axis=0))[..., None], np.nan, line.astype(np.float32))
    return np.nanmedian(free, axis=0).round().astype(np.uint8)
