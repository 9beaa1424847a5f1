"""20 000 malformed images into running `reach_node`s: none may move the arm, end the node or stay in its memory."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bad_images
import cv2
import numpy as np
import tyro
from bench import ARM, Bench, open_bench
from builtin_interfaces.msg import Time
from film import render
from numpy.typing import NDArray
from rclpy.qos import QoSProfile
from report import Row, report
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Header

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.demo.isolation import ProcessEnded, SessionError
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.image_conversion import image_message
from taskgan_ros.nodes.messages import joint_state_message
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.vision.compressed import read_compressed

ROUNDS = 10  # each has a batch of every fault, so the first tenth of the run has seen them all
PERIOD_S = 0.005  # from one image to the next, and as long as it takes to read one
SLOWEST = 64  # times as slow
JOINT_STATE_PERIOD_S = 0.02
DEPTH = 1000  # a publisher keeps what the node has not acknowledged yet

Make = Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class Config:
    """Send malformed images to the node."""

    images: int = 20_000
    """How many at least, half raw and half compressed, of each fault as many."""
    bundle: str = "reach_target_wood"
    """A shipped bundle's name or a folder."""
    seed: int = 0
    """Of the images."""
    out: Path | None = None
    """JSON to write."""


@dataclass
class Tally:
    """What became of one fault's images.

    Attributes:
        images, refused, taken: how many; those that were lost or replaced on the way have been sent again.
        slowness: how many times as slowly they must be sent so that none is lost.
        sending_s: that it took to send them.
    """

    images: int = 0
    refused: int = 0
    taken: int = 0
    slowness: int = 1
    sending_s: float = 0.0


@dataclass
class Outcome:
    """What one transport's run has brought.

    Attributes:
        tallies: by fault.
        memory_mb: the node's, after each batch.
        trajectories: that the node has sent while only bad images came.
        commands_after: from good images, when the bad ones had been.
        crash: on which fault the node ended, and how.
    """

    tallies: dict[str, Tally]
    memory_mb: list[float] = field(default_factory=list)
    trajectories: int = 0
    commands_after: int = 0
    crash: str = ""


class Transport:
    """One `reach_node` and the camera that lies to it."""

    def __init__(
        self, bench: Bench, name: str, config: Config, good: NDArray[np.uint8], pose: NDArray[np.float64]
    ) -> None:
        """Start the node, and let it run on good images."""
        self._bench, self._config, self._pose = bench, config, pose
        bench.start_reach(
            bundle=config.bundle,
            image_transport=name,
            image_reliability="reliable",
            follow_tolerance_rad=100.0,  # nothing moves this arm
            arrived_images=0,
        )
        kind, topic = (Image, topics.IMAGE) if name == "raw" else (CompressedImage, topics.COMPRESSED_IMAGE)
        self._images = bench.node.create_publisher(kind, topic, QoSProfile(depth=DEPTH))
        self._joint_states = bench.node.create_publisher(JointState, topics.JOINT_STATES, 10)
        bench.node.create_timer(JOINT_STATE_PERIOD_S, self._publish_joint_state)
        if name == "raw":
            self._good: Image | CompressedImage = image_message(good, Header())
        else:
            self._good = CompressedImage(format="jpeg")
            self._good.data.frombytes(cv2.imencode(".jpg", good[..., ::-1])[1].tobytes())
        bench.change("activate")
        bench.wait("the node's subscription", lambda: self._images.get_subscription_count() > 0)
        bench.wait_for_reports(2)  # one may have been under way

    def run(self, makers: Mapping[str, Make], per_fault: int, advance: Callable[[int], None]) -> Outcome:
        """Send `per_fault` images of each fault."""
        self.take_good_images()
        self._bench.wait("the hold", lambda: self._bench.status["state"] == "held")
        self._bench.wait_for_reports(1)
        outcome = Outcome({name: Tally() for name in makers})
        heard, name = self._bench.trajectories, ""
        try:
            for round_number, count in enumerate(np.diff(np.linspace(0, per_fault, ROUNDS + 1).astype(int))):
                for number, (name, make) in enumerate(makers.items()):
                    rng = np.random.default_rng([self._config.seed, number, round_number])
                    self._send_until_taken([make(rng) for _ in range(count)], outcome.tallies[name])
                    outcome.memory_mb.append(self._bench.memory_mb)
                    advance(int(count))
            outcome.trajectories = self._bench.trajectories - heard
            outcome.commands_after = self.take_good_images()
        except ProcessEnded as error:
            outcome.crash = f"{name}: {error}"
        return outcome

    def take_good_images(self) -> int:
        """Send good images until the node has made commands from them; return from how many it has."""
        before, heard = self._bench.count("commands"), self._bench.trajectories

        def has_commanded() -> bool:
            self._publish(self._good)
            time.sleep(0.1)
            return self._bench.count("commands") > before and self._bench.trajectories > heard

        self._bench.wait("commands from good images", has_commanded)
        return self._bench.count("commands") - before

    def _send_until_taken(self, batch: list[Any], tally: Tally) -> None:
        """Send a batch, and again more slowly as long as any of it is lost or replaced by a newer one."""
        pauses_s = [max(PERIOD_S, 2 * reading_s(message)) for message in batch]
        while True:
            before, started_s = self._counts(), time.monotonic()
            for message, pause_s in zip(batch, pauses_s, strict=True):
                self._publish(message)
                time.sleep(tally.slowness * pause_s)
            sending_s = time.monotonic() - started_s
            after = self._settled(before, len(batch))
            came, refused, replaced = (now - then for now, then in zip(after, before, strict=True))
            tally.taken += came - refused - replaced
            if came == len(batch) and not replaced:
                break
            tally.slowness *= 2
            if tally.slowness > SLOWEST:
                raise SessionError(f"expected the node to take {len(batch)} images, got {came - replaced}")
        tally.images += len(batch)
        tally.refused += refused
        tally.sending_s += sending_s

    def _counts(self) -> tuple[int, int, int]:
        return tuple(self._bench.count(key) for key in ("images", "bad_images", "dropped_images"))  # type: ignore[return-value]

    def _settled(self, before: tuple[int, int, int], count: int) -> tuple[int, int, int]:
        """Return the counts when nothing is under way any more."""
        reports = self._bench.reports

        def is_over() -> bool:
            images, refused, _ = (now - then for now, then in zip(self._counts(), before, strict=True))
            return images == refused == count or self._bench.reports >= reports + 3

        self._bench.wait("the node's counts", is_over)
        return self._counts()

    def _publish(self, message: Any) -> None:
        message.header.stamp = self._now()
        self._images.publish(message)

    def _publish_joint_state(self) -> None:
        self._joint_states.publish(joint_state_message(self._now(), ARM.joint_names, self._pose, 0 * self._pose))

    def _now(self) -> Time:
        return self._bench.node.get_clock().now().to_msg()


def reading_s(message: Image | CompressedImage) -> float:
    """Return how long the node's worker takes over an image, s; a few bytes can claim 64 megapixels."""
    started_s = time.perf_counter()
    if isinstance(message, CompressedImage):
        with contextlib.suppress(InputError):
            read_compressed(message.format, message.data)
    return time.perf_counter() - started_s


def main(config: Config) -> None:
    """Send them and report."""
    bundle = load_bundle(config.bundle)
    film = render(bundle, bundle.card.image.shape)
    kinds: dict[str, Mapping[str, Make]] = {"raw": bad_images.RAW, "compressed": bad_images.COMPRESSED}
    outcomes: dict[str, Outcome] = {}
    per_fault = {transport: math.ceil(config.images / 2 / len(makers)) for transport, makers in kinds.items()}
    total = sum(per_fault[transport] * len(makers) for transport, makers in kinds.items())
    with progress_bar("malformed images", total, "images") as advance:
        for transport, makers in kinds.items():
            with tempfile.TemporaryDirectory() as folder, open_bench(Path(folder)) as bench:
                node = Transport(bench, transport, config, film.images[0], film.joint_pos[0])
                outcomes[transport] = node.run(makers, per_fault[transport], advance)
    rows: list[Row] = [
        {
            "transport": transport,
            "fault": name,
            "images": tally.images,
            "refused": tally.refused,
            "not refused": tally.taken,
            "images/s": tally.images / max(tally.sending_s, 1e-9),
        }
        for transport, outcome in outcomes.items()
        for name, tally in outcome.tallies.items()
    ]
    report("malformed images into reach_node", rows, config.out, summarize(outcomes))


def summarize(outcomes: Mapping[str, Outcome]) -> Row:
    """Return the figures of the whole run."""
    tallies = [tally for outcome in outcomes.values() for tally in outcome.tallies.values()]
    summary: Row = {
        "images": sum(tally.images for tally in tallies),
        "not refused": sum(tally.taken for tally in tallies),
        "crashes": sum(bool(outcome.crash) for outcome in outcomes.values()),
        "trajectories from bad images": sum(outcome.trajectories for outcome in outcomes.values()),
    }
    for name, outcome in outcomes.items():
        if outcome.crash:
            summary[f"{name}: crash"] = outcome.crash
            continue
        tenth, end = outcome.memory_mb[len(outcome.memory_mb) // ROUNDS - 1], outcome.memory_mb[-1]
        summary |= {
            f"{name}: memory after a tenth, MB": tenth,
            f"{name}: memory at the end, MB": end,
            f"{name}: growth, %": 100 * (end / tenth - 1),
            f"{name}: commands from good images afterwards": outcome.commands_after,
        }
    return summary


if __name__ == "__main__":
    main(tyro.cli(Config))
