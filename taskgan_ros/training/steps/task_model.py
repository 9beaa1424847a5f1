"""Step 1: learn the task model, f."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import Field, config_dataclass
from taskgan_ros.data.dataset import DatasetInfo, check_compatible, load_dataset
from taskgan_ros.training import distributed
from taskgan_ros.training.bank import Bank, label_scale, make_bank
from taskgan_ros.training.learned import Learned, load_task_model, write_learned
from taskgan_ros.training.lineage import check_domain
from taskgan_ros.training.loop import schedule_of, train
from taskgan_ros.training.networks import TaskModel, load_shape
from taskgan_ros.training.optimisers import OptimiserName
from taskgan_ros.training.rates import RateSchedule
from taskgan_ros.training.run import Count, RunOptions, Share, open_run, pick_device
from taskgan_ros.training.splits import split_dataset, spread_rows
from taskgan_ros.training.task_trainer import AdaptingTrainer, TaskModelTrainer


@config_dataclass
class TaskModelConfig(RunOptions):
    """Step 1: learn to predict the labels from images of one domain."""

    dataset: Path
    """Episodes of the domain, from `taskgan collect`."""
    network: str = "paper"
    """A shipped shape's name, `paper` or `positions`, or a YAML file: docs/real-arm.md compares them."""
    steps: Count = 15000
    """The paper's."""
    batch_size: Count = 16
    """The paper's."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """The paper's. It falls linearly over the second half. With `positions`, 2e-3 suits either optimiser."""
    optimiser: OptimiserName = "adam"
    """`adam` is the paper's. With `positions`, `muon` (Jordan et al. 2024) needs fewer steps: docs/training.md."""
    augment: Annotated[float, Field(ge=0)] = 0.0
    """Strength of photometric augmentation; 0 is the paper's."""
    validation_share: Share = 0.05
    """Share of the episodes held out."""
    validation: Path | None = None
    """Dataset of the same domain to validate on; then no episode is held out."""
    images: Count | None = None
    """Train on this many images only: evenly spaced over those that are not held out. The label scale is still computed
    from all of them, as one image alone has none."""
    target: Path | None = None
    """Dataset of another domain, whose images adapt the features by `mmd_weight`; its labels are not used."""
    target_images: Count | None = None
    """Adapt to this many images of `target` only, evenly spaced."""
    mmd_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the maximum mean discrepancy between the features of `dataset` and of `target` (Tzeng et al. 2014)."""
    task_model: Path | None = None
    """Run of a task model of the same domain to continue, in place of random weights. Adapting needs one: with random
    weights, the features of both domains would agree by losing all information."""


@distributed.as_one
def train_task_model(config: TaskModelConfig) -> dict[str, float]:
    """Run step 1 and return the last validation's figures.

    Raises:
        InputError: a dataset or run that does not fit.
        Interrupted: a signal stopped it; the run can be resumed.
    """
    shape = load_shape(config.network)
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
        size = dataset.info.height, dataset.info.width
        network = (begun[0] if begun else TaskModel(len(scale), size, shape)).to(device)
        if begun is None and dataset.info.units == "rad":  # velocities are about 0 as they are
            network.begin_at(training.labels)
        banks, held_out_banks = [(training, config.batch_size)], {"error": held_out}
        rates = RateSchedule(config.learning_rate, config.steps)
        arguments = network, banks, held_out_banks, rates, config.augment, config.optimiser
        if others is None:
            trainer = TaskModelTrainer(*arguments)
        else:
            trainer = AdaptingTrainer(others, *arguments, config.mmd_weight)
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
    rows = spread_rows(np.arange(len(target)), config.target_images, f"target_images of {config.target}")
    return make_bank(target, scale, device).take(rows)
