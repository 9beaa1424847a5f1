"""Somebody else's task model, an ONNX file, as the graph that a bundle holds: understood, wrapped, compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.onnx_ml_pb2 import GraphProto, ModelProto, NodeProto, TensorProto

from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.bundle import COMMAND, IMAGE, JOINT_POS
from taskgan_ros.policy.graph import Signature, Tensor, read_signature
from taskgan_ros.training.onnx_graph import OPSET

Array = NDArray[np.float64]
Layout = Literal["NCHW", "NHWC"]
Scale = Literal["0..255", "0..1", "-1..1"]

LEAST_PIXELS = 16  # per side; a smaller picture cannot show an arm
_TYPES = {"uint8": TensorProto.UINT8, "float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT,
          "float64": TensorProto.DOUBLE}  # fmt: skip
_INNER = "inner/"  # before every name of theirs, so that none is one of ours


@dataclass(frozen=True)
class Normalisation:
    """The normalisation in training: a task model takes `(value - mean) / std` and gives `(command - mean) / std`.

    Attributes:
        scale: the pixels' range before `mean` and `std` are applied.
        mean, std: (3,) of the colours, in units of `scale`.
        is_bgr: whether it takes blue first.
        joint_mean, joint_std: (Jo,) of the joint positions, in units of `angle`.
        action_mean, action_std: (J,) of the commands, likewise.
        angle: how many of its units are a radian.
    """

    scale: Scale
    mean: Array
    std: Array
    is_bgr: bool
    joint_mean: Array
    joint_std: Array
    action_mean: Array
    action_std: Array
    angle: float = 1.0

    def pixels(self, image: NDArray[np.uint8]) -> Array:
        """Return what it takes of an image (..., 3) uint8 RGB, channels last."""
        divisor, offset = _RANGES[self.scale]
        return ((image[..., ::-1] if self.is_bgr else image) / divisor + offset - self.mean) / self.std

    def joints(self, joint_pos: Array) -> Array:
        """Return what it takes of joint positions (..., Jo) rad."""
        return (joint_pos * self.angle - self.joint_mean) / self.joint_std

    def command(self, action: Array) -> Array:
        """Return the command, rad or rad/s, that an action (..., J) of its stands for."""
        return (action * self.action_std + self.action_mean) / self.angle


_RANGES = {"0..255": (1.0, 0.0), "0..1": (255.0, 0.0), "-1..1": (127.5, -1.0)}  # divided by, then added


@dataclass(frozen=True)
class TaskModelOnnx:
    """A task model's graph, and which of its inputs and outputs are what.

    Attributes:
        path: of the file.
        model: with all weights in it.
        opset: of its operators.
        image: the input that takes images; its batch is free or 1.
        layout: of that.
        size: height and width of the images.
        joint_pos: the input that takes joint positions, or None.
        output: what it gives.
    """

    path: Path
    model: ModelProto
    opset: int
    image: Tensor
    layout: Layout
    size: tuple[int, int]
    joint_pos: Tensor | None
    output: Tensor

    def run(self, pixels: Array, joints: Array) -> Array:
        """Return its action (J,) or (K, J) for pixels (H, W, 3) and joint positions (Jo,), both in its own units.

        Raises:
            InputError: it fails on them.
        """
        inputs = {self.image.name: _typed(self.image, np.moveaxis(pixels, -1, 0) if self.is_nchw else pixels)}
        if self.joint_pos:
            inputs[self.joint_pos.name] = _typed(self.joint_pos, joints)
        try:
            (action,) = self._session.run([self.output.name], inputs)
        except Exception as error:  # onnxruntime's exceptions share no other base class
            raise InputError(f"{self.path}: expected it to run on a single image, got: {first_line(error)}") from error
        if action.ndim not in (2, 3) or len(action) != 1:
            expected = "of shape [1, joints] or [1, steps, joints] for one image"
            raise InputError(f"{self.path}: expected an output {self.output.name} {expected}, got {list(action.shape)}")
        return np.asarray(action[0], np.float64)

    @property
    def is_nchw(self) -> bool:
        """Whether channels come before rows."""
        return self.layout == "NCHW"

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(self.model.SerializeToString())


def read_task_model(
    path: Path, image_input: str | None = None, joint_input: str | None = None, output: str | None = None,
    layout: Layout | None = None, size: tuple[int, int] | None = None,
) -> TaskModelOnnx:  # fmt: skip
    """Return the task model of an ONNX file, with weights that lie beside it.

    Args:
        path: the file.
        image_input: the name of the input that takes images; None for the only one of four dimensions.
        joint_input: the name of the input that takes joint positions; None for the only other one, if there is any.
        output: the name of the output that is the action; None for the only one.
        layout: of the images; None for the one that the input's shape is of.
        size: height and width, where the graph leaves them free.

    Raises:
        InputError: no ONNX file, one that needs a newer onnxruntime, or inputs and outputs that do not fit.
    """
    model = _load(path)
    signature = _signature(model, path)
    image = _pick(path, "input", "image_input", image_input, signature.inputs, lambda t: len(t.shape) == 4)
    others = tuple(tensor for tensor in signature.inputs if tensor is not image)
    joint_pos = _pick(path, "input", "joint_input", joint_input, others, lambda t: True) if others else None
    if left := [tensor for tensor in others if tensor is not joint_pos]:
        expected = "expected no inputs but an image and joint positions"
        raise InputError(f"{path}: {expected}, got {'; '.join(map(str, left))} too")
    if joint_input and joint_pos is None:
        raise InputError(f"{path}: expected joint_input to be an input beside {image.name}, got {joint_input!r}: none")
    action = _pick(path, "output", "output", output, signature.outputs, lambda t: True)
    _check_types(path, image, joint_pos, action)
    layout, size = _read_shape(path, image, layout, size)
    return TaskModelOnnx(path, model, signature.opset, image, layout, size, joint_pos, action)


def wrap(task_model: TaskModelOnnx, units: Normalisation, steps: int | None) -> ModelProto:
    """Return it as a bundle's graph: uint8 NHWC RGB and rad in, rad or rad/s out, any number of images.

    Args:
        task_model: what `read_task_model` returned.
        units: what it takes and gives.
        steps: K of its action chunk, or None for one command of shape (N, J).

    Raises:
        InputError: an opset too old to be converted.
    """
    model = _with_opset(task_model)
    model = onnx.compose.add_prefix(model, _INNER)
    shape = [-1, len(units.action_std)] if steps is None else [-1, steps, len(units.action_std)]
    observed = [_prepare_image(task_model, units)]
    inputs = [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["N", *task_model.size, 3])]
    if task_model.joint_pos:
        observed.append(_prepare_joints(task_model.joint_pos, units))
        inputs.append(helper.make_tensor_value_info(JOINT_POS, TensorProto.FLOAT, ["N", len(units.joint_std)]))
    command = _Chain(_INNER + task_model.output.name).then("Cast", to=TensorProto.FLOAT)
    command.then("Reshape", np.array(shape, np.int64))
    command.then("Mul", units.action_std).then("Add", units.action_mean).then("Div", np.array(units.angle))
    _surround(model.graph, observed, command.end(COMMAND))
    model.graph.input.extend(inputs)
    model.graph.output.append(helper.make_tensor_value_info(COMMAND, TensorProto.FLOAT, ["N", *shape[1:]]))
    model.ir_version = max(model.ir_version, 8)  # from 4 on, weights need not be inputs too
    return model


def open_session(data: bytes) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on the CPU that logs nothing: its exceptions say it all."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class _Chain:
    """Nodes in a row, each of which takes what the one before gives, and constants."""

    def __init__(self, start: str) -> None:
        self._start, self.value = start, start
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def then(self, kind: str, *constants: NDArray[Any], **attributes: Any) -> _Chain:
        """Add a node; float constants become float32."""
        names = []
        for array in constants:
            names.append(f"{self._start}/constant_{len(self.constants)}")
            plain = array.astype(np.float32) if array.dtype == np.float64 else array
            self.constants.append(numpy_helper.from_array(plain, names[-1]))
        output = f"{self._start}/value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.value, *names], [output], **attributes))
        self.value = output
        return self

    def end(self, name: str) -> _Chain:
        """Give the last value its name."""
        self.nodes.append(helper.make_node("Identity", [self.value], [name]))
        return self


def _prepare_image(task_model: TaskModelOnnx, units: Normalisation) -> _Chain:
    chain = _Chain(IMAGE)
    if units.is_bgr:
        chain.then("Gather", np.array([2, 1, 0]), axis=3)
    if task_model.image.dtype != "uint8":
        divisor, offset = _RANGES[units.scale]
        chain.then("Cast", to=TensorProto.FLOAT)
        chain.then("Div", np.array(divisor)).then("Add", np.array(offset))
        chain.then("Sub", units.mean).then("Div", units.std)
    if task_model.is_nchw:
        chain.then("Transpose", perm=[0, 3, 1, 2])
    return chain.then("Cast", to=_TYPES[task_model.image.dtype]).end(_INNER + task_model.image.name)


def _prepare_joints(joint_pos: Tensor, units: Normalisation) -> _Chain:
    chain = _Chain(JOINT_POS).then("Mul", np.array(units.angle))
    chain.then("Sub", units.joint_mean).then("Div", units.joint_std)
    return chain.then("Cast", to=_TYPES[joint_pos.dtype]).end(_INNER + joint_pos.name)


def _surround(graph: GraphProto, before: Sequence[_Chain], after: _Chain) -> None:
    """Put chains around a graph; its own inputs, outputs and shapes, which may be for one image, are removed."""
    own = list(graph.node)
    for field in (graph.node, graph.input, graph.output, graph.value_info):
        del field[:]
    for chain in before:
        graph.node.extend(chain.nodes)
    graph.node.extend([*own, *after.nodes])
    graph.initializer.extend(constant for chain in (*before, after) for constant in chain.constants)


def _with_opset(task_model: TaskModelOnnx) -> ModelProto:
    """Return a copy of the model whose operators are those of `OPSET` or newer."""
    model = ModelProto()
    model.CopyFrom(task_model.model)
    if task_model.opset >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter's own, of no base class
        expected = f"expected opset {OPSET} or newer, or an older one that onnx can convert"
        raise InputError(f"{task_model.path}: {expected}, got {task_model.opset}: {first_line(error)}") from error


def _load(path: Path) -> ModelProto:
    if not path.is_file():
        raise InputError(f"{path}: expected an ONNX file, got none")
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's, onnx's own or the system's
        expected = "expected an ONNX file with its weights in it or beside it"
        raise InputError(f"{path}: {expected}, got: {first_line(error)}") from error


def _signature(model: ModelProto, path: Path) -> Signature:
    try:
        return read_signature(model.SerializeToString(), path)
    except InputError as error:
        raise InputError(first_line(error)) from error
    except Exception as error:  # protobuf's
        raise InputError(f"{path}: expected less than 2 GB, as ONNX has it, got: {first_line(error)}") from error


def _pick(
    path: Path, what: str, option: str, name: str | None, tensors: Sequence[Tensor], fits: Callable[[Tensor], bool]
) -> Tensor:
    """Return the tensor of this name, or the only one that fits."""
    found = [tensor for tensor in tensors if (tensor.name == name if name else fits(tensor))]
    if len(found) == 1:
        return found[0]
    expected = f"to be one of its {what}s" if name else f"to say which {what} it is"
    listed = "; ".join(map(str, tensors)) or "none"
    got = f"{name!r}: it has {listed}" if name else listed
    raise InputError(f"{path}: expected {option} {expected}, got {got}")


def _check_types(path: Path, image: Tensor, joint_pos: Tensor | None, action: Tensor) -> None:
    floats = ("float16", "float32", "float64")
    for tensor, types in ((image, (*floats, "uint8")), (joint_pos, floats), (action, floats)):
        if tensor is not None and tensor.dtype not in types:
            raise InputError(f"{path}: expected {tensor.name} of a type of {list(types)}, got {tensor.dtype}")
    for tensor in filter(None, (image, joint_pos)):
        if not tensor.shape or tensor.shape[0] not in (1, "N"):
            raise InputError(f"{path}: expected the first dimension of {tensor.name} to be free or 1, got {tensor}")
    if joint_pos is not None and len(joint_pos.shape) != 2:
        raise InputError(f"{path}: expected joint positions of shape [N, joints], got {joint_pos}")


def _read_shape(
    path: Path, image: Tensor, layout: Layout | None, size: tuple[int, int] | None
) -> tuple[Layout, tuple[int, int]]:
    """Return the layout of an image input, and its height and width."""
    if len(image.shape) != 4:
        expected = "expected images of shape [N, 3, height, width] or [N, height, width, 3]"
        raise InputError(f"{path}: {expected}, got {image}")
    _, second, third, last = image.shape
    sizes: dict[Layout, tuple[int | str, ...]] = {"NCHW": (second, third, last), "NHWC": (last, second, third)}
    fitting = [name for name, (channels, *_) in sizes.items() if channels in (3, "N") and layout in (None, name)]
    if len(fitting) > 1:  # the one whose three channels it says
        fitting = [name for name in fitting if sizes[name][0] == 3]
    if len(fitting) != 1:
        expected = f"3 channels in the layout {layout}" if layout else "3 channels, first or last, or the option layout"
        raise InputError(f"{path}: expected {expected}, got {image}")
    _, *sides = sizes[fitting[0]]
    if size and any(side not in ("N", given) for side, given in zip(sides, size, strict=True)):
        raise InputError(f"{path}: expected image_size to be that of {image}, got {list(size)}")
    height, width = size or sides
    if isinstance(height, str) or isinstance(width, str):
        raise InputError(f"{path}: expected image_size, as the graph leaves height or width free, got none: {image}")
    if min(height, width) < LEAST_PIXELS:
        raise InputError(f"{path}: expected images of at least {LEAST_PIXELS} pixels a side, got {image}")
    return fitting[0], (height, width)


def _typed(tensor: Tensor, values: Array) -> NDArray[Any]:
    return np.ascontiguousarray(values[None].astype(np.float32).astype(tensor.dtype))


def first_line(error: Exception) -> str:
    """Return the first line of what went wrong; onnx and onnxruntime say more than anybody reads."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)
