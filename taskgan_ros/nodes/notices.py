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


def find_delay(joint_state_delay_s: float, horizon_s: float) -> Notice | None:
    """Return how old joint states are when they come, if that slows the arm to less than half, or stops it.

    Args:
        joint_state_delay_s: s, from its stamp to its arrival.
        horizon_s: s, how long a command lasts; by a joint state as old nothing moves.
    """
    if joint_state_delay_s <= horizon_s / 2:
        return None
    effect = "which slows the arm" if joint_state_delay_s < horizon_s else "too old to move by"
    short = f"joint states come {joint_state_delay_s:.2f} s old, {effect}"
    why = "is the arm's computer or the network slow, or do the clocks differ?"
    return Notice(short, f"{short}: the arm stands from {horizon_s:g} s on (horizon_s); {why}")


def _publishers(node: Node, topic: str) -> list[str]:
    infos: Sequence[TopicEndpointInfo] = node.get_publishers_info_by_topic(topic)
    return sorted(full_name(info) for info in infos)
