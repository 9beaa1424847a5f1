"""Augmentations on batches in [-1, 1]: what a camera may change, and what keeps a discriminator honest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from taskgan_ros.training import distributed

_BRIGHTNESS, _CONTRAST, _TINT, _NOISE = (
    0.30,
    0.30,
    0.12,
    0.05,
)  # half-widths at strength 1, on values in [-1, 1]
_CUTOUT = 0.2  # largest edge of the square, as a share of the image
_SHIFT = 0.125  # DiffAugment's largest translation, as a share of the image


def _uniform(x: Tensor, *shape: int) -> Tensor:
    """Return draws in [-1, 1], one set per image; drawn on the CPU, so that all devices see the same ones."""
    return (distributed.rand(len(x), *shape) * 2 - 1).to(x.device)


def photometric(images: Tensor, strength: float) -> Tensor:
    """Change brightness, contrast, tint, sharpness, noise and a patch of each image; geometry never.

    Labels are tied to where the camera stands, so nothing moves.

    Args:
        images: (N, 3, H, W) in [-1, 1].
        strength: 0 returns the images as they are.
    """
    if strength == 0:
        return images
    mean = images.mean(dim=(2, 3), keepdim=True)
    x = (images - mean) * (1 + _uniform(images, 1, 1, 1) * _CONTRAST * strength) + mean
    x = x + _uniform(images, 1, 1, 1) * _BRIGHTNESS * strength + _uniform(images, 3, 1, 1) * _TINT * strength
    blurred = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    share = _uniform(images, 1, 1, 1) * strength
    x = x + share.clamp(0, 1) * (blurred - x)
    noise, amount = distributed.randn(*x.shape).to(x.device), distributed.rand(len(x), 1, 1, 1).to(x.device)
    x = x + noise * _NOISE * strength * amount
    return _cutout(x.clamp(-1, 1), _CUTOUT * strength)


def _cutout(x: Tensor, edge: float) -> Tensor:
    """Paint a square of one random colour over half of the images."""
    height, width = x.shape[2:]
    center, size, painted = (distributed.rand(len(x), *shape).to(x.device) for shape in ((2, 1, 1), (1, 1), (1, 1)))
    half = size * edge / 2 * (painted < 0.5)
    rows = (torch.arange(height, device=x.device).view(1, -1, 1) / height - center[:, 0]).abs() < half
    columns = (torch.arange(width, device=x.device).view(1, 1, -1) / width - center[:, 1]).abs() < half
    return torch.where((rows & columns).unsqueeze(1), _uniform(x, 3, 1, 1), x)


def diff_augment(images: Tensor) -> Tensor:
    """Shift and recolour what a discriminator sees, real and generated alike, differentiably (Zhao et al. 2020)."""
    x = images + _uniform(images, 1, 1, 1) * 0.5
    mean = x.mean(dim=1, keepdim=True)
    x = (x - mean) * (1 + _uniform(images, 1, 1, 1)) + mean
    overall = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (x - overall) * (1 + 0.5 * _uniform(images, 1, 1, 1)) + overall
    return _shifted(x, _SHIFT)


def _shifted(x: Tensor, share: float) -> Tensor:
    """Shift each image by up to `share` of its size, padded with zeros."""
    height, width = x.shape[2:]
    pad_y, pad_x = int(height * share), int(width * share)
    padded = functional.pad(x, (pad_x, pad_x, pad_y, pad_y))
    top = distributed.randint(2 * pad_y + 1, len(x)).tolist()
    left = distributed.randint(2 * pad_x + 1, len(x)).tolist()
    crops = [padded[i, :, t : t + height, c : c + width] for i, (t, c) in enumerate(zip(top, left, strict=True))]
    return torch.stack(crops)
