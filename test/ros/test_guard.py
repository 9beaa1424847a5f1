"""What a lab relies on where the camera shows what the bundle never saw: real node, real DDS."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from test.ros.conftest import Lab

MakeBundle = Callable[..., Path]
Wait = Callable[..., None]

UNLIKE = 180  # brightness above the limit of the tiny guard


def test_out_of_distribution_images_stop_the_arm_and_good_ones_let_it_resume(
    lab: Lab, make_bundle: MakeBundle, wait_until: Wait
) -> None:
    process = lab.start_reach(make_bundle(guard=True), guard_fault_s=0.0)
    lab.feed_joint_states()
    stop_good = lab.feed_images()
    lab.until_commanded()
    stop_good()
    stop_feed = lab.feed_images(value=UNLIKE)
    lab.until_held()
    wait_until(lambda: "out-of-distribution images in a row" in str(lab.diagnostics().get("message")), "the reason")
    values = lab.diagnostics()
    assert values["level"] == 1
    assert int(values["out_of_distribution_images"]) >= 3
    assert (values["guard"], float(values["guard_camera"])) == ("stop", 1.5)
    assert "its colours and brightness are not those of the target images (camera score 1.50" in process.text
    count = len(lab.trajectories)
    time.sleep(0.5)
    assert len(lab.trajectories) == count, "one stop, and no command of such an image"
    stop_feed()
    lab.feed_images()
    lab.until_commanded()


def test_one_of_them_among_good_ones_stops_nothing(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.start_reach(make_bundle(guard=True))
    lab.feed_joint_states()
    values = itertools.cycle([100, 100, 100, UNLIKE])
    lab.feed(lab.images, lambda: lab.image(value=next(values)), rate_hz=20)
    wait_until(
        lambda: int(lab.diagnostics().get("out_of_distribution_images", 0)) > 5, "their count in the diagnostics"
    )
    assert int(lab.diagnostics()["holds"]) == 0
    lab.until_commanded()


def test_many_in_a_row_need_a_person(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle(guard=True), guard_fault_s=0.5)
    lab.feed_joint_states()
    stop = lab.feed_images(value=UNLIKE)
    wait_until(lambda: lab.diagnostics().get("level") == 2, "an error in the diagnostics")
    assert "fault: " in process.text
    assert "out-of-distribution images in a row" in process.text
    stop()
    lab.feed_images()
    time.sleep(0.5)
    assert not lab.trajectories
    assert lab.change("deactivate")
    assert lab.change("activate")
    lab.until_commanded()


def test_an_arm_elsewhere_than_in_the_picture_is_stopped(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.start_reach(make_bundle(guard=True))
    lab.feed_joint_states()
    values = itertools.cycle(range(90, 100))
    lab.feed(lab.images, lambda: lab.image(value=next(values)), rate_hz=20)
    lab.until_commanded()
    for _ in range(80):  # no jump, which would be refused
        lab.ready[0] += 0.01
        time.sleep(0.02)
    lab.until_held()
    wait_until(lambda: "where the joint states say it is not" in str(lab.diagnostics().get("message")), "the reason")


def test_a_frozen_picture_while_the_arm_moves_stops_it(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    lab.start_reach(make_bundle(guard=True))
    lab.feed_joint_states()
    lab.feed_images()
    lab.until_commanded()
    for _ in range(10):
        lab.ready[1] += 0.01
        time.sleep(0.02)
    lab.until_held()
    wait_until(lambda: "in every pixel" in str(lab.diagnostics().get("message")), "the reason")


def test_where_it_only_warns_the_arm_goes_on(lab: Lab, make_bundle: MakeBundle, wait_until: Wait) -> None:
    process = lab.start_reach(make_bundle(guard=True), guard="warn")
    lab.feed_joint_states()
    lab.feed_images(value=UNLIKE)
    lab.until_commanded()
    wait_until(
        lambda: "out-of-distribution image" in str(lab.diagnostics().get("message")), "a warning in the diagnostics"
    )
    assert lab.diagnostics()["level"] == 1
    assert "out-of-distribution image: its colours" in process.text


def test_a_bundle_without_a_guard_is_named_and_works(lab: Lab, make_bundle: MakeBundle) -> None:
    process = lab.start_reach(make_bundle())
    assert "bundle tiny: expected a guard, got none" in process.text
    lab.feed_joint_states()
    lab.feed_images(value=UNLIKE)
    lab.until_commanded()


def test_a_guard_that_loads_and_does_not_run_is_refused_before_the_arm_moves(lab: Lab, make_bundle: MakeBundle) -> None:
    process = lab.start("reach_node", bundle=make_bundle(guard=True, guard_joint=99))
    assert not lab.change("configure")
    assert "cannot configure" in process.text
    assert "Gather" in process.text


def test_a_bundle_without_its_translator_has_no_guard_and_says_so(lab: Lab, make_bundle: MakeBundle) -> None:
    process = lab.start_reach(make_bundle(guard=True), translate=False)
    assert "guard: expected translate: true, got false" in process.text
    lab.feed_joint_states()
    lab.feed_images(value=UNLIKE)
    lab.until_commanded()
