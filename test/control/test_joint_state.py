from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgan_ros.control.joint_state import configuration
from taskgan_ros.core.errors import InputError

NAMES = ("shoulder", "elbow", "wrist")


@given(st.permutations(["finger", *NAMES, "", ""]))
def test_order_and_further_joints_do_not_matter(names: list[str]) -> None:
    value = {"shoulder": 0.1, "elbow": 0.2, "wrist": 0.3, "finger": math.nan, "": 9.0}
    found = configuration(NAMES, names, [value[name] for name in names])
    np.testing.assert_array_equal(found, [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("names", "positions", "message"),
    [
        (["finger"], [0.0], r"expected \['shoulder', 'elbow', 'wrist'\], got \['finger'\]: missing \['shoulder'"),
        (NAMES, [], "expected one position per name, got 3 names and 0 positions"),
        ([*NAMES, "elbow"], [0.0] * 4, "expected each joint once, got "),
        (NAMES, [0.0, math.nan, 0.0], r"joint state: expected finite numbers, got \[0.0, nan, 0.0\]"),
        (NAMES, [0.0, math.inf, 0.0], r"joint state: expected finite numbers, got \[0.0, inf, 0.0\]"),
    ],
)
def test_a_joint_state_that_does_not_tell_the_configuration_is_refused(
    names: list[str], positions: list[float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        configuration(NAMES, names, positions)
