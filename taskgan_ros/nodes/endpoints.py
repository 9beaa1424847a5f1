"""A node's publishers, subscriptions, services and timers while it is configured, so that all can be destroyed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile

from taskgan_ros.nodes.qos import overriding


class Endpoints:
    """Makes publishers, subscriptions, services and timers; records at once how to destroy each.

    If making one fails, those made before can be destroyed.
    """

    def __init__(self, node: LifecycleNode) -> None:
        """Start without any."""
        self._node = node
        self._made: list[tuple[Callable[[Any], object], Any]] = []

    def advertise(self, kind: type, topic: str, qos: QoSProfile, is_overridable: bool = False) -> Any:
        """Return a publisher that is silent while the node is inactive."""
        name = self._node.resolve_topic_name(topic)
        options = overriding(self._node, name, "publisher") if is_overridable else None
        publisher = self._node.create_lifecycle_publisher(kind, topic, qos, qos_overriding_options=options)
        return self.keep(self._node.destroy_lifecycle_publisher, publisher)

    def subscribe(
        self,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
        group: CallbackGroup | None = None,
    ) -> Any:
        """Return a subscription whose QoS a user may override; one of a `group` has no callbacks for events."""
        options = overriding(self._node, self._node.resolve_topic_name(topic), "subscription")
        subscription = self._node.create_subscription(
            kind,
            topic,
            callback,
            qos,
            callback_group=group,
            qos_overriding_options=options,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=group is None),
        )
        return self.keep(self._node.destroy_subscription, subscription)

    def serve(self, kind: type, name: str, callback: Callable[[Any, Any], Any]) -> None:
        """Offer a service."""
        self.keep(self._node.destroy_service, self._node.create_service(kind, name, callback))

    def make_timer(self, period_s: float, callback: Callable[[], None], clock: Clock) -> Any:
        """Return a timer that is not started."""
        timer = self._node.create_timer(period_s, callback, clock=clock, autostart=False)
        return self.keep(self._node.destroy_timer, timer)

    def destroy(self) -> None:
        """Destroy all of them."""
        for destroy, entity in self._made:
            destroy(entity)
        self._made = []

    def keep(self, destroy: Callable[[Any], object], entity: Any) -> Any:
        """Return the entity, which `destroy` will be called with."""
        self._made.append((destroy, entity))
        return entity
