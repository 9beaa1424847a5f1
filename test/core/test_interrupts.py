from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import taskgan_ros
from taskgan_ros.core import interrupts

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(taskgan_ros.__file__).parents[1])}
NAMED = """
import os, signal, sys, time
from taskgan_ros.core import interrupts
with interrupts.raised():
    try:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        time.sleep(0.01)
        print("goes on")
    except KeyboardInterrupt as error:
        print(error)
"""


def ignoring(number: signal.Signals) -> Callable[[], object]:
    return lambda: signal.signal(number, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("sent", "ignored", "printed"),
    [
        (signal.SIGINT, None, "interrupted"),
        (signal.SIGTERM, None, "interrupted by SIGTERM"),
        (signal.SIGHUP, None, "interrupted by SIGHUP"),
        (signal.SIGINT, signal.SIGINT, "interrupted"),  # `&` in a script
        (signal.SIGHUP, signal.SIGHUP, "goes on"),  # nohup
    ],
)
def test_a_stop_signal_is_named_and_only_nohup_holds_one_off(
    sent: signal.Signals, ignored: signal.Signals | None, printed: str
) -> None:
    command = [sys.executable, "-c", NAMED, sent.name]
    prepare = ignoring(ignored) if ignored else None
    done = subprocess.run(command, env=ENVIRONMENT, preexec_fn=prepare, capture_output=True, text=True)
    assert done.stdout == f"{printed}\n", done.stderr


def test_a_signal_is_raised_where_it_is_looked_for() -> None:
    with interrupts.deferred() as check:
        check()
        signal.raise_signal(signal.SIGTERM)  # might come in a destructor, where Python drops what is raised
        assert interrupts.requested()
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            check()
    assert not interrupts.requested()


def test_a_signal_that_nobody_looked_for_is_raised_at_the_end() -> None:
    reached = False

    def work() -> None:
        nonlocal reached
        with interrupts.deferred():
            signal.raise_signal(signal.SIGINT)
            reached = True

    with pytest.raises(KeyboardInterrupt, match="interrupted"):
        work()
    assert reached


def test_the_same_request_twice_is_one() -> None:
    with interrupts.deferred() as check:
        signal.raise_signal(signal.SIGTERM)  # `timeout` sends it to the process, and to its group
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            check()


@pytest.mark.parametrize("patient", [False, True])
def test_a_second_request_does_not_wait(patient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_SAME_S", -1.0)
    monkeypatch.setattr(interrupts._request, "delivered", True)
    with interrupts.raised(), interrupts.deferred(patient=True):
        signal.raise_signal(signal.SIGTERM)
        with interrupts.deferred(patient):
            if patient:
                signal.raise_signal(signal.SIGINT)
                return
            with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
                signal.raise_signal(signal.SIGINT)


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in interrupts.stop_signals()]
    with interrupts.raised(), interrupts.deferred():
        assert signal.getsignal(signal.SIGHUP) not in before
    assert [signal.getsignal(number) for number in interrupts.stop_signals()] == before
