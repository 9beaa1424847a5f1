"""The guard: what tells images like those of the training from others, fitted on a bundle's own graphs.

Two scores, in units of a limit that 99.9 % of good images stay below. Both are Mahalanobis distances: of the coarse
camera image, and of the pose that f_X's last convolution shows in F(image) from the measured one. The second has a
covariance that depends on where the arm is, for some poses are hard to see. `policy/guard.py` says how they are used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from taskgan_ros.core.config import short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.data.dataset import Dataset, check_compatible, load_dataset
from taskgan_ros.policy.bundle import (
    FINITE,
    GUARD,
    IMAGE,
    JOINT_POS,
    README,
    SCORES,
    TASK_MODEL,
    TRANSLATED,
    TRANSLATOR,
    Bundle,
    GuardCard,
    load_bundle,
    read_pictures,
    write_bundle,
)
from taskgan_ros.policy.guard import CAMERA, POSE, TRANSLATION
from taskgan_ros.robot.units import JOINT_GOALS
from taskgan_ros.training.appearance import Appearance, cells, coarse, cross_validated, fit_appearance
from taskgan_ros.training.lineage import check_domain
from taskgan_ros.training.model_card import write_model_card
from taskgan_ros.training.networks import TaskModel, run_batches, shape_of, to_network
from taskgan_ros.training.onnx_graph import to_onnx
from taskgan_ros.training.pose_probe import SPREAD_RANGE, PoseProbe, Views, fit_pose_probe, parabola
from taskgan_ros.training.pose_reader import learn_pose

Array = NDArray[np.float64]
Images = NDArray[np.uint8]
Translate = Callable[[Images], Images]

QUANTILE = 0.999
_FOLDS = 5
_LEAST = 50  # images; a covariance of fewer says nothing
_MOST_PLAIN, _MOST_TRANSLATED = 6400, 3200  # images of a dataset, evenly over it: more only take time
_FURTHEST = 4.0  # deviations from the mean, to which poses are clipped: a parabola extrapolates badly
_BATCH = 32
# Medians of unseen images of one domain were 0.9 to 0.95 times as far (target_a, target_wood, real_standin; 6 and 30
# episodes of target images), those of another one of the three 1.8 to 3.7 times.
_OTHER_LOOK = 1.4
_TINY = 1e-9


@dataclass(frozen=True)
class GuardConfig:
    """Give a bundle a guard against out-of-distribution images, or another one for other good images."""

    bundle: str
    """A shipped bundle's name or a folder."""
    source: Path
    """The source dataset that f_X learned from."""
    target: Path
    """The dataset of good camera images: of the bundle's domain, or of another one with `new_look`."""
    out: Path
    """Folder for the bundle with its guard; must not exist. It has the name of the bundle."""
    new_look: bool = False
    """Accept target images of another domain than the bundle's, such as a recording in which it arrives unchanged.
    The guard then accepts images like those, and no longer the original ones."""
    pretrain: Path | None = None
    """The randomised pairs that F was pre-trained on: they show which poses are hard to see."""
    held_out: Path | None = None
    """Good camera images held out from training, for the limits; they must look like the target's. Without them, the
    target's episodes are cross-validated."""


def add_guard(config: GuardConfig) -> Bundle:
    """Write the bundle with a guard and return it.

    Raises:
        InputError: files that do not fit, an output that exists, too few images, a bundle of other networks.
    """
    check_free(config.out)
    bundle = load_bundle(config.bundle)
    if config.out.name != bundle.card.name:
        raise InputError(f"{config.out}: expected a folder named as the bundle, {bundle.card.name}, got another name")
    data = GuardData.load(config.source, load_dataset(config.target), config.pretrain, config.held_out)
    if not config.new_look:
        _check_look_of_bundle(config, bundle.card.target_domain, data.target.info.domain)
    taken = (data.target.info.task, data.target.info.action_names, data.target.images.shape[1:3])
    expected = (bundle.card.labels, bundle.card.joint_names, bundle.card.image.shape)
    if taken != expected:
        raise InputError(
            f"{config.target}: expected labels, joints and images of {config.bundle}, {expected}, got {taken}"
        )
    files = {name: (bundle.path / name).read_bytes() for name in bundle.card.files if name != GUARD}
    graph, guard = fit_guard(read_task_model(files[TASK_MODEL], bundle), files[TRANSLATOR], data)
    pictures = read_pictures(bundle.path)
    card = dataclasses.replace(bundle.card, guard=guard)
    readme = write_model_card(card, list(pictures))
    written = write_bundle(config.out, card, {**files, GUARD: graph}, readme, pictures)
    print_line(f"{config.out}: {README} and {GUARD} are new; good images' scores: {guard.quantiles}")
    return written


def _check_look_of_bundle(config: GuardConfig, expected: str, actual: str) -> None:
    try:
        check_domain(f"target: {config.target}", expected, actual)
    except InputError as error:
        error.add_note(
            "--new-look fits the guard to these images all the same; it does not check whether the bundle arrives"
        )
        raise


@dataclass(frozen=True)
class GuardData:
    """The datasets that a guard is fitted on; see `GuardConfig`."""

    source: Dataset
    target: Dataset
    pretrain: Dataset | None = None
    held_out: Dataset | None = None

    @classmethod
    def load(cls, source: Path, target: Dataset, pretrain: Path | None, held_out: Path | None) -> GuardData:
        """Read the other datasets.

        Raises:
            InputError: one is damaged or does not fit the target's.
        """
        others = [None if path is None else load_dataset(path) for path in (source, pretrain, held_out)]
        for dataset in filter(None, others):
            check_compatible(target.info, dataset.info)
        first, second, third = others
        assert first is not None
        if third is not None:
            check_domain(f"held out: {held_out}", target.info.domain, third.info.domain)
            if again := len(_digests(third) & _digests(target)):
                raise InputError(f"{held_out}: expected images held out from training, got {again} of the target's")
        return cls(first, target, second, third)


def is_enough(target: Dataset) -> bool:
    """Return whether there are images enough for a guard."""
    return len(target) >= _LEAST


def hold_out_in_turn(dataset: Dataset) -> NDArray[np.int64]:
    """Return which of the folds each image is in (N,): whole episodes, or stretches of time where there are few.

    Consecutive images are alike: split apart, they would make the limits too low.
    """
    if dataset.info.episodes >= _FOLDS:
        return np.searchsorted(np.unique(dataset.episode), dataset.episode) % _FOLDS
    return np.arange(len(dataset)) * _FOLDS // len(dataset)


def check_same_look(target: Array, others: Array, folds: NDArray[np.int64], what: str) -> float:
    """Return how far other images are from the target's, in units of how far those are from each other.

    Both are medians of the camera score. About 1 is the same look; names and attributes play no part.

    Args:
        target: (N, D) coarse target images.
        others: (M, D) coarse images that should look like them.
        folds: (N,) of the target images.
        what: names the others.

    Raises:
        InputError: they look otherwise: limits taken from them would let anything in between pass.
    """
    own = float(np.median(cross_validated(target, folds)))
    ratio = float(np.median(fit_appearance(target).distance(others))) / max(own, _TINY)
    if ratio > _OTHER_LOOK:
        expected = f"images that look as the target's do, at most {_OTHER_LOOK:g} times as far from them as they are"
        advice = "leave them out (the target's episodes are then held out in turn), or make them part of the target"
        raise InputError(f"{what}: expected {expected} from each other, got {ratio:.2g} times: {advice}")
    return ratio


def fit_guard(task_model: TaskModel, translator: bytes, data: GuardData) -> tuple[bytes, GuardCard]:
    """Return guard.onnx and its card.

    Args:
        task_model: f_X.
        translator: translator.onnx.
        data: good images, and what F and f_X learned from.

    Raises:
        InputError: too few target images, images that are all the same, or held-out images of another look.
    """
    target, held_out = data.target, data.held_out
    if data.pretrain is not None and _is_aligned(translator):  # it would align those too, which need no alignment
        data = dataclasses.replace(data, pretrain=None)
    _check_images(target, "target")
    if held_out is not None:
        _check_images(held_out, "held-out")
    folds, colours, likeness = hold_out_in_turn(target), coarse(target.images), None
    if held_out is not None:
        likeness = check_same_look(colours, coarse(held_out.images), folds, "held out")
    translate = _translator(translator)
    joints = target.info.indices(target.info.action_names)
    translated = translate(target.images)
    second: AppearanceScore | PoseScore
    if target.info.task != "joint_angles":
        seen_by = learn_pose(data.source, joints) if target.info.task == JOINT_GOALS else task_model
        probe, seconds = _fit_pose(seen_by, translate, data, translated, joints, folds)
        name, second = POSE, PoseScore(seen_by, probe)
    else:  # an image of a pose to take, which the joint states need not be at
        plain = fit_appearance(coarse(_some(data.source, _MOST_PLAIN).images))
        name, second, seconds = TRANSLATION, AppearanceScore(plain), plain.distance(coarse(translated))
    graph = GuardGraph(AppearanceScore(fit_appearance(colours)), second)
    if held_out is None:  # images of the fit score lower than unseen good ones
        scores = np.stack([cross_validated(colours, folds), seconds], axis=1)
    else:
        angles = held_out.joint_pos[:, joints]
        scores = run_batches(graph, held_out.images, translate(held_out.images), angles).astype(np.float64)
    graph.limits.copy_(torch.from_numpy(np.quantile(scores, QUANTILE, axis=0)))
    shares = (0.5, 0.9, 0.99, QUANTILE)
    quantiles = {
        label: {str(share): round(float(np.quantile(column, share)), 4) for share in shares}
        for label, column in zip((CAMERA, name), (scores / graph.limits.numpy()).T, strict=True)
    }
    card = GuardCard(
        scores=(CAMERA, name),
        quantile=QUANTILE,
        images=len(scores),
        held_out=held_out is not None,
        likeness=None if likeness is None else round(likeness, 3),
        domain=short_name(target.info.domain),
        quantiles=quantiles,
    )
    example = tuple(torch.from_numpy(array[:2]) for array in (target.images, translated, target.joint_pos[:, joints]))
    return to_onnx(graph, example, [IMAGE, TRANSLATED, JOINT_POS], [SCORES]), card


def _check_images(dataset: Dataset, what: str) -> None:
    if not is_enough(dataset):
        raise InputError(f"guard: expected at least {_LEAST} {what} images, got {len(dataset)}")
    if np.array_equal(dataset.images[1:], dataset.images[:-1]):
        raise InputError(f"guard: expected {what} images that differ, got {len(dataset)} that are all the same")


def read_task_model(graph: bytes, bundle: Bundle) -> TaskModel:
    """Return f_X of a bundle's task_model.onnx.

    Raises:
        InputError: the graph is not that of a `TaskModel`.
    """
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load_from_string(graph).graph.initializer}
    own = {
        name.removeprefix("task_model."): torch.from_numpy(value.copy())
        for name, value in weights.items()
        if name.startswith("task_model.")
    }
    shape = shape_of({name: tuple(value.shape) for name, value in own.items()})
    task_model = TaskModel(len(bundle.card.joint_names), bundle.card.image.shape, shape)
    try:
        task_model.load_state_dict(own)
    except RuntimeError as error:
        raise InputError(f"{bundle.path / TASK_MODEL}: expected the networks of this package, got: {error}") from error
    return task_model.eval()


class AppearanceScore(nn.Module):
    """The distance (N,) of images (N, 3, H, W) from an `Appearance`."""

    mean: Tensor
    whitening: Tensor

    def __init__(self, fitted: Appearance) -> None:
        """Put the distribution into a graph."""
        super().__init__()
        _keep(self, fitted)

    def forward(self, images: Tensor) -> Tensor:
        """Score `images`."""
        white = (cells(images) - self.mean) @ self.whitening
        return torch.sqrt((white**2).mean(dim=1))


class PoseScore(nn.Module):
    """How far the pose in images (N, 3, H, W) is from joint angles (N, J) rad, in deviations that are usual there."""

    weights: Tensor
    bias: Tensor
    centre: Tensor
    width: Tensor
    whitening: Tensor
    spread: Tensor

    def __init__(self, task_model: TaskModel, fitted: PoseProbe) -> None:
        """Put f_X's convolutions and the probe into a graph."""
        super().__init__()
        self.convolutions = _convolutions(task_model)
        _keep(self, fitted)

    def forward(self, images: Tensor, joint_pos: Tensor) -> Tensor:
        """Score `images`."""
        shown = self.convolutions(images) @ self.weights + self.bias
        seen = torch.clamp(_wrap(joint_pos - self.centre) / self.width, -_FURTHEST, _FURTHEST)
        logs = torch.clamp(parabola(seen) @ self.spread, *SPREAD_RANGE)
        error = _wrap(shown - joint_pos) @ self.whitening
        return torch.sqrt((error**2).mean(dim=1)) / torch.exp(logs / 2)


class GuardGraph(nn.Module):
    """Scores of images (N, H, W, 3) uint8, their translations, likewise, and joint angles (N, J) rad: (N, 2)."""

    limits: Tensor

    def __init__(self, camera: AppearanceScore, second: AppearanceScore | PoseScore) -> None:
        """Put the two scores side by side; their limits are 1 until they are set."""
        super().__init__()
        self.camera, self.second = camera, second
        self.register_buffer("limits", torch.ones(2))

    def forward(self, image: Tensor, translated: Tensor, joint_pos: Tensor) -> Tensor:
        """Score `image`."""
        plain = to_network(translated)
        if isinstance(self.second, PoseScore):
            second = self.second(plain, joint_pos)
        else:  # every guard takes the same inputs, and export drops unused ones
            second = self.second(plain) + 0 * joint_pos.sum(dim=1)
        return torch.stack([self.camera(to_network(image)), second], dim=1) / self.limits


def _keep(module: nn.Module, fitted: Appearance | PoseProbe) -> None:
    for item in dataclasses.fields(fitted):
        module.register_buffer(item.name, torch.from_numpy(getattr(fitted, item.name).astype(np.float32)))


def _wrap(step: Tensor) -> Tensor:
    """Return the step in [-pi, pi]: drivers may count whole turns differently."""
    return step - 2 * torch.pi * torch.round(step / (2 * torch.pi))


def _convolutions(task_model: TaskModel) -> nn.Sequential:
    """Return f_X up to its last convolution, flattened."""
    layers = list(task_model.extractor)
    end = next(k for k, layer in enumerate(layers) if isinstance(layer, nn.Flatten)) + 1
    return nn.Sequential(*layers[:end])


def _fit_pose(
    task_model: TaskModel,
    translate: Translate,
    data: GuardData,
    translated: Images,
    joints: NDArray[np.intp],
    folds: NDArray[np.int64],
) -> tuple[PoseProbe, Array]:
    """Return the probe, and the scores of the target images, of which `translated` is made."""
    convolutions = _convolutions(task_model)

    source = _some(data.source, _MOST_PLAIN)
    middle = source.joint_pos[:, joints].mean(axis=0, dtype=np.float64)

    def views(dataset: Dataset, images: Images) -> Views:
        features = run_batches(lambda part: convolutions(to_network(part)), images)
        angles = dataset.joint_pos[:, joints].astype(np.float64)
        turns = np.round((middle - angles) / (2 * np.pi))  # a recording may count turns differently
        return Views(features.astype(np.float64), angles + 2 * np.pi * turns)

    plain, seen = views(source, source.images), views(data.target, translated)
    if data.pretrain is None:
        return fit_pose_probe(plain, seen, folds, None)
    other = _some(data.pretrain, _MOST_TRANSLATED)
    return fit_pose_probe(plain, seen, folds, views(other, translate(other.images)))


def _is_aligned(graph: bytes) -> bool:
    """Return whether a translator moves the camera's pictures before it translates them."""
    return any(node.op_type == "GridSample" for node in onnx.load_from_string(graph).graph.node)


def _translator(graph: bytes) -> Translate:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def translate(images: Images) -> Images:
        chunks = []
        with progress_bar("guard: translations", len(images), "images") as advance:
            for k in range(0, len(images), _BATCH):
                translated, finite = session.run([TRANSLATED, FINITE], {IMAGE: images[k : k + _BATCH]})
                if not finite.all():
                    got = f"NaN, infinity or huge values on {np.sum(~finite)} images"
                    raise InputError(f"{TRANSLATOR}: expected finite weights and activations, got {got}")
                chunks.append(translated)
                advance(len(chunks[-1]))
        return np.concatenate(chunks)

    return translate


def _digests(dataset: Dataset) -> set[int]:
    return {hash(image.tobytes()) for image in dataset.images}


def _some(dataset: Dataset, most: int) -> Dataset:
    """Return at most `most` images, evenly over the dataset."""
    if len(dataset) <= most:
        return dataset
    rows = np.linspace(0, len(dataset) - 1, most).astype(np.int64)
    paired = None if dataset.paired is None else dataset.paired[rows]
    return dataclasses.replace(
        dataset,
        images=dataset.images[rows],
        actions=dataset.actions[rows],
        joint_pos=dataset.joint_pos[rows],
        episode=dataset.episode[rows],
        paired=paired,
    )
