from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgan_ros.errors import InputError
from taskgan_ros.policy.images import ENCODINGS, read_image

RED, GREEN = [200, 30, 10], [5, 150, 20]
PIXELS = {
    "rgb8": [RED, GREEN],
    "bgr8": [RED[::-1], GREEN[::-1]],
    "rgba8": [[*RED, 255], [*GREEN, 0]],
    "bgra8": [[*RED[::-1], 255], [*GREEN[::-1], 0]],
    "mono8": [[77], [88]],
}


@pytest.mark.parametrize("padding", [0, 1, 2, 3])  # cv_bridge skews colour images whose step 3 does not divide
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_becomes_rgb_whatever_the_padding(encoding: str, padding: int) -> None:
    row = [*np.array(PIXELS[encoding]).ravel(), *[99] * padding]
    image = read_image(encoding, height=3, width=2, step=len(row), data=array("B", row * 3))
    expected = [[77] * 3, [88] * 3] if encoding == "mono8" else [RED, GREEN]
    rgb = image.to_rgb()
    np.testing.assert_array_equal(rgb, [expected] * 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


def test_nothing_is_copied_before_it_is_needed() -> None:
    data = array("B", range(24))
    image = read_image("rgb8", height=2, width=3, step=12, data=data)
    assert np.shares_memory(image.pixels, np.frombuffer(data, np.uint8))


def test_another_size_is_averaged_down_and_interpolated_up() -> None:
    halves = np.zeros((480, 640, 3), np.uint8)
    halves[:, 320:] = [90, 60, 30]
    halves[::2, 320:] = [110, 80, 50]  # a pattern that picking single pixels would keep or lose
    image = read_image("rgb8", 480, 640, 1920, array("B", halves.tobytes()))
    small = image.to_rgb(128, 96)
    assert small.shape == (128, 96, 3)
    np.testing.assert_array_equal(small[:, :47], 0)
    np.testing.assert_allclose(small[2:-2, 49:], np.broadcast_to([100, 70, 40], (124, 47, 3)), atol=4)
    assert image.to_rgb(960, 1280).shape == (960, 1280, 3)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "encoding": ({"encoding": "bayer_rggb8"}, r"image: expected an encoding of \['rgb8', .*\], got 'bayer_rggb8'"),
    "no pixels": ({"width": 0}, "image: expected at least one pixel, got 0x4"),
    "short step": ({"step": 14}, "image: expected a step of at least 15 bytes for 5 pixels, got 14"),
    "short data": ({"data": b"\0" * 63}, r"image: expected 4 rows of 16 bytes = 64, got 63"),
    "long data": ({"data": b"\0" * 65}, r"image: expected 4 rows of 16 bytes = 64, got 65"),
    "huge claim": ({"height": 2**32 - 1, "step": 2**32 - 1}, "image: expected .* got 64"),
    "no data": ({"data": b""}, "image: expected .* got 0"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_image_is_refused_with_the_reason(fault: str) -> None:
    good: dict[str, Any] = {"encoding": "rgb8", "height": 4, "width": 5, "step": 16, "data": b"\0" * 64}
    changes, reason = FAULTS[fault]
    with pytest.raises(InputError, match=reason):
        read_image(**{**good, **changes})


sizes = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1))


@given(st.sampled_from([*ENCODINGS, "", "8UC3"]), sizes, sizes, sizes, st.binary(max_size=4000))
def test_whatever_the_fields_say_it_is_an_image_or_an_input_error(
    encoding: str, height: int, width: int, step: int, data: bytes
) -> None:
    try:
        image = read_image(encoding, height, width, step, data)
    except InputError:
        return
    assert image.to_rgb(8, 8).shape == (8, 8, 3)


@given(st.sampled_from(ENCODINGS), st.integers(1, 60), st.integers(1, 60), st.integers(0, 9), st.data())
def test_every_sound_image_is_taken(encoding: str, height: int, width: int, padding: int, data: st.DataObject) -> None:
    step = width * len(PIXELS[encoding][0]) + padding
    image = read_image(encoding, height, width, step, bytes(height * step))
    target = data.draw(st.tuples(st.integers(1, 99), st.integers(1, 99)))
    assert image.to_rgb(*target).shape == (*target, 3)
