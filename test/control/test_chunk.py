from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgan_ros.control.chunk import segments


@given(st.integers(1, 8), st.floats(0.01, 1.0), st.floats(0.0, 3.0), st.floats(0.01, 2.0))
def test_segments_fill_the_horizon_and_leave_out_what_is_over(
    count: int, step_s: float, passed_s: float, horizon_s: float
) -> None:
    numbers = np.arange(count, dtype=np.float64)[:, None]
    parts = segments(numbers, np.zeros_like(numbers), step_s, passed_s, horizon_s)
    assert sum(part.lasts_s for part in parts) == pytest.approx(horizon_s)
    time_s = passed_s
    for part in parts:
        middle_s = time_s + part.lasts_s / 2
        assert part.command[0] == min(int(middle_s / step_s + 1e-9), count - 1) or part.lasts_s < 1e-6
        time_s += part.lasts_s
