"""Steps 1 and 3: learn the task model f, and refine it on translated images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from taskgan_ros.core.config import config_dataclass, load, to_plain
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import write_text
from taskgan_ros.data.dataset import Dataset, DatasetInfo, check_compatible, load_dataset
from taskgan_ros.training import distributed
from taskgan_ros.training.augment import photometric
from taskgan_ros.training.bank import Bank, label_scale, make_bank
from taskgan_ros.training.lineage import check_domain, translated_domains, understood_domains
from taskgan_ros.training.loop import Schedule, train
from taskgan_ros.training.networks import TaskModel, to_uint8
from taskgan_ros.training.objectives import mmd_loss, task_loss
from taskgan_ros.training.run import (
    Count,
    RunOptions,
    Share,
    load_weights,
    open_run,
    pick_device,
    read_description,
)

WEIGHTS = "task_model"
_LEARNED = "learned.yaml"
_EVALUATION_BATCH = 256
_SOURCE_STRIDE = 15  # images apart that refinement checks the source on: all would take longer than the training


@config_dataclass
class TaskModelConfig(RunOptions):
    """Step 1: learn to predict the labels from images of one domain."""

    dataset: Path
    """Episodes of the domain, from `taskgan collect`."""
    steps: Count = 15000
    """The paper's."""
    batch_size: Count = 16
    """The paper's."""
    learning_rate: Annotated[float, pydantic.Field(gt=0)] = 1e-3
    """Adam's; the paper's. It falls linearly over the second half."""
    augment: Annotated[float, pydantic.Field(ge=0)] = 0.0
    """Strength of photometric augmentation; 0 is the paper's."""
    validation_share: Share = 0.05
    """Share of the episodes held out."""
    validation: Path | None = None
    """Dataset of the same domain to validate on; then no episode is held out."""
    images: Count | None = None
    """Train on only the first so many images that are not held out, in the order they were recorded. The label scale is
    still that of them all, of which one image has none."""
    target: Path | None = None
    """Dataset of another domain, whose images adapt the features by `mmd_weight`; its labels are not used."""
    target_images: Count | None = None
    """Adapt to only the first so many images of `target`."""
    mmd_weight: Annotated[float, pydantic.Field(ge=0)] = 0.0
    """Weight of the maximum mean discrepancy between the features of `dataset` and of `target` (Tzeng et al. 2014)."""
    task_model: Path | None = None
    """Run of a task model of the same domain to continue, in place of random weights. Adapting needs one: from random
    weights the features of both domains agree soonest where they say nothing."""


@config_dataclass
class RefineConfig(RunOptions):
    """Step 3: continue training the task model with translated images mixed in."""

    task_model: Path
    """The run of step 1."""
    translator: Path
    """The run of step 2."""
    source: Path
    """The dataset that the task model was trained on."""
    target: Path
    """The dataset to translate; its labels train. With a handful of target images: the one to pre-train on."""
    steps: Count = 3000
    """A fifth of step 1: the weights start close."""
    batch_size: Count = 32
    """Half of it translated at the default share."""
    learning_rate: Annotated[float, pydantic.Field(gt=0)] = 1e-4
    """A tenth of step 1's, so that what was learned stays."""
    translated_share: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.5
    """Share of translated images in a batch; 1 is the paper-pure variant."""
    augment: Annotated[float, pydantic.Field(ge=0)] = 0.5
    """Strength of photometric augmentation of target images before translation; 0 is the paper's."""
    variants: Count = 4
    """How many differently augmented translations of each target image."""
    target_images: Count | None = None
    """Train on only the first so many target images that are not held out, in the order they were recorded."""
    validation: Path | None = None
    """Dataset of the target domain to validate on; without it a tenth of the target's episodes is held out."""


@config_dataclass
class Learned:
    """What a task model predicts: stands beside its weights.

    Attributes:
        data: the attributes of the dataset it was trained on.
        label_scale: (J,) what its outputs are multiplied with to get the dataset's units.
        images: how many it was trained on.
    """

    data: DatasetInfo
    label_scale: tuple[float, ...]
    images: int

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.data.height, self.data.width

    @property
    def scale(self) -> NDArray[np.float32]:
        """The label scale (J,) as an array."""
        return np.array(self.label_scale, dtype=np.float32)


class TaskModelTrainer:
    """Adam on the mean squared error of standardised labels, batches mixed from several banks."""

    def __init__(
        self,
        network: nn.Module,
        banks: list[tuple[Bank, int]],
        validation: dict[str, Bank],
        config: Any,
        steps: int,
    ) -> None:
        """Take the images of each bank that make up a batch, and banks to validate on by name."""
        self.network, self._banks, self._validation = network, banks, validation
        self._rate, self._steps = config.learning_rate, steps
        self._augment = 0.0 if isinstance(config, RefineConfig) else config.augment  # refinement's came before F
        self._optimiser = distributed.joint(torch.optim.Adam(network.parameters(), lr=config.learning_rate))
        self.batch_size = sum(count for _, count in banks)

    def train_step(self, step: int) -> dict[str, Tensor]:
        """Do one step of Adam."""
        set_rate(self._optimiser, self._rate * linear_decay(step, self._steps))
        losses = self._losses()
        self._optimiser.zero_grad()
        losses["loss"].backward()
        self._optimiser.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _losses(self) -> dict[str, Tensor]:
        """Draw a batch and return "loss", which the step goes down, and its parts where it has some."""
        images, labels = self._draw()
        return {"loss": task_loss(self.network(images), labels)}

    def _draw(self) -> tuple[Tensor, Tensor]:
        """Return a batch of augmented images (B, 3, H, W) in [-1, 1], and its labels (B, J)."""
        batches = [bank.batch(bank.draw(count)) for bank, count in self._banks]
        images = torch.cat([images for images, _ in batches])
        labels = torch.cat([labels for _, labels in batches])
        return photometric(images, self._augment), labels

    def validate(self) -> dict[str, float]:
        """Return the error on each validation bank, in standard deviations squared."""
        network = self.networks()[WEIGHTS]
        return {f"validation_{name}": task_error(network, bank) for name, bank in self._validation.items()}

    def picture(self) -> None:
        """Show nothing: a task model makes no pictures."""

    def networks(self) -> dict[str, nn.Module]:
        """Return the task model."""
        return {WEIGHTS: self.network}

    def state_dict(self) -> dict[str, Any]:
        """Return weights and optimiser."""
        return {"network": self.network.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])


class AdaptingTrainer(TaskModelTrainer):
    """The same, while the features of another domain's images are drawn to those of the labelled ones."""

    def __init__(
        self,
        others: Bank,
        network: TaskModel,
        banks: list[tuple[Bank, int]],
        validation: dict[str, Bank],
        config: TaskModelConfig,
        steps: int,
    ) -> None:
        """Take the other domain's images; the rest as `TaskModelTrainer`."""
        super().__init__(network, banks, validation, config, steps)
        self._task_model, self._others, self._weight = network, others, config.mmd_weight

    def _losses(self) -> dict[str, Tensor]:
        images, labels = self._draw()
        others, _ = self._others.batch(self._others.draw(self.batch_size))
        seen = torch.cat([images, photometric(others, self._augment)])
        features, other_features = self._task_model.extractor(seen).chunk(2)
        task = task_loss(self._task_model.output(features), labels)
        mmd = mmd_loss(distributed.gathered(features), distributed.gathered(other_features))
        return {"loss": task + self._weight * mmd, "task": task, "mmd": mmd}


def linear_decay(step: int, steps: int) -> float:
    """Return 1 over the first half of `steps` and a line to 0 over the second."""
    return min(1.0, 2 * (1 - step / steps))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = rate


@torch.no_grad()
def task_error(network: nn.Module, bank: Bank) -> float:
    """Return the mean squared error over a whole bank, in standard deviations squared."""
    total = 0.0
    for index in torch.arange(len(bank), device=bank.images.device).split(_EVALUATION_BATCH):
        images, labels = bank.batch(index)
        total += float((network(images) - labels).square().mean()) * len(index)
    return total / len(bank)


@distributed.as_one
def train_task_model(config: TaskModelConfig) -> dict[str, float]:
    """Run step 1 and return the last validation's figures.

    Raises:
        InputError: a dataset or run that does not fit.
        Interrupted: a signal stopped it; the run can be resumed.
    """
    dataset = load_dataset(config.dataset)
    device = pick_device(config.device)
    split = split_dataset(dataset, config.validation, config.validation_share, config.seed)
    begun = load_task_model(config.task_model) if config.task_model else None
    if begun:
        check_compatible(begun[1].data, dataset.info)
        check_domain(f"dataset: {config.dataset}", begun[1].data.domain, dataset.info.domain)
    scale = begun[1].scale if begun else label_scale(dataset.actions[split.training])
    training, held_out = split.banks(config.images, scale, device)
    others = _load_others(config, dataset.info, scale, device)
    distributed.check_shares(batch_size=config.batch_size)
    with open_run("task_model", config) as run:
        write_learned(run.path, Learned(data=dataset.info, label_scale=tuple(scale.tolist()), images=len(training)))
        torch.manual_seed(config.seed)
        network = begun[0] if begun else TaskModel(len(scale), (dataset.info.height, dataset.info.width))
        network = network.to(device)
        arguments = network, [(training, config.batch_size)], {"error": held_out}, config, config.steps
        trainer = AdaptingTrainer(others, *arguments) if others is not None else TaskModelTrainer(*arguments)
        return train(run, trainer, schedule_of(config), config.seed, "task model")


def _load_others(
    config: TaskModelConfig, info: DatasetInfo, scale: NDArray[np.float32], device: torch.device
) -> Bank | None:
    """Return the images to adapt to, if there are to be some."""
    if config.target is None:
        if config.mmd_weight or config.target_images:
            raise InputError("mmd_weight and target_images: expected --target DATASET to adapt to, got none")
        return None
    if not config.mmd_weight:
        raise InputError(f"target: expected mmd_weight above 0 to adapt to {config.target}, got 0")
    target = load_dataset(config.target)
    check_compatible(info, target.info)
    rows = first_rows(np.arange(len(target)), config.target_images, f"target_images of {config.target}")
    return make_bank(target, scale, device).take(rows)


@distributed.as_one
def refine(config: RefineConfig) -> dict[str, float]:
    """Run step 3 and return the last validation's figures.

    Raises:
        InputError: a dataset or run that does not fit.
        Interrupted: a signal stopped it; the run can be resumed.
    """
    from taskgan_ros.training.translator import load_translator

    device = pick_device(config.device)
    network, learned = load_task_model(config.task_model)
    translator = load_translator(config.translator).to(device).eval()
    source, target = load_dataset(config.source), load_dataset(config.target)
    for dataset in (source, target):
        check_compatible(learned.data, dataset.info)
    given, understood = translated_domains(config.translator)[1], understood_domains(config.translator)
    check_domain(f"{config.translator}, what it translates into", learned.data.domain, given)
    check_domain(f"source: {config.source}", learned.data.domain, source.info.domain)
    check_domain(f"target: {config.target}", understood, target.info.domain)
    split = split_dataset(target, config.validation, 0.1, config.seed, understood)
    training, validation = split.banks(config.target_images, learned.scale, device)
    count = max(1, round(config.batch_size * config.translated_share))
    distributed.check_shares(translated_images=count, source_images=config.batch_size - count)
    with open_run("refine", config) as run:
        write_learned(run.path, learned)
        torch.manual_seed(config.seed)
        translated = translate_bank(translator, training, config.augment, config.variants)
        plain = make_bank(source, learned.scale, device)
        banks = [(translated, count)] + ([(plain, config.batch_size - count)] if count < config.batch_size else [])
        every_episode = np.arange(0, len(plain), _SOURCE_STRIDE)
        held_out = {
            "translated_error": translate_bank(translator, validation),
            "source_error": plain.take(every_episode),
        }
        trainer = TaskModelTrainer(network.to(device), banks, held_out, config, config.steps)
        return train(run, trainer, schedule_of(config), config.seed, "refine")


@dataclass(frozen=True)
class Split:
    """What of a dataset to train on, and what to validate on: of it, or of another one of its domain.

    Attributes:
        dataset: the one to train on.
        training: (N,) rows of it.
        judge: the one to validate on.
        held_out: (V,) rows of that.
    """

    dataset: Dataset
    training: NDArray[np.int64]
    judge: Dataset
    held_out: NDArray[np.int64]

    def banks(self, images: int | None, scale: NDArray[np.float32], device: torch.device) -> tuple[Bank, Bank]:
        """Return banks of the first so many `images`, or all, to train on, and of those to validate on.

        Raises:
            InputError: there are fewer images.
        """
        bank = make_bank(self.dataset, scale, device)
        judge = bank if self.judge is self.dataset else make_bank(self.judge, scale, device)
        training = first_rows(self.training, images, f"images of {self.dataset.info.domain}")
        return bank.take(training), judge.take(self.held_out)


def split_dataset(
    dataset: Dataset, validation: Path | None, share: float, seed: int, domains: tuple[str, ...] | None = ()
) -> Split:
    """Hold out a share of the episodes, or none where there is another dataset to validate on.

    Args:
        dataset: to train on.
        validation: the other dataset, of the same domain or one of `domains`; of any where that is None.
        share: of the episodes.
        seed: of the draw.
        domains: see validation.

    Raises:
        InputError: fewer than two episodes to split, or a `validation` that does not fit.
    """
    if validation is None:
        training, held_out = dataset.split_by_episode(share, seed)
        return Split(dataset, training, dataset, held_out)
    judge = load_dataset(validation)
    check_compatible(dataset.info, judge.info)
    expected = None if domains is None else (dataset.info.domain, *domains)
    check_domain(f"validation: {validation}", expected, judge.info.domain)
    return Split(dataset, np.arange(len(dataset)), judge, np.arange(len(judge)))


def first_rows(rows: NDArray[np.int64], count: int | None, what: object) -> NDArray[np.int64]:
    """Return the first `count` of `rows`, which are in the order they were recorded; all for None.

    Raises:
        InputError: there are fewer; `what` says of what.
    """
    if count is not None and count > len(rows):
        raise InputError(f"{what}: expected at most {len(rows)}, which there are to train on, got {count}")
    return rows[:count]


@torch.no_grad()
def translate_bank(translator: nn.Module, bank: Bank, augment: float = 0.0, variants: int = 1) -> Bank:
    """Return F(y) of every image of a bank, `variants` times, as the node would see it: rounded to bytes."""
    order = torch.arange(len(bank), device=bank.rows.device).repeat(variants)
    with distributed.alone():
        images = [to_uint8(translator(photometric(bank.batch(index)[0], augment))) for index in order.split(64)]
    return Bank(torch.cat(images), torch.arange(len(order), device=order.device), bank.labels[order])


def load_task_model(run: Path) -> tuple[TaskModel, Learned]:
    """Return the task model of a run of step 1 or 3 or of two columns, on the CPU, and what it predicts.

    Raises:
        InputError: no such run, or one of another kind.
    """
    kind = read_description(run).kind
    if kind not in ("task_model", "refine", "two_column"):
        raise InputError(f"{run}: expected a run of a task model, got one of {kind}")
    learned = load(Learned, run / _LEARNED)
    network = TaskModel(len(learned.label_scale), learned.image_size)
    load_weights(run / f"{WEIGHTS}.safetensors", network)
    return network, learned


def write_learned(run: Path, learned: Learned) -> None:
    """Put what a task model predicts beside its weights."""
    if distributed.is_first():
        write_text(run / _LEARNED, yaml.safe_dump(to_plain(learned), sort_keys=False))


def schedule_of(config: Any) -> Schedule:
    """Return when the loop does what, from a run's options with `steps`."""
    return Schedule(config.steps, config.log_every, config.show_every, config.save_every)
