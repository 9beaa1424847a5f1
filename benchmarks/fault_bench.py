"""A running loop to break: `sim_node` and `reach_node` as processes, with an injector between them."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fault_injector import RELAYED, Injector, Motion
from std_srvs.srv import Trigger

from taskgan_ros.demo.isolation import ChildProcess, ChildProcesses, SessionError, ros_arguments
from taskgan_ros.nodes import topics

MOVING = 0.2  # rad/s; a fault begins while a joint is faster
_MOVING_SAMPLES = 5  # joint states in a row
_UNDER_WAY_S = 4.0  # then the arm may be there: take the next episode


@dataclass(frozen=True)
class Setup:
    """How `reach_node` is started; faults with the same one share a process."""

    bundle: str
    use_sim_time: bool = False


class FaultBench(ExitStack):
    """Brings the nodes up, breaks and mends them; a context manager that leaves no process behind.

    Attributes:
        command_interface: through which the node drives the cell.
        injector: between them; `change`, `wait` and `pause` are its own.
        log: what it has heard.
        reach: the newest `reach_node`.
    """

    reach: ChildProcess

    def __init__(
        self, domain_id: int, folder: Path, seed: int, on_turn: Callable[[], None], command_interface: str
    ) -> None:
        """Join the ROS domain.

        Args:
            domain_id: the ROS domain, also that of the environment.
            folder: for the logs.
            seed: of the episodes.
            on_turn: is called many times a second; what it raises ends the wait.
            command_interface: through which the node drives the cell.
        """
        super().__init__()
        self.command_interface, self._seed = command_interface, seed
        self._episode = self._starts = 0
        self._setup: Setup | None = None
        self.injector = self.enter_context(Injector(domain_id, command_interface, on_turn))
        self.log = self.injector.log
        self.change, self.wait, self.pause = self.injector.change, self.injector.wait, self.injector.sleep
        self._sim, self._reach = (self.enter_context(ChildProcesses(folder)) for _ in range(2))

    # The nodes.

    def start_sim(self) -> None:
        """Start `sim_node` at the next episode, and wait for its joint states."""
        parameters = {
            "domain": "target_wood",
            "seed": self._seed,
            "first_episode": self._episode,
            "command_interface": self.command_interface,
        }
        self._start(self._sim, "sim_node", parameters)
        count = len(self.log.motions)
        self.wait("joint states of sim_node", lambda: len(self.log.motions) > count)

    def use(self, setup: Setup) -> None:
        """Let `reach_node` run with this setup, configured."""
        if setup == self._setup:
            return
        if not self._setup:
            self.start_sim()
        self._reach.stop()
        self._setup = setup
        self.start_reach()

    def start_reach(self) -> None:
        """Start `reach_node` and configure it."""
        assert self._setup is not None
        relayed = topics.IMAGE, topics.JOINT_STATES, self.injector.command_topic
        remapped = [word for topic in relayed for word in ("-r", f"{topic}:={RELAYED}/{topic}")]
        parameters = {
            "bundle": self._setup.bundle,
            "use_sim_time": self._setup.use_sim_time,
            "command_interface": self.command_interface,
        }
        self.reach = self._start(self._reach, "reach_node", parameters, *remapped)
        self.change("configure")

    def kill_reach(self) -> None:
        """End it as a crash would."""
        self._reach.send(signal.SIGKILL)
        self._reach.stop()

    def kill_sim(self) -> None:
        """End it as a crash would."""
        self._sim.send(signal.SIGKILL)
        self._sim.stop()

    def stall_reach(self, is_stalled: bool) -> None:
        """Stop the process, or let it continue."""
        self._reach.send(signal.SIGSTOP if is_stalled else signal.SIGCONT)

    def _start(self, processes: ChildProcesses, node: str, parameters: dict[str, Any], *arguments: str) -> ChildProcess:
        self.injector.forget()
        self._starts += 1
        command = [sys.executable, "-m", f"taskgan_ros.nodes.{node}", *ros_arguments(parameters, *arguments)]
        return processes.start(f"{node}_{self._starts}", command)

    # What is requested of them, and their answers.

    @property
    def rejections(self) -> int:
        """How many commands the cell's controller has rejected since it started."""
        return int(self.log.sim[-1].values["rejected"]) if self.log.sim else 0

    def start_moving(self) -> None:
        """Start episodes, activate, and return while the arm moves.

        Raises:
            SessionError: it moves in none of them.
        """
        for _ in range(5):
            self.injector.call(Trigger, "sim_node/start_episode", Trigger.Request())
            self._episode += 1
            self.pause(0.4)  # sim_node ignores what comes within 0.3 s
            self.change("activate")
            with contextlib.suppress(SessionError):
                self.wait("a moving arm", self._is_moving, _UNDER_WAY_S)
                return
            self.change("deactivate")
        raise SessionError("expected the arm to move, but it did not")

    def _is_moving(self) -> bool:
        newest = self.log.motions[-_MOVING_SAMPLES:]
        return len(newest) == _MOVING_SAMPLES and all(speed(motion) > MOVING for motion in newest)


def speed(motion: Motion) -> float:
    """Return how fast the fastest joint is, rad/s."""
    return float(np.max(np.abs(motion.velocities)))
