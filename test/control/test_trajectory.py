from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.core.errors import InputError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("a", "a")}, "expected joint names, each once"),
        ({"names": ("a", "")}, "expected joint names, each once"),
        ({"names": ()}, "expected joint names, each once"),
        ({"positions": np.zeros((2, 3))}, r"expected positions of shape \(2, 2\), got \(2, 3\)"),
        ({"positions": np.full((2, 2), math.nan)}, "positions: expected finite numbers"),
        ({"time_from_start_s": np.array([0.0, 0.1])}, "expected times above 0 that increase"),
        ({"time_from_start_s": np.array([0.2, 0.2])}, "expected times above 0 that increase"),
        ({"time_from_start_s": np.array([])}, "expected times above 0 that increase"),
        ({"velocities": np.zeros((1, 2))}, r"expected velocities of shape \(2, 2\), got \(1, 2\)"),
        ({"velocities": np.full((2, 2), 0.1)}, r"expected to end at rest, got velocities \[0.1, 0.1\]"),
    ],
)
def test_a_trajectory_that_a_controller_rejects_cannot_be_made(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "names": ("a", "b"),
        "positions": np.zeros((2, 2)),
        "time_from_start_s": np.array([0.1, 0.2]),
    }
    JointTrajectory(**good, velocities=np.array([[0.1, 0.1], [0, 0]]))
    with pytest.raises(InputError, match=message):
        JointTrajectory(**{**good, **change})
