"""The paper's studies, each as the jobs that its tables need."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from typing import Annotated, Any

from experiments.jobs import Job
from taskgan_ros.core.config import is_path, load, resolve, share_dir, short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import Field, config_dataclass, whole_rule
from taskgan_ros.robot.units import JOINT_GOALS
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.training.adapt import FEW, translator_steps
from taskgan_ros.training.recipe import Recipe, load_recipe
from taskgan_ros.training.run import Count

_IMAGES_PER_EPISODE = 16  # of both shipped scenes; the paper's
_SOURCE, _TARGET, _RANDOMIZED, _UNSEEN, _TEST = 1, 2, 3, 5, 6  # seeds of the datasets of study seed 0
_SEEDS_APART = 10  # between the datasets' seeds of one study seed and of the next
_JUDGE_SEED = 100  # a judge has other initial weights
FEW_IMAGES = 100
_NOT_TARGETS = ("source", "colored", "randomized")  # domains that studies have beside their targets
LAMBDAS = (0.0, 0.01, 0.1, 1.0, 10.0)  # METHOD's sweep; the paper's is 0.01, of labels whose scale it does not give
_FOR_GOALS = ("default", "rcan")  # recipes whose limit of the task gradient suits an f_X of joint goals
_NOT_OF_GOALS = {"task_gradient_limit": 0.3}  # suits velocities (docs/training.md), and angles were measured with it
_ANGLE_MODEL = {"network": "positions", "optimiser": "muon", "learning_rate": 2e-3}  # docs/real-arm.md compares them
_STEPS_AN_IMAGE = 250  # with one image the error on others fell up to here (0.77) and then rose (0.91 after 750 steps)
ANGLE_IMAGES = (1, 10, 100, 1000, 5399)  # the paper's figure 11
TARGETS = ("target_a", "target_b", "target_wood")
HARD = ("hard_camera", "hard_clutter", "hard_all", "hard_occlusion", "hard_arm", "hard_light")
_GOALS_ALONE = ("hard_clutter", "hard_occlusion", "hard_arm", "hard_light")  # velocities came far behind in the others
REPEATED = ("hard_all", "hard_camera")
CURVE = (10, 100, 800)  # images of a target domain
IMAGES = (1, *CURVE)  # in `adaptation`
LABS = ("lab_brick", "lab_window")  # drawn by another renderer
FEW_UNPAIRED = 10
UNPAIRED_SEEDS = 3  # in `path-traced`: chance alone may make ten images better or worse than none

Episodes = Annotated[int, Field(ge=2)]  # of which some may be held out

Share = Annotated[float, Field(gt=0, le=1)]


@config_dataclass
class Scale:
    """How large a study is: `config/scales/*.yaml`.

    Attributes:
        seeds: how many times everything is trained, each time with other data and weights; `repeats` of the study
            `seeds`.
        source_episodes, target_episodes, unseen_episodes, randomized_episodes: of 16 images, of the reaching task.
        judge_episodes: of a target domain, for the judge of the forward direction.
        pose_source_episodes, pose_target_episodes, pose_unseen_episodes, pose_test_episodes,
            pose_randomized_episodes: of 16 images, of the joint-angle task.
        translated_images: that G makes for the task model.
        task_model_steps: of models of plenty of images; `judge_steps` of those that only judge translations.
        target_model_steps: of models of few images, and of two columns.
        refine_steps: of step 3; `pose_refine_steps` where it learns joint angles.
        translator_share: the share of a recipe's steps that is run; `pose_translator_share` for joint angles.
        paper_recipe: the recipe with the paper's objective and nothing else.
        test_episodes: in closed loop, in `reaching`; `short_test_episodes` in the other studies, and
            `traced_test_episodes` where a path tracer draws.
    """

    seeds: Count
    repeats: Count
    source_episodes: Episodes
    target_episodes: Episodes
    unseen_episodes: Episodes
    randomized_episodes: Episodes
    judge_episodes: Episodes
    pose_source_episodes: Episodes
    pose_target_episodes: Episodes
    pose_unseen_episodes: Episodes
    pose_test_episodes: Episodes
    pose_randomized_episodes: Episodes
    translated_images: Count
    task_model_steps: Count
    judge_steps: Count
    target_model_steps: Count
    refine_steps: Count
    pose_refine_steps: Count
    translator_share: Share
    pose_translator_share: Share
    paper_recipe: str
    test_episodes: Count
    short_test_episodes: Count
    traced_test_episodes: Count

    @whole_rule
    def _has_images_enough(self) -> None:
        few = -(-FEW_IMAGES // _IMAGES_PER_EPISODE)
        if self.target_episodes < few:
            raise ValueError(
                f"expected at least {few} target_episodes, {FEW_IMAGES} images, got {self.target_episodes}"
            )
        most = self.source_episodes * _IMAGES_PER_EPISODE
        if self.translated_images > most:
            raise ValueError(
                f"expected at most {most} translated_images, all of the source, got {self.translated_images}"
            )


def load_scale(name_or_path: str) -> Scale:
    """Return a shipped scale by name, or the one in a user's file.

    Raises:
        InputError: unknown name, a file that does not describe a scale, or one that is called as a shipped one.
    """
    _check_own_name("scales", name_or_path)
    return load(Scale, resolve("scales", name_or_path))


def _check_own_name(kind: str, name_or_path: str) -> None:
    """Refuse a user's file whose name is a shipped one's: tables could not tell them apart."""
    name = short_name(name_or_path)
    shipped = share_dir() / "config" / kind / f"{name}.yaml"
    if is_path(name_or_path) and shipped.is_file() and not shipped.samefile(resolve(kind, name_or_path)):
        raise InputError(f"{name_or_path}: expected another name than that of the shipped {kind}, got {name}")


class JobFactory:
    """Makes the jobs of one seed; the same name is always the same job, so that studies share what they can.

    Attributes:
        scale: how large everything is.
        seed: of the study.
        recipe_name: of the translators that a study does not name another recipe for; a shipped one or a file.
        plain: the domain that F translates into.
    """

    def __init__(self, scale: str, recipe: str, seed: int, cell: StudyCell, prefix: str = ""):
        """Make the jobs of one seed in one scene, at a shipped scale or one in a file; `prefix` begins their names."""
        self._scale_name, self.scale, self.seed = scale, load_scale(scale), seed
        self.recipe_name, self._scene, self._task, self.plain = recipe, cell.scene, cell.task, cell.plain
        self._place, self._prefix = f"{short_name(scale)}/{seed}/{cell.scene}", prefix
        self._jobs: dict[str, Job] = {}

    @cached_property
    def of_goals(self) -> JobFactory:
        """The same scene with images labelled by the joint angles at which the tip is on its goal."""
        cell = StudyCell(self._scene, JOINT_GOALS, self.plain)
        return JobFactory(self._scale_name, self.recipe_name, self.seed, cell, "goals/")

    def job(self, name: str, step: str, needs: dict[str, Job], **options: Any) -> Job:
        """Return the job of this name, made at its first mention."""
        name = self._prefix + name
        if name not in self._jobs:
            self._jobs[name] = Job(name, step, self.seed, self._place, options, needs)
        return self._jobs[name]

    def data(self, what: str, domain: str, episodes: int, seed: int, paired: str | None = None) -> Job:
        """Return a dataset."""
        options = {"domain": domain, "episodes": episodes, "seed": seed + _SEEDS_APART * self.seed}
        options |= {"paired": paired, "scene": self._scene, "task": self._task}
        return self.job(f"{short_name(domain)}/{what}", "collect", {}, **options)

    def source(self) -> Job:
        """Return plenty of plain simulation."""
        return self.data("data", self.plain, self._episodes("source"), _SOURCE)

    def target(self, domain: str, paired: bool = True) -> Job:
        """Return the few target images, with the plain render of each or the same without."""
        what, pairs = ("data", self.plain) if paired else ("unpaired", None)
        return self.data(what, domain, self._episodes("target"), _TARGET, pairs)

    def randomized(self) -> Job:
        """Return randomised simulation, with the plain render of each."""
        return self.data("data", "randomized", self._episodes("randomized"), _RANDOMIZED, self.plain)

    def held_out(self, domain: str, paired: bool = True) -> Job:
        """Return images of the domain that take no part in training, with the plain render of each or without."""
        what, pairs = ("unseen", self.plain) if paired else ("unseen-unpaired", None)
        return self.data(what, domain, self._episodes("unseen"), _UNSEEN, pairs)

    def test(self, domain: str) -> Job:
        """Return images of poses for measurements alone: those held out decide which weights are kept."""
        pairs = None if domain == self.plain else self.plain
        return self.data("test", domain, self.scale.pose_test_episodes, _TEST, pairs)

    def _episodes(self, what: str) -> int:
        prefix = "pose_" if self._scene == "poses" else ""
        episodes: int = getattr(self.scale, f"{prefix}{what}_episodes")
        return episodes

    @property
    def _refine_steps(self) -> int:
        return self.scale.pose_refine_steps if self._scene == "poses" else self.scale.refine_steps

    def source_model(self) -> Job:
        """Return f_X."""
        return self._model("source/task-model", self.source(), self.scale.task_model_steps)

    def normal(self, domain: str, images: int) -> Job:
        """Return a task model of so many target images and nothing else: the paper's "Normal"."""
        return self._model("normal/task-model", self.target(domain), self.scale.target_model_steps, images=images)

    def _model(self, name: str, dataset: Job, steps: int, **options: Any) -> Job:
        """Return a task model of the network that suits the task."""
        options |= _ANGLE_MODEL if self._task == "joint_angles" else {}
        return self.job(name, "task-model", {"dataset": dataset}, steps=steps, **options)

    def judge(self) -> Job:
        """Return a task model of the source that takes no part in training a translator; the paper's network."""
        seed = self.seed + _JUDGE_SEED
        needs = {"dataset": self.source()}
        return self.job("source/judge", "task-model", needs, steps=self.scale.judge_steps, seed=seed)

    def target_judge(self, domain: str) -> Job:
        """Return a task model of plenty of target images, for G's translations."""
        data = self.data("judge-data", domain, self.scale.judge_episodes, _SOURCE)
        needs = {"dataset": data}
        return self.job(f"{short_name(domain)}/judge", "task-model", needs, steps=self.scale.judge_steps)

    def recipe(self, name: str | None = None) -> Recipe:
        """Return a recipe with as many steps as this scale has."""
        recipe = load_recipe(name or self.recipe_name)
        share = self.scale.pose_translator_share if self._scene == "poses" else self.scale.translator_share
        counts = (recipe.steps, recipe.align_steps, recipe.pretrain_steps)
        steps, align_steps, pretrain_steps = (_part(share, count) for count in counts)
        return dataclasses.replace(recipe, steps=steps, align_steps=align_steps, pretrain_steps=pretrain_steps)

    def translator(self, name: str, needs: dict[str, Job], recipe: str | None = None, **options: Any) -> Job:
        """Return the training of a translator by a recipe, with options in place of the recipe's settings."""
        settings, recipe = self.recipe(recipe), recipe or self.recipe_name
        usual: dict[str, Any] = {"steps": settings.steps, "pretrain_steps": settings.pretrain_steps}
        if self._task != JOINT_GOALS and recipe in _FOR_GOALS:
            usual |= _NOT_OF_GOALS
        return self.job(f"{name}/translator", "translator", needs, recipe=recipe, **usual | options)

    def pretrained(self) -> Job:
        """Return F after pre-training on randomised simulation, no target image seen."""
        needs = {"source": self.source(), "pretrain": self.randomized(), "task_model": self.source_model()}
        if not self.recipe().pretrain_steps:
            raise InputError(f"--recipe {self.recipe_name}: expected pretrain_steps above 0 for this study, got 0")
        return self.translator("pretrained", needs, steps=0)

    def inverse(
        self,
        domain: str,
        label: str = "inverse",
        images: int | None = None,
        recipe: str | None = None,
        paired: bool = True,
        **options: Any,
    ) -> Job:
        """Return F of a domain, which starts from the pre-trained one where its recipe pre-trains."""
        settings = self.recipe(recipe)
        if not settings.steps:
            raise InputError(f"--recipe {recipe or self.recipe_name}: expected steps above 0 for this study, got 0")
        needs = {"source": self.source(), "target": self.target(domain, paired), "task_model": self.source_model()}
        needs["validation"] = self.held_out(domain, paired)
        if settings.pretrain_steps:
            needs["start_from"] = self.pretrained()
        if settings.pairs_batch_size:
            needs["pretrain"] = self.randomized()
        if settings.align_steps and paired:
            options = {"align_steps": settings.align_steps} | options
        return self.translator(f"{short_name(domain)}/{label}", needs, recipe, target_images=images, **options)

    def refined(self, domain: str, label: str = "inverse", images: int | None = None, **options: Any) -> Job:
        """Return f_X refined on the translations of an F, which is named as `inverse` names it."""
        needs = {"source": self.source(), "target": self.target(domain), "validation": self.held_out(domain)}
        needs |= {"task_model": self.source_model(), "translator": self.inverse(domain, label, images, **options)}
        refining = {"steps": self._refine_steps, "target_images": images}
        return self.job(f"{short_name(domain)}/{label}/refined", "refine", needs, **refining)

    def refined_as_adapt(self, domain: str, label: str, images: int, **options: Any) -> Job:
        """Return f_X refined as `taskgan adapt` does it: on the target images, or on randomised ones where few are."""
        if images >= FEW:
            return self.refined(domain, label, images, **options)
        needs = {"translator": self.inverse(domain, label, images, **options), "fit_output": self.target(domain)}
        needs["validation"] = self.held_out(domain)
        return self.refined_on_randomized(f"{short_name(domain)}/{label}", needs, fit_images=images)

    def aligned(self, domain: str, images: int) -> Job:
        """Return the pre-trained F, of which nothing but the alignment learns from so many target images."""
        align_steps = self.recipe().align_steps
        if not align_steps:
            return self.pretrained()
        needs = {"source": self.source(), "target": self.target(domain), "task_model": self.source_model()}
        needs |= {"validation": self.held_out(domain), "start_from": self.pretrained()}
        return self.translator(
            f"{short_name(domain)}/fitted-{images}", needs, steps=0, align_steps=align_steps, target_images=images
        )

    def fitted(self, domain: str, images: int) -> Job:
        """Return f_X behind that F, its output layer fitted to the images."""
        needs = {"translator": self.aligned(domain, images), "task_model": self.pretrained_refined()}
        return self._fitted(f"{short_name(domain)}/fitted-{images}", needs | {"source": self.source()}, domain, images)

    def _fitted(self, name: str, needs: dict[str, Job], domain: str, images: int) -> Job:
        """Return a task model of which nothing but the output layer learns from target images."""
        needs |= {"target": self.target(domain), "fit_output": self.target(domain)}
        return self.job(f"{name}/task-model", "refine", needs, steps=0, variants=1, fit_images=images)

    def pretrained_refined(self) -> Job:
        """Return f_X refined on what an F that saw no target image makes of randomised simulation."""
        return self.refined_on_randomized("pretrained+refined", {"translator": self.pretrained()})

    def refined_on_randomized(self, name: str, needs: dict[str, Job], **options: Any) -> Job:
        """Return f_X refined on what a translator makes of randomised simulation, of which there is plenty.

        Args:
            name: what the job's name begins with.
            needs: the translator, and what else the step takes.
            options: further ones of the step.
        """
        needs = {"source": self.source(), "target": self.randomized(), "task_model": self.source_model()} | needs
        options |= {"steps": self._refine_steps, "variants": 1}
        return self.job(f"{name}/task-model", "refine", needs, **options)

    def randomized_model(self) -> Job:
        """Return f of randomised simulation."""
        return self._model("randomized/task-model", self.randomized(), self.scale.task_model_steps)

    def without_translator(self, domain: str, images: int) -> Job:
        """Return f of randomised simulation, continued as `taskgan adapt` refines f_X.

        With enough labelled target images it goes on with them, half of a batch; to few its output layer is fitted.
        """
        name = f"{short_name(domain)}/randomized-{images}"
        needs = {"source": self.randomized(), "task_model": self.randomized_model()}
        if images < FEW:
            return self._fitted(name, needs, domain, images)
        needs |= {"target": self.target(domain), "validation": self.held_out(domain)}
        options = {"target_images": images, "steps": self.scale.refine_steps}
        return self.job(f"{name}/task-model", "refine", needs, **options)

    def two_column(self, domain: str, regime: str) -> Job:
        """Return the two-column task model of a regime of figure 9: its name says what it learns from."""
        needs = {"task_model": self.source_model(), "validation": self.held_out(domain)}
        options: dict[str, Any] = {"steps": self.scale.target_model_steps}
        if "paired" in regime:
            needs["target"] = self.target(domain)
        if "translated" in regime:
            needs |= {"translator": self.forward(domain), "source": self.source()}
            options["translated_images"] = self.scale.translated_images
        return self.job(f"{short_name(domain)}/{regime}/task-model", "two-column", needs, **options)

    def forward(self, domain: str, label: str = "forward", recipe: str = "forward", **options: Any) -> Job:
        """Return G, held to its task by the two-column model of the few pairs."""
        needs = {"source": self.source(), "target": self.target(domain)}
        needs |= {"task_model": self.two_column(domain, "source+paired")}
        return self.translator(f"{short_name(domain)}/{label}", needs, recipe, direction="forward", **options)

    def benchmark(self, domain: str) -> Job:
        """Return a task model of the few target images alone."""
        needs = {"dataset": self.target(domain), "validation": self.held_out(domain)}
        steps = self.scale.target_model_steps
        return self.job(f"{short_name(domain)}/benchmark/task-model", "task-model", needs, steps=steps)

    def closed_loop(
        self, name: str, domain: str, model: Job, translator: Job | None = None, short: bool = False
    ) -> Job:
        """Return the test episodes of section 4.1.1."""
        needs = {"task_model": model} | ({"translator": translator} if translator else {})
        episodes = self.scale.short_test_episodes if short else self.scale.test_episodes
        if _is_traced(domain):
            episodes = self.scale.traced_test_episodes
        return self.job(f"{name}/closed-loop", "closed-loop", needs, domain=domain, episodes=episodes)

    def translations(self, name: str, translator: Job, dataset: Job, judge: Job) -> Job:
        """Return what is measured of a translator's images."""
        return self.job(
            f"{name}/translations",
            "translations",
            {"translator": translator, "dataset": dataset, "judge": judge},
        )

    def angles(self, name: str, model: Job, dataset: Job, translator: Job | None = None) -> Job:
        """Return the errors of predicted joint angles."""
        needs = {"task_model": model, "dataset": dataset} | ({"translator": translator} if translator else {})
        return self.job(f"{name}/angles", "angles", needs)


@cache
def _is_traced(domain: str) -> bool:
    """Return whether a path tracer draws a domain; a study has dozens of jobs in each."""
    return load_domain(domain).path_tracing is not None


def _part(share: float, steps: int) -> int:
    """Return this share of steps, at least 1 unless there are none."""
    return max(1, round(share * steps)) if steps else 0


def reaching(factory: JobFactory, domains: Iterable[str]) -> list[Job]:
    """Figure 9: all training regimes in all domains (sections 4.1.2 to 4.1.4)."""
    model = factory.source_model()
    jobs = [factory.closed_loop("source/source", "source", model)]
    for domain in domains:
        name, few = short_name(domain), f"inverse-{FEW_IMAGES}"
        refined, few_refined = factory.refined(domain), factory.refined(domain, few, FEW_IMAGES)
        jobs.append(factory.closed_loop(f"{name}/inverse", domain, refined, factory.inverse(domain)))
        jobs.append(factory.closed_loop(f"{name}/benchmark", domain, factory.benchmark(domain)))
        jobs.append(factory.closed_loop(f"{name}/source", domain, model))
        jobs.append(factory.closed_loop(f"{name}/{few}", domain, few_refined, factory.inverse(domain, few, FEW_IMAGES)))
        for regime in ("source+paired", "source+translated", "source+paired+translated"):
            jobs.append(factory.closed_loop(f"{name}/{regime}", domain, factory.two_column(domain, regime)))
    return jobs


def task_loss(factory: JobFactory, domains: Iterable[str]) -> list[Job]:
    """Figure 7: what the task loss does, by its weight, both ways."""
    (domain,) = domains
    jobs, recipe, held_out = [], factory.scale.paper_recipe, factory.held_out(domain)
    for weight in LAMBDAS:
        name = f"inverse/lambda-{weight:g}"
        translator = factory.inverse(domain, name, recipe=recipe, lambda_task=weight)
        jobs.append(factory.translations(name, translator, held_out, factory.judge()))
        jobs.append(factory.closed_loop(name, domain, factory.source_model(), translator, short=True))
    for weight in LAMBDAS:
        name = f"forward/lambda-{weight:g}"
        translator = factory.forward(domain, name, recipe=recipe, lambda_task=weight)
        jobs.append(factory.translations(name, translator, held_out, factory.target_judge(domain)))
    return jobs


def unseen(factory: JobFactory, domains: Iterable[str]) -> list[Job]:
    """Figure 8: translations of target images that trained F, and of others."""
    jobs = []
    for domain in domains:
        sets = {"seen": factory.target(domain), "unseen": factory.held_out(domain)}
        for which, dataset in sets.items():
            name = f"{short_name(domain)}/{which}"
            jobs.append(factory.translations(name, factory.inverse(domain), dataset, factory.judge()))
    return jobs


def joint_angles(factory: JobFactory, domains: Iterable[str]) -> list[Job]:
    """Section 4.2, figures 10 to 12: five joint angles of the arm in an image."""
    (domain,) = domains
    model, test, judge = factory.source_model(), factory.test(domain), factory.judge()
    pretrained, validation = factory.pretrained(), factory.held_out(domain)
    refined = factory.refined_on_randomized("pretrained+refined", {"translator": pretrained, "validation": validation})
    jobs = [
        factory.angles("normal", factory.normal(domain, images=1), test),
        factory.angles("benchmark", model, factory.test(factory.plain)),
        factory.angles("source-only", model, test),
        factory.angles("randomized", factory.randomized_model(), test),
        factory.angles("pretrained", model, test, pretrained),
        factory.angles("pretrained+refined", refined, test, pretrained),
        factory.translations("pretrained", pretrained, test, judge),
        factory.job("symmetry/angles", "symmetry", {}),
    ]
    enough = [count for count in ANGLE_IMAGES if count <= factory.scale.pose_target_episodes * _IMAGES_PER_EPISODE]
    for count in enough:
        name = f"inverse-{count}"
        steps = min(factory.recipe().steps, _STEPS_AN_IMAGE * count)
        translator = factory.inverse(domain, name, count, steps=steps)
        refined = factory.refined_as_adapt(domain, name, count, steps=steps)
        jobs.append(factory.angles(name, model, test, translator))
        jobs.append(factory.angles(f"{name}+refined", refined, test, translator))
        jobs.append(factory.translations(name, translator, test, judge))
    return jobs


_MMD_WEIGHT = 0.1  # ten times as much drew features a quarter nearer in 800 steps, at four times the error at home
_MMD_RATE = 1e-4  # step 3's, which continues f_X too
_METHODS = ("simgan", "cyclegan", "pix2pix")  # recipes whose objective is another


def methods(factory: JobFactory, domains: Iterable[str]) -> list[Job]:
    """What the paper discusses but does not measure: other ways to get from one domain to the other."""
    jobs = []
    for domain in domains:
        name, model = short_name(domain), factory.source_model()
        needs = {"task_model": model, "dataset": factory.source(), "target": factory.target(domain)}
        adapting = {"steps": factory.scale.refine_steps, "learning_rate": _MMD_RATE, "mmd_weight": _MMD_WEIGHT}
        models = {
            "domain-randomisation": factory.randomized_model(),
            "mmd": factory.job(f"{name}/mmd/task-model", "task-model", needs, **adapting),
        }
        translators = {method: factory.inverse(domain, method, recipe=method) for method in _METHODS}
        translators = {
            short_name(factory.recipe_name): factory.inverse(domain),
            "rcan": factory.pretrained(),
        } | translators
        for method, translator in translators.items():
            jobs.append(factory.closed_loop(f"{name}/{method}", domain, model, translator, short=True))
            jobs.append(factory.translations(f"{name}/{method}", translator, factory.held_out(domain), factory.judge()))
        for method, other in models.items():
            jobs.append(factory.closed_loop(f"{name}/{method}", domain, other, short=True))
    return jobs


_WITHOUT_LABELS: dict[str, Any] = {"lambda_task": 0.0, "matched_poses": 0}  # beside a dataset without pairs


def adaptation(factory: JobFactory, domains: Iterable[str]) -> list[Job]:
    """What 0 to 800 target images bring where a domain is hard, with labels and without, and whether less would do."""
    jobs = []
    for domain in domains:
        jobs += _without_images(factory, domain)
        for count in IMAGES:
            if count <= factory.scale.target_episodes * _IMAGES_PER_EPISODE:
                jobs += _with_images(factory, domain, count)
    return jobs


def _without_images(factory: JobFactory, domain: str) -> list[Job]:
    """Return the episodes of what has seen no target image."""
    goals = factory.of_goals
    runs: dict[str, tuple[Job, Job | None]] = {
        "rcan": (factory.source_model(), factory.pretrained()),
        "rcan+refined": (factory.pretrained_refined(), factory.pretrained()),
        "goals": (goals.source_model(), goals.pretrained()),
        "randomized": (factory.randomized_model(), None),
        "randomized+goals": (goals.randomized_model(), None),
    }
    return _closed_loops(factory, domain, 0, runs)


def _with_images(factory: JobFactory, domain: str, count: int) -> list[Job]:
    """Return the episodes of what has learned from `count` images, the same ones for all."""
    goals = factory.of_goals
    runs: dict[str, tuple[Job, Job | None]] = {
        "goals": _labelled(goals, domain, count),
        "fitted": (goals.fitted(domain, count), goals.aligned(domain, count)),
        "randomized+goals": (goals.without_translator(domain, count), None),
    }
    if short_name(domain) not in _GOALS_ALONE:
        runs["labelled"] = _labelled(factory, domain, count)
        if count > 1:  # one image shows one pose, by which the discriminator would tell it from all simulation
            runs["unlabelled"] = _unlabelled(factory, domain, f"unlabelled-{count}", count)
    return _closed_loops(factory, domain, count, runs)


def _labelled(factory: JobFactory, domain: str, count: int) -> tuple[Job, Job]:
    """Return f_X and F of `count` labelled images, as `taskgan adapt` trains them."""
    name, steps = f"labelled-{count}", _steps(factory, count)
    model = factory.refined_as_adapt(domain, name, count, steps=steps)
    return model, factory.inverse(domain, name, count, steps=steps)


def _unlabelled(factory: JobFactory, domain: str, name: str, count: int, **options: Any) -> tuple[Job, Job]:
    """Return f_X as it is, and the F of this name of `count` images whose labels train nothing."""
    options = {"steps": _steps(factory, count), **_WITHOUT_LABELS, **options}
    return factory.source_model(), factory.inverse(domain, name, count, paired=False, **options)


def _steps(factory: JobFactory, count: int) -> int:
    """Return the TaskGAN's steps with so many images, no more than the scale has."""
    return min(factory.recipe().steps, translator_steps(count))


def _curve(factory: JobFactory, domain: str) -> dict[str, tuple[Job, Job]]:
    """Return f_X and F of goals by the number of target images, which is in their names."""
    goals, most = factory.of_goals, factory.scale.target_episodes * _IMAGES_PER_EPISODE
    runs = {f"goals-{count}": _labelled(goals, domain, count) for count in CURVE if count <= most}
    return {"goals-0": (goals.source_model(), goals.pretrained())} | runs


def seeds(factory: JobFactory, domains: Iterable[str]) -> list[Job]:
    """The default's curve of `adaptation`, to be trained several times: chance alone may raise or lower it."""
    return [
        factory.closed_loop(f"{short_name(domain)}/{what}", domain, *each, short=True)
        for domain in domains
        for what, each in _curve(factory, domain).items()
    ]


def _closed_loops(factory: JobFactory, domain: str, count: int, runs: dict[str, tuple[Job, Job | None]]) -> list[Job]:
    """Return the episodes of task models, each behind its translator or none."""
    names = {what: f"{short_name(domain)}/{what}-{count}" for what in runs}
    return [factory.closed_loop(names[what], domain, *each, short=True) for what, each in runs.items()]


def path_traced(factory: JobFactory, domains: Iterable[str]) -> list[Job]:
    """What target images bring an f_X of goals in looks by another renderer, and whether unpaired ones can do harm."""
    jobs, goals = [], factory.of_goals
    for domain in domains:
        runs = _curve(factory, domain)
        for seed in range(UNPAIRED_SEEDS):
            name = f"unpaired-{FEW_UNPAIRED}-{seed}"
            runs[name] = _unlabelled(goals, domain, name, FEW_UNPAIRED, seed=factory.seed + seed)
        few = domain, FEW_UNPAIRED
        runs[f"fitted-{FEW_UNPAIRED}"] = goals.fitted(*few), goals.aligned(*few)
        for what, (model, translator) in runs.items():
            name = f"{short_name(domain)}/{what}"
            jobs.append(factory.closed_loop(name, domain, model, translator, short=True))
            jobs.append(factory.translations(name, translator, goals.held_out(domain), goals.judge()))
    return jobs


@dataclasses.dataclass(frozen=True)
class StudyCell:
    """What a study's datasets are of: scene, labels, and the domain that F translates into."""

    scene: str
    task: str
    plain: str


_REACH = StudyCell("reach", "joint_velocities", "source")
_POSES = StudyCell("poses", "joint_angles", "colored")  # joint angles need links told apart: docs/real-arm.md


@dataclasses.dataclass(frozen=True)
class Study:
    """A named study: the domains it is shown in, how its jobs are made, and whether `repeats` says how many times."""

    domains: tuple[str, ...]
    jobs: Callable[[JobFactory, Iterable[str]], list[Job]]
    cell: StudyCell = _REACH
    is_repeated: bool = False


STUDIES = {
    "reaching": Study(TARGETS, reaching),
    "task-loss": Study(("target_a",), task_loss),
    "unseen": Study(("target_wood",), unseen),
    "joint-angles": Study(("real_standin",), joint_angles, _POSES),
    "methods": Study(TARGETS, methods),
    "adaptation": Study(HARD, adaptation),
    "seeds": Study(REPEATED, seeds, is_repeated=True),
    "path-traced": Study(LABS, path_traced),
}


def study_jobs(study: Study, scale: str, recipe: str, domains: Iterable[str] | None) -> list[Job]:
    """Return the jobs that the study's tables show, of all seeds; seed by seed, so that one is soon whole.

    Raises:
        InputError: a scale, domain or recipe that does not exist or does not fit, two domains of one name, several
            where the study takes one.
    """
    domains = tuple(domains or study.domains)
    for domain in domains:
        load_domain(domain)
        _check_own_name("domains", domain)
    names = [short_name(domain) for domain in domains]
    if len(set(names)) < len(names):
        raise InputError(f"--domains: expected different names, got {names}")
    if not set(names).isdisjoint(_NOT_TARGETS):
        raise InputError(f"--domains: expected target domains, got {names}: {_NOT_TARGETS} are what studies start from")
    if len(study.domains) == 1 < len(domains):
        raise InputError(f"expected one domain for this study, got {list(domains)}")
    jobs, size = [], load_scale(scale)
    for seed in range(size.repeats if study.is_repeated else size.seeds):
        jobs += study.jobs(JobFactory(scale, recipe, seed, study.cell), domains)
    return jobs
