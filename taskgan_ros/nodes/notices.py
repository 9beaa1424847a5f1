"""What a user should know although the node goes on: for the log in full, for diagnostics in short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

DISCOVERY_S = 3.0  # two nodes meet so late without a Fast DDS profile


@dataclass(frozen=True)
class Notice:
    """In short for diagnostics, and in full for the log; nothing there where it has been logged already."""

    short: str
    text: str = ""


def full_name(endpoint: TopicEndpointInfo) -> str:
    """Return the fully qualified name of an endpoint's node."""
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def find_rivals(node: Node, trajectories: Publisher) -> Notice | None:
    """Return which other nodes publish trajectories for the same controller."""
    topic, own = trajectories.topic_name, node.get_fully_qualified_name()
    names = _publishers(node, topic)
    if own in names:
        names.remove(own)  # once: a second node of this name is another
    text = f"{topic}: expected this node alone to command the arm, got {names} too"
    return Notice(f"{names} command the arm too", text) if names else None


def find_second_camera(node: Node, images: Subscription) -> Notice | None:
    """Return who publishes images, if several do: the arm would follow both pictures in turns."""
    topic, names = images.topic_name, _publishers(node, images.topic_name)
    text = f"{topic}: expected one camera, got {names}: the arm acts on the images of each"
    return Notice(f"{names} publish images on {topic}", text) if len(names) > 1 else None


def find_stopped_clock(node: Node, waited_s: float) -> Notice | None:
    """Return who should tell the time, if `use_sim_time` is set and nobody has told it in `waited_s`."""
    if waited_s < DISCOVERY_S or not node.get_parameter("use_sim_time").value or node.get_clock().now().nanoseconds:
        return None
    silent = _publishers(node, "/clock")
    who = f"nothing comes from {silent}" if silent else "nobody publishes it"
    return Notice("use_sim_time without /clock", f"use_sim_time: expected the time on /clock, but {who}")


def find_uneven(objection: str) -> Notice | None:
    """Return why trajectories start on arrival and not at a time that they say, if there is an objection to that."""
    if not objection:
        return None
    text = (
        f"trajectories start on arrival, and the arm's speed is uneven by an update of its controller: {objection}; "
        "synchronize the clocks of arm and node, or set stamp_trajectories: false if this is meant"
    )
    return Notice("trajectories start on arrival: the arm's clock is not known", text)


def _publishers(node: Node, topic: str) -> list[str]:
    infos: Sequence[TopicEndpointInfo] = node.get_publishers_info_by_topic(topic)
    return sorted(full_name(info) for info in infos)
