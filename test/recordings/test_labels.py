from __future__ import annotations

import numpy as np

from taskgan_ros.recordings.labels import angle_labels
from taskgan_ros.tasks.registry import load_scene


def test_a_drivers_whole_turns_are_in_no_label() -> None:
    scene = load_scene("poses")
    joint_pos = np.array(scene.ready) + np.random.default_rng(0).uniform(-3, 3, (5, len(scene.ready)))
    turned = joint_pos + 2 * np.pi * np.array([[-2], [-1], [0], [1], [3]])
    np.testing.assert_allclose(angle_labels(scene, joint_pos), joint_pos[:, scene.driven])
    labels = angle_labels(scene, turned)
    is_continuous = scene.arm.is_continuous[scene.driven]
    assert set(is_continuous) == {True, False}
    np.testing.assert_allclose(labels[:, is_continuous], joint_pos[:, scene.driven][:, is_continuous])
    np.testing.assert_array_equal(labels[:, ~is_continuous], turned[:, scene.driven][:, ~is_continuous])
