"""Inputs and outputs of an ONNX file, read without the `onnx` package, which is not installed at run time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from taskgan_ros.core.errors import InputError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf wire types
_OPSET_IMPORT = 8  # field of ModelProto
_DOMAIN, _VERSION = 1, 2  # fields of OperatorSetIdProto


@dataclass(frozen=True)
class Tensor:
    """An input or output: its name, its element type in numpy's words, its shape with "N" for a free size."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        sizes = ", ".join(str(size) for size in self.shape)
        return f"{self.name}: {self.dtype} [{sizes}]"


@dataclass(frozen=True)
class Signature:
    """A graph's operator set version, inputs and outputs."""

    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read_signature(data: bytes, origin: Path) -> Signature:
    """Return the signature of the ONNX model `data`; `origin` names it in errors.

    Raises:
        InputError: not a model that the installed onnxruntime can load from these bytes alone.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # only looked at, never run
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # the exception says it all
    # Loaded from bytes: external weights, which this file's hash would not cover, cannot be found then.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        opset = read_opset(data)
    except Exception as error:  # onnxruntime's exceptions share no other base class
        expected = f"expected a model that onnxruntime {ort.__version__} can load"
        raise InputError(f"{origin}: {expected}, got: {error}") from error
    inputs, outputs = map(_tensors, (session.get_inputs(), session.get_outputs()))
    return Signature(opset, inputs, outputs)


def read_opset(model: bytes) -> int:
    """Return the version of the default operator set that an ONNX model imports; onnxruntime does not tell.

    Raises:
        ValueError: the bytes are no model, or import no default operator set.
    """
    for field, value in _fields(model):
        if field == _OPSET_IMPORT and isinstance(value, bytes):
            entry = dict(_fields(value))
            version = entry.get(_VERSION)
            if entry.get(_DOMAIN, b"") in (b"", b"ai.onnx") and isinstance(version, int):
                return version
    raise ValueError("no import of the default operator set")


def _tensors(arguments: list[ort.NodeArg]) -> tuple[Tensor, ...]:
    names = {"float": "float32", "double": "float64", "float16": "float16"}

    def dtype(text: str) -> str:
        element = text.removeprefix("tensor(").removesuffix(")")
        return names.get(element, element)

    def shape(sizes: list[int | str | None]) -> tuple[int | str, ...]:
        return tuple(size if isinstance(size, int) else "N" for size in sizes)

    return tuple(Tensor(arg.name, dtype(arg.type), shape(arg.shape)) for arg in arguments)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of each field of a protobuf message, without looking into nested ones."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire not in (_FIXED64, _BYTES, _FIXED32):
            raise ValueError(f"unknown protobuf wire type {wire}")
        size, at = _varint(message, at) if wire == _BYTES else ({_FIXED64: 8, _FIXED32: 4}[wire], at)
        if at + size > len(message):
            raise ValueError("ends in the middle of a field")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("ends in the middle of a number")
