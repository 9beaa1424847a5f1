"""A running loop to break: `sim_node` and `reach_node` as processes, with an injector between them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from fault_injector import RELAYED, Injector, Motion
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from std_srvs.srv import Trigger

from taskgan_ros.demo.isolation import ChildProcesses, SessionError
from taskgan_ros.nodes import topics

START_S = 60.0  # to wait for a node to come up and load its models
_ANSWER_S = 2.0  # then ask again: it may have been a dead node's service, which discovery drops late
_TURN_S = 0.005
MOVING = 0.2  # rad/s; a fault begins while a joint is faster
_MOVING_SAMPLES = 5  # joint states in a row
_UNDER_WAY_S = 4.0  # then the arm may be there: take the next episode


@dataclass(frozen=True)
class Setup:
    """How `reach_node` is started; faults with the same one share a process."""

    bundle: str
    use_sim_time: bool = False


class FaultBench:
    """Brings the nodes up, breaks and mends them; a context manager that leaves no process behind.

    Attributes:
        command_interface: through which the node drives the cell.
        injector: between them.
        log: what it has heard.
    """

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
        self.command_interface = command_interface
        self._folder, self._seed, self._on_turn = folder, seed, on_turn
        self._episode = self._starts = 0
        self._setup: Setup | None = None
        self._sim, self._reach = ChildProcesses(folder, os.environ), ChildProcesses(folder, os.environ)
        self.injector = Injector(domain_id, command_interface)
        self.log = self.injector.log

    def __enter__(self) -> FaultBench:
        """Start the cell."""
        try:
            self.start_sim()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes."""
        self.close()

    def close(self) -> None:
        """End all processes, stalled ones too."""
        self._reach.send(signal.SIGCONT)
        self._reach.stop()
        self._sim.stop()
        self.injector.close()

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
        self.wait("joint states of sim_node", lambda: len(self.log.motions) > count, START_S)

    def use(self, setup: Setup) -> None:
        """Let `reach_node` run with this setup, configured."""
        if setup == self._setup:
            return
        self._reach.stop()
        self._setup = setup
        self.start_reach()

    def start_reach(self) -> None:
        """Start `reach_node` and configure it."""
        assert self._setup is not None
        relayed = topics.IMAGE, topics.JOINT_STATES, self.injector.command_topic
        remapped = [f"{topic}:={RELAYED}/{topic}" for topic in relayed]
        words = [word for name in remapped for word in ("-r", name)]
        parameters = {
            "bundle": self._setup.bundle,
            "use_sim_time": str(self._setup.use_sim_time).lower(),
            "command_interface": self.command_interface,
        }
        self._reach_log = self._start(self._reach, "reach_node", parameters, words)
        self._until_reach_is("unconfigured")
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

    @property
    def reach_log(self) -> str:
        """What the newest `reach_node` has written."""
        return self._reach_log.read_text(encoding="utf-8")

    def _start(
        self, processes: ChildProcesses, node: str, parameters: dict[str, Any], words: Sequence[str] = ()
    ) -> Path:
        """Start a node and return its log."""
        self._starts += 1
        name = f"{node}_{self._starts}"
        given = [word for key, value in parameters.items() for word in ("-p", f"{key}:={value}")]
        arguments = ["--ros-args", "--disable-external-lib-logs", *words, *given]
        processes.start(name, [sys.executable, "-m", f"taskgan_ros.nodes.{node}", *arguments])
        return self._folder / f"{name}.log"

    # What is requested of them, and their answers.

    @property
    def rejections(self) -> int:
        """How many commands the cell's controller has rejected since it started."""
        return int(self.log.sim[-1].values["rejected"]) if self.log.sim else 0

    def change(self, transition: str) -> None:
        """Ask `reach_node` for a lifecycle transition.

        Raises:
            SessionError: it cannot, or does not answer.
        """
        request = ChangeState.Request(transition=Transition(label=transition))
        answer = self._ask(ChangeState, "reach_node/change_state", request, START_S)
        if answer is None or not answer.success:
            raise SessionError(f"expected reach_node to {transition}, but it did not\n{self.reach_log}")

    def start_moving(self) -> None:
        """Start episodes, activate, and return while the arm moves.

        Raises:
            SessionError: it moves in none of them.
        """
        for _ in range(5):
            answer = self._ask(Trigger, "sim_node/start_episode", Trigger.Request(), START_S)
            if answer is None:
                raise SessionError("expected sim_node to start an episode, got no answer")
            self._episode += 1
            self.pause(0.4)  # sim_node ignores what comes within 0.3 s
            self.change("activate")
            with contextlib.suppress(SessionError):
                self.wait("a moving arm", self._is_moving, _UNDER_WAY_S)
                return
            self.change("deactivate")
        raise SessionError(f"expected the arm to move, but it did not\n{self.reach_log}")

    def wait(self, what: str, is_there: Callable[[], object], timeout_s: float) -> None:
        """Wait for something.

        Raises:
            SessionError: it does not come within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while not is_there():
            if time.monotonic() > deadline:
                raise SessionError(f"expected {what} within {timeout_s:g} s, got none")
            time.sleep(_TURN_S)
            self._on_turn()

    def pause(self, duration_s: float) -> None:
        """Let time pass."""
        end_s = time.monotonic() + duration_s
        self.wait("the end of a pause", lambda: time.monotonic() >= end_s, 2 * duration_s + 1)

    def _is_moving(self) -> bool:
        newest = self.log.motions[-_MOVING_SAMPLES:]
        return len(newest) == _MOVING_SAMPLES and all(speed(motion) > MOVING for motion in newest)

    def _until_reach_is(self, label: str) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            answer = self._ask(GetState, "reach_node/get_state", GetState.Request(), _ANSWER_S)
            if answer is not None and answer.current_state.label == label:
                return
        raise SessionError(f"expected reach_node to be {label}\n{self.reach_log}")

    def _ask(self, kind: Any, name: str, request: Any, timeout_s: float) -> Any:
        """Return the answer, or None where none comes."""
        node = self.injector.node
        client = node.create_client(kind, name)
        try:
            self.wait(f"the service {name}", client.service_is_ready, timeout_s)
            future = client.call_async(request)
            self.wait(f"an answer of {name}", future.done, timeout_s)
            return future.result()
        except SessionError:
            return None
        finally:
            node.destroy_client(client)


def speed(motion: Motion) -> float:
    """Return how fast the fastest joint is, rad/s."""
    return float(np.max(np.abs(motion.velocities)))
