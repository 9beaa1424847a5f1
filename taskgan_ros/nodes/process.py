"""A node as a process: spin until a signal comes, then let the node finish while it can still publish."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NoReturn, TypeVar

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.parameter_files import check_parameter_file, parameter_files

N = TypeVar("N", bound=Node)

_LOOK_S = 0.05  # for signals that came to another thread
_CALLBACK_S = 10.0  # to wait for the callback that is under way; loading a policy takes seconds

EXIT_INPUT_ERROR, EXIT_FAULT = 2, 1  # the first is that of the command `taskgan`

# What rclpy raises for user input: arguments, parameter files, names, remappings, the domain.
_ROS_INPUT_ERRORS = (
    rclpy_implementation.RCLError,
    rclpy_implementation.RCLInvalidROSArgsError,
    rclpy_implementation.UnknownROSArgsError,
    NameValidationException,
    ParameterException,
)
_OF_NO_USE = re.compile(r"failed to initialize rcl: |, at \S+:\d+|\. Error: error not set")
_MIXED_LIST = "Sequence should be of same type"


class Stop:
    """Ends the process: set by a signal, or by a node with the reason why it cannot continue.

    It is a SimpleQueue, which may be used in a signal handler that interrupts itself. An Event may not: the second
    of two signals, as a terminal and `ros2 launch` both send one, would wait for a lock that the first one holds.
    """

    def __init__(self) -> None:
        """Start unset."""
        self._faults: SimpleQueue[str] = SimpleQueue()

    def __call__(self, fault: str = "") -> None:
        """Request the end."""
        self._faults.put(fault)

    def wait(self) -> str:
        """Return when the end has been requested: the fault, or nothing.

        It wakes up regularly: the kernel may deliver a signal to any thread, but Python's handler runs in this one, and
        only when it wakes. Both of two signals at once, as from Ctrl-C in `ros2 launch`, could go to other threads.
        """
        while True:
            with contextlib.suppress(Empty):
                return self._faults.get(timeout=_LOOK_S)


def run(name: str, make_node: Callable[[Stop], N], stop_node: Callable[[N], None], args: list[str] | None) -> int:
    """Make a node, spin it until a stop signal or a fault, stop it; return the process's exit status.

    rclpy's own signal handlers shut the context down at once, and a hold could no longer be sent. So the
    signals are ours, and the executor spins in a thread: Python runs signal handlers in the main one, which
    only waits. The executor is the single-threaded one: the EventsExecutor of Jazzy's wheels (rclpy 7.1.6)
    takes a whole core and calls nothing back.

    Args:
        name: of the logger that says why there is no node.
        make_node: is given what ends the process.
        stop_node: is called while the node can still publish.
        args: of the process; None takes those of the command line.
    """
    stop = Stop()
    interrupts.install(lambda *_: stop())
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except _ROS_INPUT_ERRORS as error:
        return _refuse(name, error)
    try:
        return _run(name, make_node, stop_node, stop, sys.argv if args is None else args)
    finally:
        rclpy.shutdown()


def finish(status: int) -> NoReturn:
    """End the process, even if a thread still does something that cannot be interrupted, such as an inference."""
    interrupts.ignore()
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:  # at exit, Python would abort on a daemon thread (status -6), and wait for any other
        with contextlib.suppress(OSError):  # a log on a full disk
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _run(name: str, make_node: Callable[[Stop], N], stop_node: Callable[[N], None], stop: Stop, args: list[str]) -> int:
    try:
        node = make_node(stop)
    except (InputError, *_ROS_INPUT_ERRORS) as error:
        return _refuse(name, error)
    _warn_of_files_for_others(node, args)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor, stop), name="executor", daemon=True)
    spinner.start()
    fault = stop.wait()
    if fault:
        node.get_logger().fatal(fault)
    stop_node(node)
    executor.shutdown(timeout_sec=_CALLBACK_S)
    spinner.join(_CALLBACK_S)
    node.destroy_node()
    return EXIT_FAULT if fault else 0


def _warn_of_files_for_others(node: Node, args: list[str]) -> None:
    """Warn of parameter files without entries for this node; `ros2 launch` may give one file to many nodes."""
    for file in parameter_files(args):
        try:
            check_parameter_file(file, node.get_fully_qualified_name())
        except InputError as error:
            node.get_logger().warning(f"ignored a parameter file: {error}")


def _refuse(name: str, error: Exception) -> int:
    """Log why there is no node, one line per fault; return the exit status."""
    text = str(error) if isinstance(error, InputError) else _explain(error)
    for line in text.splitlines():
        get_logger(name).fatal(line)
    return EXIT_INPUT_ERROR


def _explain(error: Exception) -> str:
    text = " ".join(_OF_NO_USE.sub("", str(error)).split())
    if isinstance(error, rclpy_implementation.UnknownROSArgsError):
        return f"expected ROS arguments, got unknown ones: {text}"
    hint = "; in one list, write all numbers with a decimal point, or none" if _MIXED_LIST in text else ""
    return f"refused by ROS: {text}{hint}"


def _spin(executor: SingleThreadedExecutor, stop: Stop) -> None:
    try:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()
    except Exception as error:
        stop(f"the executor ended with {type(error).__name__}: {error}")
        raise
