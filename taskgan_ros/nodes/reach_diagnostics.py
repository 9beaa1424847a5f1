"""What `reach_node` reports on itself and the graph around it, once a second."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

from taskgan_ros.nodes import topics
from taskgan_ros.nodes.camera_side import CameraSide
from taskgan_ros.nodes.controllers import Controllers
from taskgan_ros.nodes.decision_status import LEVELS
from taskgan_ros.nodes.journal import Journal
from taskgan_ros.nodes.messages import both_clocks, diagnostics_message
from taskgan_ros.nodes.notices import (
    DISCOVERY_S,
    Notice,
    find_moved_camera,
    find_rivals,
    find_second_camera,
    find_stopped_clock,
    find_uneven,
)
from taskgan_ros.nodes.qos import find_problem
from taskgan_ros.reach.parameters import OFF, WARN
from taskgan_ros.reach.pipeline import Pipeline
from taskgan_ros.reach.verdict import describe

ACTIVE = "active"


@dataclass(frozen=True)
class Links:
    """The node's own publishers and subscriptions, which must match those of other nodes."""

    images: Subscription
    joint_states: Subscription
    commands: Publisher
    controllers: Controllers
    camera: CameraSide


@dataclass(frozen=True)
class Status:
    """The node's current status.

    Attributes:
        label: of its lifecycle state.
        fault: why it could not be configured, or nothing.
        since_s: s, on the steady clock, when it was activated, or started.
        pipeline: None while unconfigured, and so are `links`.
    """

    label: str
    fault: str
    since_s: float
    pipeline: Pipeline | None = None
    links: Links | None = None


class ReachDiagnostics:
    """Publishes a `DiagnosticArray`, and logs in full what a user should know although the node keeps running."""

    def __init__(self, node: Node) -> None:
        """Start with nothing logged."""
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 10)
        self._journal = Journal(apart_s=0.0)  # of the notices' short texts, which all go into one line

    def log_notices(self, status: Status, lock: AbstractContextManager[Any]) -> list[str]:
        """Log notices in full, each when it comes and then every minute; return the short text of all.

        Args:
            status: the node's current one.
            lock: the pipeline's, which is not held while the graph is looked at.
        """
        notices, now_s = [notice for notice in self._find(status, lock) if notice], time.monotonic()
        found = {notice.short: notice for notice in notices if notice.text}
        if due := [notice.text for short, notice in found.items() if self._journal.is_due(short, now_s)]:
            self._node.get_logger().warning("\n".join(due))
        self._journal.keep(found, now_s)
        return [notice.short for notice in notices]

    def publish(self, status: Status, notices: list[str]) -> None:
        """Publish the status, a warning at least where there are notices; call it under the pipeline's lock."""
        level, text = _summarize(status)
        if notices:
            level, text = max(level, DiagnosticStatus.WARN), "; ".join([text, *notices])
        name = f"{self._node.get_fully_qualified_name().lstrip('/')}: reach"
        arm = status.pipeline.commander.config.arm.name if status.pipeline else ""
        values = self._values(status, status.pipeline, status.links) if status.pipeline and status.links else {}
        stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(diagnostics_message(stamp, name, arm, level, text, values))

    def _find(self, status: Status, lock: AbstractContextManager[Any]) -> list[Notice | None]:
        found: list[Notice | None] = []
        if status.pipeline and (fallen_back := status.pipeline.policy.fallen_back):
            found.append(Notice(f"{status.pipeline.policy.providers[0]} in place of {', '.join(fallen_back)}"))
        if status.label == ACTIVE and status.pipeline and status.links:
            now_s, ros_s = both_clocks(self._node.get_clock())
            with lock:
                found += _find_in_pipeline(status.pipeline, now_s, ros_s)
            found += self._find_in_graph(status.links, status.pipeline, now_s, status.since_s)
        found.append(find_stopped_clock(self._node, time.monotonic() - status.since_s))
        return found

    def _find_in_graph(self, links: Links, pipeline: Pipeline, now_s: float, since_s: float) -> list[Notice | None]:
        counters = pipeline.counters
        found = [
            find_rivals(self._node, links.commands),
            find_second_camera(self._node, links.images),
            *(Notice(text, text) for text in links.controllers.objections()),
            find_moved_camera(links.camera.sentence),
        ]
        if now_s > since_s + DISCOVERY_S:  # before that, others may only not be discovered yet
            found += [
                find_problem(self._node, links.images, is_silent=not counters.images.hz(now_s)),
                find_problem(self._node, links.joint_states, is_silent=not counters.joint_states.hz(now_s)),
                find_problem(self._node, links.commands),
            ]
        return found

    def _values(self, status: Status, pipeline: Pipeline, links: Links) -> dict[str, object]:
        supervisor, parameters = pipeline.supervisor, pipeline.parameters
        scores = pipeline.scores.values if pipeline.scores else {}
        now_s, ros_s = both_clocks(self._node.get_clock())
        return {
            "state": supervisor.state.value if status.label == ACTIVE else status.label,
            "reason": supervisor.reason,
            **pipeline.counters.values(now_s),
            "joint_state_age_ms": 1e3 * supervisor.joint_states.age_s(now_s),
            "guard": parameters.guard if pipeline.guard else OFF,
            **{f"guard_{name}": value for name, value in scores.items()},
            **links.camera.values(),
            "image_publishers": self._node.count_publishers(links.images.topic_name),
            "command_interface": parameters.command_interface,
            "trajectories_start": "as stamped" if pipeline.is_stamped(now_s, ros_s) else "on arrival",
            "trajectory_subscribers": links.commands.get_subscription_count(),
            "bundle": pipeline.policy.card.name,
            "provider": pipeline.policy.providers[0],
        }


def _find_in_pipeline(pipeline: Pipeline, now_s: float, ros_s: float) -> list[Notice | None]:
    objection = pipeline.objection(pipeline.scores) if pipeline.parameters.guard == WARN else ""
    wants_stamps = pipeline.wants_stamps and pipeline.supervisor.joint_states.positions is not None
    return [
        Notice(f"out-of-distribution image: {objection}") if objection else None,
        find_uneven(pipeline.arm_clock.objection(now_s, ros_s) if wants_stamps else ""),
    ]


def _summarize(status: Status) -> tuple[bytes, str]:
    """Return level and message: what the node does, or why it does nothing."""
    if status.label == ACTIVE and status.pipeline:
        supervisor = status.pipeline.supervisor
        return LEVELS.get(supervisor.state, DiagnosticStatus.OK), describe(supervisor)
    level = DiagnosticStatus.ERROR if status.fault else DiagnosticStatus.OK
    return level, ": ".join(text for text in (status.label, status.fault) if text)
