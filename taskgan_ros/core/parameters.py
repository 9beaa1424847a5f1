"""A node's parameter as a field of a frozen dataclass: its default, its description, its range."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any


def parameter(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
    live: bool = False,
) -> Any:
    """Return a dataclass field that declares a parameter; numbers need both ends of their range.

    A `live` one may change at any time.
    """
    if type(default) in (int, float) and (minimum is None or maximum is None):
        raise TypeError(f"{description!r}: expected a minimum and a maximum")
    about = {"description": description, "minimum": minimum, "maximum": maximum, "choices": tuple(choices)}
    about["live"] = live
    return dataclasses.field(default=default, metadata=about)
