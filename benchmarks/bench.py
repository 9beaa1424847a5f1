"""A real `reach_node` in a ROS domain of its own, as a process, and what a benchmark receives from it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from diagnostic_msgs.msg import DiagnosticArray
from report import ROOT
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.core.errors import InputError
from taskgan_ros.demo.isolation import ChildProcesses, isolated, ros_arguments, ros_environment
from taskgan_ros.demo.peer import Peer
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.sim_node import read_trajectory
from taskgan_ros.robot.arm import load_arm
from taskgan_ros.sim.controller import JointTrajectoryController

ARM = load_arm("mico")

REACH = "-m", "taskgan_ros.nodes.reach_node"

# As reach.launch.py starts nodes, with room for large images. A node that is killed leaves its shared memory behind.
DEPLOYED = {
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    "FASTRTPS_DEFAULT_PROFILES_FILE": str(ROOT / "config" / "fastdds.xml"),
}


class Bench(Peer):
    """A node of the benchmark's own that starts and hears the node under test.

    Attributes:
        reach: the process of `reach_node`.
        trajectories: how many it has sent.
        rejected: why the simulated controller rejects some of them.
        latencies: s from image stamp to command, of each, once `hear_latencies` was called.
        status: what it last reported of itself, by key; `reports` counts how often it did.
    """

    def __init__(self, domain_id: int, processes: ChildProcesses) -> None:
        """Join the domain."""
        super().__init__(domain_id, "bench", processes.check)
        self._processes = processes
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

    def start_reach(self, program: Sequence[str] = REACH, tree: Path = ROOT, **parameters: Any) -> None:
        """Start the node of a checkout and configure it.

        Args:
            program: what Python runs.
            tree: where its package is.
            parameters: the node's.
        """
        self.reach = self.start("reach_node", *program, *ros_arguments(parameters), tree=tree)
        self.change("configure")

    def start(self, name: str, *arguments: str, tree: Path = ROOT) -> psutil.Process:
        """Start a Python process in the domain, with a checkout's package."""
        path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))
        started = self._processes.start(name, ["env", f"PYTHONPATH={path}", sys.executable, "-P", *arguments])
        return psutil.Process(started.popen.pid)

    def start_camera(self, film: Path, image_rate_hz: float, joint_state_rate_hz: float) -> psutil.Process:
        """Play a film that was saved, over and over."""
        camera_py = str(Path(__file__).with_name("camera.py"))
        return self.start("camera", camera_py, str(film), str(image_rate_hz), str(joint_state_rate_hz))

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
    return ros_environment(domain_id) | DEPLOYED


@contextmanager
def open_bench(folder: Path) -> Iterator[Bench]:
    """Open a bench on this machine alone; `folder` gets the logs. At its end all its processes are ended."""
    with isolated(folder, **DEPLOYED) as (domain_id, processes), Bench(domain_id, processes) as bench:
        yield bench
