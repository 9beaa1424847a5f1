"""A session's own processes and ROS domain: isolated from all other nodes, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from taskgan_ros.core import interrupts
from taskgan_ros.core.config import share_dir

_GRACE_S = 10.0  # a node that gets SIGINT holds the arm first, and finishes its current work
_POLL_S = 0.005
_TAIL_LINES = 20

# DDS derives its UDP ports from the domain: these of each, the rest is for more participants than we look for.
_LAST_DOMAIN_ID = 101  # the ports of higher ones are also handed out to outgoing connections
_PORT_BASE, _PORTS_PER_DOMAIN, _PORT_OFFSETS = 7400, 250, (0, 1, *range(10, 30))

_NO_PEERS = {"ROS_STATIC_PEERS": None, "ROS_DISCOVERY_SERVER": None}


class SessionError(RuntimeError):
    """A session cannot continue; the message says what was expected and what came."""


class ProcessEnded(SessionError):
    """A process of the session has ended by itself; the message has the end of its log."""


@dataclass(frozen=True)
class ChildProcess:
    """A process and what it writes.

    Attributes:
        name: what it is called here.
        log: the file of all that it has written.
        popen: how Python started it.
    """

    name: str
    log: Path
    popen: subprocess.Popen[bytes]

    @property
    def text(self) -> str:
        """All that it has written."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def tail(self) -> str:
        """The end of it, with the file's name."""
        shown = self.text.splitlines()[-_TAIL_LINES:] or ["(it is empty)"]
        return "\n".join([f"the end of {self.log}:", *(f"  {line}" for line in shown)])

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Return its status when it has ended; it must do so within `timeout_s`."""
        return self.popen.wait(timeout_s)


class ChildProcesses:
    """Processes that live no longer than the `with` block, nor than this process, however either ends.

    Each is the head of a process group of its own, so that a terminal's Ctrl-C reaches this process alone, which
    then ends them in good order. Should this process be killed, the kernel kills each of them.
    A SessionError that leaves the block gets the ends of their logs.
    """

    def __init__(self, log_dir: Path) -> None:
        """Start none yet; `start` only from the main thread, since the kernel watches the thread that starts them.

        Args:
            log_dir: gets `NAME.log`, all that the process NAME writes.
        """
        self._log_dir = log_dir
        self._children: list[ChildProcess] = []

    def start(self, name: str, command: Sequence[str]) -> ChildProcess:
        """Start `command` and call it `name`."""
        log = self._log_dir / f"{name}.log"
        parent = os.getpid()
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _prepare(parent),
            )
        self._children.append(ChildProcess(name, log, process))
        return self._children[-1]

    def check(self) -> None:
        """Raise ProcessEnded if one has ended."""
        for child in self._children:
            status = child.popen.poll()
            if status is not None:
                how = f"status {status}" if status >= 0 else signal.Signals(-status).name
                raise ProcessEnded(f"expected {child.name} to run, but it ended with {how}\n{child.tail}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of them, and to what they have started."""
        for child in self._children:
            child.send(number)

    def stop(self, grace_s: float = _GRACE_S) -> tuple[str, ...]:
        """End all of them: SIGINT, and SIGKILL for those that still run after `grace_s`, or after another signal to us.

        Returns:
            The names of those that had to be killed.
        """
        with interrupts.handled(interrupts.stop_signals(), self._kill_for_another):
            self.send(signal.SIGINT)
            self.send(signal.SIGCONT)  # a suspended process gets no other signal
            deadline = time.monotonic() + grace_s
            while self._running() and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            killed = self._running()
            self.send(signal.SIGKILL)  # also to whatever a child that has ended left in its group
            for child in self._children:
                child.popen.wait()
        self._children.clear()
        return killed

    def __enter__(self) -> ChildProcesses:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all of them."""
        tails = [child.tail for child in self._children]
        self.stop()
        if isinstance(error, SessionError) and not isinstance(error, ProcessEnded):  # which has its log
            raise SessionError("\n".join([str(error), *tails])) from error

    def _kill_for_another(self, *_: object) -> None:
        """Kill on a stop signal, unless it only repeats the one for which we end."""
        if not interrupts.is_repeated():
            self.send(signal.SIGKILL)

    def _running(self) -> tuple[str, ...]:
        return tuple(child.name for child in self._children if child.popen.poll() is None)


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """Reserve a ROS domain that nobody on this machine uses.

    Raises:
        SessionError: all are taken.
    """
    for domain_id in random.sample(range(1, _LAST_DOMAIN_ID + 1), _LAST_DOMAIN_ID):
        # The name keeps a second session out before the first has opened a port; it goes with the process.
        with socket.socket(socket.AF_UNIX) as reserved:
            try:
                reserved.bind(f"\0taskgan_ros/domain/{domain_id}")
            except OSError:
                continue
            if _is_quiet(domain_id):
                yield domain_id
                return
    raise SessionError(f"expected a free ROS domain, but 1 to {_LAST_DOMAIN_ID} are all in use")


@contextlib.contextmanager
def isolated(log_dir: Path, **changes: str) -> Iterator[tuple[int, ChildProcesses]]:
    """Return a ROS domain that nobody uses, and processes for it, whose logs `log_dir` gets.

    Within the block, this process's environment is the domain's too, with `changes`.

    Raises:
        SessionError: all domains are taken.
    """
    with (
        own_domain() as domain_id,
        environment({**ros_environment(domain_id), **changes}),
        ChildProcesses(log_dir) as processes,
    ):
        yield domain_id, processes


def ros_arguments(parameters: Mapping[str, Any], *further: str) -> list[str]:
    """Return a node's arguments, the parameters in quotes where YAML would read another type."""
    values = [f"{name}:={json.dumps(value, default=str)}" for name, value in parameters.items()]
    words = [word for value in values for word in ("-p", value)]
    return ["--ros-args", "--disable-external-lib-logs", *further, *words]  # those logs would go to ~/.ros


def wait_until(
    what: str, is_there: Callable[[], object], timeout_s: float, check: Callable[[], object] = lambda: None
) -> None:
    """Wait for `what`; `check` is called meanwhile, and may end it by raising.

    Raises:
        SessionError: it is not there within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not is_there():
        check()
        if time.monotonic() > deadline:
            raise SessionError(f"expected {what} within {timeout_s:g} s, got none")
        time.sleep(_POLL_S)


def ros_environment(domain_id: int) -> dict[str, str | None]:
    """Return what nodes need to meet in this domain, on this machine alone; for `environment`."""
    return {
        "ROS_DOMAIN_ID": str(domain_id),
        **loopback_environment(),
        "RCUTILS_COLORIZED_OUTPUT": "0",
        "PYTHONSAFEPATH": "1",  # or the nodes would import what lies in the working directory
        "PYTHONUNBUFFERED": "1",
    }


def loopback_environment() -> dict[str, str | None]:
    """Return what keeps nodes to this machine; with Fast DDS also out of its shared memory, for one may be killed."""
    # Only where the profile was tried: with SYSTEM_DEFAULT, another middleware speaks to the network.
    middleware = os.environ.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"  # Jazzy's own choice
    is_jazzy = os.environ.get("ROS_DISTRO", "jazzy") == "jazzy"  # PyPI's wheels are, and do not set it
    if not (is_jazzy and middleware.startswith("rmw_fastrtps")):
        return {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **_NO_PEERS}
    return {
        "RMW_IMPLEMENTATION": middleware,  # or an installation without it would choose another
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(share_dir() / "config" / "fastdds_loopback.xml"),
        "ROS_LOCALHOST_ONLY": None,  # would take precedence
        **_NO_PEERS,
    }


@contextlib.contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Change this process's environment within the block, as `set_environment` does."""
    before = {name: os.environ.get(name) for name in changes}
    set_environment(changes)
    try:
        yield
    finally:
        set_environment(before)


def set_environment(changes: Mapping[str, str | None]) -> None:
    """Change this process's environment; None removes a variable."""
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _prepare(parent: int) -> None:
    """Run in the child before it becomes the program, which keeps the settings."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a script's `&` leaves it ignored, and we end the program with it
    interrupts.die_with(parent)


def _is_quiet(domain_id: int) -> bool:
    for offset in _PORT_OFFSETS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", _PORT_BASE + _PORTS_PER_DOMAIN * domain_id + offset))
            except OSError:
                return False
    return True
