"""Which lines are worth logging: each fault once when it comes, and now and then while it lasts."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

AGAIN_S: Final = 60.0  # between two lines on the same fault
APART_S: Final = 1.0  # between two lines on any: a thousand images may be damaged in a thousand ways
GONE_S: Final = 5.0  # after a line on it, a fault that is gone may be news again; one that flaps is not
_KNOWN: Final = 100  # faults
_NUMBER = re.compile(r"-?\d[\d.e+-]*")


class Journal:
    """Remembers what has been logged; numbers in a line do not count, as they change with each message."""

    def __init__(self, again_s: float = AGAIN_S, apart_s: float = APART_S) -> None:
        """Start with nothing logged.

        Args:
            again_s: s, between two lines on the same fault.
            apart_s: s, between a line and the first on another fault.
        """
        self._again_s, self._apart_s = again_s, apart_s
        self._logged_s: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def is_due(self, text: str, now_s: float) -> bool:
        """Return whether to log a line now, and then remember that it has been.

        Args:
            text: of the line.
            now_s: s, on a clock that advances.
        """
        fault = _fault(text)
        with self._lock:
            newest_s = next(reversed(self._logged_s.values()), None)
            last_s = self._logged_s.get(fault)
            if last_s is not None and now_s - last_s < self._again_s:
                return False
            if last_s is None and newest_s is not None and now_s - newest_s < self._apart_s:
                return False
            self._logged_s[fault] = now_s
            self._logged_s.move_to_end(fault)
            if len(self._logged_s) > _KNOWN:
                self._logged_s.popitem(last=False)
            return True

    def keep(self, texts: Iterable[str], now_s: float) -> None:
        """Forget the faults that are over, so that they are news when they come back.

        Args:
            texts: the lines on all that last.
            now_s: as that of `is_due`.
        """
        lasting = {_fault(text) for text in texts}
        with self._lock:
            gone = [f for f, at_s in self._logged_s.items() if f not in lasting and now_s - at_s >= GONE_S]
            for fault in gone:
                del self._logged_s[fault]


def _fault(text: str) -> str:
    return _NUMBER.sub("#", text)
