from __future__ import annotations

import pytest
import torch
from torch import Tensor

from taskgan_ros.training.alignment import Alignment


def moved(image: Tensor, **numbers: float) -> Tensor:
    return aligned(**numbers)(image).detach()


def aligned(**numbers: float) -> Alignment:
    alignment = Alignment()
    with torch.no_grad():
        for name, value in numbers.items():
            alignment.warp[int(name[1:])] = value
    return alignment


@pytest.mark.parametrize("size", [(64, 64), (48, 64)])
def test_a_new_alignment_changes_nothing(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size)
    assert torch.allclose(moved(image), image, atol=1e-5)
    assert Alignment().moved_px(*size) == pytest.approx(0, abs=1e-4)


def test_a_shift_is_the_same_number_of_pixels_either_way() -> None:
    image = torch.rand(1, 3, 48, 64)
    right = moved(image, _2=4 / 32)  # the longer side is 2 across
    assert torch.allclose(right[..., :-4], image[..., 4:], atol=1e-5)
    assert torch.allclose(right[..., -4:], image[..., -1:].expand(-1, -1, -1, 4), atol=1e-5)
    down = moved(image, _5=4 / 32)
    assert torch.allclose(down[..., :-4, :], image[..., 4:, :], atol=1e-5)
    assert aligned(_2=3 / 32, _5=4 / 32).moved_px(48, 64) == pytest.approx(5, rel=1e-4)


def test_a_quarter_turn_is_one() -> None:
    image = torch.rand(1, 3, 64, 64)
    turned = moved(image, _0=-1.0, _1=-1.0, _3=1.0, _4=-1.0)
    assert torch.allclose(turned, torch.rot90(image, 1, (2, 3)), atol=1e-4)


@pytest.mark.parametrize("term", ["_8", "_9"])
def test_a_lens_keeps_a_disc_round(term: str) -> None:
    y, x = torch.meshgrid(torch.arange(48) - 23.5, torch.arange(64) - 31.5, indexing="ij")
    disc = (x.square() + y.square() < 20**2).float().expand(1, 3, 48, 64)
    squeezed = moved(disc, **{term: 0.3})
    assert 0.5 < float(squeezed.sum() / disc.sum()) < 0.95
    assert (squeezed - squeezed.flip(2)).abs().max() < 1e-3
    assert (squeezed - squeezed.flip(3)).abs().max() < 1e-3
    high = float(squeezed[0, 0, :, 31].sum())
    assert high == pytest.approx(float(squeezed[0, 0, 23].sum()), abs=1.01)


@pytest.mark.parametrize(("term", "axis"), [("_6", 0), ("_7", 1)])
def test_a_tilt_is_a_homography_of_both_coordinates(term: str, axis: int) -> None:
    image = torch.rand(1, 3, 64, 64)
    tilted = aligned(**{term: 0.2})
    grid = tilted._grid(64, 64)[0].detach()
    x, y = float(grid[10, 60, 0]), float(grid[10, 60, 1])
    u, v = (2 * 60 + 1 - 64) / 64, (2 * 10 + 1 - 64) / 64
    depth = 1 + 0.2 * (u, v)[axis]
    assert (x, y) == pytest.approx((u / depth, v / depth), rel=1e-5)
    assert tilted(image).shape == image.shape
