from __future__ import annotations

import numpy as np

from taskgan_ros.training.appearance import coarse, cross_validated, fit_appearance


def test_the_distance_is_one_on_average_and_counts_in_deviations() -> None:
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 5.0, 0.1, 2.0])
    fitted = fit_appearance(rng.standard_normal((5000, 4)) * scale)
    near = fitted.distance(rng.standard_normal((5000, 4)) * scale)
    assert 0.9 < np.sqrt(np.mean(near**2)) < 1.1
    step = np.eye(4) * 10 * scale
    far = fitted.distance(step)
    assert np.all((far > 4) & (far < 6)), "ten deviations in one of four directions"


def test_fewer_samples_than_dimensions_still_give_a_distance() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((40, 100))
    distances = cross_validated(values, np.arange(40) % 5)
    assert np.isfinite(distances).all()
    assert np.median(fit_appearance(values).distance(values + 3)) > 2 * np.median(distances)


def test_coarse_images_are_means_of_cells() -> None:
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[1, :2, :2, 0] = 255
    values = coarse(images).reshape(2, 3, 16, 16)
    assert values[0].max() == -1
    assert (values[1] > -1).sum() == 1
    assert values[1, 0, 0, 0] == 1
    assert coarse(np.zeros((1, 6, 40, 3), np.uint8)).shape == (1, 3 * 6 * 20), "smaller than the grid, and not square"
