"""The whole loop: reach_node, and the simulated cell unless a robot stands there.

    ros2 launch taskgan_ros reach.launch.py rviz:=true
    ros2 launch taskgan_ros reach.launch.py sim:=false bundle:=/path/to/my_bundle \
        image_topic:=/camera/image_raw joint_states_topic:=/joint_states \
        trajectory_topic:=/joint_trajectory_controller/joint_trajectory

End it with Ctrl-C: SIGTERM to `ros2 launch` leaves the nodes running.
"""

from difflib import get_close_matches
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription  # type: ignore[attr-defined]  # mypy takes this folder for it

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
    DeclareLaunchArgument("image_topic", default_value="image_raw", description="Camera images, sensor_msgs/Image."),
    DeclareLaunchArgument(
        "joint_states_topic", default_value="joint_states", description="Joint states, sensor_msgs/JointState."
    ),
    DeclareLaunchArgument(
        "trajectory_topic",
        default_value="joint_trajectory",
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
        description="Fast DDS profile of both nodes; the shipped one has room for large images.",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Start everything; when a node ends or cannot be activated, everything ends."""
    return LaunchDescription(
        [
            *ARGUMENTS,
            OpaqueFunction(function=warn_of_misspelt_arguments),
            OpaqueFunction(function=refuse_missing_files),
            SetEnvironmentVariable(PROFILES, LaunchConfiguration("fastdds_profile")),
            _include("view.launch.py"),  # first: what it refuses, it refuses before a node runs
            _include("sim_node.launch.py", condition=IfCondition(LaunchConfiguration("sim"))),
            _include("reach_node.launch.py"),
        ]
    )


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


def _include(file: str, condition: IfCondition | None = None) -> IncludeLaunchDescription:
    path = PathJoinSubstitution([FindPackageShare("taskgan_ros"), "launch", file])
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(path), condition=condition)
