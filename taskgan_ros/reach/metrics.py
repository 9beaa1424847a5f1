"""Rates and latencies over the recent past, for diagnostics."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

_WINDOW_S = 5.0
_SAMPLES = 1000  # for p99, ten lie beyond it


class Rate:
    """How often something happened within the last seconds; safe to ask from another thread."""

    def __init__(self, now_s: float) -> None:
        """Start to count."""
        self._started_s = now_s
        self._times: deque[float] = deque()
        self._lock = threading.Lock()
        self.count = 0

    def tick(self, now_s: float) -> None:
        """Note that it happened."""
        with self._lock:
            self.count += 1
            self._times.append(now_s)
            self._drop_old(now_s)

    def hz(self, now_s: float) -> float:
        """Return the mean rate of the last five seconds, or since the start where that is later."""
        with self._lock:
            self._drop_old(now_s)
            span_s = min(_WINDOW_S, now_s - self._started_s)
            return len(self._times) / span_s if span_s > 0 else 0.0

    def _drop_old(self, now_s: float) -> None:
        while self._times and self._times[0] <= now_s - _WINDOW_S:
            self._times.popleft()


class Latency:
    """The spread of the last durations."""

    def __init__(self) -> None:
        """Start without any."""
        self._values_s: deque[float] = deque(maxlen=_SAMPLES)

    def add(self, seconds: float) -> None:
        """Note one duration."""
        self._values_s.append(seconds)

    def quantile_s(self, q: float) -> float:
        """Return the duration that the fraction `q` does not exceed; NaN before the first."""
        return float(np.quantile(self._values_s, q)) if self._values_s else float("nan")

    def quantiles_ms(self, name: str) -> dict[str, float]:
        """Return p50 and p99 as `<name>_p50_ms` and `<name>_p99_ms`."""
        return {f"{name}_p50_ms": 1e3 * self.quantile_s(0.5), f"{name}_p99_ms": 1e3 * self.quantile_s(0.99)}
