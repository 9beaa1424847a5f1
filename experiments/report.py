"""A study's report: Markdown and plots, made from its records alone."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from experiments.page import Page
from experiments.results import Record
from experiments.sections import SECTIONS
from experiments.summary import NONE, SMOKE, Results, table
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import write_text


def write_report(study: str, records: Sequence[Record], folder: Path) -> None:
    """Write `folder/STUDY.md` and its plots, `folder/STUDY/*.png`; the same records give the same bytes.

    Grids of translations that lie at `grid_path` are shown too.

    Raises:
        InputError: an unknown study.
    """
    if study not in SECTIONS:
        raise InputError(f"expected a study of {sorted(SECTIONS)}, got {study!r}")
    section, results, page = SECTIONS[study], Results(records), Page(folder, study)
    folder.mkdir(parents=True, exist_ok=True)
    page.add(f"# {section.title}", section.about)
    _add_smoke(page, records)
    if results.records or not records:
        _add_origin(page, results)
        section.write(page, results)
        _add_times(page, results)
    write_text(folder / f"{study}.md", str(page))


def _add_smoke(page: Page, records: Sequence[Record]) -> None:
    smoke = [record for record in records if record.scale == SMOKE and record.figures is not None]
    if smoke:
        page.add(f"A smoke run succeeded ({len(smoke)} jobs): everything runs. Its numbers mean nothing.")


def _add_origin(page: Page, results: Results) -> None:
    """Add how, when and on what the figures were made."""
    ran = results.ran
    days = sorted({record.finished[:10] for record in ran if record.finished})
    facts = {
        "scale": _listed(record.scale for record in results.records),
        "seeds": _listed(str(record.seed) for record in results.records),
        "jobs": f"{len(ran)} of {len(results.records)} run",
        "hardware": _listed(record.hardware for record in ran),
        "dates": " to ".join(dict.fromkeys((days[0], days[-1]))) if days else NONE,
        "commits": _listed(record.commit for record in ran),
        "command": _listed(f"`{_whole_command(record.command)}`" for record in results.records if record.command),
    }
    page.add(table("made by", {name: name for name in facts}, {"": ""}, lambda name, _: facts[name]))


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted({value for value in values if value})) or NONE


def _whole_command(command: str) -> str:
    """Return the command of the study that a job's command is for."""
    words = shlex.split(command)
    if "--only" in words:
        place = words.index("--only")
        del words[place : place + 2]
    return shlex.join(words)


def _add_times(page: Page, results: Results) -> None:
    """Add how long jobs took."""
    steps: dict[str, list[float]] = {}
    for record in results.ran:
        if record.seconds is not None:
            steps.setdefault(record.step, []).append(record.seconds)
    rows = dict(sorted(steps.items()))
    rows["all"] = [seconds for times in steps.values() for seconds in times]
    columns: dict[str, Callable[[list[float]], str]] = {  # fsum, because sum rounds otherwise from CPython 3.12 on
        "jobs": lambda times: str(len(times)),
        "mean": lambda times: _duration(math.fsum(times) / len(times)) if times else NONE,
        "total": lambda times: _duration(math.fsum(times)),
    }
    page.add("## Time", table("step", rows, columns, lambda times, show: show(times)))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
