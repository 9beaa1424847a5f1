from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.training.bank import Bank, label_scale, make_bank
from taskgan_ros.training.networks import to_network

CPU = torch.device("cpu")


def test_labels_have_unit_variance_on_the_data_that_gives_the_scale(source: Path) -> None:
    data = load_dataset(source)
    scale = label_scale(data.actions)
    bank = make_bank(data, scale, CPU)
    assert scale.shape == (3,)
    np.testing.assert_allclose(bank.labels.std(dim=0, correction=0), 1, rtol=1e-5)
    np.testing.assert_allclose(bank.labels.numpy() * scale, data.actions, rtol=1e-6)


def test_a_label_that_never_changes_stays_finite() -> None:
    actions = np.array([[0.1, 0.5], [0.3, 0.5]], np.float32)
    assert np.isfinite(actions / label_scale(actions)).all()


def test_batches_hold_the_images_labels_and_pairs_of_their_rows(target: Path) -> None:
    data = load_dataset(target)
    assert data.paired is not None
    rows = np.array([40, 3, 17])
    part = make_bank(data, np.ones(3, np.float32), CPU).take(rows).take(np.array([2, 0]))
    images, labels = part.batch(torch.tensor([1, 0]))
    assert len(part) == 2
    assert torch.equal(images, to_network(torch.from_numpy(data.images[[40, 17]])))
    assert torch.equal(labels, torch.from_numpy(data.actions[[40, 17]]))
    assert torch.equal(part.paired_batch(torch.tensor([1, 0])), to_network(torch.from_numpy(data.paired[[40, 17]])))


def test_a_bank_without_pairs_has_no_paired_batch(source: Path) -> None:
    bank = make_bank(load_dataset(source), np.ones(3, np.float32), CPU)
    with pytest.raises(ValueError, match="expected a bank with paired images, got one without"):
        bank.paired_batch(torch.tensor([0]))


def line(count: int) -> Bank:
    """Return a bank whose label is its row."""
    labels = torch.arange(count, dtype=torch.float32).view(-1, 1)
    return Bank(torch.zeros(count, 4, 4, 3, dtype=torch.uint8), torch.arange(count), labels)


def test_nearest_draws_among_the_nearest_labels() -> None:
    torch.manual_seed(0)
    chosen = line(100).nearest(torch.tensor([[50.2], [3.1]]).repeat(200, 1), among=3)
    assert set(chosen[::2].tolist()) == {49, 50, 51}
    assert set(chosen[1::2].tolist()) == {2, 3, 4}


def test_nearest_among_more_than_there_are_draws_from_all() -> None:
    torch.manual_seed(0)
    assert set(line(3).nearest(torch.zeros(100, 1), among=32).tolist()) == {0, 1, 2}


def test_draws_are_of_all_rows_and_follow_the_seed() -> None:
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(line(10).draw(200).tolist())
    assert draws[0] == draws[1] != draws[2]
    assert set(draws[0]) == set(range(10))


def test_spread_indices_reach_from_the_first_image_to_the_last() -> None:
    def spread(count: int, most: int) -> list[int]:
        return Bank(torch.empty(0), torch.arange(count), torch.empty(count, 1)).spread(most).tolist()

    assert spread(2400, 4) == [0, 799, 1599, 2399]
    assert len(set(spread(2400, 512))) == 512
    assert spread(3, 512) == [0, 1, 2]
    assert spread(1, 512) == [0]


def test_the_median_image_is_the_scene_without_the_arm() -> None:
    images = torch.full((9, 4, 4, 3), 100, dtype=torch.uint8)
    for k in range(9):
        images[k, k % 4, k // 4] = 255  # an arm that is nowhere twice
    bank = Bank(images, torch.arange(9), torch.zeros(9, 1))
    assert torch.equal(bank.median(), to_network(torch.full((1, 4, 4, 3), 100, dtype=torch.uint8))[0])


def test_nearest_labels_that_tie_are_taken_in_turn() -> None:
    labels = torch.tensor([[0.0], [1.0], [1.0], [1.0], [5.0]])
    bank = Bank(torch.zeros(5, 8, 8, 3, dtype=torch.uint8), torch.arange(5), labels, None)
    found = bank.nearest_in_turn(torch.tensor([[0.9], [0.9], [4.0], [0.9], [0.1]]))
    assert found.tolist() == [1, 2, 4, 1, 0]
