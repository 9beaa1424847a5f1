"""Which images make an episode: the arm's motions between rests, the files, or all."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

_STILL: Final = 0.02  # rad/s of the fastest joint; encoders' noise stays below, and 1 cm/s at arm's length is above
_KEPT_REST_S: Final = 0.5  # of the rest at an episode's end: some pictures of having arrived, but not a hundred


def split_at_rests(stamps: Array, joint_pos: Array, source: Rows, rest_s: float) -> list[Rows]:
    """Return the rows of each motion, with the first part of the rest after it.

    Args:
        stamps: (T,) s.
        joint_pos: (T, n) rad.
        source: (T,) which recording each row is of; no episode spans two.
        rest_s: s, the shortest rest that ends an episode.
    """
    episodes = []
    for rows in split_by_file(source):
        moves = _moves(stamps[rows], joint_pos[rows])
        for first, last in _motions(stamps[rows], moves, rest_s):
            end = int(np.searchsorted(stamps[rows], stamps[rows[last]] + _KEPT_REST_S, side="right"))
            following = np.flatnonzero(moves[last:]) + last  # of the next motion, which a short rest precedes
            end = min([end, *following[:1].tolist()]) if len(following) else end
            episodes.append(rows[first : max(end, last + 1)])
    return episodes


def split_by_file(source: Rows) -> list[Rows]:
    """Return the rows of each recording."""
    return [np.flatnonzero(source == one) for one in np.unique(source)]


def cut(episodes: list[Rows], longest: int, taken: Rows) -> list[Rows]:
    """Return the episodes cut into parts of about as many taken rows, at most `longest`."""
    return [part for rows in episodes for part in _cut(rows, longest, rows[np.isin(rows, taken)])]


def _cut(rows: Rows, longest: int, taken: Rows) -> list[Rows]:
    parts = np.array_split(taken, max(1, -(-len(taken) // longest)))
    return np.split(rows, [int(np.searchsorted(rows, part[0])) for part in parts[1:]])


def _moves(stamps: Array, joint_pos: Array) -> NDArray[np.bool_]:
    """Return (T,) whether the arm moves from a row to the next."""
    speed = np.abs(np.diff(joint_pos, axis=0)).max(axis=1, initial=0.0) / np.maximum(np.diff(stamps), 1e-9)
    return np.append(speed > _STILL, False)


def _motions(stamps: Array, moves: NDArray[np.bool_], rest_s: float) -> list[tuple[int, int]]:
    """Return the first row and the last one, in which it has ended, of each motion; short rests are within one."""
    moving = np.flatnonzero(moves)
    if not len(moving):
        return []
    rests = np.flatnonzero(stamps[moving[1:]] - stamps[moving[:-1] + 1] >= rest_s)
    firsts, lasts = np.append(moving[0], moving[rests + 1]), np.append(moving[rests], moving[-1]) + 1
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
