"""The results of a study's jobs as one JSON file, from which its tables and plots are made."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from taskgan_ros.core.config import build
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import write_text

FIGURES: Final = "figures.json"  # that a measurement leaves in its folder
DISTANCES: Final = "final_distances_m"  # of a closed loop's episodes; success at any threshold comes from them
_CLOSED_LOOP = ("successes", "episodes", "steps", "threshold_m", "final_distance_mean_m", "final_distance_std_m")
_FIGURES = {  # what reports are made from, by the kind of work that gives it
    "closed-loop": _CLOSED_LOOP,
    "translations": ("l1", "ssim", "kid", "judge_error", "judge_floor"),
    "angles": ("l2", "rms_deg"),
    "symmetry": ("difference_90", "difference_180"),
}
_FLAT_LIST = re.compile(r'\[\n([^\[\]{}"]*)\]')  # of numbers; no string holds a line break


@dataclass(frozen=True)
class Record:
    """The result of one job.

    Attributes:
        study: that shows it.
        name: its place in the study, parts separated by slashes.
        seed: of the study.
        step: what kind of work it was.
        scale: how large; `smoke` is never shown.
        figures: what came out, or None where it has not run.
        seconds: how long it ran, or None.
        commit: of the code that ran it.
        command: that runs it.
        hardware: it ran on.
        finished: ISO 8601 date, or "".
    """

    study: str
    name: str
    seed: int
    step: str
    scale: str
    figures: dict[str, Any] | None
    seconds: float | None
    commit: str
    command: str
    hardware: str
    finished: str


def load_results(path: Path) -> list[Record]:
    """Return a study's records; none where there is no file.

    Raises:
        InputError: a file that `save_results` did not write.
    """
    if not path.exists():
        return []
    values = read_json(path)
    records = values.get("records") if isinstance(values, dict) else None
    if not isinstance(records, list):
        raise InputError(f"{path}: expected a mapping with a list of records, got {type(records or values).__name__}")
    return [_build_record(value, f"{path}: record {number}") for number, value in enumerate(records)]


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, unchecked.

    Raises:
        InputError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a readable JSON file, got: {error}") from error


def _build_record(value: Any, origin: str) -> Record:
    """Check a record, its command and the figures that reports are made from."""
    record = build(Record, value, origin)
    try:
        shlex.split(record.command)
    except ValueError as error:
        raise InputError(f"{origin}: command: expected a shell's words, got {record.command!r}: {error}") from error
    if record.figures is not None:
        for name in _FIGURES.get(record.step, ()):
            _check_number(record.figures, name, f"{origin}: figures")
        if record.step == "closed-loop" and not 0 <= record.figures["successes"] <= record.figures["episodes"] > 0:
            raise InputError(f"{origin}: figures: expected 0 to episodes successes, got {record.figures}")
        if record.step == "closed-loop" and DISTANCES in record.figures:
            _check_distances(record.figures[DISTANCES], record.figures["episodes"], f"{origin}: figures")
        if record.step == "angles":
            joints = record.figures.get("rms_deg_per_joint")
            if not isinstance(joints, dict) or not joints:
                raise InputError(f"{origin}: figures: rms_deg_per_joint: expected joints by name, got {joints!r}")
            for name in joints:
                _check_number(joints, name, f"{origin}: figures: rms_deg_per_joint")
    return record


def _check_distances(distances: Any, episodes: int, origin: str) -> None:
    count = len(distances) if isinstance(distances, list) else distances
    if count != episodes:
        raise InputError(f"{origin}: {DISTANCES}: expected a list of {episodes} numbers, got {count!r}")
    for place in range(count):
        _check_number(dict(enumerate(distances)), place, f"{origin}: {DISTANCES}")


def _check_number(figures: Mapping[Any, Any], name: Any, origin: str) -> None:
    value = figures.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{origin}: {name}: expected a number, got {value!r}")


def save_results(path: Path, records: Iterable[Record]) -> None:
    """Write records by name and seed, whole or not at all; a list of numbers takes one line, so that diffs are short.

    Raises:
        InputError: it cannot be written.
    """
    ordered = sorted(records, key=lambda record: (record.name, record.seed))
    text = json.dumps({"records": [dataclasses.asdict(record) for record in ordered]}, indent=1)
    write_text(path, _FLAT_LIST.sub(lambda found: f"[{' '.join(found.group(1).split())}]", text) + "\n")
