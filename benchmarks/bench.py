"""A real `reach_node` in a ROS domain of its own, as a process, and what a benchmark receives from it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from report import ROOT
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.core.errors import InputError
from taskgan_ros.demo.isolation import ChildProcesses, SessionError, environment, own_domain, ros_environment
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.sim_node import read_trajectory
from taskgan_ros.robot.arm import load_arm
from taskgan_ros.sim.controller import JointTrajectoryController

ARM = load_arm("mico")

REACH = "-m", "taskgan_ros.nodes.reach_node"

_PATIENCE_S = 60.0  # to wait for what comes within seconds on an idle machine
_POLL_S = 0.005


class Bench:
    """The node under test, and a node of the benchmark's own that hears it.

    Attributes:
        node: the benchmark's own.
        reach: the process of `reach_node`.
        trajectories: how many it has sent.
        rejected: why the simulated controller rejects some of them.
        latencies: s from image stamp to command, of each, once `hear_latencies` was called.
        status: what it last reported of itself, by key; `reports` counts how often it did.
    """

    def __init__(self, domain_id: int, processes: ChildProcesses, folder: Path) -> None:
        """Join the domain."""
        self._processes, self._folder = processes, folder
        self._context = Context()
        rclpy.init(args=["--ros-args", "--disable-external-lib-logs"], context=self._context, domain_id=domain_id)
        self.node = rclpy.create_node("bench", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._spinner = threading.Thread(target=self._executor.spin, daemon=True)
        self._spinner.start()
        self._controller = JointTrajectoryController(ARM.joint_names, ARM.home)
        self.trajectories, self.reports = 0, 0
        self.rejected: list[str] = []
        self.latencies: list[float] = []
        self.status: dict[str, str] = {}
        self.listen(JointTrajectory, topics.TRAJECTORY, self._hear_trajectory)
        self.listen(DiagnosticArray, topics.DIAGNOSTICS, self._hear_diagnostics)

    def hear_latencies(self) -> None:
        """Listen to decisions from now on, which the node publishes only while somebody does."""
        self.listen(DiagnosticArray, "reach_node/status", self._hear_decision)

    def listen(self, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        """Subscribe to a topic, in the bench's own thread."""
        self.node.create_subscription(kind, topic, callback, QoSProfile(depth=1000))

    def start_reach(self, program: Sequence[str] = REACH, tree: Path = ROOT, **parameters: Any) -> None:
        """Start the node of a checkout and configure it.

        Args:
            program: what Python runs.
            tree: where its package is.
            parameters: the node's.
        """
        file = self._folder / "reach_node.yaml"
        file.write_text(yaml.safe_dump({"reach_node": {"ros__parameters": parameters}}), encoding="utf-8")
        arguments = ["--ros-args", "--disable-external-lib-logs", "--params-file", str(file)]
        self.reach = self.start("reach_node", *program, *arguments, tree=tree)
        self.change("configure")

    def start(self, name: str, *arguments: str, tree: Path = ROOT) -> psutil.Process:
        """Start a Python process in the domain, with a checkout's package."""
        before = set(psutil.Process().children())
        path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))
        self._processes.start(name, ["env", f"PYTHONPATH={path}", sys.executable, "-P", *arguments])
        (started,) = set(psutil.Process().children()) - before
        return started

    def start_camera(self, film: Path, image_rate_hz: float, joint_state_rate_hz: float) -> psutil.Process:
        """Play a film that was saved, over and over."""
        camera_py = str(Path(__file__).with_name("camera.py"))
        return self.start("camera", camera_py, str(film), str(image_rate_hz), str(joint_state_rate_hz))

    def change(self, transition: str) -> None:
        """Ask the node for a lifecycle transition."""
        client = self.node.create_client(ChangeState, "reach_node/change_state")
        self.wait("the node's services", client.service_is_ready)
        answer = client.call_async(ChangeState.Request(transition=Transition(label=transition)))
        self.wait(f"an answer to {transition}", answer.done)
        self.node.destroy_client(client)
        if not answer.result().success:
            raise SessionError(f"expected reach_node to {transition}\n{self._processes.tails()}")

    def wait(self, what: str, is_there: Callable[[], object], patience_s: float = _PATIENCE_S) -> None:
        """Wait for a condition.

        Raises:
            SessionError: it does not come true, or a process has ended.
        """
        deadline_s = time.monotonic() + patience_s
        while not is_there():
            self.check()
            if time.monotonic() > deadline_s:
                raise SessionError(f"expected {what} within {patience_s:g} s\n{self._processes.tails()}")
            time.sleep(_POLL_S)

    def sleep(self, seconds: float) -> None:
        """Let time pass, as long as all processes run."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left_s, 0.1))

    def check(self) -> None:
        """Raise ProcessEnded if a process has ended, with the end of its log."""
        self._processes.check()

    def wait_for_reports(self, count: int) -> None:
        """Wait until the node has reported so often again."""
        wanted = self.reports + count
        self.wait("the node's diagnostics", lambda: self.reports >= wanted)

    def count(self, key: str) -> int:
        """Return a count that the node has last reported of itself, since it was activated."""
        return int(self.status[key])

    @property
    def memory_mb(self) -> float:
        """The node's resident memory."""
        return float(self.reach.memory_info().rss / 2**20)

    def cpu_s(self) -> float:
        """Return the CPU time that the node has used, s."""
        times = self.reach.cpu_times()
        return float(times.user + times.system)

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self._spinner.join(5)
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _hear_trajectory(self, message: JointTrajectory) -> None:
        self.trajectories += 1
        try:
            self._controller.accept(read_trajectory(message), now_s=time.time())
        except InputError as error:
            self.rejected.append(str(error))

    def _hear_decision(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if values["latency_ms"]:
                self.latencies.append(1e-3 * float(values["latency_ms"]))

    def _hear_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "reach_node: reach":
                self.status = {pair.key: pair.value for pair in status.values}
                self.reports += 1


def bench_environment(domain_id: int) -> dict[str, str | None]:
    """Return what nodes need to meet in this domain, on this machine alone, with room for large images."""
    return ros_environment(domain_id) | {"FASTRTPS_DEFAULT_PROFILES_FILE": str(ROOT / "config" / "fastdds.xml")}


@contextmanager
def open_bench(folder: Path) -> Iterator[Bench]:
    """Open a bench on this machine alone; `folder` gets the logs. At its end all its processes are ended."""
    with (
        own_domain() as domain_id,
        environment(bench_environment(domain_id)),
        ChildProcesses(folder, os.environ) as processes,
    ):
        bench = Bench(domain_id, processes, folder)
        try:
            yield bench
        finally:
            processes.stop()
            bench.close()
