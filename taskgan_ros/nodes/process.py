"""A node as a process: spin until a signal comes, then let the node finish while it can still publish."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NoReturn, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from taskgan_ros.errors import InputError

N = TypeVar("N", bound=Node)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_S = 0.05  # for signals that came to another thread
_CALLBACK_S = 10.0  # to wait for the callback that is under way; loading a policy takes seconds

EXIT_INPUT_ERROR, EXIT_FAULT = 2, 1  # the first is that of the command `taskgan`


class Stop:
    """Ends the process: set by a signal, or by a node with the reason why it cannot go on.

    It is a SimpleQueue, which may be used in a signal handler that interrupts itself. An Event may not: the second
    of two signals, as a terminal and `ros2 launch` both send one, would wait for a lock that the first one holds.
    """

    def __init__(self) -> None:
        """Start unset."""
        self._faults: SimpleQueue[str] = SimpleQueue()

    def __call__(self, fault: str = "") -> None:
        """Ask for the end."""
        self._faults.put(fault)

    def wait(self) -> str:
        """Return when the end has been asked for: the fault, or nothing.

        It looks up now and then, for the kernel may give a signal to any thread: Python's handler runs in this one,
        but only once it wakes. Of two signals at once, as Ctrl-C in `ros2 launch` is, both could go elsewhere.
        """
        while True:
            with contextlib.suppress(Empty):
                return self._faults.get(timeout=_LOOK_S)


def run(make_node: Callable[[Stop], N], stop_node: Callable[[N], None], args: list[str] | None) -> int:
    """Make a node, spin it until SIGINT, SIGTERM or a fault, stop it; return the process's exit status.

    rclpy's own signal handlers shut the context down at once, and a hold could no longer be sent. So the
    signals are ours, and the executor spins in a thread: Python runs signal handlers in the main one, which
    only waits. The executor is the single-threaded one: the EventsExecutor of Jazzy's wheels (rclpy 7.1.6)
    takes a whole core and calls nothing back.
    """
    stop = Stop()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stop())
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        return _run(make_node, stop_node, stop)
    finally:
        rclpy.shutdown()


def finish(status: int) -> NoReturn:
    """End the process, even where a thread is still at something that cannot be interrupted, as an inference."""
    for number in _SIGNALS:  # as it ends, Python gives its handlers up, and the second of two signals would kill it
        signal.signal(number, signal.SIG_IGN)
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:  # Python would pull the interpreter from under a daemon: abort, status -6; and wait for any other
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _run(make_node: Callable[[Stop], N], stop_node: Callable[[N], None], stop: Stop) -> int:
    try:
        node = make_node(stop)
    except InputError as error:
        print(error, file=sys.stderr)
        return EXIT_INPUT_ERROR
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


def _spin(executor: SingleThreadedExecutor, stop: Stop) -> None:
    try:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()
    except Exception as error:
        stop(f"the executor ended with {type(error).__name__}: {error}")
        raise
