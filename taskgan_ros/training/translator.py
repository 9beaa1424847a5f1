"""Step 2: learn the translator, F (target to source, the inverse mapping) or G (source to target)."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pydantic
import torch
import tyro
from torch import Tensor, nn

from taskgan_ros.config import build, config_dataclass, short_name
from taskgan_ros.data.dataset import Dataset, DatasetInfo, check_compatible, load_dataset
from taskgan_ros.errors import InputError
from taskgan_ros.training import distributed
from taskgan_ros.training.adversary import BETAS, Adversary
from taskgan_ros.training.augment import photometric
from taskgan_ros.training.bank import Bank, make_bank
from taskgan_ros.training.cycle import Cycle
from taskgan_ros.training.lineage import check_domain, translated_domains
from taskgan_ros.training.loop import Schedule, train
from taskgan_ros.training.networks import Discriminator, Generator, GeneratorConfig, TaskModel, autocast, upscale
from taskgan_ros.training.objectives import pixel_loss, task_loss
from taskgan_ros.training.run import Count, Run, RunOptions, load_weights, pick_device, read_description
from taskgan_ros.training.task_model import Learned, Share, first_rows, linear_decay, load_task_model, set_rate

KIND = WEIGHTS = "translator"
_EVALUATION_BATCH = 32
_PICTURE_ROWS = 6
_TINY = 1e-12  # keeps ratios of gradients finite

Network = TypeVar("Network", bound=nn.Module)
Weight = Annotated[float, pydantic.Field(ge=0)]


@config_dataclass
class Recipe:
    """How a translator is trained: `config/recipes/*.yaml`. The defaults are the paper's; each line past it is off."""

    generator: GeneratorConfig = GeneratorConfig()
    """Shape of the generator."""
    steps: Annotated[int, pydantic.Field(ge=0)] = 15000
    """Steps of the TaskGAN itself, after `pretrain_steps`; 0 pre-trains alone (James et al. 2019)."""
    batch_size: Count = 4
    """Images translated for the adversarial and the task loss."""
    learning_rate: Annotated[float, pydantic.Field(gt=0)] = 2e-4
    """Adam's, of generator and discriminator; it falls linearly over the second half."""
    adversarial_weight: Weight = 1.0
    """Weight of the adversarial loss; a translator that has pre-trained needs less."""
    lambda_task: Weight = 0.01
    """Weight of the task loss, the paper's; on labels of unit variance 1 is a better start."""
    lambda_warmup: Share = 0.0
    """Share of all steps over which lambda_task grows from 0."""
    task_gradient_limit: Weight = 0.0
    """The task loss's gradient at an image is at most this many times as long as the other losses'; 0 sets no limit.
    On images that look like nothing yet, the task model's gradients are huge and lead nowhere."""
    sigmoid: bool = True
    """Whether the discriminator ends in a sigmoid; the paper's does."""
    pool_size: Annotated[int, pydantic.Field(ge=0)] = 50
    """Generated images kept for the discriminator; CycleGAN's."""
    pretrain_steps: Annotated[int, pydantic.Field(ge=0)] = 0
    """Steps on pairs of randomised and plain simulation before the TaskGAN (James et al. 2019)."""
    pretrain_batch_size: Count = 8
    """Pairs a step while pre-training."""
    pretrain_learning_rate: Annotated[float, pydantic.Field(gt=0)] = 5e-4
    """Adam's while pre-training, which no discriminator makes unstable."""
    pairs_batch_size: Annotated[int, pydantic.Field(ge=0)] = 0
    """Pairs of randomised simulation that stay in each TaskGAN step."""
    identity_batch_size: Annotated[int, pydantic.Field(ge=0)] = 0
    """Images of the output domain that the translator must leave as they are, a step."""
    pixel_weight: Weight = 10.0
    """Weight of the L1 loss wherever the true image is known: pairs and identity."""
    paired_target: bool = False
    """Whether the few target images also train by L1 on their true render, where the dataset holds it. The other
    direction learns from the same pairs turned round, a batch of them beside each batch of source images."""
    augment: Weight = 0.0
    """Strength of photometric augmentation of the translator's input."""
    diff_augment: bool = False
    """Whether the discriminator sees shifted and recoloured images (Zhao et al. 2020)."""
    matched_poses: Annotated[int, pydantic.Field(ge=0)] = 0
    """Real images are drawn among this many nearest to the generated ones' labels; 0 draws freely."""
    ema: Share = 0.0
    """Decay of the moving average of the generator's weights; 0 keeps the last weights."""
    r1: Weight = 0.0
    """Weight of the gradient penalty at real images."""
    self_weight: Weight = 0.0
    """Weight of the L1 distance of a translation from its input, SimGAN's (Shrivastava et al. 2017)."""
    cycle_weight: Weight = 0.0
    """Weight of the L1 distance after the way there and back, CycleGAN's (Zhu et al. 2017). A generator and a
    discriminator of the way back train along; `task_gradient_limit` leaves this loss out."""
    conditional: bool = False
    """Whether the discriminator sees each output beside its input, pix2pix's (Isola et al. 2016). What is real comes
    from the target images with their true render."""


@config_dataclass
class TranslatorConfig(RunOptions):
    """Step 2: learn to translate one domain's images into the other's."""

    source: Path
    """Dataset of plain simulation."""
    target: Path | None = None
    """Dataset of the few target images; pre-training alone (`--steps 0`) does without."""
    target_images: Count | None = None
    """Train on only the first so many target images that are not held out, in the order they were recorded."""
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


@dataclass(frozen=True)
class Banks:
    """What a translator trains on, in the direction that it translates in.

    Attributes:
        inputs: to translate; pre-training pairs where there is no target.
        outputs: real images of the output domain.
        pairs: inputs like those of the input domain, paired with the output domain; None where a recipe wants none.
        labelled: the few target images and their true renders, whichever of the two is translated; it is `inputs` where
            that is the target image, and None where a recipe wants none.
        validation: like `inputs`, held out.
    """

    inputs: Bank
    outputs: Bank
    pairs: Bank | None
    labelled: Bank | None
    validation: Bank


@dataclass(frozen=True)
class _Batch:
    """The images of one step, of which the first B are the ones to translate.

    Attributes:
        recorded: (B, 3, H, W) those as they were recorded.
        inputs: (N, 3, H, W) all, augmented.
        labels: (N, J).
        truth: (M, 3, H, W) the true outputs of the last M.
    """

    recorded: Tensor
    inputs: Tensor
    labels: Tensor
    truth: Tensor


class TranslatorTrainer:
    """TaskGAN: a generator against a discriminator, held to its task by a frozen task model in the output domain.

    Attributes:
        generator: the translator in training; a moving average of it is what the run saves.
    """

    def __init__(
        self,
        recipe: Recipe,
        banks: Banks,
        task_model: TaskModel,
        judge: TaskModel | None,
        start: Generator | None = None,
    ) -> None:
        """Take the data, the task model, one to measure with, and a generator that is not to start from nothing."""
        device = banks.inputs.images.device
        self.recipe, self._banks, self._device = recipe, banks, device
        self._task_model = task_model.to(device).requires_grad_(False)
        self._judge = None if judge is None else judge.to(device).requires_grad_(False)
        self.generator = _placed(start or Generator(recipe.generator), device)
        self._average = copy.deepcopy(self.generator).requires_grad_(False)
        adam = torch.optim.Adam(self.generator.parameters(), recipe.learning_rate, BETAS)
        self._generator_adam = distributed.joint(adam)
        self._adversary = self._new_adversary(6 if recipe.conditional else 3)
        self._cycle: Cycle | None = None
        if recipe.cycle_weight:
            self._cycle = Cycle(_placed(Generator(recipe.generator), device), self._new_adversary(3), recipe)
        self.batch_size = recipe.batch_size

    def _new_adversary(self, channels: int) -> Adversary:
        return Adversary(_placed(Discriminator(self.recipe.sigmoid, channels), self._device), self.recipe)

    def train_step(self, step: int) -> dict[str, Tensor]:
        """Do one step of pre-training, or one of the TaskGAN: generator, then discriminator."""
        recipe = self.recipe
        if step < recipe.pretrain_steps:
            set_rate(
                self._generator_adam,
                recipe.pretrain_learning_rate * linear_decay(step, recipe.pretrain_steps),
            )
            losses = self._pretrain_step(step)
        else:
            rate = recipe.learning_rate * linear_decay(step - recipe.pretrain_steps, recipe.steps)
            set_rate(self._generator_adam, rate)
            self._adversary.set_rate(rate)
            if self._cycle is not None:
                self._cycle.set_rate(rate)
            losses = self._adversarial_step(step)
        self._update_average(step)
        return losses

    def _pretrain_step(self, step: int) -> dict[str, Tensor]:
        assert self._banks.pairs is not None
        images, labels, truth = self._draw_pairs(self._banks.pairs, self.recipe.pretrain_batch_size)
        with autocast(self._device):
            translated = self.generator(images)
        losses = {"pixel": pixel_loss(translated, truth), **self._task_losses(translated, labels)}
        return self._step_generators(step, translated, losses, {}, len(translated))

    def _adversarial_step(self, step: int) -> dict[str, Tensor]:
        batch = self._mixed_batch()
        count = distributed.share(self.recipe.batch_size)
        real = self._draw_real(batch.labels[:count])
        with autocast(self._device):
            translated = self.generator(batch.inputs)
        fake = translated[:count]
        losses = {"adversarial": self._adversary.loss(self._shown(batch.recorded, fake))}
        losses |= self._task_losses(translated, batch.labels)
        if len(batch.truth):
            losses["pixel"] = pixel_loss(translated[-len(batch.truth) :], batch.truth)
        if self.recipe.self_weight:
            losses["self"] = pixel_loss(fake, batch.recorded)
        closing: dict[str, Tensor] = {}
        back = fake
        if self._cycle is not None:  # the last channels of what is real are the output domain's, conditional or not
            closing, back = self._cycle.losses(self.generator, batch.recorded, fake, real[:, -3:])
        figures = self._step_generators(step, translated, losses, closing, count)
        figures["discriminator"] = self._adversary.step(real, self._shown(batch.recorded, fake.detach()))
        if self._cycle is not None:
            figures["cycle_discriminator"] = self._cycle.adversary.step(batch.recorded, back.detach())
        return figures

    def _mixed_batch(self) -> _Batch:
        """Return images to translate, then those whose true output is known; all pass the generator in one run.

        Which instance norm allows: it treats each image alone.
        """
        recipe, banks = self.recipe, self._banks
        index = banks.inputs.draw(recipe.batch_size)
        recorded, labels = banks.inputs.batch(index)
        parts, truths = [(photometric(recorded, recipe.augment), labels)], [recorded[:0]]
        if recipe.paired_target and banks.labelled is banks.inputs:
            truths.append(banks.inputs.paired_batch(index))
        for images, labels, truth in self._known_batches():
            parts.append((images, labels))
            truths.append(truth)
        inputs, all_labels = (torch.cat(columns) for columns in zip(*parts, strict=True))
        return _Batch(recorded, inputs, all_labels, torch.cat(truths))

    def _known_batches(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return inputs, labels and true outputs: of identity images, of labelled images turned round, and of pairs."""
        recipe, banks, known = self.recipe, self._banks, []
        if recipe.identity_batch_size:
            images, labels = banks.outputs.batch(banks.outputs.draw(recipe.identity_batch_size))
            known.append((images, labels, images))
        if recipe.paired_target and banks.labelled is not None and banks.labelled is not banks.inputs:
            known.append(self._draw_pairs(banks.labelled, recipe.batch_size))
        if recipe.pairs_batch_size and banks.pairs is not None:
            known.append(self._draw_pairs(banks.pairs, recipe.pairs_batch_size))
        return known

    def _draw_pairs(self, bank: Bank, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return augmented inputs, labels and true outputs of `count` images."""
        index = bank.draw(count)
        images, labels = bank.batch(index)
        return photometric(images, self.recipe.augment), labels, bank.paired_batch(index)

    def _draw_real(self, labels: Tensor) -> Tensor:
        """Return real images, as the discriminator sees them, to tell from translations with these labels."""
        recipe = self.recipe
        bank = self._banks.labelled if recipe.conditional else self._banks.outputs
        assert bank is not None
        index = bank.nearest(labels, recipe.matched_poses) if recipe.matched_poses else bank.draw(recipe.batch_size)
        images, _ = bank.batch(index)
        return torch.cat([images, bank.paired_batch(index)], dim=1) if recipe.conditional else images

    def _shown(self, recorded: Tensor, translated: Tensor) -> Tensor:
        """Return what the discriminator sees of translations."""
        return torch.cat([recorded, translated], dim=1) if self.recipe.conditional else translated

    def _task_losses(self, translated: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the task loss, or nothing where it has no weight and would only cost time."""
        if not self.recipe.lambda_task:
            return {}
        with autocast(self._device):
            return {"task": task_loss(self._task_model(translated), labels)}

    def _weights(self, step: int) -> dict[str, float]:
        """Return each loss's weight in the sum that the generators go down."""
        recipe = self.recipe
        warmup = recipe.lambda_warmup * (recipe.pretrain_steps + recipe.steps)
        return {
            "adversarial": recipe.adversarial_weight,
            "task": recipe.lambda_task * min(1.0, (step + 1) / warmup if warmup else 1.0),
            "pixel": recipe.pixel_weight,
            "self": recipe.self_weight,
            "cycle": recipe.cycle_weight,
            "cycle_adversarial": recipe.adversarial_weight,
            "cycle_identity": recipe.pixel_weight,
        }

    def _step_generators(
        self, step: int, translated: Tensor, losses: dict[str, Tensor], closing: dict[str, Tensor], count: int
    ) -> dict[str, Tensor]:
        """Step down the weighted sum of the losses and return them, with |task gradient| / |adversarial gradient|.

        The gradients of `losses` meet at `translated`, so that their ratio at the first `count` images, which is what
        lambda balances, costs nothing; without an adversarial loss it is against all others. The `closing` losses of a
        cycle reach both generators by ways of their own.
        """
        weights = self._weights(step)
        gradients = {name: torch.autograd.grad(weights[name] * loss, translated)[0] for name, loss in losses.items()}
        figures = {name: loss.detach() for name, loss in (losses | closing).items()}
        task = gradients.pop("task", None)
        total = torch.stack(list(gradients.values())).sum(dim=0)
        if task is not None:
            if self.recipe.task_gradient_limit:
                task = task * (self.recipe.task_gradient_limit * _lengths(total) / _lengths(task)).clamp(max=1)
            against = gradients.get("adversarial", total)
            figures["gradient_ratio"] = task[:count].norm() / against[:count].norm().clamp_min(_TINY)
            total = total + task
        roots = [weights[name] * loss for name, loss in closing.items()]
        adams = [self._generator_adam, *([self._cycle.adam] if self._cycle is not None and closing else [])]
        for adam in adams:
            adam.zero_grad()
        torch.autograd.backward([translated, *roots], [total, *[None] * len(roots)])
        for adam in adams:
            adam.step()
        return figures

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self.recipe.ema, (1 + step) / (10 + step))  # follows closely while the weights still move fast
        for average, current in zip(self._average.parameters(), self.generator.parameters(), strict=True):
            average.lerp_(current, 1 - decay)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return errors of the translations of held-out images: by task model, by judge, and by pixel where known."""
        bank, sums = self._banks.validation, {"validation_task": 0.0}
        for index in torch.arange(len(bank), device=self._device).split(_EVALUATION_BATCH):
            images, labels = bank.batch(index)
            translated = self._average(images)
            figures = {"validation_task": task_loss(self._task_model(translated), labels)}
            if self._judge is not None:
                figures["validation_judge"] = task_loss(self._judge(translated), labels)
            if bank.paired is not None:
                figures["validation_pixel"] = pixel_loss(translated, bank.paired_batch(index))
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(index) / len(bank)
        return sums

    @torch.no_grad()
    def picture(self) -> Tensor:
        """Return a grid: input, translation, true render where known, for evenly spaced held-out images."""
        bank = self._banks.validation
        index = torch.linspace(0, len(bank) - 1, _PICTURE_ROWS, device=self._device).long()
        images, _ = bank.batch(index)
        columns = [images, self._average(images)]
        if bank.paired is not None:
            columns.append(bank.paired_batch(index))
        rows = torch.cat([torch.cat(list(column), dim=2) for column in columns], dim=1)
        return (upscale(rows.unsqueeze(0), 2)[0] + 1) / 2

    def networks(self) -> dict[str, nn.Module]:
        """Return the translator, averaged."""
        return {WEIGHTS: self._average}

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and image pools."""
        return {
            "generator": self.generator.state_dict(),
            "average": self._average.state_dict(),
            "generator_adam": self._generator_adam.state_dict(),
            **self._adversary.state_dict(),
            **({} if self._cycle is None else {"cycle": self._cycle.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self.generator.load_state_dict(state["generator"])
        self._average.load_state_dict(state["average"])
        self._generator_adam.load_state_dict(state["generator_adam"])
        self._adversary.load_state_dict(state)
        if self._cycle is not None:
            self._cycle.load_state_dict(state["cycle"])


def _lengths(gradient: Tensor) -> Tensor:
    """Return the length of each image's gradient, (N, 1, 1, 1)."""
    return gradient.float().flatten(1).norm(dim=1).clamp_min(_TINY).view(-1, 1, 1, 1)


def _placed(network: Network, device: torch.device) -> Network:
    """Put a network on `device`; channels_last is faster on a GPU and slower on a CPU (measured)."""
    network.to(device)
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


@distributed.as_one
def train_translator(config: TranslatorConfig) -> dict[str, float]:
    """Run step 2 and return the last validation's figures.

    Raises:
        InputError: datasets, runs or a recipe that do not fit.
        Interrupted: a signal stopped it; the run can be resumed.
    """
    device = pick_device(config.device)
    task_model, learned = load_task_model(config.task_model)
    start = None
    if config.start_from is not None:
        start = _load_start(config.start_from, config.settings.generator, learned.data.domain)
        config = dataclasses.replace(config, settings=dataclasses.replace(config.settings, pretrain_steps=0))
    _check_steps(config)
    data = _load_data(config)
    for dataset in (data.outputs, data.inputs, data.target, data.pairs, data.validation):
        if dataset is not None:
            check_compatible(learned.data, dataset.info)
    check_domain(f"task_model: {config.task_model}", data.outputs.info.domain, learned.data.domain)
    stride = config.settings.generator.stride
    if learned.data.height % stride or learned.data.width % stride:
        size = f"{learned.data.height}x{learned.data.width}"
        raise InputError(f"expected images whose sides divide by {stride}, the generator's stride, got {size}")
    judge = _load_judge(config.judge, learned) if config.judge else None
    banks = _make_banks(config, data, learned, device)
    _check_shares(config.settings)

    run = Run(KIND, config)
    torch.manual_seed(config.seed)
    trainer = TranslatorTrainer(config.settings, banks, task_model, judge, start)
    steps = config.settings.pretrain_steps + config.settings.steps
    schedule = Schedule(steps, config.log_every, config.show_every, config.save_every)
    return train(run, trainer, schedule, config.seed, "translator")


def _check_shares(recipe: Recipe) -> None:
    names = ["batch_size", "identity_batch_size", "pairs_batch_size"] if recipe.steps else []
    names += ["pretrain_batch_size"] if recipe.pretrain_steps else []
    distributed.check_shares(**{name: getattr(recipe, name) for name in names})


def _load_start(run: Path, shape: GeneratorConfig, domain: str) -> Generator:
    """Return the translator of a run to start from, which has to be of this shape and translate into this domain."""
    network, own = load_translator(run), _generator_shape(run)
    if own != shape:
        raise InputError(f"start_from: {run}: expected the recipe's {shape}, got {own}")
    check_domain(f"start_from: {run}, what it translates into", domain, translated_domains(run)[1])
    return network


def _check_steps(config: TranslatorConfig) -> None:
    """Refuse a run with nothing to do, and one without the target images that it needs."""
    recipe = config.settings
    if not recipe.steps + recipe.pretrain_steps:
        given = "start_from, which takes the place of pre-training" if config.start_from else "pretrain_steps 0"
        raise InputError(f"expected steps or pretrain_steps above 0, got steps 0 and {given}")
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
    recipe, forward = config.settings, config.direction == "forward"
    source = load_dataset(config.source)
    target = load_dataset(config.target) if config.target else None
    outputs = target if forward and target else source
    pairs = _load_pairs(config, source, outputs)
    inputs = source if forward else target or pairs
    assert inputs is not None  # what pre-trains alone has pairs
    for name in ("paired_target", "conditional"):
        if target is not None and getattr(recipe, name):
            _check_pairs(name, target.info, source.info.domain)
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
    inputs = inputs.take(first_rows(training, limit if data.inputs is data.target else None, what))
    labelled: Bank | None = inputs
    if data.outputs is data.target:
        outputs = outputs.take(first_rows(np.arange(len(outputs)), limit, what))
        labelled = _turned(outputs)
    pairs: Bank | None = None
    if data.pairs is data.inputs:
        pairs = inputs
    elif data.pairs is data.target:
        pairs = labelled
    elif data.pairs is not None:
        pairs = make_bank(data.pairs, learned.scale, device)
    wanted = recipe.paired_target or recipe.conditional
    return Banks(inputs, outputs, pairs, labelled if wanted else None, validation)


def _turned(bank: Bank) -> Bank | None:
    """Return the bank's pairs the other way round, if it has any."""
    return None if bank.paired is None else Bank(bank.paired, bank.rows, bank.labels, bank.images)


def _load_pairs(config: TranslatorConfig, source: Dataset, outputs: Dataset) -> Dataset | None:
    """Return the pairs that the recipe wants: in the forward direction the target's own where there are no others."""
    recipe = config.settings
    if not (recipe.pretrain_steps or recipe.pairs_batch_size):
        return None
    if config.pretrain is not None:
        pairs = load_dataset(config.pretrain)
        _check_pairs("pretrain", pairs.info, outputs.info.domain)
        return pairs
    if outputs is source:
        raise InputError("this recipe pre-trains on pairs: expected --pretrain DATASET (collect --paired), got none")
    _check_pairs("pretrain", outputs.info, source.info.domain)
    return outputs


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


def load_translator(run: Path) -> Generator:
    """Return the translator of a run of step 2, on the CPU.

    Raises:
        InputError: no such run, or one of another kind.
    """
    network = Generator(_generator_shape(run))
    load_weights(run / f"{WEIGHTS}.safetensors", network)
    return network


def _generator_shape(run: Path) -> GeneratorConfig:
    described = read_description(run)
    if described.kind != KIND:
        raise InputError(f"{run}: expected a run of a translator, got one of {described.kind}")
    return build(GeneratorConfig, described.config["settings"]["generator"], f"{run}: generator")
