"""Differences of joint positions: angles of a continuous joint compare modulo 2π, those of a limited one do not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TURN_RAD = 2 * np.pi


def whole_turns(step: Array, is_continuous: NDArray[np.bool_]) -> Array:
    """Return the whole turns in `step` (..., n) rad, to be subtracted; 0 where a joint has limits or is not finite.

    Args:
        step: (..., n) rad, a difference of two positions.
        is_continuous: (n,) whether a joint has no limits, so that its driver may report other whole turns.

    Returns:
        (..., n) rad, multiples of 2π.
    """
    turns = np.round(step / _TURN_RAD)
    return np.where(is_continuous & np.isfinite(turns), turns, 0.0) * _TURN_RAD


def angle_difference(target: Array, here: Array, is_continuous: NDArray[np.bool_]) -> Array:
    """Return target − here (..., n) rad; for continuous joints the shortest one, in [−π, π]."""
    step = target - here
    return step - whole_turns(step, is_continuous)
