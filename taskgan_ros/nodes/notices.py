"""What a user should know although the node keeps running: in full for the log, in short for diagnostics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

_UNKNOWN = "_NODE_NAME_UNKNOWN_"  # so rmw calls the node of an endpoint that is discovered before its node
DISCOVERY_S = 3.0  # two nodes may take this long to discover each other without a Fast DDS profile


@dataclass(frozen=True)
class Notice:
    """In short for diagnostics, and in full for the log; `text` is empty if it has been logged already."""

    short: str
    text: str = ""


def is_named(endpoint: TopicEndpointInfo) -> bool:
    """Return whether the name of an endpoint's node is known: not before discovery, and never for one outside ROS."""
    return bool(endpoint.node_name != _UNKNOWN)


def full_name(endpoint: TopicEndpointInfo) -> str:
    """Return the fully qualified name of an endpoint's node, or that it is unknown."""
    if not is_named(endpoint):
        return "a node whose name is not discovered"
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def find_rivals(node: Node, commands: Publisher) -> Notice | None:
    """Return which other nodes command the same controller."""
    topic, own = commands.topic_name, node.get_fully_qualified_name()
    names = _publishers(node, topic)
    if own in names:
        names.remove(own)  # once: a second node of this name is another
    text = f"{topic}: expected this node alone to command the arm, got {names} too"
    return Notice(f"{names} command the arm too", text) if names else None


def find_second_camera(node: Node, images: Subscription) -> Notice | None:
    """Return which nodes publish images, if several do: the arm would act on the images of each in turn."""
    topic, names = images.topic_name, _publishers(node, images.topic_name)
    text = f"{topic}: expected one camera, got {names}: the arm acts on the images of each; stop or remap all but one"
    return Notice(f"{names} publish images on {topic}", text) if len(names) > 1 else None


def find_stopped_clock(node: Node, waited_s: float) -> Notice | None:
    """Return who should publish the time, if `use_sim_time` is set and no time has come in `waited_s`."""
    if waited_s < DISCOVERY_S or not node.get_parameter("use_sim_time").value or node.get_clock().now().nanoseconds:
        return None
    silent = _publishers(node, "/clock")
    who = f"nothing comes from {silent}" if silent else "nobody publishes it"
    text = f"use_sim_time: expected the time on /clock, but {who}; start what publishes it, or set use_sim_time: false"
    return Notice("use_sim_time without /clock", text)


def find_uneven(objection: str) -> Notice | None:
    """Return why trajectories start on arrival and not at their stamp, if there is an objection to stamps."""
    if not objection:
        return None
    text = (
        "trajectories start on arrival, up to one update of the controller late, so the arm's speed is uneven: "
        f"{objection}; synchronize the clocks of arm and node, or set stamp_trajectories: false to accept this"
    )
    return Notice("trajectories start on arrival: the arm's clock differs or is unknown", text)


def find_moved_camera(sentence: str) -> Notice | None:
    """Return how the camera seems to have moved, and what to do about it, if it has."""
    if not sentence:
        return None
    hint = "aim it until the outline in ~/overlay lies on the arm, or calibrate it again and adapt the bundle"
    return Notice("the camera seems to have moved", f"{sentence}; {hint}")


def _publishers(node: Node, topic: str) -> list[str]:
    infos: Sequence[TopicEndpointInfo] = node.get_publishers_info_by_topic(topic)
    return sorted(full_name(info) for info in infos)
