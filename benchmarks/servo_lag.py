"""How even the commands to lagging servos are, at two controller rates, continuing from desired or measured state."""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench import ARM, Bench, open_bench
from numpy.typing import NDArray
from report import Row, report
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.nodes import topics
from taskgan_ros.nodes.messages import seconds

Array = NDArray[np.float64]

LAGS_MS = (0, 20, 50, 80)
RATES_HZ = (250, 100)
DRIVEN = slice(0, 3)
MOVING_S = 3.0  # of an episode, in which the arm is on its way
EPISODE_S = 9.0
WINDOW_S = 0.01  # over which commands are differentiated
SLOW = 0.05  # rad/s; a slower command has no direction in which it could be set back
SETTLED_S = 0.4  # after a start, in which the cell ignores trajectories


class Record:
    """What the cell's controller commanded, where the arm was and what it was sent, in one run."""

    def __init__(self, bench: Bench) -> None:
        """Listen."""
        self.commanded: list[tuple[float, Array]] = []
        self.arm: list[tuple[float, Array]] = []
        self.sent: list[tuple[float, JointTrajectory]] = []
        self.distance_m = np.nan
        bench.listen(JointTrajectory, "sim_node/commanded", self._hear_commanded)
        bench.listen(JointState, topics.JOINT_STATES, self._hear_arm)
        bench.listen(JointTrajectory, topics.TRAJECTORY, lambda message: self.sent.append((time.time(), message)))
        bench.listen(Float64, "sim_node/distance", self._hear_distance)

    def _hear_commanded(self, message: JointTrajectory) -> None:
        start_s = seconds(message.header.stamp)
        for point in message.points:
            self.commanded.append((start_s + seconds(point.time_from_start), np.array(point.positions)))

    def _hear_arm(self, message: JointState) -> None:
        self.arm.append((seconds(message.header.stamp), np.array(message.position)))

    def _hear_distance(self, message: Float64) -> None:
        self.distance_m = message.data


def between(rows: list[tuple[float, Array]], first_s: float, last_s: float) -> tuple[Array, Array]:
    """Return the times (T,) s and positions (T, n) rad of what was heard between two times."""
    kept = [(time_s, positions) for time_s, positions in rows if first_s <= time_s <= last_s]
    return np.array([time_s for time_s, _ in kept]), np.array([positions for _, positions in kept])


def evenness(times_s: Array, commanded: Array, rate_hz: float) -> dict[str, float]:
    """Return the largest commanded speed and acceleration, over 10 ms each, as shares of their limits."""
    grid_s = times_s[0] + np.arange(round((times_s[-1] - times_s[0]) * rate_hz)) / rate_hz
    places = np.stack([np.interp(grid_s, times_s, column) for column in commanded.T], axis=1)
    step = max(1, round(WINDOW_S * rate_hz))
    speeds = (places[step:] - places[:-step]) / (step / rate_hz)
    accelerations = (speeds[step:] - speeds[:-step]) / (step / rate_hz)
    return {
        "speed / limit": float(np.max(np.abs(speeds) / ARM.max_velocity)),
        "acceleration / limit": float(np.max(np.abs(accelerations) / ARM.max_acceleration)),
    }


def setbacks(times_s: Array, commanded: Array, sent: list[tuple[float, JointTrajectory]]) -> tuple[float, float]:
    """Return at what share of messages (%) a joint is set back that three in a row move on, and the most (mrad)."""
    backs = []
    wanted = [cruise(message)[DRIVEN] for _, message in sent]
    for (heard_s, _), *asked in zip(sent[2:], wanted, wanted[1:], wanted[2:], strict=False):
        goes_on = np.all(np.sign(asked) == np.sign(asked[-1]), axis=0) & np.all(np.abs(asked) > SLOW, axis=0)
        near = (times_s > heard_s - 0.02) & (times_s < heard_s + 0.03)
        if goes_on.any() and np.count_nonzero(near) > 1:
            steps = np.diff(commanded[near], axis=0)[:, DRIVEN] * np.sign(asked[-1])
            backs.append(float(np.max(-steps[:, goes_on])))
    share = np.mean([back > 1e-4 for back in backs]) if backs else 0.0
    return 100 * float(share), 1e3 * max([0.0, *backs])


def cruise(message: JointTrajectory) -> Array:
    """Return the velocity (n,) rad/s that a message keeps, on its longest stretch; zero where it only stops."""
    ends_s = np.array([seconds(point.time_from_start) for point in message.points])
    if len(ends_s) < 2 or np.max(np.diff(ends_s)) < 0.1:
        return np.zeros(len(ARM.joint_names))
    k = int(np.argmax(np.diff(ends_s)))
    way = np.array(message.points[k + 1].positions) - message.points[k].positions
    return np.asarray(way / (ends_s[k + 1] - ends_s[k]))


def way_done(times_s: Array, arm: Array, sent: list[tuple[float, JointTrajectory]], last_s: float) -> float:
    """Return how far the driven joints travelled, as a share of what the messages requested, each until the next."""
    starts_s = [seconds(message.header.stamp) or heard_s for heard_s, message in sent]
    asked = sum(
        requested_travel(message, until_s - start_s)
        for (_, message), start_s, until_s in zip(sent, starts_s, [*starts_s[1:], last_s], strict=True)
    )
    done = float(np.abs(np.diff(arm[:, DRIVEN], axis=0)).sum())
    return done / asked if asked else np.nan


def requested_travel(message: JointTrajectory, until_s: float) -> float:
    """Return how far a message's driven joints go from its first point until `until_s` after its start, in rad."""
    ends_s = np.array([seconds(point.time_from_start) for point in message.points])
    places = np.array([point.positions for point in message.points])[:, DRIVEN]
    kept = ends_s < until_s
    last = np.stack([np.interp(until_s, ends_s, column) for column in places.T])
    return float(np.abs(np.diff([*places[kept], last], axis=0)).sum())


def measure(folder: Path, episodes: int, stamped: bool, **drive: Any) -> Row:
    """Run some episodes with one kind of arm and controller."""
    arrived, worst, ways, backs = [], {"speed / limit": 0.0, "acceleration / limit": 0.0}, [], []
    with open_bench(folder) as bench:
        words = [word for name, value in drive.items() for word in ("-p", f"{name}:={value}")]
        bench.start("sim_node", "-m", "taskgan_ros.nodes.sim_node", "--ros-args", "-p", "domain:=target_wood", *words)
        bench.start_reach(
            bundle="reach_target_wood", accept_jumps=True, stamp_trajectories=stamped, image_reliability="reliable"
        )
        bench.change("activate")
        record, client = Record(bench), bench.node.create_client(Trigger, "sim_node/start_episode")
        bench.wait("the cell", client.service_is_ready)
        for _ in range(episodes):
            answer = client.call_async(Trigger.Request())
            bench.wait("an episode", answer.done)
            first_s = time.time() + SETTLED_S
            bench.sleep(EPISODE_S)
            last_s = first_s + MOVING_S
            times_s, commanded = between(record.commanded, first_s, first_s + EPISODE_S - SETTLED_S)
            sent = [(t, m) for t, m in record.sent if first_s <= t <= last_s]
            found = evenness(times_s, commanded, drive["controller_rate_hz"])
            worst = {name: max(value, found[name]) for name, value in worst.items()}
            ways.append(way_done(*between(record.arm, first_s, last_s), sent, last_s))
            backs.append(setbacks(times_s, commanded, sent))
            arrived.append(record.distance_m)
        state = bench.status.get("state", "")
    return {
        "servo lag (ms)": round(1e3 * drive["servo_lag_s"]),
        "controller (Hz)": round(drive["controller_rate_hz"]),
        "from desired state": drive["interpolate_from_desired_state"],
        "trajectories start": "as stamped" if stamped else "on arrival",
        "travel / asked for": round(float(np.mean(ways)), 3),
        "messages with a setback (%)": round(float(np.mean([share for share, _ in backs])), 1),
        "largest setback (mrad)": round(max(most for _, most in backs), 2),
        **{name: round(value, 3) for name, value in worst.items()},
        "final distance (m)": round(float(np.mean(arrived)), 4),
        "state": state,
    }


def main() -> None:
    """Measure all kinds, and a few without stamps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    kinds = [(True, *kind) for kind in itertools.product(RATES_HZ, LAGS_MS, ("true", "false"))]
    kinds += [(False, 100, 50, "true"), (False, 100, 50, "false"), (False, 250, 50, "true"), (False, 250, 50, "false")]
    rows = []
    for stamped, rate_hz, lag_ms, from_desired in kinds:
        drive = {
            "servo_lag_s": lag_ms / 1e3,
            "controller_rate_hz": float(rate_hz),
            "interpolate_from_desired_state": from_desired,
        }
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), wanted.episodes, stamped, **drive))
        print(rows[-1], flush=True)
    report(
        f"what the cell's controller commanded, {wanted.episodes} episodes each; speed and acceleration over 10 ms",
        rows,
        wanted.out,
    )


if __name__ == "__main__":
    main()
