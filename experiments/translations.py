"""The quality of translated images, compared with the true ones of the same states (figures 7 and 8, in numbers)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from experiments.models import is_bundle, load_translate
from experiments.pictures import write_translations
from experiments.statistics import kernel_distance
from taskgan_ros.core.config import short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import Field, config_dataclass
from taskgan_ros.data.dataset import Dataset, check_compatible, load_dataset
from taskgan_ros.training.bank import median_image
from taskgan_ros.training.learned import load_task_model
from taskgan_ros.training.lineage import check_domain, translated_domains
from taskgan_ros.training.networks import TaskModel, run_batches, to_network
from taskgan_ros.training.objectives import differing
from taskgan_ros.training.run import Count, pick_device

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@config_dataclass
class TranslationConfig:
    """Translate a dataset's images, and compare them with the true ones."""

    translator: Path
    """The run of step 2, either direction, or a bundle's folder."""
    dataset: Path
    """Pairs of both domains."""
    judge: Path
    """Run of a task model of the domain translated into, that took no part in training."""
    images: Count | None = None
    """Number of consecutive images; all if left out."""
    first: Annotated[int, Field(ge=0)] = 0
    """Index of the first image."""
    device: str = "auto"
    """auto, cpu or cuda."""
    out: Path
    """A folder for the picture."""


class _Judge(torch.nn.Module):
    """A task model on bytes that also gives its features: images (N, H, W, 3) to (N, features + J)."""

    def __init__(self, network: TaskModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.network.extractor(to_network(images))
        return torch.cat([features, self.network.output(features)], dim=1)


def measure_translations(config: TranslationConfig) -> dict[str, Any]:
    """Translate, draw a grid, and return how far the translations are from the true images.

    `l1` is the mean |F(y) - x| of values in [0, 1]; `l1_arm` is that of where x is not the empty scene, which is the
    median of the true images, and `l1_empty` that of elsewhere. `ssim` is the structural similarity.

    `kid` is the kernel inception distance (Binkowski et al. 2018) on the judge's 256 features instead of Inception's,
    whose weights are not available offline: compare it only to figures of the same judge and the same images. Features
    are divided by their root mean square over the true images, so that the kernel's terms are about as large as each
    other for every judge. `judge_error` is the judge's mean squared error on the translations, in standard deviations
    of the labels squared; `judge_floor` the same on the true images.

    Raises:
        InputError: runs or a dataset that do not fit, or fewer images than requested.
    """
    device = pick_device(config.device)
    data = load_dataset(config.dataset)
    network, learned = load_task_model(config.judge)
    check_compatible(learned.data, data.info)
    given = learned.data.domain
    if not is_bundle(config.translator):
        check_domain(f"judge: {config.judge}", translated_domains(config.translator)[1], given)
    rows = _rows(config, len(data))
    images, truth = (side[rows] for side in sides(config.dataset, data, given))
    labels = (data.actions[rows] / learned.scale).astype(np.float64)
    translated = load_translate(config.translator, device)(images)
    judge = _Judge(network).eval().to(device)
    (fake, fake_error), (true, true_error) = (
        _judged(run_batches(judge, shown, device=device), labels) for shown in (translated, truth)
    )
    scale = max(float(np.sqrt(np.square(true).mean())), np.finfo(np.float64).tiny)
    write_translations(config.out, images, translated, truth)
    on_arm, elsewhere = distances_by_place(translated, truth)
    return {
        "l1": pixel_distance(translated, truth),
        "l1_arm": on_arm,
        "l1_empty": elsewhere,
        "ssim": similarity(translated, truth),
        "kid": kernel_distance(fake / scale, true / scale),
        "judge_error": fake_error,
        "judge_floor": true_error,
        "images": len(images),
    }


def pixel_distance(translated: Pixels, truth: Pixels) -> float:
    """Return the mean |difference| of images (N, H, W, 3) uint8, as values in [0, 1]."""
    differences = [np.abs(one.astype(np.int16) - other).mean() for one, other in zip(translated, truth, strict=True)]
    return float(np.mean(differences) / 255)


def distances_by_place(translated: Pixels, truth: Pixels) -> tuple[float | None, float | None]:
    """Return the mean |difference|, as values in [0, 1], where `truth` is not the empty scene, and where it is.

    None where there is no such pixel. The empty scene is the median of `truth`: many poses in one look show it.
    """
    empty = median_image(torch.from_numpy(truth))
    mask = run_batches(lambda part: differing(to_network(part), empty), truth)[:, 0] > 0
    distance = np.abs(translated.astype(np.int16) - truth).mean(axis=-1) / 255
    on_arm, elsewhere = (float(distance[part].mean()) if part.any() else None for part in (mask, ~mask))
    return on_arm, elsewhere


def similarity(translated: Pixels, truth: Pixels) -> float:
    """Return the mean structural similarity of images (N, H, W, 3) uint8; 1 where they are equal (Wang et al. 2004)."""
    values = [
        structural_similarity(one, other, channel_axis=-1, data_range=255)
        for one, other in zip(translated, truth, strict=True)
    ]
    return float(np.mean(values))


def _rows(config: TranslationConfig, count: int) -> slice:
    end = count if config.images is None else config.first + config.images
    if not config.first + 1 < end <= count:
        raise InputError(
            f"{config.dataset}: expected images {config.first} to {end - 1}, two at least, got {count} images"
        )
    return slice(config.first, end)


def sides(path: Path, data: Dataset, given: str) -> tuple[Pixels, Pixels]:
    """Return the images to translate and the true ones: those are the side that is of the domain translated into."""
    if data.paired is not None:
        if short_name(data.info.paired_domain) == short_name(given):
            return data.images, data.paired
        if short_name(data.info.domain) == short_name(given):
            return data.paired, data.images
    raise InputError(
        f"{path}: expected pairs of images with one side in {given}, which the translator gives, "
        f"got {data.info.domain} with {data.info.paired_domain or 'no pairs'}"
    )


def _judged(judged: NDArray[Any], labels: Array) -> tuple[Array, float]:
    """Return the features and the mean squared error of what a judge gave for images with these labels."""
    values = judged.astype(np.float64)
    features, predictions = np.split(values, [values.shape[1] - labels.shape[1]], axis=1)
    return features, float(np.square(predictions - labels).mean())
