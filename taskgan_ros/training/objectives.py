"""The losses of section 3.1, each a function of a few lines."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def discriminator_loss(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """Equation (4): least squares, real towards 1 and generated towards 0."""
    return (1 - real_score).square().mean() + fake_score.square().mean()


def adversarial_loss(fake_score: Tensor) -> Tensor:
    """First term of equation (3): generated towards 1."""
    return (1 - fake_score).square().mean()


def task_loss(prediction: Tensor, labels: Tensor) -> Tensor:
    """Second term of equation (3): mean squared error over the batch and the joints, on standardised labels."""
    return (prediction - labels).square().mean()


def pixel_loss(translated: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of images in [-1, 1]."""
    return (translated - truth).abs().mean()


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Half the squared gradient of the score at real images, summed over pixels (Mescheder et al. 2018)."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()


class ImagePool:
    """The last generated images; half the time the discriminator sees an old one (Shrivastava et al. 2017)."""

    def __init__(self, size: int) -> None:
        """Hold up to `size` images; 0 always passes the new ones on."""
        self._size = size
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor) -> Tensor:
        """Take `images` (N, 3, H, W) in and return as many, some of them older."""
        if self._size == 0:
            return images
        chosen = []
        for image in images:
            if len(self.images) < self._size:
                self.images.append(image.clone())  # a view would keep its whole batch in memory and checkpoint
                chosen.append(image)
            elif torch.rand(()) < 0.5:
                k = int(torch.randint(self._size, ()))
                chosen.append(self.images[k])
                self.images[k] = image.clone()
            else:
                chosen.append(image)
        return torch.stack(chosen)
