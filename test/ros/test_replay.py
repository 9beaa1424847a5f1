"""What a replay says that the node would have sent is what the node sends."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.control.states import Source, State
from taskgan_ros.control.trajectory import JointTrajectory as Trajectory
from taskgan_ros.core.parameters import from_values
from taskgan_ros.nodes.image_conversion import raw_image
from taskgan_ros.nodes.messages import seconds, time_message
from taskgan_ros.reach.parameters import ReachParameters
from taskgan_ros.reach.pipeline import load_pipeline
from taskgan_ros.recordings.replay_run import ImageMessage, JointStateMessage, Message, Replay, Sent

if TYPE_CHECKING:
    from test.ros.conftest import Heard, Lab

GOOD, STRANGE, NOTHING = 100, 170, 0  # brightness: the tiny guard's limit is 150
PHASES = ((NOTHING, 1.2), (GOOD, 1.5), (STRANGE, 0.7), (GOOD, 1.2), (NOTHING, 1.4), (GOOD, 1.2))  # for so many s
PERIOD_S = 0.01
IMAGE_PERIODS = 14  # even, so that joint states come between; longer than a busy machine takes for a command
AGREEMENT = 0.75  # of the trajectories; nobody knows when the node's threads received each joint state
PARAMETERS = {
    "speed_scale": 0.1,  # the guard would object to an arm that leaves what the images show
    **{"image_timeout_s": 0.6, "joint_state_timeout_s": 3.0, "command_timeout_s": 3.0},  # on a busy machine, too
}


def test_the_same_messages_give_the_same_commands(
    lab: Lab, heard: Heard, make_bundle: Callable[..., Path], wait_until: Callable[..., None]
) -> None:
    bundle = make_bundle(guard=True)
    lab.start_reach(bundle, **PARAMETERS)
    wait_until(lambda: lab.joint_states.get_subscription_count() > 0, "the subscription of joint states")
    agreement, holds = compare(lab, heard, bundle)
    for _ in range(2):  # a machine that stalls for a moment delays messages, and the replay does not know which
        if agreement > AGREEMENT:
            break
        assert lab.change("deactivate")
        lab.trajectories.clear()
        heard.all.clear()
        assert lab.change("activate")
        agreement, holds = compare(lab, heard, bundle)
    assert agreement > AGREEMENT
    assert {Source.GUARD, Source.IMAGES} <= holds


def compare(lab: Lab, heard: Heard, bundle: Path) -> tuple[float, set[Source]]:
    """Return in what share of the trajectories node and replay agree, and what held the arm in the replay."""
    messages = play(lab)
    time.sleep(0.3)
    sent = [message for _, message in lab.trajectories]
    values = {"bundle": str(bundle), **PARAMETERS}
    parameters = from_values(ReachParameters, values, "the test")
    pipeline = load_pipeline(parameters, is_held=False, warn=pytest.fail)
    log = Replay(pipeline, inference_s=0.02).run(decided(messages, decisions_s(heard.all, sent)))
    assert len(sent) > 5
    first_s = messages[0].stamp_s
    agree: list[bool] = []
    for message in sent:
        late_s = [seconds(message.header.stamp) - first_s - each.time_s for each in log.sent]
        nearest = int(np.argmin(np.abs(late_s)))
        agree.append(is_same(log.sent[nearest], message, late_s[nearest]))
    return float(np.mean(agree)), {change.blocked_by[0] for change in log.changes if change.state is State.HELD}


def play(lab: Lab) -> list[Message]:
    """Publish joint states of an arm that follows what it is sent, and images now and then; return all of it."""
    messages: list[Message] = []
    start_s = time.monotonic()
    for k in range(round(sum(lasts_s for _, lasts_s in PHASES) / PERIOD_S)):
        time.sleep(max(start_s + k * PERIOD_S - time.monotonic(), 0.0))
        stamp_s = round(time.time(), 6)
        if k % 2 == 0:
            joint_state: JointState = lab.joint_state()
            joint_state.header.stamp = time_message(stamp_s)
            here = positions_of_arm(lab, stamp_s)
            joint_state.position = array("d", here)
            lab.joint_states.publish(joint_state)
            messages.append(JointStateMessage(stamp_s, here))
        elif k % IMAGE_PERIODS == 1 and (value := brightness(k * PERIOD_S)):
            image: Image = lab.image(value)
            image.header.stamp = time_message(stamp_s)
            image.data[0] = k % 200  # the same again would be a frozen camera
            lab.images.publish(image)
            messages.append(ImageMessage(stamp_s, lambda image=image: raw_image(image)))  # type: ignore[misc]
    return messages


def positions_of_arm(lab: Lab, time_s: float) -> np.ndarray:
    if not lab.trajectories:
        return np.array(lab.ready)
    message = lab.trajectories[-1][1]
    return positions(read(message), np.array([time_s - seconds(message.header.stamp)]))[0]


def brightness(time_s: float) -> int:
    ends_s = np.cumsum([lasts_s for _, lasts_s in PHASES])
    return PHASES[int(np.searchsorted(ends_s, time_s))][0]


def decided(messages: list[Message], decided_s: dict[float, float]) -> list[Message]:
    """Leave out the images that the node never took, and let others' commands be made when the node made them."""
    timed: list[Message] = []
    for message in messages:
        if not isinstance(message, ImageMessage):
            timed.append(message)
        elif (stamp_s := round(message.stamp_s, 5)) in decided_s:
            timed.append(ImageMessage(message.stamp_s, message.read, decided_s[stamp_s]))
    return timed


def decisions_s(statuses: list[dict[str, Any]], heard: list[JointTrajectory]) -> dict[float, float]:
    """Return when each was decided, by the image's stamp to 10 us: when what it led to was sent, if any."""
    sent_s = np.array([seconds(message.header.stamp) for message in heard])
    told_s = {round(float(each["image_stamp"]), 5): each["stamp_s"] for each in statuses if each["decision"]}
    return {
        image_s: max((float(each) for each in sent_s[(sent_s > image_s) & (sent_s <= end_s)]), default=end_s)
        for image_s, end_s in told_s.items()
    }


def is_same(sent: Sent, message: JointTrajectory, late_s: float) -> bool:
    """Compare where both have the arm, on one clock; a stop by a timeout begins when that was noticed."""
    times_s = np.linspace(0.05, 0.4, 30)
    ours, theirs = positions(sent.trajectory, times_s + late_s), positions(read(message), times_s)
    return abs(late_s) < 0.3 and np.allclose(ours, theirs, rtol=0.0, atol=2e-4 + 0.1 * abs(late_s))


def read(message: JointTrajectory) -> Trajectory:
    ends_s = np.array([point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec for point in message.points])
    return Trajectory(tuple(message.joint_names), np.array([point.positions for point in message.points]), ends_s)


def positions(trajectory: Trajectory, times_s: np.ndarray) -> np.ndarray:
    columns = [np.interp(times_s, trajectory.time_from_start_s, column) for column in trajectory.positions.T]
    return np.stack(columns, axis=1)
