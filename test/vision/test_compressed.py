from __future__ import annotations

import io
import random
import re
import resource
import tracemalloc
import warnings
import zlib
from array import array
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from taskgan_ros.core.errors import InputError
from taskgan_ros.vision.compressed import MAX_PIXELS, read_compressed

ROWS, COLUMNS = np.indices((48, 64))
PICTURE = np.stack([3 * ROWS + 40, 3 * COLUMNS + 20, 200 - 2 * ROWS - COLUMNS], axis=-1).astype(np.uint8)
GREY = PICTURE[..., 0]


def file(pixels: NDArray[Any], kind: str, mode: str | None = None, **options: Any) -> bytes:
    image, stream = Pillow.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, kind, **options)
    return stream.getvalue()


def png_claiming(height: int, width: int) -> bytes:
    """Return a PNG whose header says another size than its pixels."""
    png = file(PICTURE, "PNG")
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + png[24:29]
    return png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:]


def jpeg_claiming(height: int, width: int, **options: Any) -> bytes:
    """Return a JPEG whose frame header says another size than its pixels."""
    jpeg = bytearray(file(PICTURE, "JPEG", **options))
    frame = jpeg.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(jpeg)


JPEG, PNG = file(PICTURE, "JPEG", quality=95), file(PICTURE, "PNG")
PROGRESSIVE = file(PICTURE, "JPEG", progressive=True)
FRAME = JPEG.index(b"\xff\xc0")
CODINGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "no subsampling": {"subsampling": 0},
    "half subsampling": {"subsampling": 1},
    "restarts within rows": {"restart_marker_blocks": 2},
    "restarts at rows": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
}


def scans_of(jpeg: bytes) -> list[bytes]:
    """Return a JPEG's scans, each with the tables before it, but for the first."""
    starts = [match.start() for match in re.finditer(rb"\xff\xda", jpeg)]
    tables = [jpeg.rfind(b"\xff\xc4", end, start) for end, start in pairwise(starts)]
    bounds = [starts[0], *(table if table > 0 else start for table, start in zip(tables, starts[1:], strict=True))]
    return [jpeg[start:end] for start, end in zip(bounds, [*bounds[1:], len(jpeg) - 2], strict=True)]


@pytest.mark.parametrize("format", ["png", "rgb8; png compressed bgr8", "bgr8; jpeg compressed bgr8", "", "?;;\0"])
def test_the_data_says_what_it_is_whatever_the_format_says(format: str) -> None:
    image = read_compressed(format, array("B", PNG))
    assert image.encoding == "rgb8"
    np.testing.assert_array_equal(image.to_rgb(), PICTURE)
    np.testing.assert_allclose(read_compressed(format, JPEG).to_rgb().astype(int), PICTURE, atol=8)


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_red_is_red_as_opencv_publishes_it(kind: str) -> None:
    done, data = cv2.imencode(kind, PICTURE[..., ::-1])  # compressed_image_transport does this
    assert done
    image = read_compressed("rgb8; jpeg compressed bgr8", data.tobytes())
    np.testing.assert_allclose(image.to_rgb().astype(int), PICTURE, atol=12)


def test_every_mode_of_a_png_becomes_rgb() -> None:
    greys = np.repeat(GREY[..., None], 3, axis=-1)
    wide = GREY.astype(np.uint16) * 256 + 77
    alpha = np.dstack([PICTURE, GREY])
    done, wide_colours = cv2.imencode(".png", PICTURE[..., ::-1].astype(np.uint16) * 256 + 77)
    assert done
    flags = PICTURE // 128 * 255
    cases = {
        "grey": (file(GREY, "PNG"), greys),
        "16-bit grey": (file(wide, "PNG"), greys),
        "16-bit colours": (wide_colours.tobytes(), PICTURE),
        "grey and alpha": (file(GREY, "PNG", "LA"), greys),
        "alpha": (file(alpha, "PNG"), PICTURE),
        "palette": (file(flags, "PNG", "P"), flags),
        "palette and transparency": (file(flags, "PNG", "P", transparency=bytes(range(256))), flags),
        "one bit": (file(greys[..., 0] // 128 * 255, "PNG", "1"), greys // 128 * 255),
        "grey and a transparent grey": (file(GREY, "PNG", transparency=60), greys),
    }
    for name, (data, expected) in cases.items():
        np.testing.assert_array_equal(read_compressed("png", data).to_rgb(), expected, err_msg=name)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_mode_of_a_jpeg_becomes_rgb(mode: str, progressive: bool) -> None:
    expected = np.asarray(Pillow.fromarray(PICTURE).convert(mode).convert("RGB")).astype(int)
    image = read_compressed("jpeg", file(PICTURE, "JPEG", mode, quality=95, progressive=progressive))
    assert image.encoding == "rgb8"
    np.testing.assert_allclose(image.to_rgb(), expected, atol=12)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_mosaic_that_was_compressed_as_it_is_gets_its_colours(depth: int) -> None:
    mosaic = np.empty((48, 64), np.uint8)
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[row::2, column::2] = PICTURE[row::2, column::2, channel]
    data = file(mosaic if depth == 8 else mosaic.astype(np.uint16) * 256 + 77, "PNG")
    image = read_compressed(f"bayer_rggb{depth}; png compressed ", data)
    np.testing.assert_allclose(image.to_rgb()[1:-1, 1:-1].astype(int), PICTURE[1:-1, 1:-1], atol=1)
    # The same publisher makes true greys for a JPEG, and says so.
    grey = read_compressed("bayer_rggb8; jpeg compressed mono8", file(GREY, "JPEG", quality=95))
    np.testing.assert_allclose(grey.to_rgb()[..., 2].astype(int), GREY, atol=4)


def test_a_camera_that_pads_its_files_is_understood() -> None:
    np.testing.assert_array_equal(read_compressed("", PNG + bytes(100)).to_rgb(), PICTURE)
    padded = read_compressed("", JPEG + bytes(100))
    np.testing.assert_array_equal(padded.to_rgb(), read_compressed("", JPEG).to_rgb())


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_camera_that_leaves_a_few_bytes_behind_its_pixels_is_understood(mode: str) -> None:
    jpeg = file(PICTURE, "JPEG", mode)
    left_over = np.random.default_rng(0).integers(0, 255, 200, np.uint8).tobytes()
    for count in range(1, 9):
        image = read_compressed("", jpeg[:-2] + left_over[:count] + b"\xff\xd9" + bytes(count % 2))
        np.testing.assert_array_equal(image.to_rgb(), read_compressed("", jpeg).to_rgb())
    with pytest.raises(InputError, match="extraneous bytes before marker 0xd9"):
        read_compressed("", jpeg[:-2] + left_over + b"\xff\xd9")


@pytest.mark.parametrize(("factor", "size"), [(4, (12, 16)), (3, (24, 32)), (1, (48, 64))])
def test_a_jpeg_is_decoded_smaller_where_that_is_enough(factor: int, size: tuple[int, int]) -> None:
    image = read_compressed("", JPEG, lambda height, width: factor)
    assert image.pixels.shape[:2] == size
    np.testing.assert_allclose(image.to_rgb(12, 16).astype(int), read_compressed("", JPEG).to_rgb(12, 16), atol=3)
    cut = len(JPEG) // 2
    with pytest.raises(InputError, match="whole JPEG"):
        read_compressed("", JPEG[:cut] + JPEG[-2:], lambda height, width: factor)


def test_a_turned_camera_is_not_turned_back() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    np.testing.assert_array_equal(
        read_compressed("jpeg", file(PICTURE, "JPEG", quality=95, exif=exif)).to_rgb(),
        read_compressed("jpeg", JPEG).to_rgb(),
    )


@pytest.mark.parametrize(("name", "data"), [("JPEG", JPEG), ("JPEG", PROGRESSIVE), ("PNG", PNG)])
def test_a_truncated_file_is_refused_wherever_it_ends(name: str, data: bytes) -> None:
    for length in range(8, len(data)):
        with pytest.raises(InputError, match=f"image: expected a whole {name}, got {length} bytes"):
            read_compressed("", data[:length])


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("grey", [False, True])
def test_a_truncated_jpeg_is_refused_although_its_end_was_put_behind_it(coding: str, grey: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for pixels in (PICTURE, noise):
        jpeg = file(pixels[..., 0] if grey else pixels, "JPEG", **CODINGS[coding])
        scan = jpeg.index(b"\xff\xda") + 14
        for length in range(scan, len(jpeg) - 4, 5):
            with pytest.raises(InputError, match="image: expected a whole JPEG"):
                read_compressed("jpeg", jpeg[:length] + b"\xff\xd9")
        assert read_compressed("jpeg", jpeg).encoding == "rgb8"


@settings(deadline=None)
@given(
    st.sampled_from(sorted(CODINGS)), st.booleans(), st.integers(0, 2**16), st.floats(0, 1), st.floats(0.2, 0.9)
)  # fmt: skip
def test_a_jpeg_with_a_gap_is_refused(coding: str, grey: bool, seed: int, where: float, share: float) -> None:
    """A gap of a few bytes within one block of pixels can leave a sound file, for a JPEG has no checksum."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (8, 10, 3), np.uint8)
    pixels = cv2.resize(small, (64 + seed % 32, 48 + seed % 48), interpolation=cv2.INTER_LINEAR)
    jpeg = file(pixels[..., 0] if grey else pixels, "JPEG", **CODINGS[coding])
    begin, end = jpeg.index(b"\xff\xda") + 14, len(jpeg) - 2
    gap = round(share * (end - begin))
    start = begin + round(where * (end - begin - gap))
    with pytest.raises(InputError, match="image: expected a"):
        read_compressed("jpeg", jpeg[:start] + jpeg[start + gap :])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_progressive_jpeg_that_lacks_a_scan_is_refused(mode: str) -> None:
    jpeg = file(PICTURE, "JPEG", mode, progressive=True)
    scans = scans_of(jpeg)
    head = jpeg[: jpeg.index(scans[0])]
    assert len(scans) > 5
    assert read_compressed("jpeg", head + b"".join(scans) + b"\xff\xd9").encoding == "rgb8"
    for k in range(len(scans)):
        with pytest.raises(InputError, match="image: expected a whole JPEG"):
            read_compressed("jpeg", head + b"".join(scans[:k] + scans[k + 1 :]) + b"\xff\xd9")


def test_a_truncated_jpeg_is_refused_where_it_ends_in_blocks_beyond_its_edge() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):  # of a block of 16 rows these images show 4
        jpeg = file(rng.integers(0, 256, (4, 30, 3), np.uint8), "JPEG")
        for length in range(jpeg.index(b"\xff\xda") + 14, len(jpeg) - 16):
            with pytest.raises(InputError, match="image: expected a whole JPEG"):
                read_compressed("jpeg", jpeg[:length] + b"\xff\xd9")


def test_a_thumbnail_is_no_part_of_the_picture() -> None:
    exif = file(PICTURE[:16, :16], "JPEG")
    data = file(PICTURE, "JPEG", quality=95, exif=b"Exif\0\0" + exif)
    np.testing.assert_array_equal(read_compressed("", data).to_rgb(), read_compressed("", JPEG).to_rgb())


def test_a_png_with_one_byte_damaged_is_refused_or_the_whole_picture() -> None:
    for place in range(8, len(PNG)):
        damaged = bytearray(PNG)
        damaged[place] ^= 0x10
        try:
            image = read_compressed("png", damaged)
        except InputError:
            continue
        np.testing.assert_array_equal(image.to_rgb(), PICTURE)  # the byte was in the end's length, which nobody needs
        assert place >= len(PNG) - 12


REFUSED = {
    "nothing": ("jpeg", b"", "expected JPEG or PNG data, got 0 bytes that begin with nothing in the format 'jpeg'"),
    "another kind": ("tiff", file(PICTURE, "TIFF"), "expected JPEG or PNG data, got .* in the format 'tiff'"),
    "a bitmap": ("png", file(PICTURE, "BMP"), "expected JPEG or PNG data, got .* begin with 42 4d"),
    "depths": ("16UC1; compressedDepth png", bytes(12) + PNG, "expected a compressed image, got compressed depth"),
    "depths alone": ("16UC1; compressedDepth", file(GREY.astype(np.uint16), "PNG"), "got compressed depth '16UC1"),
    "a large PNG": ("", png_claiming(8001, 8000), f"expected at most {MAX_PIXELS} pixels, got 8000x8001"),
    "a huge PNG": ("", png_claiming(2**31 - 1, 2**31 - 1), "expected a whole PNG, got .*"),
    "a large JPEG": ("", jpeg_claiming(8001, 8000), f"expected at most {MAX_PIXELS} pixels, got 8000x8001"),
    "a huge JPEG": ("", jpeg_claiming(65500, 65500), f"expected at most {MAX_PIXELS} pixels, got 65500x65500"),
    "a JPEG of 12 bits": (
        "",
        JPEG[: FRAME + 4] + b"\x0c" + JPEG[FRAME + 5 :],
        "expected a whole JPEG, .* precision 12",
    ),
    "an arithmetic JPEG": ("", JPEG[:FRAME] + b"\xff\xc9" + JPEG[FRAME + 2 :], "or progressive JPEG, .* type 0xc9"),
    "a lossless JPEG": ("", JPEG[:FRAME] + b"\xff\xc3" + JPEG[FRAME + 2 :], "or progressive JPEG, .* type 0xc3"),
    "a JPEG of many scans": ("", PROGRESSIVE[:-2] + 32 * scans_of(PROGRESSIVE)[-1] + b"\xff\xd9", "at most 32 scans"),
    "a flat PNG": ("", png_claiming(0, 64), "image: expected"),
    "a flat JPEG": ("", jpeg_claiming(48, 0), "image: expected"),
    "a tiny mosaic": ("bayer_rggb8; png compressed ", file(GREY[:2], "PNG"), "at least 3x3 pixels in bayer_rggb8"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_picture_is_refused_with_the_reason(what: str) -> None:
    format, data, reason = REFUSED[what]
    with pytest.raises(InputError, match=reason):
        read_compressed(format, data)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_of_a_few_bytes_that_claims_much_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected a whole JPEG"):
        read_compressed("", jpeg_claiming(2000, 2000, **options))


def test_a_jpeg_with_too_few_bytes_for_its_pixels_is_refused_before_it_is_decoded() -> None:
    claim = jpeg_claiming(8000, 8000)
    with pytest.raises(InputError, match=f"expected a whole JPEG, got {len(claim)} bytes for 8000x8000 pixels"):
        read_compressed("", claim)


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True, "optimize": True}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_large_jpeg_that_shows_nothing_is_taken(mode: str, options: dict[str, Any]) -> None:
    black = np.zeros((3000, 4000, 3), np.uint8)  # no image takes fewer bytes
    assert read_compressed("", file(black, "JPEG", mode, subsampling=2, **options)).pixels.shape == black.shape


def odd_files(count: int) -> Iterator[bytes]:
    """Yield files with bytes changed, cut out, put in or swapped between two of them."""
    chance = random.Random(0)
    exif = Pillow.Exif()
    exif[0x010F] = "maker"
    files = [JPEG, PROGRESSIVE, PNG, file(PICTURE, "JPEG", exif=exif), file(GREY, "PNG", "P")]
    for _ in range(count):
        data = bytearray(chance.choice(files))
        # Half of them in the headers, where the claims are.
        place = chance.randrange(3, min(len(data), 700) if chance.random() < 0.5 else len(data))
        length = chance.randrange(1, 20)
        match chance.randrange(4):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = chance.randbytes(length)
            case 3:
                data[place:] = chance.choice(files)[place:]
        yield bytes(data)


def is_taken(data: bytes) -> bool:
    """Return whether it is decoded; anything but an `InputError` fails."""
    try:
        image = read_compressed("jpeg", data)
    except InputError:
        return False
    assert image.to_rgb().shape == (*image.pixels.shape[:2], 3)
    return True


def test_odd_files_are_decoded_or_refused_without_a_word_and_leave_no_memory(capfd: pytest.CaptureFixture[str]) -> None:
    for data in odd_files(100):  # what is made once has been made
        is_taken(data)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        taken = sum(is_taken(data) for data in odd_files(2000))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < taken < 1500
    assert kept < 200_000
    # Python does not see what decoders allocate; the most is the largest size that a file may claim.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 4 * MAX_PIXELS // 1000
    assert capfd.readouterr() == ("", "")
