"""Signals that end a command: Ctrl-C, SIGTERM, and the SIGHUP of a terminal that is gone.

Python handles a signal between any two instructions. An exception raised there can cut a write in two, and is lost
in a destructor or a callback from C. So where work can be lost, a signal is only noted, and raised between steps.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

_SAME_S = 1.0  # `timeout`, `make` and a terminal send one request twice; an impatient user's second one comes later

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # here, because after a fork nothing should be loaded

Handler = Callable[[int, FrameType | None], object]


class _Request:
    """The request to end.

    Attributes:
        what: the text to raise, empty while there is none; `since_s` is when it came.
        delivered: whether `check` has raised it.
        deferrals: how many `deferred` blocks are open; `patient` if they also defer a second signal.
    """

    what, since_s, delivered, deferrals, patient = "", 0.0, False, 0, False


_request = _Request()


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end this process: SIGINT, SIGTERM, and SIGHUP unless nohup made us ignore it.

    SIGINT counts even if it was ignored at startup, as in a script's background job (`&`). Otherwise it would save
    nothing, and could not end the nodes and workers that such a job starts.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@contextlib.contextmanager
def handled(numbers: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    """Let `handler` take the signals within the block; outside the main thread, where none arrive, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, previous in before:
            signal.signal(number, previous)


def install(handler: Handler) -> None:
    """Let `handler` take the stop signals for the rest of the process."""
    for number in stop_signals():
        signal.signal(number, handler)


def ignore() -> None:
    """Ignore the stop signals from now on: at exit Python restores the default handlers, and one would kill us."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; Linux only.

    SIGKILL, not SIGTERM: DDS leaves half a megabyte of shared memory behind, but no process can hang.

    Args:
        parent: the process that must still be this one's parent; if it is not, this process ends now.
    """
    if sys.platform != "linux":
        return
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent had ended before the request took effect
        os._exit(1)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Let the stop signals raise a KeyboardInterrupt that says which one came."""
    if signal.getsignal(signal.SIGTERM) is _take:
        yield
        return
    with handled(stop_signals(), _take):
        try:
            yield
        finally:
            _request.what, _request.delivered = "", False


@contextlib.contextmanager
def deferred(patient: bool = False) -> Iterator[Callable[[], None]]:
    """Note the first stop signal within the block, and raise it where `check` is called, at the latest at its end.

    A second one, more than a second later, raises at once, for a user who cannot wait.

    Args:
        patient: whether a second signal is deferred too.

    Yields:
        `check`; to be called many times a second.
    """
    with raised():
        before, _request.patient = _request.patient, patient
        _request.deferrals += 1
        try:
            yield check
            if not _request.delivered:
                check()
        finally:
            _request.deferrals -= 1
            _request.patient = before


def check() -> None:
    """Raise KeyboardInterrupt if a stop signal has come."""
    if _request.what:
        _request.delivered = True
        raise KeyboardInterrupt(_request.what)


def requested() -> bool:
    """Return whether a stop signal has come."""
    return bool(_request.what)


def is_repeated() -> bool:
    """Return whether a signal that comes now only repeats the last one: a lost terminal's shell passes SIGHUP on."""
    return bool(_request.what) and time.monotonic() - _request.since_s <= _SAME_S


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Block the stop signals: a process started meanwhile never gets one; this process gets it afterwards.

    A terminal sends Ctrl-C to every process of a command, as a system does SIGTERM; only the parent handles it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _take(number: int, _frame: FrameType | None) -> None:
    first = not _request.what
    if first:
        name = signal.Signals(number).name
        _request.what = "interrupted" if number == signal.SIGINT else f"interrupted by {name}"
        _request.since_s = time.monotonic()
    impatient = not (is_repeated() or _request.patient)
    if impatient or (first and not _request.deferrals):
        raise KeyboardInterrupt(_request.what)
