"""Writes docs/node/parameters.md, and the comments of the parameter files in config/, from the nodes' declarations.

Run from the repository's root, where ROS is.
"""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

import yaml

from taskgan_ros.core.config import share_dir, to_flow
from taskgan_ros.nodes.sim_node import SimParameters
from taskgan_ros.reach.parameters import ReachParameters

PAGE = Path(__file__).parent / "node" / "parameters.md"
FILES: dict[Path, type] = {
    share_dir() / "config" / "reach_node.yaml": ReachParameters,
    share_dir() / "config" / "sim_node.yaml": SimParameters,
}
START = "## Of reach_node\n"  # what stands before it is written by hand
VALUES = "  ros__parameters:\n"  # likewise

_WIDTH = 110
_TYPES = {bool: "boolean", int: "integer", float: "double", str: "string"}  # ROS's names


def main() -> None:
    """Write the page and the files; what is written by hand stays, and so do the files' values."""
    PAGE.write_text(make_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for file, kind in FILES.items():
        file.write_text(make_file(file.read_text(encoding="utf-8"), kind), encoding="utf-8")


def make_page(page: str) -> str:
    """Return the page with its tables as the declarations have them."""
    by_hand = page.partition(START)[0]
    reach, sim = make_table(ReachParameters), make_table(SimParameters)
    return f"{by_hand}{START}\n{reach}\n\n## Of sim_node\n\nAll are fixed once the node runs.\n\n{sim}\n"


def make_file(text: str, kind: type) -> str:
    """Return a parameter file with each value below what its declaration says."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    ((entry, parameters),) = yaml.safe_load(text).items()
    head = text[: text.index(VALUES)]
    entries = [make_entry(fields[name], value) for name, value in parameters["ros__parameters"].items()]
    assert head.endswith(f"{entry}:\n")
    return head + VALUES + "\n".join(entries)


def make_entry(field: dataclasses.Field[Any], value: Any) -> str:
    """Return a parameter's lines in a file: its comment, and its value."""
    about = field.metadata
    lines = textwrap.wrap("live: " * about["live"] + about["description"], _WIDTH, break_on_hyphens=False)
    return "".join(f"    # {line}\n" for line in lines) + f"    {field.name}: {to_flow(value)}\n"


def make_table(kind: type) -> str:
    """Return a table with a row for each field of a dataclass of parameters."""
    rows = [make_row(field) for field in dataclasses.fields(kind)]
    return "\n".join(["| parameter | default | takes | what it is |", "| --- | --- | --- | --- |", *rows])


def make_row(field: dataclasses.Field[Any]) -> str:
    """Return a parameter's row."""
    about = field.metadata
    what = "**Live.** " * about["live"] + about["description"]
    takes = ", ".join(filter(None, (type_name(field.default), allowed(about))))
    cells = f"`{field.name}`", f"`{default_text(field.default)}`", takes, what
    return f"| {' | '.join(cells)} |"


def type_name(default: Any) -> str:
    """Return what ROS calls the type of a default."""
    return f"{_TYPES[type(default[0])]} array" if isinstance(default, tuple) else _TYPES[type(default)]


def default_text(default: Any) -> str:
    """Return a default as a parameter file has it."""
    return to_flow(list(default)) if isinstance(default, tuple) else to_flow(default)


def allowed(about: Any) -> str:
    """Return what a value may be: a range, or one of some words; nothing where it may be anything."""
    if about["minimum"] is not None:
        return f"{about['minimum']:g} to {about['maximum']:g}" if about["maximum"] < 1e9 else f"{about['minimum']:g} on"
    return ", ".join(f"`{word}`" for word in about["choices"])


if __name__ == "__main__":
    main()
