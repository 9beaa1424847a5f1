"""Muon on weights, Adam on the rest."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from taskgan_ros.training.networks import TaskModel, TaskModelShape
from taskgan_ros.training.optimisers import Muon, orthogonal
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


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch's own came with 2.9")
def test_a_matrix_moves_as_torchs_own_moves_it() -> None:
    torch.manual_seed(0)
    one, images = nn.Linear(20, 8, bias=False), torch.randn(16, 20)
    other = copy.deepcopy(one)
    torchs = torch.optim.Muon(other.parameters(), 0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    muon = Muon(one.parameters(), 0.01)
    for _ in range(5):
        step(one, muon, images), step(other, torchs, images)
    torch.testing.assert_close(one.weight, other.weight, rtol=0.02, atol=1e-3)  # of bfloat16


def test_vectors_move_as_adam_moves_them_whatever_their_dimensions() -> None:
    torch.manual_seed(0)
    shape = TaskModelShape(widths=(8, 16), blocks=1, norm=True, positions=True)
    one = TaskModel(2, (32, 32), shape)
    other = copy.deepcopy(one)
    images = torch.randn(4, 3, 32, 32)
    step(one, Muon(one.parameters(), 0.01), images), step(other, torch.optim.Adam(other.parameters(), 0.01), images)
    adams = dict(other.named_parameters())
    for name, moved in one.named_parameters():
        assert torch.allclose(moved, adams[name]) is (moved.squeeze().ndim < 2), name  # norms, sharpness and biases


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


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_its_state_goes_on_where_it_stopped(memory: torch.memory_format) -> None:
    images, trained = torch.randn(4, 3, 8, 8), network()
    optimiser = Muon(trained.parameters(), 0.01)
    step(trained, optimiser, images)
    resumed = copy.deepcopy(trained).to(memory_format=memory)  # type: ignore[call-overload]
    other = Muon(resumed.parameters(), 0.01)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for _ in range(3):
        assert step(trained, optimiser, images) == pytest.approx(step(resumed, other, images), rel=1e-4)
    torch.testing.assert_close(values(resumed), values(trained), rtol=1e-3, atol=1e-3)
    fresh = copy.deepcopy(trained)
    step(fresh, Muon(fresh.parameters(), 0.01), images), step(trained, optimiser, images)
    assert not torch.allclose(values(fresh), values(trained), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("features", [{}, {"avx512_bf16": True}])
@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (1, 5)])
def test_singular_values_become_alike_on_any_cpu(
    features: dict[str, bool], shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    matrix = torch.randn(shape)
    near = orthogonal(matrix)
    assert near.dtype == torch.float32
    lengths = torch.linalg.svdvals(near)
    assert 0.6 < lengths.min() <= lengths.max() < 1.3
    assert (near * matrix).sum() > 0
    assert orthogonal(torch.zeros(shape)).abs().max() == 0  # a filter that no image reaches
