"""The whole loop: reach_node, and the simulated cell unless a robot stands there.

    ros2 launch taskgan_ros reach.launch.py rviz:=true
    ros2 launch taskgan_ros reach.launch.py sim:=false bundle:=/path/to/my_bundle \
        image_topic:=/camera/image_raw joint_states_topic:=/joint_states \
        trajectory_topic:=/joint_trajectory_controller/joint_trajectory

Included in another launch file, it leaks neither arguments nor environment into it. With `required:=false`, the other
launch keeps running without it. End it with Ctrl-C: SIGTERM to `ros2 launch` leaves the nodes running.
"""

import sys
from difflib import get_close_matches
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

from launch import Action, LaunchContext, LaunchDescription  # type: ignore[attr-defined]  # mypy takes this folder for it
from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.launching import attempt

CONFIG = PathJoinSubstitution([FindPackageShare("taskgan_ros"), "config"])
FILES = ("reach_params", "sim_params", "fastdds_profile")
PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"

# The defaults of the nodes' own parameters and topics are those of the nodes; test/test_launch.py compares them.
ARGUMENTS = [
    DeclareLaunchArgument(
        "sim",
        default_value="true",
        choices=["true", "false"],
        description="Start the simulated cell; false where a robot and a camera publish.",
    ),
    DeclareLaunchArgument(
        "bundle", default_value="reach_target_wood", description="A shipped bundle's name, or a folder."
    ),
    DeclareLaunchArgument(
        "domain",
        default_value="target_wood",
        description="How the simulated cell looks: a shipped domain's name, or a YAML file.",
    ),
    DeclareLaunchArgument(
        "auto_start",
        default_value="true",
        choices=["true", "false"],
        description="The simulated cell starts one episode after the other; false waits for ~/start_episode.",
    ),
    DeclareLaunchArgument(
        "rviz",
        default_value="false",
        choices=["true", "false"],
        description="Open RViz with the arm and both images; needs the package rviz2.",
    ),
    DeclareLaunchArgument(
        "description",
        default_value="auto",
        choices=["auto", "true", "false"],
        description="Publish robot_description and frames of the bundle's arm. auto: with the simulated cell, where "
        "robot_state_publisher is installed; a robot publishes its own.",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Of all nodes; topics that start with / stay."),
    DeclareLaunchArgument("image_topic", default_value=topics.IMAGE, description="Camera images, sensor_msgs/Image."),
    DeclareLaunchArgument(
        "joint_states_topic", default_value=topics.JOINT_STATES, description="Joint states, sensor_msgs/JointState."
    ),
    DeclareLaunchArgument(
        "trajectory_topic",
        default_value=topics.TRAJECTORY,
        description="Where commands go, trajectory_msgs/JointTrajectory: that of a JointTrajectoryController.",
    ),
    DeclareLaunchArgument(
        "image_reliability",
        default_value="best_effort",
        choices=["best_effort", "reliable"],
        description="What reach_node asks of the camera; reliable does not match a best-effort camera.",
    ),
    DeclareLaunchArgument(
        "reach_params",
        default_value=PathJoinSubstitution([CONFIG, "reach_node.yaml"]),
        description="YAML file with reach_node's other parameters.",
    ),
    DeclareLaunchArgument(
        "sim_params",
        default_value=PathJoinSubstitution([CONFIG, "sim_node.yaml"]),
        description="YAML file with sim_node's other parameters.",
    ),
    DeclareLaunchArgument(
        "fastdds_profile",
        default_value=EnvironmentVariable(PROFILES, default_value=PathJoinSubstitution([CONFIG, "fastdds.xml"])),
        description="Fast DDS profile of these nodes; the shipped one has room for large images.",
    ),
    DeclareLaunchArgument(
        "required",
        default_value="true",
        choices=["true", "false"],
        description="true: the whole launch shuts down when one of these nodes ends, or reach_node cannot be activated "
        "at startup. false: that is logged as an error, and the rest keeps running.",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Start everything, in a scope of its own."""
    checks = [OpaqueFunction(function=warn_of_misspelt_arguments)] if _is_run_itself() else []
    return LaunchDescription([GroupAction([*ARGUMENTS, *checks, attempt(start)])])


def start(context: LaunchContext) -> list[Action]:
    """Return all that is to run.

    Raises:
        InputError: a parameter file is for other nodes, or not YAML.
        RuntimeError: a file argument names no file.
    """
    refuse_missing_files(context)
    refuse_files_for_others(context)
    return [
        SetEnvironmentVariable(PROFILES, LaunchConfiguration("fastdds_profile")),
        _include("view.launch.py"),  # first: it refuses wrong arguments before any node runs
        _include("sim_node.launch.py", condition=IfCondition(LaunchConfiguration("sim"))),
        _include("reach_node.launch.py"),
    ]


def warn_of_misspelt_arguments(context: LaunchContext) -> list[LogInfo]:
    """Name arguments that look like one of ours but are none, which launch ignores silently."""
    own = [argument.name for argument in ARGUMENTS]
    unknown = [name for name in context.launch_configurations if name not in own]
    return [
        LogInfo(msg=f"WARNING: there is no argument {name}; did you mean {likely}?")
        for name in unknown
        for likely in get_close_matches(name, own, n=1)
    ]


def refuse_missing_files(context: LaunchContext) -> None:
    """Raise RuntimeError if a file argument names no file: launch_ros and Fast DDS go on without it."""
    for name in FILES:
        path = LaunchConfiguration(name).perform(context)
        if path and not Path(path).is_file():
            raise RuntimeError(f"{name}: expected a file, got {path}")


def refuse_files_for_others(context: LaunchContext) -> None:
    """Raise InputError if a parameter file has nothing for its node, which would run with defaults: at full speed."""
    # Imported here, because `ros2 launch --show-args` loads this file too.
    from taskgan_ros.core.parameter_files import check_parameter_file

    values = context.launch_configurations
    namespace = make_namespace_absolute(prefix_namespace(values.get("ros_namespace"), values["namespace"]))
    wanted = {"reach_params": "reach_node", **({"sim_params": "sim_node"} if values["sim"] == "true" else {})}
    for argument, node in wanted.items():
        try:
            check_parameter_file(Path(values[argument]), f"{namespace.rstrip('/')}/{node}")
        except InputError as error:
            raise InputError(f"{argument}: {error}") from error


def _is_run_itself() -> bool:
    """Return whether the command line names this file; included, it cannot tell whose the arguments are."""
    return Path(__file__).name in [Path(word).name for word in sys.argv]


def _include(file: str, condition: IfCondition | None = None) -> IncludeLaunchDescription:
    path = PathJoinSubstitution([FindPackageShare("taskgan_ros"), "launch", file])
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(path), condition=condition)
