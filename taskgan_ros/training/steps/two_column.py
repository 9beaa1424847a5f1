"""The task model of the forward direction (figure 3): a feature extractor for each domain, one output layer."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import Field, config_dataclass
from taskgan_ros.data.dataset import Dataset, DatasetInfo, check_compatible, load_dataset
from taskgan_ros.training import distributed
from taskgan_ros.training.augment import photometric
from taskgan_ros.training.bank import Bank, make_bank, translate_bank
from taskgan_ros.training.learned import WEIGHTS, Learned, load_task_model, write_learned
from taskgan_ros.training.lineage import check_domain, translated_domains
from taskgan_ros.training.loop import schedule_of, train
from taskgan_ros.training.networks import TaskModel
from taskgan_ros.training.objectives import feature_loss, task_loss
from taskgan_ros.training.rates import RateSchedule
from taskgan_ros.training.run import Count, RunOptions, open_run, pick_device, read_description
from taskgan_ros.training.splits import split_dataset, spread_rows
from taskgan_ros.training.steps.translator import load_translator
from taskgan_ros.training.task_trainer import TaskModelTrainer

KIND = "two_column"
_HELD_OUT = 0.1  # share of the episodes


@config_dataclass
class TwoColumnConfig(RunOptions):
    """Forward direction: learn the target's task model from pairs of images of both domains."""

    task_model: Path
    """The run of step 1, in the source domain: both columns start from its weights."""
    target: Path | None = None
    """Dataset of the few labelled target images, with pairs in the source domain: the paper's "Paired"."""
    target_images: Count | None = None
    """Train on this many target images only: evenly spaced over those that are not held out."""
    translator: Path | None = None
    """The run of a forward translator G, whose G(x) make pairs with x: the paper's "Translated"."""
    source: Path | None = None
    """The source dataset for `translator` to translate."""
    translated_images: Count = 8000
    """How many of the source's images, evenly spaced; the paper's."""
    validation: Path | None = None
    """Labelled dataset of the target domain to validate on; without it a tenth of the target's episodes is held out,
    and a tenth of the translated ones where there is no target."""
    steps: Count = 15000
    """The paper's."""
    batch_size: Count = 16
    """Pairs, the paper's; with target and translated images half of each."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Adam's; the paper's. It falls linearly over the second half."""
    feature_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the squared distance of both columns' features, mean over the batch and the 256 features; of 0,
    0.1, 1, 10 and 100, 1 and 10 did best in 400 steps on 800 images of target_wood (one seed)."""
    augment: Annotated[float, Field(ge=0)] = 0.0
    """Strength of photometric augmentation of both images of a pair, each by itself; 0 is the paper's."""


class TwoColumn(nn.Module):
    """Two columns that start alike and share the output layer.

    Attributes:
        target: the target's column with the output layer, a task model as any other.
        source: the source's feature extractor.
    """

    def __init__(self, task_model: TaskModel) -> None:
        """Start both columns from `task_model`, which becomes the target's."""
        super().__init__()
        self.target, self.source = task_model, copy.deepcopy(task_model.extractor)

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return both columns' features (N, 256) of pairs of images (N, 3, H, W), and their predictions (2, N, J)."""
        own, other = self.source(source), self.target.extractor(target)
        return own, other, self.target.output(torch.stack([own, other]))


class TwoColumnTrainer(TaskModelTrainer):
    """Adam on the squared error of both columns and the distance of their features."""

    def __init__(
        self,
        columns: TwoColumn,
        banks: list[tuple[Bank, int]],
        validation: dict[str, Bank],
        config: TwoColumnConfig,
    ) -> None:
        """Take the pairs of each bank that make up a batch, and the target's banks to validate on by name."""
        rates = RateSchedule(config.learning_rate, config.steps)
        super().__init__(columns, banks, validation, rates, config.augment)
        self._columns, self._weight = columns, config.feature_weight

    def _losses(self) -> dict[str, Tensor]:
        drawn = [(bank, bank.draw(count)) for bank, count in self._banks]
        plain = torch.cat([photometric(bank.paired_batch(index), self._augment) for bank, index in drawn])
        images = torch.cat([photometric(bank.batch(index)[0], self._augment) for bank, index in drawn])
        labels = torch.cat([bank.labels[index] for bank, index in drawn])
        own, other, predictions = self._columns(plain, images)
        source, target = (task_loss(prediction, labels) for prediction in predictions)
        features = feature_loss(own, other)
        loss = source + target + self._weight * features
        return {"loss": loss, "source": source, "target": target, "features": features}

    def networks(self) -> dict[str, nn.Module]:
        """Return the target's task model."""
        return {WEIGHTS: self._columns.target}


@distributed.as_one
def train_two_column(config: TwoColumnConfig) -> dict[str, float]:
    """Train both columns and return the last validation's figures of the target's.

    Raises:
        InputError: datasets, runs or options that do not fit.
        Interrupted: a signal stopped it; the run can be resumed.
    """
    _check_options(config)
    device = pick_device(config.device)
    task_model, learned = load_task_model(config.task_model)
    translator = load_translator(config.translator).to(device).eval() if config.translator else None
    datasets = [*_load_target(config, learned.data), *_load_source(config, learned.data)]
    info = datasets[0].info
    for dataset in datasets[1:]:
        check_domain(f"{config.translator}, what it translates into", info.domain, dataset.info.domain)
    split = split_dataset(datasets[0], config.validation, _HELD_OUT, config.seed)
    training, held_out = split.banks(config.target_images, learned.scale, device)
    banks = [training, *(make_bank(dataset, learned.scale, device) for dataset in datasets[1:])]
    counts = [config.batch_size - config.batch_size // 2, config.batch_size // 2] if banks[1:] else [config.batch_size]
    distributed.check_shares(**{f"images of batch_size from dataset {k}": count for k, count in enumerate(counts, 1)})

    with open_run(KIND, config) as run:
        images = sum(len(bank) for bank in banks)
        write_learned(run.path, Learned(data=info, label_scale=learned.label_scale, images=images))
        torch.manual_seed(config.seed)
        if translator is not None:
            banks[-1] = _translated_pairs(translator, banks[-1])
            if config.target is None and config.validation is None:
                held_out = translate_bank(translator, held_out)
        columns = TwoColumn(task_model).to(device)
        trainer = TwoColumnTrainer(columns, list(zip(banks, counts, strict=True)), {"error": held_out}, config)
        return train(run, trainer, schedule_of(config), config.seed, "two columns")


def _check_options(config: TwoColumnConfig) -> None:
    if config.target is None and config.translator is None:
        raise InputError("expected target, translator or both, to have images of the target domain, got neither")
    if (config.translator is None) != (config.source is None):
        given = "source" if config.translator is None else "translator"
        raise InputError(f"expected translator and source together, got {given} alone")
    if config.target is None and config.target_images is not None:
        raise InputError(f"target_images: expected a target to take {config.target_images} images of, got none")
    if config.target is not None and config.translator is not None and config.batch_size < 2:
        raise InputError(f"batch_size: expected at least 2, a half of each kind of pairs, got {config.batch_size}")


def _load_target(config: TwoColumnConfig, learned: DatasetInfo) -> list[Dataset]:
    """Return the target's dataset, where there is one."""
    if config.target is None:
        return []
    target = load_dataset(config.target)
    check_compatible(learned, target.info)
    pairs = target.info.paired_domain or "none"
    check_domain(f"target: {config.target}, what its pairs show (collect --paired)", learned.domain, pairs)
    return [target]


def _load_source(config: TwoColumnConfig, learned: DatasetInfo) -> list[Dataset]:
    """Return the source's images to translate, where some are, under the name of the domain that they will be of."""
    if config.translator is None or config.source is None:
        return []
    direction = read_description(config.translator).config["direction"]
    if direction != "forward":
        raise InputError(f"{config.translator}: expected a forward translator, G, got an {direction} one")
    source = load_dataset(config.source)
    check_compatible(learned, source.info)
    taken, given = translated_domains(config.translator)
    check_domain(f"task_model: {config.task_model}", taken, learned.domain)
    check_domain(f"source: {config.source}", learned.domain, source.info.domain)
    rows = spread_rows(np.arange(len(source)), config.translated_images, f"translated_images of {config.source}")
    part = dataclasses.replace(
        source,
        info=dataclasses.replace(source.info, domain=given, paired_domain=learned.domain),
        images=source.images[rows],
        actions=source.actions[rows],
        joint_pos=source.joint_pos[rows],
        episode=source.episode[rows],
        paired=None,
    )
    return [part]


def _translated_pairs(translator: nn.Module, plain: Bank) -> Bank:
    """Return G(x) of every image x of a bank, with x as its pair."""
    return dataclasses.replace(translate_bank(translator, plain), paired=plain.images[plain.rows])
