from __future__ import annotations

import numpy as np
import torch

from taskgan_ros.training.pose_probe import Views, fit_pose_probe, parabola

RNG = np.random.default_rng(0)
MAP = RNG.standard_normal((2, 12))


def views(count: int, noise: float, hard: float = 0.0) -> Views:
    """Return features that show two angles, worse by `hard` where the first is large."""
    angles = RNG.uniform(-1, 1, (count, 2))
    scatter = noise + hard * np.maximum(angles[:, :1], 0)
    return Views(angles @ MAP + scatter * RNG.standard_normal((count, 12)), angles)


def test_the_probe_reads_the_pose_and_its_scores_are_of_poses_not_seen() -> None:
    target = views(200, 0.1)
    probe, scores = fit_pose_probe(views(400, 0.1), target, np.arange(200) % 5, None)
    read = target.features @ probe.weights + probe.bias
    assert np.abs(read - target.angles).max() < 0.3
    assert 0.7 < np.sqrt(np.mean(scores**2)) < 1.4


def test_errors_weigh_less_where_poses_are_hard_to_see() -> None:
    probe, _ = fit_pose_probe(views(400, 0.02), views(400, 0.02, hard=0.5), np.arange(400) % 5, None)
    poses = (np.array([[-0.9, 0.0], [0.9, 0.0]]) - probe.centre) / probe.width
    easy, hard = parabola(torch.from_numpy(poses)).numpy() @ probe.spread
    assert hard > easy + 2, "logarithms of variances"


def test_other_looks_show_where_errors_are_large_but_not_how_large() -> None:
    plain, target, folds = views(400, 0.02), views(60, 0.02), np.arange(60) % 5
    alone, _ = fit_pose_probe(plain, target, folds, None)
    both, _ = fit_pose_probe(plain, target, folds, views(2000, 0.2, hard=2.0))
    poses = (np.array([[-0.9, 0.0], [0.9, 0.0]]) - target.angles.mean(0)) / target.angles.std(0)
    terms = parabola(torch.from_numpy(poses)).numpy()
    assert np.diff(terms @ both.spread) > np.diff(terms @ alone.spread) + 1
    np.testing.assert_array_equal(both.weights, alone.weights)
