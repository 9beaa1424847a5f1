from __future__ import annotations

import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.sim.pool import run_parallel

LARGE = 1_000_000  # numbers: more than a pipe holds


def test_every_job_is_done_once() -> None:
    results = dict(run_parallel(partial(np.full, LARGE), range(7), 3))
    assert sorted(results) == list(range(7))
    for number, result in results.items():
        assert result.shape == (LARGE,)
        assert (result == number).all()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("jobs", [[], [4]])
def test_more_workers_than_jobs_do_no_harm(jobs: list[int]) -> None:
    assert list(run_parallel(abs, jobs, 2)) == [(job, job) for job in jobs]


def test_a_workers_input_error_is_reported() -> None:
    with pytest.raises(InputError, match="domains: expected a file or one of") as error:
        list(run_parallel(load_domain, ["source", "marble"], 2))
    assert not hasattr(error.value, "__notes__")
    assert multiprocessing.active_children() == []


def test_a_workers_exception_is_reported_with_its_traceback() -> None:
    with pytest.raises(statistics.StatisticsError) as error:
        list(run_parallel(statistics.mean, [[1.0], []], 1))
    assert "statistics.py" in error.value.__notes__[0]


@pytest.mark.parametrize(
    ("end", "how", "message"),
    [
        (signal.raise_signal, int(signal.SIGSEGV), r"was ended by SIGSEGV$"),
        (os._exit, 3, r"left without a word, exit status 3$"),
    ],
)
def test_how_a_worker_ended_is_told(end: Callable[[int], None], how: int, message: str) -> None:
    with pytest.raises(InputError, match=f"expected every worker to survive, got one that {message}"):
        list(run_parallel(end, [how], 1))


def test_a_worker_that_is_killed_while_it_sends_is_told() -> None:
    def first_then_rest(results: Iterator[Any]) -> None:
        next(results)
        time.sleep(1)  # the next results are on their way and nobody takes them
        for worker in multiprocessing.active_children():
            worker.kill()
        list(results)

    with (
        closing(run_parallel(partial(np.full, LARGE), range(8), 2)) as results,
        pytest.raises(InputError, match="expected every worker to survive, got one that was killed"),
    ):
        first_then_rest(results)
    assert multiprocessing.active_children() == []
