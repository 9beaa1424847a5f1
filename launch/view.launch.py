"""The arm as RViz and Foxglove draw it. Included by reach.launch.py, which declares the arguments.

If these programs end, nothing else does: a robot does not depend on its viewers.
"""

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription  # type: ignore[attr-defined]  # mypy takes this folder for it
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.launching import attempt, log_arguments, time_parameters

NAMESPACE = LaunchConfiguration("namespace")
RVIZ_CONFIG = PathJoinSubstitution([FindPackageShare("taskgan_ros"), "config", "rviz", "reach.rviz"])


def generate_launch_description() -> LaunchDescription:
    """Start robot_state_publisher and RViz, each if it is wanted."""
    return LaunchDescription([attempt(describe), attempt(show)])


def describe(context: LaunchContext) -> list[Node]:
    """Publish the bundle's arm, if `description` says so.

    Raises:
        InputError: no such bundle, or a damaged one.
        RuntimeError: robot_state_publisher is asked for and not installed.
    """
    package, wanted = "robot_state_publisher", LaunchConfiguration("description").perform(context)
    if wanted == "auto":  # a robot's own robot_state_publisher must not meet a second one
        is_simulated = LaunchConfiguration("sim").perform(context) == "true"
        wanted = "true" if is_simulated and _is_installed(package) else "false"
    if wanted == "false":
        return []
    _require(package, "description:=true")
    text = _urdf(*(LaunchConfiguration(name).perform(context) for name in ("bundle", "prefix")))
    return [
        Node(
            package=package,
            executable=package,
            name=package,
            namespace=NAMESPACE,
            parameters=[
                {
                    "robot_description": ParameterValue(text, value_type=str),  # or it would be read as YAML
                    "frame_prefix": ParameterValue(LaunchConfiguration("prefix"), value_type=str),
                },
                *time_parameters(context),
            ],
            ros_arguments=log_arguments(context),
            remappings=[(topics.JOINT_STATES, LaunchConfiguration("joint_states_topic"))],
            output="screen",
        )
    ]


def show(context: LaunchContext) -> list[Node]:
    """Open RViz, if `rviz` says so.

    Raises:
        RuntimeError: it is asked for and not installed.
    """
    if LaunchConfiguration("rviz").perform(context) == "false":
        return []
    _require("rviz2", "rviz:=true")
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=NAMESPACE,
            arguments=["-d", RVIZ_CONFIG],
            parameters=time_parameters(context),
            ros_arguments=log_arguments(context),
            # The file has the names of a launch without namespace; relative ones follow the namespace.
            remappings=[
                ("/image_raw", LaunchConfiguration("image_topic")),
                ("/camera_info", "camera_info"),
                ("/reach_node/overlay", "reach_node/overlay"),
                ("/reach_node/translated_image", "reach_node/translated_image"),
                ("/robot_description", "robot_description"),
            ],
            output="screen",
        )
    ]


def _urdf(bundle: str, joint_prefix: str) -> str:
    # Imported here, because `ros2 launch --show-args` loads this file too.
    from taskgan_ros.policy.bundle import load_bundle
    from taskgan_ros.robot.joint_names import rename, robot_names
    from taskgan_ros.robot.urdf import robot_description

    arm = load_bundle(bundle).arm
    return robot_description(rename(arm, robot_names(arm, joint_prefix)))


def _is_installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def _require(package: str, argument: str) -> None:
    if not _is_installed(package):
        raise RuntimeError(f"{argument}: expected the package {package}, got an installation without it")
