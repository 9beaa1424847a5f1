"""Records the simulated cell to a rosbag2 file through DDS, as `ros2 bag record -s mcap` records a real one.

The expert's episodes, or a tour of far-apart poses to calibrate a camera with; the arm lags as the cell's does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from bench import Bench, open_bench
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from taskgan_ros.core.files import check_free
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.messages import duration_message
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.tasks.reach import ReachEpisode, ReachScene
from taskgan_ros.tasks.registry import load_scene_of

Array = NDArray[np.float64]

_SETTLE_S = 0.5  # after a start: the cell ignores trajectories for 0.3 s
_REST_S = 1.5  # at the end of an episode, by which import finds it
_ARRIVED_M = 0.002
_SPEED, _PAUSE_S = 0.5, 0.6  # rad/s between the poses of a tour, and how long the arm stands in each
_TOUR_SPREAD, _MOST_DRAWS = 0.8, 10000  # rad about ready; of all joints but the driven, half of it
_DEFINITIONS = get_typestore(Stores.ROS2_JAZZY)


@dataclass(frozen=True)
class Config:
    """Record the simulated cell to a bag."""

    out: Path
    """The bag's folder; must not exist."""
    scene: str = "reach"
    """A shipped scene's name or a YAML file: what is said of the cell."""
    domain: str = "real_standin"
    """How it looks, and how far it is from what the scene says."""
    motion: Literal["expert", "tour"] = "expert"
    """Episodes of the expert, or a tour of poses."""
    count: int = 10
    """Of episodes, or of poses."""
    seed: int = 20
    """Of both."""
    height: int = 240
    """Of the images, in pixels."""
    width: int = 320
    """Of the images, in pixels."""


def main(config: Config) -> None:
    """Start the cell, move the arm, and write what is published."""
    check_free(config.out)
    scene = load_scene_of(ReachScene, config.scene)
    recorded = {topics.IMAGE: Image, topics.CAMERA_INFO: CameraInfo, topics.JOINT_STATES: JointState}
    move = film_expert if config.motion == "expert" else film_tour
    with (
        Writer(config.out, version=9, storage_plugin=StoragePlugin.MCAP) as bag,  # closed last: the bench still hears
        tempfile.TemporaryDirectory() as logs,
        open_bench(Path(logs)) as bench,
    ):
        commands = start_cell(bench, config)
        for topic, kind in recorded.items():
            bench.listen(kind, topic, recorder(bag, kind, topic))
        move(bench, commands, scene, config)


def start_cell(bench: Bench, config: Config) -> Any:
    """Start the cell, and return a publisher of what moves its arm."""
    parameters = {
        "scene": config.scene, "domain": config.domain, "seed": config.seed,
        "image_height": config.height, "image_width": config.width, "camera_rate_hz": 15.0,
    }  # fmt: skip
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    bench.start("sim_node", "-m", "taskgan_ros.nodes.sim_node", "--ros-args", *words)
    commands = bench.node.create_publisher(JointTrajectory, topics.TRAJECTORY, 10)
    bench.wait("the cell", lambda: commands.get_subscription_count() > 1)
    return commands


def recorder(bag: Writer, kind: Any, topic: str) -> Callable[[Any], None]:
    """Return what writes each message of a topic into the bag."""
    name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
    connection = bag.add_connection(f"/{topic}", name, typestore=_DEFINITIONS)

    def write(message: Any) -> None:
        stamp = message.header.stamp
        bag.write(connection, stamp.sec * 10**9 + stamp.nanosec, serialize_message(message))

    return write


def film_expert(bench: Bench, commands: Any, scene: ReachScene, config: Config) -> None:
    """Let the expert carry out episodes, and rest at the end of each."""
    with progress_bar("record", config.count, "episodes") as advance:
        for index in range(config.count):
            bench.call(Trigger, "sim_node/start_episode", Trigger.Request())
            bench.sleep(_SETTLE_S)
            way = expert_way(scene, config.seed, index)
            commands.publish(trajectory(scene, way, scene.step_s * np.arange(1.0, len(way) + 1)))
            bench.sleep(len(way) * scene.step_s + _REST_S)
            advance(1)


def expert_way(scene: ReachScene, seed: int, index: int) -> Array:
    """Return the configurations (T, n) that the expert goes through, one each step."""
    episode = scene.sample_start(seed, index)
    assert isinstance(episode, ReachEpisode)
    state, way = episode.state, list[Array]()
    while scene.distance(state) > _ARRIVED_M and len(way) < scene.steps:
        q = state.joint_pos.copy()
        q[scene.driven] += scene.velocities(state, episode.solution) * scene.step_s
        state = scene.move(state, q)
        way.append(q)
    return np.array(way)


def film_tour(bench: Bench, commands: Any, scene: ReachScene, config: Config) -> None:
    """Move through poses that lie far apart, and stand in each."""
    here = scene.sample_start(config.seed, 0).state.joint_pos
    with progress_bar("record", config.count, "poses") as advance:
        for q in tour(scene, config.count, config.seed):
            travel_s = float(np.abs(q - here).max()) / _SPEED
            commands.publish(trajectory(scene, np.array([q]), np.array([travel_s])))
            bench.sleep(travel_s + _PAUSE_S)
            here = q
            advance(1)


def tour(scene: ReachScene, count: int, seed: int) -> list[Array]:
    """Draw poses (n,) above the table and within the limits."""
    rng, arm, found = np.random.default_rng(seed), scene.arm, []
    spread = np.full(len(arm.joint_names), _TOUR_SPREAD / 2)
    spread[scene.driven] = _TOUR_SPREAD
    for _ in range(_MOST_DRAWS):
        q = np.clip(np.array(scene.ready) + rng.uniform(-spread, spread), arm.lower, arm.upper)
        if scene.is_free(q, scene.start.clearance) and tip_position(arm, q)[2] > scene.start.clearance:
            found.append(q)
        if len(found) == count:
            return found
    raise SystemExit(f"expected {count} free poses, got {len(found)} in {_MOST_DRAWS} draws")


def trajectory(scene: ReachScene, way: Array, times_s: Array) -> JointTrajectory:
    """Return a message through configurations (T, n) at times (T,) from its arrival on."""
    points = [
        JointTrajectoryPoint(positions=q.tolist(), time_from_start=duration_message(float(time_s)))
        for q, time_s in zip(way, times_s, strict=True)
    ]
    return JointTrajectory(joint_names=list(scene.arm.joint_names), points=points)


if __name__ == "__main__":
    main(tyro.cli(Config))
