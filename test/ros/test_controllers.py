"""What the node asks the controllers behind its topic, on real DDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is needed")

from rclpy.topic_endpoint_info import TopicEndpointInfo
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.demo.peer import Peer
from taskgan_ros.nodes.controllers import Controllers, wanted_setting

Lab = Any

WANTED = "interpolate_from_desired_state"


@contextmanager
def controller(lab: Lab, **parameters: bool) -> Iterator[None]:
    """Be a node that listens to trajectories, with these parameters."""
    with Peer(lab.domain_id, "arm_controller", namespace="/left") as peer:
        for name, value in parameters.items():
            peer.node.declare_parameter(name, value)
        peer.listen(JointTrajectory, "/joint_trajectory", lambda _: None)
        yield


def test_a_controller_that_starts_where_the_arm_was_measured_is_named_with_the_line_to_add(
    lab: Lab, make_bundle: Callable[..., Path], wait_until: Callable[..., None]
) -> None:
    with controller(lab, **{WANTED: False}):
        process = lab.start_reach(make_bundle(), follow_tolerance_rad=0.05)
        named = f"/left/arm_controller: expected {WANTED}: true, got false"
        wait_until(lambda: named in process.text, "its name in the log")
        assert f"add `{WANTED}: true` to its ros__parameters" in process.text
        wait_until(lambda: named in str(lab.diagnostics().get("message")), "its name in the diagnostics")
        lab.feed_joint_states()  # the lab's arm stands, which is a fault here
        lab.feed_images()
        wait_until(
            lambda: str(lab.diagnostics().get("message")).startswith("fault: expected the arm to follow"), "a fault"
        )
        assert named in str(lab.diagnostics()["reason"])


@pytest.mark.parametrize("parameters", [{WANTED: True}, {}])
def test_a_controller_that_has_it_and_one_that_knows_no_such_thing_are_no_matter(
    lab: Lab, make_bundle: Callable[..., Path], wait_until: Callable[..., None], parameters: dict[str, bool]
) -> None:
    with controller(lab, **parameters):
        process = lab.start_reach(make_bundle())
        lab.feed_joint_states()
        lab.feed_images()
        wait_until(lambda: lab.diagnostics().get("message") == "running", "a node that runs, and no warning")
        assert WANTED not in process.text


def test_a_subscriber_is_asked_once_its_node_is_discovered(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asker, named = lab.node, TopicEndpointInfo(node_name="arm_controller", node_namespace="/left")
    unnamed = TopicEndpointInfo(node_name="_NODE_NAME_UNKNOWN_", node_namespace="_NODE_NAMESPACE_UNKNOWN_")
    monkeypatch.setattr(asker, "get_subscriptions_info_by_topic", lambda _: [unnamed])
    setting, before = wanted_setting("joint_trajectory", ()), set(asker.clients)
    controllers = Controllers(asker, "/joint_trajectory", setting)
    controllers.query()
    assert set(asker.clients) == before
    monkeypatch.setattr(asker, "get_subscriptions_info_by_topic", lambda _: [unnamed, named])
    controllers.query()
    assert [client.srv_name for client in set(asker.clients) - before] == ["/left/arm_controller/get_parameters"]
    controllers.clear()
