"""What the cells of a study gave, as one JSON file: all that its tables and plots are made from."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskgan_ros.config import build
from taskgan_ros.errors import InputError
from taskgan_ros.training.run import write_text

_FLAT_LIST = re.compile(r'\[\n([^\[\]{}"]*)\]')  # of numbers; no string holds a line break


@dataclass(frozen=True)
class Record:
    """What one cell gave.

    Attributes:
        study: that shows it.
        name: its place in the study, parts separated by slashes.
        seed: of the study.
        key: fixes its result.
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
    key: str
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
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a readable JSON file, got: {error}") from error
    records = values.get("records") if isinstance(values, dict) else None
    if not isinstance(records, list):
        raise InputError(f"{path}: expected a mapping with a list of records, got {type(records or values).__name__}")
    return [build(Record, value, f"{path}: record {number}") for number, value in enumerate(records)]


def save_results(path: Path, records: Iterable[Record]) -> None:
    """Write records by name and seed, whole or not at all; a list of numbers takes one line, so that diffs are short.

    Raises:
        InputError: it cannot be written.
    """
    ordered = sorted(records, key=lambda record: (record.name, record.seed))
    text = json.dumps({"records": [dataclasses.asdict(record) for record in ordered]}, indent=1)
    write_text(path, _FLAT_LIST.sub(lambda found: f"[{' '.join(found.group(1).split())}]", text) + "\n")
