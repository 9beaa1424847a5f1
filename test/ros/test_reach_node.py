"""What a lab relies on: what reach_node sends, and that it holds whenever it must."""

from __future__ import annotations

import io
import itertools
import math
import signal
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import yaml
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import TransitionEvent
from lifecycle_msgs.srv import GetState
from PIL import Image as PillowImage
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Header
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.nodes import topics
from taskgan_ros.policy.policy import CPU
from taskgan_ros.robot.arm import load_arm

if TYPE_CHECKING:
    from test.ros.conftest import Heard, Lab

MakeBundle = Callable[..., Path]
Wait = Callable[..., None]

ARM = load_arm("mico")
MISSING = next(name for name in onnxruntime.get_all_providers() if name not in onnxruntime.get_available_providers())
TIMEOUT_S = 0.25


def cruise_of(message: JointTrajectory) -> np.ndarray:
    """Return (n,) rad/s: the speed that it keeps, on its longest stretch."""
    ends_s = np.array([point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec for point in message.points])
    k = int(np.argmax(np.diff(ends_s)))
    way = np.array(message.points[k + 1].positions) - message.points[k].positions
    return np.asarray(way / (ends_s[k + 1] - ends_s[k]))


def test_commands_what_the_policy_says_in_a_form_that_controllers_accept(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle())
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    lab.until_commanded()  # from rest to the whole speed takes some
    message = lab.trajectories[-1][1]
    assert tuple(message.joint_names) == ARM.joint_names
    np.testing.assert_allclose(cruise_of(message), [*lab.velocity, 0, 0, 0], rtol=0.05)  # the lab's arm stands
    age_s = time.time() - message.header.stamp.sec - 1e-9 * message.header.stamp.nanosec
    assert 0 <= age_s < 5, "it says when it starts"
    (image,) = lab.node.get_subscriptions_info_by_topic("/image_raw")
    assert image.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    (trajectory,) = lab.node.get_publishers_info_by_topic("/joint_trajectory")
    assert trajectory.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert trajectory.qos_profile.durability == DurabilityPolicy.VOLATILE
    wait_until(lambda: lab.diagnostics().get("message") == "running", "diagnostics that say so")
    values = lab.diagnostics()
    assert values["level"] == 0
    assert 0 < float(values["latency_p50_ms"]) <= float(values["latency_p99_ms"])
    assert float(values["command_rate_hz"]) > 0


def test_limits_always_apply(lab: Lab, make_bundle: MakeBundle) -> None:
    lab.ready[1] = float(ARM.upper[1]) - 0.001
    lab.start_reach(make_bundle(velocity=(30.0, 10.0, -20.0)))
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    lab.until_commanded()
    speeds = max((cruise_of(message) for _, message in lab.trajectories), key=lambda speeds: float(speeds[0]))
    assert 0.3 * ARM.max_velocity[0] < speeds[0] <= ARM.max_velocity[0] * (1 + 1e-6)
    assert speeds[1] == pytest.approx(0, abs=1e-9)  # it is nearer to its limit than the margin
    assert speeds[2] == pytest.approx(-speeds[0] * 2 / 3, rel=0.05)


def test_the_first_command_starts_at_rest_where_the_arm_is(lab: Lab, make_bundle: MakeBundle) -> None:
    lab.start_reach(make_bundle(velocity=(0.6, 0.0, 0.0)))
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    first = lab.trajectories[0][1].points
    np.testing.assert_allclose(first[0].positions, lab.ready, atol=1e-9)
    assert abs(first[1].positions[0] - lab.ready[0]) < 1e-4  # after 4 ms


def test_in_kinovas_mode_velocities_are_sent_and_end_with_zeros(lab: Lab, make_bundle: MakeBundle) -> None:
    lab.start_reach(make_bundle(), command_interface="kinova")
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    lab.until_commanded()
    message = lab.trajectories[-1][1]
    np.testing.assert_allclose(message.points[0].velocities[:3], lab.velocity, rtol=1e-2)
    assert lab.change("deactivate")
    lab.until_held()
    assert not any(lab.trajectories[-1][1].points[-1].velocities)


def test_a_person_holds_the_arm_and_lets_it_go_on(
    lab: Lab, heard: Heard, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle())
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    answer = lab.call(SetBool, "reach_node/hold", SetBool.Request(data=True))
    assert (answer.success, answer.message) == (True, "held: stopped by a person (the service hold)")
    lab.until_held()
    count = len(lab.trajectories)
    time.sleep(0.5)
    assert len(lab.trajectories) == count
    assert lab.call(SetBool, "reach_node/hold", SetBool.Request(data=False)).success
    lab.until_commanded()
    wait_until(lambda: heard.of("")[-1]["state"] == "running", "the state running")
    assert "held: stopped by a person (the service hold)" in [each["message"] for each in heard.of("")]


def test_who_else_commands_the_arm_is_named(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed_joint_states()
    lab.feed_images()
    wait_until(lambda: lab.diagnostics().get("message") == "running", "diagnostics that say so")
    publisher = lab.node.create_publisher(JointTrajectory, topics.TRAJECTORY, 1)
    own = lab.node.get_fully_qualified_name()
    wait_until(lambda: f"running; ['{own}'] command the arm too" == lab.diagnostics().get("message"), "a warning")
    assert lab.diagnostics()["level"] == 1
    assert "/joint_trajectory: expected this node alone to command the arm" in process.text
    lab.node.destroy_publisher(publisher)
    wait_until(lambda: lab.diagnostics().get("message") == "running", "no warning any more")


def test_a_second_camera_is_named(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed_joint_states()
    lab.feed_images()
    wait_until(lambda: lab.diagnostics().get("message") == "running", "diagnostics that say so")
    second = Node("webcam", context=lab.node.context)
    second.create_publisher(Image, topics.IMAGE, 1)
    wait_until(
        lambda: lab.diagnostics().get("message") == "running; ['/test', '/webcam'] publish images on /image_raw", "it"
    )
    assert lab.diagnostics()["level"] == 1
    assert "/image_raw: expected one camera, got ['/test', '/webcam']" in process.text
    second.destroy_node()
    wait_until(lambda: lab.diagnostics().get("message") == "running", "no warning any more")


def test_an_arm_with_another_clock_starts_trajectories_on_arrival_and_is_named(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle())
    lab.feed_images()

    def late() -> JointState:
        message = lab.joint_state()
        ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec - 150_000_000
        message.header.stamp = Time(sec=ns // 10**9, nanosec=ns % 10**9)
        return message

    lab.feed(lab.joint_states, late, rate_hz=50)
    lab.until_commanded()
    reason = "running; trajectories start on arrival: the arm's clock differs or is unknown"
    wait_until(lambda: lab.diagnostics().get("message") == reason, "the reason")
    assert lab.diagnostics()["trajectories_start"] == "on arrival"
    assert not any(message.header.stamp.sec for _, message in lab.trajectories)


def test_it_says_what_it_waits_for(lab: Lab) -> None:
    process = lab.start("reach_node", arguments=["-r", "__ns:=/left"])
    assert lab.call(GetState, "left/reach_node/get_state", GetState.Request()).current_state.label == "unconfigured"
    assert "unconfigured: waiting for `ros2 lifecycle set /left/reach_node configure`" in process.text


def test_small_commands_are_an_arrival(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.start_reach(make_bundle(velocity=(0.01, 0.0, -0.01)))
    lab.feed_joint_states()
    lab.feed_images()
    wait_until(lambda: "arrived: the last" in str(lab.diagnostics().get("message")), "an arrival in the diagnostics")
    assert lab.diagnostics()["level"] == 0
    lab.until_held()


def test_a_joint_far_beyond_its_limit_is_a_fault(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    good, lab.ready = lab.ready, [*lab.ready[:1], float(ARM.upper[1]) + 0.2, *lab.ready[2:]]
    wait_until(lambda: lab.diagnostics().get("level") == 2, "an error in the diagnostics")
    assert "is it another arm, or are its zeros elsewhere?; deactivate and activate to resume" in process.text
    stopped = lab.trajectories[-1][1].points[-1].positions
    np.testing.assert_allclose(stopped, good, atol=0.2)  # not where the joint seemed to be
    lab.ready = good
    count = len(lab.trajectories)
    time.sleep(0.3)
    assert len(lab.trajectories) == count


def test_an_arm_that_does_not_go_where_it_is_sent_is_a_fault(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle(velocity=(0.6, 0.0, 0.0)), follow_tolerance_rad=0.3)
    lab.feed_joint_states()
    lab.feed_images()
    wait_until(lambda: lab.diagnostics().get("level") == 2, "an error in the diagnostics")
    assert "fault: expected the arm to follow its commands, got a tracking error" in str(lab.diagnostics()["message"])
    lab.until_held()


def test_joint_states_of_a_second_publisher_are_not_followed(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle())
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    outlier = lab.joint_state()
    outlier.position = [angle + 0.5 for angle in lab.ready]
    count = len(lab.trajectories)
    lab.joint_states.publish(outlier)
    wait_until(lambda: len(lab.trajectories) > count + 5, "commands")
    for _, message in lab.trajectories[count:]:
        np.testing.assert_allclose(message.points[-1].positions, lab.ready, atol=0.3)


def test_two_publishers_of_joint_states_from_the_start_get_no_command(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle())
    offsets = itertools.cycle([0.5, 0.0])

    def either() -> JointState:
        message, offset = lab.joint_state(), next(offsets)
        message.position = [angle + offset for angle in lab.ready]
        return message

    lab.feed_images()
    lab.feed(lab.joint_states, either, rate_hz=50)
    wait_until(lambda: lab.diagnostics().get("level") == 2, "an error in the diagnostics")
    assert "or a second publisher?" in str(lab.diagnostics()["message"])
    assert not lab.trajectories


def test_an_image_from_before_activation_that_comes_after_it_moves_nothing(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle(), image_age_s=60.0)
    assert lab.change("deactivate")
    lab.feed_joint_states()
    old = lab.image()
    assert lab.change("activate")
    wait_until(lambda: "waiting: no images yet" in str(lab.diagnostics().get("message")), "joint states that count")
    lab.images.publish(old)
    time.sleep(0.3)
    assert not lab.trajectories
    lab.images.publish(lab.image())
    wait_until(lambda: lab.trajectories, "a command")


def test_a_joint_state_that_is_repeated_counts_as_none(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.start_reach(make_bundle())
    sent = [lab.joint_state()]

    def message() -> JointState:
        if not is_frozen:
            sent.append(lab.joint_state())
        return sent[-1]

    is_frozen = False
    lab.feed(lab.joint_states, message, rate_hz=50)
    lab.feed_images()
    lab.until_commanded()
    is_frozen = True
    lab.until_held()
    wait_until(lambda: "expected a new stamp" in str(lab.diagnostics().get("message")), "the reason")


def test_a_persons_hold_outlasts_every_transition(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.start_reach(make_bundle())
    assert lab.call(SetBool, "reach_node/hold", SetBool.Request(data=True)).success
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert lab.change(transition)
    lab.feed_joint_states()
    lab.feed_images()
    wait_until(lambda: "stopped by a person" in str(lab.diagnostics().get("message")), "who holds it")
    assert not lab.trajectories
    assert lab.call(SetBool, "reach_node/hold", SetBool.Request(data=False)).success
    lab.until_commanded()


def test_the_speed_may_change_while_it_runs_and_the_mode_may_not(lab: Lab, make_bundle: MakeBundle) -> None:
    lab.start_reach(make_bundle(velocity=(0.6, 0.0, 0.0)))
    slow = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=0.1)
    request = SetParameters.Request(parameters=[Parameter(name="speed_scale", value=slow)])
    assert lab.call(SetParameters, "reach_node/set_parameters", request).results[0].successful
    refused = lab.set_parameter("command_interface", "kinova")
    assert refused == "command_interface: expected the node to be unconfigured, got active: clean up first"
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    lab.until_commanded()
    assert 0 < cruise_of(lab.trajectories[-1][1])[0] <= 0.1 * ARM.max_velocity[0] * (1 + 1e-6)


def test_a_frame_flood_is_answered_for_the_newest_frame_only(
    lab: Lab, heard: Heard, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle(products=2), command_timeout_s=5.0, image_reliability="reliable")
    lab.feed_joint_states()
    lab.feed_images(rate_hz=200)
    wait_until(lambda: len(heard.of("command")) >= 12, "twelve commands")
    wait_until(lambda: int(lab.diagnostics().get("dropped_images", 0)) > 0, "dropped images in the diagnostics")
    values = lab.diagnostics()
    # A frame waits for the inference before its own and for that, as long as it lasts; in a queue of ten for 11.
    inference_s = float(values["inference_p50_ms"]) / 1e3
    ages_s = [1e-3 * float(each["latency_ms"]) for each in heard.of("command")[-6:]]
    assert np.median(ages_s) < 5 * inference_s + 0.1


def test_holds_when_the_camera_stops_and_goes_on_when_it_is_back(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed_joint_states()
    stop_camera = lab.feed_images()
    lab.until_commanded()
    stop_camera()
    stopped_s = time.monotonic()
    assert lab.until_held() - stopped_s < TIMEOUT_S + 0.5
    wait_until(lambda: "held: no images for" in str(lab.diagnostics().get("message")), "the reason in the diagnostics")
    assert "held: no images for" in process.text
    count = len(lab.trajectories)
    assert lab.trajectories[-1][0] - stopped_s < TIMEOUT_S + 0.5, "one hold, not one a look"
    lab.feed_images()
    wait_until(lambda: len(lab.trajectories) > count, "commands again")


def test_holds_when_the_joint_states_stop(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.start_reach(make_bundle())
    stop_joint_states = lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    stop_joint_states()
    stopped_s = time.monotonic()
    assert lab.until_held() - stopped_s < TIMEOUT_S + 0.5
    wait_until(lambda: "no joint states for" in str(lab.diagnostics().get("message")), "the reason in the diagnostics")


def test_holds_for_good_when_the_model_fails(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    lab.images.publish(lab.image(value=255))
    lab.until_held()
    wait_until(lambda: lab.diagnostics().get("level") == 2, "an error in the diagnostics")
    assert "the policy failed: " in process.text
    assert "Traceback" not in process.text


@pytest.mark.parametrize("guard", ["stop", "warn"])
def test_holds_for_good_when_the_model_returns_nan(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait, guard: str
) -> None:
    process = lab.start_reach(make_bundle(guard=True), guard=guard)
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    lab.images.publish(lab.image(value=0))  # the tiny bundle answers a black image with 0/0
    lab.until_held()
    held = len(lab.trajectories)
    wait_until(lambda: lab.diagnostics().get("level") == 2, "an error in the diagnostics")
    assert "not finite" in str(lab.diagnostics()["message"])
    assert "not finite" in process.text
    assert len(lab.trajectories) == held, "good images go on coming, and none moves the arm"
    assert lab.change("deactivate")
    assert lab.change("activate")
    wait_until(lambda: len(lab.trajectories) > held + 2, "commands after a person has started it again")


BAD_IMAGES: list[dict[str, Any]] = [
    {"encoding": "32FC1"},
    {"encoding": ""},
    {"width": 0, "height": 0, "step": 0, "data": array("B")},
    {"step": 1},
    {"data": array("B", bytes(100))},
    {"height": 2**32 - 1, "width": 2**32 - 1, "step": 2**32 - 1},
]


def test_a_bad_image_neither_commands_nor_ends_the_node(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed_joint_states()

    def publish_all() -> bool:
        for fault in BAD_IMAGES:
            lab.images.publish(lab.image(**fault))
            time.sleep(0.02)
        return int(lab.diagnostics().get("bad_images", 0)) >= len(BAD_IMAGES)

    wait_until(publish_all, "all the bad images in the diagnostics")
    assert not lab.trajectories
    wait_until(lambda: str(lab.diagnostics()["message"]).startswith("waiting: no images yet"), "the reason")
    assert "ignored: image: expected an encoding of ['rgb8', 'bgr8', " in process.text
    lab.feed_images(height=48, width=64, encoding="bgra8", step=300, data=array("B", [100]) * (300 * 48))
    lab.until_commanded()


def test_compressed_images_are_taken_and_a_damaged_one_is_refused(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    process = lab.start_reach(make_bundle(), image_transport="compressed")
    publisher = lab.node.create_publisher(CompressedImage, topics.COMPRESSED_IMAGE, 1)
    file = io.BytesIO()
    PillowImage.new("RGB", (64, 48), (100, 100, 100)).save(file, "JPEG")

    def image(data: bytes) -> CompressedImage:
        message = CompressedImage(format="rgb8; jpeg compressed bgr8", data=array("B", data))
        message.header.stamp = lab.node.get_clock().now().to_msg()
        return message

    lab.feed_joint_states()
    stop = lab.feed(publisher, lambda: image(file.getvalue()[:-100]), rate_hz=20)
    wait_until(lambda: int(lab.diagnostics().get("bad_images", 0)) > 3, "bad images in the diagnostics")
    assert not lab.trajectories
    assert "ignored: image: expected" in process.text
    stop()
    stop = lab.feed(publisher, lambda: image(file.getvalue()), rate_hz=20)
    lab.until_commanded()
    stop()
    lab.feed(publisher, lambda: image(file.getvalue()[:-100]), rate_hz=20)
    lab.until_held()
    reason = "expected within 0.5 s; the last was rejected: image: expected"
    wait_until(lambda: reason in str(lab.diagnostics().get("message")), "the reason")


def test_a_camera_that_sees_less_than_the_bundle_saw_is_refused(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    process = lab.start_reach(make_bundle(), camera_fov=0.5)  # the scene's is 0.72
    lab.feed_joint_states()
    lab.feed_images(height=48, width=64, step=192, data=array("B", [100]) * (192 * 48))
    wait_until(lambda: "ignored: " in process.text, "the reason")
    wait_until(lambda: int(lab.diagnostics().get("bad_images", 0)) > 1, "bad images in the diagnostics")
    assert not lab.trajectories


def test_an_image_far_from_the_clock_is_none_and_one_without_a_stamp_is_taken(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    process = lab.start_reach(make_bundle(), image_age_s=5.0)
    lab.feed_joint_states()
    now_s = lab.node.get_clock().now().nanoseconds // 10**9

    def publish_all() -> bool:
        for second in (-5, now_s - 10, now_s + 10):
            lab.images.publish(lab.image(header=Header(stamp=Time(sec=second))))
            time.sleep(0.02)
        return int(lab.diagnostics().get("old_images", 0)) >= 3

    wait_until(publish_all, "the old images in the diagnostics")
    assert not lab.trajectories
    reason = "waiting: no images yet; the last was rejected: image: expected a stamp"
    wait_until(lambda: str(lab.diagnostics()["message"]).startswith(reason), "the reason")
    assert "expected a stamp within 5 s (image_age_s) of this node's clock, got one" in process.text
    assert "the clocks of camera and node differ" in process.text
    lab.feed_images(header=Header())
    lab.until_commanded()


def test_a_stamp_that_no_clock_gives_neither_stops_commands_nor_ends_the_node(
    lab: Lab, make_bundle: MakeBundle
) -> None:
    process = lab.start_reach(make_bundle(), image_age_s=0.0)
    lab.feed_joint_states()
    lab.feed_images(header=Header(stamp=Time(sec=-5, nanosec=2**32 - 1)))
    lab.until_commanded()
    lab.until_commanded()
    assert "Traceback" not in process.text


def test_the_process_ends_in_good_order_although_an_inference_lasts(lab: Lab, make_bundle: MakeBundle) -> None:
    script = "from taskgan_ros.nodes import reach_node; reach_node._WORKER_S = 0.01; reach_node.main()"
    process = lab.start("reach_node", program=["-c", script], bundle=make_bundle(products=10), threads=1)
    assert lab.change("configure"), process.text
    assert lab.change("activate"), process.text
    lab.feed_joint_states()
    lab.feed_images(rate_hz=50)
    time.sleep(1)
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    assert "Traceback" not in process.text


def test_a_misspelt_parameter_is_named(lab: Lab) -> None:
    process = lab.start("reach_node", image_timeout=0.5, use_sim_time=False)
    assert lab.state == "unconfigured"
    assert "ignored: there is no parameter image_timeout; did you mean image_timeout_s?" in process.text
    assert process.text.count("there is no parameter") == 1


@pytest.mark.parametrize(("transition", "state"), [("deactivate", "inactive"), ("shutdown", "finalized")])
def test_deactivation_holds_and_then_nothing_is_sent(
    lab: Lab, make_bundle: MakeBundle, transition: str, state: str
) -> None:
    lab.start_reach(make_bundle())
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    assert lab.change(transition)
    lab.until_held()
    count = len(lab.trajectories)
    assert lab.state == state
    if state == "inactive":
        assert lab.change("cleanup")
        assert lab.state == "unconfigured"
    assert len(lab.trajectories) == count


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_end_of_the_process_holds(lab: Lab, make_bundle: MakeBundle, number: signal.Signals) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    process.send(number)
    process.send(number)  # a terminal sends one, and so does `ros2 launch`
    lab.until_held()
    assert process.wait() == 0
    assert "Traceback" not in process.text


def test_a_bundle_that_does_not_fit_leaves_it_unconfigured_with_the_reason(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    bundle = make_bundle()
    process = lab.start("reach_node", bundle="no_such_bundle")
    events: list[tuple[str, str]] = []
    lab.listen(
        TransitionEvent,
        "reach_node/transition_event",
        lambda e: events.append((e.start_state.label, e.goal_state.label)),
    )
    wait_until(lambda: lab.node.count_publishers("reach_node/transition_event") > 0, "transition events")
    assert not lab.change("configure")
    wait_until(lambda: ("configuring", "unconfigured") in events, "the event that the launch file ends on")
    assert lab.state == "unconfigured"
    assert "cannot configure: bundle: expected a folder or one of" in process.text
    wait_until(lambda: "no_such_bundle" in str(lab.diagnostics().get("message")), "the reason in the diagnostics")

    damaged = bundle / "policy.onnx"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1])
    assert lab.set_parameter("bundle", str(bundle)) == ""
    assert not lab.change("configure")
    assert "policy.onnx: expected SHA-256" in process.text

    damaged.write_bytes(whole)
    assert lab.change("configure")
    assert lab.state == "inactive"
    assert "clean up first" in lab.set_parameter("bundle", "another")
    assert "Traceback" not in process.text


def test_a_bundle_whose_numbers_are_not_finite_is_refused_before_the_arm_moves(
    lab: Lab, make_bundle: MakeBundle
) -> None:
    process = lab.start("reach_node", bundle=make_bundle(velocity=(0.1, math.nan, 0.1)), guard="warn")
    assert not lab.change("configure")
    expected = "cannot configure: bundle tiny: expected weights and activations that are finite on CPUExecutionProvider"
    assert expected in process.text


def test_a_provider_that_does_not_start_is_an_error(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start("reach_node", bundle=make_bundle(), providers=[MISSING])
    assert not lab.change("configure")
    assert f"got ['{MISSING}']" in process.text
    wait_until(lambda: MISSING in str(lab.diagnostics().get("message")), "the reason in the diagnostics")
    assert lab.diagnostics()["level"] == 2


def test_a_fallback_that_is_allowed_is_said_as_long_as_it_lasts(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    options = [f"{MISSING}.device_id=1", ""]
    process = lab.start_reach(
        make_bundle(guard=True), providers=[MISSING, CPU], provider_options=options, allow_fallback=True
    )
    asked_and_got = f"expected ['{MISSING}', '{CPU}'], got ['{CPU}'], which allow_fallback allows"
    assert f"{asked_and_got}; {MISSING} did not start: providers: expected some of" in process.text
    assert process.text.count("[WARN]") == 1
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    for state in ("running", "inactive"):
        wait_until(
            lambda state=state: lab.diagnostics().get("message") == f"{state}; {CPU} in place of {MISSING}", state
        )
        assert lab.diagnostics()["level"] == 1
        assert lab.diagnostics()["provider"] == CPU
        lab.change("deactivate")


def test_an_option_of_another_form_is_refused(lab: Lab, make_bundle: MakeBundle) -> None:
    process = lab.start("reach_node", bundle=make_bundle(), provider_options=["device_id=1"])
    assert not lab.change("configure")
    assert "provider_options: expected provider.option=value, got 'device_id=1'" in process.text


@pytest.mark.parametrize(("name", "is_fine"), [("provider_options", True), ("providers", False)])
def test_an_empty_list_is_one_without_entries(lab: Lab, make_bundle: MakeBundle, name: str, is_fine: bool) -> None:
    process = lab.start("reach_node", bundle=make_bundle(), **{name: []})
    assert lab.change("configure") == is_fine, process.text
    assert is_fine or "cannot configure: providers: expected some of" in process.text


def test_a_transition_that_is_not_possible_is_answered(lab: Lab, make_bundle: MakeBundle) -> None:
    lab.start("reach_node", bundle=make_bundle())
    assert not lab.change("activate")
    assert lab.state == "unconfigured"
    assert lab.change("configure")


WRONG_PARAMETERS: dict[str, tuple[Any, str]] = {
    "horizon_s": ("long", "parameter horizon_s: expected float from 0.01 to 5.0, got 'long'"),
    "image_timeout_s": (0.0, "parameter image_timeout_s: expected float from 0.01 to 60.0"),
    "image_reliability": ("sometimes", "one of ['best_effort', 'reliable'], got 'sometimes'"),
}


@pytest.mark.parametrize("name", WRONG_PARAMETERS)
def test_a_wrong_parameter_is_named_in_one_line(lab: Lab, name: str) -> None:
    value, reason = WRONG_PARAMETERS[name]
    process = lab.start("reach_node", **{name: value})
    assert process.wait() == 2
    assert reason in process.text
    assert "Traceback" not in process.text


def test_parameters_come_from_the_shipped_yaml_in_any_namespace(
    lab: Lab, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    shipped = Path(__file__).resolve().parents[2] / "config" / "reach_node.yaml"
    values = yaml.safe_load(shipped.read_text())
    values["/**/reach_node"]["ros__parameters"]["horizon_s"] = 0.125
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    lab.start(
        "reach_node",
        arguments=["-r", "__ns:=/left", "--params-file", str(tmp_path / "mine.yaml")],
        bundle=make_bundle(),
    )
    request = GetParameters.Request(names=["horizon_s"])
    assert lab.call(GetParameters, "left/reach_node/get_parameters", request).values[0].double_value == 0.125


def test_a_parameter_file_for_another_node_is_named(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("/reach: {ros__parameters: {speed_scale: 0.2}}")
    process = lab.start("reach_node", arguments=["--params-file", str(tmp_path / "mine.yaml")])
    assert lab.state == "unconfigured"
    assert "mine.yaml: expected parameters for /reach_node, e.g. under /**/reach_node, got ['/reach']" in process.text


def test_the_translation_is_published_with_the_cameras_header(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle())
    translations: list[Image] = []
    lab.listen(Image, "reach_node/translated_image", translations.append)
    lab.feed_joint_states()
    sent: list[Image] = []

    def image() -> Image:
        sent.append(lab.image(value=100))
        return sent[-1]

    lab.feed(lab.images, image, rate_hz=20)
    wait_until(lambda: len(translations) > 2, "translated images")
    image_of = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in sent}
    for message in translations:
        assert (message.header.stamp.sec, message.header.stamp.nanosec) in image_of
        assert message.header.frame_id == "lens"
        assert message.encoding == "rgb8"
        np.testing.assert_array_equal(np.frombuffer(message.data, np.uint8), 155)
