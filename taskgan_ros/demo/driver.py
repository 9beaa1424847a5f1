"""The node of a reach session that calls the services of `sim_node` and `reach_node`, and listens to their topics."""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Final

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Float64
from std_srvs.srv import Trigger

from taskgan_ros.demo.isolation import SessionError
from taskgan_ros.demo.report import Episode, VideoFrame
from taskgan_ros.nodes import topics
from taskgan_ros.vision.images import read_image

SIM_NODE: Final = "sim_node"
REACH_NODE: Final = "reach_node"

# What each wait may take; on an idle machine a second or two for a start, and else far less.
_START_S = 90.0
_CONFIGURE_S = 90.0  # loads the models
_ANSWER_S = 20.0
_SILENCE_S = 10.0  # between two images

_TURN_S = 0.05
_FILM_PERIOD_S = 0.09  # every second image of a 20 Hz camera
_REMEMBERED = 40  # images that wait for their translation
_SAME_M = 1e-9


class Driver:
    """Brings the nodes up and runs episodes, one call after the other, in one thread.

    Attributes:
        reach_status: what `reach_node` last reported of itself, as `key: value`, its message under "message".
    """

    def __init__(self, domain_id: int, on_turn: Callable[[], None], on_wait: Callable[[str], None]) -> None:
        """Join the ROS domain.

        Args:
            domain_id: of the nodes.
            on_turn: is called many times a second, whatever happens; what it raises ends the wait.
            on_wait: is called with what is waited for.
        """
        self._on_turn, self._on_wait = on_turn, on_wait
        self._context = Context()
        rclpy.init(
            args=["--ros-args", "--disable-external-lib-logs"],  # which would go to ~/.ros
            context=self._context,
            domain_id=domain_id,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self._node = rclpy.create_node("reach_session", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._clients: dict[str, Any] = {}
        self._film_subscriptions: list[Any] = []
        self._unpaired: dict[tuple[int, int], tuple[float, NDArray[np.uint8]]] = {}  # by stamp; with when it came
        self._distance_m = float("nan")
        self._recording: Recording | None = None
        self.reach_status: dict[str, str] = {}
        self._listen(Float64, f"{SIM_NODE}/distance", self._hear_distance)
        self._listen(Float64, f"{REACH_NODE}/latency", self._hear_latency)
        self._listen(DiagnosticArray, topics.DIAGNOSTICS, self._hear_diagnostics)

    def __enter__(self) -> Driver:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def bring_up(self) -> None:
        """Wait until both nodes are there, and configure `reach_node`.

        Raises:
            SessionError: a node does not come up or does not configure.
        """
        self._wait(f"the first image of {SIM_NODE}", lambda: not np.isnan(self._distance_m), _START_S)
        self.change_state("configure", _CONFIGURE_S)

    def change_state(self, transition: str, timeout_s: float = _ANSWER_S) -> None:
        """Ask `reach_node` for a lifecycle transition.

        Raises:
            SessionError: it refuses, fails or does not answer.
        """
        request = ChangeState.Request(transition=Transition(label=transition))
        answer = self._call(ChangeState, f"{REACH_NODE}/change_state", request, timeout_s, transition)
        if not answer.success:
            raise SessionError(f"expected {REACH_NODE} to {transition}, but it could not")

    def start_episode(self) -> Recording:
        """Put the cell where the next episode starts, and wait until its camera has seen that.

        Raises:
            SessionError: `sim_node` does not.
        """
        answer = self._call(Trigger, f"{SIM_NODE}/start_episode", Trigger.Request(), _ANSWER_S)
        if not answer.success:
            raise SessionError(f"expected {SIM_NODE} to start an episode, but it answered: {answer.message}")
        start = json.loads(answer.message)
        # The arm stands still, so the distance is exactly this one as soon as the images are the new episode's.
        self._wait(
            "an image of the new episode", lambda: abs(self._distance_m - start["distance_m"]) < _SAME_M, _ANSWER_S
        )
        return Recording(start["episode"], start["distance_m"])

    def run_episode(self, recording: Recording, length_s: float) -> Episode:
        """Let `reach_node` act for `length_s`, and return the episode.

        Raises:
            SessionError: a node does not answer, or no images come.
        """
        self.change_state("activate")
        recording.start()
        self._recording = recording
        while recording.last_time_s < length_s:
            self._turn()
            silent_s = recording.time_s - recording.last_time_s
            if silent_s > _SILENCE_S:
                raise SessionError(f"expected images of {SIM_NODE}, got none for {silent_s:.0f} s")
        self._recording = None
        recording.stop()
        reported = self.reach_status.get("message", "")
        self.change_state("deactivate")
        dropped, unlike = self._read_counts()
        return replace(
            recording.episode(length_s), reported=reported, dropped_frames=dropped, out_of_distribution_images=unlike
        )

    def _read_counts(self) -> tuple[int, int]:
        """Return how many of the episode's images `reach_node` replaced by newer ones, and how many its guard rejected.

        Raises:
            SessionError: it does not report.
        """
        self.reach_status = {}  # reports from while it was active do not count
        what = f"the counts of {REACH_NODE}"
        self._wait(what, lambda: self.reach_status.get("state") == "inactive", _ANSWER_S)
        return int(self.reach_status["dropped_images"]), int(self.reach_status["out_of_distribution_images"])

    def film(self, wanted: bool) -> None:
        """Keep images and translations from now on, or no longer; `reach_node` translates for us only while we do."""
        if wanted and not self._film_subscriptions:
            self._film_subscriptions = [
                self._listen(Image, topics.IMAGE, self._hear_image),
                self._listen(Image, f"{REACH_NODE}/translated_image", self._hear_translation),
            ]
        elif not wanted:
            for subscription in self._film_subscriptions:
                self._node.destroy_subscription(subscription)
            self._film_subscriptions = []

    # Waiting.

    def _turn(self) -> None:
        self._executor.spin_once(timeout_sec=_TURN_S)
        self._on_turn()

    def _wait(self, what: str, is_there: Callable[[], object], timeout_s: float) -> None:
        self._on_wait(what)
        deadline = time.monotonic() + timeout_s
        while not is_there():
            if time.monotonic() > deadline:
                raise SessionError(f"expected {what} within {timeout_s:g} s, got none")
            self._turn()

    def _call(self, kind: Any, name: str, request: Any, timeout_s: float, purpose: str = "") -> Any:
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self._node.create_client(kind, name)
            self._wait(f"the service {name}", client.service_is_ready, _START_S)
        future = client.call_async(request)
        self._wait(f"an answer of {name}" + (f" to {purpose}" if purpose else ""), future.done, timeout_s)
        return future.result()

    # Hearing.

    def _listen(self, kind: Any, topic: str, callback: Callable[[Any], None]) -> Any:
        return self._node.create_subscription(kind, topic, callback, QoSProfile(depth=100))

    def _hear_distance(self, message: Float64) -> None:
        self._distance_m = message.data
        if self._recording:
            self._recording.add_distance(message.data)

    def _hear_latency(self, message: Float64) -> None:
        if self._recording:
            self._recording.add_latency(message.data)

    def _hear_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f"{REACH_NODE}:"):
                self.reach_status = {pair.key: pair.value for pair in status.values} | {"message": status.message}

    def _hear_image(self, message: Image) -> None:
        if self._recording and self._recording.wants_frame():
            self._unpaired[_stamp(message)] = self._recording.time_s, _pixels(message)
            while len(self._unpaired) > _REMEMBERED:
                del self._unpaired[next(iter(self._unpaired))]

    def _hear_translation(self, message: Image) -> None:
        time_s, camera = self._unpaired.pop(_stamp(message), (0.0, None))
        if self._recording and camera is not None:
            self._recording.frames.append(VideoFrame(time_s, camera, _pixels(message)))


class Recording:
    """What a running episode has brought so far.

    Attributes:
        index: its number.
        start_distance_m: m.
        is_running: whether the time runs.
        times_s, distances_m: the tip's distance from its goal, s since then and m.
        command_times_s, latencies_s: when each command was received, and how old its image was when it was sent.
        frames: images and their translations.
    """

    def __init__(self, index: int, start_distance_m: float) -> None:
        """Start empty."""
        self.index, self.start_distance_m, self._started_s = index, start_distance_m, float("nan")
        self.is_running = False
        self.times_s: list[float] = []
        self.distances_m: list[float] = []
        self.command_times_s: list[float] = []
        self.latencies_s: list[float] = []
        self.frames: list[VideoFrame] = []
        self._filmed_s = -_FILM_PERIOD_S

    def start(self) -> None:
        """Let the time run: `reach_node` is active."""
        self._started_s, self.is_running = time.monotonic(), True

    def stop(self) -> None:
        """Stop: nothing more is added."""
        self.is_running = False

    @property
    def last_time_s(self) -> float:
        """When the last distance came, s since the start; 0 before the first."""
        return self.times_s[-1] if self.times_s else 0.0

    @property
    def time_s(self) -> float:
        """Time since the start in s."""
        return time.monotonic() - self._started_s

    @property
    def distance_m(self) -> float:
        """The last distance in m."""
        return self.distances_m[-1] if self.distances_m else self.start_distance_m

    def add_distance(self, distance_m: float) -> None:
        """Note a distance now."""
        self.times_s.append(self.time_s)
        self.distances_m.append(distance_m)

    def add_latency(self, latency_s: float) -> None:
        """Note a command now."""
        self.command_times_s.append(self.time_s)
        self.latencies_s.append(latency_s)

    def wants_frame(self) -> bool:
        """Return whether to keep an image that comes now."""
        if self.time_s - self._filmed_s < _FILM_PERIOD_S:
            return False
        self._filmed_s = self.time_s
        return True

    def episode(self, length_s: float) -> Episode:
        """Return the first `length_s` of it as arrays; it must have lasted so long."""
        times_s, distances_m = [0.0, *self.times_s], [self.start_distance_m, *self.distances_m]
        kept = bisect_left(times_s, length_s)
        last_m = float(np.interp(length_s, times_s, distances_m))
        return Episode(
            index=self.index,
            times_s=np.array([*times_s[:kept], length_s]),
            distances_m=np.array([*distances_m[:kept], last_m]),
            command_times_s=np.array(self.command_times_s),
            latencies_s=np.array(self.latencies_s),
            frames=tuple(self.frames),
        )


def _stamp(message: Image) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


def _pixels(message: Image) -> NDArray[np.uint8]:
    image = read_image(
        message.encoding, message.height, message.width, message.step, message.data, bool(message.is_bigendian)
    )
    return image.to_rgb().copy()
