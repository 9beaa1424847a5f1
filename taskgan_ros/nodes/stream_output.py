"""Sends the motion as one value per joint at a fixed rate, for controllers that take no trajectories."""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.clock import Clock
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Float64MultiArray

from taskgan_ros.control.command_interfaces import JOINT_JOG
from taskgan_ros.control.joint_command import JointCommand
from taskgan_ros.control.sampler import MotionSampler
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.endpoints import Endpoints
from taskgan_ros.nodes.joint_jog import joint_jog_message, joint_jog_type
from taskgan_ros.nodes.messages import group_message
from taskgan_ros.nodes.outputs import ACKNOWLEDGED, VOLATILE, make_controllers
from taskgan_ros.reach.pipeline import Pipeline


class StreamOutput:
    """Samples the commander's motion by a timer on the steady clock.

    Such a controller holds the last value. So the end of a motion is sent, and before the node falls silent, by
    deactivation or with its process, the stop is streamed to its end.
    """

    def __init__(
        self, node: LifecycleNode, endpoints: Endpoints, pipeline: Pipeline, lock: threading.Lock, clock: Clock
    ) -> None:
        """Advertise; see `make_output`."""
        self._node, self._pipeline, self._lock = node, pipeline, lock
        self._period_s = 1 / pipeline.parameters.command_rate_hz
        self._is_jog = pipeline.parameters.command_interface == JOINT_JOG
        kind = joint_jog_type() if self._is_jog else Float64MultiArray
        self.publisher = endpoints.advertise(kind, topics.COMMANDS, VOLATILE, is_overridable=True)
        self.controllers = make_controllers(node, endpoints, pipeline, self.publisher.topic_name)
        self._sampler = MotionSampler(pipeline.commander, self._period_s)
        self._timer = endpoints.make_timer(self._period_s, self._tick, clock)

    def start(self) -> None:
        """Query the controllers and start the timer; nothing is sent before the first motion."""
        self.controllers.clear()
        self.controllers.query()
        self._sampler.restart()
        self._timer.reset()

    def send(self, trajectory: JointTrajectory, start_s: float) -> None:
        """Leave it to the timer, which samples the motion that this trajectory is a part of."""

    def finish(self, was_held: bool) -> None:
        """Stream what is left of the motion, the time of a smooth stop, without an executor."""
        self._timer.cancel()
        self._tick()
        while not self._is_at_rest():
            time.sleep(self._period_s)
            self._tick()
        self.publisher.wait_for_all_acked(ACKNOWLEDGED)

    def _is_at_rest(self) -> bool:
        with self._lock:
            return self._sampler.is_at_rest(time.monotonic())

    def _tick(self) -> None:
        """Send the motion's value at this moment, whenever the timer was due.

        Nothing goes to a controller of other joints, or in another order: the arm then does not follow, which is a
        fault, and its reason says why.
        """
        with self._lock:  # so that nothing is sent after what is newer
            command = self._sampler.sample(time.monotonic())
            if command and not self.controllers.objections():
                self.publisher.publish(self._message(command))

    def _message(self, command: JointCommand) -> Any:
        if not self._is_jog:
            return group_message(command)
        return joint_jog_message(command, self._node.get_clock().now().to_msg(), self._period_s)
