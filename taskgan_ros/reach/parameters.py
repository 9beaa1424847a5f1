"""The parameters of `reach_node`, with their ranges and defaults."""

from __future__ import annotations

from dataclasses import dataclass

from taskgan_ros.control.command_interfaces import COMMAND_INTERFACES, JOINT_TRAJECTORY
from taskgan_ros.core.parameters import parameter
from taskgan_ros.policy.policy import CPU

STOP, WARN, OFF = "stop", "warn", "off"  # what the guard may do


@dataclass(frozen=True)
class ReachParameters:
    """The parameters; docs/node/parameters.md is made of these declarations."""

    bundle: str = parameter(
        "reach_target_wood",
        "a shipped bundle's name, or a bundle's folder; reach.launch.py's argument stands over a parameter file",
    )
    translate: bool = parameter(
        True,
        "put the translator before the task model; false feeds camera images to it as they are: for images of the "
        "simulation's source domain. A bundle without a translator does so anyway",
    )
    providers: tuple[str, ...] = parameter(
        (CPU,),
        "onnxruntime's execution providers, the preferred first. One that does not start is an error: nothing falls "
        "back silently",
    )
    provider_options: tuple[str, ...] = parameter(
        ("",),
        "their options, each provider.option=value as onnxruntime names them, for instance "
        "CUDAExecutionProvider.device_id=1; empty ones count as none",
    )
    allow_fallback: bool = parameter(
        False,
        "run with those of the providers that start, on the CPU if none does: with a warning, in the diagnostics too",
    )
    threads: int = parameter(0, "threads for one inference; 0 for one per core", minimum=0, maximum=256)
    image_reliability: str = parameter(
        "best_effort",
        "what is requested of the image's publisher; reliable does not match a best-effort camera",
        choices=("best_effort", "reliable"),
    )
    image_transport: str = parameter(
        "raw",
        "raw takes sensor_msgs/Image; compressed takes JPEG and PNG (sensor_msgs/CompressedImage) from the image "
        "topic's /compressed",
        choices=("raw", "compressed"),
    )
    camera_fov: float = parameter(
        0.0,
        "the camera's vertical field of view over its whole image, rad: 2 atan(height / (2 fy)), fy from its "
        "camera_info. Images are cropped in the middle to what the bundle saw; a camera that sees less is refused. "
        "0: they show that already",
        minimum=0.0,
        maximum=3.14,
    )
    camera_info_topic: str = parameter(
        "",
        "the topic of the camera's camera_info, by which images are rectified and cropped to what the bundle saw; "
        "auto: beside the images; empty: none. Images before the first one are refused, and so is a camera that "
        "sees less. camera_fov stands over it",
    )
    all_joints: bool = parameter(
        True,
        "name all of the arm's joints in a trajectory, and keep those that the bundle does not drive where they "
        "are; false names the driven ones, for a controller with allow_partial_joints_goal",
    )
    command_interface: str = parameter(
        JOINT_TRAJECTORY,
        "what listens. joint_trajectory: ros2_control's JointTrajectoryController. position_group, velocity_group: "
        "its forward_command_controller (or the JointGroup one) for positions or velocities. joint_jog: MoveIt "
        "Servo, with command_in_type: speed_units; needs control_msgs. kinova: Kinova's own driver, which acts on "
        "velocities in the order of the joints and needs all_joints. docs/node/interfaces.md says which to choose, "
        "and what each does if this node dies",
        choices=COMMAND_INTERFACES,
        formerly="command_mode",
        renamed={"jtc": JOINT_TRAJECTORY},
    )
    command_rate_hz: float = parameter(
        100.0,
        "values per second, with position_group, velocity_group and joint_jog. The controller's updates are not "
        "synchronized with them; a higher rate made the motion no smoother",
        minimum=10.0,
        maximum=250.0,
    )
    joint_prefix: str = parameter(
        "", "put before the joints' names, as a robot with two arms has it; reach.launch.py's argument prefix gives it"
    )
    joint_names: tuple[str, ...] = parameter(
        ("",),
        "what the robot calls the joints of the bundle's arm, each arm_file_name=robot_name, without the prefix; "
        "empty ones count as none",
    )
    horizon_s: float = parameter(
        0.2,
        "how long a command lasts without a next one, or how much of a chunk of commands is executed, s. Then the "
        "arm comes to a smooth stop, whatever has failed. Shorter than the time between two images, it stutters",
        minimum=0.01,
        maximum=5.0,
    )
    lead_s: float = parameter(
        0.02,
        "how long after it is sent a command takes effect, s: allow for the message's travel time and the "
        "controller's next update. A command that arrives later misses the start of its change of speed, and the "
        "arm jerks slightly. With position_group, 0.0 is enough: the values are sampled here",
        minimum=0.0,
        maximum=0.5,
    )
    stamp_trajectories: bool = parameter(
        True,
        "stamp trajectories with their start time, so that the motion stays even however long a message takes. This "
        "needs synchronized clocks: where joint states have no stamps, or stamps more than 20 ms from this "
        "computer's time, or image_age_s is 0.0, trajectories have a stamp of 0 and start on arrival. false: they "
        "always do. Only for joint_trajectory",
    )
    speed_scale: float = parameter(
        1.0,
        "share of the arm file's speeds that is used; for the first time on an arm, 0.2",
        minimum=0.01,
        maximum=1.0,
        live=True,
    )
    margin_rad: float = parameter(
        0.02,
        "the arm is sent no nearer than this to its position limits, and slows down before, rad",
        minimum=0.0,
        maximum=1.0,
    )
    limit_tolerance_rad: float = parameter(
        0.1,
        "a joint measured further than this outside of its position limits is a fault, rad: another arm, or other "
        "zeros",
        minimum=0.0,
        maximum=10.0,
    )
    follow_tolerance_rad: float = parameter(
        0.3,
        "a larger tracking error within a second is a fault, rad: the arm went less, or more, than it was sent. It "
        "is blocked, its controller does not run, or its joint states stand still",
        minimum=0.01,
        maximum=100.0,
        live=True,
    )
    accept_jumps: bool = parameter(
        False,
        "accept joint states that jump while the arm stands, as a simulated one's do; on a robot that is a fault. "
        "reach.launch.py sets it for the simulated cell",
    )
    max_step_rad: float = parameter(
        0.5, "no joint is ever sent further than this from where it was measured, rad", minimum=0.01, maximum=3.0
    )
    fence_m: tuple[float, ...] = parameter(
        (-0.75, -0.75, 0.02, 0.75, 0.75, 1.0),
        "the box that the arm's tip stays in: x, y, z of its lower corner and of its upper one, base frame, m. The "
        "arm slows down before it. Outside of it, it may only come back. The default: over the shipped scene's "
        "table",
    )
    arrived_speed: float = parameter(
        0.02,
        "a command that asks no joint for more than this is small, rad/s. After arrived_images of them in a row the "
        "arm has arrived: it stands until one asks for twice as much",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    arrived_images: int = parameter(
        10,
        "so many small commands in a row are an arrival, see arrived_speed; 0 for a task that has no end",
        minimum=0,
        maximum=100_000,
    )
    guard: str = parameter(
        STOP,
        "what out-of-distribution images, unlike the bundle's training, do: stop the arm, warn in log and "
        "diagnostics alone, or off. In all but stop the arm follows what the networks make of them",
        choices=(STOP, WARN, OFF),
    )
    guard_tolerance: float = parameter(
        1.25,
        "an image with a score above this is out of distribution; 1 is the limit that all but 1 in 1000 good images "
        "keep to. An arm that rests shows nearly the same image again and again, so a little more keeps a good one "
        "from stopping it",
        minimum=0.01,
        maximum=1000.0,
        live=True,
    )
    guard_images: int = parameter(
        3, "so many out-of-distribution images in a row stop the arm until one is not", minimum=1, maximum=100_000
    )
    guard_fault_s: float = parameter(
        2.0,
        "nothing but out-of-distribution images for so long is a fault, which needs a person, s; 0 is never one",
        minimum=0.0,
        maximum=3600.0,
    )
    camera_watch_s: float = parameter(
        10.0,
        "so often, s, and when the guard objects, where the camera sees the arm is compared with where it should: a "
        "camera that has moved is reported; 0: only when the guard objects; -1: never",
        minimum=-1.0,
        maximum=3600.0,
    )
    image_timeout_s: float = parameter(
        0.25,
        "without an image for so long, the arm is held, s; it resumes by itself when images are back",
        minimum=0.01,
        maximum=60.0,
    )
    joint_state_timeout_s: float = parameter(
        0.25,
        "without a joint state for so long, the arm is held, s; it resumes by itself when they are back. One that "
        "is already this old when it arrives is ignored",
        minimum=0.01,
        maximum=60.0,
    )
    command_timeout_s: float = parameter(
        0.5,
        "with no command from an image younger than this, the arm is held, s: the policy is too slow",
        minimum=0.01,
        maximum=60.0,
    )
    image_age_s: float = parameter(
        0.5,
        "an image whose stamp is further than this from the node's ROS clock when it arrives, either way, counts as "
        "none, s. Where the camera's computer has another clock, synchronize the two. 0 takes any; so does a stamp "
        "that is not set. With 0, joint states count from their arrival too, and not from their stamps",
        minimum=0.0,
        maximum=3600.0,
        live=True,
    )
