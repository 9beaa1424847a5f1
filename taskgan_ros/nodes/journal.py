"""Which lines are worth logging: each fault once when it comes, and now and then while it lasts."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import Final

_AGAIN_S: Final = 60.0  # between two lines on the same fault
_APART_S: Final = 1.0  # between two lines on any: a thousand images may be damaged in a thousand ways
_KNOWN: Final = 100  # faults
_NUMBER = re.compile(r"-?\d[\d.e+-]*")


class Journal:
    """Remembers what has been logged; numbers in a line do not count, as they change with each message."""

    def __init__(self) -> None:
        """Start with nothing logged."""
        self._logged_s: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def is_due(self, text: str, now_s: float) -> bool:
        """Return whether to log a line now, and then remember that it has been.

        Args:
            text: of the line.
            now_s: s, on a clock that advances.
        """
        fault = _NUMBER.sub("#", text)
        with self._lock:
            newest_s = next(reversed(self._logged_s.values()), None)
            last_s = self._logged_s.get(fault)
            if last_s is not None and now_s - last_s < _AGAIN_S:
                return False
            if last_s is None and newest_s is not None and now_s - newest_s < _APART_S:
                return False
            self._logged_s[fault] = now_s
            self._logged_s.move_to_end(fault)
            if len(self._logged_s) > _KNOWN:
                self._logged_s.popitem(last=False)
            return True

    def forget(self, text: str) -> None:
        """Log a line at once when its fault, which has gone, comes back."""
        with self._lock:
            self._logged_s.pop(_NUMBER.sub("#", text), None)
