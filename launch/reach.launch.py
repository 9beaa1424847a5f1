"""The whole loop: reach_node, and the simulated cell unless there is a robot.

    ros2 launch taskgan_ros reach.launch.py rviz:=true
    ros2 launch taskgan_ros reach.launch.py sim:=false bundle:=/path/to/my_bundle \
        image_topic:=/camera/image_raw joint_states_topic:=/joint_states \
        trajectory_topic:=/joint_trajectory_controller/joint_trajectory

Included in another launch file, it leaks neither arguments nor environment into it. With `required:=false`, the other
launch keeps running without it. End it with Ctrl-C: SIGTERM to `ros2 launch` leaves the nodes running.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

from launch import Action, LaunchContext, LaunchDescription  # type: ignore[attr-defined]  # mypy takes this folder for it
from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.launching import as_boolean, attempt, check_arguments, common_arguments

CONFIG = Path(__file__).parents[1] / "config"  # as it is installed, so that --show-args names files that can be copied
FILES = ("reach_params", "sim_params")
BOOLEANS = ("required", "sim", "rviz", "use_sim_time")
PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"

# Few, and a line each, so that --show-args fits a screen; what is no argument is a parameter. The defaults of the
# nodes' own parameters and topics are those of the nodes; test/test_launch.py compares them.
ARGUMENTS = [
    DeclareLaunchArgument(
        "sim", default_value="true", description="Start the simulated cell; false: a robot and a camera publish."
    ),
    DeclareLaunchArgument(
        "bundle", default_value="reach_target_wood", description="A shipped bundle's name, or a folder."
    ),
    DeclareLaunchArgument("image_topic", default_value=topics.IMAGE, description="Camera images, sensor_msgs/Image."),
    DeclareLaunchArgument(
        "joint_states_topic", default_value=topics.JOINT_STATES, description="Joint states, sensor_msgs/JointState."
    ),
    DeclareLaunchArgument(
        "trajectory_topic", default_value=topics.TRAJECTORY, description="A JointTrajectoryController's, for commands."
    ),
    DeclareLaunchArgument(
        "commands_topic", default_value=topics.COMMANDS, description="Used instead with another command_interface."
    ),
    DeclareLaunchArgument("prefix", default_value="", description="Of joints and frames, for one of two arms: left_."),
    DeclareLaunchArgument(
        "reach_params", default_value=str(CONFIG / "reach_node.yaml"), description="reach_node's other parameters."
    ),
    *common_arguments(),
    DeclareLaunchArgument("rviz", default_value="false", description="Open RViz; needs the package rviz2."),
    DeclareLaunchArgument(
        "description",
        default_value="auto",
        description="Publish robot_description; auto: if the cell is simulated.",
    ),
    DeclareLaunchArgument(
        "domain", default_value="target_wood", description="The simulated cell's look: a shipped name, or a YAML file."
    ),
    DeclareLaunchArgument(
        "sim_params", default_value=str(CONFIG / "sim_node.yaml"), description="sim_node's other parameters."
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Start everything, in a scope of its own."""
    return LaunchDescription([GroupAction([*ARGUMENTS, attempt(start)])])


def start(context: LaunchContext) -> list[Action]:
    """Return all that is to run.

    Raises:
        InputError: a wrong argument, or a parameter file that is for other nodes, or not YAML.
        RuntimeError: a file argument names no file.
    """
    check_arguments(context, Path(__file__).name, [argument.name for argument in ARGUMENTS], BOOLEANS)
    values = context.launch_configurations
    if values["description"] != "auto":
        values["description"] = as_boolean("description", values["description"], "auto, ")
    refuse_missing_files(context)
    refuse_files_for_others(context)
    profile = EnvironmentVariable(PROFILES, default_value=str(CONFIG / "fastdds.xml"))  # room for large images
    return [
        SetEnvironmentVariable(PROFILES, profile),
        _include("view.launch.py"),  # first: it refuses wrong arguments before any node runs
        _include("sim_node.launch.py", condition=IfCondition(LaunchConfiguration("sim"))),
        _include("reach_node.launch.py"),
    ]


def refuse_missing_files(context: LaunchContext) -> None:
    """Raise RuntimeError if a file argument names no file: launch_ros goes on without it."""
    for name in FILES:
        path = LaunchConfiguration(name).perform(context)
        if not Path(path).is_file():
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


def _include(file: str, condition: IfCondition | None = None) -> IncludeLaunchDescription:
    path = PathJoinSubstitution([FindPackageShare("taskgan_ros"), "launch", file])
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(path), condition=condition)
