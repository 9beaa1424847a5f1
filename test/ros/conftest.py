"""Real nodes as real processes on real DDS: what starts them, feeds them, listens to them and ends them."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is needed: an installation, or the `ros-wheels` extra")

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from taskgan_ros.core.config import build
from taskgan_ros.demo import isolation
from taskgan_ros.demo.isolation import ChildProcess, ChildProcesses, ros_arguments
from taskgan_ros.demo.peer import Peer
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.messages import seconds
from taskgan_ros.nodes.sim_node import read_trajectory
from taskgan_ros.policy.bundle import GRAPHS, GUARD, POLICY, TASK_MODEL, TRANSLATOR, BundleCard, write_bundle
from taskgan_ros.robot.arm import load_arm
from taskgan_ros.sim.controller import JointTrajectoryController

isolation.set_environment(isolation.loopback_environment())

ARM = load_arm("mico")
READY = [4.712, 4.09, 1.52, 3.1416, 5.65, 3.1416]  # rad, within all limits
VELOCITY = (0.3, -0.2, 0.1)  # rad/s, what the tiny bundle commands on every image that is not black
SIZE = 16
PATIENCE_S = 30.0  # to wait for what comes within a second on an idle machine

# F inverts the colours. f_X commands VELOCITY on every image, but 0/0 on a black one, and fails on one that is nowhere
# darker than 200. The matrix products give the same result whatever their number, and time to overtake.
GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
tiny (uint8[N, 16, 16, 3] image) => ({outputs}) {{
    pixels = Cast<to = 1>(image)
    white = Constant<value = float {{255.0}}>()
    inverted = Sub(white, pixels)
    translated = Cast<to = 2>(inverted)
    axes = Constant<value = int64[2] {{1, 2}}>()
    mean = ReduceMean<keepdims = 0>(pixels, axes)
    one = Div(mean, mean)
    all = Constant<value = int64[2] {{0, 1}}>()
    scalar = ReduceMean<keepdims = 0>(one, all)
    size = Constant<value = float {{{n}.0}}>()
    share = Div(scalar, size)
    shape = Constant<value = int64[2] {{{n}, {n}}}>()
    work0 = Expand(share, shape)
    {work}
    sum = ReduceSum<keepdims = 0>(work{k}, all)
    factor = Div(sum, size)
    velocity = Constant<value = float[1, 3] {{{velocity}}}>()
    fast = Mul(one, velocity)
    darkest = ReduceMin<keepdims = 0>(pixels)
    index = Cast<to = 7>(darkest)
    length = Constant<value = int64[1] {{200}}>()
    zeros = ConstantOfShape(length)
    zero = Gather(zeros, index)
    moving = Mul(fast, factor)
    command = Add(moving, zero)
}}
"""


# The camera's score is the image's mean over 120, the pose's how far the first driven joint is from where it stands at
# first, in units of 0.5 rad.
GUARD_GRAPH = f"""
<ir_version: 8, opset_import: ["" : 18]>
guard (uint8[N, 16, 16, 3] image, uint8[N, 16, 16, 3] translated, float[N, 3] joint_pos) => (float[N, 2] scores) {{
    pixels = Cast<to = 1>(image)
    axes = Constant<value = int64[3] {{1, 2, 3}}>()
    mean = ReduceMean<keepdims = 0>(pixels, axes)
    brightest = Constant<value = float {{120.0}}>()
    camera = Div(mean, brightest)
    index = Constant<value = int64 {{0}}>()
    first = Gather<axis = 1>(joint_pos, index)
    ready = Constant<value = float {{{READY[0]}}}>()
    way = Sub(first, ready)
    size = Abs(way)
    half = Constant<value = float {{0.5}}>()
    pose = Div(size, half)
    last = Constant<value = int64[1] {{1}}>()
    camera_column = Unsqueeze(camera, last)
    pose_column = Unsqueeze(pose, last)
    scores = Concat<axis = 1>(camera_column, pose_column)
}}
"""
GUARD_CARD = {"scores": ["camera", "pose"], "quantile": 0.999, "images": 9, "held_out": True, "quantiles": {}}


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a tiny bundle; `products` of 1000x1000 matrices make it slow."""
    onnx = pytest.importorskip("onnx", reason="the `training` extra is needed to make ONNX graphs")
    from taskgan_ros.training.finite_check import add_finite_check

    def graph(outputs: str, products: int, velocity: Sequence[float]) -> bytes:
        n = 1000
        work = [f"work{k + 1} = MatMul(work{k}, work0)" for k in range(products)]
        numbers = ", ".join(map(str, velocity))
        text = GRAPH.format(outputs=outputs, n=n, k=products, velocity=numbers, work="\n    ".join(work))
        data: bytes = add_finite_check(onnx.parser.parse_model(text)).SerializeToString()
        return data

    def make(
        name: str = "tiny", products: int = 0, velocity: Sequence[float] = VELOCITY, guard: bool = False,
        guard_joint: int = 0,
    ) -> Path:  # fmt: skip
        command, translated = "float[N, 3] command", "uint8[N, 16, 16, 3] translated"
        outputs = {TRANSLATOR: translated, TASK_MODEL: command, POLICY: f"{command}, {translated}"}
        card = {
            "name": name, "task": "joint_velocities", "arm": "mico", "scene": "reach", "target_domain": "source",
            "joint_names": ARM.joint_names[:3], "units": "rad/s", "label_scale": [1, 1, 1], "opset": 18,
            "image": {"height": SIZE, "width": SIZE}, "lambda_task": 1, "recipe": "none", "data": {}, "seeds": {},
            "taskgan_version": "0",
        }  # fmt: skip
        files = {file: graph(outputs[file], products, velocity) for file in GRAPHS}
        if guard:
            card["guard"] = GUARD_CARD
            text = GUARD_GRAPH.replace("int64 {0}", f"int64 {{{guard_joint}}}")
            files[GUARD] = add_finite_check(onnx.parser.parse_model(text)).SerializeToString()
        return write_bundle(tmp_path / name, build(BundleCard, card, origin="test"), files, "# Tiny\n").path

    return make


class Lab:
    """One ROS domain: nodes under test, and a node of the test's own that feeds and hears them.

    Attributes:
        trajectories: every trajectory message heard, with the time it was heard at.
        ready: rad, what `feed_joint_states` says; a test may change it.
        velocity: rad/s, what the tiny bundle commands on every image that is not black.
    """

    def __init__(self, domain_id: int, processes: ChildProcesses) -> None:
        self.domain_id, self._processes = domain_id, processes
        self._starts, self._feeds = itertools.count(), []  # type: ignore[var-annotated]
        self._peer = Peer(domain_id, "test")
        self.node, self.listen, self.call = self._peer.node, self._peer.listen, self._peer.call
        self.ready, self.velocity = list(READY), VELOCITY
        self.trajectories: list[tuple[float, JointTrajectory]] = []
        self.images = self.node.create_publisher(Image, topics.IMAGE, 1)
        self.joint_states = self.node.create_publisher(JointState, topics.JOINT_STATES, 10)
        self.listen(JointTrajectory, topics.TRAJECTORY, self._note_trajectory)
        self._diagnostics: dict[str, Any] = {}
        self.listen(DiagnosticArray, topics.DIAGNOSTICS, self._note_diagnostics)

    def start(
        self, module: str, arguments: Sequence[str] = (), program: Sequence[str] = (), **parameters: Any
    ) -> ChildProcess:
        """Start a node, or a `program` for Python that is one."""
        self._peer.forget()
        command = [sys.executable, *(program or ["-m", f"taskgan_ros.nodes.{module}"])]
        name = f"{module}_{next(self._starts)}"
        return self._processes.start(name, [*command, *ros_arguments(parameters, *arguments)])

    def change(self, transition: str, node: str = "reach_node") -> bool:
        return self._peer.try_change(transition, node)

    @property
    def state(self) -> str:
        return str(self.call(GetState, "reach_node/get_state", GetState.Request()).current_state.label)

    def set_parameter(self, name: str, text: str) -> str:
        """Return why not, or nothing."""
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
        request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
        return str(self.call(SetParameters, "reach_node/set_parameters", request).results[0].reason)

    def start_reach(self, bundle: Path, **parameters: Any) -> ChildProcess:
        """Start `reach_node` and bring it to active; the lab's arm stands still, which is no fault unless asked for."""
        process = self.start("reach_node", bundle=bundle, **{"follow_tolerance_rad": 100.0, **parameters})
        assert self.change("configure"), process.text
        assert self.change("activate"), process.text
        topic = topics.COMPRESSED_IMAGE if parameters.get("image_transport") == "compressed" else topics.IMAGE
        until(lambda: self.node.count_subscribers(topic) > 0, "the subscription of images")
        return process

    def feed(self, publisher: Any, make: Callable[[], Any], rate_hz: float) -> Callable[[], None]:
        """Publish `make()` at `rate_hz` until the function that is returned is called."""
        stop = threading.Event()

        def publish() -> None:
            while not stop.wait(1 / rate_hz):
                publisher.publish(make())

        thread = threading.Thread(target=publish, daemon=True)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()

        self._feeds.append(end)
        return end

    def feed_images(self, rate_hz: float = 20.0, **fields: Any) -> Callable[[], None]:
        return self.feed(self.images, lambda: self.image(**fields), rate_hz)

    def feed_joint_states(self, rate_hz: float = 50.0) -> Callable[[], None]:
        return self.feed(self.joint_states, self.joint_state, rate_hz)

    def image(self, value: int = 100, **fields: Any) -> Image:
        message = Image(height=SIZE, width=SIZE, encoding="rgb8", step=3 * SIZE)
        message.header.stamp = self.node.get_clock().now().to_msg()
        message.header.frame_id = "lens"
        message.data = array("B", [value]) * (3 * SIZE * SIZE)
        for name, changed in fields.items():
            setattr(message, name, changed)
        return message

    def joint_state(self) -> JointState:
        message = JointState(name=list(ARM.joint_names), position=self.ready)
        message.header.stamp = self.node.get_clock().now().to_msg()
        return message

    def diagnostics(self, what: str = "reach") -> dict[str, Any]:
        """Return the newest status, its level and message among its values."""
        return dict(self._diagnostics.get(what, {}))

    def _note_trajectory(self, message: JointTrajectory) -> None:
        if message.header.frame_id != "test":  # what a test sends itself may break the rules
            self.trajectories.append((time.monotonic(), message))

    def _note_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            values |= {"level": int.from_bytes(status.level), "message": status.message}
            self._diagnostics[status.name.rsplit(" ", 1)[-1]] = values

    def until_commanded(self) -> None:
        count = len(self.trajectories)
        until(lambda: len(self.trajectories) > count + 2, "trajectories")

    def until_held(self) -> float:
        """Wait for a trajectory that stops the arm; return when it came."""
        until(lambda: self.trajectories and self._is_stop(self.trajectories[-1][1]), "a stop")
        return self.trajectories[-1][0]

    def _is_stop(self, message: JointTrajectory) -> bool:
        """Return whether the arm brakes at once, or stands: it keeps no speed for a while."""
        if message.points[0].velocities:
            speeds = np.abs([point.velocities for point in message.points]).max(axis=1)
            return bool(np.all(np.diff(speeds) <= 0))
        return bool(np.max(np.diff(ends_of(message)), initial=0.0) < 0.1)

    def close(self) -> None:
        for end in self._feeds:
            end()
        killed = self._processes.stop(PATIENCE_S)
        self._peer.close()
        assert not killed


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> None:
    isolation.wait_until(what, condition, patience_s)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with isolation.isolated(tmp_path) as (domain_id, processes):
        lab = Lab(domain_id, processes)
        yield lab
        lab.close()
    for _, message in lab.trajectories:  # whatever the test was about: all that was sent must be acceptable
        if not message.joint_names[0].startswith("panda"):  # whose limits are others
            check_rules(message)


class Heard:
    """All statuses, their level, message and stamp among their values."""

    def __init__(self, lab: Lab) -> None:
        self.all: list[dict[str, Any]] = []
        lab.listen(DiagnosticArray, "reach_node/status", self._note)

    def _note(self, message: DiagnosticArray) -> None:
        (status,) = message.status
        values = {pair.key: pair.value for pair in status.values}
        stamp_s, level = seconds(message.header.stamp), int.from_bytes(status.level)
        self.all.append(values | {"level": level, "message": status.message, "stamp_s": stamp_s})

    def of(self, decision: str) -> list[dict[str, Any]]:
        return [each for each in self.all if each["decision"] == decision]


@pytest.fixture
def heard(lab: Lab) -> Heard:
    return Heard(lab)


def ends_of(message: JointTrajectory) -> np.ndarray:
    """Return (P,) s: when each point is reached."""
    return np.array([point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec for point in message.points])


def speeds_of(message: JointTrajectory) -> np.ndarray:
    """Return (P, n) rad/s: how fast a controller goes from point to point, and then rest."""
    way = np.diff([point.positions for point in message.points], axis=0)
    return np.vstack([way / np.diff(ends_of(message))[:, None], np.zeros((1, way.shape[-1] if way.size else 6))])


def cruise_of(message: JointTrajectory) -> np.ndarray:
    """Return (n,) rad/s: the speed that it keeps, on its longest stretch."""
    return np.asarray(speeds_of(message)[int(np.argmax(np.diff(ends_of(message), append=ends_of(message)[-1])))])


def check_rules(message: JointTrajectory) -> None:
    """Check what the controller checks, and what it does not check and should not get."""
    assert message.points[0].time_from_start.sec + message.points[0].time_from_start.nanosec > 0
    positions = np.array([point.positions for point in message.points])
    assert np.all((ARM.lower <= positions) & (positions <= ARM.upper))
    # Speeds are those in the middle of a stretch; from where to the first point, only the node knows.
    lasts_s = np.diff(ends_of(message))[:, None]
    between_s = (lasts_s + np.vstack([lasts_s[1:], np.zeros((min(len(lasts_s), 1), 1))])) / 2
    changes = np.abs(np.diff(speeds_of(message), axis=0))
    assert np.all(changes <= ARM.max_acceleration * between_s * 1.01 + 1e-6)
    if message.points[0].velocities:
        check_kinova(message)
        return
    assert not any(point.velocities for point in message.points)
    start_s = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
    JointTrajectoryController(ARM.joint_names, READY).accept(read_trajectory(message), now_s=start_s)


def check_kinova(message: JointTrajectory) -> None:
    """Check what Kinova's driver needs: all joints in its order, velocities for each point, zeros at the end."""
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0)
    assert tuple(message.joint_names) == ARM.joint_names
    velocities = np.array([point.velocities for point in message.points])
    assert np.all(np.abs(velocities) <= ARM.max_velocity)
    assert not velocities[-1].any()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    return until
