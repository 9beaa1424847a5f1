"""Quality of service: what a user may override, and which endpoints do not match because of it."""

from __future__ import annotations

import contextlib
from typing import Final

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSPolicyKind, QoSProfile, qos_check_compatible
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from taskgan_ros.nodes.notices import Notice, full_name

_POLICIES: Final = (QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY, QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)

_VERBS = ("subscribes to", "publishes")


def overriding(node: Node, topic: str, kind: str) -> QoSOverridingOptions:
    """Return options for the parameters `qos_overrides.<topic>.<kind>.<policy>` that a user has given.

    Only for those: rclpy declares them permanently, so a default would undo what a later configure changes.

    Args:
        node: with its overrides.
        topic: fully qualified.
        kind: publisher or subscription; a publisher must stay volatile.
    """
    given = node._parameter_overrides  # rclpy has no public access to it
    kinds = [policy for policy in _POLICIES if f"qos_overrides.{topic}.{kind}.{policy.name.lower()}" in given]
    return QoSOverridingOptions(kinds, callback=_refuse_old_motion if kind == "publisher" else None)


def _refuse_old_motion(qos: QoSProfile) -> SetParametersResult:
    is_volatile = qos.durability == DurabilityPolicy.VOLATILE
    why = f"durability: expected volatile, got {qos.durability.name.lower()}: a late controller would get old motion"
    return SetParametersResult(successful=is_volatile, reason="" if is_volatile else why)


def ignored_overrides(node: Node) -> list[str]:
    """Return the QoS overrides that no endpoint has taken, misspelt ones mostly; rclpy ignores them silently."""
    given = [name for name in node._parameter_overrides if name.startswith("qos_overrides.")]
    return [name for name in given if not node.has_parameter(name)]


def find_problem(node: Node, own: Publisher | Subscription, is_silent: bool = False) -> Notice | None:
    """Return why `own` reaches nobody, or not everybody, as far as the graph is discovered.

    Args:
        node: whose graph is looked at.
        own: an endpoint of it.
        is_silent: whether nothing has come for some time, which is a problem although everything fits.
    """
    topic, is_subscription = own.topic_name, isinstance(own, Subscription)
    sides = node.get_subscriptions_info_by_topic(topic), node.get_publishers_info_by_topic(topic)
    same, others = sides if is_subscription else sides[::-1]
    # As the graph reports it: in the endpoint's own profile, unset durations are zero instead of infinite.
    mine = next((endpoint for endpoint in same if full_name(endpoint) == node.get_fully_qualified_name()), None)
    if mine is None:
        return None
    verb, other_verb = _VERBS if is_subscription else _VERBS[::-1]
    start = f"{topic}: {full_name(mine)} {verb} it ({_describe(mine.qos_profile)})"
    if not others:
        hint = _hint(node, mine.topic_type, is_subscription)
        return Notice(f"nobody {other_verb} {topic}", f"{start}, but nobody {other_verb} it; {hint}")
    pairs = [(other, (other, mine) if is_subscription else (mine, other)) for other in others]
    misfits = [(other, why) for other, pair in pairs if (why := _misfit(*pair))]
    if misfits:
        short = f"{topic}: QoS or type of {', '.join(full_name(other) for other, _ in misfits)} does not fit"
        return Notice(short, f"{start}, but {'; '.join(f'{_introduce(other)}: {why}' for other, why in misfits)}")
    if is_silent:
        short = f"nothing comes from {', '.join(map(full_name, others))}"
        return Notice(short, f"{start}, but nothing comes from {', '.join(map(_introduce, others))}, which fits")
    return None


def _describe(qos: QoSProfile) -> str:
    return f"{qos.reliability.name.lower()}, {qos.durability.name.lower()}"


def _introduce(endpoint: TopicEndpointInfo) -> str:
    return f"{full_name(endpoint)} ({_describe(endpoint.qos_profile)})"


def _misfit(publisher: TopicEndpointInfo, subscription: TopicEndpointInfo) -> str:
    """Return why the two do not exchange messages, or nothing."""
    if publisher.topic_type != subscription.topic_type:
        return f"publishes {publisher.topic_type}, but the subscription is to {subscription.topic_type}"
    compatibility, why = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
    return why.replace("ERROR: ", "").strip(";") if compatibility == QoSCompatibility.ERROR else ""


def _hint(node: Node, kind: str, is_subscription: bool) -> str:
    """Return what may have been meant: the topics of a type where another node is at the other end."""
    # Queried by node: a query by topic would apply this node's remappings to the names that they replace.
    publishers, subscriptions = Node.get_publisher_names_and_types_by_node, Node.get_subscriber_names_and_types_by_node
    look, topics = publishers if is_subscription else subscriptions, set()
    for name, namespace in node.get_node_names_and_namespaces():
        if (name, namespace) == (node.get_name(), node.get_namespace()):
            continue
        with contextlib.suppress(NodeNameNonExistentError):  # it may have ended by now
            topics |= {topic for topic, kinds in look(node, name, namespace) if kind in kinds}
    return f"did you mean to remap to one of {sorted(topics)}?" if topics else f"nor any other topic of {kind}"
