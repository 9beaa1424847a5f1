"""Timing several things in turns, so that the machine's variations affect all of them alike."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field

import numpy as np
from report import Row

from taskgan_ros.policy.policy import Policy


@dataclass
class Times:
    """What the turns of one of them have brought: s of each, and CPU and wall time in all, s."""

    values_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0

    def row(self, names: Row, base: Times) -> Row:
        """Return them as the table shows them, after `names`; `base` is what they are compared with."""
        p50, p99 = np.quantile(self.values_s, [0.5, 0.99])
        return {
            **names,
            "n": len(self.values_s),
            "p50 ms": 1e3 * float(p50),
            "p99 ms": 1e3 * float(p99),
            "CPU % of a core": 100 * self.cpu_s / self.wall_s,
            "p50 ratio": float(p50 / np.quantile(base.values_s, 0.5)),
        }


def time_networks(policy: Policy, images: np.ndarray, rate_hz: float, seconds: float, times: Times) -> None:
    """Take a turn of the networks, at the camera's rate: idle cores slow down, as they do in the node."""
    started_s, cpu_s = time.monotonic(), time.process_time()
    for count in itertools.count(1):
        start_s = time.perf_counter()
        policy.act(images[count % len(images)][None], policy.home[None])
        times.values_s.append(time.perf_counter() - start_s)
        due_s = started_s + count / rate_hz
        if due_s > started_s + seconds:
            break
        time.sleep(max(0.0, due_s - time.monotonic()))
    times.cpu_s += time.process_time() - cpu_s
    times.wall_s += time.monotonic() - started_s
