"""A node beside the nodes of a session: it meets them, calls their services and listens to their topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile

from taskgan_ros.demo.isolation import SessionError, ros_arguments, wait_until

PATIENCE_S: Final = 60.0  # to wait for what comes within seconds on an idle machine

_PROBE_S = 0.1  # to wait for an answer that comes within milliseconds, before asking again
_SLEEP_S = 0.1


class Peer:
    """A node whose callbacks run in a thread of its own, while the caller's thread waits; leaves the domain in the end.

    Attributes:
        node: its node.
        check: is called many times a second during each wait, and ends it by raising.
    """

    def __init__(self, domain_id: int, name: str, check: Callable[[], object] = lambda: None, **options: Any) -> None:
        """Join the ROS domain.

        Args:
            domain_id: the ROS domain.
            name: of its node.
            check: see the attributes.
            options: further arguments of `rclpy.create_node`.
        """
        self.check = check
        self._context = Context()
        rclpy.init(args=ros_arguments({}), context=self._context, domain_id=domain_id)
        self.node = rclpy.create_node(name, context=self._context, **options)
        self._clients: dict[str, Any] = {}  # by the service's name
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._spinner = threading.Thread(target=self._spin, name=name, daemon=True)
        self._spinner.start()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the domain."""
        self.close()

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self._spinner.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def listen(self, kind: Any, topic: str, callback: Callable[[Any], None], qos: QoSProfile | int = 1000) -> Any:
        """Subscribe to a topic, by a QoS profile or a depth."""
        return self.node.create_subscription(kind, topic, callback, qos)

    def call(self, kind: Any, name: str, request: Any, timeout_s: float = PATIENCE_S, purpose: str = "") -> Any:
        """Call a service and return its answer; `purpose` says what for, in words.

        Raises:
            SessionError: there is no such service, or no answer.
        """
        if name not in self._clients:
            self._clients[name] = self._meet(kind, name)
        future = self._clients[name].call_async(request)
        self.wait(f"an answer of {name}" + (f" to {purpose}" if purpose else ""), future.done, timeout_s)
        return future.result()

    def try_change(self, transition: str, node: str = "reach_node", timeout_s: float = PATIENCE_S) -> bool:
        """Request a lifecycle transition of a node and return whether it succeeded.

        Raises:
            SessionError: it does not answer.
        """
        request = ChangeState.Request(transition=Transition(label=transition))
        return bool(self.call(ChangeState, f"{node}/change_state", request, timeout_s, transition).success)

    def change(self, transition: str, node: str = "reach_node", timeout_s: float = PATIENCE_S) -> None:
        """Bring a node through a lifecycle transition.

        Raises:
            SessionError: it cannot, or does not answer.
        """
        if not self.try_change(transition, node, timeout_s):
            raise SessionError(f"expected {node} to {transition}, but it could not")

    def forget(self) -> None:
        """Meet all services anew: their nodes may have ended, and others have come in their place."""
        while self._clients:
            self.node.destroy_client(self._clients.popitem()[1])

    def wait(self, what: str, is_there: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Wait for something.

        Raises:
            SessionError: it does not come within `timeout_s`.
        """
        wait_until(what, is_there, timeout_s, self.check)

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left_s, _SLEEP_S))

    def _meet(self, kind: Any, name: str) -> Any:
        """Return a client that the service knows too, or its answer would be lost (ros2/rmw_fastrtps#842).

        Clients become known in the order in which they were made: this one, once a later one has been answered.
        """
        client = self.node.create_client(kind, name)
        probe = self.node.create_client(GetParameters, f"{name.rpartition('/')[0]}/get_parameters")
        self.wait(f"the service {name}", lambda: client.service_is_ready() and _is_answered(probe))
        self.node.destroy_client(probe)
        return client

    def _spin(self) -> None:
        while True:
            try:
                self._executor.spin()
                return
            except InvalidHandle:  # of what another thread has destroyed just before rclpy waits for it
                continue


def _is_answered(probe: Any) -> bool:
    """Return whether an answer comes at once; another request is then due, for an early one's answer is lost."""
    answered = threading.Event()
    if probe.service_is_ready():
        probe.call_async(GetParameters.Request()).add_done_callback(lambda _: answered.set())
        answered.wait(_PROBE_S)
    return answered.is_set()
