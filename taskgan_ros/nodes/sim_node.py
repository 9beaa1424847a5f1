"""`sim_node`: the simulated cell as a robot on ROS: a camera, joint states, a controller.

Two threads: the executor's moves the robot, the camera's owns the GL context. One lock guards the robot.
"""

from __future__ import annotations

import json
import threading
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64, Float64MultiArray, Header
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from taskgan_ros.control.command_interfaces import COMMAND_INTERFACES, JOINT_JOG, JOINT_TRAJECTORY, STREAMED
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.parameters import parameter
from taskgan_ros.nodes import camera_frame, topics
from taskgan_ros.nodes.image_conversion import image_message
from taskgan_ros.nodes.joint_jog import joint_jog_type
from taskgan_ros.nodes.messages import (
    both_clocks,
    camera_info_message,
    diagnostics_message,
    duration_message,
    joint_state_message,
    seconds,
    time_message,
)
from taskgan_ros.nodes.notices import find_stopped_clock
from taskgan_ros.nodes.parameters import declare, read
from taskgan_ros.nodes.process import Stop, finish, run
from taskgan_ros.reach.metrics import Rate
from taskgan_ros.robot.joint_names import robot_names
from taskgan_ros.sim.controller import Point, Trajectory
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.sim.jog_controller import Jog
from taskgan_ros.sim.robot import Drive, Order, SimulatedRobot, Snapshot
from taskgan_ros.tasks.registry import load_motion_scene
from taskgan_ros.tasks.state import Episode
from taskgan_ros.vision.camera_model import CameraModel

if TYPE_CHECKING:  # so that a lack of OpenGL is reported in one line
    from taskgan_ros.sim.cell import Cell

_REPEAT_S = 5.0  # between two log lines on the same fault
_CAMERA_S = 5.0  # to wait for the picture that is being drawn


@dataclass(frozen=True)
class SimParameters:
    """The parameters; docs/node/parameters.md is made of these declarations."""

    scene: str = parameter("reach", "a shipped scene's name, or a YAML file")
    domain: str = parameter("target_wood", "the cell's appearance: a shipped domain's name, or a YAML file")
    seed: int = parameter(
        1000,
        "the same seed gives the same episodes in every domain; 1000 is `taskgan evaluate`'s, not a training's",
        minimum=0,
        maximum=2**31 - 1,
    )
    first_episode: int = parameter(0, "the number of the first episode", minimum=0, maximum=2**31 - 1)
    image_height: int = parameter(
        128, "pixels; the shipped bundles take 128x128, reach_node resizes others", minimum=16, maximum=2048
    )
    image_width: int = parameter(128, "pixels", minimum=16, maximum=2048)
    camera_rate_hz: float = parameter(20.0, "images a second", minimum=0.1, maximum=1000.0)
    joint_state_rate_hz: float = parameter(50.0, "joint states a second", minimum=1.0, maximum=1000.0)
    auto_start: bool = parameter(
        False, "start the next episode when one has run for episode_s; false: wait for ~/start_episode"
    )
    episode_s: float = parameter(
        10.0, "length of an episode with auto_start, s: the paper's 100 steps of 0.1 s", minimum=0.1, maximum=1e5
    )
    settle_s: float = parameter(
        0.3,
        "an episode starts with a jump, which no arm can make: for so long, commands that do not begin where the arm "
        "now stands are ignored, and so are velocities until one is zero, s",
        minimum=0.0,
        maximum=60.0,
    )
    command_interface: str = parameter(
        JOINT_TRAJECTORY,
        "which controller moves the arm, as reach_node's parameter: the two must agree",
        choices=COMMAND_INTERFACES,
    )
    joint_prefix: str = parameter("", "as reach_node's parameter")
    joint_names: tuple[str, ...] = parameter(("",), "as reach_node's parameter")
    frame_prefix: str = parameter("", "put before the camera's frame, as robot_state_publisher has it for the arm's")
    servo_lag_s: float = parameter(
        0.03,
        "how far each joint lags behind the controller's commands, s: the time constant of its position servo; 0: no "
        "lag, unlike any real servo",
        minimum=0.0,
        maximum=1.0,
    )
    controller_rate_hz: float = parameter(
        100.0, "update rate of the controller, Hz; ros2_control's default is 100", minimum=10.0, maximum=1000.0
    )
    allow_partial_joints_goal: bool = parameter(
        False, "accept trajectories that name some of the joints only, as ros2_control's parameter"
    )
    interpolate_from_desired_state: bool = parameter(
        True,
        "start a trajectory from the last command; false, ros2_control's default: from where the arm was measured, "
        "which lags behind it",
    )


def read_trajectory(message: JointTrajectory, clock_ahead_s: float = 0.0) -> Trajectory:
    """Return any trajectory message, sound or not, as the simulated controller takes it.

    Args:
        message: its stamp is on the ROS clock.
        clock_ahead_s: how far the ROS clock is ahead of the controller's.
    """
    stamp_s = seconds(message.header.stamp)
    points = tuple(
        Point(
            seconds(point.time_from_start),
            np.array(point.positions),
            np.array(point.velocities),
            np.array(point.accelerations),
            np.array(point.effort),
        )
        for point in message.points
    )
    return Trajectory(tuple(message.joint_names), points, stamp_s - clock_ahead_s if stamp_s else 0.0)


def read_jog(message: Any, clock_ahead_s: float = 0.0) -> Jog:
    """Return a JointJog as the simulated controller takes it; see `read_trajectory`."""
    stamp_s = seconds(message.header.stamp) - clock_ahead_s
    return Jog(tuple(message.joint_names), np.array(message.velocities), stamp_s)


class SimNode(Node):
    """Publishes what the simulated cell's camera and encoders see, and moves it as its controller is commanded."""

    def __init__(self, stop: Stop) -> None:
        """Start everything.

        Raises:
            InputError: a parameter, domain or scene file is wrong, or MuJoCo cannot draw.
        """
        import taskgan_ros.sim.cell  # noqa: F401  # a lack of OpenGL must be reported before anything is made

        super().__init__("sim_node")
        declare(self, SimParameters)
        self._stop_process, self._started_s = stop, time.monotonic()
        self._settings = wanted = read(self, SimParameters)
        self._scene, self._domain = load_motion_scene(wanted.scene), load_domain(wanted.domain)
        self._lock = threading.Lock()
        drive = Drive(
            wanted.servo_lag_s,
            wanted.controller_rate_hz,
            wanted.allow_partial_joints_goal,
            wanted.interpolate_from_desired_state,
            wanted.command_interface,
        )
        first, arm, calibration = self._episode(wanted.first_episode), self._scene.arm, self._domain.calibration
        names = robot_names(arm, wanted.joint_prefix, wanted.joint_names)
        self._names, now_s = [names[name] for name in arm.joint_names], time.monotonic()
        self._robot = SimulatedRobot(
            self._scene, first, now_s, wanted.settle_s, drive, calibration, joint_names=self._names
        )
        self._next_episode = wanted.first_episode + int(wanted.auto_start)
        self._accepted = self._rejected = self._ignored = 0
        self._last_rejection = ""
        self._frame_rate = Rate(time.monotonic())
        self._communicate()
        self._is_stopped = threading.Event()
        self._camera = threading.Thread(target=self._film, name="camera", daemon=True)
        self._camera.start()

    def stop(self) -> None:
        """End the camera."""
        self._is_stopped.set()
        self._camera.join(_CAMERA_S)

    def _communicate(self) -> None:
        steady, period_s = Clock(clock_type=ClockType.STEADY_TIME), 1 / self._settings.joint_state_rate_hz
        newest = QoSProfile(depth=1)  # reliable, so that it suits either kind of subscriber
        self._images = self.create_publisher(Image, topics.IMAGE, newest)
        self._camera_infos = self.create_publisher(CameraInfo, topics.CAMERA_INFO, newest)
        self._joint_states = self.create_publisher(JointState, topics.JOINT_STATES, 10)
        self._distances = self.create_publisher(Float64, "~/distance", 10)
        self._commanded = self.create_publisher(JointTrajectory, "~/commanded", 100)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 10)
        commands = self._listen()
        self.create_service(Trigger, "~/start_episode", self._start_episode)
        self.create_timer(period_s, self._tick, clock=steady)
        self.create_timer(1.0, self._publish_diagnostics, clock=steady)
        self._frames = camera_frame.broadcast(self, self._scene.camera.pose(), self._settings.frame_prefix)
        self._introduce(commands.topic_name)

    def _listen(self) -> Any:
        """Return the subscription of what the controller takes."""
        interface = self._settings.command_interface
        if interface not in STREAMED:
            return self.create_subscription(JointTrajectory, topics.TRAJECTORY, self._command, 1)
        kind = joint_jog_type() if interface == JOINT_JOG else Float64MultiArray
        return self.create_subscription(kind, topics.COMMANDS, self._command, 10)

    def _introduce(self, command_topic: str) -> None:
        wanted, start = self._settings, self.resolve_service_name("~/start_episode")
        self.get_logger().info(
            f"{self._scene.arm.name} in {wanted.domain}: publishes {self._images.topic_name} ({wanted.image_width}x"
            f"{wanted.image_height}, {wanted.camera_rate_hz:g} Hz) and {self._joint_states.topic_name} "
            f"({wanted.joint_state_rate_hz:g} Hz), follows {command_topic} ({wanted.command_interface})"
        )
        by_itself = f"a new episode starts every {wanted.episode_s:g} s"
        by_hand = f"to start a new episode: `ros2 service call {start} std_srvs/srv/Trigger`"
        self.get_logger().info(by_itself if wanted.auto_start else by_hand)

    def _episode(self, index: int) -> Episode:
        return self._scene.sample_start(self._settings.seed, index)

    def _start_next(self) -> Snapshot:
        episode = self._episode(self._next_episode)
        self._next_episode += 1
        with self._lock:
            self._robot.start(episode, time.monotonic())
            return self._robot.step(time.monotonic())

    def _observe(self) -> tuple[Snapshot, Time]:
        """Move the robot on to now; return where it is, and the ROS time of that."""
        with self._lock:
            steady_s, ros_s = both_clocks(self.get_clock())
            return self._robot.step(steady_s), time_message(ros_s)

    # In the executor's thread.

    def _start_episode(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        started = self._start_next()
        response.success = True
        response.message = json.dumps({"episode": started.episode.index, "distance_m": started.distance_m})
        self.get_logger().info(f"episode {started.episode.index}: {started.distance_m:.3f} m to go")
        return response

    def _read(self, message: Any) -> Order:
        if isinstance(message, JointTrajectory):
            return read_trajectory(message, self._ahead_s())
        if isinstance(message, Float64MultiArray):
            return np.array(message.data)
        return read_jog(message, self._ahead_s())

    def _command(self, message: Any) -> None:
        try:
            with self._lock:
                now_s = time.monotonic()  # under the lock, so that the robot has not moved on
                taken = self._robot.command(self._read(message), now_s)
        except InputError as error:
            self._rejected += 1
            self._last_rejection = str(error)
            self.get_logger().error(f"rejected a command: {error}", throttle_duration_sec=_REPEAT_S)
            return
        self._accepted += taken
        self._ignored += not taken

    def _tick(self) -> None:
        now, stamp = self._observe()
        self._joint_states.publish(joint_state_message(stamp, self._names, now.state.joint_pos, now.velocities))
        self._publish_commanded()
        if self._settings.auto_start and now.time_s >= self._settings.episode_s:
            self.get_logger().info(f"episode {now.episode.index}: ended with {now.distance_m:.3f} m to go")
            self._start_next()

    def _publish_commanded(self) -> None:
        """Publish what the controller commanded at each update since the last call, stamped with that update's time."""
        with self._lock:
            commanded = self._robot.take_commanded()
        if not commanded or not self._commanded.get_subscription_count():
            return
        first_s = commanded[0].time_from_start_s
        points = [
            JointTrajectoryPoint(
                positions=array("d", point.positions),
                time_from_start=duration_message(point.time_from_start_s - first_s),
            )
            for point in commanded
        ]
        stamp = time_message(first_s + self._ahead_s())
        self._commanded.publish(JointTrajectory(header=Header(stamp=stamp), joint_names=self._names, points=points))

    def _ahead_s(self) -> float:
        """Return how far the ROS clock is ahead of the robot's."""
        steady_s, ros_s = both_clocks(self.get_clock())
        return ros_s - steady_s

    def _publish_diagnostics(self) -> None:
        now, stamp = self._observe()
        values = {
            "episode": now.episode.index,
            "distance_m": round(now.distance_m, 4),
            "camera_rate_hz": self._frame_rate.hz(time.monotonic()),
            "images": self._frame_rate.count,
            "accepted": self._accepted,
            "rejected": self._rejected,
            "ignored_while_settling": self._ignored,
            "last_rejection": self._last_rejection,
        }
        if notice := find_stopped_clock(self, time.monotonic() - self._started_s):
            self.get_logger().warning(notice.text, throttle_duration_sec=_REPEAT_S)
        level = DiagnosticStatus.WARN if self._rejected else DiagnosticStatus.OK
        text = f"rejected {self._rejected}, the last: {self._last_rejection}" if self._rejected else "running"
        name = f"{self.get_fully_qualified_name().lstrip('/')}: cell"
        self._diagnostics.publish(diagnostics_message(stamp, name, self._scene.arm.name, level, text, values))

    # In the camera's thread.

    def _film(self) -> None:
        from taskgan_ros.sim.cell import Cell

        try:
            size = self._settings.image_height, self._settings.image_width
            with Cell(self._scene, self._domain, size) as cell:
                self._film_with(cell)
        except Exception as error:  # without a camera the node is of no use
            self._stop_process(f"the camera failed: {error}")

    def _camera_model(self) -> CameraModel:
        """Return the camera as the scene says it is, with the domain's lens."""
        height, width = self._settings.image_height, self._settings.image_width
        matrix = self._scene.camera.matrix(height, width).tolist()
        lens = (*self._domain.sensor.distortion, 0.0, 0.0, 0.0)
        return CameraModel(tuple(map(tuple, matrix)), lens, "plumb_bob", height, width)

    def _film_with(self, cell: Cell) -> None:
        period_s, camera = 1 / self._settings.camera_rate_hz, self._camera_model()
        due_s, filmed, look = time.monotonic(), None, None
        while not self._is_stopped.wait(max(0.0, due_s - time.monotonic())):
            now, stamp = self._observe()
            if look is None or now.episode.index != filmed:
                filmed = now.episode.index
                look = cell.sample_look(now.episode.seed, filmed)
            image = cell.render(now.state, look, now.time_s)
            header = Header(stamp=stamp, frame_id=f"{self._settings.frame_prefix}{camera_frame.FRAME}")
            self._images.publish(image_message(image, header))
            self._camera_infos.publish(camera_info_message(camera, header))
            self._distances.publish(Float64(data=now.distance_m))
            self._frame_rate.tick(time.monotonic())
            due_s = max(due_s + period_s, time.monotonic())  # a late frame is left out, not caught up with


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT, SIGTERM or SIGHUP."""
    finish(run("sim_node", SimNode, SimNode.stop, args))


if __name__ == "__main__":
    main()
