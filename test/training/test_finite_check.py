from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from taskgan_ros.policy.bundle import COMMAND, FINITE, IMAGE, TASK_MODEL, TRANSLATED, TRANSLATOR
from taskgan_ros.training.finite_check import add_finite_check
from taskgan_ros.training.networks import Generator, GeneratorConfig, TaskModel
from taskgan_ros.training.onnx_graph import to_onnx
from taskgan_ros.training.steps.export import TaskModelGraph, TranslatorGraph

SIZE = 16
NAMES = TRANSLATOR, TASK_MODEL
IMAGES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
BAD = (np.nan, np.inf, -np.inf, 1e30)


@pytest.fixture(scope="module")
def graphs() -> dict[str, onnx.ModelProto]:
    """Return the graphs of small networks, with their checks."""
    torch.manual_seed(0)
    translate = TranslatorGraph(Generator(GeneratorConfig(widths=(4, 8), blocks=1, stem_stride=2, skips=True)))
    predict = TaskModelGraph(TaskModel(2, (SIZE, SIZE)), np.array([0.1, 0.2], np.float32))
    networks: dict[str, tuple[nn.Module, list[str]]] = {
        TRANSLATOR: (translate, [TRANSLATED]),
        TASK_MODEL: (predict, [COMMAND]),
    }
    example = [torch.from_numpy(IMAGES[:2])]
    return {
        name: onnx.load_from_string(to_onnx(graph, example, [IMAGE], outputs))
        for name, (graph, outputs) in networks.items()
    }


def run(model: onnx.ModelProto, images: NDArray[np.uint8] = IMAGES) -> dict[str, NDArray[np.float64]]:
    """Return what the graph gives, by output."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {IMAGE: images}), strict=True))


def is_seen(model: onnx.ModelProto) -> bool:
    """Return whether every output that can tell says that no image is sound."""
    outputs = run(model)
    return not outputs[FINITE].any() and bool(np.isnan(outputs.get(COMMAND, np.nan)).all())


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def own_weights(model: onnx.ModelProto) -> list[str]:
    kinds = {item.name: item.data_type for item in model.graph.initializer}
    return [name for name, kind in kinds.items() if kind == onnx.TensorProto.FLOAT and not name.startswith(FINITE)]


def with_weight(model: onnx.ModelProto, name: str, value: float) -> onnx.ModelProto:
    """Return the graph with one number of a weight, in the middle of it, replaced."""
    copy = copy_of(model)
    weight = next(item for item in copy.graph.initializer if item.name == name)
    values = numpy_helper.to_array(weight).copy()
    values.reshape(-1)[values.size // 2] = value
    weight.CopyFrom(numpy_helper.from_array(values, name))
    return copy


def activations(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shapes, without the images, of what the networks make on the way."""
    own = {name for node in model.graph.node for name in node.output if not name.startswith(FINITE)}
    types = {value.name: value.type.tensor_type for value in model.graph.value_info}
    return {
        name: tuple(size.dim_value for size in types[name].shape.dim[1:])
        for name in sorted(own & set(types))
        if types[name].elem_type == onnx.TensorProto.FLOAT
    }


def with_activation(
    model: onnx.ModelProto, name: str, shape: tuple[int, ...], value: float, image: int | None = None
) -> onnx.ModelProto:
    """Return the graph with one number of an activation off by `value`, of one image or all: an engine's overflow."""
    copy = copy_of(model)
    offset = np.zeros((len(IMAGES), *shape), np.float32)
    rows = offset.reshape(len(IMAGES), -1)
    rows[slice(None) if image is None else image, rows.shape[1] // 2] = value
    copy.graph.initializer.append(numpy_helper.from_array(offset, "offset"))
    place = next(k for k, node in enumerate(copy.graph.node) if name in node.output)
    for node in copy.graph.node[place + 1 :]:
        node.input[:] = ["spoilt" if each == name else each for each in node.input]
    copy.graph.node.insert(place + 1, onnx.helper.make_node("Add", [name, "offset"], ["spoilt"]))
    return copy


@pytest.mark.parametrize("name", NAMES)
def test_sound_networks_are_finite(graphs: dict[str, onnx.ModelProto], name: str) -> None:
    outputs = run(graphs[name])
    assert outputs[FINITE].dtype == bool
    assert outputs[FINITE].tolist() == [True] * len(IMAGES)
    assert np.isfinite(outputs.get(COMMAND, 0.0)).all()


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", NAMES)
def test_a_weight_that_is_not_finite_or_absurd_is_seen_wherever_it_is(
    graphs: dict[str, onnx.ModelProto], name: str, value: float
) -> None:
    weights = own_weights(graphs[name])
    assert len(weights) > 10
    assert [weight for weight in weights if not is_seen(with_weight(graphs[name], weight, value))] == []


@pytest.mark.parametrize("value", BAD[:3])
def test_an_activation_that_is_not_finite_is_seen_wherever_it_is(
    graphs: dict[str, onnx.ModelProto], value: float
) -> None:
    for graph in graphs.values():
        shapes = activations(graph)
        assert len(shapes) > 10
        assert [name for name, shape in shapes.items() if not is_seen(with_activation(graph, name, shape, value))] == []


def test_one_image_does_not_affect_the_check_of_another(graphs: dict[str, onnx.ModelProto]) -> None:
    graph, expected = graphs[TASK_MODEL], run(graphs[TASK_MODEL])
    spoilt = with_activation(graph, "conv2d", activations(graph)["conv2d"], np.nan, image=1)
    outputs = run(spoilt)
    assert outputs[FINITE].tolist() == [True, False, True]
    assert np.isnan(outputs[COMMAND]).all(axis=1).tolist() == [False, True, False]
    np.testing.assert_array_equal(outputs[COMMAND][[0, 2]], expected[COMMAND][[0, 2]])


TINY = """
<ir_version: 8, opset_import: ["" : 18]>
tiny (float[N, 4] x) => (float[N, 4] y, uint8[N, 4] bytes)
<float[4] w = {{1, -1, 2, 0.5}}>
{{
    product = Mul(x, w)
    y = {hides}
    bytes = Cast<to = 2>(y)
}}
"""


@pytest.mark.parametrize(
    "hides", ["Relu(product)", "Tanh(product)", "Sigmoid(product)", "Erf(product)", "Exp(product)", "Div(w, product)"]
)
def test_any_operator_that_hides_a_value_is_looked_into(hides: str) -> None:
    model = onnx.parser.parse_model(TINY.format(hides=hides))
    before = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    after = onnxruntime.InferenceSession(
        add_finite_check(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(0).uniform(0.5, 1.0, (5, 4)).astype(np.float32)
    np.testing.assert_array_equal(after.run(["y"], {"x": x})[0], before.run(["y"], {"x": x})[0])
    x[[0, 1, 2], [3, 2, 1]] = np.nan, np.inf, -np.inf
    finite, y = after.run([FINITE, "y"], {"x": x})
    assert finite.tolist() == [False, False, False, True, True]
    assert np.isnan(y).all(axis=1).tolist() == [True, True, True, False, False]


def test_a_graph_gets_one_check_only() -> None:
    model = add_finite_check(onnx.parser.parse_model(TINY.format(hides="Relu(product)")))
    with pytest.raises(ValueError, match="expected a graph without the output finite"):
        add_finite_check(model)
