"""Validation of configuration fields, with the standard library alone.

Debian 12 and Ubuntu 24.04 ship pydantic 1, other systems pydantic 2, and the two differ in what they accept. With
this module, a robot's computer checks a bundle exactly as the computer that made it, and needs no pydantic.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, dataclass_transform
from typing import get_args as arguments_of
from typing import get_origin as origin_of
from typing import get_type_hints as type_hints

from taskgan_ros.core.errors import InputError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_LIMITS: Final = {
    "gt": (operator.gt, "greater than"),
    "ge": (operator.ge, "greater than or equal to"),
    "lt": (operator.lt, "less than"),
    "le": (operator.le, "less than or equal to"),
}
_TRUE, _FALSE = ("1", "on", "t", "true", "y", "yes"), ("0", "off", "f", "false", "n", "no")


class Fault(NamedTuple):
    """What is wrong with a value.

    Attributes:
        where: fields and indices that lead to it; none for the whole.
        expected: a sentence.
        found: what came, as a message shows it; None where there is nothing to show.
    """

    where: tuple[str | int, ...]
    expected: str
    found: str | None = None

    def below(self, name: str | int) -> Fault:
        """Return the same fault with `name` put in front of its path."""
        return self._replace(where=(name, *self.where))

    def __str__(self) -> str:
        """Return the line that a user reads."""
        if not self.where:  # a rule over several fields, whose message says what came
            return self.expected
        found = "" if self.found is None else f", got {self.found}"
        return f"{'.'.join(map(str, self.where))}: {self.expected}{found}"


class SchemaError(InputError):
    """A value is not what its type says."""

    def __init__(self, faults: list[Fault]) -> None:
        """Take all of them, at least one."""
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True)
class Field:
    """Constraints on a field beyond its type, for use in `Annotated`.

    Attributes:
        gt: what a number is greater than.
        ge: what it is not less than.
        lt: what it is less than.
        le: what it is not greater than.
        min_length: of a text or a tuple.
        pattern: a regular expression that matches the whole of a text.
        alias: the field's name in a file, where Python reserves that word or it says less.
    """

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    min_length: int = 0
    pattern: str | None = None
    alias: str | None = None

    def refusal(self, value: Any) -> str:
        """Return which constraint a value of the right type violates; empty if none."""
        for name, (holds, words) in _LIMITS.items():
            limit = getattr(self, name)
            if limit is not None and not holds(value, limit):
                return f"Input should be {words} {limit}"
        if self.min_length and len(value) < self.min_length:
            what, counted = ("String", "character") if isinstance(value, str) else ("Tuple", "item")
            least = f"{what} should have at least {self.min_length} {counted}{'s' * (self.min_length > 1)}"
            return least if isinstance(value, str) else f"{least} after validation, not {len(value)}"
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            return f"String should match pattern '{self.pattern}'"
        return ""


@dataclass(frozen=True)
class Before:
    """Converts a raw value before it is checked, for use in `Annotated`."""

    change: Callable[[Any], Any]


@dataclass(frozen=True)
class After:
    """Converts a value of the right type, or refuses it by a ValueError, for use in `Annotated`."""

    change: Callable[[Any], Any]


def field_rule(*names: str) -> Callable[[F], F]:
    """Mark a static method `(value, earlier)` as a rule for the fields `names`; it refuses by a ValueError.

    `earlier` has the preceding fields that are valid, by name.
    """

    def mark(rule: F) -> F:
        rule.__dict__["rules_over"] = names
        return rule

    return mark


def whole_rule(rule: F) -> F:
    """Make a method without arguments a rule over several fields, which refuses by a ValueError."""
    rule.__dict__["rules_over"] = ()
    return rule


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def config_dataclass(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass whose fields are checked and whose unknown keys are refused."""
    cls.__post_init__ = _check_instance  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


def check(kind: Any, value: Any) -> Any:
    """Check `value` and return it as `kind`: a type, an annotation, or a dataclass built from a dict.

    Numeric strings become numbers, whole floats integers, and lists tuples. NaN and infinity are refused.

    Raises:
        SchemaError: `value` does not fit `kind`.
    """
    origin, arguments = origin_of(kind), arguments_of(kind)
    if origin in _CHECKS:
        return _CHECKS[origin](arguments, value)
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    if dataclasses.is_dataclass(kind):
        return _config(kind, value)
    if not isinstance(value, origin or kind):
        raise _wrong(f"Input should be an instance of {kind.__name__}", value)
    return value


def to_plain(value: Any) -> Any:
    """Return a value, a dataclass mostly, as what YAML and JSON can hold; `check` reads it back."""
    if dataclasses.is_dataclass(value):
        kind: Any = type(value)
        return {entry.alias: to_plain(getattr(value, entry.name)) for entry in _entries(kind)}
    if isinstance(value, Mapping):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


# Kinds.


def _wrong(expected: str, found: Any) -> SchemaError:
    return SchemaError([Fault((), expected, repr(found))])


def _check_all(parts: Iterable[tuple[str | int, Any, Any]]) -> list[Any]:
    """Return the values of (where, kind, value), checked; all their faults are raised at once."""
    checked, faults = [], []
    for where, kind, value in parts:
        try:
            checked.append(check(kind, value))
        except SchemaError as error:
            faults += [fault.below(where) for fault in error.faults]
    if faults:
        raise SchemaError(faults)
    return checked


def _apply(rule: Callable[..., Any], given: Any, *values: Any) -> Any:
    """Return what a rule makes of values; `given` is what a message shows."""
    try:
        return rule(*values)
    except SchemaError:
        raise
    except ValueError as error:
        raise _wrong(f"Value error, {error}", given) from error


def _annotated(arguments: tuple[Any, ...], given: Any) -> Any:
    kind, *rules = arguments
    value = given
    for rule in (rule for rule in reversed(rules) if isinstance(rule, Before)):
        value = _apply(rule.change, given, value)
    value = check(kind, value)
    for rule in rules:
        if isinstance(rule, Field) and (expected := rule.refusal(value)):
            raise _wrong(expected, given)
        if isinstance(rule, After):
            value = _apply(rule.change, given, value)
    return value


def _union(members: tuple[Any, ...], value: Any) -> Any:
    if value is None and types.NoneType in members:
        return None
    others = [member for member in members if member is not types.NoneType]
    if len(others) == 1:
        return check(others[0], value)
    faults: list[Fault] = []
    for member in sorted(others, key=lambda member: type(value) is not member):  # what it is already comes first
        try:
            return check(member, value)
        except SchemaError as error:
            faults += [fault.below(member.__name__) for fault in error.faults]
    raise SchemaError(faults)


def _literal(options: tuple[Any, ...], value: Any) -> Any:
    if any(type(value) is type(option) and value == option for option in options):
        return value
    *most, last = map(repr, options)
    raise _wrong(f"Input should be {', '.join(most)}{' or ' if most else ''}{last}", value)


def _tuple(kinds: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, list | tuple | set | frozenset):
        raise _wrong("Input should be a valid tuple", value)
    if kinds[1:] == (...,):
        return tuple(_check_all((k, kinds[0], item) for k, item in enumerate(value)))
    n = len(kinds)
    if len(value) > n:
        raise _wrong(f"Tuple should have at most {n} item{'s' * (n > 1)} after validation, not {len(value)}", value)
    missing = [_missing(k) for k in range(len(value), n)]
    try:
        checked = _check_all((k, kinds[k], item) for k, item in enumerate(value))
    except SchemaError as error:
        raise SchemaError(error.faults + missing) from error
    if missing:
        raise SchemaError(missing)
    return tuple(checked)


def _list(kinds: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong("Input should be a valid list", value)
    return _check_all((k, kinds[0], item) for k, item in enumerate(value))


def _dict(kinds: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong("Input should be a valid dictionary", value)
    keys = _check_all((f"{key}.[key]", kinds[0], key) for key in value)
    return dict(zip(keys, _check_all((key, kinds[1], item) for key, item in value.items()), strict=True))


def _float(value: Any) -> float:
    try:
        number = float(value) if isinstance(value, str | numbers.Real) else None
    except OverflowError:
        number = math.inf
    except ValueError as error:
        raise _wrong("Input should be a valid number, unable to parse string as a number", value) from error
    if number is None:
        raise _wrong("Input should be a valid number", value)
    if not math.isfinite(number):
        raise _wrong("Input should be a finite number", value)
    return number


def _int(value: Any) -> int:
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError as error:
            raise _wrong("Input should be a valid integer, unable to parse string as an integer", value) from error
    if not isinstance(value, numbers.Real):
        raise _wrong("Input should be a valid integer", value)
    number = _float(value)
    if not number.is_integer():
        raise _wrong("Input should be a valid integer, got a number with a fractional part", value)
    return int(number)


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str | numbers.Real):
        raise _wrong("Input should be a valid boolean", value)
    word = str(value).lower().removesuffix(".0")
    if word not in (*_TRUE, *_FALSE):
        raise _wrong("Input should be a valid boolean, unable to interpret input", value)
    return word in _TRUE


def _str(value: Any) -> str:
    if isinstance(value, bytes | bytearray):  # as HDF5 has it
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            expected = "Input should be a valid string, unable to parse raw data as a unicode string"
            raise _wrong(expected, value) from error
    if not isinstance(value, str):
        raise _wrong("Input should be a valid string", value)
    return str(value)


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise _wrong("Input is not a valid path", value)
    return Path(value)


_CHECKS: Final[dict[Any, Callable[[tuple[Any, ...], Any], Any]]] = {
    Annotated: _annotated, Union: _union, types.UnionType: _union, Literal: _literal,
    tuple: _tuple, list: _list, dict: _dict,
}  # fmt: skip
_PLAIN: Final[dict[Any, Callable[[Any], Any]]] = {
    float: _float, int: _int, bool: _bool, str: _str, Path: _path, Any: lambda value: value, object: lambda value: value
}  # fmt: skip


# Configurations.


class _Entry(NamedTuple):
    """A field of a dataclass: its names in Python and in a file, its annotation, what makes its default."""

    name: str
    alias: str
    kind: Any
    default: Callable[[], Any] | None


@cache
def _entries(cls: Any) -> tuple[_Entry, ...]:
    hints = type_hints(cls, include_extras=True)
    return tuple(_entry(field, hints[field.name]) for field in dataclasses.fields(cls))


def _entry(field: dataclasses.Field[Any], kind: Any) -> _Entry:
    alias = next((rule.alias for rule in arguments_of(kind) if isinstance(rule, Field) and rule.alias), field.name)
    default: Callable[[], Any] | None = None
    if field.default is not dataclasses.MISSING:
        default = lambda: field.default  # noqa: E731
    elif field.default_factory is not dataclasses.MISSING:
        default = field.default_factory
    return _Entry(field.name, alias, kind, default)


@cache
def _rules(cls: Any) -> dict[str, tuple[str, ...]]:
    """Return the rules' names, those of a base class first, and the fields that each is over; none for the whole."""
    named = {name: getattr(cls, name, None) for base in reversed(cls.__mro__) for name in vars(base)}
    return {name: rule.rules_over for name, rule in named.items() if rule and hasattr(rule, "rules_over")}


def _config(cls: Any, given: Any) -> Any:
    if isinstance(given, cls):
        return given
    if not isinstance(given, Mapping):
        raise _wrong(f"Input should be a dictionary or an instance of {cls.__name__}", given)
    names = {entry.alias: entry.name for entry in _entries(cls)}
    unknown = [Fault((str(key),), "expected no such field", repr(given[key])) for key in given if key not in names]
    instance = object.__new__(cls)
    try:
        _complete(instance, {names[key]: value for key, value in given.items() if key in names}, unknown)
    except SchemaError as error:
        whole = [fault._replace(found=repr(given)) if not fault.where else fault for fault in error.faults]
        raise SchemaError(whole) from error
    return instance


def _check_instance(self: Any) -> None:
    """Check the fields of an instance made by its constructor; this is `__post_init__`."""
    fields = ((field.name, field.default, getattr(self, field.name)) for field in dataclasses.fields(self))
    _complete(self, {name: value for name, default, value in fields if value is not default}, [])


def _complete(instance: Any, given: Mapping[str, Any], faults: list[Fault]) -> None:
    """Set the fields of an instance to those given, checked, and to the defaults of others.

    Raises:
        SchemaError: every faulty field, then `faults`; or a violated rule over several fields.
    """
    cls: Any = type(instance)
    earlier, found = dict[str, Any](), list[Fault]()
    for name, alias, kind, default in _entries(cls):
        if name not in given and default is None:
            found.append(_missing(alias))
            continue
        try:
            value = _field(cls, name, kind, given[name], earlier) if name in given else default()  # type: ignore[misc]
        except SchemaError as error:
            found += [fault.below(alias) for fault in error.faults]
            continue
        earlier[name] = value
        object.__setattr__(instance, name, value)
    if found or faults:
        raise SchemaError(found + faults)
    for rule in (name for name, over in _rules(cls).items() if not over):
        _apply(getattr(instance, rule), instance)


def _field(cls: Any, name: str, kind: Any, given: Any, earlier: Mapping[str, Any]) -> Any:
    value = check(kind, given)
    for rule in (rule for rule, over in _rules(cls).items() if name in over):
        _apply(getattr(cls, rule), given, value, earlier)
    return value


def _missing(where: str | int) -> Fault:
    return Fault((where,), "expected this field", "none")
