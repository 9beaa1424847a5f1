"""How the motion reaches the arm's controller: as trajectories, or as values at a fixed rate."""

from __future__ import annotations

import threading
from typing import Protocol

from rclpy.clock import Clock
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMessage

from taskgan_ros.control.command_interfaces import STREAMED
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.controllers import Controllers, wanted_setting
from taskgan_ros.nodes.endpoints import Endpoints
from taskgan_ros.nodes.messages import trajectory_message
from taskgan_ros.reach.pipeline import Pipeline

ACKNOWLEDGED = Duration(seconds=0.5)  # to wait for the last message to arrive: its publisher may be gone soon
# Volatile: a transient-local publisher would replay an old motion to a controller that comes late.
VOLATILE = QoSProfile(depth=1, durability=DurabilityPolicy.VOLATILE)


class Output(Protocol):
    """What sends a motion.

    Attributes:
        publisher: of what moves the arm.
        controllers: that listen to it.
    """

    publisher: Publisher
    controllers: Controllers

    def start(self) -> None:
        """Start again: the node has become active."""

    def send(self, trajectory: JointTrajectory, start_s: float) -> None:
        """Send what was just added to the commander's motion, or let it be sent; call it under the reacher's lock.

        Args:
            trajectory: the motion from now on.
            start_s: s, on the ROS clock, or 0: on arrival.
        """

    def finish(self, was_held: bool) -> None:
        """Bring the arm to rest before the publisher falls silent; the smooth stop was sent if `was_held`."""


def make_output(
    node: LifecycleNode, endpoints: Endpoints, pipeline: Pipeline, lock: threading.Lock, clock: Clock
) -> Output:
    """Return the output for the parameter `command_interface`.

    Args:
        node: publishes.
        endpoints: the node's, which end it.
        pipeline: with the commander and the parameters.
        lock: the reacher's.
        clock: steady.

    Raises:
        InputError: control_msgs is needed and not installed.
    """
    if pipeline.parameters.command_interface not in STREAMED:
        return TrajectoryOutput(node, endpoints, pipeline)
    from taskgan_ros.nodes.stream_output import StreamOutput

    return StreamOutput(node, endpoints, pipeline, lock, clock)


class TrajectoryOutput:
    """Sends each trajectory as a message: the controller does the rest, whatever becomes of this node."""

    def __init__(self, node: LifecycleNode, endpoints: Endpoints, pipeline: Pipeline) -> None:
        """Advertise; see `make_output`."""
        self.publisher = endpoints.advertise(JointTrajectoryMessage, topics.TRAJECTORY, VOLATILE, is_overridable=True)
        self.controllers = make_controllers(node, endpoints, pipeline, self.publisher.topic_name)

    def start(self) -> None:
        """Query the controllers, whose parameters may have changed."""
        self.controllers.clear()
        self.controllers.query()

    def send(self, trajectory: JointTrajectory, start_s: float) -> None:
        """Publish it."""
        self.publisher.publish(trajectory_message(trajectory, start_s))

    def finish(self, was_held: bool) -> None:
        """Wait for the stop to arrive."""
        if was_held:
            self.publisher.wait_for_all_acked(ACKNOWLEDGED)


def make_controllers(node: LifecycleNode, endpoints: Endpoints, pipeline: Pipeline, topic: str) -> Controllers:
    """Return the controllers that listen to `topic`, which the endpoints end."""
    setting = wanted_setting(pipeline.parameters.command_interface, pipeline.commander.config.names)
    controllers: Controllers = endpoints.keep(Controllers.clear, Controllers(node, topic, setting))
    return controllers
