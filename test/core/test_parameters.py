from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.parameters import from_values, parameter


@dataclass(frozen=True)
class Parameters:
    share: float = parameter(0.5, "of all", minimum=0.0, maximum=1.0)
    count: int = parameter(3, "how many", minimum=1, maximum=9)
    mode: str = parameter("on", "what to do", choices=("on", "off"))
    box: tuple[float, ...] = parameter((0.0, 1.0), "corners")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Parameters()),
        ({"share": 1}, Parameters(share=1.0)),
        ({"mode": False}, Parameters(mode="off")),  # YAML 1.1 reads off as a bool
        ({"box": [1, 2]}, Parameters(box=(1.0, 2.0))),
        ({"use_sim_time": True, "count": 9}, Parameters(count=9)),
    ],
)
def test_values_are_taken_as_a_node_takes_them(values: dict[str, Any], expected: Parameters) -> None:
    assert from_values(Parameters, values, "a file") == expected


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"share": 1.5}, r"a file: parameter share: expected float from 0\.0 to 1\.0, got 1\.5"),
        ({"share": float("nan")}, "parameter share"),
        ({"count": 2.5}, "parameter count: expected int"),
        ({"mode": "maybe"}, r"expected str, one of \['on', 'off'\], got 'maybe'"),
        ({"box": "wide"}, "parameter box"),
        ({"shar": 0.5}, "there is no parameter shar; did you mean share"),
    ],
)
def test_others_are_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        from_values(Parameters, values, "a file")


@dataclass(frozen=True)
class Renamed:
    word: str = parameter("new", "a word", choices=("new", "other"), formerly="old_name", renamed={"old": "new"})


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"word": "old"}, "got 'old', which is new now"),
        ({"old_name": "old"}, "parameter old_name: expected its new name word, got old_name; old is new now"),
    ],
)
def test_former_names_and_words_are_refused_with_todays(values: dict[str, str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        from_values(Renamed, values, "file.yaml")
