"""Which images of a dataset to train on, and which to validate on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import Dataset, check_compatible, load_dataset
from taskgan_ros.training.bank import Bank, make_bank
from taskgan_ros.training.lineage import check_domain


@dataclass(frozen=True)
class Split:
    """Rows of a dataset to train on, and rows to validate on, of the same dataset or another one of its domain.

    Attributes:
        dataset: the one to train on.
        training: (N,) rows of it.
        judge: the one to validate on.
        held_out: (V,) rows of that.
    """

    dataset: Dataset
    training: NDArray[np.int64]
    judge: Dataset
    held_out: NDArray[np.int64]

    def banks(self, images: int | None, scale: NDArray[np.float32], device: torch.device) -> tuple[Bank, Bank]:
        """Return banks of so many `images`, evenly spaced, or of all, to train on, and of those to validate on.

        Raises:
            InputError: there are fewer images.
        """
        bank = make_bank(self.dataset, scale, device)
        judge = bank if self.judge is self.dataset else make_bank(self.judge, scale, device)
        training = spread_rows(self.training, images, f"images of {self.dataset.info.domain}")
        return bank.take(training), judge.take(self.held_out)


def split_dataset(
    dataset: Dataset, validation: Path | None, share: float, seed: int, domains: tuple[str, ...] | None = ()
) -> Split:
    """Hold out a share of the episodes, or none where there is another dataset to validate on.

    Args:
        dataset: to train on.
        validation: the other dataset, of the same domain or one of `domains`; of any where that is None.
        share: of the episodes.
        seed: of the draw.
        domains: see validation.

    Raises:
        InputError: fewer than two episodes to split, or a `validation` that does not fit.
    """
    if validation is None:
        training, held_out = dataset.split_by_episode(share, seed)
        return Split(dataset, training, dataset, held_out)
    judge = load_dataset(validation)
    check_compatible(dataset.info, judge.info)
    expected = None if domains is None else (dataset.info.domain, *domains)
    check_domain(f"validation: {validation}", expected, judge.info.domain)
    return Split(dataset, np.arange(len(dataset)), judge, np.arange(len(judge)))


def spread_rows(rows: NDArray[np.int64], count: int | None, what: object) -> NDArray[np.int64]:
    """Return `count` of `rows`, evenly spaced, the first one with them; all for None.

    Neighbours tell little more than one of them: all images of an episode have the same goal.

    Raises:
        InputError: there are fewer; `what` says of what.
    """
    if count is not None and count > len(rows):
        raise InputError(f"{what}: expected at most {len(rows)}, which there are to train on, got {count}")
    return rows if count is None else rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
