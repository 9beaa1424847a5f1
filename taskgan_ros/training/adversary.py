"""A discriminator in training, with its optimiser and image pool."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from taskgan_ros.training import distributed
from taskgan_ros.training.augment import diff_augment
from taskgan_ros.training.networks import Discriminator, autocast
from taskgan_ros.training.objectives import ImagePool, adversarial_loss, discriminator_loss, r1_penalty
from taskgan_ros.training.rates import set_rate
from taskgan_ros.training.recipe import Recipe

BETAS = (0.5, 0.999)  # CycleGAN's


class Adversary:
    """A discriminator with its optimiser and the old translations that it is shown again.

    It takes images of any number of channels: a pair stacked to six is augmented, pooled and penalised as one image.

    Attributes:
        network: the discriminator.
    """

    def __init__(self, network: Discriminator, recipe: Recipe) -> None:
        """Train `network` as `recipe` says."""
        self.network, self._recipe = network, recipe
        self._adam = distributed.joint(torch.optim.Adam(network.parameters(), recipe.learning_rate, BETAS))
        self._pool = ImagePool(recipe.pool_size)

    def compute_generator_loss(self, fake: Tensor) -> Tensor:
        """Return the adversarial loss of the generator of `fake` (N, C, H, W)."""
        with autocast(fake.device):
            score = self.network(self._augmented(fake))
        return adversarial_loss(score.float())

    def step(self, real: Tensor, fake: Tensor) -> Tensor:
        """Do one step of Adam on as many real as generated images, (N, C, H, W) each, and return the loss."""
        loss = self.compute_discriminator_loss(self._augmented(real), self._augmented(self._pool.exchange(fake)))
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return loss.detach()

    def compute_discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's loss on real and generated images, (N, C, H, W) each, with R1's penalty."""
        with autocast(real.device):
            # One pass over both: instance norm treats each image alone.
            real_score, fake_score = self.network(torch.cat([real, fake])).float().chunk(2)
        loss = discriminator_loss(real_score, fake_score)
        if self._recipe.r1:
            loss = loss + self._recipe.r1 * r1_penalty(self.network, real)
        return loss

    def set_rate(self, rate: float) -> None:
        """Set the learning rate."""
        set_rate(self._adam, rate)

    def _augmented(self, images: Tensor) -> Tensor:
        return diff_augment(images) if self._recipe.diff_augment else images

    def state_dict(self) -> dict[str, Any]:
        """Return network, optimiser and image pool."""
        return {
            "discriminator": self.network.state_dict(),
            "discriminator_adam": self._adam.state_dict(),
            "pool": list(self._pool.images),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load them."""
        self.network.load_state_dict(state["discriminator"])
        self._adam.load_state_dict(state["discriminator_adam"])
        device = next(self.network.parameters()).device
        self._pool.images = [image.to(device) for image in state["pool"]]
