"""A clock of a simulation or a bag: an image's age is judged by it, and whatever it does, the node goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header

if TYPE_CHECKING:
    from test.ros.conftest import Lab

Wait = Callable[..., None]

START_S = 100.0  # far from this computer's own clock


class SimClock:
    """A /clock that a test may set.

    Attributes:
        ahead_s: s on this clock, less the camera's; a test may change it.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab, self._started_s, self.ahead_s = lab, time.monotonic(), 0.0
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        lab.feed(lab.node.create_publisher(Clock, "/clock", best_effort), self._say, rate_hz=100)

    def start_over(self) -> None:
        self._started_s = time.monotonic()

    def _now_s(self) -> float:
        return START_S + time.monotonic() - self._started_s

    def _say(self) -> Clock:
        return Clock(clock=Time(nanoseconds=int(1e9 * (self._now_s() + self.ahead_s))).to_msg())

    def image(self) -> Image:
        """Return an image that the camera takes now."""
        return self._lab.image(header=self._header())

    def joint_state(self) -> JointState:
        """Return a joint state of an arm that follows this clock."""
        message = self._lab.joint_state()
        message.header = self._header()
        return message

    def _header(self) -> Header:
        return Header(stamp=Time(nanoseconds=int(1e9 * self._now_s())).to_msg())


@pytest.fixture
def clock(lab: Lab) -> SimClock:
    return SimClock(lab)


def old_images(lab: Lab) -> int:
    return int(lab.diagnostics().get("old_images", 0))


def test_an_images_age_is_judged_by_the_simulations_clock(
    lab: Lab, clock: SimClock, make_bundle: Callable[..., Path], wait_until: Wait
) -> None:
    process = lab.start_reach(make_bundle(), use_sim_time=True)
    lab.feed_joint_states()
    end = lab.feed_images()  # by this computer's clock: decades in the future
    wait_until(lambda: old_images(lab) > 2, "refused images")
    assert "s in the future" in process.text
    assert not lab.trajectories
    end()
    lab.feed(lab.images, clock.image, rate_hz=20)
    lab.until_commanded()
    wait_until(lambda: str(lab.diagnostics().get("message")).startswith("running"), "diagnostics that say so")
    assert "on /clock" not in process.text
    assert abs(float(lab.diagnostics()["latency_p50_ms"])) < 500  # by this clock too, which ticks only


def test_without_a_clock_nothing_moves(lab: Lab, make_bundle: Callable[..., Path], wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle(), use_sim_time=True)
    cell = lab.start("sim_node", domain="source", use_sim_time=True, arguments=["-r", "__ns:=/elsewhere"])
    lab.feed_joint_states()
    lab.feed_images()
    wait_until(lambda: old_images(lab) > 2, "refused images")
    assert not lab.trajectories
    wait_until(lambda: "; use_sim_time without /clock" in str(lab.diagnostics()["message"]), "the reason")
    reason = "use_sim_time: expected the time on /clock, but nobody publishes it"
    assert reason in process.text
    wait_until(lambda: reason in cell.text, "the reason in the cell's log")


@pytest.mark.parametrize("jumps_s", [(1000.0, -50.0, 0.0), (-50.0, 1000.0, -99.9, 0.0)])
def test_while_the_clock_is_elsewhere_the_arm_is_held_and_then_it_goes_on(
    lab: Lab, clock: SimClock, make_bundle: Callable[..., Path], wait_until: Wait, jumps_s: tuple[float, ...]
) -> None:
    process = lab.start_reach(make_bundle(), use_sim_time=True)
    lab.feed_joint_states()
    lab.feed(lab.images, clock.image, rate_hz=20)
    lab.until_commanded()
    for jump_s in jumps_s:
        refused = old_images(lab)
        clock.ahead_s = jump_s
        if not jump_s:
            break
        lab.until_held()
        count = len(lab.trajectories)
        wait_until(lambda refused=refused: old_images(lab) > refused + 5, "refused images")
        assert len(lab.trajectories) == count
    lab.until_commanded()
    wait_until(lambda: str(lab.diagnostics().get("message")).startswith("running"), "diagnostics that say so")
    assert "Traceback" not in process.text


def test_a_clock_that_starts_over_with_its_camera_does_not_stop_it(
    lab: Lab, clock: SimClock, make_bundle: Callable[..., Path]
) -> None:
    process = lab.start_reach(make_bundle(), use_sim_time=True)
    lab.feed_joint_states()
    lab.feed(lab.images, clock.image, rate_hz=20)
    for _ in range(3):
        lab.until_commanded()
        clock.start_over()
    lab.until_commanded()
    assert "Traceback" not in process.text


def test_no_trajectory_starts_by_a_clock_that_jumped_after_the_last_joint_state(
    lab: Lab, clock: SimClock, make_bundle: Callable[..., Path], wait_until: Wait
) -> None:
    def stamps_s() -> list[float]:
        return [message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec for _, message in lab.trajectories]

    lab.start_reach(make_bundle(), use_sim_time=True, joint_state_timeout_s=10.0, image_age_s=100.0)
    end = lab.feed(lab.joint_states, clock.joint_state, rate_hz=20)
    lab.feed(lab.images, clock.image, rate_hz=20)
    wait_until(lambda: any(stamps_s()), "stamped trajectories")
    end()
    time.sleep(0.2)  # for those on the way
    clock.ahead_s = -50.0
    time.sleep(0.2)
    sent = len(lab.trajectories)
    wait_until(lambda: len(lab.trajectories) > sent + 3, "more of them")
    assert not any(stamps_s()[sent:])
