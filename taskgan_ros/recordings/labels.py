"""What a recorded image is labelled with: the driven joints' angles, the demonstrated step, or the way to a goal."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.angles import angle_difference, whole_turns
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.scene import Scene

Array = NDArray[np.float64]

_STEP_RAD: Final = 2e-3  # L1, of the driven joints; less is noise and has no direction


def angle_labels(scene: Scene, joint_pos: Array) -> Array:
    """Return (T, J) rad, the driven joints' angles in `joint_pos` (T, n).

    Those of continuous joints are within half a turn of the scene's `ready` pose, as those of a scene of random poses
    are: a driver may count whole turns, which no image shows.
    """
    turns = whole_turns(joint_pos - np.array(scene.ready), scene.arm.is_continuous)
    return (joint_pos - turns)[:, scene.driven]


def demonstration_labels(scene: Scene, joint_pos: Array) -> Array:
    """Return (T, J) rad/s, section 4.1.1's labels with the recorded arm as the expert.

    The direction is the step to the next state that differs, over its L1 norm; the size is the distance from the tip
    to where the episode's tip ends, times the scene's `approach_gain`. Where the arm moves no more, it is 0.

    Raises:
        InputError: the scene has no approach_gain.
    """
    gain = _gain(scene)
    tips = np.array([tip_position(scene.arm, q) for q in joint_pos])
    distances = np.linalg.norm(tips - tips[-1], axis=1)
    directions = np.array([_direction(scene, here, joint_pos[k + 1 :]) for k, here in enumerate(joint_pos)])
    return directions * distances[:, None] * gain


def goal_labels(scene: Scene, joint_pos: Array, places: Array) -> Array:
    """Return (T, J) rad/s, section 4.1.1's labels towards targets at `places` (T, 2) m in the arm's base frame.

    Raises:
        InputError: a scene without a target, one that cannot be reached, or passive joints that stand elsewhere.
    """
    reach = reach_scene(scene)
    return np.array([reach.recorded_velocities(q, place) for q, place in zip(joint_pos, places, strict=True)])


def joint_goal_labels(scene: Scene, joint_pos: Array, places: Array) -> Array:
    """Return (T, J) rad, the driven joints' angles at which the tip is on its goal; arguments and errors as above."""
    reach = reach_scene(scene)
    return np.array([reach.recorded_goal(q, place) for q, place in zip(joint_pos, places, strict=True)])


def reach_scene(scene: Scene) -> ReachScene:
    """Return the scene if it has a goal that labels can be of.

    Raises:
        InputError: it is of another task.
    """
    if not isinstance(scene, ReachScene):
        raise InputError(f"expected a scene with the task reach for labels towards a goal, got {scene.task}")
    return scene


def _direction(scene: Scene, here: Array, ahead: Array) -> Array:
    """Return (J,) the step to the first state ahead that differs, over its L1 norm; 0 where none does."""
    for there in ahead:
        step = angle_difference(there, here, scene.arm.is_continuous)[scene.driven]
        if (size := np.abs(step).sum()) > _STEP_RAD:
            return step / size
    return np.zeros(len(scene.driven))


def _gain(scene: Scene) -> float:
    gain = getattr(scene, "approach_gain", None)
    if gain is None:
        raise InputError(f"expected a scene with an approach_gain for demonstrations, got the task {scene.task}")
    return float(gain)
