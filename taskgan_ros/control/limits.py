"""Speed and position limits: an arm can follow the result, whatever a network outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.core.errors import InputError

Array = NDArray[np.float64]


def finite(what: str, values: ArrayLike) -> Array:
    """Return `values` as float64.

    Raises:
        InputError: a value is NaN or infinite; `what` names the values in the message.
    """
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{what}: expected finite numbers, got {array.tolist()}")
    return array


def duration(what: str, seconds: float) -> float:
    """Return `seconds` as a float.

    Raises:
        InputError: not a positive, finite number; `what` names it in the message.
    """
    if not (np.isfinite(seconds) and seconds > 0):
        raise InputError(f"{what}: expected a positive number of seconds, got {seconds}")
    return float(seconds)


def limit_velocity(velocity: ArrayLike, max_velocity: ArrayLike) -> Array:
    """Slow all joints by one factor: the fastest keeps its limit, and the direction in joint space stays.

    `v · 1 / max(1, max_j |v_j| / limit_j)`: a velocity within the limits comes back unchanged.

    Args:
        velocity: (..., J) rad/s.
        max_velocity: (J,) rad/s, positive; infinite where a joint has no limit.

    Returns:
        (..., J) rad/s, each |v_j| ≤ max_velocity_j.

    Raises:
        InputError: a velocity that is not finite, a limit that is not positive, or shapes that do not fit.
    """
    v, limit = finite("velocity", velocity), _speed_limit(max_velocity)
    _check_joints("velocity", v, limit)
    with np.errstate(over="ignore"):  # a ratio beyond float64 stops the arm, as it should
        fastest = np.max(np.abs(v) / limit, axis=-1, keepdims=True, initial=1.0)
    slowed: Array = np.clip(v / fastest, -limit, limit)  # the clip takes off the division's rounding only
    return slowed


def integrate(
    q: ArrayLike,
    velocity: ArrayLike,
    dt_s: float,
    lower: ArrayLike,
    upper: ArrayLike,
    max_velocity: ArrayLike,
) -> Array:
    """Return where `dt_s` seconds at the limited velocity lead, no further than the position limits.

    A joint that is measured beyond a limit may stay or come back, but is not thrown back in one step and
    never goes further out: no joint ever moves more than `max_velocity · dt_s`.

    Args:
        q: (..., J) rad, the configuration now.
        velocity: (..., J) rad/s.
        dt_s: s, positive.
        lower: (J,) rad, -inf where continuous.
        upper: (J,) rad, inf where continuous.
        max_velocity: (J,) rad/s.

    Returns:
        (..., J) rad.

    Raises:
        InputError: a number that is not finite, limits that are no range, or shapes that do not fit.
    """
    here, low, high = finite("configuration", q), np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    if not np.all(low <= high):  # false for NaN too
        raise InputError(f"position limits: expected lower <= upper, got {low.tolist()} and {high.tolist()}")
    _check_joints("configuration", here, low, high)
    step = limit_velocity(velocity, max_velocity) * duration("dt_s", dt_s)
    return finite("next configuration", np.clip(here + step, np.minimum(low, here), np.maximum(high, here)))


def _speed_limit(max_velocity: ArrayLike) -> Array:
    limit = np.asarray(max_velocity, dtype=np.float64)
    if not np.all(limit > 0):  # false for NaN too
        raise InputError(f"max_velocity: expected positive numbers, got {limit.tolist()}")
    return limit


def _check_joints(what: str, values: Array, *limits: Array) -> None:
    for limit in limits:
        if limit.ndim != 1 or values.shape[-1:] != limit.shape:
            shapes = f"{list(values.shape)} and {list(limit.shape)}"
            raise InputError(f"{what}: expected shape [..., J] for limits [J], one per joint, got {shapes}")
