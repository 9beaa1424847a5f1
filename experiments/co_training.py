"""`python -m experiments.co_training …`: the rivals of the study `adaptation`, which have no translator.

A task model, or a detector of the target's place, learns from randomised simulation and from a few labelled target
images: each is half of a batch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from experiments.detector import with_places
from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import Field, config_dataclass
from taskgan_ros.data.dataset import Dataset, check_compatible, load_dataset
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of
from taskgan_ros.training.bank import label_scale, make_bank
from taskgan_ros.training.learned import Learned, load_task_model, write_learned
from taskgan_ros.training.loop import schedule_of, train
from taskgan_ros.training.networks import TaskModel
from taskgan_ros.training.rates import RateSchedule
from taskgan_ros.training.run import Count, RunOptions, open_run, pick_device
from taskgan_ros.training.splits import first_rows
from taskgan_ros.training.task_trainer import TaskModelTrainer


@config_dataclass
class CoTrainingConfig(RunOptions):
    """Learn from randomised simulation, with labelled target images in each batch where there are some."""

    dataset: Path
    """Randomised simulation."""
    target: Path | None = None
    """Labelled target images."""
    target_images: Count | None = None
    """Learn from this many of them only, the first recorded ones."""
    reads: Literal["velocities", "place"] = "velocities"
    """What the network reads from an image: the labels, or where the target lies."""
    task_model: Path | None = None
    """Run of the same kind to continue, in place of random weights."""
    validation: Path
    """Dataset to validate on."""
    steps: Count
    """Of the optimiser."""
    batch_size: Count = 32
    """Half of it target images, where there are some; as in step 3."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Step 3's, which continues a task model too. It falls linearly over the second half."""
    augment: Annotated[float, Field(ge=0)] = 0.5
    """Strength of photometric augmentation; step 3's."""


def co_train(config: CoTrainingConfig) -> dict[str, float]:
    """Train and return the last validation's figures.

    Raises:
        InputError: a dataset or run that does not fit.
        Interrupted: a signal stopped it; the run can be resumed.
    """
    device = pick_device(config.device)
    randomized, validation = (_load(config, path) for path in (config.dataset, config.validation))
    target = _load(config, config.target) if config.target else None
    begun = load_task_model(config.task_model) if config.task_model else None
    info = randomized.info
    for other in (validation.info, target and target.info, begun and begun[1].data):
        if other:
            check_compatible(info, other)
    scale = begun[1].scale if begun else label_scale(randomized.actions)
    bank = make_bank(randomized, scale, device)
    banks = [(bank, config.batch_size)]
    if target:
        few = make_bank(target, scale, device)
        rows = first_rows(few.rows.cpu().numpy(), config.target_images, f"target_images of {config.target}")
        share = config.batch_size // 2
        banks = [(bank, config.batch_size - share), (few.take(rows), share)]
    with open_run("task_model", config) as run:
        images = sum(len(part) for part, _ in banks)
        write_learned(run.path, Learned(data=info, label_scale=tuple(scale.tolist()), images=images))
        torch.manual_seed(config.seed)
        network = begun[0] if begun else TaskModel(len(scale), (info.height, info.width))
        held_out = {"error": make_bank(validation, scale, device)}
        rates = RateSchedule(config.learning_rate, config.steps)
        trainer = TaskModelTrainer(network.to(device), banks, held_out, rates, config.augment)
        return train(run, trainer, schedule_of(config), config.seed, "co-training")


def _load(config: CoTrainingConfig, path: Path) -> Dataset:
    """Return a dataset with the labels that the network is to read."""
    dataset = load_dataset(path)
    if config.reads == "velocities":
        return dataset
    return with_places(dataset, load_scene_of(ReachScene, dataset.info.scene))


def main(arguments: list[str]) -> None:
    """Train as the arguments say.

    Raises:
        InputError: as `co_train`.
    """
    config = tyro.cli(CoTrainingConfig, prog="python -m experiments.co_training", args=arguments)
    with interrupts.raised():
        co_train(config)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (InputError, FloatingPointError, KeyboardInterrupt) as error:
        sys.exit(f"{type(error).__name__}: {error}")
