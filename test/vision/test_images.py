from __future__ import annotations

import gc
import itertools
import math
import random
import tracemalloc
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.vision.images import ENCODINGS, RawImage, read_image, zoom_for

Bytes = NDArray[np.uint8]

# What each encoding is, written down a second time: the samples of a pixel in their order, y for grey.
PIXELWISE = {
    "rgb8": "rgb", "bgr8": "bgr", "rgba8": "rgba", "bgra8": "bgra", "mono8": "y",
    "rgb16": "rgb", "bgr16": "bgr", "rgba16": "rgba", "bgra16": "bgra", "mono16": "y",
    "8UC1": "y", "8UC3": "bgr", "8UC4": "bgra", "16UC1": "y",
}  # fmt: skip
BAYER = [encoding for encoding in ENCODINGS if encoding.startswith("bayer")]
YUV422 = {"uyvy": "uyvy", "yuv422": "uyvy", "yuyv": "yuyv", "yuv422_yuy2": "yuyv"}
TWO_PLANES = {"nv12": ("uv", 2), "nv21": ("vu", 2), "nv24": ("uv", 1)}  # the pairs' order, and pixels to a pair

sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))
paddings = st.integers(0, 9)  # cv_bridge skews colour images whose step 3 does not divide
seeds = st.integers(0, 2**32 - 1)


anyhow = settings(deadline=None)  # a busy machine is no fault


def layout(encoding: str, height: int, width: int, padding: int) -> tuple[int, int]:
    """Return the step and the number of bytes of an image."""
    samples = len(PIXELWISE[encoding]) if encoding in PIXELWISE else 2 if encoding in YUV422 else 1
    step = width * samples * (2 if is_wide(encoding) else 1) + padding
    thirds = {"nv12": 3, "nv21": 3, "nv24": 6}.get(encoding, 2)
    return step, height * step * thirds // 2


def is_wide(encoding: str) -> bool:
    return "16" in encoding


def padded(rows: Bytes, padding: int) -> bytes:
    """Return the bytes of rows (H, ...), each with bytes of nobody's behind it."""
    flat = rows.reshape(len(rows), -1)
    return np.hstack([flat, np.full((len(flat), padding), 99, np.uint8)]).tobytes()


def sampled(high: Bytes, encoding: str, big: bool, rng: np.random.Generator) -> Bytes:
    """Return the samples' bytes; of 16 bits the given are the high ones, and the low ones may be any."""
    if not is_wide(encoding):
        return high
    low = rng.integers(0, 256, high.shape)
    words = (high.astype(np.uint16) * 256 + low).astype(">u2" if big else "<u2")
    return words.view(np.uint8).reshape(*high.shape[:-1], -1)


def random_bytes(rng: np.random.Generator, *shape: int) -> Bytes:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def rgb_of(y: Bytes, u: Bytes, v: Bytes) -> NDArray[np.float64]:
    """Return what BT.601 makes of limited-range YUV, each (H, W)."""
    luma, blue, red = 1.164 * (np.maximum(y, 16.0) - 16), u - 128.0, v - 128.0
    rgb = [luma + 1.596 * red, luma - 0.813 * red - 0.391 * blue, luma + 2.018 * blue]
    return np.clip(np.stack(rgb, axis=-1), 0, 255)


def test_every_encoding_has_a_test() -> None:
    assert {*PIXELWISE, *BAYER, *YUV422, *TWO_PLANES} == set(ENCODINGS)


@anyhow
@given(st.sampled_from([*PIXELWISE]), st.booleans(), sizes, paddings, seeds)
def test_colours_are_taken_in_the_encodings_order(
    encoding: str, big: bool, size: tuple[int, int], padding: int, seed: int
) -> None:
    rng, order = np.random.default_rng(seed), PIXELWISE[encoding]
    pixels = random_bytes(rng, *size, len(order))
    data = padded(sampled(pixels, encoding, big, rng), padding)
    rgb = read_image(encoding, *size, len(data) // size[0], array("B", data), big).to_rgb()
    channels = "yyy" if order == "y" else "rgb"
    np.testing.assert_array_equal(rgb, pixels[..., [order.index(channel) for channel in channels]])
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


@pytest.mark.parametrize("encoding", BAYER)
@anyhow
@given(big=st.booleans(), size=st.tuples(st.integers(5, 20), st.integers(5, 20)), padding=paddings, seed=seeds)
def test_a_bayer_mosaic_becomes_the_picture_it_was_taken_of(
    encoding: str, big: bool, size: tuple[int, int], padding: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    # A plane in each colour, as interpolation does it no harm: any shift or swap of colours shows.
    slopes = rng.integers(-5, 6, (2, 3))
    picture = np.array([40, 190, 120]) + 0 * rows[..., None]
    picture = np.clip(picture + slopes[0] * (rows[..., None] - 5) + slopes[1] * (columns[..., None] - 5), 0, 255)
    picture = picture.astype(np.uint8)
    pattern = encoding.split("_")[1][:4]
    mosaic = np.empty((*size, 1), np.uint8)
    for (row, column), colour in zip(itertools.product((0, 1), repeat=2), pattern, strict=True):
        mosaic[row::2, column::2, 0] = picture[row::2, column::2, "rgb".index(colour)]
    data = padded(sampled(mosaic, encoding, big, rng), padding)
    rgb = read_image(encoding, *size, len(data) // size[0], data, big).to_rgb()
    clipped = (picture.min(axis=(0, 1)) == 0) | (picture.max(axis=(0, 1)) == 255)  # no plane any more
    inner = (slice(1, -1), slice(1, -1), ~clipped)
    np.testing.assert_allclose(rgb[inner].astype(int), picture[inner], atol=1)


@anyhow
@given(st.sampled_from([*YUV422]), st.integers(1, 20), st.integers(1, 10), paddings, seeds)
def test_yuv422_becomes_rgb(encoding: str, height: int, pairs: int, padding: int, seed: int) -> None:
    rng, order = np.random.default_rng(seed), YUV422[encoding]
    quads = random_bytes(rng, height, pairs, 4)
    y = quads[..., [place for place, letter in enumerate(order) if letter == "y"]].reshape(height, -1)
    u, v = (quads[..., order.index(letter)].repeat(2, axis=1) for letter in "uv")
    data = padded(quads, padding)
    rgb = read_image(encoding, height, 2 * pairs, len(data) // height, data).to_rgb()
    np.testing.assert_allclose(rgb, rgb_of(y, u, v), atol=1.5)


@anyhow
@given(st.sampled_from([*TWO_PLANES]), sizes, paddings, seeds)
def test_images_of_two_planes_become_rgb(encoding: str, size: tuple[int, int], padding: int, seed: int) -> None:
    rng, (order, shared) = np.random.default_rng(seed), TWO_PLANES[encoding]
    height, width = size[0] * shared, size[1] * shared
    y, pairs = random_bytes(rng, height, width), random_bytes(rng, *size, 2)
    u, v = (pairs[..., order.index(letter)].repeat(shared, 0).repeat(shared, 1) for letter in "uv")
    step = width + padding
    # The rows of pairs are as long as those of the first plane, or, with a pair to every pixel, twice as long.
    data = padded(y, padding) + padded(pairs, padding * 2 // shared)
    rgb = read_image(encoding, height, width, step, data).to_rgb()
    np.testing.assert_allclose(rgb, rgb_of(y, u, v), atol=1.5)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_is_copied_before_it_is_needed(encoding: str) -> None:
    step, length = layout(encoding, 6, 4, padding=2)
    data = array("B", bytes(length))
    image = read_image(encoding, 6, 4, step, data)
    for view in (image.pixels, image.chroma):
        assert view is None or np.shares_memory(view, np.frombuffer(data, np.uint8))


def test_another_size_is_averaged_down_and_interpolated_up() -> None:
    halves = np.zeros((640, 480, 3), np.uint8)
    halves[:, 240:] = [90, 60, 30]
    halves[::2, 240:] = [110, 80, 50]  # a pattern that picking single pixels would keep or lose
    image = read_image("rgb8", 640, 480, 1440, array("B", halves.tobytes()))
    small = image.to_rgb(128, 96)
    assert small.shape == (128, 96, 3)
    np.testing.assert_array_equal(small[:, :47], 0)
    np.testing.assert_allclose(small[2:-2, 49:], np.broadcast_to([100, 70, 40], (124, 47, 3)), atol=4)
    assert image.to_rgb(1280, 960).shape == (1280, 960, 3)


def test_a_squeezed_image_shows_what_a_cut_one_loses() -> None:
    pixels = np.zeros((4, 16), np.uint8)
    pixels[:, 0] = 200
    image = read_image("mono8", 4, 16, 16, pixels.tobytes())
    assert image.to_rgb(4, 4).max() == 0
    np.testing.assert_array_equal(image.to_rgb(4, 4, squeeze=True)[..., 0], [[50, 0, 0, 0]] * 4)
    assert image.to_rgb(4, 4, zoom=2.0, squeeze=True).max() == 0  # the middle half of it


@anyhow
@given(
    st.sampled_from([*ENCODINGS]), st.tuples(st.integers(2, 60), st.integers(2, 60)), st.floats(1, 3), seeds, st.data()
)
def test_the_centre_is_cut_out_in_the_asked_for_aspect_ratio(
    encoding: str, size: tuple[int, int], zoom: float, seed: int, data: st.DataObject
) -> None:
    height, width = 2 * size[0], 2 * size[1]
    if data.draw(st.booleans()):
        to_height, to_width = height, data.draw(st.integers(1, width))
    else:
        to_height, to_width = data.draw(st.integers(1, height)), width
    step, length = layout(encoding, height, width, padding=1)
    image = read_image(encoding, height, width, step, random_bytes(np.random.default_rng(seed), length).tobytes())
    whole, rows, columns = image.to_rgb(), max(1, round(to_height / zoom)), max(1, round(to_width / zoom))
    top, left = (height - rows) // 2, (width - columns) // 2
    expected = RawImage(np.ascontiguousarray(whole[top : top + rows, left : left + columns]), "rgb8")
    cut = image.to_rgb(to_height, to_width, zoom)
    if (rows, columns) == (to_height, to_width):
        np.testing.assert_array_equal(cut, expected.pixels)
    else:  # grown, which rounds at another place if it comes before the colours
        reference = _stretched(expected.pixels, to_height, to_width)
        np.testing.assert_allclose(cut.astype(int), reference, atol=2)


def _stretched(pixels: Bytes, height: int, width: int) -> NDArray[np.float64]:
    """Return pixels interpolated to height x width, a pixel's value being that of its centre."""
    result = pixels.astype(np.float64)
    for axis, length in ((0, height), (1, width)):
        own = result.shape[axis]
        places = np.clip((np.arange(length) + 0.5) * own / length - 0.5, 0, own - 1)
        below = np.floor(places).astype(int)
        share = np.expand_dims(places - below, [other for other in range(3) if other != axis])
        above = np.minimum(below + 1, own - 1)
        result = result.take(below, axis) * (1 - share) + result.take(above, axis) * share
    return result


def test_a_circle_stays_a_circle() -> None:
    rows, columns = np.indices((480, 640))
    disc = ((rows - 239.5) ** 2 + (columns - 319.5) ** 2 < 120**2).astype(np.uint8) * 255
    for zoom, diameter in ((1.0, 64), (1.5, 96)):
        small = read_image("mono8", 480, 640, 640, disc.tobytes()).to_rgb(128, 128, zoom)[..., 0] > 127
        assert small.any(axis=1).sum() == pytest.approx(diameter, abs=1)
        assert small.any(axis=0).sum() == pytest.approx(diameter, abs=1)


@pytest.mark.parametrize("zoom", [0.0, 0.99, -1.0, math.nan, math.inf])
def test_a_zoom_that_shows_more_than_there_is_is_refused(zoom: float) -> None:
    with pytest.raises(InputError, match=f"expected a zoom of at least 1, got {zoom}"):
        read_image("mono8", 2, 2, 2, bytes(4)).to_rgb(2, 2, zoom)


def photograph(fov: float, height: int, width: int) -> RawImage:
    """Return what a pinhole camera sees of a wall: its height over the axis at distance 1, 0.01 a grey level."""
    tangents = (1 - (2 * np.arange(height) + 1) / height) * math.tan(fov / 2)
    grey = np.round(128 + 100 * tangents).astype(np.uint8)
    return RawImage(np.repeat(grey, width).reshape(height, width, 1), "mono8")


@pytest.mark.parametrize("camera_fov", [0.73, 0.9, 1.2])
@pytest.mark.parametrize("camera_size", [(480, 640), (480, 480), (640, 600)])
@pytest.mark.parametrize("bundle_size", [(128, 128), (96, 128)])
def test_zoomed_for_it_the_bundle_sees_as_far_up_and_down_as_it_was_trained(
    camera_fov: float, camera_size: tuple[int, int], bundle_size: tuple[int, int]
) -> None:
    bundle_fov = 0.5
    zoom = zoom_for(camera_fov, camera_size, bundle_fov, bundle_size)
    seen = photograph(camera_fov, *camera_size).to_rgb(*bundle_size, zoom)
    expected = photograph(bundle_fov, *bundle_size).to_rgb()
    np.testing.assert_allclose(seen.astype(int), expected, atol=1)


def test_a_camera_like_the_bundles_needs_no_zoom() -> None:
    assert zoom_for(0.72, (480, 640), 0.72, (128, 128)) == 1.0
    assert zoom_for(0.717, (480, 640), 0.72, (128, 128)) == 1.0  # nobody measures it better


def test_a_camera_that_sees_less_than_the_bundle_is_refused_by_both_fields_of_view() -> None:
    with pytest.raises(InputError, match=r"at least 0\.72 rad vertically.*, got 0\.6 rad"):
        zoom_for(0.6, (480, 640), 0.72, (128, 128))
    # Upright images lose height to a square: 0.8 rad would do if they were not.
    with pytest.raises(InputError, match=r"at least 0\.72 rad vertically.*, got 0\.61\d+ rad: 0\.8 rad, 480x640"):
        zoom_for(0.8, (640, 480), 0.72, (128, 128))


@pytest.mark.parametrize("fov", [0.0, -1.0, 41.0, math.nan, math.inf])
def test_a_field_of_view_must_be_an_angle_in_radians(fov: float) -> None:
    with pytest.raises(InputError, match=f"camera: expected .* between 0 and pi rad, got {fov}"):
        zoom_for(fov, (480, 640), 0.72, (128, 128))
    with pytest.raises(InputError, match=f"bundle: expected .* between 0 and pi rad, got {fov}"):
        zoom_for(0.72, (480, 640), fov, (128, 128))


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "encoding": ({"encoding": "32FC1"}, r"image: expected an encoding of \['rgb8', .*\], got '32FC1'"),
    "endless encoding": ({"encoding": "x" * 10**6}, "image: expected an encoding of .{0,1000}$"),
    "no pixels": ({"width": 0}, "image: expected at least one pixel, got 0x4"),
    "short step": ({"step": 14}, "image: expected a step of at least 15 bytes for 5 pixels, got 14"),
    "short wide step": ({"encoding": "rgb16"}, "image: expected a step of at least 30 bytes for 5 pixels, got 16"),
    "short data": ({"data": b"\0" * 63}, r"image: expected 4 rows of 16 bytes = 64, got 63"),
    "long data": ({"data": b"\0" * 65}, r"image: expected 4 rows of 16 bytes = 64, got 65"),
    "huge claim": ({"height": 2**32 - 1, "step": 2**32 - 1}, "image: expected .* got 64"),
    "huge width": ({"width": 2**31, "step": 2**31 * 3, "height": 1}, "image: expected .* got 64"),
    "no data": ({"data": b""}, "image: expected .* got 0"),
    "odd yuv422": ({"encoding": "yuyv"}, "image: expected whole blocks of 2x1 pixels in yuyv, got 5x4"),
    "odd nv21": ({"encoding": "nv21"}, "image: expected whole blocks of 2x2 pixels in nv21, got 5x4"),
    "no chroma": ({"encoding": "nv21", "width": 4}, "expected 4 rows of 16 bytes and 2 of 16 = 96, got 64"),
    "tiny bayer": (
        {"encoding": "bayer_rggb8", "width": 2},
        "image: expected at least 3x3 pixels in bayer_rggb8, got 2x4",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_image_is_refused_with_the_reason(fault: str) -> None:
    good: dict[str, Any] = {"encoding": "rgb8", "height": 4, "width": 5, "step": 16, "data": b"\0" * 64}
    changes, reason = FAULTS[fault]
    with pytest.raises(InputError, match=reason):
        read_image(**{**good, **changes})


def odd_images(count: int) -> Iterator[tuple[str, int, int, int, bytes, bool]]:
    """Yield sound images' fields, of which mostly one, or all numbers, have been made something else."""
    chance = random.Random(0)
    pool = chance.randbytes(20_000)
    numbers = [0, 1, 2, 3, 2**15, 2**16 + 1, 2**31 - 1, 2**31, 2**32 - 1]
    names = [*ENCODINGS, "", "RGB8", "32FC1", "jpeg", "\0", "bayer_rggb", "8UC"]
    for _ in range(count):
        encoding, padding = chance.choice(ENCODINGS), chance.randrange(4)
        height, width = chance.randrange(1, 25), chance.randrange(1, 25)
        step, length = layout(encoding, height, width, padding)
        other = chance.choice([*numbers, chance.randrange(99), chance.randrange(99), chance.randrange(99)])
        match chance.randrange(8):
            case 0:
                height = other
            case 1:
                width = other
            case 2:
                step = other
            case 3:
                height, width, step = chance.choices(numbers, k=3)
            case 4:
                length = min(other, len(pool))
            case 5:
                length = max(0, length + chance.randrange(-3, 4))
            case 6:
                encoding = chance.choice(names)
        yield encoding, height, width, step, pool[:length], chance.random() < 0.5


def is_taken(encoding: str, height: int, width: int, step: int, data: bytes, big: bool) -> bool:
    """Return whether it is read and converted; anything but an `InputError` fails."""
    try:
        image = read_image(encoding, height, width, step, data, big)
    except InputError:
        return False
    least, _ = layout(encoding, height, width, padding=0)
    assert layout(encoding, height, width, padding=step - least) == (step, len(data))
    assert step >= least
    assert image.to_rgb().shape == (height, width, 3)
    assert image.to_rgb(8, 8).shape == (8, 8, 3)
    return True


def test_twenty_thousand_odd_images_are_each_sound_or_refused() -> None:
    taken = sum(is_taken(*fields) for fields in odd_images(20_000))
    assert 2000 < taken < 10_000


def test_bad_images_leave_no_memory() -> None:
    for fields in odd_images(500):  # what is made once has been made
        is_taken(*fields)
    tracemalloc.start()
    for fields in odd_images(3000):
        is_taken(*fields)
    gc.collect()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000
    assert peak < 2_000_000  # far below the gigabytes that some claim


@anyhow
@given(st.sampled_from(ENCODINGS), st.integers(2, 30), st.integers(2, 30), st.integers(0, 9), st.data())
def test_every_sound_image_is_taken(
    encoding: str, half_height: int, half_width: int, padding: int, data: st.DataObject
) -> None:
    height, width = 2 * half_height, 2 * half_width
    step, length = layout(encoding, height, width, padding)
    image = read_image(encoding, height, width, step, bytes(length))
    target = data.draw(st.tuples(st.integers(1, 99), st.integers(1, 99)))
    assert image.to_rgb(*target, zoom=data.draw(st.floats(1, 1e6))).shape == (*target, 3)
