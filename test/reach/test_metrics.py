from __future__ import annotations

import math

import pytest

from taskgan_ros.reach.metrics import Latency, Rate


def test_rate_is_that_of_the_last_seconds_and_falls_to_none_when_it_stops() -> None:
    rate = Rate(now_s=50.0)
    assert rate.hz(50.0) == 0
    for k in range(200):
        rate.tick(50 + k / 20)
    assert rate.hz(60.0) == pytest.approx(20, abs=0.5)
    assert rate.hz(62.5) == pytest.approx(10, abs=0.5)
    assert rate.hz(66.0) == 0
    assert rate.count == 200


def test_rate_is_right_from_the_start() -> None:
    rate = Rate(now_s=0.0)
    for k in range(10):
        rate.tick(k / 10)
    assert rate.hz(1.0) == pytest.approx(10)


def test_latency_quantiles_are_those_of_the_last_thousand() -> None:
    latency = Latency()
    assert math.isnan(latency.quantile_s(0.5))
    for _ in range(500):
        latency.add(60.0)
    for k in range(1000):
        latency.add(k / 1000)
    assert latency.quantile_s(0.5) == pytest.approx(0.5, abs=0.01)
    assert latency.quantile_s(0.99) == pytest.approx(0.99, abs=0.01)
