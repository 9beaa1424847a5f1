"""Step 2: learn the translator, F (target to source, the inverse mapping) or G (source to target)."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from torch import nn

from taskgan_ros.core.config import build, short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import print_line
from taskgan_ros.core.schema import config_dataclass
from taskgan_ros.data.dataset import Dataset, DatasetInfo, check_compatible, load_dataset, read_info
from taskgan_ros.training import distributed
from taskgan_ros.training.alignment import Alignment
from taskgan_ros.training.bank import Bank, make_bank
from taskgan_ros.training.learned import Learned, load_task_model
from taskgan_ros.training.lineage import check_domain, translated_domains
from taskgan_ros.training.loop import Schedule, train
from taskgan_ros.training.networks import Discriminator, Generator, GeneratorConfig, TaskModel
from taskgan_ros.training.recipe import Recipe, load_recipe
from taskgan_ros.training.run import Count, RunOptions, load_weights, open_run, pick_device, read_description
from taskgan_ros.training.splits import spread_rows
from taskgan_ros.training.taskgan import ALIGNMENT, WEIGHTS, Banks, TranslatorTrainer

KIND = "translator"
_PAIRED = "its images have their plain renders, on which the translator trains too (paired_target)"
_UNPAIRED = "its images have no plain renders: the translator trains on them by their labels and their look alone"


@config_dataclass
class TranslatorConfig(RunOptions):
    """Step 2: learn to translate one domain's images into the other's."""

    source: Path
    """Dataset of plain simulation."""
    target: Path | None = None
    """Dataset of the few target images; pre-training alone (`--steps 0`) does without."""
    target_images: Count | None = None
    """Train on this many target images only: evenly spaced over those that are not held out."""
    task_model: Path
    """Run of step 1, in the domain that is translated into."""
    recipe: str = "default"
    """A shipped recipe's name or a YAML file; every setting of it is also an option."""
    settings: Annotated[Recipe, tyro.conf.arg(name="")] = Recipe()
    """The recipe's settings."""
    direction: Literal["inverse", "forward"] = "inverse"
    """inverse: target to source, F; forward: source to target, G."""
    pretrain: Path | None = None
    """Dataset of randomised simulation with pairs, for a recipe that pre-trains. The forward direction takes the target
    images' own pairs where there is none."""
    start_from: Path | None = None
    """Run of a translator whose weights to start from, in place of pre-training."""
    judge: Path | None = None
    """Run of a second task model that takes no part in training, to measure with."""
    validation: Path | None = None
    """Dataset to validate on; without it a tenth of the input's episodes is held out."""
    log_every: Count = 20
    """Steps between figures."""
    show_every: Count = 250
    """Steps between validations and pictures."""
    save_every: Count = 250
    """Steps between checkpoints."""


def parse_translator(arguments: Sequence[str]) -> TranslatorConfig:
    """Return the configuration that command-line `arguments` give, over the recipe that they name.

    Raises:
        InputError: unknown recipe, or `--paired-target` for target images without pairs.
    """
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--recipe", nargs="?", default="default", const="default")  # tyro refuses one without a name
    finder.add_argument("--paired-target", action="store_true")
    found = finder.parse_known_args([word.replace("_", "-") if word[:2] == "--" else word for word in arguments])[0]
    named = load_recipe(found.recipe)

    @config_dataclass
    class Configured(TranslatorConfig):
        settings: Annotated[Recipe, tyro.conf.arg(name="")] = named

    Configured.__doc__ = TranslatorConfig.__doc__
    config = tyro.cli(Configured, prog="taskgan train translator", args=list(arguments))
    if found.paired_target and config.target is not None:  # an explicit option must fit
        _check_pairs("paired_target", read_info(config.target), read_info(config.source).domain)
    return config


@distributed.as_one
def train_translator(config: TranslatorConfig) -> dict[str, float]:
    """Run step 2 and return the last validation's figures.

    The recipe's `paired_target` holds for target images that have pairs; for others it is left out, and reported.

    Raises:
        InputError: datasets, runs or a recipe that do not fit.
        Interrupted: a signal stopped it; the run can be resumed.
    """
    device = pick_device(config.device)
    task_model, learned = load_task_model(config.task_model)
    start, alignment = None, None
    if config.start_from is not None:
        start = _load_start(config.start_from, config.settings.generator, learned.data.domain)
        if config.target is not None:
            alignment = load_alignment(config.start_from, read_info(config.target).domain)
        config = dataclasses.replace(config, settings=dataclasses.replace(config.settings, pretrain_steps=0))
    _check_steps(config)
    config = _fit_to_pairs(config)
    if not _can_align(config):
        config = dataclasses.replace(config, settings=dataclasses.replace(config.settings, align_steps=0))
        _check_steps(config)
    data = _load_data(config)
    for dataset in (data.outputs, data.inputs, data.target, data.pairs, data.validation):
        if dataset is not None:
            check_compatible(learned.data, dataset.info)
    check_domain(f"task_model: {config.task_model}", data.outputs.info.domain, learned.data.domain)
    check_image_size(config.settings, *learned.image_size)
    judge = _load_judge(config.judge, learned) if config.judge else None
    banks = _make_banks(config, data, learned, device)
    _check_shares(config.settings)

    with open_run(KIND, config) as run:
        torch.manual_seed(config.seed)
        trainer = TranslatorTrainer(config.settings, banks, task_model, judge, start, alignment)
        schedule = Schedule(config.settings.all_steps, config.log_every, config.show_every, config.save_every)
        return train(run, trainer, schedule, config.seed, "translator")


def check_image_size(recipe: Recipe, height: int, width: int) -> None:
    """Refuse images that the recipe's networks cannot take, by running those on shapes alone.

    Raises:
        InputError: a side that is no multiple of the generator's stride, or that is too short.
    """
    size, stride = f"{height}x{width}", recipe.generator.stride
    if height % stride or width % stride:
        raise InputError(f"expected images whose sides are multiples of {stride}, the generator's stride, got {size}")
    with torch.device("meta"):
        networks = [Generator(recipe.generator)] + ([Discriminator()] if recipe.steps else [])
        image = torch.zeros(1, 3, height, width)
        try:
            for network in networks:
                network(image)
        except (RuntimeError, ValueError) as error:
            cause = str(error).splitlines()[0]
            raise InputError(f"expected images large enough for the recipe's networks, got {size}: {cause}") from error


def _can_align(config: TranslatorConfig) -> bool:
    """Return whether target images can be aligned: to plain renders of theirs, through an F that has pre-trained."""
    has_learned = config.start_from is not None or config.settings.pretrain_steps > 0
    inverse = config.target is not None and config.direction == "inverse"
    return inverse and has_learned and config.settings.paired_target


def _check_shares(recipe: Recipe) -> None:
    names = ["batch_size"] if recipe.steps or recipe.align_steps else []
    names += ["identity_batch_size", "pairs_batch_size"] if recipe.steps else []
    names += ["pretrain_batch_size"] if recipe.pretrain_steps else []
    distributed.check_shares(**{name: getattr(recipe, name) for name in names})


def _load_start(run: Path, shape: GeneratorConfig, domain: str) -> Generator:
    """Return the translator of a run to start from, which has to be of this shape and translate into this domain."""
    network, own = _load_generator(run), _generator_shape(run)
    if own != shape:
        raise InputError(f"start_from: {run}: expected the recipe's {shape}, got {own}")
    check_domain(f"start_from: {run}, what it translates into", domain, translated_domains(run)[1])
    return network


def _check_steps(config: TranslatorConfig) -> None:
    """Refuse a run with nothing to do, and one without the target images that it needs."""
    recipe = config.settings
    if not recipe.all_steps:
        given = "start_from, which takes the place of pre-training" if config.start_from else "pretrain_steps 0"
        raise InputError(
            "expected steps or pretrain_steps above 0, or target images with plain renders to align, got steps 0 and "
            f"{given}"
        )
    if config.target is None and (recipe.steps or config.target_images or config.direction == "forward"):
        raise InputError(
            "expected --target DATASET, got none: only an inverse translator that pre-trains alone (--steps 0) does "
            "without"
        )


@dataclass(frozen=True)
class _Data:
    """The datasets of a run; `inputs` and `outputs` as the direction has them, `pairs` may be the target's own."""

    inputs: Dataset
    outputs: Dataset
    target: Dataset | None
    pairs: Dataset | None
    validation: Dataset | None


def _load_data(config: TranslatorConfig) -> _Data:
    forward = config.direction == "forward"
    source = load_dataset(config.source)
    target = load_dataset(config.target) if config.target else None
    outputs = target if forward and target else source
    pairs = None
    if _wants_pairs(config.settings):
        pairs = outputs if config.pretrain is None else load_dataset(config.pretrain)
    inputs = source if forward else target or pairs
    assert inputs is not None  # a run that only pre-trains has pairs
    validation = load_dataset(config.validation) if config.validation else None
    return _Data(inputs, outputs, target, pairs, validation)


def _make_banks(config: TranslatorConfig, data: _Data, learned: Learned, device: torch.device) -> Banks:
    """Put the data on `device`, hold a tenth of the inputs out, and keep only the target images that are wanted."""
    recipe, limit = config.settings, config.target_images
    inputs = make_bank(data.inputs, learned.scale, device)
    outputs = make_bank(data.outputs, learned.scale, device)
    if data.validation is None:
        training, held_out = data.inputs.split_by_episode(0.1, config.seed)
        validation = inputs.take(held_out)
    else:
        training, validation = np.arange(len(inputs)), make_bank(data.validation, learned.scale, device)
    what = f"target_images: {config.target}"
    inputs = inputs.take(spread_rows(training, limit if data.inputs is data.target else None, what))
    labelled: Bank | None = inputs
    if data.outputs is data.target:
        outputs = outputs.take(spread_rows(np.arange(len(outputs)), limit, what))
        labelled = _swap_pairs(outputs)
    pairs: Bank | None = None
    if data.pairs is data.inputs:
        pairs = inputs
    elif data.pairs is data.target:
        pairs = labelled
    elif data.pairs is not None:
        pairs = make_bank(data.pairs, learned.scale, device)
    wanted = recipe.paired_target or recipe.conditional
    is_recorded = (
        data.target is not None and data.pairs is not None and data.pairs.info.domain == data.target.info.domain
    )
    return Banks(inputs, outputs, pairs, labelled if wanted else None, validation, is_recorded)


def _swap_pairs(bank: Bank) -> Bank | None:
    """Return the bank's pairs the other way round, if it has any."""
    return None if bank.paired is None else Bank(bank.paired, bank.rows, bank.labels, bank.images)


def _wants_pairs(recipe: Recipe) -> bool:
    """Return whether a recipe trains on pairs beside the target images' own."""
    return bool(recipe.pretrain_steps or (recipe.steps and recipe.pairs_batch_size))


def _fit_to_pairs(config: TranslatorConfig) -> TranslatorConfig:
    """Check which datasets have the pairs that the recipe wants, by their attributes alone, before any is loaded.

    Returns:
        the configuration, without `paired_target` where the target images have no pairs.

    Raises:
        InputError: datasets without pairs that the recipe cannot do without.
    """
    recipe, source = config.settings, read_info(config.source)
    target = read_info(config.target) if config.target else None
    forward = config.direction == "forward" and target is not None
    if _wants_pairs(recipe):
        _check_pretrain(config, source, target if forward else None)
    if target is None or not (recipe.conditional or recipe.paired_target):
        return config
    if recipe.conditional:
        _check_pairs("conditional", target, source.domain)
    if not recipe.paired_target:
        return config
    is_paired = short_name(target.paired_domain) == short_name(source.domain)
    if distributed.is_first():
        print_line(f"{config.target}: {_PAIRED if is_paired else _UNPAIRED}")
    return dataclasses.replace(config, settings=dataclasses.replace(recipe, paired_target=is_paired))


def _check_pretrain(config: TranslatorConfig, source: DatasetInfo, target: DatasetInfo | None) -> None:
    """Refuse pairs that do not fit; in the forward direction, with `target`, its own serve in their place."""
    if config.pretrain is not None:
        _check_pairs("pretrain", read_info(config.pretrain), (target or source).domain)
    elif target is None:
        raise InputError("this recipe pre-trains on pairs: expected --pretrain DATASET (collect --paired), got none")
    else:
        _check_pairs("pretrain", target, source.domain)


def _check_pairs(what: str, data: DatasetInfo, domain: str) -> None:
    """Refuse a dataset that is not paired with this domain."""
    if short_name(data.paired_domain) != short_name(domain):
        raise InputError(
            f"{what}: expected a dataset of {data.domain} with pairs in {domain} (collect --paired {domain}), "
            f"got {data.paired_domain or 'none'}"
        )


def _load_judge(run: Path, learned: Learned) -> TaskModel:
    """Return a task model whose outputs are in units of the label scale of `learned`, whatever its own was."""
    judge, own = load_task_model(run)
    check_compatible(learned.data, own.data)
    check_domain(f"judge: {run}", learned.data.domain, own.data.domain)
    factor = torch.from_numpy(own.scale / learned.scale)
    with torch.no_grad():
        judge.output.weight.mul_(factor[:, None])
        judge.output.bias.mul_(factor)
    return judge


def load_translator(run: Path, domain: str | None = None) -> nn.Module:
    """Return the translator of a run of step 2, on the CPU: its generator, behind its alignment if it has one.

    Args:
        run: of step 2.
        domain: as of `load_alignment`.

    Raises:
        InputError: no such run, or one of another kind.
    """
    generator, alignment = _load_generator(run), load_alignment(run, domain)
    return generator if alignment is None else nn.Sequential(alignment, generator)


def load_alignment(run: Path, domain: str | None = None) -> Alignment | None:
    """Return how a translator's run aligns images, or None where it takes them as they are.

    Args:
        run: of step 2.
        domain: of the images; None for the target's. Those of others, as the randomised ones that it pre-trained on,
            are of another camera, and stay as they are.
    """
    path = run / f"{ALIGNMENT}.safetensors"
    if not path.is_file():
        return None
    if domain is not None:
        taken = translated_domains(run)[0]
        if taken is None or short_name(taken) != short_name(domain):
            return None
    alignment = Alignment()
    load_weights(path, alignment)
    return alignment if alignment.warp.any() else None


def _load_generator(run: Path) -> Generator:
    network = Generator(_generator_shape(run))
    load_weights(run / f"{WEIGHTS}.safetensors", network)
    return network


def _generator_shape(run: Path) -> GeneratorConfig:
    described = read_description(run)
    if described.kind != KIND:
        raise InputError(f"{run}: expected a run of a translator, got one of {described.kind}")
    return build(GeneratorConfig, described.config["settings"]["generator"], f"{run}: generator")
