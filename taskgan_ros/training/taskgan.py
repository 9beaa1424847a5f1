"""The TaskGAN: a generator against a discriminator, held to its task by a task model (section 3 of the paper)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from taskgan_ros.training import distributed
from taskgan_ros.training.adversary import BETAS, Adversary
from taskgan_ros.training.aligner import Aligner
from taskgan_ros.training.alignment import Alignment
from taskgan_ros.training.augment import photometric
from taskgan_ros.training.bank import Bank, align_bank
from taskgan_ros.training.cycle import Cycle
from taskgan_ros.training.kept import LOOK, PIXEL, TASK, KeptWeights
from taskgan_ros.training.networks import Discriminator, Generator, TaskModel, autocast, upscale
from taskgan_ros.training.objectives import focus_weights, pixel_loss, sorted_deviations, task_loss
from taskgan_ros.training.optimisers import Muon
from taskgan_ros.training.rates import RateSchedule, set_rate
from taskgan_ros.training.recipe import Recipe

WEIGHTS, ALIGNMENT = "translator", "alignment"
_EVALUATION_BATCH = 32
_VALIDATED = 512  # images: validating on 2400, as a tenth of randomised ones may be, took longer than the steps between
_PICTURE_ROWS = 6
_TINY = 1e-12  # keeps ratios of gradients finite

Network = TypeVar("Network", bound=nn.Module)


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
        is_pairs_recorded: whether `pairs` are the target camera's too.
    """

    inputs: Bank
    outputs: Bank
    pairs: Bank | None
    labelled: Bank | None
    validation: Bank
    is_pairs_recorded: bool = False

    def aligned(self, alignment: Alignment) -> Banks:
        """Return the banks with the inputs, which are target images, as the simulated camera would have seen them."""
        inputs, pairs = align_bank(alignment, self.inputs), self.pairs
        return dataclasses.replace(
            self,
            inputs=inputs,
            pairs=align_bank(alignment, pairs) if pairs is not None and self.is_pairs_recorded else pairs,
            labelled=inputs if self.labelled is self.inputs else self.labelled,
            validation=align_bank(alignment, self.validation),
        )


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
        alignment: Alignment | None = None,
    ) -> None:
        """Take the data, the task model, a second one to measure with, and optionally what to start from."""
        device = banks.inputs.images.device
        self.recipe, self._recorded, self._device = recipe, banks, device
        self._aligner = Aligner(alignment, recipe.align_steps, device)
        self._use(self._aligner.used)
        self._empty = banks.outputs.median()
        self._usual = self._usual_deviations()
        self._task_model = task_model.to(device).requires_grad_(False)
        self._judge = None if judge is None else judge.to(device).requires_grad_(False)
        self.generator = _placed(start or Generator(recipe.generator), device)
        self._average = copy.deepcopy(self.generator).requires_grad_(False)
        adam = torch.optim.Adam(self.generator.parameters(), recipe.learning_rate, BETAS)
        self._generator_adam = distributed.joint(adam)
        self._pretrainer: torch.optim.Optimizer = self._generator_adam
        if recipe.pretrain_optimiser == "muon":
            self._pretrainer = distributed.joint(Muon(self.generator.parameters(), recipe.pretrain_learning_rate))
        self._adversary = self._new_adversary(6 if recipe.conditional else 3)
        self._cycle: Cycle | None = None
        if recipe.cycle_weight:
            self._cycle = Cycle(_placed(Generator(recipe.generator), device), self._new_adversary(3), recipe)
        self.batch_size = recipe.batch_size
        self._kept, self._done = KeptWeights(), 0

    @torch.no_grad()
    def _usual_deviations(self) -> Tensor:
        """Return the output domain's curve, of its images with the labels nearest to the validation's."""
        bank, outputs = self._banks.validation, self._banks.outputs
        rows = outputs.nearest_in_turn(bank.labels[bank.spread(_VALIDATED)])
        parts = rows.split(_EVALUATION_BATCH)
        curves = [sorted_deviations(outputs.batch(index)[0], self._empty) * len(index) for index in parts]
        return torch.stack(curves).sum(dim=0) / len(rows)

    def _new_adversary(self, channels: int) -> Adversary:
        return Adversary(_placed(Discriminator(self.recipe.sigmoid, channels), self._device), self.recipe)

    def train_step(self, step: int) -> dict[str, Tensor]:
        """Do one step of pre-training, or one of the TaskGAN: generator, then discriminator."""
        recipe = self.recipe
        if step < recipe.pretrain_steps:
            pretraining = RateSchedule(recipe.pretrain_learning_rate, recipe.pretrain_steps)
            set_rate(self._pretrainer, pretraining.rate(step))
            losses = self._pretrain_step(step)
            self._update_average(step)
        elif step < (begin := recipe.pretrain_steps + recipe.align_steps):
            losses = self._align_step(step - recipe.pretrain_steps)
        else:
            if recipe.keep_best and step == begin:
                self._kept.begin(step, self._average, self._figures())
            rate = RateSchedule(recipe.learning_rate, recipe.steps).rate(step - begin)
            set_rate(self._generator_adam, rate)
            self._adversary.set_rate(rate)
            if self._cycle is not None:
                self._cycle.set_rate(rate)
            losses = self._adversarial_step(step - recipe.align_steps)  # alignment trains no network
            self._update_average(step - recipe.align_steps)
        self._done = step + 1
        return losses

    def _pretrain_step(self, step: int) -> dict[str, Tensor]:
        assert self._banks.pairs is not None
        images, labels, truth = self._draw_pairs(self._banks.pairs, self.recipe.pretrain_batch_size)
        with autocast(self._device):
            translated = self.generator(images)
        losses = {"pixel": self._pixel_loss(translated, truth), **self._task_losses(translated, labels)}
        return self._step_generators([self._pretrainer], step, translated, losses, {}, len(translated))

    def _align_step(self, step: int) -> dict[str, Tensor]:
        """Move target images a little nearer to their plain renders; after the last step, see whether that helped."""
        bank = self._recorded.inputs
        index = bank.draw(self.recipe.batch_size)
        (images, _), truth = bank.batch(index), bank.paired_batch(index)
        loss = self._aligner.step(step, lambda alignment: self._pixel_loss(self._average(alignment(images)), truth))
        if step + 1 == self.recipe.align_steps:
            self._aligner.choose(self._figures_with)
            self._use(self._aligner.used)
        return {"pixel": loss}

    def _figures_with(self, alignment: Alignment | None) -> dict[str, float]:
        """Return the figures of images aligned so, the same in all processes: all make one choice."""
        self._use(alignment)
        return distributed.first(self._figures)

    def _use(self, alignment: Alignment | None) -> None:
        """Train from now on with target images aligned so, or as they were recorded."""
        self._banks = self._recorded if alignment is None else self._recorded.aligned(alignment)

    def _adversarial_step(self, step: int) -> dict[str, Tensor]:
        batch = self._mixed_batch()
        count = distributed.share(self.recipe.batch_size)
        real = self._draw_real(batch.labels[:count])
        with autocast(self._device):
            translated = self.generator(batch.inputs)
        fake = translated[:count]
        losses = {
            "adversarial": self._adversary.compute_generator_loss(self._discriminator_input(batch.recorded, fake))
        }
        losses |= self._task_losses(translated, batch.labels)
        if len(batch.truth):
            losses["pixel"] = self._pixel_loss(translated[-len(batch.truth) :], batch.truth)
        if self.recipe.self_weight:
            losses["self"] = pixel_loss(fake, batch.recorded)
        cycle_losses: dict[str, Tensor] = {}
        back = fake
        if self._cycle is not None:  # the last channels of what is real are the output domain's, conditional or not
            cycle_losses, back = self._cycle.compute_losses(self.generator, batch.recorded, fake, real[:, -3:])
        optimisers = [self._generator_adam, *([self._cycle.adam] if self._cycle is not None else [])]
        figures = self._step_generators(optimisers, step, translated, losses, cycle_losses, count)
        figures["discriminator"] = self._adversary.step(real, self._discriminator_input(batch.recorded, fake.detach()))
        if self._cycle is not None:
            figures["cycle_discriminator"] = self._cycle.adversary.step(batch.recorded, back.detach())
        return figures

    def _mixed_batch(self) -> _Batch:
        """Return images to translate, then those whose true output is known; all go through the generator in one pass.

        Instance norm allows this, because it treats each image alone.
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
        """Return inputs, labels and true outputs: of identity images, of labelled ones with swapped pairs, of pairs."""
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

    def _discriminator_input(self, recorded: Tensor, translated: Tensor) -> Tensor:
        """Return what the discriminator sees of translations."""
        return torch.cat([recorded, translated], dim=1) if self.recipe.conditional else translated

    def _pixel_loss(self, translated: Tensor, truth: Tensor) -> Tensor:
        """Return the L1 loss, with the share `pixel_focus` on pixels that differ from the empty scene."""
        if not self.recipe.pixel_focus:
            return pixel_loss(translated, truth)
        return pixel_loss(translated, truth, focus_weights(truth, self._empty, self.recipe.pixel_focus))

    def _task_losses(self, translated: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the task loss, or nothing where it has no weight and would only cost time."""
        if not self.recipe.lambda_task:
            return {}
        with autocast(self._device):
            return {"task": task_loss(self._task_model(translated), labels)}

    def _weights(self, step: int) -> dict[str, float]:
        """Return each loss's weight in the sum that the generators minimise."""
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
        self,
        optimisers: Sequence[torch.optim.Optimizer],
        step: int,
        translated: Tensor,
        losses: dict[str, Tensor],
        cycle_losses: dict[str, Tensor],
        count: int,
    ) -> dict[str, Tensor]:
        """Step down the weighted sum of the losses and return them, with |task gradient| / |adversarial gradient|.

        The first of the `optimisers` is the generator's, another the cycle's.

        The gradients of `losses` meet at `translated`, so that their ratio at the first `count` images, which is what
        lambda balances, costs nothing; without an adversarial loss it is against all others. The `cycle_losses` of a
        cycle reach both generators along other paths.
        """
        weights = self._weights(step)
        gradients = {  # of images in bfloat16, whose sums and lengths would be rounded too
            name: torch.autograd.grad(weights[name] * loss, translated)[0].float() for name, loss in losses.items()
        }
        figures = {name: loss.detach() for name, loss in (losses | cycle_losses).items()}
        task = gradients.pop("task", None)
        total = torch.stack(list(gradients.values())).sum(dim=0)
        if task is not None:
            if self.recipe.task_gradient_limit:
                task = task * (self.recipe.task_gradient_limit * _lengths(total) / _lengths(task)).clamp(max=1)
            against = gradients.get("adversarial", total)
            figures["gradient_ratio"] = task[:count].norm() / against[:count].norm().clamp_min(_TINY)
            total = total + task
        roots = [weights[name] * loss for name, loss in cycle_losses.items()]
        for optimiser in optimisers:
            optimiser.zero_grad()
        torch.autograd.backward([translated, *roots], [total, *[None] * len(roots)])
        for optimiser in optimisers:
            optimiser.step()
        return figures

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self.recipe.ema, (1 + step) / (10 + step))  # follows closely while the weights still move fast
        for average, current in zip(self._average.parameters(), self.generator.parameters(), strict=True):
            average.lerp_(current, 1 - decay)

    def validate(self) -> dict[str, float]:
        """Return the figures of the translations of held-out images, and after which step the kept weights were."""
        figures = self._figures()
        self._kept.offer(self._done, self._average, figures)
        if self._aligner.used is not None:
            figures["aligned_px"] = self._aligner.used.moved_px(*self._recorded.inputs.images.shape[1:3])
        return figures if self._kept.network is None else {**figures, "kept_step": float(self._kept.step)}

    @torch.no_grad()
    def _figures(self) -> dict[str, float]:
        """Return errors by task model, by judge, by pixel where the truth is known, and by look, which needs no truth.

        Of more than 512 images, only 512 evenly spaced ones are used.
        """
        bank, sums, curve = self._banks.validation, {TASK: 0.0}, torch.zeros_like(self._usual)
        rows = bank.spread(_VALIDATED)
        for index in rows.split(_EVALUATION_BATCH):
            images, labels = bank.batch(index)
            translated = self._average(images)
            figures = {TASK: task_loss(self._task_model(translated), labels)}
            if self._judge is not None:
                figures["validation_judge"] = task_loss(self._judge(translated), labels)
            if bank.paired is not None:
                figures[PIXEL] = pixel_loss(translated, bank.paired_batch(index))
            curve += sorted_deviations(translated, self._empty) * len(index) / len(rows)
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(index) / len(rows)
        return {**sums, LOOK: float((curve - self._usual).abs().mean())}

    @torch.no_grad()
    def picture(self) -> Tensor:
        """Return a grid: recorded, translated, true render where known, for evenly spaced held-out images."""
        bank = self._banks.validation
        index = bank.spread(_PICTURE_ROWS)
        columns = [self._recorded.validation.batch(index)[0], self._average(bank.batch(index)[0])]
        if bank.paired is not None:
            columns.append(bank.paired_batch(index))
        rows = torch.cat([torch.cat(list(column), dim=2) for column in columns], dim=1)
        return (upscale(rows.unsqueeze(0), 2)[0] + 1) / 2

    def networks(self) -> dict[str, nn.Module]:
        """Return the translator: averaged, of the best validation where the recipe keeps that; and its alignment."""
        found: dict[str, nn.Module] = {WEIGHTS: self._average if self._kept.network is None else self._kept.network}
        if self._aligner.used is not None or self.recipe.align_steps:
            found[ALIGNMENT] = self._aligner.used or Alignment()  # the identity overwrites what an earlier save left
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and image pools."""
        return {
            "generator": self.generator.state_dict(),
            "average": self._average.state_dict(),
            "generator_adam": self._generator_adam.state_dict(),
            **({} if self._pretrainer is self._generator_adam else {"pretrainer": self._pretrainer.state_dict()}),
            "kept": self._kept.state_dict(),
            **self._aligner.state_dict(),
            **self._adversary.state_dict(),
            **({} if self._cycle is None else {"cycle": self._cycle.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load them."""
        self.generator.load_state_dict(state["generator"])
        self._average.load_state_dict(state["average"])
        self._generator_adam.load_state_dict(state["generator_adam"])
        if self._pretrainer is not self._generator_adam:
            self._pretrainer.load_state_dict(state["pretrainer"])
        self._kept.load_state_dict(state.get("kept", {}), self._average)
        self._aligner.load_state_dict(state)
        self._use(self._aligner.used)
        self._adversary.load_state_dict(state)
        if self._cycle is not None:
            self._cycle.load_state_dict(state["cycle"])


def _lengths(gradient: Tensor) -> Tensor:
    """Return the length of each image's gradient, (N, 1, 1, 1)."""
    return gradient.flatten(1).norm(dim=1).clamp_min(_TINY).view(-1, 1, 1, 1)


def _placed(network: Network, device: torch.device) -> Network:
    """Put a network on `device`; channels_last is faster on a GPU and slower on a CPU (measured)."""
    network.to(device)
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
