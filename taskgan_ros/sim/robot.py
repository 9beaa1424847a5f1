"""The simulated robot: motors that follow a trajectory controller, in a cell where episodes start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.arm.arm import Arm
from taskgan_ros.control.limits import step_to
from taskgan_ros.sim.controller import JointTrajectoryController, Trajectory
from taskgan_ros.sim.episode import CellState, Episode, goal_distance
from taskgan_ros.sim.scene import Scene

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Snapshot:
    """One moment of the robot.

    Attributes:
        episode: the episode that runs.
        time_s: s since it started.
        state: the cell now.
        velocities: (n,) rad/s.
        distance_m: m from the tip to its goal.
    """

    episode: Episode
    time_s: float
    state: CellState
    velocities: Array
    distance_m: float


class SimulatedRobot:
    """An arm with position-controlled joints behind a `JointTrajectoryController`, in a cell with a cube.

    All times are seconds of one steady clock. It is not thread-safe.
    """

    def __init__(
        self,
        scene: Scene,
        episode: Episode,
        now_s: float,
        settle_s: float = 0.3,
        allow_partial_joints_goal: bool = False,
    ) -> None:
        """Stand at the start of `episode`; `settle_s` after every start, trajectories are ignored."""
        self._scene, self._settle_s = scene, settle_s
        arm = scene.arm
        self._controller = JointTrajectoryController(
            arm.joint_names, episode.state.joint_pos, arm.is_continuous, allow_partial_joints_goal
        )
        self.start(episode, now_s)

    def start(self, episode: Episode, now_s: float) -> None:
        """Put arm and cube where `episode` starts.

        That is a jump which no arm can make, so nothing made for the pose before it may be executed: the running
        trajectory is dropped, and what arrives within `settle_s` too.
        """
        self._episode, self._started_s, self._stepped_s = episode, now_s, now_s
        self._positions = episode.state.joint_pos.copy()
        self._velocities = np.zeros_like(self._positions)
        self._controller.reset(self._positions)

    def command(self, trajectory: Trajectory, now_s: float) -> bool:
        """Hand a trajectory to the controller; return False where it is ignored because an episode just started.

        Raises:
            InputError: the controller rejects it.
        """
        if now_s < self._started_s + self._settle_s:
            return False
        self._controller.accept(trajectory, now_s)
        return True

    def step(self, now_s: float) -> Snapshot:
        """Move on to now, and take up a trajectory that has come since."""
        dt_s = now_s - self._stepped_s
        if dt_s > 0:
            reached = follow(self._scene.arm, self._positions, self._controller.sample(now_s), dt_s)
            self._velocities = (reached - self._positions) / dt_s
            self._positions, self._stepped_s = reached, now_s
        self._controller.take_up(now_s, self._positions, self._velocities)
        state = self._episode.state.moved_to(self._positions.copy())
        return Snapshot(
            self._episode,
            now_s - self._started_s,
            state,
            self._velocities.copy(),
            goal_distance(self._scene, state),
        )


def follow(arm: Arm, positions: Array, setpoint: Array, dt_s: float) -> Array:
    """Return where the motors are after `dt_s` on their way to `setpoint`, all (n,) rad.

    Each joint is as fast as it can be and stops at its limits; a continuous one goes the short way round. A
    setpoint that is not finite moves nothing.
    """
    step = step_to(np.where(np.isfinite(setpoint), setpoint, positions), positions, arm.is_continuous)
    furthest = arm.max_velocity * dt_s
    return np.clip(positions + np.clip(step, -furthest, furthest), arm.lower, arm.upper)
