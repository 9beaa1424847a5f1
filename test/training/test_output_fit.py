from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from taskgan_ros.training.bank import Bank
from taskgan_ros.training.networks import TaskModel
from taskgan_ros.training.output_fit import fit_output

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
        network.output.bias -= torch.from_numpy(predict(network, images(200)).mean(axis=0)).float()
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


def moved(predicted: Array) -> Array:
    """What a camera does that is a little off: a shift, a turn and a stretch."""
    return predicted @ np.array([[1.05, 0.1, 0], [-0.1, 0.95, 0], [0, 0.05, 1.0]]) + [0.4, -0.2, 0.3]


def error(network: TaskModel, seen: torch.Tensor, labels: Array) -> float:
    return float(np.abs(predict(network, seen) - labels).mean())


def test_a_camera_that_is_off_is_undone_with_ten_images(network: TaskModel) -> None:
    few, others = images(10), images(50, seed=2)
    wanted = moved(predict(network, others))
    before = network.output.weight.clone()
    fit = fit_output(network, bank_of(few, moved(predict(network, few))))
    assert error(fit.network, others, wanted) < 0.25 * error(network, others, wanted)
    assert fit.is_better
    assert fit.labels == 10
    assert torch.equal(network.output.weight, before)


def test_one_wrong_label_of_twenty_changes_little(network: TaskModel) -> None:
    few, others = images(20), images(50, seed=2)
    labels, wanted = moved(predict(network, few)), moved(predict(network, others))
    labels[3] += 5
    assert error(fit_output(network, bank_of(few, labels)).network, others, wanted) < 0.25 * error(
        network, others, wanted
    )


def test_images_of_one_label_count_as_their_median(network: TaskModel) -> None:
    goals = images(8)
    labels = moved(predict(network, goals))
    thrice = torch.cat([goals, goals, images(8, seed=3)])  # the last of each is a picture of something else
    fit = fit_output(network, bank_of(thrice, np.concatenate([labels, labels + 1e-4, labels])))
    assert fit.labels == 8
    alone = fit_output(network, bank_of(goals, labels))
    assert torch.allclose(fit.network.output.weight, alone.network.output.weight, atol=1e-3)


def test_labels_that_have_nothing_in_common_change_nothing(network: TaskModel) -> None:
    few = images(10)
    noise = np.random.default_rng(4).normal(0, 0.3, (10, JOINTS))
    noise -= noise.mean(axis=0)
    fit = fit_output(network, bank_of(few, predict(network, few) + noise))
    assert not fit.is_better
    assert torch.equal(fit.network.output.weight, network.output.weight)


@pytest.mark.parametrize("different", [1, 2])
def test_too_few_different_labels_change_nothing(network: TaskModel, different: int) -> None:
    few = images(6)
    labels = moved(predict(network, few))[np.arange(6) % different]
    fit = fit_output(network, bank_of(few, labels))
    assert (fit.labels, fit.is_tried, fit.is_better) == (different, False, False)
    assert torch.equal(fit.network.output.weight, network.output.weight)
