"""A motion that ends at rest: constant velocities, one after the other, the last ones a smooth stop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEP_S = 0.05  # of a stop, between two velocities; also the most that a command may change the velocity for


@dataclass(frozen=True)
class Motion:
    """Velocities of n joints over time; after the last one the arm is at rest.

    From one velocity to the next, and from the last to rest, no joint changes by more than the acceleration that the
    motion was made with allows in STEP_S.

    Attributes:
        start: (n,) rad, where it begins.
        velocities: (P, n) rad/s, P >= 1.
        ends_s: (P,) s from the beginning, when each velocity ends; positive, increasing.
    """

    start: Array
    velocities: Array
    ends_s: Array

    @cached_property
    def positions(self) -> Array:
        """(P, n) rad, where each velocity leads."""
        lasts_s = np.diff(self.ends_s, prepend=0.0)
        positions: Array = self.start + np.cumsum(self.velocities * lasts_s[:, None], axis=0)
        return positions

    def at(self, time_s: float) -> tuple[Array, Array]:
        """Return where the arm is (n,) rad, and how fast (n,) rad/s, so long after the beginning."""
        place = int(np.searchsorted(self.ends_s, time_s, side="right"))
        if place == len(self.ends_s):
            return self.positions[-1], np.zeros_like(self.start)
        left_s = self.ends_s[place] - max(time_s, 0.0)
        return self.positions[place] - self.velocities[place] * left_s, self.velocities[place]


def cruise(start: Array, velocity: Array, for_s: float, max_acceleration: Array) -> Motion:
    """Return a motion at one velocity and then a smooth stop: what an arm does that hears nothing more.

    Args:
        start: (n,) rad.
        velocity: (n,) rad/s.
        for_s: s, how long the velocity lasts; 0 stops at once.
        max_acceleration: (n,) rad/s², which the stop keeps to, all joints ending together on a straight line.
    """
    braking = _braking(velocity, max_acceleration)
    ends_s: Array = for_s + STEP_S * np.arange(1, len(braking) + 1, dtype=np.float64)
    if for_s > 0 or not len(braking):
        braking, ends_s = np.vstack([velocity, braking]), np.append(for_s or STEP_S, ends_s)
    return Motion(start, braking, ends_s)


def stopping_time_s(velocity: Array, max_acceleration: Array) -> float:
    """Return how long the smooth stop from `velocity` (n,) rad/s takes, s."""
    return STEP_S * len(_braking(velocity, max_acceleration))


def _braking(velocity: Array, max_acceleration: Array) -> Array:
    """Return the velocities (K, n) of a stop: those of a constant deceleration in the middle of each step."""
    steps = int(np.ceil(np.max(np.abs(velocity) / max_acceleration) / STEP_S - 1e-9))
    shares = 1 - (np.arange(steps) + 0.5) / max(steps, 1)
    return shares[:, None] * velocity
