"""The losses of section 3.1, each a function of a few lines."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from taskgan_ros.training import distributed

_DIFFERS = 0.04  # of [-1, 1], at which a pixel is no longer the empty scene's: five of 255
_LEAST_SHARE = 0.01  # of an image's pixels: fewer than that weigh no more
_MMD_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the kernels, in medians of the squared distance


def discriminator_loss(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """Equation (4): least squares, real towards 1 and generated towards 0."""
    return (1 - real_score).square().mean() + fake_score.square().mean()


def adversarial_loss(fake_score: Tensor) -> Tensor:
    """First term of equation (3): generated towards 1."""
    return (1 - fake_score).square().mean()


def task_loss(prediction: Tensor, labels: Tensor) -> Tensor:
    """Second term of equation (3): mean squared error over the batch and the joints, on standardised labels."""
    return (prediction - labels).square().mean()


def pixel_loss(translated: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean absolute difference of images (N, 3, H, W) in [-1, 1], each pixel by its weight (N, 1, H, W)."""
    difference = (translated - truth).abs()
    return difference.mean() if weights is None else (difference * weights).mean()


def focus_weights(truth: Tensor, empty: Tensor, focus: float) -> Tensor:
    """Return weights (N, 1, H, W) that give the share `focus` of each image's loss to what is not the empty scene.

    The arm covers a tenth of a picture, and a translator that draws the empty scene alone has nine tenths of it right.
    The weights of each image have a mean of 1, also where all of it differs, or nothing.

    Args:
        truth: (N, 3, H, W) images in [-1, 1].
        empty: (3, H, W) the empty scene.
        focus: in [0, 1).
    """
    differs = differing(truth, empty)
    weights = focus * _spread(differs) + (1 - focus) * _spread(1 - differs)
    return weights / weights.mean(dim=(1, 2, 3), keepdim=True)


def differing(truth: Tensor, empty: Tensor) -> Tensor:
    """Return a mask (N, 1, H, W), 1 where images (N, 3, H, W) differ within a pixel from the empty scene (3, H, W)."""
    differs = ((truth - empty).abs().amax(dim=1, keepdim=True) > _DIFFERS).float()
    return functional.max_pool2d(differs, kernel_size=3, stride=1, padding=1)


def sorted_deviations(images: Tensor, empty: Tensor) -> Tensor:
    """Return how far (H * W,) in [0, 1] pixels are from the empty scene (3, H, W), sorted; the mean over the images.

    Two sets of images (N, 3, H, W) in [-1, 1] of one domain have nearly the same curve: most of it 0, the arm's share
    high. Speckles on the table raise its middle, a washed-out arm lowers its end.
    """
    deviations = (images - empty).abs().amax(dim=1).flatten(1) / 2
    return deviations.sort(dim=1).values.mean(dim=0)


def _spread(part: Tensor) -> Tensor:
    """Return a mask (N, 1, H, W) with a mean of 1 in each image, less where it has hardly a pixel."""
    return part / part.mean(dim=(1, 2, 3), keepdim=True).clamp_min(_LEAST_SHARE)


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Half the squared gradient of the score at real images, summed over pixels (Mescheder et al. 2018)."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()


def feature_loss(source: Tensor, target: Tensor) -> Tensor:
    """Squared distance of two columns' features (N, D) of the same states, mean over the batch and the features."""
    return (source - target).square().mean()


def mmd_loss(first: Tensor, second: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of two batches of features (N, D) and (M, D), biased: never below 0.

    The kernel is the mean of Gaussians `exp(-d^2 / s)` with s = 1/4, 1/2, 1, 2 and 4 times the median squared distance
    of all pairs (Gretton et al. 2012; Long et al. 2015). Tzeng et al. (2014) compare the mean features alone, a loss
    that shrinks with the features; this one does not depend on their scale, which a regression leaves open.
    """
    both = torch.cat([first, second])
    squared = (both[:, None] - both[None]).square().sum(dim=2)
    rows, columns = torch.triu_indices(len(both), len(both), offset=1, device=both.device)
    width = squared[rows, columns].detach().median().clamp_min(1e-12)
    kernel = torch.stack([(-squared / (width * factor)).exp() for factor in _MMD_WIDTHS]).mean(dim=0)
    n = len(first)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


class ImagePool:
    """The last generated images; half the time the discriminator sees an old one (Shrivastava et al. 2017)."""

    def __init__(self, size: int) -> None:
        """Hold up to `size` images; 0 always passes the new ones on.

        Of several processes each holds its share, of its own images: other ones than one process would hold. A
        checkpoint keeps the first's.
        """
        self._size = -(-size // distributed.world_size())
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
