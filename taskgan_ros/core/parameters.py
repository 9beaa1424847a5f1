"""A node's parameter as a field of a frozen dataclass: its default, its description, its range."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from taskgan_ros.core.errors import InputError

T = TypeVar("T")

_YAML_WORDS = {False: ("off", "no", "false"), True: ("on", "yes", "true")}  # what YAML 1.1 reads as a bool


def parameter(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
    live: bool = False,
    formerly: str = "",
    renamed: Mapping[str, str] | None = None,
) -> Any:
    """Return a dataclass field that declares a parameter; numbers need both ends of their range.

    A `live` one may change at any time. `formerly` is its old name; `renamed` maps its old values to the new ones.
    Both are refused, with a hint.
    """
    if type(default) in (int, float) and (minimum is None or maximum is None):
        raise TypeError(f"{description!r}: expected a minimum and a maximum")
    about: dict[str, Any] = {
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "choices": tuple(choices),
    }
    about |= {"live": live, "formerly": formerly, "renamed": dict(renamed or {})}
    return dataclasses.field(default=default, metadata=about)


def from_values(kind: type[T], values: Mapping[str, Any], origin: str) -> T:
    """Build the dataclass `kind` from YAML values, with the checks that a node makes.

    Raises:
        InputError: a value of another type, out of range, or no parameter of that name.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = {}
    for name, value in values.items():
        if name not in fields:
            if name == "use_sim_time" or name.startswith("qos_overrides"):
                continue
            raise InputError(f"{origin}: {why_renamed(name, fields.values()) or why_unknown(name, fields)}")
        meant = as_meant(fields[name], value)
        if not _is_allowed(fields[name], meant):
            raise InputError(f"{origin}: {explain(fields[name], value)}")
        given[name] = tuple(meant) if isinstance(meant, list) else meant
    return kind(**given)


def as_meant(field: dataclasses.Field[Any], value: Any) -> Any:
    """Return `value` as the type of the field's default if that loses nothing; otherwise unchanged."""
    default = field.default
    if type(default) is float and type(value) is int:
        return float(value)
    if isinstance(default, tuple) and type(default[0]) is float and _are_integers(value):
        return [float(number) for number in value]
    if isinstance(value, bool):
        return next((word for word in _YAML_WORDS[value] if word in field.metadata["choices"]), value)
    return value


def _are_integers(value: Any) -> bool:
    return not isinstance(value, str) and isinstance(value, Sequence) and all(type(item) is int for item in value)


def explain(field: dataclasses.Field[Any], value: Any) -> str:
    """Return what was expected of a parameter's value."""
    about, default = field.metadata, field.default
    kind = f"list of {type(default[0]).__name__}" if isinstance(default, tuple) else type(default).__name__
    expected = f"expected {kind}"
    if about["minimum"] is not None:
        expected += f" from {about['minimum']} to {about['maximum']}"
    if about["choices"]:
        expected += f", one of {list(about['choices'])}"
    elif kind == "str":
        expected += ", in quotes if YAML would read another type"
    return f"parameter {field.name}: {expected}, got {value!r}{hint_of_renamed(field, value)}"


def hint_of_renamed(field: dataclasses.Field[Any], value: Any) -> str:
    """Return a message suffix with the new name of a renamed value, or an empty string."""
    renamed = field.metadata["renamed"]
    return f", which is {renamed[value]} now" if isinstance(value, str) and value in renamed else ""


def why_renamed(name: str, fields: Iterable[dataclasses.Field[Any]]) -> str:
    """Return the message for a parameter's old name, with its renamed values; empty if it was not renamed."""
    for field in fields:
        if field.metadata["formerly"] == name:
            words = ", ".join(f"{old} is {new}" for old, new in field.metadata["renamed"].items())
            hint = f"; {words} now" if words else ""
            return f"parameter {name}: expected its new name {field.name}, got {name}{hint}"
    return ""


def why_unknown(name: str, own: Iterable[str]) -> str:
    """Return the message for an unknown parameter, with the likeliest name."""
    known = list(own)
    likely = get_close_matches(name, known, n=1)
    hint = f"did you mean {likely[0]}?" if likely else f"there are {sorted(known)}"
    return f"there is no parameter {name}; {hint}"


def _is_allowed(field: dataclasses.Field[Any], value: Any) -> bool:
    default, about = field.default, field.metadata
    if isinstance(default, tuple):
        return isinstance(value, list) and all(type(item) is type(default[0]) for item in value)
    is_in_range = about["minimum"] is None or (
        type(value) is type(default) and about["minimum"] <= value <= about["maximum"]
    )
    return type(value) is type(default) and is_in_range and (not about["choices"] or value in about["choices"])
