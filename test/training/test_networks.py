from __future__ import annotations

import pytest
import torch
from torch import nn

from taskgan_ros.training.networks import (
    Coordinates,
    Discriminator,
    FeaturePositions,
    Generator,
    GeneratorConfig,
    TaskModel,
    TaskModelShape,
    load_shape,
    multiplies_bfloat16,
    shape_of,
    to_network,
    to_uint8,
)
from taskgan_ros.training.recipe import load_recipe


def millions(network: nn.Module) -> float:
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def test_the_papers_networks_have_the_papers_sizes() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 128, 128) * 2 - 1
    generator, discriminator, task_model = Generator(GeneratorConfig()), Discriminator(), TaskModel(3)
    assert millions(generator) == pytest.approx(1.97, abs=0.005)
    assert millions(discriminator) == pytest.approx(0.69, abs=0.005)
    assert millions(task_model) == pytest.approx(0.77, abs=0.005)
    with torch.no_grad():
        assert generator(image).shape == (2, 3, 128, 128)
        assert discriminator(image).shape == (2, 1, 14, 14)
        assert task_model(image).shape == (2, 3)
        assert task_model.extractor(image).shape == (2, 256)


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_a_generator_keeps_size_and_range_whatever_its_weights(recipe: str) -> None:
    torch.manual_seed(0)
    generator = Generator(load_recipe(recipe).generator)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(100)
        translated = generator(torch.rand(1, 3, 32, 64) * 2 - 1)
    assert translated.shape == (1, 3, 32, 64)
    assert translated.abs().max() <= 1
    assert translated.std() > 0.5  # it is the range that holds, not a constant


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_weights_start_as_cyclegans(recipe: str) -> None:
    torch.manual_seed(0)
    for network in (Generator(load_recipe(recipe).generator), Discriminator()):
        weights = torch.cat([p.detach().flatten() for p in network.parameters() if p.dim() > 1])
        assert abs(weights.mean()) < 1e-3
        assert weights.std().item() == pytest.approx(0.02, rel=0.02)


def test_the_sigmoid_can_be_left_out() -> None:
    torch.manual_seed(0)
    with_it, without = Discriminator(), Discriminator(sigmoid=False)
    without.load_state_dict(with_it.state_dict())
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(torch.sigmoid(without(image)), with_it(image))


def test_a_discriminator_of_pairs_scores_the_output_beside_its_input() -> None:
    torch.manual_seed(0)
    discriminator, pair = Discriminator(channels=6), torch.rand(2, 6, 64, 64)
    score = discriminator(pair)
    assert score.shape == Discriminator()(pair[:, :3]).shape
    for channel in (0, 3):  # the first of the input, and of the output
        other = pair.clone()
        other[:, channel] = 0
        assert not torch.allclose(discriminator(other), score)


def test_each_image_is_translated_alone() -> None:
    # The node translates one image at a time, training does several: a batch must not leak between its images.
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(widths=(8, 16), blocks=1)).eval()
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(generator(images)[1:2], generator(images[1:2]))


def test_a_task_model_may_have_other_joints_and_another_image_size() -> None:
    assert TaskModel(5, (48, 80))(torch.zeros(2, 3, 48, 80)).shape == (2, 5)


def test_bytes_survive_the_way_into_the_network_and_back() -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 16, 16, 3)
    values = to_network(images)
    assert values.shape == (1, 3, 16, 16)
    assert (values.min().item(), values.max().item()) == (-1, 1)
    assert torch.equal(values[0, :, 2, 5], images[0, 2, 5] / 127.5 - 1)
    assert torch.equal(to_uint8(values), images)


def test_values_out_of_range_become_black_or_white_and_others_the_nearest_byte() -> None:
    values = torch.tensor([-1.2, 1.2, (100.4 / 127.5) - 1, (100.6 / 127.5) - 1]).view(1, 1, 4, 1).repeat(1, 3, 1, 1)
    assert to_uint8(values)[0, :, 0, 0].tolist() == [0, 255, 100, 101]


SHAPES = [*map(load_shape, ("paper", "positions")), TaskModelShape(widths=(8, 4), blocks=2, coordinates=True)]


@pytest.mark.parametrize("shape", [*SHAPES, TaskModelShape(widths=(12, 6), norm=True), TaskModelShape(positions=True)])
def test_a_task_models_shape_is_read_off_its_weights(shape: TaskModelShape) -> None:
    weights = {name: tuple(value.shape) for name, value in TaskModel(3, (32, 32), shape).state_dict().items()}
    assert shape_of(weights) == shape


def test_the_paper_is_the_default_task_model() -> None:
    assert load_shape("paper") == TaskModelShape()


def test_coordinates_tell_where_a_thing_is() -> None:
    seen = Coordinates()(torch.zeros(1, 3, 5, 9))
    assert seen.shape == (1, 5, 5, 9)
    assert seen[0, 3, 2].tolist() == pytest.approx([-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1])
    assert seen[0, 4, :, 0].tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1])


def test_a_feature_is_read_where_it_is_strong() -> None:
    maps = torch.zeros(2, 3, 5, 9)
    maps[0, 0, 1, 2], maps[0, 1, 4, 8], maps[1, 2, 0, 4] = 50, 30, 40
    first, second = FeaturePositions(3)(maps).detach()
    assert first.tolist() == pytest.approx([-0.5, 1, 0, -0.5, 1, 0, 50, 30, 0], abs=1e-5)
    assert second[[2, 5, 8]].tolist() == pytest.approx([0, -1, 40], abs=1e-5)


def test_bfloat16_is_for_what_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert multiplies_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert not multiplies_bfloat16(torch.device("cpu"))
    assert multiplies_bfloat16(torch.device("cuda"))
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in torch 2.9
    assert not multiplies_bfloat16(torch.device("cpu"))
