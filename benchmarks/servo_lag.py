"""How even the commands to lagging servos are, at two controller rates, continuing from desired or measured state."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from bench import Bench, open_bench
from numpy.typing import NDArray
from report import Row, report
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.nodes import topics
from taskgan_ros.nodes.messages import seconds
from taskgan_ros.policy.bundle import Bundle, load_bundle
from taskgan_ros.robot.arm import Arm

Array = NDArray[np.float64]

LAGS_MS = (0, 20, 50, 80)
MIDDLE_LAG_MS = 50
RATES_HZ = (250, 100)
MOVING_S = 3.0  # of an episode, in which the arm is on its way
EPISODE_S = 9.0
WINDOW_S = 0.01  # over which commands are differentiated
SLOW = 0.05  # rad/s; a slower command has no direction in which it could be set back
SETTLED_S = 0.4  # after a start, in which the cell ignores trajectories


@dataclass(frozen=True)
class ServoLagConfig:
    """How even the commands to lagging servos are."""

    bundles: tuple[str, ...] = ("reach_target_wood", "reach_panda")
    """Shipped bundles' names or folders. All kinds are measured with the first one, a lag of 50 ms with the others."""
    episodes: int = 2
    """Of each kind."""
    out: Path | None = None
    """JSON to write."""


@dataclass(frozen=True)
class Kind:
    """One kind of arm and controller."""

    bundle: str
    rate_hz: int
    lag_ms: int
    from_desired: bool
    stamped: bool = True


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


def evenness(arm: Arm, times_s: Array, commanded: Array, rate_hz: float) -> dict[str, float]:
    """Return the largest commanded speed and acceleration, over 10 ms each, as shares of their limits."""
    grid_s = times_s[0] + np.arange(round((times_s[-1] - times_s[0]) * rate_hz)) / rate_hz
    places = np.stack([np.interp(grid_s, times_s, column) for column in commanded.T], axis=1)
    step = max(1, round(WINDOW_S * rate_hz))
    speeds = (places[step:] - places[:-step]) / (step / rate_hz)
    accelerations = (speeds[step:] - speeds[:-step]) / (step / rate_hz)
    return {
        "speed / limit": float(np.max(np.abs(speeds) / arm.max_velocity)),
        "acceleration / limit": float(np.max(np.abs(accelerations) / arm.max_acceleration)),
    }


def setbacks(
    driven: NDArray[np.intp], times_s: Array, commanded: Array, sent: list[tuple[float, JointTrajectory]]
) -> tuple[float, float]:
    """Return at what share of messages (%) a joint is set back that three in a row move on, and the most (mrad)."""
    backs = []
    wanted = [cruise(message)[driven] for _, message in sent]
    for (heard_s, _), *asked in zip(sent[2:], wanted, wanted[1:], wanted[2:], strict=False):
        goes_on = np.all(np.sign(asked) == np.sign(asked[-1]), axis=0) & np.all(np.abs(asked) > SLOW, axis=0)
        near = (times_s > heard_s - 0.02) & (times_s < heard_s + 0.03)
        if goes_on.any() and np.count_nonzero(near) > 1:
            steps = np.diff(commanded[near], axis=0)[:, driven] * np.sign(asked[-1])
            backs.append(float(np.max(-steps[:, goes_on])))
    share = np.mean([back > 1e-4 for back in backs]) if backs else 0.0
    return 100 * float(share), 1e3 * max([0.0, *backs])


def cruise(message: JointTrajectory) -> Array:
    """Return the velocity (n,) rad/s that a message keeps, on its longest stretch; zero where it only stops."""
    ends_s = np.array([seconds(point.time_from_start) for point in message.points])
    if len(ends_s) < 2 or np.max(np.diff(ends_s)) < 0.1:
        return np.zeros(len(message.joint_names))
    k = int(np.argmax(np.diff(ends_s)))
    way = np.array(message.points[k + 1].positions) - message.points[k].positions
    return np.asarray(way / (ends_s[k + 1] - ends_s[k]))


def way_done(driven: NDArray[np.intp], arm: Array, sent: list[tuple[float, JointTrajectory]], last_s: float) -> float:
    """Return how far the driven joints travelled, as a share of what the messages requested, each until the next."""
    starts_s = [seconds(message.header.stamp) or heard_s for heard_s, message in sent]
    ends_s = [*starts_s, last_s][1:]
    asked = sum(
        requested_travel(driven, message, until_s - start_s)
        for (_, message), start_s, until_s in zip(sent, starts_s, ends_s, strict=False)
    )
    done = float(np.abs(np.diff(arm[:, driven], axis=0)).sum())
    return done / asked if asked else np.nan


def requested_travel(driven: NDArray[np.intp], message: JointTrajectory, until_s: float) -> float:
    """Return how far a message's driven joints go from its first point until `until_s` after its start, in rad."""
    ends_s = np.array([seconds(point.time_from_start) for point in message.points])
    places = np.array([point.positions for point in message.points])[:, driven]
    kept = ends_s < until_s
    last = np.stack([np.interp(until_s, ends_s, column) for column in places.T])
    return float(np.abs(np.diff([*places[kept], last], axis=0)).sum())


def measure(folder: Path, kind: Kind, episodes: int) -> Row:
    """Run some episodes with one kind of arm and controller."""
    bundle = load_bundle(kind.bundle)
    arm, driven = bundle.arm, bundle.driven
    arrived, worst, ways, backs = [], {"speed / limit": 0.0, "acceleration / limit": 0.0}, [], []
    with open_bench(folder) as bench:
        reach, from_desired = {"stamp_trajectories": kind.stamped}, str(kind.from_desired).lower()
        start_cell(bench, bundle, kind.lag_ms, kind.rate_hz, reach, interpolate_from_desired_state=from_desired)
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
            found = evenness(arm, times_s, commanded, kind.rate_hz)
            worst = {name: max(value, found[name]) for name, value in worst.items()}
            began_s = sent[0][0] if sent else first_s  # what moved the arm before that is not among the messages
            ways.append(way_done(driven, between(record.arm, began_s, last_s)[1], sent, last_s))
            backs.append(setbacks(driven, times_s, commanded, sent))
            arrived.append(record.distance_m)
        state = bench.status.get("state", "")
    return {
        "bundle": bundle.card.name,
        "servo lag (ms)": kind.lag_ms,
        "controller (Hz)": kind.rate_hz,
        "from desired state": str(kind.from_desired).lower(),
        "trajectories start": "as stamped" if kind.stamped else "on arrival",
        "travel / asked for": round(float(np.mean(ways)), 3),
        "messages with a setback (%)": round(float(np.mean([share for share, _ in backs])), 1),
        "largest setback (mrad)": round(max(most for _, most in backs), 2),
        **{name: round(value, 3) for name, value in worst.items()},
        "final distance (m)": round(float(np.mean(arrived)), 4),
        "state": state,
    }


def start_cell(
    bench: Bench, bundle: Bundle, lag_ms: int, rate_hz: int, reach: dict[str, Any], remaps: Sequence[str] = (),
    **drive: Any,
) -> None:  # fmt: skip
    """Start the cell and an active node.

    Args:
        bench: they run beside it.
        bundle: what the node runs, whose scene the cell is of.
        lag_ms: of the servos.
        rate_hz: of the controller.
        reach: further parameters of the node.
        remaps: of the cell's topics, each `from:=to`.
        drive: further parameters of the cell, as text.
    """
    values: dict[str, Any] = {
        "scene": bundle.scene_name,
        "domain": bundle.card.target_domain,
        "servo_lag_s": lag_ms / 1e3,
        "controller_rate_hz": float(rate_hz),
        **drive,
    }
    words = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    words += [word for remap in remaps for word in ("-r", remap)]
    bench.start("sim_node", "-m", "taskgan_ros.nodes.sim_node", "--ros-args", *words)
    bench.start_reach(bundle=str(bundle.path), accept_jumps=True, image_reliability="reliable", **reach)
    bench.change("activate")


def kinds_of(bundles: tuple[str, ...]) -> list[Kind]:
    """Return what is measured: all kinds of the first bundle, and the middle lag of the others."""
    first, *others = bundles
    kinds = [Kind(first, *kind) for kind in itertools.product(RATES_HZ, LAGS_MS, (True, False))]
    for bundle, stamped in ((first, False), *((other, True) for other in others)):
        kinds += [Kind(bundle, *kind, stamped) for kind in itertools.product(RATES_HZ, (MIDDLE_LAG_MS,), (True, False))]
    return kinds


def main(config: ServoLagConfig) -> None:
    """Measure all kinds, a few without stamps, and a few with other arms."""
    rows = []
    for kind in kinds_of(config.bundles):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), kind, config.episodes))
        print(rows[-1], flush=True)
    report(
        f"what the cell's controller commanded, {config.episodes} episodes each; speed and acceleration over 10 ms",
        rows,
        config.out,
    )


if __name__ == "__main__":
    main(tyro.cli(ServoLagConfig))
