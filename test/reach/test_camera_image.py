from __future__ import annotations

import math

import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.reach.camera_image import make_view
from taskgan_ros.vision.camera_model import CameraModel
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


def test_the_field_of_view_stands_over_a_calibration() -> None:
    view = make_view(BUNDLE, 0.9, model(1.2))
    np.testing.assert_array_equal(view.read(IMAGE), make_view(BUNDLE, 0.9).read(IMAGE))


def test_as_many_pixels_are_asked_for_as_are_left_after_the_cut() -> None:
    height, width = BUNDLE.card.image.shape
    whole = make_view(BUNDLE)
    assert whole.least_size(4 * height, 8 * width) == (height, 2 * width)
    assert whole.least_size(height // 2, width // 2) == (height // 2, width // 2)
    rows, _ = make_view(BUNDLE, 0.9).least_size(480, 640)
    zoom = math.tan(0.9 / 2) / math.tan(BUNDLE.camera_fov / 2)
    assert rows == pytest.approx(zoom * height, abs=2)
    assert make_view(BUNDLE, expects_camera=True).seen_by(model(0.9)).least_size(480, 640) == (480, 640)
