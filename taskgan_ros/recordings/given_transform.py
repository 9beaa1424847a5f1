"""A camera's pose that somebody has measured already: seven numbers, easy_handeye's file, or frames of a bag's TF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.config import expand_home, read_yaml
from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.bag import Bag

Array = NDArray[np.float64]

_TF: Final = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_UNIT_TOLERANCE: Final = 0.01  # of a quaternion's length
_KEYS: Final = ("x", "y", "z", "qx", "qy", "qz", "qw")


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
        raise InputError(f"{option}: expected {','.join(_KEYS)} as numbers, got {text!r}") from None
    return _pose(numbers, option)


def _pose(numbers: Sequence[float], origin: str) -> Array:
    if len(numbers) != 7 or not np.isfinite(numbers).all():
        raise InputError(f"{origin}: expected seven finite numbers {','.join(_KEYS)}, got {list(numbers)}")
    x, y, z, w = numbers[3:]
    length = float(np.linalg.norm(numbers[3:]))
    if abs(length - 1) > _UNIT_TOLERANCE:
        raise InputError(f"{origin}: expected a quaternion of length 1, got {length:.3g}")
    x, y, z, w = (part / length for part in (x, y, z, w))
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = numbers[:3]
    return pose


def _from_file(path: Path) -> Array:
    """Return what easy_handeye and easy_handeye2 write: `transform` or `transformation` with x to qw, or with nested.

    Of an arm whose camera does not move with it, that is the camera in the base's frame.
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
        raise InputError(f"{path}: expected transformation: with {', '.join(_KEYS)}, got {list(values)}")
    if "translation" in found and "rotation" in found:
        found = {**found["translation"], **{f"q{axis}": value for axis, value in found["rotation"].items()}}
    try:
        numbers = [float(found[key]) for key in _KEYS]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: expected transformation: with {', '.join(_KEYS)}, got {list(found)}") from None
    return _pose(numbers, str(path))


def _from_tf(text: str, recordings: Sequence[Path]) -> Array:
    """Return where the camera's frame is in the base's by the last transforms of the bags."""
    _, *names = text.split(":")
    if len(names) != 2 or not all(names):
        raise InputError(f"--transform: expected tf:BASE_FRAME:CAMERA_FRAME, got {text!r}")
    parents: dict[str, tuple[str, Array]] = {}
    for path in recordings:
        bag = Bag(expand_home(path))
        topics = bag.topics(*_TF)
        for _, message in bag.messages(topics) if topics else ():
            for one in message.transforms:
                parents[one.child_frame_id.lstrip("/")] = (
                    one.header.frame_id.lstrip("/"),
                    _matrix(one.transform, path),
                )
    base, camera = (_to_root(name.lstrip("/"), parents) for name in names)
    if base[0] != camera[0]:
        known = sorted({*parents, *(parent for parent, _ in parents.values())})
        raise InputError(f"--transform: expected frames that TF connects, got {names} of {known}")
    pose: Array = np.linalg.inv(base[1]) @ camera[1]
    return pose


def _to_root(name: str, parents: dict[str, tuple[str, Array]]) -> tuple[str, Array]:
    pose = np.eye(4)
    for _ in range(len(parents)):  # a longer way goes round
        if name not in parents:
            break
        name, step = parents[name]
        pose = step @ pose
    return name, pose


def _matrix(transform: Any, path: Path) -> Array:
    shift, turn = transform.translation, transform.rotation
    return _pose([shift.x, shift.y, shift.z, turn.x, turn.y, turn.z, turn.w], str(path))
