"""Muon on weights, Adam on the rest."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from taskgan_ros.training.optimisers import Muon
from taskgan_ros.training.rates import set_rate


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 4, 3), nn.Flatten(), nn.Linear(256, 2))


def values(trained: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trained.parameters()])


def step(trained: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor) -> float:
    loss: Tensor = (trained(images) - 1).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def test_a_step_moves_weights_equally_in_all_directions() -> None:
    layer = nn.Linear(64, 16, bias=False)
    before = layer.weight.detach().clone()
    gradient = torch.randn(16, 64) * torch.logspace(0, -1.5, 16)[:, None]  # some rows hardly matter
    layer.weight.grad = gradient
    Muon(layer.parameters(), 0.1).step()
    lengths = torch.linalg.svdvals(layer.weight.detach() - before)
    assert lengths.max() / lengths.min() < 2  # torch's five iterations bring singular values to 0.7 to 1.2
    assert torch.linalg.svdvals(gradient).max() / torch.linalg.svdvals(gradient).min() > 10
    rms = (layer.weight.detach() - before).square().mean().sqrt()
    assert rms == pytest.approx(0.02, rel=0.2)  # 0.2 x the rate, as long as Adam's steps are


def test_biases_move_as_adam_moves_them() -> None:
    one, other = network(), network()
    muon, adam = Muon(one.parameters(), 0.01), torch.optim.Adam(other.parameters(), 0.01)
    images = torch.randn(4, 3, 8, 8)
    step(one, muon, images), step(other, adam, images)
    weights, biases = ([p for p in one.parameters() if (p.ndim > 1) is kind] for kind in (True, False))
    adams = dict(zip(one.parameters(), other.parameters(), strict=True))
    for bias in biases:
        torch.testing.assert_close(bias, adams[bias])
    assert not any(torch.allclose(weight, adams[weight]) for weight in weights)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_convolutions_learn(memory: torch.memory_format) -> None:
    trained, images = network().to(memory_format=memory), torch.randn(8, 3, 8, 8)  # type: ignore[call-overload]
    optimiser = Muon(trained.parameters(), 0.01)
    losses = [step(trained, optimiser, images) for _ in range(60)]
    assert losses[-1] < 0.05 * losses[0]


def test_the_rate_is_the_groups() -> None:
    trained, images = network(), torch.randn(4, 3, 8, 8)
    optimiser = Muon(trained.parameters(), 0.01)
    before = values(trained)
    set_rate(optimiser, 0.0)
    step(trained, optimiser, images)
    assert torch.equal(values(trained), before)


def test_its_state_goes_on_where_it_stopped() -> None:
    images = torch.randn(4, 3, 8, 8)
    trained = network()
    optimiser = Muon(trained.parameters(), 0.01)
    step(trained, optimiser, images)
    resumed = copy.deepcopy(trained)
    other = Muon(resumed.parameters(), 0.01)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for _ in range(3):
        assert step(trained, optimiser, images) == step(resumed, other, images)
    fresh = copy.deepcopy(trained)
    step(fresh, Muon(fresh.parameters(), 0.01), images), step(trained, optimiser, images)
    assert not torch.equal(values(fresh), values(trained))
