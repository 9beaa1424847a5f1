"""The node of a reach session that calls the services of `sim_node` and `reach_node`, and listens to their topics."""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Float64
from std_srvs.srv import Trigger

from taskgan_ros.demo.isolation import SessionError
from taskgan_ros.demo.peer import PATIENCE_S, Peer
from taskgan_ros.demo.report import Episode, VideoFrame
from taskgan_ros.nodes import topics
from taskgan_ros.vision.images import read_image

SIM_NODE: Final = "sim_node"
REACH_NODE: Final = "reach_node"

_START_S = 90.0  # to come up, and to load the models; on an idle machine a second or two
_SILENCE_S = 10.0  # of the camera, at an episode's end
_FILM_PERIOD_S = 0.09  # every second image of a 20 Hz camera
_REMEMBERED = 40  # images that wait for their translation
_SAME_M = 1e-9


class Driver(Peer):
    """Brings the nodes up and runs episodes, one call after the other.

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
        super().__init__(domain_id, "reach_session", on_turn)
        self._on_wait = on_wait
        self._film_subscriptions: list[Any] = []
        self._unpaired: dict[tuple[int, int], tuple[float, NDArray[np.uint8]]] = {}  # by stamp; with when it came
        self._distance_m = float("nan")
        self._recording: Recording | None = None
        self.reach_status: dict[str, str] = {}
        self.listen(Float64, f"{SIM_NODE}/distance", self._hear_distance)
        self.listen(DiagnosticArray, f"{REACH_NODE}/status", self._hear_decision)
        self.listen(DiagnosticArray, topics.DIAGNOSTICS, self._hear_diagnostics)

    def wait(self, what: str, is_there: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Wait for something, and say so.

        Raises:
            SessionError: it does not come within `timeout_s`.
        """
        self._on_wait(what)
        super().wait(what, is_there, timeout_s)

    def bring_up(self) -> None:
        """Wait until both nodes are there, and configure `reach_node`.

        Raises:
            SessionError: a node does not come up or does not configure.
        """
        self.wait(f"the first image of {SIM_NODE}", lambda: not np.isnan(self._distance_m), _START_S)
        self.change("configure", timeout_s=_START_S)

    def start_episode(self) -> Recording:
        """Put the cell where the next episode starts, and wait until its camera has seen that.

        Raises:
            SessionError: `sim_node` does not.
        """
        answer = self.call(Trigger, f"{SIM_NODE}/start_episode", Trigger.Request())
        if not answer.success:
            raise SessionError(f"expected {SIM_NODE} to start an episode, but it answered: {answer.message}")
        start = json.loads(answer.message)
        # The arm stands still, so the distance is exactly this one as soon as the images are the new episode's.
        self.wait("an image of the new episode", lambda: abs(self._distance_m - start["distance_m"]) < _SAME_M)
        return Recording(start["episode"], start["distance_m"])

    def run_episode(self, recording: Recording, length_s: float) -> Episode:
        """Let `reach_node` act for `length_s`, and return the episode.

        Raises:
            SessionError: a node does not answer, or no images come.
        """
        self.change("activate")
        recording.start()
        self._recording = recording
        what = f"an image of {SIM_NODE} after the episode's end"
        self.wait(what, lambda: recording.last_time_s >= length_s, length_s + _SILENCE_S)
        self._recording = None
        recording.stop()
        reported = self.reach_status.get("message", "")
        self.change("deactivate")
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
        self.wait(what, lambda: self.reach_status.get("state") == "inactive")
        return int(self.reach_status["dropped_images"]), int(self.reach_status["out_of_distribution_images"])

    def film(self, wanted: bool) -> None:
        """Keep images and translations from now on, or no longer; `reach_node` translates for us only while we do."""
        if wanted and not self._film_subscriptions:
            self._film_subscriptions = [
                self.listen(Image, topics.IMAGE, self._hear_image),
                self.listen(Image, f"{REACH_NODE}/translated_image", self._hear_translation),
            ]
        elif not wanted:
            for subscription in self._film_subscriptions:
                self.node.destroy_subscription(subscription)
            self._film_subscriptions = []

    # Hearing, in the node's own thread: the other one may take `_recording` away meanwhile.

    def _hear_distance(self, message: Float64) -> None:
        self._distance_m = message.data
        if recording := self._recording:
            recording.add_distance(message.data)

    def _hear_decision(self, message: DiagnosticArray) -> None:
        (status,) = message.status
        latency_ms = _values(status)["latency_ms"]  # empty where no command was sent
        if (recording := self._recording) and latency_ms:
            recording.add_latency(float(latency_ms) / 1e3)

    def _hear_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f"{REACH_NODE}:"):
                self.reach_status = _values(status) | {"message": status.message}

    def _hear_image(self, message: Image) -> None:
        if (recording := self._recording) and recording.wants_frame():
            self._unpaired[_stamp(message)] = recording.time_s, _pixels(message)
            while len(self._unpaired) > _REMEMBERED:
                del self._unpaired[next(iter(self._unpaired))]

    def _hear_translation(self, message: Image) -> None:
        time_s, camera = self._unpaired.pop(_stamp(message), (0.0, None))
        if (recording := self._recording) and camera is not None:
            recording.frames.append(VideoFrame(time_s, camera, _pixels(message)))


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
        """Note a distance now; the time last, for what has a time shall have a distance."""
        self.distances_m.append(distance_m)
        self.times_s.append(self.time_s)

    def add_latency(self, latency_s: float) -> None:
        """Note a command now."""
        self.latencies_s.append(latency_s)
        self.command_times_s.append(self.time_s)

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


def _values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def _stamp(message: Image) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


def _pixels(message: Image) -> NDArray[np.uint8]:
    image = read_image(
        message.encoding, message.height, message.width, message.step, message.data, bool(message.is_bigendian)
    )
    return image.to_rgb().copy()
