from __future__ import annotations

import numpy as np
from film import smooth_way


def test_a_way_ends_where_it_shall_and_no_step_is_longer_than_asked_for() -> None:
    start, end = np.array([0.0, 1.0, 2.0]), np.array([1.2, 0.7, 2.0])
    for step_rad in (0.5, 0.015):
        way = smooth_way(start, end, step_rad)
        np.testing.assert_allclose(way[[0, -1]], [start, end])
        steps = np.abs(np.diff(way, axis=0)).max(axis=1)
        assert 0.5 * step_rad < steps.max() <= step_rad
        assert steps[0] < steps.max()  # it starts slowly
