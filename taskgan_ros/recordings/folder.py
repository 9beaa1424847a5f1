"""A folder of images with the joint angles of each in a CSV or JSON: `docs/recordings.md` has the columns."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_fetched
from taskgan_ros.recordings.read_options import DEGREES, RADIANS, ReadOptions
from taskgan_ros.recordings.source import JointTracks, Shot, Source
from taskgan_ros.vision.camera_model import CameraModel, read_camera_model
from taskgan_ros.vision.compressed import read_compressed
from taskgan_ros.vision.images import Image, RawImage

_IMAGE, _STAMP, _NAMES = "image", "stamp", "joint_names"
_POSITIONS: Final = {"positions": None, "positions_rad": RADIANS, "positions_deg": DEGREES}
_OTHER: Final = ("episode", "mask", "camera", "set_index")  # columns that are no joints
_LATEST_S: Final = 1e11  # since 1970 that is the year 5138
_LONGEST_PATH: Final = 200  # characters in an error
_SHOWN: Final = 40  # characters of what is no number
_CAMERA_FILES: Final = ("camera_info.yaml", "camera.yaml", "camera.json", "camera/camera_info.yaml")


def read_folder(path: Path, options: ReadOptions) -> Source:
    """Return a folder of images as a recording; `path` is the folder, or its CSV or JSON.

    Raises:
        InputError: no table, a table without images or joints, with mixed units or invalid numbers, or a missing image.
    """
    table = _table(path)
    check_fetched(table)
    rows = _read_csv(table) if table.suffix == ".csv" else _read_json(table)
    if not rows:
        raise InputError(f"{table}: expected a row for each image, got none")
    joints, units, stamps = JointTracks(), _units(rows, table), _stamps(rows, table)
    for k, row in enumerate(rows):
        joints.add(stamps[k], *_positions(row, f"{table}: row {k + 1}"))
    images = [table.parent / str(_get(row, _IMAGE, f"{table}: row {k + 1}")) for k, row in enumerate(rows)]
    if missing := [str(image)[:_LONGEST_PATH] for image in images if not _is_file(image)]:
        raise InputError(f"{table}: expected {len(images)} images, got none of {missing[:3]} ({len(missing)} missing)")
    check_fetched(images[0])
    return Source(
        name=str(path),
        shots=partial(_shots, images, stamps),
        count=len(images),
        joints=joints,
        camera=None if options.camera_info else _camera(table.parent),
        default_units=units,
        remarks=_remarks(rows, stamps, table),
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long a name, or a folder that nobody may read
        return False


def _table(path: Path) -> Path:
    if path.is_file():
        return path
    tables = sorted(file for file in path.iterdir() if file.suffix in (".csv", ".json"))
    tables = [file for file in tables if str(file.relative_to(path)) not in _CAMERA_FILES]
    if len(tables) != 1:
        raise InputError(
            f"{path}: expected a bag, a LeRobotDataset, or images with one CSV or JSON of joint angles, got "
            f"{[file.name for file in tables] or 'none of them'}"
        )
    return tables[0]


def _read_csv(table: Path) -> list[dict[str, Any]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows, counts = list(reader), Counter(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: expected a CSV file, got: {error}") from error
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"{table}: expected each column once, got {twice} more often")
    return rows


def _read_json(table: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(table.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{table}: expected a JSON file, got: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{table}: expected a list of objects, one per image, got {type(rows).__name__}")
    return rows


def _stamps(rows: Sequence[dict[str, Any]], table: Path) -> list[float]:
    if not any(_STAMP in row for row in rows):
        return [float(k) for k in range(len(rows))]
    origins = [f"{table}: row {k + 1}" for k in range(len(rows))]
    return [_number(_get(row, _STAMP, at), f"{at}: {_STAMP}") for row, at in zip(rows, origins, strict=True)]


def _remarks(rows: Sequence[dict[str, Any]], stamps: Sequence[float], table: Path) -> list[str]:
    if _STAMP not in rows[0]:
        return [f"{table.name} has no stamps: its images count as 1 s apart"]
    if max(stamps) > _LATEST_S:
        return [f"stamps are taken for s, but one of {max(stamps):.4g} looks like ns, µs or ms"]
    return []


def _units(rows: Sequence[dict[str, Any]], table: Path) -> str | None:
    """Return the units that all rows' key of positions names, None where none does."""
    key = _key(rows[0])
    for k, row in enumerate(rows):
        if (other := _key(row)) != key:
            names = [name or "a key for each joint" for name in (key, other)]
            raise InputError(f"{table}: row {k + 1}: expected {names[0]} as in row 1, got {names[1]}")
    return _POSITIONS[key] if key else None


def _key(row: dict[str, Any]) -> str | None:
    return next((key for key in _POSITIONS if key in row), None)


def _positions(row: dict[str, Any], origin: str) -> tuple[list[str], list[float]]:
    """Return the joints' names and their positions."""
    key = _key(row)
    if key is None:
        names = [name for name in row if name is not None and name not in (_IMAGE, _STAMP, *_OTHER)]
        return names, [_number(row[name], f"{origin}: {name}") for name in names]
    names, positions = _get(row, _NAMES, origin), row[key]
    if not isinstance(names, list) or not isinstance(positions, list) or len(names) != len(positions):
        raise InputError(f"{origin}: expected {_NAMES} and as many {key}, got {names!r} and {positions!r}")
    return [str(name) for name in names], [_number(value, f"{origin}: {key}") for value in positions]


def _get(row: dict[str, Any], key: str, origin: str) -> Any:
    if key not in row:
        raise InputError(f"{origin}: expected {key!r}, got {list(row)}")
    return row[key]


def _number(value: Any, origin: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # JSON has integers of any length
        raise InputError(f"{origin}: expected a number, got {repr(value)[:_SHOWN]}") from None
    if not math.isfinite(number):
        raise InputError(f"{origin}: expected a finite number, got {number}")
    return number


def _camera(folder: Path) -> CameraModel | None:
    for name in _CAMERA_FILES:
        if (folder / name).is_file():
            return read_camera_model(folder / name)
    return None


def _shots(images: Sequence[Path], stamps: Sequence[float]) -> Iterator[Shot]:
    for image, stamp_s in zip(images, stamps, strict=True):
        data = image.read_bytes()
        yield Shot(stamp_s, data, partial(_decode, image, data))


def _decode(image: Path, data: bytes) -> Image:
    if image.suffix.lower() in (".jpg", ".jpeg", ".png"):
        try:
            return read_compressed("", data).to_rgb()
        except InputError as error:
            raise InputError(f"{image}: {error}") from error
    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"{image}: expected an image, got another file")
    return RawImage(pixels, "bgr8").to_rgb()  # type: ignore[arg-type]
