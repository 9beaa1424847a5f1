from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.vision.camera_model import CameraModel, camera_model, read_camera_model
from taskgan_ros.vision.images import RawImage, zoom_for

K = ((300.0, 0.0, 330.0), (0.0, 310.0, 235.0), (0.0, 0.0, 1.0))
WEBCAM = CameraModel(K, (-0.28, 0.07, 0.001, -0.0005, 0.0), "plumb_bob", 480, 640)
FISHEYE = CameraModel(K, (0.02, -0.01, 0.003, -0.001), "equidistant", 480, 640)
WIDE = CameraModel(K, (0.5, -0.2, 0.0, 0.0, 0.01, 0.8, -0.1, 0.02), "rational_polynomial", 480, 640)


def ideal(height: int, width: int, fov: float) -> CameraModel:
    focal = height / 2 / math.tan(fov / 2)
    return CameraModel(
        ((focal, 0, (width - 1) / 2), (0, focal, (height - 1) / 2), (0, 0, 1)), (0.0,) * 5, "plumb_bob", height, width
    )


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=30)
@given(st.integers(30, 300), st.integers(30, 300), st.floats(0.3, 2.0), st.floats(0.3, 1.0), st.integers(8, 80))
def test_an_ideal_camera_gives_what_to_rgb_gives(height: int, width: int, fov: float, share: float, size: int) -> None:
    model, image = ideal(height, width, fov), noise(height, width)
    wanted = min(fov, model.ideal_fov(1.0)) * share
    zoom = zoom_for(model.fov, (height, width), wanted, (size, size))
    assert np.array_equal(model.rectify(image, wanted, (size, size)), RawImage(image, "rgb8").to_rgb(size, size, zoom))


@pytest.mark.parametrize("model", [WEBCAM, FISHEYE, WIDE], ids=lambda model: model.model)
def test_pixels_are_where_the_lens_put_them(model: CameraModel) -> None:
    """Draw a point of the world as the lens shows it; the pinhole shows it where a pinhole would."""
    fov, side = 0.8, 128
    for x, y in ((0.0, 0.0), (0.2, 0.1), (-0.25, 0.3), (0.3, -0.3)):
        image = np.zeros((480, 640, 3), np.uint8)
        u, v = model.project(np.array([[x, y, 1.0]]))[0]
        rows, columns = np.mgrid[:480, :640]
        image[...] = (255 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / 20))[..., None]
        shown = model.rectify(image, fov, (side, side))[..., 0].astype(float)
        rows, columns = np.mgrid[:side, :side]
        center = [(grid * shown).sum() / shown.sum() for grid in (columns, rows)]
        focal = side / 2 / math.tan(fov / 2)
        assert center == pytest.approx([focal * x + (side - 1) / 2, focal * y + (side - 1) / 2], abs=0.1)


def test_the_map_is_opencvs() -> None:
    focal = 240 / math.tan(0.4)  # no shrinking, so that pixels compare one by one
    matrix = np.array([[focal, 0, 319.5], [0, focal, 239.5], [0, 0, 1]])
    image = np.asarray(cv2.GaussianBlur(noise(480, 640), (0, 0), 3), np.uint8)
    expected = cv2.undistort(image, np.array(K), np.array(WEBCAM.distortion), None, matrix)
    shown = WEBCAM.rectify(image, 0.8, (480, 640))
    assert np.abs(shown.astype(int) - expected).max() <= 2


def test_shrinking_averages_areas() -> None:
    stripes = np.zeros((480, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    shown = WEBCAM.rectify(stripes, 0.8, (48, 48))
    assert shown.mean() == pytest.approx(127, abs=3)
    assert np.abs(shown.astype(int) - 127).max() < 40  # a sample of single pixels would be all black and white


@pytest.mark.parametrize("model", [WEBCAM, FISHEYE, WIDE], ids=lambda model: model.model)
def test_no_pixel_of_the_largest_picture_is_made_up(model: CameraModel) -> None:
    image = np.full((480, 640, 3), 200, np.uint8)
    image[0], image[-1], image[:, 0], image[:, -1] = 0, 0, 0, 0  # what replicating the border would smear
    fov = model.ideal_fov(1.0)
    inner = model.rectify(image, 0.95 * fov, (200, 200))
    assert (inner == 200).all()
    with pytest.raises(InputError, match=rf"at least {1.1 * fov:.4g} rad vertically in 200:200.*got {fov:.4g} rad"):
        model.rectify(image, 1.1 * fov, (200, 200))


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(InputError, match="expected images of 640x480, as it was calibrated, got 320x240"):
        WEBCAM.rectify(noise(240, 320), 0.5, (64, 64))


def test_any_encoding_is_rectified() -> None:
    image = noise(480, 640)
    raw = RawImage(image[..., ::-1], "bgr8")
    assert np.array_equal(WEBCAM.rectify(raw, 0.6, (64, 64)), WEBCAM.rectify(image, 0.6, (64, 64)))


def test_files_of_calibrations(tmp_path: Path) -> None:
    info, file = tmp_path / "info.yaml", tmp_path / "camera.yaml"
    lens = list(WEBCAM.distortion)
    info.write_text(f"height: 480\nwidth: 640\ndistortion_model: plumb_bob\nd: {lens}\nk: {np.ravel(K).tolist()}\n")
    file.write_text(
        "image_width: 640\nimage_height: 480\ncamera_name: webcam\n"
        f"camera_matrix: {{rows: 3, cols: 3, data: {np.ravel(K).tolist()}}}\n"
        f"distortion_model: plumb_bob\ndistortion_coefficients: {{rows: 1, cols: 5, data: {lens}}}\n"
    )
    assert read_camera_model(info) == read_camera_model(file) == WEBCAM


def test_rectified_images_have_the_projection_matrix() -> None:
    projection = [200, 0, 320, 0, 0, 200, 240, 0, 0, 0, 1, 0]
    values = {"height": 480, "width": 640, "k": np.ravel(K), "d": [1.0] * 5, "p": projection}
    model = camera_model(values, rectified=True)
    assert model.matrix[0] == (200, 0, 320)
    assert model.distortion == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distortion_model": "ds"}, "expected a distortion_model of .*, got 'ds'"),
        ({"d": [0.1] * 3}, "expected 0 or 4 or 5 coefficients of plumb_bob, got 3"),
        ({"k": [0.0] * 9}, "expected focal lengths above 0, got 0 and 0: is it calibrated?"),
        ({"k": [1.0] * 8}, "expected 9 numbers in k, got 8"),
        ({"k": [300, 0, 900, 0, 300, 240, 0, 0, 1]}, "expected a principal point within the image"),
        ({"d": ["a"]}, "expected numbers in d"),
        ({"height": None}, "expected a whole number of pixels in height, got None"),
    ],
)
def test_what_is_no_camera_is_refused(changes: dict[str, object], message: str) -> None:
    values = {"height": 480, "width": 640, "k": np.ravel(K), "d": WEBCAM.distortion, **changes}
    with pytest.raises(InputError, match=message):
        camera_model(values)
