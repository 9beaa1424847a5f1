"""The simulated cell as a robot. Included by reach.launch.py, which declares the arguments."""

from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import Action, LaunchContext, LaunchDescription  # type: ignore[attr-defined]  # mypy takes this folder for it
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.launching import attempt, is_required, log_arguments, on_exit, time_parameters


def generate_launch_description() -> LaunchDescription:
    """Start sim_node; if it ends, so does the launch if required."""
    return LaunchDescription([attempt(start)])


def start(context: LaunchContext) -> list[Action]:
    """Return the node."""
    return [
        Node(
            package="taskgan_ros",
            executable="sim_node",
            name="sim_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                LaunchConfiguration("sim_params"),
                *time_parameters(context),
                {
                    # Typed, or YAML's rules would make a number of a domain that is called 7.
                    "domain": ParameterValue(LaunchConfiguration("domain"), value_type=str),
                    "joint_prefix": ParameterValue(LaunchConfiguration("prefix"), value_type=str),
                    "frame_prefix": ParameterValue(LaunchConfiguration("prefix"), value_type=str),
                },
            ],
            remappings=[
                (topics.IMAGE, LaunchConfiguration("image_topic")),
                (topics.JOINT_STATES, LaunchConfiguration("joint_states_topic")),
                (topics.TRAJECTORY, LaunchConfiguration("trajectory_topic")),
                (topics.COMMANDS, LaunchConfiguration("commands_topic")),
            ],
            # The enclave is of config/sros2/, and means nothing without security.
            ros_arguments=[*log_arguments(context), "--enclave", "/taskgan_ros/sim_node"],
            output="screen",
            on_exit=on_exit("sim_node", is_required(context)),
        )
    ]
