from __future__ import annotations

import cv2
import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.sim.lens import make_lens

FOV = 0.72


@pytest.mark.parametrize("size", [(128, 128), (48, 96)])
@pytest.mark.parametrize("distortion", [(-0.18, 0.05), (0.2, 0.0), (-0.05, 0.3)])
def test_a_lens_bends_as_opencv_says_and_shows_nothing_from_outside_its_ideal_image(
    distortion: tuple[float, float], size: tuple[int, int]
) -> None:
    height, width = size
    lens = make_lens(distortion, FOV, height, width)
    assert lens is not None
    focal, its_focal = (height / 2 / np.tan(fov / 2) for fov in (FOV, lens.fov))
    rays = [(lens.columns + 0.5 - width / 2) / its_focal, (lens.rows + 0.5 - height / 2) / its_focal]
    points = np.stack([*rays, np.ones(size)], axis=-1).reshape(-1, 3).astype(np.float64)
    camera = np.array([[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]])
    seen, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera, np.array([*distortion, 0, 0]))
    rows, columns = np.mgrid[0:height, 0:width]
    np.testing.assert_allclose(seen.reshape(height, width, 2), np.stack([columns, rows], axis=-1), atol=1e-3)
    assert lens.columns.min() > -1e-3
    assert lens.columns.max() < width - 1 + 1e-3
    assert lens.rows.min() > -1e-3
    assert lens.rows.max() < height - 1 + 1e-3


def test_without_distortion_there_is_no_lens() -> None:
    assert make_lens((0.0, 0.0), FOV, 64, 64) is None


def test_a_lens_that_folds_the_image_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"expected a sensor.distortion that shows every point once, got \[-2.0, 0.0\]"
    ):
        make_lens((-2.0, 0.0), FOV, 64, 64)
