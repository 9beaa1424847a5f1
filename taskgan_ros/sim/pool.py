"""Processes that render side by side, and never outlive the command that started them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError

_LOOK_S = 0.05  # between checks for signals, while workers work
_DYING_S = 5.0  # in which a worker whose pipe has ended is gone too

Job = TypeVar("Job")
Result = TypeVar("Result")


def check_workers(count: int) -> None:
    """Refuse fewer than one worker."""
    if count < 1:
        raise InputError(f"workers: expected at least 1, got {count}")


def run_parallel(
    work: Callable[[Job], Result], jobs: Sequence[Job], count: int
) -> Generator[tuple[Job, Result], None, None]:
    """Yield (job, work(job)) as they are done, by `count` fresh processes; close it to end them.

    Each worker has a pipe of its own. A `ProcessPoolExecutor` has one for all, and hangs for ever once a worker is
    killed while it sends an image.

    Args:
        work: a function that can be pickled.
        jobs: what it is called with.
        count: how many processes at most; they end with this one, even where it is killed.

    Raises:
        InputError: a worker was killed, or ended otherwise.
        KeyboardInterrupt: a signal came that `interrupts.deferred` has noted.
        Exception: what `work` raises.
    """
    # Mesa's software renderer starts one thread per core in each process; together they only wait for each other.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # Python would look for modules in the working directory first
    with interrupts.blocked():  # else the first worker's start would start the tracker, which unblocks signals
        resource_tracker.ensure_running()
    context = multiprocessing.get_context("spawn")
    waiting = iter(jobs)
    busy: dict[Connection, Job] = {}
    processes: dict[Connection, BaseProcess] = {}
    try:
        for _, job in zip(range(count), waiting, strict=False):
            ours, its = context.Pipe()
            processes[ours] = context.Process(target=_serve, args=(work, its, os.getpid()), daemon=True)
            with interrupts.blocked():
                processes[ours].start()
            its.close()  # so that a worker's end is the end of its pipe
            _give(ours, job, busy)
        while busy:
            interrupts.check()
            for pipe in wait(list(busy), _LOOK_S):
                assert isinstance(pipe, Connection)
                job, result = busy.pop(pipe), _take(pipe, processes[pipe])
                for another in waiting:
                    _give(pipe, another, busy)
                    break
                yield job, result
    finally:
        for process in processes.values():
            process.kill()  # it has nothing to save
        for process in processes.values():
            process.join()


def _give(pipe: Connection, job: Job, busy: dict[Connection, Job]) -> None:
    busy[pipe] = job
    with contextlib.suppress(BrokenPipeError):  # `_take` will say so
        pipe.send(job)


def _take(pipe: Connection, process: BaseProcess) -> Any:
    try:
        result, error = pipe.recv()
    except (EOFError, OSError) as cause:
        process.join(_DYING_S)
        raise InputError(f"expected every worker to survive, got one that {_how_it_ended(process.exitcode)}") from cause
    if error is not None:
        raise error
    return result


def _how_it_ended(status: int | None) -> str:
    """Return how a process with this exit status, minus a signal's number, came to its end."""
    if status is None or status >= 0:
        return f"left without a word, exit status {status}"
    if status == -signal.SIGKILL:
        return "was killed: if memory is short, use fewer --workers"
    return f"was ended by {signal.Signals(-status).name}"


def _serve(work: Callable[[Any], Any], pipe: Connection, parent: int) -> None:
    """Be a worker: take jobs and give results."""
    interrupts.die_with(parent)
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is done with us
        _take_jobs(work, pipe)


def _take_jobs(work: Callable[[Any], Any], pipe: Connection) -> None:
    while True:
        job = pipe.recv()
        result, fault = None, None
        try:
            result = work(job)
        except Exception as error:
            if not isinstance(error, InputError):
                error.add_note(f"in a worker: {traceback.format_exc()}")  # its traceback cannot be sent
            fault = error
        pipe.send((result, fault))
