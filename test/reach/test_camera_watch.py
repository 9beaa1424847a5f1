from __future__ import annotations

import numpy as np
import pytest

from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.reach.camera_watch import IMAGES, LIMIT, CameraWatch
from taskgan_ros.reach.drawn_arm import DrawnArm, load_drawn_arm
from taskgan_ros.vision.moved_camera import CameraMotion

RGB = np.zeros((128, 128, 3), np.uint8)
HOME = np.zeros(6)
PERIOD_S = 10.0


@pytest.fixture(scope="module")
def arm() -> DrawnArm:
    drawn = load_drawn_arm(load_bundle("reach_target_wood"))
    assert drawn is not None
    return drawn


def stand(watch: CameraWatch, now_s: float, pose: float, is_objected: bool = False) -> int:
    """Stand in a pose for two images; return how many are to be looked at."""
    return sum(len(watch.note(at_s, RGB, HOME + pose, is_objected)) for at_s in (now_s, now_s + 0.1))


def motion(pixels: float, is_certain: bool = True) -> CameraMotion:
    shift, turn = np.array([0.02, 0, 0]), np.array([0, 0, 0.01])
    return CameraMotion(shift, turn, np.eye(6), pixels, 0.2, 0.8, is_certain)


def test_motion_is_estimated_regularly_from_images_of_different_poses(arm: DrawnArm) -> None:
    watch = CameraWatch(arm, PERIOD_S)
    assert [stand(watch, k, 0.2 * k) for k in range(IMAGES)] == [0] * (IMAGES - 1) + [IMAGES]
    assert stand(watch, 5, 1.0) == 0
    assert stand(watch, 13, 1.2) == IMAGES


def test_the_same_pose_counts_once_and_a_moving_arm_not_at_all(arm: DrawnArm) -> None:
    watch = CameraWatch(arm, PERIOD_S)
    assert not any(stand(watch, k, 0.01 * k) for k in range(9))
    fast = CameraWatch(arm, PERIOD_S)
    assert not any(fast.note(0.1 * k, RGB, HOME + 0.1 * k, False) for k in range(40))


def test_an_objection_of_the_guard_triggers_an_estimate_at_once(arm: DrawnArm) -> None:
    watch = CameraWatch(arm, 0.0)
    assert stand(watch, 0, 0.0) == 0
    assert stand(watch, 1, 0.0, is_objected=True) >= 1
    assert stand(watch, 3, 0.0, is_objected=True) == 0, "again in some seconds"


def test_a_moved_camera_is_reported_with_its_direction(arm: DrawnArm) -> None:
    watch = CameraWatch(arm, PERIOD_S)
    watch.take(motion(2 * LIMIT * 128))
    assert not watch.sentence, "once may be chance"
    watch.take(motion(2 * LIMIT * 128))
    assert "moved by 2.0 cm (x +2.0, y +0.0, z +0.0) and turned by 0.6°" in watch.sentence
    watch.take(motion(0.5 * LIMIT * 128))
    assert not watch.sentence


def test_an_uncertain_estimate_is_not_reported(arm: DrawnArm) -> None:
    watch = CameraWatch(arm, PERIOD_S)
    for _ in range(5):
        watch.take(motion(50.0, is_certain=False))
    assert not watch.sentence
