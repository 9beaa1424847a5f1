"""A worker thread that always takes the newest item: work that is slower than its input skips some."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestOnly(Generic[T]):
    """Runs `work(item)` in a thread of its own; an item that is still waiting is replaced by a newer one."""

    def __init__(
        self, work: Callable[[T], None], name: str, on_failure: Callable[[T, Exception], None] | None = None
    ) -> None:
        """Start the thread.

        Args:
            work: is called with each item; the thread outlives whatever it raises.
            name: of the thread.
            on_failure: is called with the item and what `work` raised; None prints it.
        """
        self._work, self._on_failure = work, on_failure
        self._waiting: list[T] = []  # at most one
        self._lock = threading.Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()  # a Condition is Python code, which the item would wait for
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> bool:
        """Hand over an item; return whether it replaces one that was waiting."""
        with self._lock:
            replaced = bool(self._waiting)
            self._waiting = [item]
        if not replaced:
            self._wake.put(None)
        return replaced

    def clear(self) -> None:
        """Drop the item that waits, if any."""
        with self._lock:
            self._waiting = []

    def stop(self, timeout_s: float) -> None:
        """End the thread after its current item."""
        self._is_stopped = True
        self._wake.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.get()
            if self._is_stopped:
                return
            with self._lock:
                taken, self._waiting = self._waiting, []  # none where it was cleared since
            for item in taken:
                self._try(item)

    def _try(self, item: T) -> None:
        try:
            self._work_on(item)
        except Exception:
            traceback.print_exc()

    def _work_on(self, item: T) -> None:
        try:
            self._work(item)
        except Exception as error:
            if not self._on_failure:
                raise
            self._on_failure(item, error)
