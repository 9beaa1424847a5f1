from __future__ import annotations

import pytest
import torch
from torch import nn

from taskgan_ros.training.augment import diff_augment
from taskgan_ros.training.objectives import (
    ImagePool,
    adversarial_loss,
    discriminator_loss,
    focus_weights,
    pixel_loss,
    r1_penalty,
    sorted_deviations,
    task_loss,
)


def test_the_losses_are_the_papers() -> None:
    real, fake = torch.tensor([0.5, 1.0]), torch.tensor([0.2, 0.4])
    # (1 - D(x))^2: (0.25 + 0) / 2; D(F(y))^2: (0.04 + 0.16) / 2; (1 - D(F(y)))^2: (0.64 + 0.36) / 2
    assert discriminator_loss(real, fake).item() == pytest.approx(0.125 + 0.1)
    assert adversarial_loss(fake).item() == pytest.approx(0.5)
    # mean over the batch and the joints: (1 + 4 + 0 + 9) / 4
    labels = torch.tensor([[1.0, 0.0], [2.0, -1.0]])
    assert task_loss(torch.tensor([[0.0, 2.0], [2.0, 2.0]]), labels).item() == pytest.approx(3.5)
    assert pixel_loss(torch.tensor([0.5, -1.0]), torch.tensor([0.0, 1.0])).item() == pytest.approx(1.25)


def test_speckles_and_a_faint_arm_show_in_the_deviations() -> None:
    generator = torch.Generator().manual_seed(0)
    empty, images = torch.zeros(3, 20, 20), torch.zeros(8, 3, 20, 20)
    for k, image in enumerate(images):
        image[:, k : k + 5, 4:12] = 1.0
    moved = images.roll(3, dims=3)
    usual = sorted_deviations(images, empty)
    assert usual.shape == (400,)
    assert torch.equal(usual, sorted_deviations(moved, empty))  # another pose is no other look
    speckled = images + 0.1 * torch.rand(images.shape, generator=generator)
    faint = images * 0.6
    assert (sorted_deviations(speckled, empty) - usual)[:100].mean() > 0.01
    assert (sorted_deviations(faint, empty) - usual)[-40:].mean().item() == pytest.approx(-0.2)


def test_the_focus_is_what_an_images_loss_has_of_the_arm() -> None:
    empty, truth = torch.zeros(3, 20, 20), torch.zeros(2, 3, 20, 20)
    truth[0, 0, 5:8, 5:8] = 0.5  # one channel is enough; with its border 5 x 5 pixels
    weights = focus_weights(truth, empty, 0.75)
    arm = torch.zeros(20, 20, dtype=torch.bool)
    arm[4:9, 4:9] = True
    assert weights[0, 0][arm].sum().item() / 400 == pytest.approx(0.75)
    assert weights[0, 0][~arm].sum().item() / 400 == pytest.approx(0.25)
    torch.testing.assert_close(weights[1], torch.ones(1, 20, 20))  # no arm
    assert pixel_loss(truth, truth + 1, weights).item() == pytest.approx(1)
    torch.testing.assert_close(focus_weights(truth + 0.5, empty, 0.75)[1], torch.ones(1, 20, 20))  # another scene


def test_a_single_pixel_is_not_all_that_counts() -> None:
    empty = torch.zeros(3, 100, 100)
    truth = empty[None].clone()
    truth[..., 50, 50] = 1.0
    assert focus_weights(truth, empty, 0.5)[..., 50, 50].item() < 100  # of 3 x 3 pixels; 555 without a limit


def test_the_r1_penalty_is_half_the_squared_gradient_and_trains_the_discriminator() -> None:
    score = nn.Linear(4, 1, bias=False)
    nn.init.constant_(score.weight, 3.0)
    penalty = r1_penalty(nn.Sequential(nn.Flatten(), score), torch.rand(5, 1, 2, 2))
    assert penalty.item() == pytest.approx(0.5 * 4 * 9)
    penalty.backward()
    assert score.weight.grad is not None
    torch.testing.assert_close(score.weight.grad, score.weight.detach())


def test_both_images_of_a_pair_are_augmented_alike() -> None:
    torch.manual_seed(0)
    image = torch.rand(4, 3, 32, 32) * 2 - 1
    first, second = diff_augment(torch.cat([image, image], dim=1)).chunk(2, dim=1)
    torch.testing.assert_close(first, second)
    assert not torch.equal(first, image)


def numbered(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()


def numbers(images: torch.Tensor) -> list[int]:
    return [int(image.mean()) for image in images]


def test_a_pool_of_no_size_passes_images_on() -> None:
    images = numbered(1, 2)
    assert ImagePool(0).exchange(images) is images


def test_a_pool_passes_images_on_while_it_fills_and_then_half_of_the_old_ones() -> None:
    torch.manual_seed(0)
    pool = ImagePool(4)
    assert numbers(pool.exchange(numbered(1, 2, 3))) == [1, 2, 3]
    assert numbers(pool.exchange(numbered(4))) == [4]
    older, held = 0, {1, 2, 3, 4}
    for number in range(5, 405):
        (given,) = numbers(pool.exchange(numbered(number)))
        assert given in held | {number}
        if given != number:
            older += 1
            held = held - {given} | {number}
        assert {int(image.mean()) for image in pool.images} == held
    assert 160 < older < 240


def test_what_a_pool_holds_does_not_change_with_the_images_it_was_given() -> None:
    pool, images = ImagePool(2), numbered(1, 2)
    pool.exchange(images)
    images.zero_()
    assert numbers(torch.stack(pool.images)) == [1, 2]
