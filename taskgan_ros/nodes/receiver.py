"""A thread that takes images and joint states by a wait set of its own, and looks at the clock in between.

For each message, rclpy's executor makes a wait set of all the node's entities, and a task. That takes half a
millisecond of a core which the networks could use. The executor keeps the rare messages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription


class ApartFromExecutor(CallbackGroup):
    """The callback group of subscriptions that a `Receiver` takes from, and the executor does not.

    They have no event callbacks: Fast DDS also wakes a waiter for a subscription's events at each message, and the
    executor would spin until the receiver has taken that message.
    """

    def can_execute(self, entity: Any) -> bool:
        """Return that the executor has none of them."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Allow none."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Do nothing."""


class Receiver:
    """Calls back for each message of some subscriptions, and every so often, from one thread.

    If several are ready, one message of each is taken, in the order of the subscriptions.
    """

    def __init__(
        self, node: Node, subscriptions: list[Subscription], watch: Callable[[], None], period_s: float
    ) -> None:
        """Start the thread.

        Args:
            node: whose they are, in an `ApartFromExecutor`; what a callback raises ends this thread, and is raised in
                the node's executor.
            subscriptions: in order.
            watch: is called every `period_s`, and as much later as a callback takes.
            period_s: s.
        """
        self._node, self._subscriptions = node, subscriptions
        self._watch, self._period_s = watch, period_s
        self._is_stopped = False
        self._wake = GuardCondition(None, None, context=node.context)
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread after its current callback; the subscriptions may be destroyed then."""
        self._is_stopped = True
        self._wake.trigger()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            with ExitStack() as handles:
                entities: list[Any] = [self._node.context, self._wake, *self._subscriptions]
                for entity in entities:
                    handles.enter_context(entity.handle)
                self._receive()
        except Exception as error:
            executor = self._node.executor
            if executor is None:  # nobody spins the node any more
                raise
            executor.create_task(_raise, error)

    def _receive(self) -> None:
        context = self._node.context.handle
        wait_set = rclpy_implementation.WaitSet(len(self._subscriptions), 1, 0, 0, 0, 0, context)
        due_s = time.monotonic() + self._period_s
        while not self._is_stopped:
            wait_set.clear_entities()
            wait_set.add_guard_condition(self._wake.handle)
            for each in self._subscriptions:
                wait_set.add_subscription(each.handle)
            wait_set.wait(max(0, round(1e9 * (due_s - time.monotonic()))))
            ready = wait_set.get_ready_entities("subscription")
            for each in self._subscriptions:
                if each.handle.pointer in ready and not self._is_stopped:
                    _take(each)
            if (now_s := time.monotonic()) >= due_s:
                due_s = now_s + self._period_s
                self._watch()


def _take(subscription: Subscription) -> None:
    taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    if taken is not None:
        subscription.callback(taken[0])


def _raise(error: Exception) -> None:
    raise error
