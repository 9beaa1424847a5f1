"""Records averaged over seeds, and printed as the cells of a Markdown table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from experiments.results import DISTANCES, Record
from experiments.statistics import difference_interval, wilson_interval

SMOKE = "smoke"
NOT_RUN = "not run"
NONE = "–"

Row = TypeVar("Row")
Column = TypeVar("Column")


@dataclass(frozen=True)
class Arrivals:
    """Closed-loop episodes of all seeds together.

    Attributes:
        successes, episodes: counts.
        distance_m, distance_std_m: mean and standard deviation of all final distances.
    """

    successes: int
    episodes: int
    distance_m: float
    distance_std_m: float

    @property
    def rate(self) -> float:
        """Share of successes."""
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """The rate's 95 % bounds."""
        return wilson_interval(self.successes, self.episodes)


class Results:
    """The records of a study, without those of smoke runs.

    Attributes:
        records: all others, jobs that have not run among them.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        """Take a study's records in any order."""
        self.records = sorted(
            (record for record in records if record.scale != SMOKE), key=lambda record: (record.name, record.seed)
        )

    @property
    def ran(self) -> list[Record]:
        """Records of jobs that have run."""
        return [record for record in self.records if record.figures is not None]

    def named(self, pattern: str) -> list[tuple[str, ...]]:
        """Return the distinct groups of the names, run or not, that a regular expression fits."""
        found = (re.fullmatch(pattern, record.name) for record in self.records)
        return list(dict.fromkeys(match.groups() for match in found if match))

    def has(self, name: str) -> bool:
        """Return whether the study has such a job, run or not."""
        return any(record.name == name for record in self.records)

    def figures(self, name: str) -> list[dict[str, Any]]:
        """Return what the seeds of a job gave; nothing where none has run."""
        return [record.figures for record in self.records if record.name == name and record.figures is not None]

    def values(self, name: str, figure: str) -> list[float]:
        """Return one figure of each seed; nothing where none has it."""
        return [float(figures[figure]) for figures in self.figures(name) if figure in figures]

    def distinct(self, figure: str) -> str:
        """Return all values of a figure, whatever the job."""
        values = sorted({record.figures[figure] for record in self.ran if record.figures and figure in record.figures})
        return " or ".join(f"{value:g}" for value in values) or NONE

    def mean(self, name: str, figure: str) -> float | None:
        """Return one figure's mean over the seeds, or None where none has run."""
        values = self.values(name, figure)
        return float(np.mean(values)) if values else None

    def arrivals(self, name: str, within_m: float | None = None) -> Arrivals | None:
        """Return the closed loop's episodes of all seeds together, or None where none has run.

        Args:
            name: of the job.
            within_m: counts as a success in place of what counted when it ran.
        """
        seeds = self.figures(name)
        if within_m is not None:
            seeds = [figures for figures in seeds if DISTANCES in figures]
        if not seeds:
            return None
        counts = np.array([figures["episodes"] for figures in seeds])
        means = np.array([figures["final_distance_mean_m"] for figures in seeds])
        spreads = np.array([figures["final_distance_std_m"] for figures in seeds])
        mean = np.average(means, weights=counts)
        variance = np.average(spreads**2 + (means - mean) ** 2, weights=counts)
        successes = sum(figures["successes"] for figures in seeds)
        if within_m is not None:
            successes = sum(distance < within_m for figures in seeds for distance in figures[DISTANCES])
        return Arrivals(successes, int(counts.sum()), float(mean), float(np.sqrt(variance)))

    def rates(self, name: str, within_m: float) -> dict[int, float]:
        """Return by seed how many percent of a closed loop's episodes end within a distance, of seeds that ran."""
        found = {record.seed: record.figures for record in self.records if record.name == name and record.figures}
        ended = {seed: figures[DISTANCES] for seed, figures in found.items() if DISTANCES in figures}
        return {seed: 100 * float(np.mean(np.array(each) < within_m)) for seed, each in ended.items()}

    def missing_seeds(self, name: str) -> str:
        """Return how many seeds of a job have run, in words, or nothing where all have."""
        there, done = sum(record.name == name for record in self.records), len(self.figures(name))
        return "" if done == there else f" ({done} of {there} seeds)"

    def show_success(self, name: str, within_m: float | None = None) -> str:
        """Return the success rate and its interval in percent; `within_m` as in `arrivals`."""
        arrivals = self.arrivals(name, within_m)
        if arrivals is None:
            return NOT_RUN
        low, high = arrivals.interval
        return f"{100 * arrivals.rate:.0f} % [{100 * low:.0f}, {100 * high:.0f}]{self.missing_seeds(name)}"

    def show_distance(self, name: str) -> str:
        """Return the final distance, mean and standard deviation over episodes, in m."""
        arrivals = self.arrivals(name)
        return NOT_RUN if arrivals is None else f"{arrivals.distance_m:.3f} ± {arrivals.distance_std_m:.3f}"

    def show_gain(self, name: str, over: str, within_m: float | None = None) -> str:
        """Return by how many percentage points the first succeeds more often; `within_m` as in `arrivals`."""
        first, second = self.arrivals(name, within_m), self.arrivals(over, within_m)
        if first is None or second is None:
            return NOT_RUN
        low, high = difference_interval((first.successes, first.episodes), (second.successes, second.episodes))
        return f"{100 * (first.rate - second.rate):+.0f} [{100 * low:+.0f}, {100 * high:+.0f}]"

    def show(self, name: str, figure: str) -> str:
        """Return a figure's mean, and its standard deviation over seeds where there are several."""
        return show_values(self.values(name, figure), self.missing_seeds(name))


def show_values(values: list[float], remark: str = "") -> str:
    """Return the mean, and the standard deviation where there are several values."""
    if not values:
        return NOT_RUN
    spread = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):.3g}{spread}{remark}"


def table(
    corner: str, rows: Mapping[str, Row], columns: Mapping[str, Column], cell: Callable[[Row, Column], str]
) -> str:
    """Return a Markdown table; `cell` gives the entry of a titled row and a titled column."""
    lines = [[corner, *columns], ["---"] * (1 + len(columns))]
    lines += [[title, *(cell(row, column) for column in columns.values())] for title, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
