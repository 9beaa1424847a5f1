"""The simulated cell as a robot. Included by reach.launch.py, which declares the arguments."""

from launch.actions import LogInfo, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import Action, LaunchContext, LaunchDescription  # type: ignore[attr-defined]  # mypy takes this folder for it


def generate_launch_description() -> LaunchDescription:
    """Start sim_node; its end ends the launch."""
    return LaunchDescription(
        [
            Node(
                package="taskgan_ros",
                executable="sim_node",
                name="sim_node",
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("sim_params"),
                    {
                        # Typed, or YAML's rules would make a number of a domain that is called 7.
                        "domain": ParameterValue(LaunchConfiguration("domain"), value_type=str),
                        "auto_start": ParameterValue(LaunchConfiguration("auto_start"), value_type=bool),
                    },
                ],
                remappings=[
                    ("image_raw", LaunchConfiguration("image_topic")),
                    ("joint_states", LaunchConfiguration("joint_states_topic")),
                    ("joint_trajectory", LaunchConfiguration("trajectory_topic")),
                ],
                ros_arguments=["--enclave", "/taskgan_ros/sim_node"],  # config/sros2/; means nothing without security
                output="screen",
                on_exit=end,
            )
        ]
    )


def end(event: ProcessExited, context: LaunchContext) -> list[Action] | None:
    """End the launch when the node ends, unless it does so already."""
    if context.is_shutdown:
        return None
    reason = f"sim_node has ended with exit code {event.returncode}"
    return [LogInfo(msg=reason), Shutdown(reason=reason)]
