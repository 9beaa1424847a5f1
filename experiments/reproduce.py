"""`taskgan reproduce`: hand a study to Snakemake, and write its tables from what there is."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import snakemake  # noqa: F401  # started as a process; here, so that what is missing is named at once
import tyro

from experiments.jobs import Job, with_needs
from experiments.page import grid_path
from experiments.pictures import SYMMETRY, TRANSLATIONS
from experiments.report import write_report
from experiments.results import FIGURES, Record, load_results, read_json, save_results
from experiments.studies import STUDIES, study_jobs
from experiments.summary import SMOKE
from taskgan_ros.core.config import build, expand_home, is_path, short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import make_folder
from taskgan_ros.core.progress import print_line
from taskgan_ros.core.schema import config_dataclass, to_plain
from taskgan_ros.training.run import pick_device

SNAKEFILE: Final = Path(__file__).with_name("Snakefile")
_DRY_RUN = frozenset({"--dry-run", "--dryrun", "-n"})  # Snakemake's own, behind `--`: it must write no results either
_WHERE = ("--cores", "-c", "--jobs", "-j", "--executor", "-e", "--profile")  # options that say where jobs run


@config_dataclass
class ReproduceConfig:
    """Run a study of the paper, or resume it; every job that has run is kept. Further options go to Snakemake."""

    study: tyro.conf.Positional[
        Literal["reaching", "task-loss", "unseen", "joint-angles", "methods", "adaptation", "seeds", "path-traced"]
    ]
    """Which."""
    scale: str = "cpu"
    """smoke (minutes, meaningless numbers), cpu (hours, two cores), full (the paper's sizes; a GPU), or a YAML file."""
    domains: tuple[str, ...] = ()
    """Shipped domains' names or YAML files, in place of the study's own."""
    recipe: str = "default"
    """The recipe of translators for which the study names no other."""
    only: tuple[str, ...] = ("*",)
    """Measurements to run, as shell patterns of their names (`target_wood/*`); what they need runs too."""
    force: bool = False
    """Run those measurements again."""
    cache: Path = Path("runs/reproduce")
    """Snakemake's working directory, where jobs keep what they made."""
    out: Path = Path("docs/results")
    """Where STUDY.json and STUDY.md go; those of smoke go into the cache. Other domains' results there stay."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dry_run: Annotated[bool, tyro.conf.arg(aliases=["-n"])] = False
    """Let Snakemake list what it would run and why, and run nothing."""


def main(arguments: Sequence[str]) -> int:
    """Run `taskgan reproduce` with these arguments, and return 0, or another status where a job failed.

    Raises:
        InputError: as `reproduce`.
        KeyboardInterrupt: likewise.
    """
    place = arguments.index("--") if "--" in arguments else len(arguments)
    config, unknown = tyro.cli(
        ReproduceConfig, prog="taskgan reproduce", args=arguments[:place], return_unknown_args=True
    )
    return reproduce(config, [*unknown, *arguments[place + 1 :]])


def reproduce(config: ReproduceConfig, options: Sequence[str] = ()) -> int:
    """Let Snakemake run what has not run of a study, write its tables, and return Snakemake's status.

    Raises:
        InputError: an unknown name, a pattern that fits no job, or results in `out` of another scale or recipe.
        KeyboardInterrupt: the jobs at work can be resumed.
    """
    has_gpu = pick_device(config.device).type == "cuda"
    plan = Plan(_absolute(config))
    words = _snakemake(plan, has_gpu, options)
    if config.dry_run or not _DRY_RUN.isdisjoint(options):
        return subprocess.run([*words, "--dry-run"]).returncode
    plan.write()  # hours before there is something to lose, and not after
    start = time.time()
    try:
        status = _run(words)
    finally:
        plan.write()
        plan.say_where()
    for job, fault in plan.failed(start):
        print_line(f"{job.label} failed: {fault}")
    return status


class Plan:
    """A study's jobs, and what there is of them.

    Attributes:
        config: what was asked for.
        jobs: all of the study, each after what it needs.
        results: the JSON of what they gave.
    """

    def __init__(self, config: ReproduceConfig) -> None:
        """Make the jobs and read the results so far.

        Raises:
            InputError: as `reproduce`.
        """
        self.config, self._scale = config, short_name(config.scale)
        self._shown = study_jobs(STUDIES[config.study], config.scale, config.recipe, config.domains)
        self._wanted = [job for job in self._shown if any(fnmatch.fnmatch(job.name, name) for name in config.only)]
        if not self._wanted:
            names = ", ".join(sorted({job.name for job in self._shown}))
            raise InputError(f"--only: expected patterns of some of [{names}], got {list(config.only)}")
        self.jobs = with_needs(self._shown)
        folder = config.cache / "smoke" if self._scale == SMOKE else config.out
        self.results = folder / f"{config.study}.json"
        self._before = self._load()

    def _load(self) -> dict[tuple[str, int], Record]:
        """Return the results so far by name and seed, those of other domains among them."""
        config, study = self.config, STUDIES[self.config.study]
        expected = {"study": config.study, "scale": self._scale, "recipe": config.recipe}
        if len(study.domains) == 1:  # whose jobs are not named by it
            expected["domain"] = " ".join(config.domains or study.domains)
        records = load_results(self.results)
        for record in records:
            words = shlex.split(record.command)
            actual = {"study": record.study, "scale": record.scale}
            actual["recipe"] = " ".join(_values(words, "--recipe")) or "default"
            actual["domain"] = " ".join(_values(words, "--domains") or study.domains)
            for what, value in expected.items():
                if actual[what] != value:
                    raise InputError(
                        f"{self.results}: expected results of {what} {value} to resume, got {actual[what]}: "
                        f"give another {'--cache' if self._scale == SMOKE else '--out'}"
                    )
        return {(record.name, record.seed): record for record in records}

    def targets(self) -> list[Job]:
        """Return the measurements that Snakemake is to bring up to date.

        Those that the results alone know, as in a fresh clone, are none: what they came from is not made again to see
        whether they are.
        """
        return [
            job
            for job in self._wanted
            if self.config.force or self._record(job).figures is None or (self.config.cache / job.record).exists()
        ]

    def write(self) -> None:
        """Write the results and their tables, with those that others have written since.

        Raises:
            InputError: they cannot be written, or there are results now that these must not be mixed with.
        """
        make_folder(self.results.parent)
        self._before = self._load()
        self._before |= {(job.name, job.seed): self._record(job) for job in self.jobs}
        save_results(self.results, self._before.values())
        self._copy_pictures()
        write_report(self.config.study, list(self._before.values()), self.results.parent)

    def _record(self, job: Job) -> Record:
        """Return the newest that is known of a job: from the cache, the results so far, or that it has not run."""
        values = {"study": self.config.study, "name": job.name, "seed": job.seed, "step": job.step}
        values |= {"scale": self._scale, "command": self._command(job)}
        known = [build(Record, values | _NOT_RUN, job.name)]
        if before := self._before.get((job.name, job.seed)):
            known.append(before)
        if (path := self.config.cache / job.record).exists():
            figures = self.config.cache / job.output / FIGURES
            done = {**read_json(path), "figures": read_json(figures) if figures.exists() else {}}
            known.append(build(Record, values | done, str(path)))
        return max(known, key=lambda record: record.finished)

    def _command(self, job: Job) -> str:
        config = self.config
        words = ["taskgan", "reproduce", config.study, "--scale", config.scale]
        words += ["--domains", *config.domains] if config.domains else []
        words += ["--recipe", config.recipe] if config.recipe != "default" else []
        return shlex.join(words + (["--only", job.name] if job in self._shown else []))

    def _copy_pictures(self) -> None:
        """Copy the pictures of the first seed's measurements to where the report expects them."""
        folder, study = self.results.parent, self.config.study
        for job in self._shown:
            places = {TRANSLATIONS: grid_path(folder, study, job.name), SYMMETRY: folder / study / SYMMETRY}
            for name, place in places.items():
                picture = self.config.cache / job.output / name
                if picture.is_file() and not job.seed:
                    make_folder(place.parent)
                    shutil.copyfile(picture, place)

    def say_where(self) -> None:
        """Say what there is now, and where."""
        known = sum(self._record(job).figures is not None for job in self._shown)
        report = self.results.with_suffix(".md")
        print_line(f"{report}: {known} of {len(self._shown)} measurements; figures in {self.results.name}")

    def failed(self, since: float) -> list[tuple[Job, str]]:
        """Return the jobs that were tried after a time, in s since 1970, and left nothing, with their last words."""
        found = []
        for job in self.jobs:
            log = self.config.cache / job.log
            if log.exists() and log.stat().st_mtime >= since and not (self.config.cache / job.record).exists():
                words = log.read_text(encoding="utf-8", errors="replace").split("\n")
                found.append((job, next((line for line in reversed(words) if line.strip()), "no word")))
        return found


_NOT_RUN = {"figures": None, "seconds": None, "commit": "", "hardware": "", "finished": ""}


def _values(words: list[str], option: str) -> list[str]:
    """Return the values that an option has in a command's words."""
    if option not in words:
        return []
    rest = words[words.index(option) + 1 :]
    return rest[: next((place for place, word in enumerate(rest) if word.startswith("--")), len(rest))]


def _absolute(config: ReproduceConfig) -> ReproduceConfig:
    """Return the configuration as it reads from any folder."""

    def file(name: str) -> str:
        return str(expand_home(name).absolute()) if is_path(name) else name

    return dataclasses.replace(
        config,
        scale=file(config.scale),
        domains=tuple(file(domain) for domain in config.domains),
        recipe=file(config.recipe),
        out=config.out.absolute(),
    )


def _snakemake(plan: Plan, has_gpu: bool, options: Sequence[str]) -> list[str]:
    """Return the command that runs a plan, with the user's own options last; one job at a time has the GPU."""
    config = plan.config
    make_folder(config.cache)
    given = to_plain(dataclasses.replace(config, cache=Path(), dry_run=False))
    words = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(config.cache)]
    words += ["--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime", "params"]
    words += ["--config", *(f"{name}={json.dumps(value)}" for name, value in given.items())]
    if not any(option.startswith(_WHERE) for option in options):
        words += ["--cores", "all"] + (["--resources", "gpu=1"] if has_gpu else [])
    if config.force:
        words += ["--forcerun", *(str(job.record) for job in plan.targets())]
    return [*words, *options]


def _run(words: Sequence[str]) -> int:
    """Run Snakemake and return its status; an interrupt is passed on to it and all its jobs, once each.

    Raises:
        KeyboardInterrupt: after all of them have ended.
    """
    process, stopped_by = subprocess.Popen(words, start_new_session=True), None
    while process.returncode is None:
        try:
            process.wait()
        except BaseException as error:
            stopped_by = error
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
    if isinstance(stopped_by, KeyboardInterrupt):
        raise KeyboardInterrupt("interrupted; the same command resumes") from stopped_by
    if stopped_by:
        raise stopped_by
    return process.returncode
