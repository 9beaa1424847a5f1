"""A camera's pose that somebody has measured already: seven numbers, easy_handeye's file, or frames of a bag's TF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.config import expand_home, read_yaml
from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.bag import Bag
from taskgan_ros.recordings.transforms import KEYS, TF, TransformTree, pose_from

Array = NDArray[np.float64]


def read_transform(text: str, recordings: Sequence[Path]) -> Array:
    """Return the camera's optical frame (4, 4) in the base's frame.

    Args:
        text: x,y,z,qx,qy,qz,qw in m, easy_handeye's YAML file, or tf:BASE:CAMERA.
        recordings: bags that have the TF.

    Raises:
        InputError: none of these, or frames that TF does not connect.
    """
    if text.startswith("tf:"):
        return _from_tf(text, recordings)
    if "," in text:
        return read_pose(text, "--transform")
    return _from_file(expand_home(text))


def read_pose(text: str, option: str) -> Array:
    """Return the pose (4, 4) that seven numbers with commas are; errors name the `option`."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"{option}: expected {','.join(KEYS)} as numbers, got {text!r}") from None
    return pose_from(numbers, option)


def _from_file(path: Path) -> Array:
    """Return what easy_handeye and easy_handeye2 write: `transform` or `transformation` with x to qw, or with nested.

    For a fixed (eye-to-hand) camera, that is its pose in the base's frame.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected easy_handeye's calibration, got {type(values).__name__}")
    parameters = values.get("parameters")
    if isinstance(parameters, dict) and (
        parameters.get("eye_on_hand") or parameters.get("calibration_type") == "eye_in_hand"
    ):
        raise InputError(f"{path}: expected a camera that stands still, got one on the hand (eye_on_hand)")
    found = values.get("transformation", values.get("transform"))
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected transformation: with {', '.join(KEYS)}, got {list(values)}")
    if "translation" in found and "rotation" in found:
        found = {**found["translation"], **{f"q{axis}": value for axis, value in found["rotation"].items()}}
    try:
        numbers = [float(found[key]) for key in KEYS]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: expected transformation: with {', '.join(KEYS)}, got {list(found)}") from None
    return pose_from(numbers, str(path))


def _from_tf(text: str, recordings: Sequence[Path]) -> Array:
    """Return where the camera's frame is in the base's by the last transforms of the bags."""
    _, *names = text.split(":")
    if len(names) != 2 or not all(names):
        raise InputError(f"--transform: expected tf:BASE_FRAME:CAMERA_FRAME, got {text!r}")
    tree = TransformTree()
    for path in recordings:
        bag = Bag(expand_home(path))
        topics = bag.topics(*TF)
        for _, message in bag.messages(topics) if topics else ():
            for one in message.transforms:
                tree.add(one, str(path))
    base, camera = names
    pose = tree.pose(camera, base)
    if pose is None:
        raise InputError(f"--transform: expected frames that TF connects, got {names} of {tree.frames}")
    return pose
