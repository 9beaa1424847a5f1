"""Makes a value that is not finite, anywhere in an ONNX graph, show in the graph's outputs.

Networks hide such values. A ReLU gives 0 for minus infinity and, on some devices, for NaN; tanh gives 1 for infinity;
a cast to bytes gives black; an instance norm gives 0 where a square overflows. So:

- A ReLU becomes a leaky ReLU of slope 0: 0 times infinity or NaN is NaN, which reaches the output.
- What goes into another operator that may hide a value is averaged over each image: NaN or infinity shows in the mean.
- The squares of all weights are summed. onnxruntime does that once, when it loads the graph.

The output `finite` (N,) says for each image whether all of that is sound. Float outputs are NaN where it is false, for
callers that do not check it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.onnx_ml_pb2 import GraphProto, ModelProto, NodeProto

from taskgan_ros.policy.bundle import FINITE

_BOOL, _FLOAT = onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT
_MAX_MEAN = 1e9
_MAX_SQUARES = 1e12  # weights below 1e6 let no square in an instance norm overflow, and no trained one comes near
# These give a result that is not finite if an input is not. Any other operator may hide it.
_PASSING = frozenset(
    [
        *("Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "Expand", "Flatten", "Gather"),
        *("GatherND", "Gemm", "Identity", "InstanceNormalization", "LeakyRelu", "MatMul", "Mul", "Pad", "Pow"),
        *("ReduceMean", "ReduceSum", "Reshape", "Round", "Shape", "Slice", "Sqrt", "Squeeze", "Sub", "Transpose"),
        "Unsqueeze",
    ]
)


def add_finite_check(model: ModelProto, looks_inside: bool = True) -> ModelProto:
    """Return `model` with the output `finite` (N,) bool, and NaN in its float outputs for images where that is false.

    Args:
        model: float32 inside; its inputs and outputs have the images as their first dimension.
        looks_inside: False for networks from elsewhere that hold infinite or huge values on purpose, as masks do:
            only outputs are checked then.

    Raises:
        ValueError: it has an output of that name, or a tensor whose type onnx cannot infer.
    """
    model = onnx.shape_inference.infer_shapes(model)
    if any(output.name == FINITE for output in model.graph.output):
        raise ValueError(f"expected a graph without the output {FINITE}, got one that has it")
    for node in model.graph.node:
        if node.op_type == "Relu" and looks_inside:
            node.op_type = "LeakyRelu"
            node.attribute.append(helper.make_attribute("alpha", 0.0))
    _Check(model.graph, looks_inside).add()
    return model


class _Check:
    """Adds nodes to a graph; each method that adds some returns the name of their output."""

    def __init__(self, graph: GraphProto, looks_inside: bool) -> None:
        types = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
        weights = [item.name for item in graph.initializer if item.data_type == _FLOAT]
        known = {*types, *(item.name for item in graph.initializer)}
        if looks_inside and (unknown := {name for node in graph.node for name in node.input if name} - known):
            raise ValueError(f"expected tensors of known types, got {sorted(unknown)}")
        self._graph, self._weights, self._looks_inside = graph, weights, looks_inside
        self._shapes = {
            name: [size.dim_param or size.dim_value for size in kind.shape.dim] if kind.HasField("shape") else None
            for name, kind in types.items()
            if kind.elem_type == _FLOAT and name not in weights
        }
        self._batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param

    def add(self) -> None:
        """Add the output `finite`, and NaN to the others."""
        outputs = [output.name for output in self._graph.output if output.name in self._shapes]
        unchecked = [self._set_aside(name) for name in outputs]
        hidden, weights = (self._hidden(), self._weights) if self._looks_inside else ([], [])
        means = [self._mean(name) for name in dict.fromkeys([*hidden, *unchecked])]
        squares = [self._node("ReduceSumSquare", [name], _own(f"squares/{name}"), keepdims=0) for name in weights]
        sums = [self._is_below("mean", means, _MAX_MEAN), self._is_below("square", squares, _MAX_SQUARES)]
        finite = self._node("And", sums, FINITE)
        self._graph.output.append(helper.make_tensor_value_info(finite, _BOOL, [self._batch]))
        for name in outputs:
            axes = self._axes(range(1, len(self._shapes[_unchecked(name)] or [])))
            where = self._node("Unsqueeze", [finite, axes], _own(f"is_sound/{name}"))
            self._node("Where", [where, _unchecked(name), self._constant("nan", np.float32(np.nan))], name)

    def _hidden(self) -> list[str]:
        """Return the activations that go into operators which may hide that they are not finite."""
        names = [name for node in self._graph.node if not self._passes(node) for name in node.input]
        return [name for name in names if name in self._shapes]

    def _passes(self, node: NodeProto) -> bool:
        return node.op_type in _PASSING or (node.op_type == "Div" and node.input[1] in self._weights)

    def _set_aside(self, output: str) -> str:
        """Rename an output, so that the checked one can take its name."""
        name = _unchecked(output)
        for node in self._graph.node:
            for names in (node.input, node.output):
                names[:] = [name if each == output else each for each in names]
        self._shapes[name] = self._shapes.pop(output)
        return name

    def _mean(self, name: str) -> str:
        """Add the mean of each image, (N,), or of the whole tensor where its first dimension is not the images'.

        In graphs from elsewhere, onnx cannot infer every shape.
        """
        shape = self._shapes[name]
        if shape is None:
            return self._node("ReduceMean", [name], _own(f"mean/{name}"), keepdims=0)
        first = int(bool(shape) and shape[0] == self._batch)
        if len(shape) == first:
            return name
        return self._node("ReduceMean", [name, self._axes(range(first, len(shape)))], _own(f"mean/{name}"), keepdims=0)

    def _is_below(self, what: str, numbers: Sequence[str], limit: float) -> str:
        """Add whether the numbers' sum is smaller than `limit`, which NaN is not."""
        total = self._node("Sum", [*numbers, self._constant("zero", np.float32(0))], _own(f"{what}_sum"))
        size = self._node("Abs", [total], _own(f"{what}_size"))
        return self._node("Less", [size, self._constant(f"{what}_limit", np.float32(limit))], _own(f"{what}_is_sound"))

    def _axes(self, axes: range) -> str:
        return self._constant("axes_" + "_".join(map(str, axes)), np.array(axes, np.int64))

    def _constant(self, name: str, value: np.ndarray | np.generic) -> str:
        name = _own(name)
        if all(item.name != name for item in self._graph.initializer):
            self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self._graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output


def _unchecked(output: str) -> str:
    return _own(f"unchecked/{output}")


def _own(name: str) -> str:
    """Return a name that no exporter gives."""
    return f"{FINITE}/{name}"
