"""How each command interface moves the arm, and how soon it stops it: arrivals, tracking, jerk, for lagging servos."""

from __future__ import annotations

import importlib.util
import itertools
import json
import queue
import random
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from bench import Bench, open_bench
from numpy.typing import NDArray
from report import Row, report
from sensor_msgs.msg import Image, JointState
from servo_lag import SETTLED_S, Record, between, start_cell
from std_srvs.srv import SetBool, Trigger

from taskgan_ros.control.command_interfaces import (
    COMMAND_INTERFACES,
    JOINT_JOG,
    JOINT_TRAJECTORY,
    POSITION_GROUP,
    STREAMED,
)
from taskgan_ros.nodes import topics
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.tasks.registry import load_motion_scene

Array = NDArray[np.float64]

MOVING_S = 3.0  # of an episode, in which the arm is on its way
EPISODE_S = 8.0  # and has arrived
STANDS_S = 0.4  # without a joint that moves, an episode is over
WATCHED_S = 1.5  # after the cause of a stop
FAST, STILL = 0.15, 0.02  # rad/s
SPEED_OVER_S = 0.02  # to either side of when a speed is taken
STATES_HZ = 200.0
_CELL_IMAGE, _CELL_STATES = (
    "cell_image",
    "cell_joint_states",
)  # the cell publishes; handed on, or not


@dataclass(frozen=True)
class OutputsConfig:
    """Arrivals, tracking, jerk and time to stop of each command interface."""

    bundle: str = "reach_target_wood"
    """A shipped bundle's name or folder."""
    other_bundles: tuple[str, ...] = ("reach_panda",)
    """The same, of other arms, which are driven through two of the interfaces with one lag."""
    late_ms: tuple[int, int] = (50, 100)
    """How late joint states come, from and to, in another few rows."""
    interfaces: tuple[str, ...] = tuple(
        name for name in COMMAND_INTERFACES if name != JOINT_JOG or importlib.util.find_spec("control_msgs")
    )
    """Values of `command_interface`; joint_jog only where control_msgs is installed."""
    lags_ms: tuple[int, ...] = (0, 30, 80)
    """Time constants of the servos."""
    episodes: int = 10
    """Of each kind, until the arm stands."""
    rate_hz: int = 100
    """Of the controller."""
    command_rates_hz: tuple[float, ...] = (100.0, 200.0, 250.0)
    """Of what is sent one at a time: the first, and all of them for positions with the middle lag. They and the
    controller's updates are not synchronized."""
    out: Path | None = None
    """JSON to write, after each kind."""
    resume: bool = False
    """Keep what `out` has already, and measure the rest."""


@dataclass(frozen=True)
class Kind:
    """What is measured in one row."""

    bundle: str
    interface: str
    command_rate_hz: float
    lag_ms: int
    late_ms: tuple[int, int] = (0, 0)

    @property
    def row(self) -> Row:
        """What it is, as a row says it."""
        return {
            "bundle": self.bundle,
            "command_interface": self.interface,
            "values (Hz)": f"{self.command_rate_hz:g}" if self.interface in STREAMED else "-",
            "servo lag (ms)": self.lag_ms,
            "joint states late (ms)": "-".join(map(str, self.late_ms)) if any(self.late_ms) else "-",
        }


class Run:
    """The cell and the node, through one command interface."""

    def __init__(self, bench: Bench, kind: Kind, rate_hz: int) -> None:
        """Start them, with a controller that updates at `rate_hz`."""
        bundle = load_bundle(kind.bundle)
        self._threshold_m = load_motion_scene(bundle.scene_name).threshold_m
        self.arm, self.driven = bundle.arm, bundle.driven
        self._bench, self._rate_hz, self._sees = bench, rate_hz, True
        self._images = bench.node.create_publisher(Image, topics.IMAGE, 1)
        self._image_s = 0.0
        bench.listen(Image, _CELL_IMAGE, self._hand_on)
        reach = {"command_interface": kind.interface, "command_rate_hz": kind.command_rate_hz}
        cell = {"command_interface": kind.interface, "joint_state_rate_hz": STATES_HZ}
        remaps = [f"{topics.IMAGE}:={_CELL_IMAGE}"]
        if any(kind.late_ms):
            remaps.append(f"{topics.JOINT_STATES}:={_CELL_STATES}")
            hand_on_late(bench, kind.late_ms)
        start_cell(bench, bundle, kind.lag_ms, rate_hz, reach, remaps, **cell)
        self.record = Record(bench)
        bench.wait("the camera", lambda: self._image_s)

    def episodes(self, count: int) -> Row:
        """Return how often the arm arrives, and how it is moved there."""
        errors, jerks, distances_m = [], [], []
        for _ in range(count):
            first_s = self._start_episode()
            last_s = self._until_it_stands()
            distances_m.append(self.record.distance_m)
            times_s, commanded = between(self.record.commanded, first_s, last_s)
            arm_s, arm = between(self.record.arm, first_s, last_s)
            due_s = times_s + 1 / self._rate_hz  # an update commands where to be at the next
            meant = np.stack([np.interp(arm_s, due_s, column) for column in commanded.T], axis=1)
            errors.append(1e3 * (arm - meant)[:, self.driven])
            jerks.append(np.diff(commanded[:, self.driven], n=3, axis=0) * self._rate_hz**3)
        off, jerk = np.concatenate(errors), np.concatenate(jerks)
        arrived = sum(distance_m < self._threshold_m for distance_m in distances_m)
        return {
            "arrived": f"{arrived} of {count}",
            "final distance (mm)": round(1e3 * float(np.median(distances_m)), 1),
            "tracking, RMS (mrad)": round(float(np.sqrt(np.mean(off**2))), 2),
            "tracking, most (mrad)": round(float(np.abs(off).max()), 1),
            "jerk, RMS (rad/s³)": round(float(np.sqrt(np.mean(jerk**2)))),
            "jerk, p99 (rad/s³)": round(float(np.quantile(np.abs(jerk), 0.99))),
        }

    def stop(self, what: str, cause: Callable[[], float]) -> Row:
        """Return how long the arm moves after a cause, in an episode of its own, and how far.

        Args:
            what: the cause, in words.
            cause: brings it about and returns when it came.
        """
        self._bench.wait(f"an arm that moves, before {what}", self._start_moving)
        cause_s = cause()
        time.sleep(WATCHED_S)
        after_s = np.arange(0.0, WATCHED_S - 0.1, SPEED_OVER_S / 2)  # the last joint states are under way
        fast = [passed_s for passed_s in after_s if self._speed(cause_s + passed_s) > STILL]
        halted_s = fast[-1] if fast else 0.0
        stands = halted_s < after_s[-1]
        times_s, arm = between(self.record.arm, cause_s - WATCHED_S, cause_s + WATCHED_S)
        moving = [np.interp(cause_s + after_s, times_s, column) for column in arm[:, self.driven].T]
        way = float(np.max(np.abs(np.array(moving).T - np.array(moving)[:, 0])))
        return {
            f"stands after {what} (s)": f"{halted_s:.2f}" if stands else f"> {after_s[-1]:.1f}",
            f"way after {what} (mrad)": round(1e3 * way, 1),
        }

    def hold(self) -> float:
        """Hold the arm."""
        cause_s = time.time()
        self._set_held(True)
        return cause_s

    def resume(self) -> None:
        """Let it go on, and see."""
        self._sees = True
        self._set_held(False)

    def blind(self) -> float:
        """Stop relaying images; return when the last one was relayed."""
        self._sees = False
        return self._image_s

    def kill(self) -> float:
        """Kill the node."""
        self._bench.reach.kill()
        return time.time()

    def _set_held(self, is_held: bool) -> None:
        self._bench.call(SetBool, "reach_node/hold", SetBool.Request(data=is_held))

    def _start_episode(self) -> float:
        """Start an episode, which resets the arm to another pose while it stands, and resume."""
        self._set_held(True)
        self._bench.sleep(SETTLED_S)
        self._bench.call(Trigger, "sim_node/start_episode", Trigger.Request())
        self._bench.sleep(SETTLED_S)
        self._set_held(False)
        return time.time()

    def _start_moving(self) -> bool:
        """Start an episode and return once the arm moves, or that it has not: on a busy machine it may be missed."""
        until_s = self._start_episode() + MOVING_S
        while time.time() < until_s:
            if self._speed(self.record.arm[-1][0] - SPEED_OVER_S) > FAST:
                return True
            self._bench.sleep(0.02)
        return False

    def _until_it_stands(self) -> float:
        """Wait for the end of an episode and return when it was."""
        until_s = time.time() + EPISODE_S
        self._bench.sleep(1.0)  # to set out
        while time.time() < until_s:
            self._bench.sleep(0.05)
            _, arm = between(self.record.arm[-500:], time.time() - STANDS_S, time.time())
            if len(arm) and np.ptp(arm, axis=0).max() < STILL * STANDS_S / 2:
                break
        return time.time()

    def _speed(self, time_s: float) -> float:
        """Return the fastest driven joint's speed around a time, rad/s; joint states may come in bursts."""
        ends_s = time_s + np.array([-SPEED_OVER_S, SPEED_OVER_S])
        times_s, arm = between(self.record.arm[-2000:], time_s - WATCHED_S, time_s + WATCHED_S)
        if not len(times_s):
            return 0.0
        steps = [np.diff(np.interp(ends_s, times_s, column)) for column in arm[:, self.driven].T]
        return float(np.abs(steps).max() / (2 * SPEED_OVER_S))

    def _hand_on(self, image: Image) -> None:
        if self._sees:
            self._images.publish(image)
            self._image_s = time.time()


def hand_on_late(bench: Bench, late_ms: tuple[int, int]) -> None:
    """Hand the cell's joint states on in their order, each by a random time later, as over a busy network."""
    publisher = bench.node.create_publisher(JointState, topics.JOINT_STATES, 10)
    waiting: queue.Queue[tuple[float, JointState]] = queue.Queue()
    random_s = random.Random(0)

    def hand_on() -> None:
        while True:
            due_s, message = waiting.get()
            time.sleep(max(due_s - time.monotonic(), 0.0))
            publisher.publish(message)

    def receive(message: JointState) -> None:
        waiting.put((time.monotonic() + 1e-3 * random_s.uniform(*late_ms), message))

    bench.listen(JointState, _CELL_STATES, receive)
    threading.Thread(target=hand_on, daemon=True).start()


def measure(folder: Path, kind: Kind, config: OutputsConfig) -> Row:
    """Run one kind."""
    with open_bench(folder) as bench:
        run = Run(bench, kind, config.rate_hz)
        row = kind.row | run.episodes(config.episodes)
        row |= run.stop("a hold", run.hold)
        run.resume()
        row |= run.stop("the last image", run.blind)
        run.resume()
        row |= run.stop("kill -9", run.kill)
    return row


def kinds_of(config: OutputsConfig) -> list[Kind]:
    """Return what is measured."""
    kinds, middle_ms = [], sorted(config.lags_ms)[len(config.lags_ms) // 2]
    for interface, lag_ms in itertools.product(config.interfaces, config.lags_ms):
        is_compared = interface == POSITION_GROUP and lag_ms == middle_ms
        rates_hz = config.command_rates_hz if is_compared else config.command_rates_hz[:1]
        kinds += [Kind(config.bundle, interface, rate_hz, lag_ms) for rate_hz in rates_hz]
    few = [name for name in (JOINT_TRAJECTORY, POSITION_GROUP) if name in config.interfaces]
    more = [(config.bundle, config.late_ms), *((bundle, (0, 0)) for bundle in config.other_bundles)]
    for (bundle, late_ms), interface in itertools.product(more, few):
        kinds.append(Kind(bundle, interface, config.command_rates_hz[0], middle_ms, late_ms))
    return kinds


def main(config: OutputsConfig) -> None:
    """Measure all of them."""
    rows: list[Row] = json.loads(config.out.read_text())["rows"] if config.resume and config.out else []
    title = f"each command interface, with a controller that updates at {config.rate_hz} Hz"
    for kind in kinds_of(config):
        if any(kind.row.items() <= row.items() for row in rows):
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), kind, config))
        report(title, rows, config.out)


if __name__ == "__main__":
    main(tyro.cli(OutputsConfig))
