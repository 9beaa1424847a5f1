"""Draw camera images as the simulated camera would have seen them.

The real camera's pose and lens differ a little from the simulated camera's. A translator cannot correct that, as it
learned to keep everything in place. A homography corrects a rotated camera exactly, and a shifted one nearly, if
objects are far away; two radial terms correct the lens (Brown 1966). That is ten numbers, and one image with its plain
render has 16 384 pixels to fit them to (Lucas and Kanade 1981).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_NUMBERS = 10


class Alignment(nn.Module):
    """A homography and two radial terms, over a picture (N, 3, H, W); it starts as the identity.

    Coordinates are 0 in the middle and 1 at the ends of the longer side. A pixel at p is taken from
    h(p (1 + a r² + b r⁴)), with r its distance from the middle and h a homography whose lower right number is 1.
    """

    def __init__(self) -> None:
        """Start as the identity."""
        super().__init__()
        self.warp = nn.Parameter(torch.zeros(_NUMBERS))

    def forward(self, image: Tensor) -> Tensor:
        """Return the aligned picture; border pixels are repeated outside of the image."""
        grid = self._grid(image.shape[2], image.shape[3]).expand(image.shape[0], -1, -1, -1)
        return functional.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _grid(self, height: int, width: int) -> Tensor:
        """Return from where each pixel is taken (1, H, W, 2), in the coordinates of `grid_sample`."""
        x, y = _places(height, width, self.warp)
        warp, squared = self.warp, x.square() + y.square()
        radial = 1 + warp[8] * squared + warp[9] * squared.square()
        x, y = x * radial, y * radial
        depth = 1 + warp[6] * x + warp[7] * y
        column = (x + warp[0] * x + warp[1] * y + warp[2]) / depth
        row = (y + warp[3] * x + warp[4] * y + warp[5]) / depth
        longer = max(height, width)
        return torch.stack([column * (longer / width), row * (longer / height)], dim=-1)[None]

    @torch.no_grad()
    def moved_px(self, height: int, width: int) -> float:
        """Return by how many pixels the alignment moves a picture, on average over it."""
        x, y = _places(height, width, self.warp)
        longer = max(height, width)
        here = torch.stack([x * (longer / width), y * (longer / height)], dim=-1)
        pixels = torch.tensor([width / 2, height / 2], device=self.warp.device)
        moved = (self._grid(height, width)[0] - here) * pixels
        return float(moved.norm(dim=-1).mean())


def _places(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixels' coordinates x and y, each (H, W), of the device and precision of `like`."""
    longer = max(height, width)
    columns, rows = (
        (2 * torch.arange(count, device=like.device, dtype=like.dtype) + 1 - count) / longer
        for count in (width, height)
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return x, y
