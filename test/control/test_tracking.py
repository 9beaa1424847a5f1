from __future__ import annotations

import math

import numpy as np
import pytest

from taskgan_ros.control.tracking import TrackingHistory, WithheldMotion

CONTINUOUS = np.array([True, False])


def test_an_arm_that_sags_or_counts_whole_turns_differently_has_no_tracking_error() -> None:
    history = TrackingHistory(CONTINUOUS)
    for k in range(20):
        commanded = np.array([0.1, -0.1]) * k
        measured = commanded + np.array([0.05 + 2 * math.pi * (k % 2), -0.02])
        np.testing.assert_allclose(history.error(0.05 * k, measured, commanded), 0, atol=1e-12)


def test_the_error_is_of_the_last_second() -> None:
    history, still = TrackingHistory(CONTINUOUS), np.zeros(2)
    errors = [history.error(0.1 * k, still, np.array([0.0, 0.1 * k]))[1] for k in range(30)]
    assert errors[5] == pytest.approx(-0.5)
    assert errors[29] == pytest.approx(-1.0, abs=0.11)
    history.clear()
    assert history.error(3.0, still, np.ones(2))[1] == 0


def test_what_is_withheld_grows_for_as_long_as_a_command_lasts() -> None:
    withheld = WithheldMotion(1, longest_s=0.2)
    withheld.set_rate(1.0, np.array([0.5]))
    assert withheld.displacement(1.1)[0] == pytest.approx(0.05)
    assert withheld.displacement(9.0)[0] == pytest.approx(0.1)
    withheld.shift(np.array([0.03]))
    withheld.set_rate(9.0, np.zeros(1))
    assert withheld.displacement(9.5)[0] == pytest.approx(0.07)
