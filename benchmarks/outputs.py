"""How each command interface moves the arm, and how soon it stops it: tracking, jerk and stops, for lagging servos."""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from bench import Bench, open_bench
from numpy.typing import NDArray
from report import Row, report
from sensor_msgs.msg import Image
from servo_lag import SETTLED_S, Record, between, start_cell
from std_srvs.srv import SetBool, Trigger

from taskgan_ros.control.command_interfaces import COMMAND_INTERFACES, JOINT_JOG, STREAMED
from taskgan_ros.nodes import topics
from taskgan_ros.policy.bundle import load_bundle

Array = NDArray[np.float64]

MOVING_S = 3.0  # of an episode, in which the arm is on its way
ARRIVING_S = 2.5  # and to arrive
WATCHED_S = 1.5  # after the cause of a stop
FAST, STILL = 0.15, 0.02  # rad/s
SPEED_OVER_S = 0.02  # to either side of when a speed is taken
STATES_HZ = 200.0
_CELL_IMAGE = "cell_image"  # what the cell publishes; the benchmark hands it on, or not


@dataclass(frozen=True)
class OutputsConfig:
    """Tracking, jerk and time to stop of each command interface."""

    bundle: str = "reach_target_wood"
    """A shipped bundle's name or folder."""
    interfaces: tuple[str, ...] = tuple(
        name for name in COMMAND_INTERFACES if name != JOINT_JOG or importlib.util.find_spec("control_msgs")
    )
    """Values of `command_interface`; joint_jog only where control_msgs is installed."""
    lags_ms: tuple[int, ...] = (0, 30, 50, 80)
    """Time constants of the servos."""
    rate_hz: int = 100
    """Of the controller."""
    command_rates_hz: tuple[float, ...] = (100.0, 250.0)
    """Of values that are sent one at a time; they and the controller's updates are not synchronized."""
    out: Path | None = None
    """JSON to write."""


class Run:
    """The cell and the node, through one command interface."""

    def __init__(
        self, bench: Bench, config: OutputsConfig, interface: str, lag_ms: int, command_rate_hz: float
    ) -> None:
        """Start them."""
        bundle = load_bundle(config.bundle)
        self.arm, names = bundle.arm, bundle.arm.joint_names
        self.driven = [names.index(name) for name in bundle.card.joint_names]
        self._bench, self._rate_hz, self._sees = bench, config.rate_hz, True
        self._images = bench.node.create_publisher(Image, topics.IMAGE, 1)
        self._image_s = 0.0
        bench.listen(Image, _CELL_IMAGE, self._hand_on)
        reach = {"command_interface": interface, "command_rate_hz": command_rate_hz}
        cell = {"command_interface": interface, "joint_state_rate_hz": STATES_HZ}
        start_cell(bench, bundle, lag_ms, config.rate_hz, reach, [f"{topics.IMAGE}:={_CELL_IMAGE}"], **cell)
        self.record = Record(bench)
        self._start = bench.node.create_client(Trigger, "sim_node/start_episode")
        self._hold = bench.node.create_client(SetBool, "reach_node/hold")
        bench.wait("the cell", lambda: self._start.service_is_ready() and self._hold.service_is_ready())
        bench.wait("the camera", lambda: self._image_s)

    def whole_episode(self) -> Row:
        """Return how the arm is moved from an episode's start to its end."""
        first_s = self._start_episode()
        self._bench.sleep(MOVING_S + ARRIVING_S)
        last_s = first_s + MOVING_S
        times_s, commanded = between(self.record.commanded, first_s, last_s)
        arm_s, arm = between(self.record.arm, first_s, last_s)
        due_s = times_s + 1 / self._rate_hz  # an update commands where to be at the next
        meant = np.stack([np.interp(arm_s, due_s, column) for column in commanded.T], axis=1)
        errors = 1e3 * (arm - meant)[:, self.driven]
        jerks = np.diff(commanded[:, self.driven], n=3, axis=0) * self._rate_hz**3
        return {
            "tracking, RMS (mrad)": round(float(np.sqrt(np.mean(errors**2))), 2),
            "tracking, most (mrad)": round(float(np.abs(errors).max()), 1),
            "jerk, RMS (rad/s³)": round(float(np.sqrt(np.mean(jerks**2))), 1),
            "jerk, p99 (rad/s³)": round(float(np.quantile(np.abs(jerks), 0.99)), 1),
            "final distance (m)": round(self.record.distance_m, 4),
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
        """Hand no images on; return when the last one was."""
        self._sees = False
        return self._image_s

    def kill(self) -> float:
        """Kill the node."""
        self._bench.reach.kill()
        return time.time()

    def _set_held(self, is_held: bool) -> None:
        answer = self._hold.call_async(SetBool.Request(data=is_held))
        self._bench.wait("the node's answer", answer.done)

    def _start_episode(self) -> float:
        answer = self._start.call_async(Trigger.Request())
        self._bench.wait("an episode", answer.done)
        self._bench.sleep(SETTLED_S)
        return time.time()

    def _start_moving(self) -> bool:
        """Start an episode and return once the arm moves, or that it has not: on a busy machine it may be missed."""
        until_s = self._start_episode() + MOVING_S
        while time.time() < until_s:
            if self._speed(self.record.arm[-1][0] - SPEED_OVER_S) > FAST:
                return True
            self._bench.sleep(0.02)
        return False

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


def measure(folder: Path, config: OutputsConfig, interface: str, lag_ms: int, command_rate_hz: float) -> Row:
    """Run one interface with one lag."""
    with open_bench(folder) as bench:
        run = Run(bench, config, interface, lag_ms, command_rate_hz)
        rate = f"{command_rate_hz:g}" if interface in STREAMED else "-"
        row: Row = {"command_interface": interface, "values (Hz)": rate, "servo lag (ms)": lag_ms}
        row |= run.whole_episode()
        row |= run.stop("a hold", run.hold)
        run.resume()
        row |= run.stop("the last image", run.blind)
        run.resume()
        row |= run.stop("kill -9", run.kill)
    return row


def main(config: OutputsConfig) -> None:
    """Measure all of them."""
    rows = []
    for interface in config.interfaces:
        rates_hz = config.command_rates_hz if interface in STREAMED else config.command_rates_hz[:1]
        for command_rate_hz, lag_ms in itertools.product(rates_hz, config.lags_ms):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(Path(folder), config, interface, lag_ms, command_rate_hz))
            print(rows[-1], flush=True)
    report(f"each command interface, with a controller that updates at {config.rate_hz} Hz", rows, config.out)


if __name__ == "__main__":
    main(tyro.cli(OutputsConfig))
