from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.reach.camera_image import make_view
from taskgan_ros.vision.camera_model import CameraModel
from taskgan_ros.vision.compressed import read_compressed
from taskgan_ros.vision.images import RawImage

BUNDLE = load_bundle("reach_target_wood")
IMAGE = RawImage(np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8), "rgb8")


def model(fov: float, distortion: tuple[float, ...] = (0.0,) * 5) -> CameraModel:
    focal = 120 / math.tan(fov / 2)
    matrix = ((focal, 0.0, 159.5), (0.0, focal, 119.5), (0.0, 0.0, 1.0))
    return CameraModel(matrix, distortion, "plumb_bob", 240, 320)


def test_images_before_the_first_camera_info_are_refused() -> None:
    with pytest.raises(InputError, match="camera_info before it, got none yet"):
        make_view(BUNDLE, expects_camera=True).read(IMAGE)


def test_an_ideal_camera_is_cropped_as_its_field_of_view_says() -> None:
    by_info = make_view(BUNDLE, expects_camera=True).seen_by(model(0.9)).read(IMAGE)
    np.testing.assert_array_equal(by_info, make_view(BUNDLE, 0.9).read(IMAGE))


def test_a_lens_is_taken_out() -> None:
    view = make_view(BUNDLE, expects_camera=True).seen_by(model(0.9, (-0.3, 0.1, 0.0, 0.0, 0.0)))
    assert view.read(IMAGE).shape == (128, 128, 3)
    assert "plumb_bob" in view.describe()
    assert np.any(view.read(IMAGE) != make_view(BUNDLE, 0.9).read(IMAGE))


@pytest.mark.parametrize("distortion", [(0.0,) * 5, (-0.1, 0.0, 0.0, 0.0, 0.0)])
def test_a_camera_that_sees_less_is_refused_with_numbers(distortion: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"expected to see at least 0\.72 rad"):
        make_view(BUNDLE, expects_camera=True).seen_by(model(0.5, distortion))


def test_the_field_of_view_takes_precedence_over_a_calibration() -> None:
    view = make_view(BUNDLE, 0.9, model(1.2))
    np.testing.assert_array_equal(view.read(IMAGE), make_view(BUNDLE, 0.9).read(IMAGE))


@pytest.mark.parametrize(
    ("size", "fov", "factor"),
    [
        ((480, 640), 0.0, 2),
        ((1080, 1920), 0.0, 4),
        ((1080, 1440), 0.0, 4),
        ((480, 640), 0.9, 1),
        ((1920, 2560), 0.9, 4),
    ],
)
def test_a_smaller_image_shows_the_same_part(size: tuple[int, int], fov: float, factor: int) -> None:
    view = make_view(BUNDLE, fov)
    assert view.shrink(*size) == factor
    rows, columns = np.indices(size)
    waves = np.stack([128 + 100 * np.sin(rows / 40), 128 + 100 * np.sin(columns / 40), 0 * rows + 90], axis=-1)
    file = cv2.imencode(".jpg", waves.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    whole, small = (view.read(read_compressed("", file, shrink)) for shrink in (None, view.shrink))
    np.testing.assert_allclose(small.astype(int), whole, atol=4)  # half a pixel off would be 5 or more


def test_an_image_that_is_rectified_is_decoded_whole() -> None:
    assert make_view(BUNDLE, expects_camera=True).seen_by(model(0.9)).shrink(480, 640) == 1
