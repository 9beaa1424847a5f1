"""Whoever is not heard is named, with both sides' QoS; and what a user overrides of it takes effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.nodes import topics

if TYPE_CHECKING:
    from test.ros.conftest import Lab

MakeBundle = Callable[..., Path]
Wait = Callable[..., None]

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def message(lab: Lab) -> str:
    return str(lab.diagnostics().get("message"))


def endpoint_qos(lab: Lab, wait_until: Wait, look: Callable[[str], list[Any]], topic: str) -> QoSProfile:
    """Return the QoS of reach_node's one endpoint on the topic."""

    def own() -> list[Any]:
        return [endpoint for endpoint in look(topic) if endpoint.node_name == "reach_node"]

    wait_until(lambda: len(own()) == 1, f"one endpoint of reach_node on {topic}")
    return own()[0].qos_profile


def test_a_camera_that_is_less_reliable_than_asked_for_is_named_with_both_sides(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.node.destroy_publisher(lab.images)
    lab.images = lab.node.create_publisher(Image, topics.IMAGE, BEST_EFFORT)
    process = lab.start_reach(make_bundle(), image_reliability="reliable")
    lab.feed_joint_states()
    lab.feed_images()
    wait_until(lambda: "/image_raw: QoS or type of /test does not fit" in message(lab), "the reason in the diagnostics")
    assert message(lab).startswith("waiting: no images yet")
    assert lab.diagnostics()["level"] == 1
    assert (
        "/image_raw: /reach_node subscribes to it (reliable, volatile), but /test (best_effort, volatile): "
        "Best effort publisher and reliable subscription" in process.text
    )


CAMERA = """
import rclpy
from sensor_msgs.msg import CompressedImage

rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(CompressedImage, "image_raw", 1)
rclpy.spin(node)
"""


def test_a_camera_of_another_type_is_named(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.node.destroy_publisher(lab.images)
    lab.start("camera", program=["-c", CAMERA])  # one process cannot have both types on a topic
    process = lab.start_reach(make_bundle())
    wait_until(lambda: "/image_raw: QoS or type of /camera does not fit" in message(lab), "the reason")
    assert "/camera (reliable, volatile): publishes sensor_msgs/msg/CompressedImage, " in process.text


def test_a_camera_on_another_topic_is_a_hint(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.node.destroy_publisher(lab.images)
    lab.node.create_publisher(Image, "camera/image", 1)
    process = lab.start_reach(make_bundle())
    lab.feed_joint_states()
    wait_until(lambda: message(lab).endswith("; nobody publishes /image_raw"), "the reason in the diagnostics")
    assert (
        "/image_raw: /reach_node subscribes to it (best_effort, volatile), but nobody publishes it; "
        "did you mean to remap to one of ['/camera/image']?" in process.text
    )


def test_without_anybody_nothing_is_hinted(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.node.destroy_publisher(lab.joint_states)
    process = lab.start_reach(make_bundle())
    wait_until(lambda: "nobody publishes /joint_states" in message(lab), "the reason in the diagnostics")
    assert "nobody publishes it; nor any other topic of sensor_msgs/msg/JointState" in process.text


def test_a_camera_that_is_silent_is_named(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed_joint_states()
    wait_until(lambda: message(lab).endswith("; nothing comes from /test"), "the reason in the diagnostics")
    assert (
        "/image_raw: /reach_node subscribes to it (best_effort, volatile), "
        "but nothing comes from /test (reliable, volatile), which fits" in process.text
    )
    lab.feed_images()
    wait_until(lambda: message(lab) == "running", "no warning any more")


def test_a_controller_that_is_not_met_is_named(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle(), **{"qos_overrides./joint_trajectory.publisher.reliability": "best_effort"})
    lab.feed_joint_states()
    lab.feed_images()
    wait_until(lambda: "/joint_trajectory: QoS or type of /test does not fit" in message(lab), "the reason")
    assert message(lab).startswith("running; ")
    assert lab.diagnostics()["level"] == 1
    assert "/joint_trajectory: /reach_node publishes it (best_effort, volatile), but /test (reliable" in process.text
    assert not lab.trajectories


def test_a_controller_on_another_topic_is_a_hint(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.listen(JointTrajectory, "arm/joint_trajectory", lambda _: None)
    process = lab.start(
        "reach_node", ["-r", "joint_trajectory:=nowhere"], bundle=make_bundle(), follow_tolerance_rad=100.0
    )
    assert lab.change("configure"), process.text
    assert lab.change("activate"), process.text
    wait_until(lambda: "nobody subscribes to /nowhere" in message(lab), "the reason in the diagnostics")
    hint = "did you mean to remap to one of ['/arm/joint_trajectory', '/joint_trajectory']?"
    assert (
        f"/nowhere: /reach_node publishes it (reliable, volatile), but nobody subscribes to it; {hint}" in process.text
    )
    assert lab.diagnostics()["trajectory_subscribers"] == "0"


def test_overrides_take_effect_each_time_it_configures(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    overrides = {
        "qos_overrides./joint_states.subscription.reliability": "reliable",
        "qos_overrides./joint_trajectory.publisher.reliability": "best_effort",
    }
    process = lab.start("reach_node", bundle=make_bundle(), **overrides)
    subscriptions, publishers = lab.node.get_subscriptions_info_by_topic, lab.node.get_publishers_info_by_topic
    for image_reliability in ("best_effort", "reliable", "best_effort"):  # the simple way goes on to work beside
        assert lab.set_parameter("image_reliability", image_reliability) == ""
        assert lab.change("configure"), process.text
        image = endpoint_qos(lab, wait_until, subscriptions, "/image_raw")
        assert image.reliability == ReliabilityPolicy[image_reliability.upper()]
        joint_states = endpoint_qos(lab, wait_until, subscriptions, "/joint_states")
        assert joint_states.reliability == ReliabilityPolicy.RELIABLE
        trajectory = endpoint_qos(lab, wait_until, publishers, "/joint_trajectory")
        assert trajectory.reliability == ReliabilityPolicy.BEST_EFFORT
        assert trajectory.durability == DurabilityPolicy.VOLATILE
        assert lab.change("cleanup")
        wait_until(lambda: not lab.node.count_subscribers("/image_raw"), "the end of the subscription")
    assert "ignored" not in process.text


def test_an_override_of_the_images_reliability_wins_over_the_simple_way(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle(), **{"qos_overrides./image_raw.subscription.reliability": "reliable"})
    qos = endpoint_qos(lab, wait_until, lab.node.get_subscriptions_info_by_topic, "/image_raw")
    assert qos.reliability == ReliabilityPolicy.RELIABLE


@pytest.mark.parametrize("durability", ["transient_local", "system_default"])
def test_a_publisher_that_would_replay_old_motion_is_refused(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait, durability: str
) -> None:
    overrides = {"qos_overrides./joint_trajectory.publisher.durability": durability}
    process = lab.start("reach_node", bundle=make_bundle(), **overrides)
    for _ in range(2):
        assert not lab.change("configure")
        assert lab.state == "unconfigured"
    assert f"durability: expected volatile, got {durability}: a late controller would get old motion" in process.text
    wait_until(lambda: "expected volatile" in message(lab), "the reason in the diagnostics")
    assert "Traceback" not in process.text


def test_a_wrong_override_is_named_and_leaves_no_publisher_behind(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    overrides = {"qos_overrides./image_raw.subscription.reliability": "sometimes"}
    process = lab.start("reach_node", bundle=make_bundle(), **overrides)
    for _ in range(2):
        assert not lab.change("configure")
    assert "cannot configure: Unexpected QoS override for policy `reliability`: `sometimes`" in process.text
    wait_until(lambda: not lab.node.count_publishers("/joint_trajectory"), "the end of what was there before")


def test_an_override_of_a_topic_that_is_none_is_named(lab: Lab, make_bundle: MakeBundle) -> None:
    wrong = "qos_overrides./image.subscription.reliability"
    process = lab.start_reach(make_bundle(), **{wrong: "reliable"})
    assert f"ignored: ['{wrong}'], which fit no topic of this node" in process.text


def test_joint_states_that_fit_are_no_problem_beside_those_that_do_not(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.node.create_publisher(JointState, topics.JOINT_STATES, BEST_EFFORT)
    lab.start_reach(make_bundle(), **{"qos_overrides./joint_states.subscription.reliability": "reliable"})
    lab.feed_joint_states()
    lab.feed_images()
    expected = "running; /joint_states: QoS or type of /test does not fit"
    wait_until(lambda: message(lab) == expected, "who is not heard")
