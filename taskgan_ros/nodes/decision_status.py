"""`~/status`: reach_node's decision on each image, with reason and stamp, so that a bag shows why an arm stopped."""

from __future__ import annotations

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float64, String

from taskgan_ros.control.states import Source, State
from taskgan_ros.nodes.journal import Journal
from taskgan_ros.nodes.messages import both_clocks, diagnostics_message
from taskgan_ros.reach.pipeline import Pipeline
from taskgan_ros.reach.verdict import Outcome, Verdict, advise, describe, summarise, values

TOPIC = "~/status"
_AGAIN_S = 5.0  # between two log lines on the same state, which may come and go many times a second
LEVELS = {  # of a state; the others are fine
    State.FAULT: DiagnosticStatus.ERROR,
    State.WAITING: DiagnosticStatus.WARN,
    State.HELD: DiagnosticStatus.WARN,
}


class DecisionStatus:
    """Publishes every decision on an image, and every change of state, which is logged too.

    `~/state` and `~/latency`, which have no stamp, go with version 0.2.
    """

    def __init__(self, node: Node) -> None:
        """Start inactive."""
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, TOPIC, _latched(10))
        self._states = node.create_publisher(String, "~/state", _latched(1))
        self._latencies = node.create_publisher(Float64, "~/latency", QoSProfile(depth=10))
        self._reported: tuple[State, tuple[Source, ...]] = (State.INACTIVE, ())
        self._journal = Journal(_AGAIN_S, 0.0)
        self._is_deprecation_logged = False

    def report(self, pipeline: Pipeline) -> None:
        """Report a change of state; a change of the numbers in the reason does not count."""
        supervisor, logger = pipeline.supervisor, self._node.get_logger()
        now = (supervisor.state, supervisor.blocked_by)
        if now == self._reported:
            return
        self._reported = now
        text = advise(supervisor)  # one log call per level: rclpy refuses a second level from the same line
        if supervisor.state is State.FAULT:
            logger.error(text)
        elif supervisor.state is State.INACTIVE:
            logger.info(text)
        elif not self._journal.is_due(text, time.monotonic()):
            pass  # it comes and goes: ~/status has each time
        elif supervisor.state is State.HELD:
            logger.warning(text)
        else:
            logger.info(text)
        self._publish(None, pipeline)  # whoever subscribes later gets it
        self._states.publish(String(data=describe(supervisor)))

    def judge(self, verdict: Verdict, pipeline: Pipeline) -> None:
        """Publish the decision on an image if somebody subscribes; call it under the pipeline's lock."""
        if self._publisher.get_subscription_count() > 0:
            self._publish(verdict, pipeline)
        if verdict.latency_s is not None and self._latencies.get_subscription_count() > 0:
            self._latencies.publish(Float64(data=verdict.latency_s))

    def log_deprecation(self) -> None:
        """Log once that somebody subscribes to a topic that version 0.2 will not have; call it now and then."""
        old = [each.topic_name for each in (self._states, self._latencies) if each.get_subscription_count() > 0]
        if old and not self._is_deprecation_logged:
            self._is_deprecation_logged = True
            self._node.get_logger().warning(
                f"{', '.join(old)}: deprecated, and not in taskgan_ros 0.2; use {self._publisher.topic_name}"
            )

    def _publish(self, verdict: Verdict | None, pipeline: Pipeline) -> None:
        clock = self._node.get_clock()
        now_s, ros_s = both_clocks(clock)
        name = f"{self._node.get_fully_qualified_name().lstrip('/')}: decision"
        arm, text = pipeline.commander.config.arm.name, summarise(verdict, pipeline.supervisor)
        pairs = {"image_stamp": _exact_stamp(verdict), **values(verdict, pipeline, now_s, ros_s)}
        level = _level(verdict, pipeline.supervisor.state)
        self._publisher.publish(diagnostics_message(clock.now().to_msg(), name, arm, level, text, pairs))


def _latched(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _level(verdict: Verdict | None, state: State) -> Any:
    level = LEVELS.get(state, DiagnosticStatus.OK)
    if verdict is None:
        return level
    if verdict.outcome is Outcome.FAILED:
        return DiagnosticStatus.ERROR
    return max(level, DiagnosticStatus.WARN) if verdict.why else level


def _exact_stamp(verdict: Verdict | None) -> str:
    """Return the image's stamp to the nanosecond, which seconds as a float do not have, to find it in a bag."""
    header = verdict.header if verdict else None
    return f"{header.stamp.sec}.{header.stamp.nanosec:09d}" if header else ""
