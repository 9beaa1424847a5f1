"""The simulated robot: motors that follow a controller, in a cell where episodes start."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.command_interfaces import (
    JOINT_JOG,
    JOINT_TRAJECTORY,
    KINOVA,
    POSITION_GROUP,
    VELOCITY_GROUP,
)
from taskgan_ros.robot.angles import angle_difference
from taskgan_ros.robot.arm import Arm
from taskgan_ros.sim.controller import JointTrajectoryController, Point, Trajectory
from taskgan_ros.sim.domain import Calibration
from taskgan_ros.sim.forward_controller import (
    ForwardPositionController,
    ForwardVelocityController,
    VelocityController,
)
from taskgan_ros.sim.jog_controller import Jog, JogController
from taskgan_ros.sim.kinova_driver import KinovaDriver
from taskgan_ros.tasks.scene import MotionScene
from taskgan_ros.tasks.state import CellState, Episode

Array = NDArray[np.float64]
Order = Trajectory | Jog | Array  # what a controller takes; an array has one value per joint
Controller = JointTrajectoryController | ForwardPositionController | VelocityController

_VELOCITY_CONTROLLERS = {VELOCITY_GROUP: ForwardVelocityController, JOINT_JOG: JogController, KINOVA: KinovaDriver}
_KEPT = 10_000  # commands at most, until they are taken
_HERE_RAD = 0.05  # within this of the arm, a motion begins here: joint states are late and noisy, other starts are far
_SLOW = 0.1  # rad/s, which a motion from rest is not faster than at first
_ROUNDING = 1e-6  # of the time, which may come out just below a whole number of update periods


@dataclass(frozen=True)
class Snapshot:
    """One moment of the robot.

    Attributes:
        episode: the episode that runs.
        time_s: s since it started.
        state: the cell now.
        velocities: (n,) rad/s.
        distance_m: m from the tip to its goal, as it really is: the joints' readings may be off.
    """

    episode: Episode
    time_s: float
    state: CellState
    velocities: Array
    distance_m: float


@dataclass(frozen=True)
class Drive:
    """What stands between a command and the arm: a controller, and servos that lag behind what it commands.

    Attributes:
        servo_lag_s: s, the time constant of each joint's first-order lag; 0 for none.
        update_rate_hz: of the controller.
        allow_partial_joints_goal, interpolate_from_desired_state: as the parameters of ros2_control's
            JointTrajectoryController.
        command_interface: which controller it is, one of `COMMAND_INTERFACES`.
    """

    servo_lag_s: float = 0.03
    update_rate_hz: float = 100.0
    allow_partial_joints_goal: bool = False
    interpolate_from_desired_state: bool = True
    command_interface: str = JOINT_TRAJECTORY

    @property
    def period_s(self) -> float:
        """Between two updates, s."""
        return 1 / self.update_rate_hz


class SimulatedRobot:
    """An arm whose joints lag behind a controller, in a cell.

    All times are seconds of one steady clock. It is not thread-safe.
    """

    def __init__(
        self,
        scene: MotionScene,
        episode: Episode,
        now_s: float,
        settle_s: float = 0.3,
        drive: Drive | None = None,
        calibration: Calibration | None = None,
        joint_names: Sequence[str] = (),
    ) -> None:
        """Stand at the start of `episode`.

        Args:
            scene: the cell.
            episode: the first one.
            now_s: s.
            settle_s: s after a start in which commands that begin at another pose are ignored.
            drive: controller and servos.
            calibration: the calibration error, which is added to the joints' readings to get the real angles.
            joint_names: what the controller calls the n joints; none for the arm file's names.
        """
        self._scene, self._settle_s, self._drive = scene, settle_s, drive or Drive()
        self._calibration = calibration or Calibration()
        self._joint_names = tuple(joint_names) or scene.arm.joint_names
        self._controller = _make_controller(scene.arm, self._joint_names, episode.state.joint_pos, self._drive)
        self.start(episode, now_s)

    def start(self, episode: Episode, now_s: float) -> None:
        """Put arm and objects where `episode` starts.

        That is a jump which no arm can make, so nothing made for the pose before it may be executed: the running
        motion is dropped, and so is what arrives within `settle_s` and does not begin where the arm stands. Velocities
        do not say where they begin: they are dropped until one is slow, as a new motion's first one is.
        """
        self._episode, self._started_s, self._updated_s = episode, now_s, now_s
        self._state = episode.state
        self._positions = episode.state.joint_pos.copy()
        self._velocities = np.zeros_like(self._positions)
        self._controller.reset(self._positions)
        self._commanded: deque[Point] = deque(maxlen=_KEPT)
        self._has_begun = False  # a motion of velocities, since the start

    def command(self, order: Order, now_s: float) -> bool:
        """Hand a command to the controller; return False if it is ignored because it predates the episode's start.

        Raises:
            InputError: the controller rejects it.
        """
        if now_s < self._started_s + self._settle_s and not self._begins_here(order):
            return False
        self.step(now_s)  # until now, it moved without this command
        self._controller.accept(order, now_s)  # type: ignore[arg-type]  # the drive says which of them comes
        return True

    def _begins_here(self, order: Order) -> bool:
        names, interface = self._joint_names, self._drive.command_interface
        if isinstance(order, Trajectory):
            if not order.points or not set(order.joint_names) <= set(names):
                return False
            here = self._positions[[names.index(name) for name in order.joint_names]]
            first = order.points[0].positions
        elif interface == POSITION_GROUP and not isinstance(order, Jog):
            here, first = self._positions, order
        else:
            velocities = order.velocities if isinstance(order, Jog) else order
            self._has_begun = self._has_begun or bool(np.all(np.abs(velocities) < _SLOW))
            return self._has_begun
        return first.shape == here.shape and bool(np.all(np.abs(first - here) < _HERE_RAD))

    def step(self, now_s: float) -> Snapshot:
        """Move on to now, with all updates of the controller until then."""
        period_s = self._drive.period_s
        for _ in range(int((now_s - self._updated_s) / period_s + _ROUNDING)):
            self._positions, self._velocities = self._moved(period_s)
            self._updated_s += period_s
            self._controller.update(self._updated_s, period_s, self._positions, self._velocities)
            self._commanded.append(self._controller.commanded)
        positions, velocities = self._moved(now_s - self._updated_s)
        self._state = state = self._calibration.move(self._scene, self._state, positions)
        distance_m = self._scene.distance(self._calibration.true_state(state))
        return Snapshot(self._episode, now_s - self._started_s, state, velocities, distance_m)

    def take_commanded(self) -> list[Point]:
        """Return the controller's commands at each update since the last call: when, and where to be by the next."""
        commanded = list(self._commanded)
        self._commanded.clear()
        return commanded

    def _moved(self, dt_s: float) -> tuple[Array, Array]:
        """Return where the motors are `dt_s` after the last update (n,) rad, and how fast (n,) rad/s."""
        if dt_s <= 0:
            return self._positions.copy(), self._velocities.copy()
        setpoint = self._controller.commanded.positions
        reached = follow(self._scene.arm, self._positions, setpoint, dt_s, self._drive.servo_lag_s)
        return reached, (reached - self._positions) / dt_s


def _make_controller(arm: Arm, joint_names: Sequence[str], positions: Array, drive: Drive) -> Controller:
    if drive.command_interface == POSITION_GROUP:
        return ForwardPositionController(joint_names, positions)
    if drive.command_interface in _VELOCITY_CONTROLLERS:
        return _VELOCITY_CONTROLLERS[drive.command_interface](arm, joint_names, positions)
    return JointTrajectoryController(
        joint_names,
        positions,
        arm.is_continuous,
        drive.allow_partial_joints_goal,
        drive.interpolate_from_desired_state,
    )


def follow(arm: Arm, positions: Array, setpoint: Array, dt_s: float, lag_s: float = 0.0) -> Array:
    """Return where the motors are after `dt_s` on their way to `setpoint`, all (n,) rad.

    Each joint goes there with the time constant `lag_s`, at its top speed at most, and stops at its limits; a
    continuous one goes the short way round. A setpoint that is not finite moves nothing.
    """
    step = angle_difference(np.where(np.isfinite(setpoint), setpoint, positions), positions, arm.is_continuous)
    share = 1 - np.exp(-dt_s / lag_s) if lag_s else 1.0
    furthest = arm.max_velocity * dt_s
    return np.clip(positions + np.clip(share * step, -furthest, furthest), arm.lower, arm.upper)
