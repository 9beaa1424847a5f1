"""What the launch files share. Light, because `ros2 launch --show-args` loads them too."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.events.process import ProcessExited
from launch.logging import get_logger

from launch import Action, LaunchContext  # type: ignore[attr-defined]  # mypy takes the folder of launch files for it
from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes.topics import check_name

Make = Callable[[LaunchContext], list[Action] | None]

LEVELS: Final = ("debug", "info", "warn", "error", "fatal")

_WORDS: Final = {"true": ("true", "1", "yes", "on"), "false": ("false", "0", "no", "off")}
_OF_ROS2_LAUNCH: Final = ("launch-prefix", "launch-prefix-filter")  # it sets them among the arguments


def common_arguments() -> list[DeclareLaunchArgument]:
    """Return the arguments that every launch file has, with the same meaning in each."""
    return [
        DeclareLaunchArgument("namespace", default_value="", description="Of nodes and topics; not of /absolute ones."),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", description="true: use /clock. false: as the parameter files say."
        ),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
        DeclareLaunchArgument(
            "required", default_value="true", description="false: a failure is logged, and the parent launch goes on."
        ),
    ]


def check_arguments(
    context: LaunchContext, file: str, own: Collection[str], booleans: Iterable[str], words: Sequence[str] | None = None
) -> None:
    """Refuse what the user has misspelt, and write every boolean argument as true or false.

    Args:
        context: of the launch, while the file is visited.
        file: the launch file's name. Included by another, it cannot tell whose an unknown argument is.
        own: the names of its arguments.
        booleans: of these, in any of the usual spellings.
        words: of the command line; None takes the process's.

    Raises:
        InputError: an unknown argument, or a value that means nothing.
    """
    values = context.launch_configurations
    for name in booleans:
        values[name] = as_boolean(name, values[name])
    level = values["log_level"] = values.get("log_level", LEVELS[0]).lower()
    if level not in LEVELS:
        raise InputError(f"log_level: expected one of {', '.join(LEVELS)}, got {level!r}")
    check_names({name: values[name] for name in own if name in values})
    if unknown := find_unknown(file, own, sys.argv if words is None else words):
        raise InputError(unknown)


def check_names(values: Mapping[str, str]) -> None:
    """Refuse topics, a namespace or a prefix that are not valid ROS names, before any process is started.

    Args:
        values: arguments by name; others than these are not looked at.

    Raises:
        InputError: the first that is wrong.
    """
    for name, text in values.items():
        if name.endswith("_topic"):
            check_name(name, text)
    if namespace := values.get("namespace", "").strip("/"):
        check_name("namespace", namespace)
    prefix = values.get("prefix", "")
    if not re.fullmatch(r"[\w./-]*", prefix, re.ASCII):
        raise InputError(f"prefix: expected letters, digits, _, -, . and /, got {prefix!r}")


def as_boolean(name: str, text: str, others: str = "") -> str:
    """Return `true` or `false` for any of the usual spellings.

    Args:
        name: of the argument.
        text: its value.
        others: what the caller accepts besides, for the message.

    Raises:
        InputError: something else.
    """
    for value, spellings in _WORDS.items():
        if text.strip().lower() in spellings:
            return value
    raise InputError(f"{name}: expected {others}true or false, got {text!r}")


def find_unknown(file: str, own: Collection[str], words: Sequence[str]) -> str:
    """Return which arguments on the command line the file does not have, or nothing; launch itself ignores them."""
    if file not in [Path(word).name for word in words if ":=" not in word]:
        return ""
    given = [word.partition(":=")[0] for word in words if ":=" in word]
    unknown = [name for name in given if name not in (*own, *_OF_ROS2_LAUNCH)]
    if not unknown:
        return ""
    return (
        f"{file}: expected its own arguments, got {', '.join(unknown)}; {_hint(unknown[0], own)} --show-args lists them"
    )


def _hint(unknown: str, own: Collection[str]) -> str:
    # Imported here, because `ros2 launch --show-args` loads this file too.
    from taskgan_ros.reach.parameters import ReachParameters

    likely = get_close_matches(unknown, own, n=1)
    parameters = [field.name for field in fields(ReachParameters)]
    if unknown in parameters and "reach_params" in own and unknown != "joint_prefix":  # which the argument prefix gives
        return f"{unknown} is a parameter of reach_node: write it into a file, and give that as reach_params;"
    return f"did you mean {likely[0]}?" if likely else "a parameter goes into a file;"


def is_required(context: LaunchContext) -> bool:
    """Return the argument `required`. Call it while the launch file is visited: the argument is scoped."""
    return str(context.launch_configurations["required"]).strip().lower() not in _WORDS["false"]


def log_arguments(context: LaunchContext) -> list[str]:
    """Return a node's ROS arguments for the argument `log_level`."""
    return ["--log-level", context.launch_configurations["log_level"]]


def time_parameters(context: LaunchContext) -> list[dict[str, Any]]:
    """Return a node's parameters for the argument `use_sim_time`; false leaves it to its file."""
    return [{"use_sim_time": True}] if context.launch_configurations["use_sim_time"] == "true" else []


def give_up(reason: str, required: bool) -> None:
    """Log the reason; if `required`, the whole launch ends with exit code 1.

    Raises:
        RuntimeError: ends the launch with an error; the action Shutdown logs no reason, and its exit code is 0.
    """
    if required:
        raise RuntimeError(reason)
    get_logger("taskgan_ros").error(reason)


def attempt(make: Make) -> OpaqueFunction:
    """Return an action that yields what `make` returns, and gives up if `make` raises an error."""

    def act(context: LaunchContext) -> list[Action] | None:
        try:
            return make(context)
        except (InputError, RuntimeError) as error:
            give_up(str(error), is_required(context))
            return None

    return OpaqueFunction(function=act)


def on_exit(name: str, required: bool) -> Callable[[ProcessExited, LaunchContext], Any]:
    """Return a node's exit handler, which gives up unless the launch is already shutting down."""

    def end(event: ProcessExited, context: LaunchContext) -> None:
        if not context.is_shutdown:
            give_up(f"{name} has ended with exit code {event.returncode}", required)

    return end
