"""Image stamp to command published, in a running `reach_node`, beside the bare networks in the same process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import rclpy
import tyro
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from report import Row, report
from std_msgs.msg import Float64

from taskgan_ros.nodes.reach_node import ReachNode
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.policy.policy import Policy
from taskgan_ros.sim import expert
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.sim.episode import sample_test_episode
from taskgan_ros.sim.scene import load_scene


@dataclass(frozen=True)
class Config:
    """Time the node against the networks alone."""

    bundle: str = "reach_target_wood"
    """A shipped bundle's name or a folder."""
    image_size: int = 128
    """Pixels a side of the camera's images."""
    rate_hz: float = 20.0
    """Of the camera."""
    rounds: int = 8
    """The node and the networks take turns so often, so that the machine's moods hit both."""
    seconds: float = 8.0
    """Of each turn."""
    out: Path | None = None
    """JSON to write."""


def film(size: int) -> np.ndarray:
    """Return an episode's camera images (T, size, size, 3)."""
    scene = load_scene("reach")
    with Cell(scene, load_domain("target_wood"), size) as cell:
        look = cell.sample_look(7, 0)
        return np.stack([cell.render(state, look) for state in expert.path(scene, sample_test_episode(scene, 7, 0))])


def time_networks(policy: Policy, images: np.ndarray, rate_hz: float, seconds: float) -> list[float]:
    """Return seconds of each inference, at the camera's rate: idle cores slow down, as they do in the node."""
    times: list[float] = []
    due_s = time.monotonic()
    end_s = due_s + seconds
    while due_s < end_s:
        start = time.perf_counter()
        policy.act(images[len(times) % len(images)][None])
        times.append(time.perf_counter() - start)
        due_s += 1 / rate_hz
        time.sleep(max(0.0, due_s - time.monotonic()))
    return times


def main(config: Config) -> None:
    """Let the node and the networks take turns, and compare."""
    bundle = load_bundle(config.bundle)
    images = film(config.image_size)
    own = film(bundle.card.image.height)
    rclpy.init()
    node = ReachNode()
    node.set_parameters([Parameter("bundle", value=str(bundle.path))])
    latencies: list[float] = []

    def note(message: Float64) -> None:
        latencies.append(message.data)

    node.create_subscription(Float64, "~/latency", note, 10)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    threading.Thread(target=executor.spin, daemon=True).start()
    node.trigger_configure()
    policy = Policy(bundle)
    networks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, images)
        camera_py = str(Path(__file__).with_name("camera.py"))
        camera = subprocess.Popen([sys.executable, camera_py, str(path), str(config.rate_hz), str(bundle.path)])
        try:
            time.sleep(2.0)  # until the two have found each other
            for _ in range(config.rounds):
                node.trigger_activate()
                time.sleep(config.seconds)
                node.trigger_deactivate()
                networks += time_networks(policy, own, config.rate_hz, config.seconds)
        finally:
            camera.terminate()
            camera.wait()
    rows: list[Row] = []
    base = np.quantile(networks, [0.5, 0.99])
    for what, values in (("networks alone", networks), ("stamp to command", latencies)):
        p50, p99 = np.quantile(values, [0.5, 0.99])
        ratio = {"p50 ratio": p50 / base[0], "p99 ratio": p99 / base[1]}
        rows.append({"what": what, "n": len(values), "p50 ms": 1e3 * p50, "p99 ms": 1e3 * p99, **ratio})
    memory = psutil.Process().memory_info().rss / 2**20
    print(f"this process, with node, networks twice and renderer: {memory:.0f} MB")
    title = f"{config.image_size}x{config.image_size} at {config.rate_hz:g} Hz, {bundle.card.name}"
    report(title, rows, config.out)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main(tyro.cli(Config))
