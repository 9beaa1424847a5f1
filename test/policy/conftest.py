"""A bundle of tiny real ONNX graphs that numpy can follow, and whatever is to be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from taskgan_ros.core.config import build
from taskgan_ros.policy.bundle import POLICY, TASK_MODEL, TRANSLATOR, BundleCard, write_bundle

HEIGHT, WIDTH = 6, 8  # not square: a mix-up of the two shows
JOINTS = ("m1n6s200_joint_2", "m1n6s200_joint_1")  # neither all of the arm's nor in its order
WEIGHTS = np.array([[0.5, -0.25], [0.125, 1.0], [-1.0, 0.75]], np.float32)  # exact in binary

Graph = Callable[..., bytes]
MakeBundle = Callable[..., Path]

# F inverts the colours; f_X is a linear map of the mean colour.
TEXT = """
<ir_version: 8, opset_import: ["" : {opset}]>
tiny ({image} image) => ({outputs}) {{
    pixels = Cast<to = 1>(image)
    white = Constant<value = float {{{white}}}>()
    inverted = {translate}
    inverted_bytes = Cast<to = 2>(inverted)
    translated = Identity(inverted_bytes)
    axes = Constant<value = int64[2] {{1, 2}}>()
    levels = Cast<to = 1>(translated)
    mean = ReduceMean<keepdims = 0>(levels, axes)
    weights = Constant<value = float[3, 2] {{{weights}}}>()
    product = MatMul(mean, weights)
    scale = Constant<value = float {{{scale}}}>()
    {command} = Mul(product, scale)
}}
"""


@pytest.fixture
def graph() -> Graph:
    """Return a function that gives a tiny graph as bytes, its type strings and names open to mistakes."""
    onnx = pytest.importorskip("onnx", reason="the `training` extra is needed to make ONNX graphs")
    from taskgan_ros.training.finite_check import add_finite_check

    def make(
        *,
        translate: bool = True,
        outputs: str = "float[N, 2] command, uint8[N, 6, 8, 3] translated",
        image: str = "uint8[N, 6, 8, 3]",
        opset: int = 18,
        scale: str = "1.0",
        white: str = "255.0",
    ) -> bytes:
        named = {text.split()[-1] for text in outputs.split(", ") if " " in text.strip()}
        text = TEXT.format(
            opset=opset,
            image=image,
            outputs=outputs,
            translate="Sub(white, pixels)" if translate else "Identity(pixels)",
            command="speed" if "speed" in named else "command",
            weights=", ".join(str(value) for value in WEIGHTS.ravel()),
            scale=scale,
            white=white,
        )
        model: bytes = add_finite_check(onnx.parser.parse_model(text)).SerializeToString()
        return model

    return make


@pytest.fixture
def card() -> BundleCard:
    return build(
        BundleCard,
        {
            "name": "tiny",
            "task": "joint_velocities",
            "arm": "mico",
            "scene": "reach",
            "target_domain": "target_wood",
            "joint_names": JOINTS,
            "units": "rad/s",
            "label_scale": [0.1, 0.2],
            "image": {"height": HEIGHT, "width": WIDTH},
            "opset": 18,
            "lambda_task": 1.0,
            "recipe": "default",
            "data": {"source_images": 32, "target_images": 16},
            "seeds": {"task_model": 0, "translator": 1},
            "taskgan_version": "0.1.0",
            "export_max_abs_diff": {"command": 1e-8},
            "results": [{"what": "nothing", "command": "true", "figures": {"success_rate": 0.5}}],
        },
        origin="test",
    )


@pytest.fixture
def graphs(graph: Graph) -> dict[str, bytes]:
    return {
        TRANSLATOR: graph(outputs="uint8[N, 6, 8, 3] translated"),
        TASK_MODEL: graph(translate=False, outputs="float[N, 2] command"),
        POLICY: graph(),
    }


@pytest.fixture
def bundle_dir(tmp_path: Path, card: BundleCard, graphs: dict[str, bytes]) -> Path:
    """Return the folder of a bundle without fault."""
    return write_bundle(tmp_path / "tiny", card, graphs, "# Tiny\n").path


@pytest.fixture
def edit_card() -> Callable[..., None]:
    """Return a function that changes fields of a bundle's card on disk; None removes one."""

    def edit(folder: Path, **changes: Any) -> None:
        path = folder / "bundle.yaml"
        values = {**yaml.safe_load(path.read_text()), **changes}
        kept = {key: value for key, value in values.items() if value is not None}
        path.write_text(yaml.safe_dump(kept, sort_keys=False))

    return edit


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
