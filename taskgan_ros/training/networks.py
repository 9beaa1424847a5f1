"""The networks of section 3.2, and a smaller generator for the default recipe."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from taskgan_ros.core.config import load, resolve
from taskgan_ros.core.schema import Field, config_dataclass, whole_rule

_INIT_STD = 0.02  # CycleGAN's, which the paper adapts
_LEAK = 0.2  # the paper's
_CONVOLUTION = 4  # dimensions of its weights
_NORM = 3  # dimensions of a group norm's
_GROUPS = 8  # of a group norm, where they divide the filters
_BFLOAT16_UNITS = "avx512_bf16", "amx_bf16"  # of CPUs
_BATCH = 64  # images a pass; more are no faster on a CPU


@config_dataclass
class GeneratorConfig:
    """The shape of a generator; `GeneratorConfig()` is the paper's.

    Attributes:
        widths: filters at each resolution, finest first; each after the first halves the resolution.
        blocks: residual blocks at the coarsest resolution.
        stem_kernel: of the first and the last convolution.
        stem_stride: 1 is the paper's; 2 starts at half resolution and ends in a pixel shuffle.
        skips: whether the decoder also sees the encoder's activations.
        merges: whether a convolution, norm and ReLU follow each skip (Ronneberger et al. 2015). Without them, the
            finest activations reach the output through the last convolution alone, which cannot choose among them.
    """

    widths: Annotated[tuple[int, ...], Field(min_length=2)] = (32, 64, 128)
    blocks: Annotated[int, Field(ge=0)] = 6
    stem_kernel: Annotated[int, Field(ge=3)] = 7
    stem_stride: Annotated[int, Field(ge=1, le=2)] = 1
    skips: bool = False
    merges: bool = False

    @whole_rule
    def _has_what_it_merges(self) -> None:
        if self.merges and not self.skips:
            raise ValueError("merges: expected skips to merge, got skips: false")

    @property
    def stride(self) -> int:
        """How many pixels one step at the coarsest resolution is; images must divide by it."""
        return self.stem_stride * 2 ** (len(self.widths) - 1)


def _normed(convolution: nn.Module, filters: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.InstanceNorm2d(filters), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """`Rk`: two 3x3 convolutions with instance norm, and a skip connection."""

    def __init__(self, filters: int) -> None:
        """Build a block of `filters` in and out."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(filters, filters, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(filters),
            nn.ReLU(inplace=True),
            nn.Conv2d(filters, filters, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(filters),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, C, H, W) plus the block's output."""
        return x + self.body(x)


class Generator(nn.Module):
    """G or F: an image (N, 3, H, W) in [-1, 1] to one of the other domain, same size and range.

    The default configuration is the paper's `c7s1-32, d64, d128, 6 x R128, u64, u32, c7s1-3`.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        """Build the encoder, the residual blocks and the decoder."""
        super().__init__()
        widths, kernel, stride = config.widths, config.stem_kernel, config.stem_stride
        pad = kernel // 2
        stem = nn.Conv2d(3, widths[0], kernel, stride, pad, padding_mode="reflect")
        self.encoder = nn.ModuleList([_normed(stem, widths[0])])
        for fine, coarse in pairwise(widths):
            self.encoder.append(_normed(nn.Conv2d(fine, coarse, 3, 2, 1), coarse))
        self.blocks = nn.Sequential(*[ResidualBlock(widths[-1]) for _ in range(config.blocks)])
        both = 2 if config.skips and not config.merges else 1
        self.decoder, self.merges = nn.ModuleList(), nn.ModuleList()
        for k in range(len(widths) - 1, 0, -1):
            fine, wide = widths[k - 1], widths[k] * (both if k < len(widths) - 1 else 1)
            self.decoder.append(_normed(nn.ConvTranspose2d(wide, fine, 3, 2, 1, output_padding=1), fine))
            if config.merges:
                self.merges.append(_normed(nn.Conv2d(2 * fine, fine, 3, padding=1), fine))
            elif config.skips:
                self.merges.append(nn.Identity())
        last = widths[0] * both
        self.head = nn.Sequential(
            nn.Conv2d(last, 3 * stride**2, kernel, padding=pad, padding_mode="reflect"),
            nn.PixelShuffle(stride) if stride > 1 else nn.Identity(),
            nn.Tanh(),
        )
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Translate `image` (N, 3, H, W); H and W divisible by the generator's total stride."""
        activations = []
        x = image
        for layer in self.encoder:
            x = layer(x)
            activations.append(x)
        x = self.blocks(activations.pop())
        for k, layer in enumerate(self.decoder):
            x = layer(x)
            if self.merges:
                x = self.merges[k](torch.cat([x, activations.pop()], dim=1))
        translated: Tensor = self.head(x)
        return translated


class Discriminator(nn.Module):
    """D: an image (N, C, H, W) in [-1, 1] to a score for each patch (N, 1, h, w): 14x14 patches at 128x128."""

    def __init__(self, sigmoid: bool = True, channels: int = 3) -> None:
        """Build `C-s2-32-R, C-s2-64-NR, C-s2-128-NR, C-s1-256-NR, C-s1-1`, the paper's sigmoid last where requested.

        Six `channels` are two images stacked, pix2pix's input and output.
        """
        super().__init__()
        leak = nn.LeakyReLU(_LEAK, inplace=True)
        layers: list[nn.Module] = [nn.Conv2d(channels, 32, 4, 2, 1), leak]
        for fine, coarse, stride in ((32, 64, 2), (64, 128, 2), (128, 256, 1)):
            layers += [nn.Conv2d(fine, coarse, 4, stride, 1), nn.InstanceNorm2d(coarse), leak]
        layers.append(nn.Conv2d(256, 1, 4, 1, 1))
        if sigmoid:
            layers.append(nn.Sigmoid())
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Score `image`: near 1 real, near 0 generated."""
        score: Tensor = self.layers(image)
        return score


@config_dataclass
class TaskModelShape:
    """The shape of a task model; `TaskModelShape()` is the paper's.

    Attributes:
        widths: filters at each resolution, finest first; each halves the resolution.
        blocks: residual blocks at each resolution but the finest.
        coordinates: whether the network also sees each pixel's column and row (Liu et al. 2018).
        norm: whether group norms follow the convolutions (Wu and He 2018).
        positions: whether the last feature maps are read as the places where they are strong (Finn et al. 2016), and
            not pixel by pixel.
    """

    widths: Annotated[tuple[int, ...], Field(min_length=1)] = (16, 32, 64, 128, 128)
    blocks: Annotated[int, Field(ge=0)] = 0
    coordinates: bool = False
    norm: bool = False
    positions: bool = False


def load_shape(name_or_path: str) -> TaskModelShape:
    """Return a shipped shape by name, or the one in a user's file.

    Raises:
        InputError: unknown name, or a file that does not describe a shape.
    """
    return load(TaskModelShape, resolve("networks", name_or_path))


def shape_of(weights: Mapping[str, tuple[int, ...]]) -> TaskModelShape:
    """Return the shape of the task model that has these weights, each with its own shape, by name."""
    layers = sorted(
        (int(match[1]), size)
        for name, size in weights.items()
        if (match := re.fullmatch(r"extractor\.(\d+)\.weight", name))
    )
    convolutions = [size for _, size in layers if len(size) == _CONVOLUTION]
    blocks = sum(bool(re.fullmatch(r"extractor\.\d+\.body\.0\.weight", name)) for name in weights)
    widths = tuple(size[0] for size in convolutions) or TaskModelShape().widths
    seen = convolutions[0][1] if convolutions else 3
    return TaskModelShape(
        widths=widths,
        blocks=blocks // max(1, len(widths) - 1),
        coordinates=seen > 3,
        norm=any(len(size) == _NORM for _, size in layers),
        positions=any(name.endswith(".sharpness") for name in weights),
    )


def _convolved(fine: int, coarse: int, stride: int, norm: bool) -> list[nn.Module]:
    """Return a 3x3 convolution, and its group norm where it has one."""
    convolution = nn.Conv2d(fine, coarse, 3, stride, 1, bias=not norm)
    return [convolution, GroupNorm(coarse)] if norm else [convolution]


class GroupNorm(nn.Module):
    """A group norm whose parameters have a feature map's dimensions: an exported graph keeps those by their names."""

    def __init__(self, filters: int) -> None:
        """Start with weights of 1; groups are 8, or as many as divide both."""
        super().__init__()
        self._groups = math.gcd(filters, _GROUPS)
        self.weight = nn.Parameter(torch.ones(filters, 1, 1))
        self.bias = nn.Parameter(torch.zeros(filters, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, C, H, W) with mean `bias` and deviation `weight`, each group of it, each image by itself."""
        return functional.group_norm(x, self._groups) * self.weight + self.bias


def _along(x: Tensor, dim: int) -> Tensor:
    """Return, for each element of x, where it is along `dim`, from -1 to 1; no linspace, which exports one size."""
    count = x.shape[dim]
    return (2 * torch.ones_like(x).cumsum(dim) - (count + 1)) / max(count - 1, 1)


class TaskModelBlock(nn.Module):
    """Two 3x3 convolutions and a skip connection; without a norm it starts as the identity (Zhang et al. 2019)."""

    def __init__(self, filters: int, norm: bool = False) -> None:
        """Build a block of `filters` in and out."""
        super().__init__()
        last = _convolved(filters, filters, 1, norm)
        if not norm:
            for values in last[0].parameters():
                nn.init.zeros_(values)
        self.body = nn.Sequential(*_convolved(filters, filters, 1, norm), nn.ReLU(inplace=True), *last)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, C, H, W) plus the block's output."""
        return functional.relu(x + self.body(x))


class FeaturePositions(nn.Module):
    """Where each feature map is strong, and how strong: a spatial soft-argmax (Finn et al. 2016) and the maximum.

    Attributes:
        sharpness: (C, 1) learned; the larger, the nearer a position is to the maximum.
    """

    def __init__(self, filters: int) -> None:
        """Start with a sharpness of 1."""
        super().__init__()
        self.sharpness = nn.Parameter(torch.ones(filters, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return columns and rows in [-1, 1] and maxima of x (N, C, H, W), as (N, 3 C)."""
        share = torch.softmax(x.flatten(2) * self.sharpness, dim=-1).view(x.shape)
        column, row = ((share * _along(x[:1, :1], dim)).sum(dim=(2, 3)) for dim in (3, 2))
        return torch.cat([column, row, x.amax(dim=(2, 3))], dim=1)


class Coordinates(nn.Module):
    """Adds two channels to an image: each pixel's column and row, from -1 to 1."""

    def forward(self, image: Tensor) -> Tensor:
        """Return `image` (N, C, H, W) as (N, C + 2, H, W)."""
        return torch.cat([image, *(_along(image[:, :1], dim) for dim in (3, 2))], dim=1)


class TaskModel(nn.Module):
    """f: an image (N, 3, H, W) in [-1, 1] to standardised labels (N, J)."""

    FEATURES = 256

    def __init__(
        self, outputs: int, image_size: tuple[int, int] = (128, 128), shape: TaskModelShape | None = None
    ) -> None:
        """Build the convolutions, `fc` and the output layer for images of (height, width).

        By default they are the paper's: `c-16, c-32, c-64, c-128, c-128`.
        """
        super().__init__()
        shape = shape or TaskModelShape()
        layers: list[nn.Module] = [Coordinates()] if shape.coordinates else []
        height, width = image_size
        for k, (fine, coarse) in enumerate(pairwise((5 if shape.coordinates else 3, *shape.widths))):
            layers += [*_convolved(fine, coarse, 2, shape.norm), nn.ReLU(inplace=True)]
            layers += [TaskModelBlock(coarse, shape.norm) for _ in range(shape.blocks if k else 0)]
            height, width = (height + 1) // 2, (width + 1) // 2
        self.extractor = nn.Sequential(*layers, *self._head(shape, height * width))
        self.output = nn.Linear(self.FEATURES, outputs)

    def _head(self, shape: TaskModelShape, pixels: int) -> list[nn.Module]:
        """Return the layers from the last feature maps to features; positions need one more layer to become angles."""
        filters, count = shape.widths[-1], self.FEATURES
        if not shape.positions:
            return [nn.Flatten(), nn.Linear(filters * pixels, count), nn.ReLU(inplace=True)]
        first = [FeaturePositions(filters), nn.Flatten(), nn.Linear(3 * filters, count), nn.ReLU(inplace=True)]
        return [*first, nn.Linear(count, count), nn.ReLU(inplace=True)]

    @torch.no_grad()
    def begin_at(self, labels: Tensor) -> None:
        """Begin at the mean of standardised labels (N, J): those of joint angles lie many deviations from 0."""
        self.output.bias.copy_(labels.mean(dim=0))

    def forward(self, image: Tensor) -> Tensor:
        """Predict from `image`."""
        prediction: Tensor = self.output(self.extractor(image))
        return prediction


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the hardware multiplies bfloat16; a CPU that emulates it is slower than in float32."""
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not tell
    return device.type == "cuda" or any(features.get(unit) for unit in _BFLOAT16_UNITS)


def autocast(device: torch.device) -> torch.autocast:
    """Return the context for networks: bfloat16 where the hardware multiplies it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device))


def to_network(images: Tensor) -> Tensor:
    """Return images (N, H, W, 3) uint8 as (N, 3, H, W) float32 in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Return images (N, 3, H, W) in [-1, 1] as (N, H, W, 3) uint8, rounded."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


@torch.no_grad()
def run_batches(
    network: Callable[..., Tensor], *inputs: NDArray[Any], device: torch.device | str = "cpu"
) -> NDArray[Any]:
    """Return the output of `network` for `inputs`, arrays (N, ...), a few items at a time."""
    batches = zip(*(torch.from_numpy(values).split(_BATCH) for values in inputs), strict=True)
    return torch.cat([network(*(part.to(device) for part in batch)).cpu() for batch in batches]).numpy()


def upscale(images: Tensor, factor: int) -> Tensor:
    """Return images (N, 3, H, W) enlarged without smoothing, for looking at."""
    return functional.interpolate(images, scale_factor=factor, mode="nearest")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, _INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
