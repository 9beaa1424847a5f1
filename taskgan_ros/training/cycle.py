"""The other half of CycleGAN: the backward translation (Zhu et al. 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from taskgan_ros.training import distributed
from taskgan_ros.training.adversary import BETAS, Adversary
from taskgan_ros.training.networks import Generator, autocast
from taskgan_ros.training.objectives import pixel_loss
from taskgan_ros.training.rates import set_rate
from taskgan_ros.training.recipe import Recipe


class Cycle:
    """A generator of the direction opposite to the translator's, against a discriminator of its own.

    Attributes:
        generator: translates the translator's output domain into its input domain.
        adversary: tells the input domain from the generator's translations.
        adam: the generator's optimiser.
    """

    def __init__(self, generator: Generator, adversary: Adversary, recipe: Recipe) -> None:
        """Train `generator` as `recipe` says."""
        self.generator, self.adversary = generator, adversary
        self._identity = bool(recipe.identity_batch_size)
        self.adam = distributed.joint(torch.optim.Adam(generator.parameters(), recipe.learning_rate, BETAS))

    def compute_losses(
        self, translator: Generator, inputs: Tensor, translated: Tensor, outputs: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the losses that both generators share, and the backward translations of `outputs`.

        Args:
            translator: the generator of the other direction.
            inputs: (N, 3, H, W) of the input domain, without augmentation: what the cycle should reconstruct.
            translated: (N, 3, H, W) what the translator made of them.
            outputs: (N, 3, H, W) real images of the output domain.
        """
        # One pass over all: instance norm treats each image alone.
        parts = [outputs, translated, inputs] if self._identity else [outputs, translated]
        with autocast(inputs.device):
            back, closed, *same = self.generator(torch.cat(parts)).chunk(len(parts))
            there = translator(back)
        losses = {
            "cycle": pixel_loss(closed, inputs) + pixel_loss(there, outputs),
            "cycle_adversarial": self.adversary.compute_generator_loss(back),
        }
        if self._identity:
            losses["cycle_identity"] = pixel_loss(same[0], inputs)
        return losses, back

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of generator and discriminator."""
        set_rate(self.adam, rate)
        self.adversary.set_rate(rate)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and image pool."""
        return {
            "generator": self.generator.state_dict(),
            "generator_adam": self.adam.state_dict(),
            **self.adversary.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load them."""
        self.generator.load_state_dict(state["generator"])
        self.adam.load_state_dict(state["generator_adam"])
        self.adversary.load_state_dict(state)
