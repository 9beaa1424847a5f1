"""What breaks while the arm moves: the node holds and says why, and goes on once it is mended."""

from __future__ import annotations

import itertools
import math
import re
import signal
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header

from taskgan_ros.robot.arm import load_arm

if TYPE_CHECKING:
    from test.ros.conftest import Heard, Lab

MakeBundle = Callable[..., Path]
Wait = Callable[..., None]

ARM = load_arm("mico")


def older(message: Any, by_s: int = 0, by_ns: int = 0) -> Any:
    """Return the message with an earlier stamp."""
    stamp = message.header.stamp
    seconds, nanoseconds = divmod((stamp.sec - by_s) * 10**9 + stamp.nanosec - by_ns, 10**9)
    message.header = Header(stamp=Time(sec=seconds, nanosec=nanoseconds))
    return message


def without_a_joint(message: JointState) -> JointState:
    return JointState(header=message.header, name=message.name[1:], position=message.position[1:])


def not_a_number(message: JointState) -> JointState:
    return JointState(header=message.header, name=message.name, position=array("d", [*message.position[:-1], math.nan]))


def renamed(message: JointState) -> JointState:
    names = [f"left_{name}" for name in message.name]
    return JointState(header=message.header, name=names, position=message.position)


def reordered(message: JointState) -> JointState:
    return JointState(header=message.header, name=message.name[::-1], position=message.position[::-1])


class Feed:
    """Publishes messages as `spoil` returns them, which a test may change at any time."""

    def __init__(self, lab: Lab, publisher: Any, make: Callable[[], Any], rate_hz: float) -> None:
        self.spoil: Callable[[Any], Any] = lambda message: message
        lab.feed(publisher, lambda: self.spoil(make()), rate_hz)

    def mend(self) -> None:
        self.spoil = lambda message: message


def feed(lab: Lab) -> tuple[Feed, Feed]:
    """Return the feeds of images and of joint states, once they have led to commands."""
    feeds = Feed(lab, lab.images, lab.image, 20), Feed(lab, lab.joint_states, lab.joint_state, 50)
    lab.until_commanded()
    return feeds


def said(lab: Lab) -> str:
    return str(lab.diagnostics().get("message"))


JOINT_STATES = {
    "missing ['m1n6s200_joint_1']": without_a_joint,
    "expected finite numbers": not_a_number,
    "expected one within 0.25 s, got one 2.": lambda message: older(message, by_s=2),
}


def test_holds_for_joint_states_that_may_not_be_used_and_goes_on_with_good_ones(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle())
    _, joint_states = feed(lab)
    for reason, spoil in JOINT_STATES.items():
        joint_states.spoil = spoil
        wait_until(lambda reason=reason: said(lab).startswith("held: no joint") and reason in said(lab), reason)
        lab.until_held()
        joint_states.mend()
        lab.until_commanded()


def test_the_order_of_joints_in_joint_states_does_not_matter(lab: Lab, make_bundle: MakeBundle) -> None:
    process = lab.start_reach(make_bundle())
    _, joint_states = feed(lab)
    joint_states.spoil = reordered
    lab.until_commanded()
    lab.until_commanded()
    message = lab.trajectories[-1][1]
    assert tuple(message.joint_names) == ARM.joint_names
    np.testing.assert_allclose(message.points[0].positions, lab.ready, atol=0.15)
    assert "held" not in process.text


@pytest.mark.parametrize("age_ns", [0, 100_000_000, 210_000_000])
def test_joint_states_that_come_late_move_the_arm_on_from_where_it_was_sent(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait, age_ns: int
) -> None:
    lab.start_reach(make_bundle(velocity=(0.1, 0.0, 0.0)))
    lab.feed(lab.joint_states, lambda: older(lab.joint_state(), by_ns=age_ns), rate_hz=50)
    lab.feed_images()
    wait_until(lambda: len(lab.trajectories) > 5, "commands")
    ends = [message.points[-1].positions[0] for _, message in lab.trajectories]
    assert np.all(np.diff(ends) > 0)
    is_stamped = age_ns == 0  # by a clock that may be another, nobody can say when a trajectory starts
    assert all(bool(message.header.stamp.sec) is is_stamped for _, message in lab.trajectories)


def test_joint_states_too_old_to_move_by_are_the_reason_why_the_arm_stands(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed(lab.joint_states, lambda: older(lab.joint_state(), by_ns=300_000_000), rate_hz=50)
    lab.feed_images()
    why = "expected one within 0.25 s, got one 0.3"
    wait_until(lambda: f"waiting: no joint states yet; the last was rejected: {why}" in said(lab), "the reason")
    assert lab.diagnostics()["level"] == 1
    bare = re.compile(r" \[[0-9.]+\] \[reach_node\]:")
    wait_until(lambda: f"[WARN] ignored a joint state: {why}" in bare.sub("", process.text), "the reason in the log")
    assert not lab.trajectories


def test_joint_states_under_other_names_are_named_at_once(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed_images()
    lab.feed(lab.joint_states, lambda: renamed(lab.joint_state()), rate_hz=50)
    names, others = list(ARM.joint_names), [f"left_{name}" for name in ARM.joint_names]
    wait_until(lambda: f"ignored a joint state: joint state: expected {names}, got {others}" in process.text, "names")


def test_a_grippers_joint_states_are_no_matter(lab: Lab, make_bundle: MakeBundle) -> None:
    process = lab.start_reach(make_bundle())
    lab.feed_images()
    stamps = itertools.count()

    def message() -> JointState:
        """Return one of the arm or of its gripper, in turns, two with each stamp."""
        state = lab.joint_state()
        if next(stamps) % 2:
            state.header.stamp = gripper.header.stamp
            return state
        gripper.header.stamp = state.header.stamp
        return gripper

    gripper = JointState(name=["finger", "", ""], position=[0.0, 0.0, 0.0])
    lab.feed(lab.joint_states, message, rate_hz=100)
    lab.until_commanded()
    assert "ignored" not in process.text


def test_where_clocks_differ_joint_states_are_taken_as_they_come(lab: Lab, make_bundle: MakeBundle) -> None:
    lab.start_reach(make_bundle(), image_age_s=0.0)
    _, joint_states = feed(lab)
    joint_states.spoil = lambda message: older(message, by_s=10)
    time.sleep(0.3)
    lab.until_commanded()


def test_holds_while_the_cameras_clock_is_wrong_and_goes_on_when_it_is_right(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    lab.start_reach(make_bundle())
    images, _ = feed(lab)
    for by_s in (10, -10):
        images.spoil = lambda message, by_s=by_s: older(message, by_s=by_s)  # type: ignore[misc]
        wait_until(lambda: "held: no images for" in said(lab) and "expected a stamp within" in said(lab), "the reason")
        lab.until_held()
        images.mend()
        lab.until_commanded()


def test_holds_when_the_camera_repeats_an_image(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.start_reach(make_bundle(), image_age_s=60.0)  # a stamp's age alone would not tell for long
    images, _ = feed(lab)
    frozen = lab.image()

    def repeat(_message: Image) -> Image:
        return frozen

    images.spoil = repeat
    wait_until(lambda: "image: expected a new stamp" in said(lab), "the reason")
    lab.until_held()
    images.mend()
    lab.until_commanded()


def test_an_image_older_than_the_last_is_none(
    lab: Lab, heard: Heard, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    process = lab.start_reach(make_bundle())
    images, _ = feed(lab)
    turn = itertools.cycle([0, 400_000_000])
    images.spoil = lambda message: older(message, by_ns=next(turn))
    wait_until(lambda: "s before the last: is there a second camera?" in process.text, "the reason")
    seen = len(heard.of("command"))
    wait_until(lambda: len(heard.of("command")) > seen + 10, "commands of the newer ones")
    assert max(float(each["latency_ms"]) for each in heard.of("command")[seen:]) < 400


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_goes_on_without_a_jump_after_the_process_was_killed_or_stood_still(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait, number: signal.Signals
) -> None:
    bundle = make_bundle(velocity=(0.6, 0.0, 0.0))
    process = lab.start_reach(bundle)
    feed(lab)
    process.send(number)
    time.sleep(1.0)
    count = len(lab.trajectories)
    if number == signal.SIGSTOP:
        process.send(signal.SIGCONT)
    else:
        lab.start("reach_node", bundle=bundle, follow_tolerance_rad=100.0)
        # The dead one's services are in the graph for a while: the new one must be there before it is asked.
        wait_until(lambda: said(lab) == "unconfigured", "the new process")
        assert lab.change("configure")
        assert lab.change("activate")
    wait_until(lambda: len(lab.trajectories) > count + 2, "commands")
    first = lab.trajectories[count][1]
    here = lab.ready[0] if number == signal.SIGKILL else first.points[-1].positions[0]
    assert abs(first.points[0].positions[0] - here) <= 1e-3
