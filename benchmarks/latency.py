"""Image stamp to command published by a `reach_node` in its own process, beside the bare networks, and both's CPU."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import tyro
from bench import REACH, Bench, open_bench
from film import Film, render
from report import ROOT, Row, commit_of, report
from turns import Times, time_networks

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
    """How many turns the node and the networks take, so that the machine's variations affect both alike."""
    seconds: float = 8.0
    """Of each turn."""
    before: Path | None = None
    """A checkout of another commit, whose node takes turns too."""
    out: Path | None = None
    """JSON to write."""


def start_node(bench: Bench, bundle: str, encoding: str, program: Sequence[str] = REACH, tree: Path = ROOT) -> None:
    """Start a checkout's node for images of an encoding; see `Bench.start_reach`."""
    bench.start_reach(
        program=program,
        tree=tree,
        bundle=bundle,
        image_transport=TRANSPORTS[encoding],
        follow_tolerance_rad=100.0,  # this arm does not follow
        arrived_images=0,
    )


def start(stack: ExitStack, tree: Path, config: Config, film: Path, encoding: str) -> tuple[Bench, psutil.Process]:
    """Start a checkout's node in a domain of its own, and a camera that waits."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    bench = stack.enter_context(open_bench(folder))
    start_node(bench, config.bundle, encoding, tree=tree)
    bench.hear_latencies()
    camera = bench.start_camera(film, config.rate_hz, JOINT_STATE_RATE_HZ)
    camera.suspend()
    return bench, camera


def time_node(bench: Bench, camera: psutil.Process, config: Config, times: Times) -> None:
    """Take a turn of a node."""
    heard = bench.trajectories
    camera.resume()
    bench.change("activate")
    bench.wait("commands", lambda: bench.trajectories > heard)
    bench.latencies.clear()
    started_s, cpu_s = time.monotonic(), bench.cpu_s()
    bench.sleep(config.seconds)
    times.cpu_s += bench.cpu_s() - cpu_s
    times.wall_s += time.monotonic() - started_s
    times.values_s += bench.latencies
    bench.change("deactivate")
    camera.suspend()  # or the node would keep receiving beside the others


def measure(config: Config, policy: Policy, own: Film, film: Film, encoding: str) -> dict[str, Times]:
    """Return the times of the networks, and of each node, on one kind of image."""
    trees = {"stamp to command": ROOT}
    if config.before:
        trees = {f"stamp to command, {commit_of(config.before)}": config.before.resolve(), **trees}
    times = {what: Times() for what in ("networks alone", *trees)}
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "film.npz"
        film.save(path, as_jpeg=encoding == "jpeg")
        nodes = {what: start(stack, tree, config, path, encoding) for what, tree in trees.items()}
        for _ in range(config.rounds):
            for what, node in nodes.items():
                time_node(*node, config, times[what])
            time_networks(policy, own.images, config.rate_hz, config.seconds, times["networks alone"])
    return times


def main(config: Config) -> None:
    """Let the node and the networks take turns on every kind of image, and compare."""
    bundle = load_bundle(config.bundle)
    policy = Policy(bundle)
    own = render(bundle, bundle.card.image.shape)
    rows: list[Row] = []
    for size in SIZES:
        film = render(bundle, size)
        for encoding in TRANSPORTS:
            times = measure(config, policy, own, film, encoding)
            image = f"{size[1]}x{size[0]} {encoding}"
            rows += [each.row({"image": image, "what": what}, times["networks alone"]) for what, each in times.items()]
    report(f"{config.rate_hz:g} Hz, {bundle.card.name}", rows, config.out)


if __name__ == "__main__":
    main(tyro.cli(Config))
