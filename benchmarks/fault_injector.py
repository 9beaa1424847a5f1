"""Stands between a robot and `reach_node`: relays messages, corrupts them on request, and logs every one."""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.control.command_interfaces import JOINT_JOG, JOINT_TRAJECTORY, KINOVA, POSITION_GROUP, STREAMED
from taskgan_ros.demo.peer import Peer
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.joint_jog import joint_jog_type
from taskgan_ros.nodes.messages import seconds

Array = NDArray[np.float64]
Message = Any  # rclpy ships no types
Change = Callable[[Message], Message | None]

RELAYED: Final = "relayed"  # the namespace of what reach_node shall listen to
CLOCK_HZ: Final = 100.0
_REMEMBERED_S = 4.0  # of images, for a camera that is late
_KEPT_S = 0.1  # a command keeps its speed for longer, a stop changes it every 4 ms
_MOVES, _MOVES_RAD = 0.01, 1e-4  # rad/s, and from one value to the next: a command that does not only hold
_GAIN, _LEAD_S = 0.01, 0.04  # rad/s: no stop gets faster by so much, once what was sent before has had its lead


@dataclass(frozen=True)
class Motion:
    """Where the simulated arm truly was, how fast, and when: its stamp on the steady clock."""

    time_s: float
    positions: Array
    velocities: Array


@dataclass(frozen=True)
class Status:
    """A diagnostic status: when it was heard, what it says, and its values."""

    time_s: float
    text: str
    values: dict[str, str]


@dataclass
class Log:
    """Everything heard, in order, with times of the steady clock.

    Attributes:
        motions: of the arm.
        commands_s: when the arm was sent on.
        stops_s: when it was sent a trajectory that only stops; other interfaces have no message for that.
        states: that the node reported, with their reasons.
        reach, sim: what the nodes' diagnostics said.
    """

    motions: list[Motion] = field(default_factory=list)
    commands_s: list[float] = field(default_factory=list)
    stops_s: list[float] = field(default_factory=list)
    states: list[tuple[float, str]] = field(default_factory=list)
    reach: list[Status] = field(default_factory=list)
    sim: list[Status] = field(default_factory=list)


def same(message: Message) -> Message:
    """Return the message as it is: no fault."""
    return message


class Injector(Peer):
    """A node that relays images and joint states through functions that may spoil them.

    It relays commands too: their stamps are of the time that the node was shown, the cell's controller has its own.

    Attributes:
        command_topic, command_kind: where the node commands the cell's controller, and by which messages.
        change_image, change_joint_state: what is relayed instead of a message; None for nothing.
        clock_ahead_s: /clock, for a node with use_sim_time, is this much ahead of the system's clock.
        stamps_ahead_s: the same of the relayed stamps; together with the clock's, all of time jumps.
        clock_runs: whether /clock advances.
        past_images: the last seconds' images and when they came.
        last_joint_state: the newest.
        log: what has been heard.
    """

    def __init__(self, domain_id: int, command_interface: str, check: Callable[[], object]) -> None:
        """Join the ROS domain and relay.

        Args:
            domain_id: the ROS domain.
            command_interface: of node and cell.
            check: as `Peer` has it.
        """
        super().__init__(domain_id, "fault_injector", check)
        self._interface, self._last_values = command_interface, np.empty(0)
        self.command_topic, self.command_kind = commands_of(command_interface)
        self.change_image: Change = same
        self.change_joint_state: Change = same
        self.clock_ahead_s = self.stamps_ahead_s = 0.0
        self.clock_runs = True
        self.past_images: deque[tuple[float, Image]] = deque()
        self.last_joint_state = JointState()
        self.log = Log()
        self._lock = threading.Lock()  # a publisher must not vanish while it publishes
        self.open()
        self._clock = self.node.create_publisher(Clock, "/clock", 10)
        self.node.create_timer(1 / CLOCK_HZ, self._publish_clock)
        self.listen(Image, topics.IMAGE, self._relay_image)
        self.listen(JointState, topics.JOINT_STATES, self._relay_joint_state)
        self._commands = self.node.create_publisher(self.command_kind, self.command_topic, 10)
        self.listen(self.command_kind, f"{RELAYED}/{self.command_topic}", self._relay_command)
        self.listen(DiagnosticArray, topics.DIAGNOSTICS, self._note_diagnostics)
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.listen(DiagnosticArray, "reach_node/status", self._note_state, latched)

    def open(self) -> None:
        """Announce the publishers that `reach_node` listens to."""
        self._images: Any = self.node.create_publisher(Image, f"{RELAYED}/{topics.IMAGE}", QoSProfile(depth=1))
        self._joint_states: Any = self.node.create_publisher(JointState, f"{RELAYED}/{topics.JOINT_STATES}", 10)

    def vanish(self) -> None:
        """Destroy them, as if discovery had lost them."""
        with self._lock:
            self.node.destroy_publisher(self._images)
            self.node.destroy_publisher(self._joint_states)
            self._images = self._joint_states = None

    def intruder(self) -> Node:
        """Return a new node in the same domain, which nobody expects there."""
        return rclpy.create_node("intruder", context=self.node.context)

    def _publish_clock(self) -> None:
        if self.clock_runs:
            self._clock.publish(Clock(clock=time_message(time.time() + self.clock_ahead_s)))

    def _relay_image(self, message: Image) -> None:
        now_s = time.monotonic()
        self.past_images.append((now_s, message))
        while now_s - self.past_images[0][0] > _REMEMBERED_S:
            self.past_images.popleft()
        with self._lock:
            self._relay(self._images, self.change_image(message))

    def _relay_joint_state(self, message: JointState) -> None:
        time_s = seconds(message.header.stamp) + time.monotonic() - time.time()
        self.log.motions.append(Motion(time_s, np.array(message.position), np.array(message.velocity)))
        self.last_joint_state = message
        with self._lock:
            self._relay(self._joint_states, self.change_joint_state(message))

    def _relay(self, publisher: Any, message: Message | None) -> None:
        if publisher is None or message is None:
            return
        publisher.publish(shifted(message, self.stamps_ahead_s) if self.stamps_ahead_s else message)

    def _relay_command(self, message: Message) -> None:
        is_stamped = hasattr(message, "header") and seconds(message.header.stamp) != 0
        self._commands.publish(shifted(message, -self.stamps_ahead_s) if is_stamped else message)
        if self._interface == JOINT_TRAJECTORY and is_stop(message):
            self.log.stops_s.append(time.monotonic())
        elif self._interface == JOINT_TRAJECTORY or self._moves(message):
            self.log.commands_s.append(time.monotonic())

    def _moves(self, message: Message) -> bool:
        """Return whether a message of another interface moves the arm now."""
        if self._interface == KINOVA:
            return bool(np.max(np.abs(message.points[0].velocities)) > _MOVES)
        if self._interface != POSITION_GROUP:
            values = message.velocities if self._interface == JOINT_JOG else message.data
            return bool(np.max(np.abs(values)) > _MOVES)
        before, self._last_values = self._last_values, np.array(message.data)
        return bool(before.size and np.max(np.abs(self._last_values - before)) > _MOVES_RAD)

    def _note_state(self, message: DiagnosticArray) -> None:
        """Note a change of state; decisions of images come on the same topic."""
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if not values["decision"]:
                text = ": ".join(filter(None, (values["state"], values["reason"])))
                self.log.states.append((time.monotonic(), text))

    def _note_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            place = self.log.reach if status.name.endswith(": reach") else self.log.sim
            place.append(Status(time.monotonic(), status.message, values))


def commands_of(command_interface: str) -> tuple[str, Any]:
    """Return the topic and the type of what moves the arm."""
    if command_interface not in STREAMED:
        return topics.TRAJECTORY, JointTrajectory
    return topics.COMMANDS, joint_jog_type() if command_interface == JOINT_JOG else Float64MultiArray


def shifted(message: Message, ahead_s: float) -> Message:
    """Return the message with its stamp moved by `ahead_s`."""
    moved = copy.deepcopy(message) if isinstance(message, JointState) else copy.copy(message)
    moved.header = copy.copy(message.header)
    moved.header.stamp = time_message(seconds(message.header.stamp) + ahead_s)
    return moved


def time_message(time_s: float) -> Time:
    """Return `time_s` as a message, to the microsecond or so that a float of today's time has."""
    whole, rest = divmod(round(time_s * 1e9), 1_000_000_000)
    return Time(sec=int(whole), nanosec=int(rest))


def is_stop(message: JointTrajectory) -> bool:
    """Return whether the arm only brakes, or stands: it neither gains speed nor keeps any for a while."""
    ends_s = np.array([seconds(point.time_from_start) for point in message.points])
    steps_s = np.diff(ends_s)
    ways = np.abs(np.diff([point.positions for point in message.points], axis=0))
    speeds = ways.max(axis=1, initial=0.0) / steps_s
    gains = (np.diff(speeds) > _GAIN) & (ends_s[1:-1] > _LEAD_S)
    return not np.any(steps_s > _KEPT_S) and not np.any(gains)
