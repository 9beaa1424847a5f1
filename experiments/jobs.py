"""The jobs of a study: each a plain command, what it makes, and what it needs first."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskgan_ros.core.config import read_yaml, resolve, short_name

COLLECT = "collect"
_NAMED = {"domain": "domains", "paired": "domains", "recipe": "recipes"}  # options that may name a user's file


@dataclass(frozen=True)
class Step:
    """A kind of work that jobs do.

    Attributes:
        command: that does it, without options.
        has_seed: whether it takes `--seed`.
        has_device: whether it takes `--device`.
    """

    command: str
    has_seed: bool = True
    has_device: bool = True


STEPS = {
    COLLECT: Step("taskgan collect", has_device=False),
    "task-model": Step("taskgan train task-model"),
    "two-column": Step("taskgan train two-column"),
    "translator": Step("taskgan train translator"),
    "refine": Step("taskgan refine"),
    "closed-loop": Step("python -m experiments.measure closed-loop", has_device=False),
    "translations": Step("python -m experiments.measure translations", has_seed=False),
    "angles": Step("python -m experiments.measure angles", has_seed=False),
    "symmetry": Step("python -m experiments.measure symmetry", has_device=False),
}


@dataclass(frozen=True, eq=False)
class Job:
    """One unit of a study.

    Attributes:
        name: its place in the study's table, parts separated by slashes; with the seed it is unique in a study.
        step: what it does.
        seed: the study's seed that it belongs to.
        place: folder of the scale, seed and scene: studies share what has the same name there.
        options: of the step's command.
        needs: options whose values are outputs of other jobs.
    """

    name: str
    step: str
    seed: int
    place: str
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, Job] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and seed."""
        return f"{self.name} (seed {self.seed})"

    @property
    def recipes(self) -> set[str]:
        """Names of the recipes that it comes from."""
        own = {short_name(self.options["recipe"])} if "recipe" in self.options else set()
        return own.union(*(need.recipes for need in self.needs.values()))

    @property
    def path(self) -> str:
        """Where its files are, without their endings; each path stands for one configuration."""
        return f"{'-'.join([self.place, *sorted(self.recipes)])}/{self.name}"

    @property
    def output(self) -> Path:
        """The dataset or the folder that it makes."""
        return Path(f"{self.path}.h5" if self.step == COLLECT else self.path)

    @property
    def record(self) -> Path:
        """What is written once it is done: how long it took, when and on what."""
        return Path(f"{self.path}.json")

    @property
    def log(self) -> Path:
        """What its last attempt printed."""
        return Path(f"{self.path}.log")

    @property
    def command(self) -> str:
        """The shell command that does it, without what changes no result: `--out`, `--device`, `--workers`."""
        step = STEPS[self.step]
        values: dict[str, Any] = {"seed": self.seed} if step.has_seed else {}
        values |= {**self.options, **{name: need.output for name, need in self.needs.items()}}
        words = [(f"--{name.replace('_', '-')}", str(value)) for name, value in values.items() if value is not None]
        return shlex.join([*step.command.split(), *(word for pair in words for word in pair)])

    def named_files(self) -> list[Any]:
        """Return what the files say that its options name; comments do not count.

        Raises:
            InputError: one that cannot be read.
        """
        return [read_yaml(resolve(kind, self.options[name])) for name, kind in _NAMED.items() if self.options.get(name)]


def with_needs(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs and all that they come from, each once, after what it needs."""
    ordered: dict[Job, None] = {}

    def visit(job: Job) -> None:
        for need in job.needs.values():
            visit(need)
        ordered.setdefault(job)

    for job in jobs:
        visit(job)
    return list(ordered)
