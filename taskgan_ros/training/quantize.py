"""A bundle's translator in int8, for a CPU: a third less time, measured in docs/node.md.

f_X stays in single precision: it is a twentieth of the work, and in int8 its last layer cuts off every command that is
larger than those of the calibration.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.data.dataset import Dataset, load_dataset
from taskgan_ros.policy.bundle import IMAGE, POLICY, README, TRANSLATOR, Bundle, load_bundle, write_bundle
from taskgan_ros.policy.policy import Policy
from taskgan_ros.training.lineage import check_domain

Images = NDArray[np.uint8]

_LEAST, _MOST = 20, 400  # images: half for the activations' ranges, half to compare
_MATRICES = ("Gemm", "MatMul")
_QUANTIZED = ("Conv", "ConvTranspose", *_MATRICES)


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
    files = {name: (bundle.path / name).read_bytes() for name in bundle.card.files if name != POLICY}  # of both in one
    # Its results are those of single precision.
    card = dataclasses.replace(bundle.card, name=config.out.name, results=(), export_max_abs_diff={})
    own = (bundle.path / README).read_text(encoding="utf-8") if (bundle.path / README).is_file() else ""
    pictures = {path.name: path.read_bytes() for path in sorted(bundle.path.glob("*.png"))}
    readme = f"`{TRANSLATOR}` is int8, by `taskgan quantize`. All that follows is of single precision.\n\n{own}"
    written = write_bundle(config.out, card, {**files, TRANSLATOR: graph}, readme, pictures)
    print_line(f"{config.out}: {TRANSLATOR} is int8; {_difference(bundle, written, data, others)}")
    return written


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


def to_int8(graph: Path, images: Images, excluded: Collection[str] = ()) -> bytes:
    """Return a graph in int8: weights by channel, activations in ranges found on images.

    Args:
        graph: takes `image`.
        images: (N, H, W, 3) uint8 RGB.
        excluded: names of nodes that stay as they are.
    """
    with tempfile.TemporaryDirectory() as folder, progress_bar("int8", len(images), "images") as advance:
        prepared, out = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(graph, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            out,
            _Calibration(images, advance),
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_exclude=list(excluded),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return out.read_bytes()


def matrices(graph: Path) -> list[str]:
    """Return the names of a graph's matrix products, in order."""
    return [node.name for node in onnx.load(graph).graph.node if node.op_type in _MATRICES]


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Images, one by one, as onnxruntime asks for them."""

    def __init__(self, images: Images, advance: Callable[..., None]) -> None:
        self._left: Iterator[Images] = iter(images)
        self._advance = advance

    def get_next(self) -> dict[str, Images] | None:
        image = next(self._left, None)
        if image is None:
            return None
        self._advance(1)
        return {IMAGE: image[None]}


def _difference(before: Bundle, after: Bundle, data: Dataset, chosen: NDArray[np.intp]) -> str:
    """Return how far the commands of images are from those before, in words."""
    wanted, found = (
        np.stack([policy.act(data.images[[k]], data.joint_pos[[k]].astype(np.float64)).commands for k in chosen])
        for policy in (Policy(before), Policy(after))
    )
    usual, error = np.sqrt(np.mean(np.square(wanted))), found - wanted
    rms, largest = (100 * value / usual for value in (np.sqrt(np.mean(np.square(error))), np.abs(error).max()))
    off = (
        f"the commands of {len(chosen)} other images differ by {rms:.1f} % (RMS), {largest:.1f} % at most, of their RMS"
    )
    return f"{off}; whether they arrive, `taskgan evaluate` says"
