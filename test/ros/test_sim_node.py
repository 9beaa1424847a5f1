"""What the simulated cell shows a robot's software."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64, Header
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from taskgan_ros.nodes import topics
from taskgan_ros.nodes.messages import camera_info
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.registry import load_motion_scene

if TYPE_CHECKING:
    from taskgan_ros.demo.isolation import ChildProcess
    from test.ros.conftest import Lab

Wait = Callable[..., None]

SCENE = load_motion_scene("reach")
NAMES = list(SCENE.arm.joint_names)
QUICK = {"domain": "source", "image_height": 32, "image_width": 48}


class Robot:
    """What sim_node publishes, as the test hears it."""

    def __init__(self, lab: Lab, wait_until: Wait, **parameters: Any) -> None:
        self._lab, self._wait_until = lab, wait_until
        self.images: list[Image] = []
        self.joint_states: list[JointState] = []
        self.distances: list[float] = []
        lab.listen(Image, topics.IMAGE, self.images.append)
        lab.listen(JointState, topics.JOINT_STATES, self.joint_states.append)
        lab.listen(Float64, "sim_node/distance", lambda message: self.distances.append(message.data))
        self._commands = lab.node.create_publisher(JointTrajectory, topics.TRAJECTORY, 10)
        self.process: ChildProcess = lab.start("sim_node", **{**QUICK, **parameters})
        wait_until(lambda: self.joint_states and self._commands.get_subscription_count() > 1, "the robot")

    @property
    def positions(self) -> np.ndarray:
        return np.array(self.joint_states[-1].position)

    def start_episode(self) -> dict[str, Any]:
        response = self._lab.call(Trigger, "sim_node/start_episode", Trigger.Request())
        assert response.success
        return dict(json.loads(response.message))

    def wait_for(self, positions: np.ndarray) -> None:
        self._wait_until(lambda: np.allclose(self.positions, positions, rtol=0, atol=1e-6), f"the arm at {positions}")

    def send(self, positions: np.ndarray, seconds: float = 0.5, **fields: Any) -> None:
        whole = int(seconds)
        point = JointTrajectoryPoint(
            positions=positions.tolist(), time_from_start=Duration(sec=whole, nanosec=int((seconds - whole) * 1e9))
        )
        message = JointTrajectory(header=Header(frame_id="test"), joint_names=NAMES, points=[point])
        for name, value in fields.items():
            setattr(message if hasattr(message, name) else point, name, value)
        self._commands.publish(message)


def test_episodes_are_those_of_their_seed_and_number(lab: Lab, wait_until: Wait) -> None:
    robot = Robot(lab, wait_until, seed=5, first_episode=3)
    assert "mico in source: publishes /image_raw (48x32, 20 Hz) and /joint_states (50 Hz)" in robot.process.text
    assert "`ros2 service call /sim_node/start_episode std_srvs/srv/Trigger`" in robot.process.text
    for index in (3, 4):
        expected = SCENE.sample_start(seed=5, index=index)
        answer = robot.start_episode()
        assert answer["episode"] == index
        np.testing.assert_allclose(answer["distance_m"], SCENE.distance(expected.state))
        robot.wait_for(expected.state.joint_pos)
    wait_until(lambda: len(robot.images) > 2, "images")
    image, state = robot.images[-1], robot.joint_states[-1]
    assert (image.height, image.width, image.encoding, image.step, len(image.data)) == (32, 48, "rgb8", 144, 4608)
    assert np.std(image.data) > 5, "something is to be seen"
    assert list(state.name) == NAMES
    assert list(state.velocity) == [0.0] * 6
    now_s = time.time()
    for stamp in (image.header.stamp, state.header.stamp):
        assert abs(now_s - stamp.sec - stamp.nanosec * 1e-9) < 5
    wait_until(lambda: robot.distances and np.isclose(robot.distances[-1], answer["distance_m"]), "the true distance")


def test_its_camera_is_described_beside_its_images(lab: Lab, wait_until: Wait) -> None:
    pytest.importorskip("skimage", reason="real_standin's photos, its lens is bent")
    described: list[CameraInfo] = []
    lab.listen(CameraInfo, topics.CAMERA_INFO, described.append)
    Robot(lab, wait_until, domain="real_standin")
    wait_until(lambda: described, "camera_info")
    model = camera_info(described[-1])
    np.testing.assert_allclose(model.matrix, SCENE.camera.matrix(32, 48))
    assert model.fov == pytest.approx(SCENE.camera.fov)
    assert list(model.distortion[:2]) == list(load_domain("real_standin").sensor.distortion)


def test_executes_trajectories_and_rejects_what_the_real_controller_rejects(lab: Lab, wait_until: Wait) -> None:
    robot = Robot(lab, wait_until, settle_s=0.0)
    here = robot.positions
    robot.send(here + 0.1, time_from_start=Duration(sec=1))
    robot.wait_for(here + 0.1)
    assert max(np.abs(state.velocity).max() for state in robot.joint_states) > 0.05
    there = here + 0.1
    robot.send(there + 0.1, velocities=[0.1] * 6)
    wait_until(lambda: lab.diagnostics("cell").get("rejected") == "1", "a rejection in the diagnostics")
    robot.send(there[:3] + 0.1, joint_names=NAMES[:3])
    wait_until(lambda: lab.diagnostics("cell").get("rejected") == "2", "another rejection")
    assert "joint_names: expected all of" in lab.diagnostics("cell")["last_rejection"]
    assert "rejected a command: velocities: expected 0 at the last point" in robot.process.text
    np.testing.assert_allclose(robot.positions, there, atol=1e-6)


def test_nothing_made_for_the_pose_before_a_start_is_executed(lab: Lab, wait_until: Wait) -> None:
    robot = Robot(lab, wait_until, settle_s=60.0)
    robot.start_episode()
    expected = SCENE.sample_start(seed=1000, index=0).state.joint_pos
    robot.send(expected + 0.2, time_from_start=Duration(nanosec=10_000_000))
    wait_until(lambda: lab.diagnostics("cell").get("ignored_while_settling") == "1", "a trajectory that was ignored")
    robot.wait_for(expected)


def test_one_episode_follows_the_other_with_auto_start_until_sigint(lab: Lab, wait_until: Wait) -> None:
    robot = Robot(lab, wait_until, auto_start=True, episode_s=0.3)
    wait_until(lambda: int(lab.diagnostics("cell").get("episode", 0)) >= 3, "a fourth episode")
    robot.process.send(signal.SIGINT)
    assert robot.process.wait() == 0
    assert "episode 0: ended with" in robot.process.text
    assert "Traceback" not in robot.process.text


def test_an_unknown_domain_is_named_in_one_line(lab: Lab) -> None:
    process = lab.start("sim_node", domain="the_moon")
    assert process.wait() == 2
    assert "domains: expected a file or one of" in process.text
    assert "Traceback" not in process.text


def test_opengl_that_cannot_be_had_is_named_in_one_line(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "bogus")
    process = lab.start("sim_node")
    assert process.wait() == 2
    assert "MUJOCO_GL: expected egl, osmesa or glfw, got 'bogus'" in process.text
    assert "Traceback" not in process.text


def test_an_arm_that_is_set_to_the_next_episode_is_not_called_out_of_distribution(lab: Lab, wait_until: Wait) -> None:
    robot = Robot(lab, wait_until, domain="target_wood", image_height=128, image_width=128)
    robot.start_episode()
    reach = lab.start("reach_node", bundle="reach_target_wood", accept_jumps=True)
    assert lab.change("configure"), reach.text
    assert lab.change("activate"), reach.text
    lab.until_commanded()
    robot.start_episode()
    sent = len(lab.trajectories)
    wait_until(lambda: len(lab.trajectories) > sent + 10, "commands in the next episode")
    assert lab.change("deactivate")
    wait_until(lambda: lab.diagnostics().get("state") == "inactive", "the counts")
    assert int(lab.diagnostics()["out_of_distribution_images"]) <= 1  # one that was under way


def test_a_fast_arm_that_is_set_to_the_next_episode_is_not_called_blocked(lab: Lab, wait_until: Wait) -> None:
    bundle = load_bundle("reach_panda")
    lab.start("sim_node", scene=str(bundle.scene_name), domain="target_wood")
    heard: list[float] = []
    lab.listen(Float64, "sim_node/distance", lambda message: heard.append(message.data))
    wait_until(lambda: heard, "the cell")
    reach = lab.start("reach_node", bundle="reach_panda", accept_jumps=True)
    assert lab.change("configure"), reach.text
    assert lab.change("activate"), reach.text
    lab.until_commanded()
    for _ in range(2):
        wait_until(lambda: heard[-1] < 0.05, "the arm above the cube")
        assert lab.call(Trigger, "sim_node/start_episode", Trigger.Request()).success
        wait_until(lambda: heard[-1] > 0.1, "the arm to be set elsewhere")
    wait_until(lambda: heard[-1] < 0.05, "the arm above the cube again")
    assert "fault" not in reach.text


def test_the_loop_closes_and_the_arm_stands_when_reach_node_is_killed(
    lab: Lab, make_bundle: Callable[..., Path], wait_until: Wait
) -> None:
    robot = Robot(lab, wait_until)
    robot.start_episode()
    reach = lab.start("reach_node", bundle=make_bundle())
    assert lab.change("configure"), reach.text
    assert lab.change("activate"), reach.text
    start = robot.positions
    wait_until(lambda: robot.positions[0] > start[0] + 0.1, "joint 1 to move as the bundle commands")
    assert int(lab.diagnostics("cell")["rejected"]) == 0
    reach.send(signal.SIGKILL)
    reach.wait()
    wait_until(lambda: not any(robot.joint_states[-1].velocity), "the arm to stand")  # 0.2 s after the last command
