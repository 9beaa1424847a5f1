"""Jobs: the named units of a study, each cached under what fixes its result, so that a study can stop anywhere."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from taskgan_ros.core.config import build, expand_home, is_path, load, read_yaml, resolve, share_dir
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import lock, write_text
from taskgan_ros.core.schema import to_plain
from taskgan_ros.data.dataset import Dataset, load_dataset, partial_path
from taskgan_ros.experiments.results import read_json
from taskgan_ros.sim import photos
from taskgan_ros.sim.domain import Domain
from taskgan_ros.training.run import CONFIG, NEWER, pick_device

_DONE, _SECONDS, _LOCK = "done.json", "seconds", "lock"
_BUNDLED = "skimage:"  # photos that are fixed by the version of scikit-image
_CODE = ("taskgan_ros", "config")
_FREE = ("out", "resume", "device", "workers", "log_every", "show_every", "save_every")  # change no result
_NODE_ONLY = ("max_acceleration",)  # of an arm's joints; the simulation does not know them
_NAMED = {"domain": "domains", "paired": "domains", "scene": "scenes"}  # options that name files, and their kinds


@dataclass(frozen=True)
class Step:
    """A kind of work that jobs do.

    Attributes:
        config: its configuration; has `out`, and `resume` where it can be resumed.
        work: does it, and may return figures.
        suffix: of what it writes: "" for a folder.
    """

    config: type
    work: Callable[[Any], dict[str, Any] | None]
    suffix: str = ""


@dataclass(frozen=True, eq=False)
class Job:
    """One unit of a study.

    Attributes:
        name: its place in the study's table, parts separated by slashes; with the seed it is unique in a study.
        step: what it does.
        seed: the study's seed that it belongs to.
        options: of the step's configuration.
        needs: options whose values other jobs make.
    """

    name: str
    step: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, Job] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and seed."""
        return f"{self.name} (seed {self.seed})"


@dataclass(frozen=True)
class Done:
    """What is left of a job that has run.

    Attributes:
        output: the dataset or the folder that it wrote.
        digest: fixes the output: of a dataset its content, of everything else the job's key.
        figures: what it measured.
        seconds: how long it ran, over all attempts.
        finished: date and time, ISO 8601, UTC.
        commit: of the code, `+` behind it where files differed; "" where it is no git tree.
        hardware: the kind of machine.
    """

    output: Path
    digest: str
    figures: dict[str, Any]
    seconds: float
    finished: str
    commit: str
    hardware: str


class Cache:
    """Where jobs keep what they made, by key; several processes may work on one.

    Attributes:
        folder: holds a folder a job.
    """

    def __init__(self, folder: Path, steps: Mapping[str, Step], device: str = "auto") -> None:
        """Open the cache for jobs of `steps`, to be trained on `device`."""
        self.folder, self._steps, self._device = folder, steps, device
        self._commit = _commit()  # before others are made while this process is at work with today's code
        self._done: dict[Job, Done] = {}
        self._keys: dict[Job, str] = {}

    def key(self, job: Job) -> str | None:
        """Return what fixes the job's result, or None while a dataset that it comes from has not been collected.

        It is a hash of the resolved configuration, of the files that it names, and of what goes into it.
        """
        if job not in self._keys:
            digests = {name: self._digest(need) for name, need in job.needs.items()}
            if None in digests.values():
                return None
            self._keys[job] = self._hash(job, digests)
        return self._keys[job]

    def _hash(self, job: Job, digests: Mapping[str, str | None]) -> str:
        config = self._config(job, {name: Path(name) for name in job.needs}, Path("out"), resume=False)
        given = {name: value for name, value in to_plain(config).items() if name not in (*_FREE, *job.needs)}
        plain = _without_newer(given)
        files = [_content(kind, plain[name]) for name, kind in _NAMED.items() if plain.get(name)]
        text = json.dumps([job.step, plain, files, digests], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def done(self, job: Job) -> Done | None:
        """Return what the job left, or None where it has not run.

        Raises:
            InputError: a damaged file of a job that has run.
        """
        if job not in self._done:
            key = self.key(job)
            file = self._folder(job, key) / _DONE if key else None
            if file is None or not file.is_file():
                return None
            values = read_json(file)
            if not isinstance(values, dict):
                raise InputError(f"{file}: expected what a job left, got {type(values).__name__}")
            self._done[job] = build(Done, values | {"output": self._output(job, file.parent)}, str(file))
        return self._done[job]

    def run(self, job: Job, announce: Callable[[], None]) -> bool:
        """Do the job's work, resuming where an interrupt left it; return False where another process is at it.

        All that it needs must be done; `announce` is called before the work begins.

        Raises:
            InputError: what the job is made of does not fit, or its folder cannot be written or holds damaged files.
            FloatingPointError: a training diverged.
        """
        key = self.key(job)
        assert key is not None, job.label
        folder = self._folder(job, key)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: expected a folder to keep jobs in, got: {error}") from error
        with _locked(folder / _LOCK) as ours:
            if ours and not self.done(job):
                announce()
                try:
                    self._work(job, key, folder)
                except (InputError, OSError) as error:
                    raise InputError(f"{job.label}, which is made in {folder}: {error}") from error
        return ours

    def _work(self, job: Job, key: str, folder: Path) -> None:
        step, output = self._steps[job.step], self._output(job, folder)
        inputs = {name: done.output for name, need in job.needs.items() if (done := self.done(need))}
        data = step.suffix == ".h5"
        if not data and output.is_dir() and not (output / CONFIG).is_file():
            shutil.rmtree(output)  # a measure begins again, and so does a run that was killed before it had begun
        resume = output.exists() or partial_path(output).exists()
        with _timed(folder / _SECONDS) as seconds:
            whole = data and output.exists()  # stopped between the dataset and our note of it
            figures = {} if whole else step.work(self._config(job, inputs, output, resume)) or {}
        digest = dataset_digest(load_dataset(output)) if data else key
        finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        values = {"digest": digest, "figures": figures, "seconds": round(seconds(), 1), "finished": finished}
        values |= {"commit": self._commit, "hardware": _hardware(self._device)}
        write_text(folder / _DONE, json.dumps(values, indent=1) + "\n")

    def _digest(self, job: Job) -> str | None:
        if self._steps[job.step].suffix == ".h5":
            done = self.done(job)
            return done.digest if done else None
        return self.key(job)

    def _config(self, job: Job, inputs: Mapping[str, Path], output: Path, resume: bool) -> Any:
        kind = self._steps[job.step].config
        names = {part.name for part in dataclasses.fields(kind)}
        values = {**job.options, **inputs, "out": output}
        if "seed" in names:
            values.setdefault("seed", job.seed)
        if "device" in names:
            values["device"] = self._device
        if "resume" in names:
            values["resume"] = resume
        return kind(**values)

    def _folder(self, job: Job, key: str) -> Path:
        return self.folder / f"{job.step}-{key}"

    def _output(self, job: Job, folder: Path) -> Path:
        return folder / f"out{self._steps[job.step].suffix}"


def _content(kind: str, name: str) -> Any:
    """Return what the named file says, and the files beside it that it names: a scene's arm, a domain's photos.

    Comments and unused defaults do not count, nor do photos that come with scikit-image.
    """
    path = resolve(kind, name)
    content = read_yaml(path)
    if kind == "scenes" and isinstance(arm := content.get("arm"), str):
        return [content, _content("arms", str(path.parent / expand_home(arm)) if is_path(arm) else arm)]
    if kind == "arms":
        return content | {"joints": [_without(joint, _NODE_ONLY) for joint in content.get("joints", [])]}
    if kind == "domains":
        own = [photo for photo in load(Domain, path).table.photos if not photo.startswith(_BUNDLED)]
        return [content, [_file_digest(photos.find(photo, path.parent)) for photo in own]] if own else content
    return content


def _without_newer(values: dict[str, Any]) -> dict[str, Any]:
    """Return options, and those inside them, without newer ones that were not given."""
    kept = {name: value for name, value in values.items() if name not in NEWER or value != NEWER[name]}
    return {name: _without_newer(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _without(values: Any, names: tuple[str, ...]) -> Any:
    return {name: value for name, value in values.items() if name not in names} if isinstance(values, dict) else values


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def dataset_digest(dataset: Dataset) -> str:
    """Return a hash of a dataset's images, labels and pairs; the file's own bytes vary with the order of writing."""
    digest = hashlib.sha256()
    for array in (dataset.images, dataset.actions, dataset.joint_pos, dataset.episode, dataset.paired):
        if array is not None:
            digest.update(str(array.shape).encode())
            digest.update(array.data)
    return digest.hexdigest()[:16]


def _commit() -> str:
    git = ["git", "-C", str(share_dir())]
    commands = (("rev-parse", "--show-prefix"), ("rev-parse", "--short", "HEAD"), ("status", "--porcelain", *_CODE))
    try:
        inside, commit, changed = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    if inside:
        return ""  # a virtual environment in the tree of something else
    return commit + ("+" if changed else "")


def _hardware(device: str) -> str:
    if pick_device(device).type == "cuda":
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Yield whether the lock is ours; the system frees it when a process ends, however it ends."""
    try:
        held = lock(path)
    except BlockingIOError:
        yield False
        return
    with held:
        yield True


@contextmanager
def _timed(path: Path) -> Iterator[Callable[[], float]]:
    """Yield a function that says how many seconds the block has run, attempts that `path` remembers included."""
    before = _read_seconds(path) if path.exists() else 0.0
    start = time.monotonic()
    try:
        yield lambda: before + time.monotonic() - start
    finally:
        write_text(path, f"{before + time.monotonic() - start:.1f}")


def _read_seconds(path: Path) -> float:
    try:
        return float(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected a number of seconds, got another text: remove the file") from error
