"""A receiver takes from its subscriptions apart from the executor, and looks at the clock in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Int32, String

from taskgan_ros.demo.isolation import own_domain
from taskgan_ros.nodes.receiver import ApartFromExecutor, Receiver

Wait = Callable[..., None]
Subscribe = Callable[[type, str, Callable[[Any], None]], Any]


@pytest.fixture
def node() -> Iterator[Node]:
    with own_domain() as domain_id:
        context = Context()
        rclpy.init(context=context, domain_id=domain_id)
        made = Node("receiver_test", context=context)
        yield made
        made.destroy_node()
        rclpy.shutdown(context=context)


@pytest.fixture
def subscribe(node: Node) -> Subscribe:
    group, events = ApartFromExecutor(), SubscriptionEventCallbacks(use_default_callbacks=False)
    return lambda kind, topic, callback: node.create_subscription(
        kind, topic, callback, 10, callback_group=group, event_callbacks=events
    )


def test_messages_of_several_topics_come_while_the_executor_is_at_something_else(
    node: Node, subscribe: Subscribe, wait_until: Wait
) -> None:
    numbers: list[int] = []
    texts: list[str] = []
    looks: list[float] = []
    subscriptions = [
        subscribe(Int32, "numbers", lambda message: numbers.append(message.data)),
        subscribe(String, "texts", lambda message: texts.append(message.data)),
    ]
    receiver = Receiver(node, subscriptions, lambda: looks.append(time.monotonic()), 0.01)
    a, b = node.create_publisher(Int32, "numbers", 10), node.create_publisher(String, "texts", 10)
    wait_until(lambda: a.get_subscription_count() and b.get_subscription_count(), "discovery")
    for k in range(5):
        a.publish(Int32(data=k))
    b.publish(String(data="one"))
    wait_until(lambda: len(numbers) == 5 and texts, "all messages")
    assert (numbers, texts) == ([0, 1, 2, 3, 4], ["one"])
    wait_until(lambda: len(looks) > 5, "looks at the clock")
    receiver.stop(5)
    seen = len(looks)
    a.publish(Int32(data=9))
    time.sleep(0.05)
    assert (len(numbers), len(looks)) == (5, seen)


def test_what_a_callback_raises_ends_the_executor(node: Node, subscribe: Subscribe, wait_until: Wait) -> None:
    def fail(_: Any) -> None:
        raise ValueError("no such luck")

    raised: list[Exception] = []
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except Exception as error:
            raised.append(error)

    spinner = threading.Thread(target=spin, daemon=True)
    spinner.start()
    receiver = Receiver(node, [subscribe(Int32, "numbers", fail)], lambda: None, 0.01)
    publisher = node.create_publisher(Int32, "numbers", 10)
    wait_until(lambda: publisher.get_subscription_count(), "discovery")
    publisher.publish(Int32(data=1))
    wait_until(lambda: raised, "the error in the executor")
    assert str(raised[0]) == "no such luck"
    receiver.stop(5)
    executor.shutdown()
    spinner.join(5)
