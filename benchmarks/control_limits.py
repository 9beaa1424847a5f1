"""How close 100 000 commands of a policy gone wild come to each limit, with arms that follow well and badly."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import Row, report

from taskgan_ros.arm.arm import load_arm
from taskgan_ros.control.commander import ANGLES, JTC, KINOVA, VELOCITIES, JointCommander
from taskgan_ros.control.fence import make_fence
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.sim.controller import JointTrajectoryController, Point, Trajectory

Array = NDArray[np.float64]

ARM = load_arm("mico")
DRIVEN = ARM.joint_names[:3]
READY = np.array([4.712, 4.09, 1.52, 3.1416, 5.65, 3.1416])
FENCE = make_fence(ARM, [-0.75, -0.75, 0.02, 0.75, 0.75, 1.0])
LAG_S = {"ideal": 0.0, "lags 50 ms": 0.05, "lags 150 ms": 0.15, "blocked": np.inf}
COMMANDS_A_RUN = 100  # then another pose, another rate, another policy


class Arm:
    """Goes where it is told, with a first-order lag."""

    def __init__(self, start: Array, lag_s: float) -> None:
        """Stand at `start`."""
        self.pose, self._lag_s = start.copy(), lag_s

    def follow(self, trajectory: JointTrajectory, time_s: float) -> None:
        """Move for `time_s` from where it is, in a straight line from point to point."""
        points = np.vstack([self.pose, trajectory.positions])
        times = np.append(0.0, trajectory.time_from_start_s)
        goal = np.array([np.interp(time_s, times, column) for column in points.T])
        share = 1.0 if self._lag_s == 0 else 1 - np.exp(-time_s / self._lag_s)
        self.pose = self.pose + share * (goal - self.pose)


def run(rng: np.random.Generator, lag_s: float, mode: str, worst: dict[str, float]) -> None:
    """Send one run's commands and note the largest share of each limit."""
    task = ANGLES if rng.random() < 0.3 else VELOCITIES
    commander = JointCommander(ARM, DRIVEN, task, mode, margin_rad=0.02, fence=FENCE)
    start = READY + np.append(rng.uniform(-0.6, 0.6, 3), np.zeros(3))
    start = np.clip(start, commander.lower, commander.upper)
    arm, now_s, period_s, last = Arm(start, lag_s), 0.0, rng.uniform(0.02, 0.15), np.zeros(len(start))
    scale, smooth = 10 ** rng.uniform(-2, 3), rng.random()
    command, wait_s = np.zeros(3), 0.05
    for k in range(COMMANDS_A_RUN):
        command = smooth * command + (1 - smooth) * scale * rng.standard_normal(3)
        wanted = command + (READY[:3] if task == ANGLES else 0)
        age_s = rng.uniform(0, 0.02)
        is_stop = k == COMMANDS_A_RUN - 1 or rng.random() < 0.02
        outside_m = 0.0 if FENCE is None else float(FENCE.outside_m(arm.pose))
        if is_stop:
            trajectory = commander.stop(now_s, arm.pose, age_s)
        else:
            trajectory = commander.follow(now_s, wanted, arm.pose, start, age_s)
        speeds = note(worst, commander, trajectory, arm.pose, last, outside_m, wait_s)
        wait_s = period_s * rng.uniform(0.7, 1.3)
        arm.follow(trajectory, wait_s)
        place = int(np.searchsorted(trajectory.time_from_start_s, wait_s, side="right"))
        last = speeds[min(place, len(speeds) - 1)]
        now_s += wait_s


def note(
    worst: dict[str, float],
    commander: JointCommander,
    trajectory: JointTrajectory,
    measured: Array,
    last: Array,
    outside_m: float,
    since_s: float,
) -> Array:
    """Note what a trajectory asks for; return its velocities, from point to point and then rest."""
    positions, lasts_s = trajectory.positions, np.diff(trajectory.time_from_start_s, prepend=0.0)[:, None]
    steps = np.abs(np.diff(positions, axis=0, prepend=measured[None])) / lasts_s
    asked = commander.motion.velocities  # from where the arm must be; from where it is, a laggard has more to go
    speeds = np.vstack([asked, np.zeros_like(last)])
    changes = np.abs(np.diff(np.vstack([last, speeds]), axis=0)) / ARM.max_acceleration
    found = {
        "speed": float(np.max(np.abs(asked) / ARM.max_velocity)),
        "speed for a laggard": float(np.max(steps / ARM.max_velocity)),
        "acceleration": float(np.max(changes[0]) / max(since_s, 0.05)),
        "acceleration of the stop": float(np.max(changes[1:]) / 0.05),
        "step": float(np.max(np.abs(positions - measured)) / commander.max_step_rad),
        "beyond positions (rad)": float(np.max(np.maximum(commander.lower - positions, positions - commander.upper))),
        "not finite": float(not np.isfinite(positions).all()),
        "rejected": float(not is_accepted(trajectory)),
    }
    if commander.fence is not None and outside_m == 0:
        found["outside the fence (m)"] = float(np.max(commander.fence.outside_m(positions)))
    for name, value in found.items():
        worst[name] = max(worst.get(name, -np.inf), value)
    return speeds


def is_accepted(trajectory: JointTrajectory) -> bool:
    """Return whether the controller that it is made for takes it."""
    if trajectory.velocities is not None:
        return trajectory.names == ARM.joint_names and not trajectory.velocities[-1].any()
    none = np.zeros(0)
    points = tuple(
        Point(time_s, row, none, none, none)
        for time_s, row in zip(trajectory.time_from_start_s, trajectory.positions, strict=True)
    )
    try:
        JointTrajectoryController(ARM.joint_names, READY).accept(Trajectory(trajectory.names, points), now_s=1.0)
    except ValueError:
        return False
    return True


def main() -> None:
    """Run all arms in both modes and print the worst of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    rows: list[Row] = []
    kinds = [(name, mode) for name in LAG_S for mode in (JTC, KINOVA)]
    runs = max(1, round(wanted.commands / COMMANDS_A_RUN / len(kinds)))
    for name, mode in kinds:
        worst: dict[str, float] = {}
        rng, began_s = np.random.default_rng(0), time.monotonic()
        for _ in range(runs):
            run(rng, LAG_S[name], mode, worst)
        rate = runs * COMMANDS_A_RUN / (time.monotonic() - began_s)
        rows.append({"arm": name, "mode": mode, "commands": runs * COMMANDS_A_RUN, **worst, "commands/s": rate})
    report("largest share of each limit (1: at the limit)", rows, wanted.out)


if __name__ == "__main__":
    main()
