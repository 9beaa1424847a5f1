"""What stood where in recorded frames: the arm by its joint angles, a reached target by where the arm arrived."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.data.dataset import Dataset
from taskgan_ros.robot.units import JOINT_GOALS, UNITS
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.tasks.state import CellState

if TYPE_CHECKING:
    from taskgan_ros.sim.cell import Shown


def recorded_states(data: Dataset, scene: Shown) -> list[CellState]:
    """Return each frame's state; without objects where no label tells their places.

    In a scene of the task reach two kinds do: velocities, which are zero where the tip has arrived, over the target;
    and joint goals, which put the tip there.
    """
    states = [CellState(q) for q in data.joint_pos.astype(np.float64)]
    if not isinstance(scene, ReachScene):
        return states
    for episode in np.unique(data.episode):
        rows = np.flatnonzero(data.episode == episode)
        place = _place(data, rows, scene)
        if place is not None:
            for row in rows:
                states[row] = CellState(states[row].joint_pos, np.array([[*place, 0.0]]))
    return states


def _place(data: Dataset, rows: NDArray[np.intp], scene: ReachScene) -> NDArray[np.float64] | None:
    """Return where (2,) m the target of one episode lies, or None where its labels do not tell."""
    joint_pos, labels = (values[rows].astype(np.float64) for values in (data.joint_pos, data.actions))
    if data.info.task == JOINT_GOALS:
        return scene.place_of(labels[0])
    return scene.recorded_target(joint_pos, labels) if data.info.task == "joint_velocities" else None


def with_joint_goals(data: Dataset, scene: Scene) -> Dataset | None:
    """Return the frames labelled with the joint angles at their goals; None where labels do not tell every goal.

    Raises:
        InputError: a goal that the arm cannot reach.
    """
    if data.info.task == JOINT_GOALS:
        return data
    states = recorded_states(data, scene)
    if not isinstance(scene, ReachScene) or not all(len(state.objects) for state in states):
        return None
    goals = np.array([scene.goal_angles(state.objects[0, :2]) for state in states], np.float32)
    info = dataclasses.replace(data.info, task=JOINT_GOALS, units=UNITS[JOINT_GOALS])
    return dataclasses.replace(data, info=info, actions=goals)


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
