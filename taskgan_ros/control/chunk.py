"""A chunk of commands as segments of one motion: the command for the driven joints, and how long it lasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """A command for the J driven joints over a time span.

    Attributes:
        command: (J,) a velocity in rad/s, or a position in rad: where the joints should be when the segment begins.
        rate: (J,) rad/s at which that position advances; zero for velocities.
        lasts_s: s, the duration.
    """

    command: Array
    rate: Array
    lasts_s: float


def segments(commands: Array, rates: Array, step_s: float, passed_s: float, horizon_s: float) -> list[Segment]:
    """Return the rest of a chunk of K commands, up to the horizon; the last command is held until then.

    Args:
        commands: (K, J) rad/s or rad; the k-th is for the time from k · step_s on.
        rates: (K, J) rad/s, how fast positions advance to the next.
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
