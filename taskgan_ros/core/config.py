"""Where configuration lives and how a YAML file becomes a checked, frozen dataclass."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import yaml

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_fetched
from taskgan_ros.core.schema import SchemaError, check

T = TypeVar("T")


def share_dir() -> Path:
    """Return the folder that holds `config/` and `models/`: the source tree, or `share/taskgan_ros` once installed."""
    for parent in Path(__file__).resolve().parents:
        for candidate in (parent, parent / "share" / "taskgan_ros"):
            if (candidate / "config" / "arms").is_dir():
                return candidate
    raise FileNotFoundError(f"no config/ above {Path(__file__).resolve()}: is taskgan_ros installed completely?")


def is_path(name_or_path: str | Path) -> bool:
    """Return whether this is a path, which has a separator or ends in .yaml or .yml, and not a shipped name."""
    text = str(name_or_path)
    return "/" in text or text.endswith((".yaml", ".yml"))


def short_name(name_or_path: str | Path) -> str:
    """Return the display name of a shipped name or a file: without folder and suffix."""
    return Path(name_or_path).stem if is_path(name_or_path) else str(name_or_path)


def expand_home(path: str | Path) -> Path:
    """Return `path` with a leading `~` or `~user` replaced by that home.

    Raises:
        InputError: no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"expected the home of a user of this machine, got {str(path)!r}") from error


def resolve(kind: str, name_or_path: str | Path) -> Path:
    """Return the file of a shipped name such as ("domains", "source"), or the path that a user gave.

    A file in the working directory never shadows a shipped name; see `is_path`.

    Raises:
        InputError: neither a shipped name nor an existing file; the message lists the shipped names.
    """
    folder = share_dir() / "config" / kind
    file = expand_home(name_or_path) if is_path(name_or_path) else folder / f"{name_or_path}.yaml"
    if file.is_file():
        return file
    names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    missing = ", which is no file" if is_path(name_or_path) else ""
    raise InputError(f"{kind}: expected a file or one of [{names}], got {str(name_or_path)!r}{missing}")


def load(cls: type[T], path: Path) -> T:
    """Read a YAML file into the `config_dataclass` `cls`.

    Raises:
        InputError: not YAML, or values that do not fit `cls`; one line per fault, with field, expected and actual.
    """
    return build(cls, read_yaml(path), origin=str(path))


class _Loader(yaml.SafeLoader):
    """Reads YAML as `yaml.safe_load` does, but refuses duplicate keys, of which PyYAML takes the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Not when dicts are built: by then a merge (`<<`) has added keys that the mapping may override.
        node = super().compose_mapping_node(anchor)
        lines: dict[Any, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            is_plain = key.tag not in _SPECIAL_KEYS
            name = self.construct_object(key) if is_plain else key.value  # 1, 0x1 and true are one key of a dict
            line = key.start_mark.line + 1
            if name in lines:
                raise InputError(
                    f"line {line}: expected each key once, got {key.value!r} again, first in line {lines[name]}"
                )
            lines[name] = line
        return node


# PyYAML also raises these, for bytes that are not text, a 31st of June, a bad `!!bool` or `!!timestamp`.
_UNREADABLE = (OSError, ValueError, KeyError, AttributeError, RecursionError, yaml.YAMLError)
_SPECIAL_KEYS = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")  # << and =, which have no constructor


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds, unchecked.

    Raises:
        InputError: no file, not YAML, or a key that occurs twice in one mapping.
    """
    check_fetched(path)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise InputError(f"{path}: {where}expected a readable YAML file, got: {what}") from error
    except _UNREADABLE as error:
        raise InputError(f"{path}: expected a readable YAML file, got: {' '.join(str(error).split())}") from error


def build(cls: type[T], values: Any, origin: str) -> T:
    """Check plain `values` against the `config_dataclass` `cls`; `origin` names their source in errors."""
    if not isinstance(values, dict):
        raise InputError(f"{origin}: expected a mapping of {cls.__name__} fields, got {type(values).__name__}")
    try:
        checked: T = check(cls, values)
    except SchemaError as error:
        raise InputError("\n".join(f"{origin}: {fault}" for fault in error.faults)) from error
    return checked


def fill(cls: type[T], source: Any, **given: Any) -> T:
    """Build the dataclass `cls` from `given`, and every other field from the attribute of that name in `source`.

    Args:
        cls: a dataclass.
        source: has an attribute for each other field.
        given: fields by name.
    """
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    return cls(**{name: getattr(source, name) for name in names if name not in given}, **given)


def to_flow(value: Any) -> str:
    """Return a plain value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()
