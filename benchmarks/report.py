"""What every benchmark ends with: a table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import resource
from pathlib import Path

from rich.console import Console
from rich.table import Table

Row = dict[str, str | float | int]


def peak_memory_mb() -> float:
    """Return this process's peak resident memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(title: str, rows: list[Row], out: Path | None) -> None:
    """Print `rows` as a table and write them to `out` as JSON, with the kind of machine."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    if out:
        machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(
            json.dumps({"title": title, "machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8"
        )
