"""Step 2: learn the translator, F (target to source, the inverse mapping) or G (source to target)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
import torch
import tyro
from torch import Tensor, nn

from taskgan_ros.config import build, config_dataclass, short_name
from taskgan_ros.data.dataset import Dataset, DatasetInfo, check_compatible, load_dataset
from taskgan_ros.errors import InputError
from taskgan_ros.training.augment import diff_augment, photometric
from taskgan_ros.training.bank import Bank, make_bank
from taskgan_ros.training.lineage import check_domain
from taskgan_ros.training.loop import Schedule, train
from taskgan_ros.training.networks import Discriminator, Generator, GeneratorConfig, TaskModel, upscale
from taskgan_ros.training.objectives import (
    ImagePool,
    adversarial_loss,
    discriminator_loss,
    pixel_loss,
    r1_penalty,
    task_loss,
)
from taskgan_ros.training.run import Count, Run, RunOptions, load_weights, pick_device, read_description
from taskgan_ros.training.task_model import Learned, Share, linear_decay, load_task_model, set_rate

KIND = WEIGHTS = "translator"
_BETAS = (0.5, 0.999)  # CycleGAN's
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
    steps: Count = 15000
    """Steps of the TaskGAN itself, after `pretrain_steps`."""
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
    """Whether the few target images also train by L1 on their true render, where the dataset holds it."""
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


@config_dataclass
class TranslatorConfig(RunOptions):
    """Step 2: learn to translate one domain's images into the other's."""

    source: Path
    """Dataset of plain simulation."""
    target: Path
    """Dataset of the few target images."""
    task_model: Path
    """Run of step 1, in the domain that is translated into."""
    recipe: str = "default"
    """A shipped recipe's name or a YAML file; every setting of it is also an option."""
    settings: Annotated[Recipe, tyro.conf.arg(name="")] = Recipe()
    """The recipe's settings."""
    direction: Literal["inverse", "forward"] = "inverse"
    """inverse: target to source, F; forward: source to target, G."""
    pretrain: Path | None = None
    """Dataset of randomised simulation with pairs, for a recipe that pre-trains."""
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


class TranslatorTrainer:
    """TaskGAN: a generator against a discriminator, held to its task by a frozen task model in the output domain.

    Attributes:
        generator: the translator in training; `average` is what the run saves.
        discriminator: tells the output domain from translations.
    """

    def __init__(
        self,
        recipe: Recipe,
        inputs: Bank,
        outputs: Bank,
        pairs: Bank | None,
        validation: Bank,
        task_model: TaskModel,
        judge: TaskModel | None,
    ) -> None:
        """Take the banks: `inputs` are translated, `outputs` are real in the output domain, `pairs` know both."""
        device = inputs.images.device
        self.recipe, self._inputs, self._outputs, self._pairs, self._validation = (
            recipe, inputs, outputs, pairs, validation,
        )  # fmt: skip
        self._task_model = task_model.to(device).requires_grad_(False)
        self._judge = None if judge is None else judge.to(device).requires_grad_(False)
        self.generator = _placed(Generator(recipe.generator), device)
        self.discriminator = _placed(Discriminator(recipe.sigmoid), device)
        self._average = copy.deepcopy(self.generator).requires_grad_(False)
        self._generator_adam = torch.optim.Adam(self.generator.parameters(), recipe.learning_rate, _BETAS)
        self._discriminator_adam = torch.optim.Adam(self.discriminator.parameters(), recipe.learning_rate, _BETAS)
        self._pool = ImagePool(recipe.pool_size)
        self._device = device
        self.batch_size = recipe.batch_size

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
            set_rate(self._discriminator_adam, rate)
            losses = self._adversarial_step(step)
        self._update_average(step)
        return losses

    def _autocast(self) -> torch.autocast:
        """Return bfloat16 where it is fast; norms and losses stay in float32."""
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda")

    def _pretrain_step(self, step: int) -> dict[str, Tensor]:
        assert self._pairs is not None
        index = self._pairs.draw(self.recipe.pretrain_batch_size)
        images, labels = self._pairs.batch(index)
        with self._autocast():
            translated = self.generator(photometric(images, self.recipe.augment))
            task = task_loss(self._task_model(translated), labels)
        pixel = pixel_loss(translated, self._pairs.paired_batch(index))
        weighted = {"pixel": self.recipe.pixel_weight * pixel, "task": self._lambda(step) * task}
        ratio = self._step_generator(translated, weighted, len(translated))
        return {"pixel": pixel.detach(), "task": task.detach(), "gradient_ratio": ratio}

    def _adversarial_step(self, step: int) -> dict[str, Tensor]:
        images, labels, truth, known = self._mixed_batch()
        count = self.recipe.batch_size
        with self._autocast():
            translated = self.generator(images)
            fake = translated[:count]
            adversarial = adversarial_loss(self.discriminator(self._seen(fake)))
            task = task_loss(self._task_model(translated), labels)
        pixel = pixel_loss(translated[known], truth) if len(truth) else translated.sum() * 0
        weighted = {
            "adversarial": self.recipe.adversarial_weight * adversarial,
            "task": self._lambda(step) * task,
            "pixel": self.recipe.pixel_weight * pixel,
        }
        ratio = self._step_generator(translated, weighted, count)
        discriminator = self._step_discriminator(fake.detach(), labels[:count])
        losses = {"adversarial": adversarial, "task": task, "pixel": pixel, "discriminator": discriminator}
        return {**{name: loss.detach() for name, loss in losses.items()}, "gradient_ratio": ratio}

    def _mixed_batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return inputs, labels, and the true outputs of those inputs that `known` (indices) names.

        First come `batch_size` images to translate, then identity images, then randomised pairs: the generator runs
        once over all of them, which instance norm allows.
        """
        recipe = self.recipe
        index = self._inputs.draw(recipe.batch_size)
        images, labels = self._inputs.batch(index)
        parts, all_labels, truths = [photometric(images, recipe.augment)], [labels], []
        known = list(range(recipe.batch_size)) if recipe.paired_target else []
        if recipe.paired_target:
            truths.append(self._inputs.paired_batch(index))
        if recipe.identity_batch_size:
            images, labels = self._outputs.batch(self._outputs.draw(recipe.identity_batch_size))
            parts, all_labels, truths = [*parts, images], [*all_labels, labels], [*truths, images]
        if recipe.pairs_batch_size and self._pairs is not None:
            index = self._pairs.draw(recipe.pairs_batch_size)
            images, labels = self._pairs.batch(index)
            parts, all_labels = [*parts, photometric(images, recipe.augment)], [*all_labels, labels]
            truths.append(self._pairs.paired_batch(index))
        inputs = torch.cat(parts)
        known += range(recipe.batch_size, len(inputs))
        truth = torch.cat(truths) if truths else inputs[:0]
        return (
            inputs,
            torch.cat(all_labels),
            truth,
            torch.tensor(known, dtype=torch.long, device=self._device),
        )

    def _lambda(self, step: int) -> float:
        warmup = self.recipe.lambda_warmup * (self.recipe.pretrain_steps + self.recipe.steps)
        return self.recipe.lambda_task * min(1.0, (step + 1) / warmup if warmup else 1.0)

    def _step_generator(self, translated: Tensor, losses: dict[str, Tensor], count: int) -> Tensor:
        """Step down the sum of `losses`; return |task gradient| / |adversarial gradient| at the first `count` images.

        The gradients meet at `translated`, so that the ratio, which is what lambda balances, costs nothing. Without
        an adversarial loss the ratio is against all others.
        """
        gradients = {name: torch.autograd.grad(loss, translated)[0] for name, loss in losses.items()}
        task = gradients.pop("task")
        others = torch.stack(list(gradients.values())).sum(dim=0)
        if self.recipe.task_gradient_limit:
            task = task * (self.recipe.task_gradient_limit * _lengths(others) / _lengths(task)).clamp(max=1)
        self._generator_adam.zero_grad()
        translated.backward(others + task)
        self._generator_adam.step()
        against = gradients.get("adversarial", others)
        return task[:count].norm() / against[:count].norm().clamp_min(_TINY)

    def _step_discriminator(self, fake: Tensor, labels: Tensor) -> Tensor:
        recipe = self.recipe
        if recipe.matched_poses:
            index = self._outputs.nearest(labels, recipe.matched_poses)
        else:
            index = self._outputs.draw(recipe.batch_size)
        real, _ = self._outputs.batch(index)
        real, fake = self._seen(real), self._seen(self._pool.exchange(fake))
        with self._autocast():
            # One pass over both: instance norm treats each image alone.
            real_score, fake_score = self.discriminator(torch.cat([real, fake])).chunk(2)
            loss = discriminator_loss(real_score, fake_score)
        if recipe.r1:
            loss = loss + recipe.r1 * r1_penalty(self.discriminator, real)
        self._discriminator_adam.zero_grad()
        loss.backward()
        self._discriminator_adam.step()
        return loss.detach()

    def _seen(self, images: Tensor) -> Tensor:
        return diff_augment(images) if self.recipe.diff_augment else images

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self.recipe.ema, (1 + step) / (10 + step))  # follows closely while the weights still move fast
        for average, current in zip(self._average.parameters(), self.generator.parameters(), strict=True):
            average.lerp_(current, 1 - decay)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return errors of the translations of held-out images: by task model, by judge, and by pixel where known."""
        bank, sums = self._validation, {"validation_task": 0.0}
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
        index = torch.linspace(0, len(self._validation) - 1, _PICTURE_ROWS, device=self._device).long()
        images, _ = self._validation.batch(index)
        columns = [images, self._average(images)]
        if self._validation.paired is not None:
            columns.append(self._validation.paired_batch(index))
        rows = torch.cat([torch.cat(list(column), dim=2) for column in columns], dim=1)
        return (upscale(rows.unsqueeze(0), 2)[0] + 1) / 2

    def networks(self) -> dict[str, nn.Module]:
        """Return the translator, averaged."""
        return {WEIGHTS: self._average}

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and the image pool."""
        return {
            "generator": self.generator.state_dict(),
            "average": self._average.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_adam": self._generator_adam.state_dict(),
            "discriminator_adam": self._discriminator_adam.state_dict(),
            "pool": list(self._pool.images),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self.generator.load_state_dict(state["generator"])
        self._average.load_state_dict(state["average"])
        self.discriminator.load_state_dict(state["discriminator"])
        self._generator_adam.load_state_dict(state["generator_adam"])
        self._discriminator_adam.load_state_dict(state["discriminator_adam"])
        self._pool.images = [image.to(self._device) for image in state["pool"]]


def _lengths(gradient: Tensor) -> Tensor:
    """Return the length of each image's gradient, (N, 1, 1, 1)."""
    return gradient.float().flatten(1).norm(dim=1).clamp_min(_TINY).view(-1, 1, 1, 1)


def _placed(network: Network, device: torch.device) -> Network:
    """Put a network on `device`; channels_last is faster on a GPU and slower on a CPU (measured)."""
    network.to(device)
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def train_translator(config: TranslatorConfig) -> dict[str, float]:
    """Run step 2 and return the last validation's figures.

    Raises:
        InputError: datasets, runs or a recipe that do not fit.
        Interrupted: a signal stopped it; the run can be resumed.
    """
    device = pick_device(config.device)
    recipe = config.settings
    task_model, learned = load_task_model(config.task_model)
    source, target = load_dataset(config.source), load_dataset(config.target)
    inputs, outputs = (target, source) if config.direction == "inverse" else (source, target)
    pairs = _load_pairs(config, outputs.info.domain)
    validation = load_dataset(config.validation) if config.validation else None
    for dataset in (inputs, outputs, pairs, validation):
        if dataset is not None:
            check_compatible(learned.data, dataset.info)
    check_domain(f"task_model: {config.task_model}", outputs.info.domain, learned.data.domain)
    stride = recipe.generator.stride
    if learned.data.height % stride or learned.data.width % stride:
        size = f"{learned.data.height}x{learned.data.width}"
        raise InputError(f"expected images whose sides divide by {stride}, the generator's stride, got {size}")
    if recipe.paired_target:
        _check_pairs("paired_target", inputs.info, outputs.info.domain)
    judge = _load_judge(config.judge, learned) if config.judge else None

    run = Run(KIND, config)
    torch.manual_seed(config.seed)
    in_bank, out_bank = (make_bank(data, learned.scale, device) for data in (inputs, outputs))
    pairs_bank = None if pairs is None else make_bank(pairs, learned.scale, device)
    if validation is None:
        in_bank, validation_bank = (in_bank.take(rows) for rows in inputs.split_by_episode(0.1, config.seed))
    else:
        validation_bank = make_bank(validation, learned.scale, device)
    trainer = TranslatorTrainer(recipe, in_bank, out_bank, pairs_bank, validation_bank, task_model, judge)
    steps = recipe.pretrain_steps + recipe.steps
    schedule = Schedule(steps, config.log_every, config.show_every, config.save_every)
    return train(run, trainer, schedule, config.seed, "translator")


def _load_pairs(config: TranslatorConfig, domain: str) -> Dataset | None:
    recipe = config.settings
    if not (recipe.pretrain_steps or recipe.pairs_batch_size):
        return None
    if config.pretrain is None:
        raise InputError("this recipe pre-trains on pairs: expected --pretrain DATASET (collect --paired), got none")
    pairs = load_dataset(config.pretrain)
    _check_pairs("pretrain", pairs.info, domain)
    return pairs


def _check_pairs(what: str, data: DatasetInfo, domain: str) -> None:
    """Refuse a dataset whose pairs do not show what the translator should give."""
    if short_name(data.paired_domain) != short_name(domain):
        raise InputError(
            f"{what}: expected a dataset of {data.domain} with pairs in {domain}, the domain translated into "
            f"(collect --paired {domain}), got {data.paired_domain or 'none'}"
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
    described = read_description(run)
    if described.kind != KIND:
        raise InputError(f"{run}: expected a run of a translator, got one of {described.kind}")
    shape = build(GeneratorConfig, described.config["settings"]["generator"], f"{run}: generator")
    network = Generator(shape)
    load_weights(run / f"{WEIGHTS}.safetensors", network)
    return network
