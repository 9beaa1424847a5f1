"""A motion that ends at rest: its velocities change linearly, so that no acceleration is above its limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_SAME = 1e-12  # rad/s; rounding of two equal speeds


@dataclass(frozen=True)
class Knots:
    """Where n joints are at some times, and what is in between: velocities are linear there.

    Attributes:
        times_s: (K,) s, K ≥ 2; they never decrease, and of two at one time the later counts.
        positions: (K, n) rad.
        velocities: (K, n) rad/s.
    """

    times_s: Array
    positions: Array
    velocities: Array

    def at(self, at_s: ArrayLike) -> tuple[Array, Array]:
        """Return the positions (..., n) rad and velocities (..., n) rad/s at `at_s` (...).

        Before the first knot they are the first's, after the last the last's.
        """
        times, velocities = self.times_s, self.velocities
        at = np.minimum(np.maximum(at_s, times[0]), times[-1])  # np.clip takes five times as long
        before = np.searchsorted(times[1:-1], at, side="right")
        after, passed_s, since = before + 1, at - times[before], velocities[before]
        whole_s = times[after] - times[before]
        share = np.divide(passed_s, whole_s, out=np.ones_like(passed_s), where=whole_s > 0)[..., None]
        reached = since + share * (velocities[after] - since)
        return self.positions[before] + (since + reached) / 2 * passed_s[..., None], reached

    def extremes(self, first_s: float, last_s: float) -> Array:
        """Return positions (E, n) rad with each joint's extremes between two times; the last is that at the end.

        Velocities are linear between knots, so a joint is furthest at an end, at a knot or where its velocity is zero.
        """
        inner = self.times_s[(self.times_s > first_s) & (self.times_s < last_s)]
        times = np.concatenate([[first_s], inner, [last_s]])
        positions, velocities = self.at(times)
        before, after = velocities[:-1], velocities[1:]
        turns = before * after < 0
        share = np.divide(before, before - after, out=np.zeros_like(before), where=turns)
        turning_points = positions[:-1] + before * share * np.diff(times)[:, None] / 2
        return np.vstack([positions[:-1], turning_points, positions[-1:]])

    def until(self, end_s: float) -> Knots:
        """Return the part up to `end_s`; only the starting position if it has not begun by then."""
        kept = max(int(np.searchsorted(self.times_s, end_s)), 1)
        position, velocity = self.at(end_s)
        return Knots(
            np.append(self.times_s[:kept], end_s),
            np.vstack([self.positions[:kept], position]),
            np.vstack([self.velocities[:kept], velocity]),
        )


@dataclass(frozen=True)
class Motion:
    """Velocities of n joints over time, linear between knots; after the last one, zero, the arm rests.

    Attributes:
        start: (n,) rad, where it begins.
        times_s: (K,) s from the beginning; the first is 0, they never decrease.
        velocities: (K, n) rad/s at those times; the last is zero.
    """

    start: Array
    times_s: Array
    velocities: Array

    @cached_property
    def positions(self) -> Array:
        """(K, n) rad at the knots."""
        means = (self.velocities[1:] + self.velocities[:-1]) / 2
        ways = np.cumsum(means * np.diff(self.times_s)[:, None], axis=0)
        return np.vstack([self.start, self.start + ways])

    @cached_property
    def _knots(self) -> Knots:
        return Knots(self.times_s, self.positions, self.velocities)

    @property
    def lasts_s(self) -> float:
        """How long it takes to come to rest, s."""
        return float(self.times_s[-1])

    def at(self, times_s: ArrayLike) -> tuple[Array, Array]:
        """Return the positions (..., n) rad and velocities (..., n) rad/s at `times_s` (...) from the beginning."""
        return self._knots.at(times_s)

    def extremes(self, first_s: float, last_s: float) -> Array:
        """Return positions (E, n) rad with each joint's extremes between two times; the last is that at the end."""
        return self._knots.extremes(first_s, last_s)

    def sample_times(self, step_s: float) -> Array:
        """Return times (P,) s after the beginning, up to the end, at most `step_s` apart wherever the speed changes."""
        pieces = []
        for k, changes in enumerate(np.any(np.abs(np.diff(self.velocities, axis=0)) > _SAME, axis=1)):
            first_s, last_s = self.times_s[k : k + 2]
            steps = max(int(np.ceil((last_s - first_s) / step_s - 1e-9)), 1) if changes else 1
            pieces.append(np.linspace(first_s, last_s, steps + 1)[1:])
        times = np.concatenate(pieces)
        return times[np.diff(times, prepend=0.0) > 0]


def cruise(
    start: Array, before: Array, velocity: Array, for_s: float, max_acceleration: Array, change_s: float = 0.0
) -> Motion:
    """Return a motion that changes to one velocity, keeps it and stops: what an arm does if nothing more comes.

    All joints change together, linearly from one velocity to the other, so the one that needs longest sets the time.

    Args:
        start: (n,) rad.
        before: (n,) rad/s, the velocity there.
        velocity: (n,) rad/s.
        for_s: s until the stop begins, however far the change has come; 0 stops at once.
        max_acceleration: (n,) rad/s².
        change_s: s that the change takes at least.
    """
    change_s = max(change_s, _needed_s(velocity - before, max_acceleration))
    reached = velocity if change_s <= for_s else before + (velocity - before) * (for_s / change_s)
    times = np.array([0.0, min(change_s, for_s), for_s, for_s + stopping_time_s(reached, max_acceleration)])
    return Motion(start, times, np.stack([before, reached, reached, np.zeros_like(before)]))


def chain(motions: Sequence[Motion]) -> Motion:
    """Return motions of `cruise` that follow each other: each up to where its stop begins, the last with its stop."""
    *earlier, last = motions
    if not earlier:
        return last
    starts_s = np.cumsum([0.0, *(motion.times_s[-2] for motion in earlier)])
    times = [start_s + motion.times_s[:-1] for start_s, motion in zip(starts_s, motions, strict=True)]
    velocities = [motion.velocities[:-1] for motion in motions]
    end = [starts_s[-1] + last.times_s[-1:]], [last.velocities[-1:]]
    return Motion(motions[0].start, np.concatenate([*times, *end[0]]), np.vstack([*velocities, *end[1]]))


def stopping_time_s(velocity: Array, max_acceleration: Array) -> float:
    """Return how long the stop from `velocity` (n,) rad/s takes, s."""
    return _needed_s(velocity, max_acceleration)


def _needed_s(change: Array, max_acceleration: Array) -> float:
    return float(np.max(np.abs(change) / max_acceleration))
