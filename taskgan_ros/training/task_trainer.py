"""How a task model learns: by the error of its labels, and by the discrepancy of domains where it adapts."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from taskgan_ros.training import distributed
from taskgan_ros.training.augment import photometric
from taskgan_ros.training.bank import Bank
from taskgan_ros.training.learned import WEIGHTS
from taskgan_ros.training.networks import TaskModel
from taskgan_ros.training.objectives import mmd_loss, task_loss
from taskgan_ros.training.optimisers import OptimiserName, make_optimiser
from taskgan_ros.training.output_fit import fit_output
from taskgan_ros.training.rates import RateSchedule, set_rate

_EVALUATION_BATCH = 256


class TaskModelTrainer:
    """Minimises the mean squared error of standardised labels, with batches mixed from several banks."""

    def __init__(
        self,
        network: nn.Module,
        banks: list[tuple[Bank, int]],
        validation: dict[str, Bank],
        schedule: RateSchedule,
        augment: float,
        optimiser: OptimiserName = "adam",
    ) -> None:
        """Start with fresh moments.

        Args:
            network: of the task model, or with it.
            banks: each with how many of its images make up a batch.
            validation: banks to validate on, by name.
            schedule: of the learning rate.
            augment: strength of photometric augmentation.
            optimiser: its name.
        """
        self.network, self._banks, self._validation = network, banks, validation
        self._schedule, self._augment = schedule, augment
        self._optimiser = distributed.joint(make_optimiser(optimiser, network, schedule.start))
        self.batch_size = sum(count for _, count in banks)

    def train_step(self, step: int) -> dict[str, Tensor]:
        """Do one step of the optimiser."""
        set_rate(self._optimiser, self._schedule.rate(step))
        losses = self._losses()
        self._optimiser.zero_grad()
        losses["loss"].backward()
        self._optimiser.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _losses(self) -> dict[str, Tensor]:
        """Draw a batch and return "loss", which the step minimises, and its parts where it has some."""
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
        return self._errors_of(self.networks()[WEIGHTS])

    def _errors_of(self, network: nn.Module) -> dict[str, float]:
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
        """Load them."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])


class FittingTrainer(TaskModelTrainer):
    """The same, and the output layer of the weights that it hands over is fitted to a few labelled target images."""

    def __init__(self, few: Bank, episode: NDArray[np.int64], network: TaskModel, *given: Any, **options: Any) -> None:
        """Take the few images, translated, and which episode each is of (N,); the rest as `TaskModelTrainer`."""
        super().__init__(network, *given, **options)
        self._task_model, self._few, self._episode = network, few, episode

    def networks(self) -> dict[str, nn.Module]:
        """Return the task model, fitted; training goes on without."""
        return {WEIGHTS: fit_output(self._task_model, self._few, self._episode)[0]}

    def validate(self) -> dict[str, float]:
        """Return also whether the fit helps, as `FitErrors` with `fit_` before its names."""
        network, errors = fit_output(self._task_model, self._few, self._episode)
        found = {f"fit_{name}": value for name, value in dataclasses.asdict(errors).items() if value is not None}
        return self._errors_of(network) | found


class AdaptingTrainer(TaskModelTrainer):
    """The same, while the features of another domain's images are pulled towards those of the labelled ones."""

    def __init__(
        self,
        others: Bank,
        network: TaskModel,
        banks: list[tuple[Bank, int]],
        validation: dict[str, Bank],
        schedule: RateSchedule,
        augment: float,
        optimiser: OptimiserName,
        mmd_weight: float,
    ) -> None:
        """Take the other domain's images and the weight of the discrepancy; the rest as `TaskModelTrainer`."""
        super().__init__(network, banks, validation, schedule, augment, optimiser)
        self._task_model, self._others, self._weight = network, others, mmd_weight

    def _losses(self) -> dict[str, Tensor]:
        images, labels = self._draw()
        others, _ = self._others.batch(self._others.draw(self.batch_size))
        seen = torch.cat([images, photometric(others, self._augment)])
        features, other_features = self._task_model.extractor(seen).chunk(2)
        task = task_loss(self._task_model.output(features), labels)
        mmd = mmd_loss(distributed.gathered(features), distributed.gathered(other_features))
        return {"loss": task + self._weight * mmd, "task": task, "mmd": mmd}


@torch.no_grad()
def task_error(network: nn.Module, bank: Bank) -> float:
    """Return the mean squared error over a whole bank, in standard deviations squared."""
    total = 0.0
    for index in torch.arange(len(bank), device=bank.images.device).split(_EVALUATION_BATCH):
        images, labels = bank.batch(index)
        total += float((network(images) - labels).square().mean()) * len(index)
    return total / len(bank)
