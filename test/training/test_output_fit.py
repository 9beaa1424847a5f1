from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from taskgan_ros.training.bank import Bank
from taskgan_ros.training.networks import TaskModel
from taskgan_ros.training.output_fit import FitErrors, fit_output

Array = NDArray[np.float64]

SIZE = 32
JOINTS = 3


@pytest.fixture(scope="module")
def network() -> TaskModel:
    """One whose predictions of random images spread as standardised labels do."""
    torch.manual_seed(0)
    network = TaskModel(JOINTS, (SIZE, SIZE))
    with torch.no_grad():
        network.output.weight /= torch.from_numpy(predict(network, images(200)).std(axis=0)).float()[:, None]
        network.output.bias.sub_(torch.from_numpy(predict(network, images(200)).mean(axis=0)).float())
    return network


def images(count: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, SIZE, SIZE, 3), generator=generator, dtype=torch.uint8)


def bank_of(seen: torch.Tensor, labels: Array) -> Bank:
    return Bank(seen, torch.arange(len(seen)), torch.from_numpy(labels).float())


@torch.no_grad()
def predict(network: TaskModel, seen: torch.Tensor) -> Array:
    bank = bank_of(seen, np.zeros((len(seen), JOINTS)))
    predicted: Array = network(bank.batch(torch.arange(len(bank)))[0]).numpy().astype(float)
    return predicted


def moved(predicted: Array, shift: float = 1) -> Array:
    """What a camera does that is a little off: a shift, a turn and a stretch."""
    turned = predicted @ np.array([[1.05, 0.1, 0], [-0.1, 0.95, 0], [0, 0.05, 1.0]])
    return turned + shift * np.array([0.4, -0.2, 0.3])


def error(network: TaskModel, seen: torch.Tensor, labels: Array) -> float:
    return float(np.abs(predict(network, seen) - labels).mean())


def fitted(
    network: TaskModel, seen: torch.Tensor, labels: Array, episode: object = None
) -> tuple[TaskModel, FitErrors]:
    """Every image is an episode of its own unless the episodes are given."""
    return fit_output(network, bank_of(seen, labels), np.arange(len(seen)) if episode is None else np.asarray(episode))


@pytest.mark.parametrize("shift", [1, 6])
def test_a_camera_that_is_off_is_undone_with_ten_images(shift: float, network: TaskModel) -> None:
    few, others = images(10), images(50, seed=2)
    wanted = moved(predict(network, others), shift)
    before = network.output.weight.clone()
    after, errors = fitted(network, few, moved(predict(network, few), shift))
    assert error(after, others, wanted) < 0.25 * error(network, others, wanted)
    assert errors.is_better
    assert errors.episodes == 10
    assert torch.equal(network.output.weight, before)


def test_one_wrong_label_of_twenty_changes_little(network: TaskModel) -> None:
    few, others = images(20), images(50, seed=2)
    labels, wanted = moved(predict(network, few)), moved(predict(network, others))
    labels[3] += 5
    assert error(fitted(network, few, labels)[0], others, wanted) < 0.25 * error(network, others, wanted)


def test_images_of_one_goal_count_as_their_median(network: TaskModel) -> None:
    goals = images(8)
    labels = moved(predict(network, goals))
    thrice = torch.cat([goals, goals, images(8, seed=3)])  # the last of each is a picture of something else
    episode = np.tile(np.arange(8), 3)
    after, errors = fitted(network, thrice, np.concatenate([labels, labels + 1e-4, labels]), episode)
    assert errors.episodes == 8
    alone, _ = fitted(network, goals, labels)
    assert torch.allclose(after.output.weight, alone.output.weight, atol=1e-3)


def test_errors_that_episodes_do_not_share_change_nothing(network: TaskModel) -> None:
    few = images(48)
    episode = np.arange(48) // 16
    draws = np.random.default_rng(4)
    kept = 0
    for _ in range(20):
        own = draws.normal(0, 0.3, (3, JOINTS))
        after, errors = fitted(network, few, predict(network, few) + (own - own.mean(axis=0))[episode], episode)
        assert torch.equal(after.output.weight, network.output.weight) != errors.is_better
        kept += errors.is_better
    assert kept <= 1  # frames of an episode left out one by one would be predicted by their neighbours


@pytest.mark.parametrize("episode", [[0] * 6, [0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 4, 5]])
def test_too_few_episodes_with_different_labels_change_nothing(episode: list[int], network: TaskModel) -> None:
    few = images(6)
    labels = np.repeat(moved(predict(network, few))[:2], 3, axis=0)
    after, errors = fitted(network, few, labels, episode)
    assert errors.episodes == min(2, len(set(episode)))  # whose labels differ
    assert errors.after is None
    assert torch.equal(after.output.weight, network.output.weight)
    assert "left as it was: expected 3 episodes with different labels or more" in str(errors)
