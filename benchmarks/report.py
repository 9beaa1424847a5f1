"""What every benchmark ends with: a table for people, JSON for programs."""

from __future__ import annotations

import datetime
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.table import Table

from taskgan_ros.core.files import write_text

Row = dict[str, str | float | int]

ROOT = Path(__file__).resolve().parents[1]


def peak_memory_mb() -> float:
    """Return this process's peak resident memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(
    title: str, rows: list[Row], out: Path | None, summary: Row | None = None, hidden: Collection[str] = ()
) -> None:
    """Write `rows` to `out` as JSON with how, when and on what they were measured, and print them as a table.

    Args:
        title: of the table.
        rows: all with the same names.
        out: the JSON; None writes none.
        summary: figures of the whole run, by what they are.
        hidden: columns that the JSON has, and no table.
    """
    if out:
        result = {"title": title, **_origin(), "summary": summary or {}, "hidden": sorted(hidden), "rows": rows}
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, json.dumps(result, indent=2) + "\n")
    console = Console() if sys.stdout.isatty() else Console(width=200)  # a log takes a wide table whole
    table = Table(title=title)
    shown = [name for name in rows[0] if name not in hidden]
    for name in shown:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*(as_text(row[name]) for name in shown))
    console.print(table)
    for name, value in (summary or {}).items():
        console.print(f"{name}: {as_text(value)}")


def as_text(value: str | float | int) -> str:
    """Return a figure as a table shows it: four digits of what is not a whole number."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _origin() -> dict[str, object]:
    script = Path(sys.argv[0]).resolve()
    command = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script
    return {
        "command": shlex.join([str(command), *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": COMMIT,
        "machine": {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()},
    }


def commit_of(tree: Path) -> str:
    """Return a checkout's commit, `-dirty` where files differ from it; empty outside of a clone."""
    asked = ["git", "-C", str(tree), "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


COMMIT = commit_of(ROOT)  # of the code that measures, before it writes its results among the code's files
