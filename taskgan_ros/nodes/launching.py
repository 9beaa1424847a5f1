"""What the launch files share. Light, because `ros2 launch --show-args` loads them too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launch.actions import OpaqueFunction
from launch.events.process import ProcessExited
from launch.logging import get_logger

from launch import Action, LaunchContext  # type: ignore[attr-defined]  # mypy takes the folder of launch files for it
from taskgan_ros.core.errors import InputError

Make = Callable[[LaunchContext], list[Action] | None]


def is_required(context: LaunchContext) -> bool:
    """Return the argument `required`. Call it while the launch file is visited: the argument is scoped."""
    return bool(context.launch_configurations["required"] == "true")


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
