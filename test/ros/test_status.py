"""What a bag of `~/status` says of a bad moment."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from std_msgs.msg import Float64

if TYPE_CHECKING:
    from test.ros.conftest import Heard, Lab

MakeBundle = Callable[..., Path]
Wait = Callable[..., None]


def test_each_command_is_told_with_its_image_and_what_was_sent(
    lab: Lab, heard: Heard, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle(guard=True))
    stamps: list[str] = []

    def image() -> Any:
        message = lab.image()
        stamps.append(f"{message.header.stamp.sec}.{message.header.stamp.nanosec:09d}")
        return message

    lab.feed_joint_states()
    lab.feed(lab.images, image, rate_hz=20)
    wait_until(lambda: len(heard.of("command")) > 8, "commands in the status")
    last = heard.of("command")[-1]
    assert last["image_stamp"] in stamps, "to the nanosecond"
    assert (last["level"], last["state"], last["reason"]) == (0, "running", "")
    assert last["message"].startswith("command sent, ")
    assert 0 < float(last["latency_ms"]) <= float(last["image_age_ms"])
    assert last["stamp_s"] >= float(last["image_stamp"])
    assert float(last["guard_score"]) <= float(last["guard_limit"])
    for name, velocity in zip(["m1n6s200_joint_1", "m1n6s200_joint_2"], lab.velocity, strict=False):
        assert float(last[f"policy_{name}"]) == pytest.approx(velocity, rel=0.01)
        assert float(last[f"velocity_{name}"]) == pytest.approx(velocity, rel=0.1)


def test_what_stops_the_arm_is_told_image_by_image(
    lab: Lab, heard: Heard, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle(guard=True))
    lab.feed_joint_states()
    stop = lab.feed_images()
    lab.until_commanded()
    stop()
    wait_until(lambda: any("held: no images for" in each["message"] for each in heard.of("")), "the change of state")
    assert heard.of("")[-1]["blocked_by"] == "images"
    stop = lab.feed_images(value=199)  # the guard's score is 199 / 120
    wait_until(lambda: heard.of("out of distribution"), "an objection")
    objected = heard.of("out of distribution")[-1]
    assert (objected["level"], objected["latency_ms"], objected["velocity_m1n6s200_joint_1"]) == (1, "", "")
    assert float(objected["guard_score"]) > float(objected["guard_limit"])
    assert objected["message"].startswith("no command: out-of-distribution image: ")
    stop()
    lab.feed_images(data=array("B", [1]))
    wait_until(lambda: heard.of("refused"), "a refusal")
    refused = heard.of("refused")[-1]
    assert refused["level"] == 1
    assert refused["message"].startswith("image refused: expected ")
    assert refused["image_stamp"]


def test_a_subscriber_of_a_deprecated_topic_is_warned_once(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle())
    lab.listen(Float64, "reach_node/latency", lambda message: None)
    lab.feed_joint_states()
    lab.feed_images()
    line = "/reach_node/latency: deprecated, and not in taskgan_ros 0.2; use /reach_node/status"
    wait_until(lambda: line in process.text, "the line")
    seen = str(lab.diagnostics().get("images"))
    wait_until(lambda: str(lab.diagnostics().get("images")) != seen, "another second")
    assert process.text.count("deprecated") == 1
