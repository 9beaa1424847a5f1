from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import (
    After,
    Before,
    Field,
    SchemaError,
    check,
    config_dataclass,
    field_rule,
    to_plain,
    whole_rule,
)


def _even(number: int) -> int:
    if number % 2:
        raise ValueError("expected an even number")
    return number


@config_dataclass
class Part:
    start: Annotated[tuple[float, float] | None, Field(alias="from")] = None
    names: dict[str, int] = dataclasses.field(default_factory=dict)


@config_dataclass
class Whole:
    kind: Literal["a", "b"]
    count: Annotated[int, Field(ge=1, le=8), After(_even)] = 2
    parts: tuple[Part, ...] = ()
    file: Annotated[Path | None, Before(lambda given: given or None)] = None
    figure: int | float | str = 0

    @staticmethod
    @field_rule("count")
    def _fits_kind(count: int, earlier: Mapping[str, Any]) -> None:
        if earlier.get("kind") == "b" and count > 4:
            raise ValueError("expected at most 4 of kind b")

    @whole_rule
    def _has_its_parts(self) -> None:
        if len(self.parts) > self.count:
            raise ValueError(f"expected at most {self.count} parts, got {len(self.parts)}")


@config_dataclass
class Larger(Whole):
    kind: Literal["b"] = "b"
    size: float

    @whole_rule
    def _has_a_size(self) -> None:
        if not self.size:
            raise ValueError("expected a size")


def refusal(kind: Any, value: Any) -> str:
    with pytest.raises(SchemaError) as error:
        check(kind, value)
    return str(error.value)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (float, 3, 3.0),
        (float, "1e-3", 0.001),  # PyYAML reads it as text
        (int, 3.0, 3),
        (int, "3", 3),
        (bool, "yes", True),
        (bool, 0, False),
        (Path, "a/b", Path("a/b")),
        (tuple[float, ...], [1, 2], (1.0, 2.0)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (int | float | str, 1.0, 1.0),
        (int | float | str, "1", "1"),
        (float | None, None, None),
        (list[int], (1, 2), [1, 2]),
    ],
)
def test_what_yaml_and_a_command_line_mean_is_taken(kind: Any, given: Any, expected: Any) -> None:
    checked = check(kind, given)
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (float, math.inf, "Input should be a finite number"),
        (float, 10**400, "Input should be a finite number"),
        (float, [1], "Input should be a valid number"),
        (int, 1.5, "Input should be a valid integer, got a number with a fractional part"),
        (int, "a", "Input should be a valid integer, unable to parse string as an integer"),
        (str, 1, "Input should be a valid string"),
        (bool, "maybe", "Input should be a valid boolean, unable to interpret input"),
        (Path, 1, "Input is not a valid path"),
        (Literal[2], 2.0, "Input should be 2"),
        (Literal["a", "b", "c"], "d", "Input should be 'a', 'b' or 'c'"),
        (tuple[int, int], [1], "1: expected this field, got none"),
        (tuple[int, int], [1, 2, 3], "Tuple should have at most 2 items after validation, not 3"),
        (tuple[int, ...], "12", "Input should be a valid tuple"),
        (dict[str, int], [1], "Input should be a valid dictionary"),
        (Part, 1, "Input should be a dictionary or an instance of Part"),
        (Annotated[str, Field(pattern="^[a-z]$")], "a\n", "String should match pattern '^[a-z]$'"),
        (Annotated[str, Field(min_length=1)], "", "String should have at least 1 character"),
        (Annotated[tuple[int, ...], Field(min_length=2)], [1], "Tuple should have at least 2 items after validation"),
        (Annotated[float, Field(lt=3)], 3, "Input should be less than 3"),
    ],
)
def test_what_is_not_meant_is_refused_with_what_was(kind: Any, given: Any, message: str) -> None:
    assert message in refusal(kind, given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "a", "count": 3}, "count: Value error, expected an even number, got 3"),
        ({"kind": "a", "count": 10}, "count: Input should be less than or equal to 8, got 10"),
        ({"kind": "b", "count": 6}, "count: Value error, expected at most 4 of kind b, got 6"),
        ({"kind": "a", "parts": [{}, {}, {}]}, "Value error, expected at most 2 parts, got 3"),
        ({"kind": "a", "parts": [{"from": [0, "x"]}]}, "parts.0.from.1: Input should be a valid number"),
        ({"kind": "a", "parts": [{"start": [0, 1]}]}, "parts.0.start: expected no such field, got [0, 1]"),
        ({"kind": "a", "parts": [{"names": {"n": "x"}}]}, "parts.0.names.n: Input should be a valid integer"),
    ],
)
def test_a_fault_is_named_by_its_place(given: Any, message: str) -> None:
    assert refusal(Whole, given).startswith(message)


def test_a_plain_dataclass_is_read_as_well() -> None:
    @dataclasses.dataclass(frozen=True)
    class Plain:
        count: int
        name: str = ""

    assert check(Plain, {"count": 3.0}) == Plain(3)
    assert (
        refusal(Plain, {"name": 1})
        == "count: expected this field, got none; name: Input should be a valid string, got 1"
    )


def test_a_subclass_has_the_rules_of_its_base_first() -> None:
    assert refusal(Larger, {"size": 0, "parts": [{}] * 3}).startswith("Value error, expected at most 2 parts")
    assert refusal(Larger, {"size": 0}) == "Value error, expected a size"
    assert refusal(Larger, {"size": 1, "kind": "a"}) == "kind: Input should be 'b', got 'a'"


def test_python_makes_only_what_a_file_could_say() -> None:
    with pytest.raises(InputError, match="count: Input should be greater than or equal to 1, got 0"):
        Whole(kind="a", count=0)
    with pytest.raises(InputError, match="count: Value error, expected an even number, got 3"):
        dataclasses.replace(Whole(kind="a"), count=3)
    assert Whole(kind="a", file="").file is None  # type: ignore[arg-type]
    assert Whole(kind="a") == check(Whole, {"kind": "a"})


parts = st.builds(
    Part,
    start=st.none() | st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2),
    names=st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
)


@given(st.sampled_from("ab"), st.lists(parts, max_size=2), st.integers() | st.floats(-9, 9) | st.text(max_size=3))
def test_what_is_written_is_read_back(kind: Any, own: list[Part], figure: float | str) -> None:
    whole = Whole(kind=kind, parts=tuple(own), figure=figure, file=Path("a"))
    plain = to_plain(whole)
    assert {key for part in plain["parts"] for key in part} <= {"from", "names"}
    assert check(Whole, plain) == whole


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "count", "parts", "from", "names", "a"]), inner, max_size=4)
    ),
)


@given(anything)
def test_anything_is_taken_or_refused(value: Any) -> None:
    try:
        whole = check(Whole, value)
    except SchemaError:
        return
    assert isinstance(whole, Whole)
