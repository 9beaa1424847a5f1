"""How close the commands of a policy gone wild come to each limit, as a controller executes them, on several arms."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import Row, report

from taskgan_ros.control.command_interfaces import JOINT_TRAJECTORY, KINOVA
from taskgan_ros.control.commander import JointCommander
from taskgan_ros.control.commander_config import ANGLES, VELOCITIES, CommanderConfig
from taskgan_ros.control.fence import make_fence
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.core.config import fill
from taskgan_ros.reach.parameters import ReachParameters
from taskgan_ros.robot.arm import Arm, load_arm
from taskgan_ros.sim.controller import JointTrajectoryController, Point, Trajectory

Array = NDArray[np.float64]

MICO = load_arm("mico")
READY = np.array([4.712, 4.09, 1.52, 3.1416, 5.65, 3.1416])
BOX = [-0.75, -0.75, 0.02, 0.75, 0.75, 1.0]
# Speeds and accelerations of common arms, on the Mico's kinematic chain: rad/s, rad/s².
ARMS: dict[str, tuple[float, float] | None] = {
    "Mico": None,
    "UR5e": (np.pi, 5.0),
    "SO-101": (6.0, 30.0),
    "slow": (0.2, 0.5),
}
LAG_S = {"no lag": 0.0, "30 ms": 0.03, "80 ms": 0.08, "blocked": np.inf}
COMMANDS_A_RUN = 100  # then another pose, another rate, another policy
GRID_S, WINDOW = 0.002, 5  # commands are sampled every 2 ms, and differentiated over 10 ms


def make_arm(name: str) -> Arm:
    """Return the Mico with the motors of `name`."""
    if (motors := ARMS[name]) is None:
        return MICO
    speed, acceleration = motors
    joints = [dataclasses.replace(j, max_velocity=speed, max_acceleration=acceleration) for j in MICO.joints]
    return dataclasses.replace(MICO, joints=tuple(joints))


class Servo:
    """An arm whose motors lag, and whose controller starts each trajectory at its start time."""

    def __init__(self, start: Array, lag_s: float) -> None:
        """Stand at `start`."""
        self.pose, self.commanded = start.copy(), [start[None].copy()]
        self._share = 1 - np.exp(-GRID_S / lag_s) if lag_s else 1.0

    def follow(self, trajectory: JointTrajectory, time_s: float) -> None:
        """Move for `time_s` from where it is, in a straight line from point to point."""
        points = np.vstack([self.commanded[-1][-1], trajectory.positions])
        times = np.append(0.0, trajectory.time_from_start_s)
        grid_s = GRID_S * np.arange(1, round(time_s / GRID_S) + 1)
        commanded = np.stack([np.interp(grid_s, times, column) for column in points.T], axis=1)
        for command in commanded:
            self.pose = self.pose + self._share * (command - self.pose)
        self.commanded.append(commanded)


def run(rng: np.random.Generator, arm: Arm, lag_s: float, mode: str, worst: dict[str, float]) -> None:
    """Send one run's commands and note the largest share of each limit."""
    task = ANGLES if rng.random() < 0.3 else VELOCITIES
    fence = make_fence(arm, BOX)
    commander = JointCommander(
        fill(
            CommanderConfig, ReachParameters(), arm=arm, driven_joints=arm.joint_names[:3], task=task,
            command_interface=mode, fence=fence,
        )
    )  # fmt: skip
    start = READY + np.append(rng.uniform(-0.6, 0.6, 3), np.zeros(3))
    start = np.clip(start, commander.config.lower, commander.config.upper)
    servo, now_s, period_s, age_s = Servo(start, lag_s), 0.0, rng.uniform(0.02, 0.15), rng.uniform(0, 0.02)
    scale, smooth, command, velocities = 10 ** rng.uniform(-2, 3), rng.random(), np.zeros(3), []
    for k in range(COMMANDS_A_RUN):
        command = smooth * command + (1 - smooth) * scale * rng.standard_normal(3)
        wanted = command + (READY[:3] if task == ANGLES else 0)
        if k == COMMANDS_A_RUN - 1 or rng.random() < 0.02:
            trajectory = commander.stop(now_s, servo.pose, age_s)
        else:
            trajectory = commander.follow(now_s, wanted, servo.pose, start, age_s)
        wait_s = GRID_S * round(period_s * rng.uniform(0.7, 1.3) / GRID_S)
        note(worst, "rejected", float(not is_accepted(trajectory)))
        note(worst, "not finite", float(not np.isfinite(trajectory.positions).all()))
        if trajectory.velocities is not None:
            velocities.append(trajectory.velocities)
        servo.follow(trajectory, wait_s)
        now_s += wait_s
    note_commands(worst, arm, commander, servo, velocities)


def note_commands(
    worst: dict[str, float], arm: Arm, commander: JointCommander, servo: Servo, velocities: list[Array]
) -> None:
    """Note what the controller commanded; for Kinova's driver, which acts on velocities alone, what it was sent."""
    commanded = np.vstack(servo.commanded)
    if velocities:
        note(worst, "speed", float(np.max(np.abs(np.vstack(velocities)) / arm.max_velocity)))
        changes = [np.abs(np.diff(each, axis=0)) / arm.max_acceleration for each in velocities]
        note(worst, "acceleration", float(max(np.max(change) for change in changes) / 0.05))
    else:
        speeds = (commanded[WINDOW:] - commanded[:-WINDOW]) / (WINDOW * GRID_S)
        accelerations = (speeds[WINDOW:] - speeds[:-WINDOW]) / (WINDOW * GRID_S)
        note(worst, "speed", float(np.max(np.abs(speeds) / arm.max_velocity)))
        note(worst, "acceleration", float(np.max(np.abs(accelerations) / arm.max_acceleration)))
    beyond = np.maximum(commander.config.lower - commanded, commanded - commander.config.upper)
    note(worst, "beyond positions (rad)", float(np.max(beyond)))
    if commander.config.fence is not None and not commander.config.fence.outside_m(commanded[0]):
        note(worst, "outside the fence (m)", float(np.max(commander.config.fence.outside_m(commanded))))


def note(worst: dict[str, float], what: str, value: float) -> None:
    """Keep the largest."""
    worst[what] = max(worst.get(what, -np.inf), value)


def is_accepted(trajectory: JointTrajectory) -> bool:
    """Return whether the controller that it is made for takes it."""
    if trajectory.velocities is not None:
        return trajectory.names == MICO.joint_names and not trajectory.velocities[-1].any()
    points = tuple(
        Point(time_s, row) for time_s, row in zip(trajectory.time_from_start_s, trajectory.positions, strict=True)
    )
    try:
        JointTrajectoryController(MICO.joint_names, READY).accept(Trajectory(trajectory.names, points), now_s=1.0)
    except ValueError:
        return False
    return True


def main() -> None:
    """Run all arms, and print the worst of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    rows: list[Row] = []
    kinds = [(arm, lag, JOINT_TRAJECTORY) for arm in ARMS for lag in LAG_S] + [("Mico", lag, KINOVA) for lag in LAG_S]
    runs = max(1, round(wanted.commands / COMMANDS_A_RUN / len(kinds)))
    for name, lag, mode in kinds:
        worst: dict[str, float] = {}
        rng, began_s, arm = np.random.default_rng(0), time.monotonic(), make_arm(name)
        for _ in range(runs):
            run(rng, arm, LAG_S[lag], mode, worst)
        rate = runs * COMMANDS_A_RUN / (time.monotonic() - began_s)
        row: Row = {"arm": name, "servo": lag, "mode": mode, "commands": runs * COMMANDS_A_RUN, **worst}
        rows.append({**row, "commands/s": rate})
    title = "largest share of each limit (1: at the limit), with a controller that interpolates linearly"
    report(title, rows, wanted.out)


if __name__ == "__main__":
    main()
