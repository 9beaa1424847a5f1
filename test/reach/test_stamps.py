from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgan_ros.core.errors import InputError
from taskgan_ros.reach.stamps import OldImageError, StampCheck

LIMIT_S = 0.5


@pytest.fixture
def stamps() -> StampCheck:
    """Return a check that has accepted an image of 100 s."""
    check = StampCheck()
    check.check(100.0, 0.1, LIMIT_S)
    return check


@given(st.lists(st.floats(0.001, 5), min_size=1), st.floats(-LIMIT_S, LIMIT_S))
def test_current_images_in_order_are_accepted(gaps_s: list[float], age_s: float) -> None:
    check, stamp_s = StampCheck(), 100.0
    for gap_s in gaps_s:
        stamp_s += gap_s
        check.check(stamp_s, age_s, LIMIT_S)


def test_a_repeated_stamp_is_a_frozen_camera(stamps: StampCheck) -> None:
    with pytest.raises(InputError, match="got the previous one again: is the camera frozen"):
        stamps.check(100.0, 0.2, LIMIT_S)


@pytest.mark.parametrize(("age_s", "text"), [(0.6, r"got one 0\.600 s old"), (-0.6, r"got one 0\.600 s in the future")])
def test_an_image_far_from_the_clock_is_old_and_compared_with_none(stamps: StampCheck, age_s: float, text: str) -> None:
    with pytest.raises(OldImageError, match=text):
        stamps.check(101.0, age_s, LIMIT_S)
    stamps.check(100.5, 0.1, LIMIT_S)


def test_a_stamp_slightly_before_the_last_is_a_replay_and_one_long_before_a_clock_set_back(stamps: StampCheck) -> None:
    with pytest.raises(InputError, match=r"got one 0\.200 s before the last: is there a second camera"):
        stamps.check(99.8, 0.1, LIMIT_S)
    stamps.check(50.0, 0.1, LIMIT_S)
    stamps.check(50.1, 0.1, LIMIT_S)
