"""The parameters of `reach_node`, with their ranges and defaults."""

from __future__ import annotations

from dataclasses import dataclass

from taskgan_ros.control.command_interfaces import COMMAND_INTERFACES, JOINT_TRAJECTORY
from taskgan_ros.core.parameters import parameter
from taskgan_ros.policy.policy import CPU

STOP, WARN, OFF = "stop", "warn", "off"  # what the guard may do


@dataclass(frozen=True)
class ReachParameters:
    """The parameters; config/reach_node.yaml says more on them."""

    bundle: str = parameter("reach_target_wood", "a shipped bundle's name, or a bundle's folder")
    translate: bool = parameter(True, "put the translator before the task model; false for simulated images")
    providers: tuple[str, ...] = parameter((CPU,), "onnxruntime's execution providers, the preferred first")
    provider_options: tuple[str, ...] = parameter(
        ("",), "their options, each provider.option=value as onnxruntime names them; empty ones count as none"
    )
    allow_fallback: bool = parameter(False, "run without a provider that does not start, with a warning")
    threads: int = parameter(0, "threads for one inference; 0 for one a core", minimum=0, maximum=256)
    image_reliability: str = parameter(
        "best_effort", "what is requested of the image's publisher", choices=("best_effort", "reliable")
    )
    image_transport: str = parameter(
        "raw", "compressed takes JPEG and PNG from the image topic's /compressed", choices=("raw", "compressed")
    )
    camera_fov: float = parameter(
        0.0,
        "the camera's vertical field of view, rad, to crop its images to what the bundle saw; 0: they show that",
        minimum=0.0,
        maximum=3.14,
    )
    camera_info_topic: str = parameter(
        "",
        "the topic of the camera's camera_info, by which images are rectified to what the bundle saw; auto: beside the "
        "images; empty: none",
    )
    all_joints: bool = parameter(
        True, "name all joints in a trajectory; false for a controller with allow_partial_joints_goal"
    )
    command_interface: str = parameter(
        JOINT_TRAJECTORY,
        "what listens: a JointTrajectoryController, a forward_command_controller for positions or velocities, MoveIt "
        "Servo, or Kinova's driver",
        choices=COMMAND_INTERFACES,
        formerly="command_mode",
        renamed={"jtc": JOINT_TRAJECTORY},
    )
    command_rate_hz: float = parameter(
        100.0, "values a second, with position_group, velocity_group and joint_jog", minimum=10.0, maximum=250.0
    )
    joint_prefix: str = parameter("", "put before the joints' names, as a robot with two arms has it")
    joint_names: tuple[str, ...] = parameter(
        ("",),
        "what the robot calls joints, each arm_file_name=robot_name, without the prefix; empty ones count as none",
    )
    horizon_s: float = parameter(
        0.2, "how long a command lasts without a next one, before a smooth stop, s", minimum=0.01, maximum=5.0
    )
    lead_s: float = parameter(
        0.02,
        "how long after it is sent a command takes effect: allow for the message and the controller's update, s",
        minimum=0.0,
        maximum=0.5,
    )
    stamp_trajectories: bool = parameter(
        True, "stamp trajectories with their start, if joint states show that the arm's clock agrees with this one"
    )
    speed_scale: float = parameter(
        1.0, "share of the arm file's speeds that is used", minimum=0.01, maximum=1.0, live=True
    )
    margin_rad: float = parameter(0.02, "kept from the arm file's position limits, rad", minimum=0.0, maximum=1.0)
    limit_tolerance_rad: float = parameter(
        0.1, "a joint measured further outside of its position limits is a fault, rad", minimum=0.0, maximum=10.0
    )
    follow_tolerance_rad: float = parameter(
        0.3,
        "a larger tracking error within a second is a fault: the arm went less, or more, than it was sent, rad",
        minimum=0.01,
        maximum=100.0,
        live=True,
    )
    accept_jumps: bool = parameter(
        False, "accept joint states that jump while the arm stands, as a simulated one's do; else that is a fault"
    )
    max_step_rad: float = parameter(
        0.5, "no joint is sent further than this from where it was measured, rad", minimum=0.01, maximum=3.0
    )
    fence_m: tuple[float, ...] = parameter(
        (-0.75, -0.75, 0.02, 0.75, 0.75, 1.0),
        "the box that the arm's tip stays in: x, y, z of its lower corner and of its upper one, base frame, m",
    )
    arrived_speed: float = parameter(
        0.02,
        "commands slower than this for arrived_images images are an arrival, rad/s",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    arrived_images: int = parameter(10, "see arrived_speed; 0 for a task without an end", minimum=0, maximum=100_000)
    guard: str = parameter(
        STOP, "what out-of-distribution images do: stop the arm, warn, or off: nothing", choices=(STOP, WARN, OFF)
    )
    guard_tolerance: float = parameter(
        1.25,
        "an image with a score above this is out of distribution; 1 is the bundle's own limit",
        minimum=0.01,
        maximum=1000.0,
        live=True,
    )
    guard_images: int = parameter(
        3, "so many out-of-distribution images in a row stop the arm", minimum=1, maximum=100_000
    )
    guard_fault_s: float = parameter(
        2.0, "no others for so long are a fault, which needs a person, s; 0 is never one", minimum=0.0, maximum=3600.0
    )
    camera_watch_s: float = parameter(
        10.0,
        "so often, and when the guard objects, where the arm is seen is compared with where it should be, s; 0: only "
        "when the guard objects; -1: never",
        minimum=-1.0,
        maximum=3600.0,
    )
    image_timeout_s: float = parameter(0.25, "without an image for so long, hold, s", minimum=0.01, maximum=60.0)
    joint_state_timeout_s: float = parameter(
        0.25, "without a joint state for so long, hold, s", minimum=0.01, maximum=60.0
    )
    command_timeout_s: float = parameter(
        0.5, "with no command from an image younger than this, hold, s", minimum=0.01, maximum=60.0
    )
    image_age_s: float = parameter(
        0.5,
        "an image whose stamp is further from the ROS clock is ignored, s; 0 takes any",
        minimum=0.0,
        maximum=3600.0,
        live=True,
    )
