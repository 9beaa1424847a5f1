"""A dataset on the training device, with labels in units of their standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from taskgan_ros.data.dataset import Dataset
from taskgan_ros.training import distributed
from taskgan_ros.training.augment import photometric
from taskgan_ros.training.networks import to_network, to_uint8

_MEDIAN_OF = 256  # images, spread over all: more change nothing


@dataclass(frozen=True)
class Bank:
    """Rows of a dataset, whose images several banks may share.

    Attributes:
        images: (M, H, W, 3) uint8.
        rows: (N,) which of the images belong to this bank.
        labels: (N, J) float32, divided by the label scale.
        paired: (M, H, W, 3) uint8, the same states in the other domain, or None.
    """

    images: Tensor
    rows: Tensor
    labels: Tensor
    paired: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    def draw(self, count: int) -> Tensor:
        """Return `count` random indices, from torch's seeded generator; of several processes, each its share."""
        return distributed.randint(len(self), distributed.share(count)).to(self.rows.device)

    def spread(self, most: int) -> Tensor:
        """Return the indices of `most` images, evenly spaced; of all where there are fewer."""
        return torch.linspace(0, len(self) - 1, min(most, len(self)), device=self.rows.device).long()

    def nearest(self, labels: Tensor, among: int) -> Tensor:
        """Return for each of `labels` (B, J) one index, random among those of its `among` nearest labels."""
        order = torch.cdist(labels, self.labels).topk(min(among, len(self)), largest=False).indices
        choice = distributed.randint(order.shape[1], len(labels), 1).to(order.device)
        return order.gather(1, choice).squeeze(1)

    def nearest_in_turn(self, labels: Tensor) -> Tensor:
        """Return for each of `labels` (B, J) the index of its nearest label; those that tie are taken in turn.

        All images of an episode have the same joint goal: the first should not stand for them all.
        """
        distance = torch.cdist(labels, self.labels)
        ties = distance <= distance.amin(dim=1, keepdim=True)
        wanted = torch.arange(len(labels), device=labels.device) % ties.sum(dim=1)
        return (ties & (ties.cumsum(dim=1) == wanted[:, None] + 1)).int().argmax(dim=1)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (B, 3, H, W) in [-1, 1] and labels (B, J)."""
        return to_network(self.images[self.rows[index]]), self.labels[index]

    def paired_batch(self, index: Tensor) -> Tensor:
        """Return the paired images (B, 3, H, W) in [-1, 1].

        Raises:
            ValueError: the bank holds no pairs.
        """
        if self.paired is None:
            raise ValueError("expected a bank with paired images, got one without")
        return to_network(self.paired[self.rows[index]])

    def median(self) -> Tensor:
        """Return the median image (3, H, W) in [-1, 1]: with a fixed camera and appearance, it is the empty scene."""
        return median_image(self.images[self.rows[self.spread(_MEDIAN_OF)]])

    def take(self, rows: NDArray[np.int64]) -> Bank:
        """Return the bank of `rows` (indices into this one), sharing the images."""
        index = torch.from_numpy(rows).to(self.rows.device)
        return Bank(self.images, self.rows[index], self.labels[index], self.paired)


def median_image(images: Tensor) -> Tensor:
    """Return the median (3, H, W) in [-1, 1] of images (N, H, W, 3) uint8."""
    return to_network(images.median(dim=0, keepdim=True).values)[0]


def label_scale(actions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation (J,) of labels (N, J): as they are, they are too small to balance other losses."""
    scale: NDArray[np.float32] = actions.std(axis=0)
    return np.maximum(scale, np.float32(1e-6))


def make_bank(dataset: Dataset, scale: NDArray[np.float32], device: torch.device) -> Bank:
    """Put a dataset on `device`, its labels divided by `scale` (J,)."""
    return Bank(
        images=torch.from_numpy(dataset.images).to(device),
        rows=torch.arange(len(dataset), device=device),
        labels=torch.from_numpy(dataset.actions / scale).to(device),
        paired=None if dataset.paired is None else torch.from_numpy(dataset.paired).to(device),
    )


@torch.no_grad()
def align_bank(alignment: nn.Module, bank: Bank) -> Bank:
    """Return a bank whose images (not their pairs) are aligned, and rounded to bytes again."""
    order = torch.arange(len(bank), device=bank.rows.device)
    images = torch.cat([to_uint8(alignment(bank.batch(index)[0])) for index in order.split(64)])
    paired = None if bank.paired is None else bank.paired[bank.rows]
    return Bank(images, order, bank.labels, paired)


@torch.no_grad()
def translate_bank(translator: nn.Module, bank: Bank, augment: float = 0.0, variants: int = 1) -> Bank:
    """Return F(y) of every image of a bank, `variants` times, as the node would see it: rounded to bytes."""
    order = torch.arange(len(bank), device=bank.rows.device).repeat(variants)
    with distributed.alone():
        images = [to_uint8(translator(photometric(bank.batch(index)[0], augment))) for index in order.split(64)]
    return Bank(torch.cat(images), torch.arange(len(order), device=order.device), bank.labels[order])
