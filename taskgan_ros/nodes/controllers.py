"""Parameters of the controllers that are commanded, as far as a motion depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import GetParameters
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python

from taskgan_ros.control.command_interfaces import JOINT_JOG, STREAMED
from taskgan_ros.nodes.notices import full_name, is_named

WANTED = "interpolate_from_desired_state"  # of ros2_control's JointTrajectoryController, whose default is false


@dataclass(frozen=True)
class Setting:
    """A parameter that a controller should have set to a value, and what happens otherwise."""

    name: str
    value: bool | str | tuple[str, ...]
    otherwise: str

    def objection(self, got: Any) -> str:
        """Return what is wrong with another value of the same type; other types are of other kinds of nodes."""
        got = tuple(got) if isinstance(got, list) else got
        if type(got) is not type(self.value) or got == self.value:
            return ""
        wanted = _as_yaml(self.value)
        return (
            f"expected {self.name}: {wanted}, got {_as_yaml(got)}: {self.otherwise}; "
            f"add `{self.name}: {wanted}` to its ros__parameters"
        )


def wanted_setting(command_interface: str, joint_names: tuple[str, ...]) -> Setting:
    """Return the setting that a controller on `command_interface` must have to take commands for `joint_names`."""
    if command_interface not in STREAMED:
        otherwise = "when the arm starts to move, this controller first sets its command to the measured pose"
        return Setting(WANTED, True, otherwise)
    if command_interface == JOINT_JOG:
        return Setting("moveit_servo.command_in_type", "speed_units", "MoveIt Servo scales what is rad/s already")
    return Setting("joints", joint_names, "this controller matches joints by position, so others would move")


class Controllers:
    """Queries each node that subscribes to a topic for one of its parameters.

    A node without it is another kind of listener; one that does not answer is queried again. Neither is a fault.
    """

    def __init__(self, node: Node, topic: str, setting: Setting) -> None:
        """Query nobody yet.

        Args:
            node: queries, and its executor takes the answers.
            topic: of commands, resolved.
            setting: what is queried.
        """
        self._node, self._topic, self._setting = node, topic, setting
        self._queried: dict[str, Any] = {}  # by the node's name: its client
        self._answers: dict[str, str] = {}  # objections; empty where it is right, or has no such parameter

    def query(self) -> None:
        """Query those that have not answered; call it every second or so."""
        subscribers = self._node.get_subscriptions_info_by_topic(self._topic)
        for name in {full_name(subscriber) for subscriber in subscribers if is_named(subscriber)}:
            if name in self._answers:
                continue
            if name not in self._queried:
                self._queried[name] = self._client(name)
            if self._queried[name] is None:
                self._answers[name] = ""
            elif self._queried[name].service_is_ready():
                answer = self._queried[name].call_async(GetParameters.Request(names=[self._setting.name]))
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

    def objections(self) -> list[str]:
        """Return a sentence on each controller with a wrong parameter, including the line to add."""
        return [f"{name}: {objection}" for name, objection in sorted(self._answers.items()) if objection]

    def _take(self, name: str, answer: Any) -> None:
        values: list[ParameterValue] = answer.result().values if answer.exception() is None else []
        if values:
            self._answers[name] = self._setting.objection(parameter_value_to_python(values[0]))


def _as_yaml(value: bool | str | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return str(value).lower() if isinstance(value, bool) else value
