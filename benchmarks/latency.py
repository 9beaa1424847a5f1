"""Image stamp to command published by a `reach_node` in its own process, beside the bare networks, and both's CPU."""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from bench import open_bench
from film import Film, render
from report import Row, report

from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.policy.policy import Policy

SIZES = (128, 128), (480, 640)  # height, width
TRANSPORTS = {"rgb8": "raw", "jpeg": "compressed"}  # what the node calls each
JOINT_STATE_RATE_HZ = 50.0


@dataclass(frozen=True)
class Config:
    """Time the node against the networks alone."""

    bundle: str = "reach_target_wood"
    """A shipped bundle's name or a folder."""
    rate_hz: float = 20.0
    """Of the camera."""
    rounds: int = 8
    """The node and the networks take turns so often, so that the machine's moods hit both."""
    seconds: float = 8.0
    """Of each turn."""
    out: Path | None = None
    """JSON to write."""


@dataclass
class Times:
    """What the turns of one of the two have brought: s of each, and CPU and wall time in all, s."""

    values_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0

    def row(self, image: str, what: str, base: Times) -> Row:
        """Return them as the table shows them; `base` is what they are compared with."""
        p50, p99 = np.quantile(self.values_s, [0.5, 0.99])
        return {
            "image": image,
            "what": what,
            "n": len(self.values_s),
            "p50 ms": 1e3 * float(p50),
            "p99 ms": 1e3 * float(p99),
            "CPU % of a core": 100 * self.cpu_s / self.wall_s,
            "p50 ratio": float(p50 / np.quantile(base.values_s, 0.5)),
        }


def time_networks(policy: Policy, images: np.ndarray, config: Config, times: Times) -> None:
    """Take a turn of the networks, at the camera's rate: idle cores slow down, as they do in the node."""
    started_s, cpu_s = time.monotonic(), time.process_time()
    for count in itertools.count(1):
        start_s = time.perf_counter()
        policy.act(images[count % len(images)][None])
        times.values_s.append(time.perf_counter() - start_s)
        due_s = started_s + count / config.rate_hz
        if due_s > started_s + config.seconds:
            break
        time.sleep(max(0.0, due_s - time.monotonic()))
    times.cpu_s += time.process_time() - cpu_s
    times.wall_s += time.monotonic() - started_s


def measure(config: Config, policy: Policy, own: Film, film: Film, encoding: str) -> tuple[Times, Times]:
    """Return the times of the networks and of the node on one kind of image."""
    networks, node = Times(), Times()
    with tempfile.TemporaryDirectory() as folder, open_bench(Path(folder)) as bench:
        path = Path(folder) / "film.npz"
        film.save(path, as_jpeg=encoding == "jpeg")
        bench.start_reach(
            bundle=config.bundle,
            image_transport=TRANSPORTS[encoding],
            follow_tolerance_rad=100.0,  # this arm does not follow
            arrived_images=0,
        )
        bench.hear_latencies()
        camera_py = str(Path(__file__).with_name("camera.py"))
        camera = bench.start("camera", camera_py, str(path), str(config.rate_hz), str(JOINT_STATE_RATE_HZ))
        for _ in range(config.rounds):
            heard = bench.trajectories
            bench.change("activate")
            bench.wait("commands", lambda heard=heard: bench.trajectories > heard)  # type: ignore[misc]
            bench.latencies.clear()
            started_s, cpu_s = time.monotonic(), bench.cpu_s()
            bench.sleep(config.seconds)
            node.cpu_s += bench.cpu_s() - cpu_s
            node.wall_s += time.monotonic() - started_s
            node.values_s += bench.latencies
            bench.change("deactivate")
            camera.suspend()  # or the node would keep receiving beside the networks
            time_networks(policy, own.images, config, networks)
            camera.resume()
    return networks, node


def main(config: Config) -> None:
    """Let the node and the networks take turns on every kind of image, and compare."""
    bundle = load_bundle(config.bundle)
    policy = Policy(bundle)
    own = render(bundle, bundle.card.image.shape)
    rows: list[Row] = []
    for size in SIZES:
        film = render(bundle, size)
        for encoding in TRANSPORTS:
            networks, node = measure(config, policy, own, film, encoding)
            image = f"{size[1]}x{size[0]} {encoding}"
            rows.append(networks.row(image, "networks alone", networks))
            rows.append(node.row(image, "stamp to command", networks))
    report(f"{config.rate_hz:g} Hz, {bundle.card.name}", rows, config.out)


if __name__ == "__main__":
    main(tyro.cli(Config))
