"""Step 3: refine the task model on target images, translated or as they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
from torch import nn

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import print_line
from taskgan_ros.core.schema import Field, config_dataclass
from taskgan_ros.data.dataset import Dataset, check_compatible, load_dataset
from taskgan_ros.training import distributed
from taskgan_ros.training.bank import make_bank, translate_bank
from taskgan_ros.training.learned import load_task_model, write_learned
from taskgan_ros.training.lineage import check_domain, generations, translated_domains, understood_domains
from taskgan_ros.training.loop import schedule_of, train
from taskgan_ros.training.optimisers import OptimiserName
from taskgan_ros.training.output_fit import fit_errors
from taskgan_ros.training.rates import RateSchedule
from taskgan_ros.training.run import CONFIG, NEWER, Count, RunOptions, open_run, pick_device, read_description
from taskgan_ros.training.splits import split_dataset, spread_rows
from taskgan_ros.training.steps.translator import load_translator
from taskgan_ros.training.task_trainer import FittingTrainer, TaskModelTrainer

KIND: Final = "refine"
_RATE_SHARES: dict[OptimiserName, float] = {"adam": 0.1, "muon": 0.25}  # of step 1's: docs/training.md has the errors
_SOURCE_STRIDE = 15  # images apart that refinement checks the source on: all would take longer than the training


@config_dataclass
class RefineConfig(RunOptions):
    """Step 3: continue training the task model with target images mixed in, translated or as they are."""

    task_model: Path
    """The run of step 1."""
    translator: Path | None = None
    """The run of step 2. Without one, target images are used untranslated, which suits a task model that learned from
    randomised simulation."""
    source: Path
    """The dataset that the task model was trained on."""
    target: Path
    """The target images, with their labels. With few, use the translator's pre-training dataset instead."""
    steps: Annotated[int, Field(ge=0)] = 3000
    """A fifth of step 1: the weights start close. 0 only fits the output layer (`--fit-output`)."""
    batch_size: Count = 32
    """Half of it translated at the default share."""
    optimiser: OptimiserName | None = None
    """By default step 1's."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """By default a tenth of step 1's with `adam` and a quarter with `muon`, so that what was learned stays:
    docs/training.md."""
    translated_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of target images in a batch; 1 is the paper-pure variant."""
    augment: Annotated[float, Field(ge=0)] = 0.5
    """Strength of photometric augmentation of target images before translation; 0 is the paper's."""
    variants: Count = 4
    """How many differently augmented translations of each target image."""
    target_images: Count | None = None
    """Train on this many target images only: evenly spaced over those that are not held out."""
    fit_output: Path | None = None
    """Labelled target images, a handful of them, to fit the output layer to at the end. Use it with the translator's
    pre-training dataset as the target: weights that learned these images themselves have no error left to fit."""
    fit_images: Count | None = None
    """Fit to this many of them only, evenly spaced."""
    validation: Path | None = None
    """Dataset of the target domain to validate on; without it a tenth of the target's episodes is held out."""


def _how_to_learn(config: RefineConfig) -> tuple[OptimiserName, float]:
    """Return optimiser and rate: as given, else as the run to resume has them, else to suit step 1's."""
    if config.optimiser and config.learning_rate:
        return config.optimiser, config.learning_rate
    if config.resume and (config.out / CONFIG).is_file():
        own = NEWER | read_description(config.out).config
        optimiser, rate = config.optimiser or own["optimiser"], own["learning_rate"]
    else:
        begun = NEWER | generations(config.task_model)[0]
        optimiser = config.optimiser or begun["optimiser"]
        rate = _RATE_SHARES[optimiser] * begun["learning_rate"]
    return optimiser, config.learning_rate or rate


@distributed.as_one
def refine(config: RefineConfig) -> dict[str, float]:
    """Run step 3 and return the last validation's figures.

    Raises:
        InputError: a dataset or run that does not fit.
        Interrupted: a signal stopped it; the run can be resumed.
    """
    if config.fit_images and not config.fit_output:
        raise InputError(f"fit_images: expected --fit-output DATASET to take {config.fit_images} images of, got none")
    if not config.steps and not config.fit_output:
        raise InputError("steps: expected 1 or more without --fit-output DATASET, got 0")
    device = pick_device(config.device)
    network, learned = load_task_model(config.task_model)
    optimiser, rate = distributed.first(_how_to_learn, config)
    config = dataclasses.replace(config, optimiser=optimiser, learning_rate=rate)
    understood: tuple[str, ...] | None = ()
    source, target = load_dataset(config.source), load_dataset(config.target)
    few = load_dataset(config.fit_output) if config.fit_output else None
    for dataset in filter(None, (source, target, few)):
        check_compatible(learned.data, dataset.info)
    check_domain(f"source: {config.source}", learned.data.domain, source.info.domain)
    if config.translator:
        load_translator(config.translator)  # refuses a run of another kind
        given, understood = translated_domains(config.translator)[1], understood_domains(config.translator)
        check_domain(f"{config.translator}, what it translates into", learned.data.domain, given)
        check_domain(f"target: {config.target}", understood, target.info.domain)
    split = split_dataset(target, config.validation, 0.1, config.seed, understood)
    training, validation = split.banks(config.target_images, learned.scale, device)
    rows = np.arange(0)
    if few is not None:
        fitting = understood if config.translator else None  # what learned from randomised simulation suits any
        check_domain(f"fit_output: {config.fit_output}", fitting, few.info.domain)
        rows = spread_rows(np.arange(len(few)), config.fit_images, f"fit_images of {config.fit_output}")

    def translate(dataset: Dataset) -> nn.Module:
        if config.translator is None:
            return nn.Identity()
        return load_translator(config.translator, dataset.info.domain).to(device).eval()

    count = max(1, round(config.batch_size * config.translated_share))
    distributed.check_shares(translated_images=count, source_images=config.batch_size - count)
    with open_run(KIND, config) as run:
        write_learned(run.path, learned)
        torch.manual_seed(config.seed)
        shown_from = training if config.steps else training.take(np.arange(1))  # without steps none is trained on
        translated = translate_bank(translate(target), shown_from, config.augment, config.variants)
        plain = make_bank(source, learned.scale, device)
        banks = [(translated, count)] + ([(plain, config.batch_size - count)] if count < config.batch_size else [])
        every_episode = np.arange(0, len(plain), _SOURCE_STRIDE)
        held_out = {
            "target_error": translate_bank(translate(split.judge), validation),
            "source_error": plain.take(every_episode),
        }
        rates = RateSchedule(rate, config.steps)
        # Target images are augmented already, before the translator.
        learning = (network.to(device), banks, held_out, rates)
        if few is None:
            trainer = TaskModelTrainer(*learning, augment=0.0, optimiser=optimiser)
        else:
            shown = translate_bank(translate(few), make_bank(few, learned.scale, device).take(rows))
            trainer = FittingTrainer(shown, few.episode[rows], *learning, augment=0.0, optimiser=optimiser)
        figures = train(run, trainer, schedule_of(config), config.seed, "refine")
        if few is not None and distributed.is_first():
            print_line(f"{run.path}: output layer {fit_errors(figures)}")
        return figures
