from __future__ import annotations

import pytest
import torch
from torch import Tensor

from taskgan_ros.training.augment import diff_augment, photometric

EDGE = 13  # the column where dark ends


@pytest.fixture
def edges() -> Tensor:
    """Return many images, dark at the left and bright from column EDGE on."""
    images = torch.full((200, 3, 32, 32), -0.5)
    images[..., EDGE:] = 0.5
    return images


def test_strength_0_changes_nothing(edges: Tensor) -> None:
    assert torch.equal(photometric(edges, 0), edges)


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_photometric_augmentation_moves_nothing(edges: Tensor, strength: float) -> None:
    # Labels are tied to where the camera stands.
    torch.manual_seed(0)
    for images, dim in ((edges, 2), (edges.transpose(2, 3), 3)):
        profile = photometric(images, strength).mean(dim=1).median(dim=dim - 1).values  # across patch and noise
        steps = profile.diff(dim=1)
        assert (steps.argmax(dim=1) == EDGE - 1).all()


def test_photometric_augmentation_stays_in_range_and_changes_each_image_its_own_way(edges: Tensor) -> None:
    torch.manual_seed(0)
    augmented = photometric(edges, 1.0)
    assert augmented.shape == edges.shape
    assert augmented.min() >= -1
    assert augmented.max() <= 1
    means = augmented.mean(dim=(2, 3))
    assert (means.std(dim=0) > 0.1).all()  # brightness
    assert ((means - means.mean(dim=1, keepdim=True)).std() > 0.02).all()  # tint
    assert torch.equal(edges[..., EDGE:], torch.full((200, 3, 32, 32 - EDGE), 0.5))  # the caller's images stay


def test_the_same_seed_augments_the_same_way(edges: Tensor) -> None:
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(photometric(edges[:4], 1.0))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_what_the_discriminator_sees_is_shifted_and_passes_gradients_on(edges: Tensor) -> None:
    torch.manual_seed(0)
    images = edges.clone().requires_grad_()
    seen = diff_augment(images)
    assert seen.shape == images.shape
    places = seen.detach().mean(dim=(1, 2)).diff(dim=1)[:, 4:-4].abs().argmax(dim=1)
    assert len(places.unique()) >= 7  # up to 4 columns to each side
    seen.sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum(dim=(1, 2, 3)) > 0).all()
