"""Converts a bundle of format 1 to format 2: its graphs report values that are not finite, its weights stay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from taskgan_ros.core.config import build, read_yaml
from taskgan_ros.core.errors import InputError, OutputExistsError
from taskgan_ros.core.progress import print_line
from taskgan_ros.policy.bundle import (
    CARD,
    GRAPHS,
    GUARD,
    IMAGE,
    JOINT_POS,
    README,
    TRANSLATED,
    Bundle,
    BundleCard,
    read_pictures,
    read_verified,
    write_bundle,
)
from taskgan_ros.training.finite_check import add_finite_check

_CHECKED_IMAGES = 8


@dataclass(frozen=True)
class UpgradeConfig:
    """Convert an older bundle to this version's format."""

    bundle: Path
    """The folder of the older bundle; it stays as it is."""
    out: Path
    """Folder for the new one; must not exist."""


def upgrade(config: UpgradeConfig) -> Bundle:
    """Write the new bundle and return it.

    Raises:
        InputError: no bundle of format 1, a damaged one, an output that exists, or a graph whose results change.
    """
    if config.out.exists():
        raise OutputExistsError(config.out)
    path = config.bundle
    values = read_yaml(path / CARD)
    found = values.get("format") if isinstance(values, dict) else values
    if found != 1:
        raise InputError(f"{path / CARD}: expected format 1, got {found!r}")
    card = build(BundleCard, {**values, "format": 2}, str(path / CARD))
    files = {name: read_verified(path / name, sha256) for name, sha256 in card.files.items()}
    graphs = {name: _with_check(path / name, files[name], card) for name in (*GRAPHS, GUARD) if name in files}
    pictures = read_pictures(path)
    bundle = write_bundle(config.out, card, files | graphs, (path / README).read_text(encoding="utf-8"), pictures)
    what = f"the graphs give the same results as those of {path}, and report values that are not finite"
    print_line(f"{config.out}: format 2; {what}")
    return bundle


def _with_check(path: Path, data: bytes, card: BundleCard) -> bytes:
    """Return the graph with the output `finite`, if its results on noise stay the same, to the last bit."""
    try:
        new: bytes = add_finite_check(onnx.load_from_string(data)).SerializeToString(deterministic=True)
        before, after = (_run(graph, card) for graph in (data, new))
    except Exception as error:  # onnx and onnxruntime have no base class of errors
        raise InputError(f"{path}: expected a graph from `taskgan export`, got: {error}") from error
    changed = [name for name, value in before.items() if not np.array_equal(value, after[name])]
    if changed:
        raise InputError(f"{path}: expected {changed} to be finite and unchanged by the check, got other values")
    return new


def _run(graph: bytes, card: BundleCard) -> dict[str, Any]:
    """Return what a graph gives on noise, by output."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (_CHECKED_IMAGES, *card.image.shape, 3), np.uint8)
    joint_pos = rng.uniform(-np.pi, np.pi, (_CHECKED_IMAGES, len(card.joint_names))).astype(np.float32)
    inputs = {IMAGE: images, TRANSLATED: images[::-1], JOINT_POS: joint_pos}
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(names, {each.name: inputs[each.name] for each in session.get_inputs()})
    return dict(zip(names, outputs, strict=True))
