"""What stood where in recorded frames: the arm by its joint angles, a reached target by where the arm arrived."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.data.dataset import Dataset
from taskgan_ros.robot.units import JOINT_GOALS, UNITS
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.tasks.state import CellState

_NAMED = 10  # episodes in an error

if TYPE_CHECKING:
    from taskgan_ros.sim.cell import Shown


def recorded_states(data: Dataset, scene: Shown) -> list[CellState]:
    """Return each frame's state; without objects in episodes whose labels do not determine the target's place.

    In a scene of the task reach, labels towards a goal do, those of a demonstration that ends at one, and joint goals.
    """
    states = [CellState(q) for q in data.joint_pos.astype(np.float64)]
    if not isinstance(scene, ReachScene):
        return states
    for episode in np.unique(data.episode):
        interrupts.check()
        rows = np.flatnonzero(data.episode == episode)
        places = _places(data, rows, scene)
        for row, place in zip(rows, places if places is not None else (), strict=False):
            states[row] = CellState(states[row].joint_pos, np.array([[*place, 0.0]]))
    return states


def _places(data: Dataset, rows: NDArray[np.intp], scene: ReachScene) -> NDArray[np.float64] | None:
    """Return where (T, 2) m the target lies in one episode's frames, or None if labels do not determine it."""
    joint_pos, labels = (values[rows].astype(np.float64) for values in (data.joint_pos, data.actions))
    if data.info.task == JOINT_GOALS:
        return np.array([scene.place_of(goal) for goal in labels])
    return scene.recorded_targets(joint_pos, labels) if data.info.task == "joint_velocities" else None


def with_joint_goals(data: Dataset, scene: Scene) -> Dataset:
    """Return the frames labelled with the joint angles at their goals.

    Raises:
        InputError: another task, labels that do not determine every goal, one that the arm cannot reach, or joints that
            are not driven and stand elsewhere than in the scene.
    """
    if data.info.task == JOINT_GOALS:
        return data
    if not isinstance(scene, ReachScene) or data.info.task != "joint_velocities":
        got = f"{data.info.task} in one of the task {scene.task}"
        raise InputError(f"expected labels of joint_velocities in a scene of the task reach, to find goals, got {got}")
    states = recorded_states(data, scene)
    unknown = sorted({int(data.episode[k]) for k, state in enumerate(states) if not len(state.objects)})
    if unknown:
        raise InputError(f"expected labels that determine each goal, got others in the episodes {unknown[:_NAMED]}")
    goals = [scene.recorded_goal(state.joint_pos, state.objects[0, :2]) for state in states]
    info = dataclasses.replace(data.info, task=JOINT_GOALS, units=UNITS[JOINT_GOALS])
    return dataclasses.replace(data, info=info, actions=np.array(goals, np.float32))


def draw_plain(data: Dataset, scene: Scene, domain: str) -> NDArray[np.uint8] | None:
    """Return the plain render (N, H, W, 3) of each recorded frame; None where the place of an object is not known.

    A target is drawn square to the base: no label tells how it is turned.

    Raises:
        InputError: an unknown domain, or no headless OpenGL.
    """
    states = recorded_states(data, scene)
    if any(len(state.objects) < len(scene.objects) for state in states):
        return None
    drawn = []
    with (
        Cell(scene, load_domain(domain), (data.info.height, data.info.width)) as cell,
        progress_bar("plain renders", len(states), "frames") as advance,
    ):
        look = cell.sample_look(0, 0)
        for state in states:
            interrupts.check()
            drawn.append(cell.render(state, look))
            advance(1)
    return np.stack(drawn)
