"""The node that a session, a benchmark and these tests have beside the nodes that they watch."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rclpy.exceptions import InvalidHandle
from std_msgs.msg import Int32
from std_srvs.srv import Trigger

from taskgan_ros.demo.isolation import ChildProcesses, SessionError, isolated, ros_arguments
from taskgan_ros.demo.peer import Peer

SERVER = """
import sys
import rclpy
from std_srvs.srv import Trigger
rclpy.init(args=sys.argv)
node = rclpy.create_node("server")
words = node.declare_parameter("words", "").value

def answer(request, response):
    response.message = words
    return response

node.create_service(Trigger, "server/ask", answer)
rclpy.spin(node)
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Peer, ChildProcesses]]:
    with isolated(tmp_path) as (domain_id, processes), Peer(domain_id, "peer", processes.check) as peer:
        yield peer, processes


def test_a_call_waits_for_its_service_and_after_forgetting_for_the_next_one_of_that_name(
    started: tuple[Peer, ChildProcesses],
) -> None:
    peer, processes = started
    for words in ("yes", "7: a string"):
        processes.start("server", [sys.executable, "-c", SERVER, *ros_arguments({"words": words})])
        assert peer.call(Trigger, "server/ask", Trigger.Request()).message == words
        processes.send(signal.SIGKILL)  # its service stays in the graph for a while
        processes.stop()
        peer.forget()


def test_what_another_thread_destroys_does_not_end_its_own(started: tuple[Peer, ChildProcesses]) -> None:
    peer, _ = started
    heard: list[Int32] = []

    def hear(message: Int32) -> None:
        heard.append(message)
        if len(heard) == 1:
            raise InvalidHandle("as rclpy does where what it waits for next is gone")

    peer.listen(Int32, "numbers", hear)
    publisher = peer.node.create_publisher(Int32, "numbers", 10)
    peer.wait("the subscription", publisher.get_subscription_count)
    for k in range(2):
        publisher.publish(Int32(data=k))
    peer.wait("both numbers", lambda: len(heard) == 2)


def test_what_does_not_come_is_named(started: tuple[Peer, ChildProcesses]) -> None:
    with pytest.raises(SessionError, match=r"expected a miracle within 0\.1 s, got none"):
        started[0].wait("a miracle", lambda: False, 0.1)
