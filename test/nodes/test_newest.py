from __future__ import annotations

import threading
import time

from taskgan_ros.nodes.newest import NewestOnly


def test_slow_work_takes_the_newest_and_says_what_is_lost() -> None:
    taken: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def work(item: int) -> None:
        taken.append(item)
        started.set()
        assert go_on.wait(10)

    worker = NewestOnly(work, "test")
    assert not worker.put(0)
    assert started.wait(10)
    assert [worker.put(k) for k in (1, 2, 3)] == [False, True, True]
    go_on.set()
    deadline = time.monotonic() + 10
    while len(taken) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    worker.stop(10)
    assert taken == [0, 3]


def test_it_outlives_what_the_work_raises_and_what_is_made_of_that() -> None:
    taken: list[int] = []
    failed: list[tuple[int, str]] = []
    done = threading.Event()

    def work(item: int) -> None:
        taken.append(item)
        done.set()
        if item < 2:
            raise ValueError(f"bad {item}")

    def note(item: int, error: Exception) -> None:
        failed.append((item, str(error)))
        if item == 1:
            raise RuntimeError("cannot even say so")

    worker = NewestOnly(work, "test", note)
    for item in range(3):
        done.clear()
        worker.put(item)
        assert done.wait(10)
    worker.stop(10)
    assert taken == [0, 1, 2]
    assert failed == [(0, "bad 0"), (1, "bad 1")]


def test_what_is_cleared_or_waits_at_the_end_is_not_worked_on() -> None:
    taken: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def work(item: int) -> None:
        taken.append(item)
        started.set()
        assert go_on.wait(10)

    worker = NewestOnly(work, "test")
    worker.put(0)
    assert started.wait(10)
    worker.put(1)
    worker.clear()
    assert not worker.put(2)
    go_on.set()
    worker.stop(10)
    assert taken in ([0], [0, 2])  # 2 only where the worker was faster than the stop
