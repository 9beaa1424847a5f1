"""A torch module as an ONNX graph without traces of the machine that made it."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from taskgan_ros.training.finite_check import add_finite_check

OPSET = 18


def to_onnx(graph: nn.Module, example: Sequence[Tensor], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Return `graph` as an ONNX model whose inputs' first dimension is free, with `finite` as a further output.

    Args:
        graph: takes tensors with a batch dimension.
        example: one tensor an input, of at least two items.
        inputs: their names.
        outputs: names of what it gives.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of operators that we do not use
    batch = torch.export.Dim("N", min=1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies, and that inputs share one batch
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            graph.eval(),
            tuple(example),
            path,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple({0: batch} for _ in example),
        )
        return without_traces(add_finite_check(onnx.load(path)))


def without_traces(model: onnx.ModelProto) -> bytes:
    """Return the graph without stack traces of the machine that exported it."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        if hasattr(value, "metadata_props"):
            del value.metadata_props[:]
    del model.metadata_props[:]
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised
