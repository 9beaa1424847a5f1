"""`taskgan adapt`: from a recording to a bundle, all steps with defaults, resumable, with a report at the end."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from taskgan_ros.core import interrupts
from taskgan_ros.core.config import build, fill, short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_reachable, write_text
from taskgan_ros.core.progress import part_of, print_line
from taskgan_ros.core.schema import to_plain
from taskgan_ros.data.dataset import (
    Dataset,
    DatasetInfo,
    check_compatible,
    load_dataset,
    partial_path,
    read_info,
    read_joint_pos,
)
from taskgan_ros.policy.bundle import CARD, load_bundle
from taskgan_ros.sim.background import empty_scene
from taskgan_ros.sim.collect import CollectConfig, collect
from taskgan_ros.sim.domain import Background, load_domain
from taskgan_ros.sim.evaluate_recording import measure_recording
from taskgan_ros.sim.photos import read_photo
from taskgan_ros.sim.picture import write_png
from taskgan_ros.sim.recorded_states import draw_plain, recorded_states, with_joint_goals
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.training.adapt_inputs import (
    about,
    check_distinct,
    check_inputs,
    check_options,
    is_dataset,
    wants_goals,
    with_homes,
)
from taskgan_ros.training.adapt_report import AdaptStory, write_report
from taskgan_ros.training.coverage import find_regions
from taskgan_ros.training.output_fit import fit_errors
from taskgan_ros.training.recipe import Recipe, load_recipe
from taskgan_ros.training.recorded_split import hold_out, write_part
from taskgan_ros.training.run import CHECKPOINT, CONFIG, METRICS, load_checkpoint, read_description
from taskgan_ros.training.steps.export import ExportConfig, check_name, export
from taskgan_ros.training.steps.fit_guard import is_enough
from taskgan_ros.training.steps.refine import RefineConfig, refine
from taskgan_ros.training.steps.task_model import TaskModelConfig, train_task_model
from taskgan_ros.training.steps.translator import TranslatorConfig, train_translator

_SETTINGS = "adapt.yaml"
_MADE = "bundle.sha256"  # hash of the resulting bundle's card, so that no other bundle is mistaken for it
_BACKGROUND, _DOMAIN, _IMPORTED = "background.png", "before_background.yaml", "recording.h5"
_RUNS = ("task_model", "translator", "refined")
_PARTS = (
    *(f"{name}.h5" for name in ("source", "randomized", "target", "held_out", "recording")),
    *("recording_images.png", "recording_joints.png", _BACKGROUND, _DOMAIN),
)
FEW = 50  # with fewer training frames, step 3 learns from translated randomised simulation, and is fitted to these
# TaskGAN steps by training frames: with one image, 750 steps were worse than 250 (docs/reproduce.md).
_STEPS = ((20, 250), (200, 750))
_ALL_STEPS = 1500
_SHIFT, _BRIGHTNESS, _JITTER, _SHARE = 0.01, (0.85, 1.15), 0.05, 0.8  # of the background: its height, gains, episodes
# Seconds per unit on two idle cores, to predict the total time; they are scaled by the measured pace.
_COSTS = {
    "source": 0.06,
    "randomized": 0.13,
    "task_model": 0.02,
    "pretrain": 0.08,
    "align": 0.06,
    "taskgan": 0.4,
    "refine": 0.04,
}
_EXPORT_S = 90.0


@dataclass(frozen=True)
class AdaptConfig:
    """Make a bundle of a recording: collect, train, refine, export with a guard, and report."""

    recording: tuple[Path, ...]
    """Datasets of `taskgan import`, or recordings that it reads with its defaults; of one camera that has not moved."""
    scene: str
    """The scene of the recording, calibrated if need be: a shipped name or a YAML file."""
    out: Path
    """The bundle's folder; must not exist. Its name is the bundle's."""
    work: Path | None = None
    """Folder for datasets, runs and the report; OUT_adapt if left out."""
    held_out: Path | None = None
    """Dataset of another recording that looks the same, for evaluation; all of `recording` then trains."""
    held_out_share: float = 0.2
    """Share of the recording's episodes that are held out from training, unless `held_out` is given."""
    quick: bool = False
    """A smoke test: a few steps of everything, in minutes; the bundle is useless."""
    domain: str = "randomized"
    """The domain that is drawn in front of the recording's empty scene, as pairs to pre-train on."""
    plain: str = "source"
    """The domain that the task model learns in."""
    background: bool = True
    """Whether the recording's empty scene is behind the randomised arm; it needs camera and joints calibrated."""
    pairs: bool = True
    """Whether to draw the plain render of recorded frames where the dataset has none: of the arm alone, or with a
    target whose place follows from the labels."""
    reads: Literal["goals", "labels"] = "goals"
    """What f_X predicts: the joint angles at the goal, in a scene of the task reach whose recordings determine each
    goal; or the labels unchanged. With --source, its labels decide."""
    recipe: str = "default"
    """Of the translator: a shipped recipe's name or a YAML file."""
    source_episodes: int | None = None
    """Plain episodes to collect: 1416; quick: 20."""
    randomized_episodes: int | None = None
    """Randomised ones: 600; quick: 10."""
    task_model_steps: int | None = None
    """Step 1: 15000; quick: 60."""
    pretrain_steps: int | None = None
    """Of the translator, on randomised pairs: the recipe's; quick: 20."""
    translator_steps: int | None = None
    """Of the translator, on the recording: 250 below 20 training frames, 750 below 200, else 1500; quick: 10."""
    refine_steps: int | None = None
    """Step 3: 3000; quick: 20."""
    source: Path | None = None
    """An existing plain dataset of this scene, in place of collecting one."""
    task_model: Path | None = None
    """An existing run of step 1 on `source`, in place of training one."""
    seed: int = 0
    """Seed of the held-out split, every sampled appearance and every batch."""
    device: str = "auto"
    """auto, cpu or cuda."""
    workers: int = os.cpu_count() or 1
    """Number of processes that render."""
    resume: bool = False
    """Go on from where it was stopped; steps that are done are skipped."""


@dataclass(frozen=True)
class Sizes:
    """How much of each step is done; see `AdaptConfig`."""

    source_episodes: int = 1416
    randomized_episodes: int = 600
    task_model_steps: int = 15000
    pretrain_steps: int = 0
    translator_steps: int = _ALL_STEPS
    refine_steps: int = 3000

    @classmethod
    def of(cls, config: AdaptConfig, frames: int) -> Sizes:
        """Return the sizes that are given, and the defaults for so many training frames."""
        steps = translator_steps(frames)
        pretrain_steps = load_recipe(config.recipe).pretrain_steps
        usual = _QUICK if config.quick else cls(pretrain_steps=pretrain_steps, translator_steps=steps)
        names = [field.name for field in dataclasses.fields(cls)]
        given = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
        return dataclasses.replace(usual, **given)


def translator_steps(frames: int) -> int:
    """Return how many steps the TaskGAN takes for so many training frames: few learn from few."""
    return next((count for below, count in _STEPS if frames < below), _ALL_STEPS)


_QUICK = Sizes(20, 10, 60, 20, 10, 20)


@dataclass(frozen=True)
class Step:
    """A part of the work.

    Attributes:
        name: what the progress line says.
        cost_s: about how long it takes on two idle cores.
        is_done: whether its output is there, whole.
        run: does it.
    """

    name: str
    cost_s: float
    is_done: Callable[[], bool]
    run: Callable[[], object]


def adapt(config: AdaptConfig) -> Path:
    """Run all steps that are not done, write the bundle and the report, and return the report's page.

    Raises:
        InputError: a recording, scene or option that does not fit, outputs that exist and no `resume`, another
            configuration to resume.
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP; what is done stays for `resume`.
    """
    work = Workplace(config)
    try:
        with interrupts.raised():
            work.open()
            run_steps(work.steps())
            page = work.report()
    except KeyboardInterrupt as error:
        note = "resume with the same command and --resume"
        if note not in getattr(error, "__notes__", []):
            error.add_note(note)
        raise
    print_line(f"{work.config.out}: the bundle; {page}: how good it is, and what to record more of")
    return page


def run_steps(steps: list[Step]) -> None:
    """Run the steps that are not done; before each, print the estimated time for all that are left."""
    pace, spent_s, worth_s = 1.0, 0.0, 0.0
    for k, step in enumerate(steps):
        if step.is_done():
            print_line(f"adapt {k + 1}/{len(steps)}: {step.name}: done before")
            continue
        left_s = pace * sum(later.cost_s for later in steps[k:] if not later.is_done())
        print_line(f"adapt {k + 1}/{len(steps)}: {step.name}; about {_duration(left_s)} left for all steps")
        started_s = time.monotonic()
        with part_of(f"{k + 1}/{len(steps)}, all in {_duration(left_s)}"):
            step.run()
        spent_s, worth_s = spent_s + time.monotonic() - started_s, worth_s + step.cost_s
        pace = spent_s / worth_s


class Workplace:
    """The folder of an adaptation, and what belongs where in it."""

    def __init__(self, config: AdaptConfig) -> None:
        """Check what can be checked without reading images.

        Raises:
            InputError: see `adapt`.
        """
        self.config = config = with_homes(config)
        self.folder = config.work or config.out.with_name(f"{config.out.name}_adapt")
        self.scene: Scene = load_scene(config.scene)
        self.facts: list[str] = []
        check_options(config, self.scene)

    def path(self, name: str) -> Path:
        """Return where a part is."""
        return self.folder / name

    @property
    def source(self) -> Path:
        """The plain dataset."""
        return self.config.source or self.path("source.h5")

    @property
    def task_model(self) -> Path:
        """The run of step 1."""
        return self.config.task_model or self.path("task_model")

    def open(self) -> None:
        """Make the folder, or check that it is of the same command, and cut the recording in two.

        Raises:
            InputError: see `adapt`.
        """
        if self.config.resume:
            self._reopen()
            self._split()
            return
        if os.path.lexists(self.folder) and not (self.folder.is_dir() and not any(self.folder.iterdir())):
            check_name(self.config.out)
            raise InputError(f"{self.folder}: expected no interrupted adaptation, got one: --resume, or remove it")
        self._check()
        self._begin()
        try:
            self._split()
        except InputError:
            shutil.rmtree(self.folder)  # so that the corrected command finds it free
            raise

    def _check(self) -> None:
        for path in (self.config.out, self.folder):
            check_reachable(path)
        check_name(self.config.out)
        check_inputs(self.config, self.scene)

    def _begin(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.path(_SETTINGS), yaml.safe_dump(_settings(self.config), sort_keys=False))

    def _reopen(self) -> None:
        """Refuse other options than those it started with, unless nothing has been trained with those."""
        if not self.path(_SETTINGS).is_file():
            raise InputError(f"{self.folder}: expected an adaptation to resume, got none: start without --resume")
        plain = _settings(self.config)
        before = yaml.safe_load(self.path(_SETTINGS).read_text(encoding="utf-8"))
        before.setdefault("reads", "labels")  # as all did before there was a choice
        differing = [name for name in plain if before.get(name) != plain[name]]
        if differing and any(self.path(name).exists() for name in _RUNS):
            was, now = ({name: values.get(name) for name in differing} for values in (before, plain))
            raise InputError(f"{self.folder}: expected the options it started with, {was}, got {now}")
        if differing:
            self._check()
            self._clear()
            self._begin()
        if not self._is_exported():
            check_name(self.config.out)

    def _clear(self) -> None:
        """Remove what was made with other options, except what the new ones name."""
        named = {path.resolve() for path in (*self.config.recording, self.config.held_out, self.config.source) if path}
        for path in (self.path(name) for name in _PARTS):
            if path.resolve() not in named:
                path.unlink(missing_ok=True)
                partial_path(path).unlink(missing_ok=True)

    def steps(self) -> list[Step]:
        """Return all steps, for the frames that the recording has."""
        config, target = self.config, read_info(self.path("target.h5"))
        sizes = Sizes.of(config, target.images)
        is_few = target.images < FEW
        self.facts.append(
            f"{target.images} frames of {target.episodes} episodes trained, "
            f"{read_info(self.path('held_out.h5')).images} were held out"
        )
        learned_from = "the recording's frames"
        if is_few:
            learned_from = "what F makes of randomised simulation"
        self.facts.append(f"f_X reads {target.task.replace('_', ' ')}")
        is_paired = "with" if target.paired_domain else "without"
        self.facts.append(f"step 2 trained {is_paired} plain renders of the recorded states, drawn in this scene")
        self.facts.append(f"{sizes.translator_steps} TaskGAN steps; step 3 learned from {learned_from}")
        steps = [self._collect_step(config.plain, sizes.source_episodes, self.source, 1, "source")]
        steps.append(self._collect_step(self._randomized(), sizes.randomized_episodes, self.path("randomized.h5"), 2))
        steps.append(self._task_model_step(sizes))
        steps.append(self._translator_step(sizes))
        steps.append(self._refine_step(sizes, is_few))
        cost_s = 2.0 if config.quick else _EXPORT_S
        return [*steps, Step("export with a guard", cost_s, self._is_exported, self._export)]

    def report(self) -> Path:
        """Measure on the held-out frames, and write the page."""
        bundle, data = load_bundle(self.config.out), load_dataset(self.path("held_out.h5"))
        errors = measure_recording(bundle, data, str(self.path("held_out.h5")))
        joints = self.scene.driven
        expert, recorded = (read_joint_pos(path)[:, joints] for path in (self.source, self.path("target.h5")))
        regions = find_regions(
            self.scene.driven_joints,
            self.scene.arm.is_continuous[joints],
            expert.astype(np.float64),
            recorded.astype(np.float64),
            data.joint_pos[:, joints].astype(np.float64),
            errors.label,
        )
        picture = self.path(_BACKGROUND)
        background = read_photo(picture) if picture.exists() else None
        given = ["--recording", *map(str, self.config.recording), "--scene", self.config.scene]
        given += ["--out", str(self.config.out), *(["--quick"] if self.config.quick else [])]
        learned = [*_describe_alignment(self.path("translator")), *_describe_fit(self.path("refined"))]
        facts = [*self.facts, *learned, _describe_guard(bundle.card.guard)]
        if self.config.quick:
            facts.insert(0, "a smoke test (--quick): neither the bundle nor these figures are worth anything")
        story = AdaptStory(
            self.config.out,
            shlex.join(["taskgan", "adapt", *given]),
            facts,
            errors,
            background,
            regions,
        )
        return write_report(self.path("report"), story)

    def _split(self) -> None:
        """Write target.h5 and held_out.h5, of this scene whatever it was called when the recording was imported."""
        target, held = self.path("target.h5"), self.path("held_out.h5")
        if target.exists() and held.exists():
            return
        given = {str(path): load_dataset(path) for path in self._imported()}
        held_out = {str(path): load_dataset(path) for path in (self.config.held_out,) if path}
        if self.path(_IMPORTED).exists():  # the others have been compared
            check_distinct([*given.items(), *held_out.items()])
        fitted = [self._fitted(one) for one in self._labelled(given | held_out)]
        data = join(fitted[: len(given)])
        parts, out = hold_out(data, self.config.held_out_share, self.config.seed)
        kept = np.setdiff1d(np.unique(parts), out)
        if held_out:
            kept, other = np.unique(parts), fitted[-1]
            parts_of_other = np.unique(other.episode, return_inverse=True)[1].astype(np.int64)
            _write(held, other, parts_of_other, np.unique(parts_of_other))
        else:
            _write(held, data, parts, out)
        _write(target, data, parts, kept)

    def _imported(self) -> list[Path]:
        """Return the recordings as datasets; those that are none yet are imported into one."""
        given = self.config.recording
        raw = tuple(path for path in given if not is_dataset(path))
        imported = [import_with_defaults(raw, self.config.scene, self.path(_IMPORTED))] if raw else []
        return [*filter(is_dataset, given), *imported]

    def _labelled(self, recordings: Mapping[str, Dataset]) -> list[Dataset]:
        """Return the recordings labelled with joint goals, if those are wanted and all labels determine them.

        Raises:
            InputError: labels do not, and a plain dataset of joint goals is given.
        """
        if not wants_goals(self.config, self.scene):
            return list(recordings.values())
        try:
            return [about(name, partial(with_joint_goals, one, self.scene)) for name, one in recordings.items()]
        except InputError as error:
            if self.config.source:
                raise
            print_line(f"labels are used unchanged, not as joint goals: {error}")
            return list(recordings.values())

    def _fitted(self, data: Dataset) -> Dataset:
        """Return the recording as of this scene; its pairs only where they were drawn in it."""
        info, scene = data.info, self.config.scene
        paired = data.paired if self._has_pairs(info) else None
        domain = self.config.plain if paired is not None else ""
        info = dataclasses.replace(info, scene=scene, arm=self.scene.arm_name, paired_domain=domain)
        data = dataclasses.replace(data, info=info, paired=paired)
        if paired is None and self.config.pairs:
            paired = draw_plain(data, self.scene, self.config.plain)
            info = dataclasses.replace(info, paired_domain=self.config.plain if paired is not None else "")
        return dataclasses.replace(data, info=info, paired=paired)

    def _has_pairs(self, info: DatasetInfo) -> bool:
        """Return whether a recording has the plain renders of this scene: those of another show another camera."""
        return (info.scene, short_name(info.paired_domain)) == (self.config.scene, short_name(self.config.plain))

    def _randomized(self) -> str:
        """Return the domain to pre-train on, made of the recording's empty scene."""
        if not self.config.background:
            return self.config.domain
        path, picture = self.path(_DOMAIN), self.path(_BACKGROUND)
        if not path.exists():
            data = load_dataset(self.path("target.h5"))
            found = empty_scene(data.images, recorded_states(data, self.scene), self.scene)
            write_png(picture, found.image)
            about = {"brightness": _BRIGHTNESS, "jitter": _JITTER, "share": _SHARE}
            background = build(
                Background, {"file": _BACKGROUND, "shift_px": _SHIFT * data.info.height, **about}, str(path)
            )
            domain = dataclasses.replace(load_domain(self.config.domain), background=background)
            print_line(f"{picture}: the empty scene, of {found.frames} frames, {found.filled:.0%} of it filled")
            write_text(path, yaml.safe_dump(to_plain(domain), sort_keys=False))
        return str(path)

    def _collect_step(self, domain: str, episodes: int, out: Path, number: int, kind: str = "randomized") -> Step:
        info = read_info(self.path("target.h5"))
        config = fill(
            CollectConfig,
            self.config,
            domain=domain,
            episodes=episodes,
            out=out,
            seed=10 * self.config.seed + number,
            paired=None if kind == "source" else self.config.plain,
            task=info.task,
            image_size=info.height,
            resume=True,
        )
        return Step(f"collect {short_name(domain)}", _COSTS[kind] * episodes, out.exists, lambda: collect(config))

    def _options(self, run: Path) -> dict[str, Any]:
        """Return the options that every run has; it resumes where it has begun."""
        config = self.config
        return {"out": run, "seed": config.seed, "device": config.device, "resume": run.exists()}

    def _task_model_step(self, sizes: Sizes) -> Step:
        run, steps = self.task_model, sizes.task_model_steps

        def train() -> None:
            train_task_model(TaskModelConfig(dataset=self.source, steps=steps, **self._options(run)))

        given = self.config.task_model is not None
        return Step("train task-model", _COSTS["task_model"] * steps, lambda: given or is_trained(run, steps), train)

    def _translator_step(self, sizes: Sizes) -> Step:
        recipe = load_recipe(self.config.recipe)
        run = self.path("translator")
        align_steps = min(recipe.align_steps, _QUICK.translator_steps) if self.config.quick else recipe.align_steps
        if (run / CONFIG).is_file():  # where nothing could be aligned, and of a version that did not, it has none
            align_steps = _recipe_of(run).align_steps
        recipe = dataclasses.replace(
            recipe, pretrain_steps=sizes.pretrain_steps, align_steps=align_steps, steps=sizes.translator_steps
        )

        def train() -> None:
            config = TranslatorConfig(
                source=self.source,
                target=self.path("target.h5"),
                task_model=self.task_model,
                recipe=self.config.recipe,
                settings=recipe,
                pretrain=self.path("randomized.h5"),
                validation=self.path("held_out.h5"),
                **self._options(run),
            )
            train_translator(config)

        costs = {"pretrain": recipe.pretrain_steps, "align": recipe.align_steps, "taskgan": recipe.steps}
        cost_s = sum(_COSTS[what] * count for what, count in costs.items())

        def is_done() -> bool:
            return (run / CHECKPOINT).is_file() and is_trained(run, _recipe_of(run).all_steps)

        return Step("train translator", cost_s, is_done, train)

    def _refine_step(self, sizes: Sizes, is_few: bool) -> Step:
        run, steps = self.path("refined"), sizes.refine_steps

        def train() -> None:
            learned_from: dict[str, Any] = {"target": self.path("target.h5")}
            if is_few:
                few = self.path("target.h5")
                learned_from = {"target": self.path("randomized.h5"), "variants": 1, "fit_output": few}
            config = RefineConfig(
                task_model=self.task_model,
                translator=self.path("translator"),
                source=self.source,
                validation=self.path("held_out.h5"),
                steps=steps,
                **learned_from,
                **self._options(run),
            )
            refine(config)

        return Step("refine", _COSTS["refine"] * steps, lambda: is_trained(run, steps), train)

    def _export(self) -> None:
        held = self.path("held_out.h5")
        config = ExportConfig(
            task_model=self.path("refined"),
            translator=self.path("translator"),
            target=self.path("target.h5"),
            out=self.config.out,
            held_out=held if is_enough(load_dataset(held)) else None,
        )
        export(config)
        write_text(self.path(_MADE), _hash(config.out / CARD))

    def _is_exported(self) -> bool:
        """Return whether the bundle is there and this adaptation made it."""
        made, card = self.path(_MADE), self.config.out / CARD
        return made.is_file() and card.is_file() and made.read_text(encoding="utf-8") == _hash(card)


def import_with_defaults(recordings: tuple[Path, ...], scene: str, out: Path) -> Path:
    """Import recordings that are no datasets yet, where that has not been done, and return the dataset.

    Raises:
        InputError: as `taskgan import`.
    """
    from taskgan_ros.recordings.import_recording import ImportConfig, import_recording  # here: it needs more packages

    if not out.exists():
        import_recording(ImportConfig(recordings=recordings, scene=scene, out=out))
    return out


def join(datasets: list[Dataset]) -> Dataset:
    """Return recordings as one, their episodes one after the other; with pairs only where all have them.

    Raises:
        InputError: they do not fit.
    """
    first = datasets[0]
    for other in datasets[1:]:
        check_compatible(first.info, other.info)
    pairs = [data.paired for data in datasets if data.paired is not None]
    is_paired = len(pairs) == len(datasets)
    before = np.cumsum([0, *(int(data.episode[-1]) + 1 for data in datasets)])
    info = dataclasses.replace(
        first.info,
        paired_domain=first.info.paired_domain if is_paired else "",
        images=sum(map(len, datasets)),
        episodes=sum(data.info.episodes for data in datasets),
        recording="+".join(dict.fromkeys(data.info.recording for data in datasets)),
    )
    return Dataset(
        info=info,
        images=np.concatenate([data.images for data in datasets]),
        actions=np.concatenate([data.actions for data in datasets]),
        joint_pos=np.concatenate([data.joint_pos for data in datasets]),
        episode=np.concatenate([data.episode + start for data, start in zip(datasets, before, strict=False)]),
        paired=np.concatenate(pairs) if is_paired else None,
    )


def is_trained(run: Path, steps: int) -> bool:
    """Return whether a run has done so many steps."""
    return (run / CHECKPOINT).is_file() and int(load_checkpoint(run)["step"]) >= steps


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path: Path, data: Dataset, parts: Any, wanted: Any) -> None:
    if not path.exists():
        write_part(path, data, parts, wanted)


def _settings(config: AdaptConfig) -> dict[str, Any]:
    """Return the options that a resumed adaptation must have kept."""
    free = ("resume", "device", "workers", "work")
    return {name: value for name, value in to_plain(config).items() if name not in free}


def _recipe_of(run: Path) -> Recipe:
    """Return the recipe of a translator's run, without what it left out."""
    return build(Recipe, read_description(run).config["settings"], str(run))


def _describe_alignment(run: Path) -> list[str]:
    """Return what became of aligning the recorded frames with their plain renders, where that was tried."""
    if not _recipe_of(run).align_steps:
        return []
    figures = json.loads((run / METRICS).read_text(encoding="utf-8").splitlines()[-1])
    if "aligned_px" not in figures:
        return ["the recorded frames are not aligned: alignment did not help on held-out frames"]
    return [
        f"the recorded frames are aligned with their plain renders, moved by {figures['aligned_px']:.1f} px on average"
    ]


def _describe_fit(run: Path) -> list[str]:
    """Return what became of fitting the output layer to the frames, where that was tried."""
    figures = json.loads((run / METRICS).read_text(encoding="utf-8").splitlines()[-1])
    return [f"f_X's output layer was {fit_errors(figures)}"] if "fit_before" in figures else []


def _describe_guard(guard: Any) -> str:
    if guard is None:
        return "no guard: too few frames to fit one; record 50 or more"
    if guard.held_out:
        far = f"{guard.likeness} times as far from the training frames as those are from each other"
        return f"the guard's limits are of {guard.images} held-out frames, {far}"
    return f"the guard's limits are of {guard.images} training frames, cross-validated: too few were held out"


def _duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
