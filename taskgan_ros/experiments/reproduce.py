"""`taskgan reproduce`: run a study's jobs and write its tables."""

from __future__ import annotations

import dataclasses
import fcntl
import fnmatch
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import tyro

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import print_line
from taskgan_ros.core.schema import config_dataclass
from taskgan_ros.core.streams import check_shown
from taskgan_ros.experiments.angles import AnglesConfig, measure_angles
from taskgan_ros.experiments.closed_loop import ClosedLoopConfig, measure_closed_loop
from taskgan_ros.experiments.jobs import Cache, Job, Step
from taskgan_ros.experiments.page import grid_path
from taskgan_ros.experiments.pictures import SYMMETRY, TRANSLATIONS
from taskgan_ros.experiments.report import write_report
from taskgan_ros.experiments.results import Record, load_results, save_results
from taskgan_ros.experiments.studies import STUDIES, load_scale, study_jobs, with_needs
from taskgan_ros.experiments.symmetry import SymmetryConfig, measure_symmetry
from taskgan_ros.experiments.translations import TranslationConfig, measure_translations
from taskgan_ros.sim.collect import CollectConfig, collect
from taskgan_ros.training.run import pick_device
from taskgan_ros.training.steps.refine import RefineConfig, refine
from taskgan_ros.training.steps.task_model import TaskModelConfig, train_task_model
from taskgan_ros.training.steps.translator import TranslatorConfig, train_translator
from taskgan_ros.training.steps.two_column import TwoColumnConfig, train_two_column

_WAIT_S = 2.0  # between looks at what other processes have done

STEPS: Mapping[str, Step] = {
    "collect": Step(CollectConfig, collect, ".h5"),
    "task-model": Step(TaskModelConfig, train_task_model),
    "two-column": Step(TwoColumnConfig, train_two_column),
    "translator": Step(TranslatorConfig, train_translator),
    "refine": Step(RefineConfig, refine),
    "closed-loop": Step(ClosedLoopConfig, measure_closed_loop),
    "translations": Step(TranslationConfig, measure_translations),
    "angles": Step(AnglesConfig, measure_angles),
    "symmetry": Step(SymmetryConfig, measure_symmetry),
}


@config_dataclass
class ReproduceConfig:
    """Run a study of the paper, or resume it; every job that has run is kept."""

    study: tyro.conf.Positional[Literal["reaching", "task-loss", "unseen", "joint-angles", "methods"]]
    """Which."""
    scale: str = "cpu"
    """smoke (minutes, meaningless numbers), cpu (hours, two cores), full (the paper's sizes; a GPU), or a YAML file."""
    domains: tuple[str, ...] = ()
    """Shipped domains' names or YAML files, in place of the study's own."""
    recipe: str = "default"
    """Of the translators that a study does not name another for."""
    only: str = "*"
    """Jobs to run, as a shell pattern of their names (`target_wood/*`); what they need runs too."""
    cache: Path = Path("runs/reproduce")
    """Where jobs keep what they made. Several processes may share it: each takes jobs that no other is at."""
    out: Path = Path("docs/results")
    """Where STUDY.json and STUDY.md go; those of smoke go into the cache. Other domains' results there stay."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dry_run: bool = False
    """List the jobs and which have run, and run nothing."""


def reproduce(config: ReproduceConfig) -> int:
    """Run what has not run of a study, write its tables, and return 1 where a job failed.

    Raises:
        InputError: an unknown name, a pattern that fits no job, or results in `out` of another scale or recipe.
        KeyboardInterrupt: the job at work can be resumed.
    """
    run = _Run(config)
    if config.dry_run:
        run.show()
        check_shown("the jobs")
        return 0
    run.write()  # hours before there is something to lose, and not after
    try:
        return run.all()
    except KeyboardInterrupt as error:
        what = "; ".join(filter(None, [str(error).partition(";")[0], "the same command resumes"]))
        raise KeyboardInterrupt(what) from error
    finally:
        run.write()
        run.say_where()


class _Run:
    """A study at work."""

    def __init__(self, config: ReproduceConfig) -> None:
        pick_device(config.device)
        self._config, self._scale_name = config, Path(config.scale).stem
        scale, study = load_scale(config.scale), STUDIES[config.study]
        self._shown = study_jobs(study, scale, config.recipe, config.domains or None)
        wanted = [job for job in self._shown if fnmatch.fnmatch(job.name, config.only)]
        if not wanted:
            names = ", ".join(sorted({job.name for job in self._shown}))
            raise InputError(f"--only: expected a pattern of some of [{names}], got {config.only!r}")
        self._jobs, self._wanted = with_needs(self._shown), set(wanted)
        self._cache = Cache(config.cache, STEPS, config.device)
        smoke = self._scale_name == "smoke"
        self._results = (config.cache / "smoke" if smoke else config.out) / f"{config.study}.json"
        self._before: dict[tuple[str, int], Record] = {}
        self._load_before()
        self._failed: dict[Job, str] = {}

    def _load_before(self) -> None:
        """Read the results so far, those of other processes and of other domains among them."""
        config, study = self._config, STUDIES[self._config.study]
        expected = {"study": config.study, "scale": self._scale_name, "recipe": config.recipe}
        if len(study.domains) == 1:  # whose jobs are not named by it
            expected["domain"] = " ".join(config.domains or study.domains)
        records = load_results(self._results)
        for record in records:
            words = shlex.split(record.command)
            actual = {"study": record.study, "scale": record.scale}
            actual["recipe"] = " ".join(_values(words, "--recipe")) or "default"
            actual["domain"] = " ".join(_values(words, "--domains") or study.domains)
            for what, value in expected.items():
                if actual[what] != value:
                    raise InputError(
                        f"{self._results}: expected results of {what} {value} to resume, got {actual[what]}: "
                        "give another --out"
                    )
        self._before = {(record.name, record.seed): record for record in records}

    def all(self) -> int:
        """Run jobs until none is left that can run."""
        while todo := self._todo():
            ready = [job for job in todo if all(self._cache.done(need) for need in job.needs.values())]
            ready.sort(key=self._collects, reverse=True)  # data first: it tells which results are still good
            if not any(self._try(job, todo) for job in ready):
                if not ready:
                    break  # all that is left needs what failed
                time.sleep(_WAIT_S)
        for job, fault in self._failed.items():
            print_line(f"{job.label} failed: {fault}")
        return 1 if self._failed else 0

    def say_where(self) -> None:
        """Say what there is now, and where."""
        known = sum(self._record(job).figures is not None for job in self._shown)
        report = self._results.with_suffix(".md")
        print_line(f"{report}: {known} of {len(self._shown)} measurements; figures in {self._results.name}")

    def _collects(self, job: Job) -> bool:
        return STEPS[job.step].suffix == ".h5"

    def _try(self, job: Job, todo: list[Job]) -> bool:
        """Run a job, unless another process is at it."""
        count = f"{len(self._jobs) - len(todo)} of {len(self._jobs)} jobs done"
        try:
            ran = self._cache.run(job, lambda: print_line(f"[{count}{self._left(todo)}] {job.label}: {job.step}"))
        except FloatingPointError as error:  # a diverging method is a result, and no reason to stop the others
            self._failed[job] = str(error)
            return True
        if ran:
            self.write()
        return ran

    def _todo(self) -> list[Job]:
        """Return what must still run: jobs to show without figures, and what those come from."""
        missing = [job for job in self._jobs if job in self._wanted and not self._is_known(job)]
        return [job for job in with_needs(missing) if not self._cache.done(job) and job not in self._failed]

    def _is_known(self, job: Job) -> bool:
        """Return whether the job has figures that are sure to be of the data that its configuration gives."""
        return self._record(job).figures is not None and self._cache.key(job) is not None

    def _left(self, todo: list[Job]) -> str:
        """Return the time left, from how long jobs of the same kind took."""
        spent: dict[str, list[float]] = {}
        for job in self._jobs:
            done = self._cache.done(job)
            if done:
                spent.setdefault(job.step, []).append(done.seconds)
        everything = [seconds for times in spent.values() for seconds in times]
        if not everything:
            return ""
        means = {step: sum(times) / len(times) for step, times in spent.items()}
        overall = sum(everything) / len(everything)
        minutes = sum(means.get(job.step, overall) for job in todo) / 60
        return f", about {minutes:.0f} min left"

    def _record(self, job: Job) -> Record:
        """Return what is known of a job: from the cache, else from the results so far, else that it has not run.

        Results so far count unless their key is another; it is not known before the data is there.
        """
        key, done = self._cache.key(job), self._cache.done(job)
        before = self._before.get((job.name, job.seed))
        if not done and before and before.key and key in (None, before.key):
            return dataclasses.replace(before, command=self._command(job))
        return Record(
            study=self._config.study,
            name=job.name,
            seed=job.seed,
            key=key or "",
            step=job.step,
            scale=self._scale_name,
            figures=done.figures if done else None,
            seconds=done.seconds if done else None,
            commit=done.commit if done else "",
            command=self._command(job),
            hardware=done.hardware if done else "",
            finished=done.finished if done else "",
        )

    def _command(self, job: Job) -> str:
        config = self._config
        words = ["taskgan", "reproduce", config.study, "--scale", config.scale]
        words += ["--domains", *config.domains] if config.domains else []
        words += ["--recipe", config.recipe] if config.recipe != "default" else []
        return shlex.join(words + (["--only", job.name] if job in self._shown else []))

    def write(self) -> None:
        """Write the results and their tables, with those that other processes have written since and other domains'.

        Raises:
            InputError: they cannot be written, or there are results now that these must not be mixed with.
        """
        with _alone_in(self._results.parent):
            self._load_before()
            records = self._before | {(job.name, job.seed): self._record(job) for job in self._jobs}
            save_results(self._results, records.values())
            self._copy_pictures()
            write_report(self._config.study, list(records.values()), self._results.parent)

    def _copy_pictures(self) -> None:
        """Put what measurements of the first seed have drawn where the report looks for it."""
        folder, study = self._results.parent, self._config.study
        for job in self._shown:
            done = self._cache.done(job)
            if job.seed or not done:
                continue
            places = {TRANSLATIONS: grid_path(folder, study, job.name), SYMMETRY: folder / study / SYMMETRY}
            for name, place in places.items():
                if (done.output / name).is_file():
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(done.output / name, place)

    def show(self) -> None:
        """Print every job and whether it has run."""
        for job in self._jobs:
            record = self._record(job)
            state = f"done in {record.seconds:.0f} s" if record.seconds is not None else "not run"
            print_line(f"{job.label:60} {job.step:14} {state}")


def _values(words: list[str], option: str) -> list[str]:
    """Return the values that an option has in a command's words."""
    if option not in words:
        return []
    rest = words[words.index(option) + 1 :]
    return rest[: next((place for place, word in enumerate(rest) if word.startswith("--")), len(rest))]


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make the folder where there is none, and wait until no other process is in this block with it.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder to write results to, got: {error}") from error
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)
