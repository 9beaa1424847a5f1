"""The faults: how each begins and ends, and how `reach_node` should react."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from fault_bench import FaultBench, Setup
from fault_injector import RELAYED, Change, Injector, Message, same, shifted
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, JointState

from taskgan_ros.control.command_interfaces import JOINT_JOG, JOINT_TRAJECTORY, POSITION_GROUP, VELOCITY_GROUP
from taskgan_ros.nodes import topics
from taskgan_ros.policy.bundle import FINITE, IMAGE, POLICY, TRANSLATOR, load_bundle, write_bundle

STOPS, STOPS_HARD, GOES_ON = "stops", "stops, abruptly", "goes on"  # what the arm shall do
DRIFTS = "keeps its velocity"  # what it will do
ITSELF, PERSON = "by itself", "by a person"  # what lets it resume
TIMEOUT_S = 0.25  # image_timeout_s and joint_state_timeout_s
WATCHDOG_S = 0.02
_HEARD_S = 0.01  # for the cause to get to the node, and its stop back here

_JUMP_S, _LATE_S = 10.0, 2.0
_SECOND_POSE_RAD, _SHIFT_RAD = 0.5, 0.3
_BETWEEN_S = 0.001  # a second arm has stamps of its own


@dataclass(frozen=True)
class Fault:
    """What breaks.

    Attributes:
        name: of it, for people.
        inject: begins it on entry and ends it on exit.
        says: what the node should report in its state or its diagnostics, and in its log; "" for nothing.
        expected: what the arm should do.
        recovers: what lets it resume.
        limit_s: from the cause to the stop that is sent; None where nothing tells the node, or it cannot send one.
        lasts_s: how long.
        setup: how the node runs.
        takes_arm: whether the arm's position is unknown meanwhile; it comes back elsewhere.
    """

    name: str
    inject: Callable[[FaultBench], AbstractContextManager[None]]
    says: str = ""
    expected: str = STOPS
    recovers: str = ITSELF
    limit_s: float | None = TIMEOUT_S + WATCHDOG_S + _HEARD_S
    lasts_s: float = 1.5
    setup: Setup = field(default_factory=lambda: Setup("reach_target_wood"))
    takes_arm: bool = False


# What an arm does by itself once nothing comes: a position group rests where it was sent last, Servo has a timeout, a
# velocity group holds the last velocity, which the docs warn of, and trajectories end with a stop.
_LEFT_ALONE = {POSITION_GROUP: STOPS_HARD, VELOCITY_GROUP: DRIFTS, JOINT_JOG: STOPS_HARD}
_MUTE = ("reach_node stalls for 2 s", "reach_node is killed, starts again")


def make_faults(folder: Path, bundle: str, command_interface: str = JOINT_TRAJECTORY) -> list[Fault]:
    """Return all faults; `folder` gets a bundle that can give NaN, made of `bundle`."""
    alone = _LEFT_ALONE.get(command_interface, STOPS)
    return [
        dataclasses.replace(fault, expected=alone) if fault.name in _MUTE else fault
        for fault in _all_faults(folder, bundle)
    ]


def _all_faults(folder: Path, bundle: str) -> list[Fault]:
    plain, timed = Setup(bundle), Setup(bundle, use_sim_time=True)
    blinded_setup = Setup(str(write_blinded_bundle(folder / "blinded", bundle)))
    images, states, unlimited = "no images", "no joint states", None
    far = "expected a stamp within"

    def on_images(name: str, make: Callable[[Injector], Change], says: str, limit_s: float | None) -> Fault:
        return Fault(
            name, lambda bench: changed_images(bench, make(bench.injector)), says, limit_s=limit_s, setup=plain
        )

    def on_states(name: str, make: Callable[[Injector], Change], says: str, expected: str = STOPS) -> Fault:
        return Fault(name, lambda bench: changed_joint_states(bench, make(bench.injector)), says, expected, setup=plain)

    limit_s = TIMEOUT_S + WATCHDOG_S + _HEARD_S
    return [
        on_images("camera stops", lambda _: nothing, images, limit_s),
        on_images(
            "camera freezes, new stamps",
            lambda injector: frozen(injector.past_images[-1][1], new_stamps=True),
            "in every pixel",
            unlimited,  # it shows once the arm has moved
        ),
        on_images(
            "camera freezes, old stamps",
            lambda injector: frozen(injector.past_images[-1][1]),
            "expected a new stamp",
            limit_s,
        ),
        on_images("camera's stamps jump 10 s back", lambda _: stamped(-_JUMP_S), far, limit_s),
        on_images("camera's stamps jump 10 s forth", lambda _: stamped(_JUMP_S), far, limit_s),
        on_images("images are 2 s old", late, far, limit_s),
        on_states("joint states stop", lambda _: nothing, states),
        on_states("joint states lose a joint", lambda _: without_a_joint, "missing ['m1n6s200_joint_2']"),
        on_states("joint states in another order", lambda _: reordered, expected=GOES_ON, says=""),
        on_states(
            "joint states repeat the last",
            lambda injector: frozen(injector.last_joint_state),
            "expected a new stamp",
        ),
        on_states("joint states are NaN", lambda _: not_a_number, "expected finite"),
        Fault(
            "joint states shift by 0.3 rad",
            lambda bench: changed_joint_states(bench, displaced),
            "expected joint states to continue the last",
            recovers=PERSON,
            setup=plain,
        ),
        Fault(
            "joint states of a second arm between",
            second_arm,
            "expected joint states to continue the last",
            recovers=PERSON,
            setup=plain,
        ),
        Fault("discovery loses both publishers", lost_publishers, "no images", setup=plain),
        Fault("a second publisher of commands", intruder, "/intruder", GOES_ON, lasts_s=2.5, setup=plain),
        Fault("reach_node stalls for 2 s", stalled, expected=STOPS, limit_s=None, lasts_s=2.0, setup=plain),
        Fault("reach_node is killed, starts again", killed_reach, limit_s=None, setup=plain),
        Fault("sim_node is killed, starts again", killed_sim, "no joint states", setup=plain, takes_arm=True),
        Fault("model returns NaN", black_images, "not finite", recovers=PERSON, setup=blinded_setup),
        Fault("/clock jumps 10 s back", lambda bench: jumped_clock(bench, -_JUMP_S, 0), far, setup=timed),
        Fault("/clock jumps 10 s forth", lambda bench: jumped_clock(bench, _JUMP_S, 0), far, setup=timed),
        Fault("/clock stands still", standing_clock, far, limit_s=None, lasts_s=2.0, setup=timed),
        Fault(
            "/clock and all stamps jump 10 s back",
            lambda bench: jumped_clock(bench, -_JUMP_S, -_JUMP_S),
            expected=GOES_ON,
            setup=timed,
        ),
    ]


# What is relayed instead.


def nothing(_message: Message) -> None:
    """Relay nothing."""


def frozen(last: Message, new_stamps: bool = False) -> Change:
    """Relay the last message before the fault again and again."""

    def change(message: Message) -> Message:
        if not new_stamps:
            return last
        again = copy.copy(last)
        again.header = message.header
        return again

    return change


def stamped(ahead_s: float) -> Change:
    """Move the stamps."""
    return lambda message: shifted(message, ahead_s)


def late(injector: Injector) -> Change:
    """Relay what the camera saw `_LATE_S` ago, with its stamp."""

    def change(_message: Image) -> Image | None:
        due_s = time.monotonic() - _LATE_S
        return next((image for time_s, image in reversed(injector.past_images) if time_s <= due_s), None)

    return change


def black(message: Image) -> Image:
    """Cover the lens."""
    covered = copy.copy(message)
    covered.data = array("B", bytes(len(message.data)))
    return covered


def without_a_joint(message: JointState) -> JointState:
    """Leave out the second joint."""
    return chosen(message, [k for k in range(len(message.name)) if k != 1])


def reordered(message: JointState) -> JointState:
    """Name the joints in reverse order."""
    return chosen(message, list(reversed(range(len(message.name)))))


def chosen(message: JointState, places: list[int]) -> JointState:
    """Return some of the joints, in this order."""
    names, positions = [message.name[k] for k in places], array("d", [message.position[k] for k in places])
    return JointState(header=message.header, name=names, position=positions)


def not_a_number(message: JointState) -> JointState:
    """Give NaN for the first joint."""
    return JointState(header=message.header, name=message.name, position=array("d", [math.nan, *message.position[1:]]))


def displaced(message: JointState, by_rad: float = _SHIFT_RAD) -> JointState:
    """Move all joints' zeros."""
    moved = array("d", [angle + by_rad for angle in message.position])
    return JointState(header=message.header, name=message.name, position=moved)


# How a fault begins and ends.


@contextmanager
def changed_images(bench: FaultBench, change: Change) -> Iterator[None]:
    """Spoil the images."""
    bench.injector.change_image = change
    yield
    bench.injector.change_image = same


@contextmanager
def changed_joint_states(bench: FaultBench, change: Change) -> Iterator[None]:
    """Spoil the joint states."""
    bench.injector.change_joint_state = change
    yield
    bench.injector.change_joint_state = same


def black_images(bench: FaultBench) -> AbstractContextManager[None]:
    """Cover the lens, which the blinded bundle answers with NaN."""
    return changed_images(bench, black)


@contextmanager
def second_arm(bench: FaultBench) -> Iterator[None]:
    """Let another node publish another pose on the same topic, in turn with the good ones."""
    node = bench.injector.intruder()
    publisher = node.create_publisher(JointState, f"{RELAYED}/{topics.JOINT_STATES}", 10)

    def publish_too(message: JointState) -> JointState:
        publisher.publish(displaced(shifted(message, _BETWEEN_S), _SECOND_POSE_RAD))
        return message

    with changed_joint_states(bench, publish_too):
        yield
    bench.pause(0.1)  # the last callback may still publish
    node.destroy_node()


@contextmanager
def lost_publishers(bench: FaultBench) -> Iterator[None]:
    """Take the camera's and the arm's publishers out of the graph, and announce new ones."""
    bench.injector.vanish()
    yield
    bench.injector.open()


@contextmanager
def intruder(bench: FaultBench) -> Iterator[None]:
    """Let another node announce that it publishes commands."""
    node = bench.injector.intruder()
    injector = bench.injector
    node.create_publisher(injector.command_kind, f"{RELAYED}/{injector.command_topic}", QoSProfile(depth=1))
    yield
    node.destroy_node()


@contextmanager
def stalled(bench: FaultBench) -> Iterator[None]:
    """Stop the process of `reach_node`."""
    bench.stall_reach(True)
    yield
    bench.stall_reach(False)


@contextmanager
def killed_reach(bench: FaultBench) -> Iterator[None]:
    """Kill `reach_node`; bring it up again as the launch file does."""
    bench.kill_reach()
    yield
    bench.start_reach()
    bench.change("activate")


@contextmanager
def killed_sim(bench: FaultBench) -> Iterator[None]:
    """Kill the cell; it comes back with the arm at the start of the next episode."""
    bench.kill_sim()
    yield
    bench.start_sim()


@contextmanager
def jumped_clock(bench: FaultBench, clock_s: float, stamps_s: float) -> Iterator[None]:
    """Let /clock jump, and the stamps."""
    bench.injector.clock_ahead_s, bench.injector.stamps_ahead_s = clock_s, stamps_s
    yield
    bench.injector.clock_ahead_s = bench.injector.stamps_ahead_s = 0.0


@contextmanager
def standing_clock(bench: FaultBench) -> Iterator[None]:
    """Let /clock stand still while the robot continues."""
    bench.injector.clock_runs = False
    yield
    bench.injector.clock_runs = True


def write_blinded_bundle(out: Path, bundle: str) -> Path:
    """Write a bundle whose translator says of a black image that it is not finite, so that its command is NaN."""
    shipped = load_bundle(bundle)
    files = {name: (shipped.path / name).read_bytes() for name in shipped.card.files if name != POLICY}
    files[TRANSLATOR] = blinded(files[TRANSLATOR])
    return write_bundle(out, shipped.card, files, "# NaN on a black image\n").path


def blinded(translator: bytes) -> bytes:
    """Return the graph with its output `finite` false for images whose maximum is 0."""
    model = onnx.load_from_string(translator)
    graph, raw = model.graph, "finite_before"
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [raw if name == FINITE else name for name in names]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 2, 3]), "image_axes"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.float32), "black"))
    make = onnx.helper.make_node
    graph.node.append(make("Cast", [IMAGE], ["levels"], to=onnx.TensorProto.FLOAT))
    graph.node.append(make("ReduceMax", ["levels", "image_axes"], ["brightest"], keepdims=0))
    graph.node.append(make("Greater", ["brightest", "black"], ["is_lit"]))
    graph.node.append(make("And", [raw, "is_lit"], [FINITE]))
    return bytes(model.SerializeToString())
