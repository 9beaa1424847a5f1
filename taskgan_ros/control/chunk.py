"""A chunk of commands as segments of one motion: what is asked of the driven joints, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """What is asked of the J driven joints for some time.

    Attributes:
        command: (J,) a velocity in rad/s, or a position in rad: where the joints shall be when the segment begins.
        rate: (J,) rad/s at which that position goes on; zero for velocities.
        lasts_s: s.
    """

    command: Array
    rate: Array
    lasts_s: float


def segments(commands: Array, rates: Array, step_s: float, passed_s: float, horizon_s: float) -> list[Segment]:
    """Return what is left of a chunk of K commands, up to the horizon. The last command holds until that.

    Args:
        commands: (K, J) rad/s or rad; the k-th is for the time from k · step_s on.
        rates: (K, J) rad/s, how fast positions go on to the next.
        step_s: s; any number for K = 1.
        passed_s: s of the chunk that are over when the motion begins.
        horizon_s: s that the motion lasts before its stop.

    Returns:
        At least one, their times together `horizon_s`.
    """
    starts_s = step_s * np.arange(1, len(commands)) - passed_s
    bounds_s = np.clip([0.0, *starts_s, horizon_s], 0.0, horizon_s)
    begun_s = bounds_s[:-1] - np.array([-passed_s, *starts_s])  # of each command, when its segment begins
    at_start = commands + rates * begun_s[:, None]
    parts = zip(at_start, rates, np.diff(bounds_s).tolist(), strict=True)
    return [Segment(command, rate, lasts_s) for command, rate, lasts_s in parts if lasts_s > 0]
