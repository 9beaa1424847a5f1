"""Parameters of the controllers that trajectories are sent to."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

from taskgan_ros.nodes.notices import full_name, is_named

WANTED = "interpolate_from_desired_state"  # of ros2_control's JointTrajectoryController, whose default is false


class Controllers:
    """Queries each node that subscribes to a topic for its parameter `interpolate_from_desired_state`.

    A node without it is no JointTrajectoryController; one that does not answer is queried again. Neither is a fault.
    """

    def __init__(self, node: Node, topic: str) -> None:
        """Query nobody yet.

        Args:
            node: queries, and its executor takes the answers.
            topic: of trajectories, resolved.
        """
        self._node, self._topic = node, topic
        self._queried: dict[str, Any] = {}  # by the node's name: its client
        self._answers: dict[str, bool | None] = {}  # None: it has no such parameter

    def query(self) -> None:
        """Query those that have not answered; call it every second or so."""
        subscribers = self._node.get_subscriptions_info_by_topic(self._topic)
        for name in {full_name(subscriber) for subscriber in subscribers if is_named(subscriber)}:
            if name in self._answers:
                continue
            if name not in self._queried:
                self._queried[name] = self._client(name)
            if self._queried[name] is None:
                self._answers[name] = None
            elif self._queried[name].service_is_ready():
                answer = self._queried[name].call_async(GetParameters.Request(names=[WANTED]))
                answer.add_done_callback(lambda answer, name=name: self._take(name, answer))

    def _client(self, name: str) -> Any:
        """Return a client for the parameters of the node `name`; None where an SROS 2 policy denies it."""
        try:
            return self._node.create_client(GetParameters, f"{name}/get_parameters")
        except rclpy_implementation.RCLError:
            return None

    def clear(self) -> None:
        """Clear what is known: a parameter may have changed by the next time."""
        for client in filter(None, self._queried.values()):
            self._node.destroy_client(client)
        self._queried, self._answers = {}, {}

    def missing(self) -> list[str]:
        """Return a sentence on each controller whose parameter is false, with the line to add."""
        return [
            f"{name}: expected {WANTED}: true, got false: when the arm starts to move, this controller first sets its "
            f"command to the measured pose; add `{WANTED}: true` to its ros__parameters"
            for name, is_set in sorted(self._answers.items())
            if is_set is False
        ]

    def _take(self, name: str, answer: Any) -> None:
        values = answer.result().values if answer.exception() is None else []
        if values:
            value = values[0]
            self._answers[name] = value.bool_value if value.type == ParameterType.PARAMETER_BOOL else None
