"""A worker thread that always takes the newest item: work that is slower than its input skips some."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
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
        self._changed = threading.Condition()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> bool:
        """Hand over an item; return whether one that was waiting is lost for it."""
        with self._changed:
            replaced = bool(self._waiting)
            self._waiting = [item]
            self._changed.notify()
        return replaced

    def clear(self) -> None:
        """Drop the item that waits, if any."""
        with self._changed:
            self._waiting = []

    def stop(self, timeout_s: float) -> None:
        """End the thread after the work it is at."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_stopped)
                if self._is_stopped:
                    return
                item = self._waiting.pop()
            try:
                self._try(item)
            except Exception:
                traceback.print_exc()

    def _try(self, item: T) -> None:
        try:
            self._work(item)
        except Exception as error:
            if not self._on_failure:
                raise
            self._on_failure(item, error)
