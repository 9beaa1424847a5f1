"""A node's parameters as a frozen dataclass: declared with descriptions and ranges, read back typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.parameters import as_meant, explain, hint_of_renamed, why_renamed, why_unknown

T = TypeVar("T")


def declare(
    node: Node,
    kind: type[T],
    refuse: Callable[[], str] | None = None,
    changed: Callable[[], None] | None = None,
) -> None:
    """Declare every field of the dataclass `kind` as a parameter of `node`; warn of overrides of other names.

    A value that YAML reads as another type is converted to the expected one: `off` to a string, 1 to a float.

    Args:
        node: overrides from its command line and YAML files are taken.
        kind: its fields are made by `parameter`.
        refuse: returns why parameters that are not live may not change now, or an empty string if they may; None
            makes all read-only.
        changed: called after a change.

    Raises:
        InputError: an override has the wrong type, is out of range or has an old name.
    """
    declared, live = False, {field.name: field.metadata["live"] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]

    def check(parameters: list[Parameter]) -> SetParametersResult:
        fixed = [p.name for p in parameters if not live.get(p.name, True)]
        reason = refuse() if declared and refuse and fixed else ""
        reasons = [f"{', '.join(fixed)}: {reason}"] if reason else [t for p in parameters if (t := _fault(kind, p))]
        return SetParametersResult(successful=not reasons, reason="; ".join(reasons))

    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    node.add_pre_set_parameters_callback(lambda parameters: [_as_meant(fields, p) for p in parameters])
    node.add_on_set_parameters_callback(check)
    overrides = node._parameter_overrides  # rclpy has no public access to them
    overrides.update({name: _as_meant(fields, override) for name, override in overrides.items()})
    if renamed := next(filter(None, (why_renamed(name, fields.values()) for name in overrides)), ""):
        raise InputError(renamed)
    for field in fields.values():
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        try:
            node.declare_parameter(field.name, default, _descriptor(field, read_only=refuse is None))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise InputError(explain(field, overrides[field.name].value)) from error
    declared = True
    if changed:
        node.add_post_set_parameters_callback(lambda _: changed())
    for text in _unknown(overrides, node._parameters):
        node.get_logger().warning(text)


def read(node: Node, kind: type[T]) -> T:
    """Return the parameters' values now."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    values = {field.name: node.get_parameter_or(field.name).value for field in fields}
    # A list in a message; one without entries has no type in a YAML file, and so no value.
    lists = {name: tuple(value or ()) for name, value in values.items() if value is None or isinstance(value, list)}
    return kind(**{**values, **lists})


def _descriptor(field: dataclasses.Field[Any], *, read_only: bool) -> ParameterDescriptor:
    about = field.metadata
    descriptor = ParameterDescriptor(description=about["description"], read_only=read_only)
    words = ["one of " + ", ".join(about["choices"])] if about["choices"] else []
    words += ["may change at any time"] if about["live"] and not read_only else []
    descriptor.additional_constraints = "; ".join(words)
    ends = {"from_value": about["minimum"], "to_value": about["maximum"]}
    if type(field.default) is float:
        descriptor.floating_point_range = [FloatingPointRange(**ends)]
    if type(field.default) is int:
        descriptor.integer_range = [IntegerRange(step=1, **ends)]
    return descriptor


def _as_meant(fields: dict[str, dataclasses.Field[Any]], given: Parameter) -> Parameter:
    if given.name not in fields:
        return given
    value = as_meant(fields[given.name], given.value)
    return given if value is given.value else Parameter(given.name, value=value)


def _fault(kind: type, candidate: Parameter) -> str:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    allowed = fields[candidate.name].metadata["choices"] if candidate.name in fields else ()
    if not allowed or candidate.value in allowed:
        return ""
    hint = hint_of_renamed(fields[candidate.name], candidate.value)
    return f"{candidate.name}: expected one of {list(allowed)}, got {candidate.value!r}{hint}"


def _unknown(given: Iterable[str], declared: Iterable[str]) -> list[str]:
    """Return a sentence on each override that rclpy ignores silently, a misspelt one mostly."""
    own = list(declared)
    ours = [name for name in given if name != "use_sim_time" and not name.startswith("qos_overrides.")]
    return [f"ignored: {why_unknown(name, own)}" for name in ours if name not in own]
