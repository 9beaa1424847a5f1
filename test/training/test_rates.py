from __future__ import annotations

import pytest

from taskgan_ros.training.rates import RateSchedule


def test_a_rate_stays_over_the_first_half_and_falls_to_nothing_over_the_second() -> None:
    schedule = RateSchedule(start=1e-3, steps=100)
    assert [schedule.rate(step) for step in (0, 50, 75, 100)] == pytest.approx([1e-3, 1e-3, 5e-4, 0.0])
