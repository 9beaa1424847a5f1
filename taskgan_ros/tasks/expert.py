"""The expert: straight in joint space to the solution, and the labels that the paper trains on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.angles import angle_difference
from taskgan_ros.tasks.episode import CellState, Episode, goal_distance, goal_position, solve_ik
from taskgan_ros.tasks.scene import Scene, Stage

Array = NDArray[np.float64]

_PARKED_RAD = 0.1  # how far an arm's own weight may move a joint that stands


def path(scene: Scene, episode: Episode) -> list[CellState]:
    """Return the states of one training episode, evenly spaced from its start to the goal, the goal included.

    Without the goal, where the velocity is zero, a policy arrives and drifts away again.
    """
    fractions = np.linspace(0, 1, scene.images_per_episode)[:, None]
    start = episode.state.joint_pos
    return [episode.state.moved_to(q) for q in start + fractions * _displacement(scene, start, episode.solution)]


def velocity_label(scene: Scene, state: CellState, solution: Array) -> Array:
    """Return the joint velocities (J,) in rad/s of the driven joints: section 4.1.1's labels.

    The direction is the step to the solution with its L1 norm taken out; the size is the distance between tip and
    goal times `approach_gain`, so that the arm slows down and stops.
    """
    step = _displacement(scene, state.joint_pos, solution)[scene.driven]
    norm = np.abs(step).sum()
    if norm == 0:
        return np.zeros_like(step)
    return step / norm * goal_distance(scene, state) * scene.approach_gain


def _displacement(scene: Scene, here: Array, solution: Array) -> Array:
    """Return how far the solution is, (n,) rad, continuous joints the short way round: images do not show turns."""
    straight = solution - here
    return np.where(np.abs(straight) > np.pi, angle_difference(solution, here, scene.arm.is_continuous), straight)


def recorded_label(scene: Scene, joint_pos: Array, cube_xy: Array) -> Array:
    """Return `velocity_label` (J,) in rad/s for a recording of a real arm.

    Args:
        scene: what the arm stands in.
        joint_pos: (n,) rad, all joints of the arm; of continuous ones, turns do not count.
        cube_xy: (2,) m, the cube's centre in the frame of the arm's base.

    Raises:
        InputError: the tip cannot reach the goal above that cube, or a joint that is not driven is not where it stands.
    """
    solution = solve_ik(scene, goal_position(scene, cube_xy))
    if solution is None:
        raise InputError(f"expected a cube that the arm can reach, got one at {np.round(cube_xy, 3).tolist()} m")
    arm = scene.arm
    step = angle_difference(solution, joint_pos, arm.is_continuous)
    if np.max(np.abs(np.delete(step, scene.driven)), initial=0.0) > _PARKED_RAD:
        names, ready = np.delete(arm.joint_names, scene.driven).tolist(), np.delete(scene.ready, scene.driven).tolist()
        got = np.round(np.delete(joint_pos, scene.driven), 3).tolist()
        raise InputError(f"expected {names} at {ready} rad, which the scene says, got {got}")
    return velocity_label(scene, CellState(solution - step, cube_xy), solution)


def angle_label(scene: Stage, state: CellState) -> Array:
    """Return the angles (J,) in rad of the driven joints: the labels of the joint-angle task.

    They count from the arm file's zeros and are never wrapped into one turn, so none jumps within the scene's ranges.
    """
    return state.joint_pos[scene.driven]
