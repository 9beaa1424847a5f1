"""Checks that a ROS parameter file has entries for a node: ROS silently ignores entries for other nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from taskgan_ros.core.config import read_yaml
from taskgan_ros.core.errors import InputError

_PARAMETERS: Final = "ros__parameters"
_WILDCARDS: Final = {"*": "/[^/]+", "**": "(/[^/]+)*"}  # one part of a name, and any number


def check_parameter_file(path: Path, node: str) -> None:
    """Check that a parameter file has an entry for a node.

    Args:
        path: the YAML file.
        node: its fully qualified name.

    Raises:
        InputError: not YAML, or all of it is for other nodes.
    """
    names = sorted(name for name, _ in _entries(read_yaml(path)))
    if not any(fits(name, node) for name in names):
        got = names or f"none: there is no `{_PARAMETERS}:` under the name of a node"
        raise InputError(f"{path}: expected parameters for {node}, e.g. under /**{node[node.rindex('/') :]}, got {got}")


def read_parameter_file(path: Path, node: str) -> dict[str, Any]:
    """Return what a file says for a node, later entries over earlier ones; errors as `check_parameter_file`."""
    check_parameter_file(path, node)
    return {name: value for entry, values in _entries(read_yaml(path)) if fits(entry, node) for name, value in values}


def fits(name: str, node: str) -> bool:
    """Return whether ROS gives a node the parameters under `name`, which may have wildcards.

    Args:
        name: of an entry in a parameter file, such as `/**/reach_node`; fully qualified.
        node: the node's fully qualified name.
    """
    parts = name.removeprefix("/").split("/")
    return re.fullmatch("".join(_WILDCARDS.get(part, "/" + re.escape(part)) for part in parts), node) is not None


def parameter_files(arguments: Sequence[str]) -> list[Path]:
    """Return the parameter files that a node is given on its command line."""
    return [Path(path) for option, path in pairwise(arguments) if option == "--params-file"]


def _entries(values: Any, name: str = "") -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yield the fully qualified names of entries, and their parameters; namespaces may be levels of the file."""
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        if key == _PARAMETERS:
            yield name, list(value.items()) if isinstance(value, dict) else []
        else:
            yield from _entries(value, f"{name}/{str(key).removeprefix('/')}")
