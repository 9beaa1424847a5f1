"""A bundle's translator in int8, for a CPU: a third less time, measured in docs/node/inference.md.

f_X stays in single precision: it is a twentieth of the work, and in int8 its last layer clips every command that is
larger than those of the calibration.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.data.dataset import Dataset, load_dataset
from taskgan_ros.policy.bundle import (
    IMAGE,
    JOINT_POS,
    POLICY,
    README,
    TRANSLATOR,
    Bundle,
    load_bundle,
    read_pictures,
    write_bundle,
)
from taskgan_ros.policy.policy import Policy
from taskgan_ros.training.lineage import check_domain

Images = NDArray[np.uint8]
Commands = NDArray[np.float64]

_LEAST, _MOST = 20, 400  # images: half for the activations' ranges, half to compare
_QUANTIZED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class QuantizeConfig:
    """Write a bundle whose translator runs in int8, quicker on a CPU."""

    bundle: str
    """A shipped bundle's name or a folder."""
    target: Path
    """A dataset of images that the translator takes: of the bundle's target domain."""
    out: Path
    """Folder for the new bundle; must not exist. It gives the bundle its name."""


def quantize(config: QuantizeConfig) -> Bundle:
    """Write the bundle, print how far its commands are from single precision's, and return it.

    Raises:
        InputError: a bundle without a translator, a dataset of another domain or size, too few images, an output that
            exists.
    """
    check_free(config.out)
    bundle, data = load_bundle(config.bundle), load_dataset(config.target)
    _check(bundle, data, f"target: {config.target}")
    chosen = np.unique(np.linspace(0, len(data) - 1, min(len(data), _MOST)).astype(int))
    ranges, others = np.array_split(chosen, 2)  # of different episodes: images that follow each other are alike
    graph = to_int8(bundle.path / TRANSLATOR, data.images[ranges])
    written = write_int8(bundle, {TRANSLATOR: graph}, config.out)
    rms, largest = difference(*(_commands(each, data, others) for each in (bundle, written)))
    print_line(
        f"{config.out}: {TRANSLATOR} is int8; the commands of {len(others)} other images differ by {100 * rms:.1f} % "
        f"(RMS), {100 * largest:.1f} % at most, of their RMS; check arrivals with `taskgan evaluate`"
    )
    return written


def write_int8(bundle: Bundle, graphs: Mapping[str, bytes], out: Path) -> Bundle:
    """Write the bundle with some of its graphs in int8, by file name, and return it without its measured results."""
    files = {name: (bundle.path / name).read_bytes() for name in bundle.card.files if name != POLICY}  # of both in one
    card = dataclasses.replace(bundle.card, name=out.name, results=(), export_max_abs_diff={})
    own = (bundle.path / README).read_text(encoding="utf-8") if (bundle.path / README).is_file() else ""
    what = " and ".join(f"`{name}`" for name in graphs)
    readme = f"{what}: int8, by `taskgan quantize`. All that follows was measured in single precision.\n\n{own}"
    return write_bundle(out, card, {**files, **graphs}, readme, read_pictures(bundle.path))


def difference(wanted: Commands, found: Commands) -> tuple[float, float]:
    """Return how far commands are from those that are wanted, RMS and at most, as shares of the wanted ones' RMS."""
    usual, error = np.sqrt(np.mean(np.square(wanted))), found - wanted
    return float(np.sqrt(np.mean(np.square(error))) / usual), float(np.abs(error).max() / usual)


def _commands(bundle: Bundle, data: Dataset, chosen: NDArray[np.intp]) -> Commands:
    policy = Policy(bundle)
    return np.stack([policy.act(data.images[[k]], data.joint_pos[[k]].astype(np.float64)).commands for k in chosen])


def _check(bundle: Bundle, data: Dataset, what: str) -> None:
    """Refuse a dataset that is not of what the bundle's translator takes."""
    if TRANSLATOR not in bundle.card.files:
        raise InputError(f"bundle {bundle.card.name}: expected a translator, got a task model alone")
    check_domain(what, bundle.card.target_domain, data.info.domain)
    if data.images.shape[1:3] != bundle.card.image.shape or len(data) < _LEAST:
        height, width = bundle.card.image.shape
        got = f"{len(data)} of {data.images.shape[2]}x{data.images.shape[1]}"
        raise InputError(f"{what}: expected at least {_LEAST} images of {width}x{height}, got {got}")
    if tuple(data.info.joint_names) != bundle.arm.joint_names:
        expected = f"the joints {list(bundle.arm.joint_names)}"
        raise InputError(f"{what}: expected {expected}, got {list(data.info.joint_names)}")


def to_int8(graph: Path, images: Images, excluded: Collection[str] = (), joints: int = 0) -> bytes:
    """Return a graph in int8: weights by channel, activations in ranges found on images.

    Args:
        graph: takes `image`, and `joint_pos` where `joints` are observed.
        images: (N, H, W, 3) uint8 RGB.
        excluded: names of nodes that stay as they are.
        joints: how many are observed; they are at 0.
    """
    with tempfile.TemporaryDirectory() as folder, progress_bar("int8", len(images), "images") as advance:
        prepared, out = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(graph, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            out,
            _Calibration(images, joints, advance),
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_exclude=list(excluded),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return out.read_bytes()


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Images, one by one, as onnxruntime asks for them."""

    def __init__(self, images: Images, joints: int, advance: Callable[..., None]) -> None:
        self._left: Iterator[Images] = iter(images)
        self._observed = {JOINT_POS: np.zeros((1, joints), np.float32)} if joints else {}
        self._advance = advance

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._left, None)
        if image is None:
            return None
        self._advance(1)
        return {IMAGE: image[None], **self._observed}
