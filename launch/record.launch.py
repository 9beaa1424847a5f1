"""Record what `taskgan import` reads: `ros2 bag record` of the camera's and the arm's topics.

    ros2 launch taskgan_ros record.launch.py image_topic:=/camera/image_raw joint_states_topic:=/joint_states \
        extra:="/tf /tf_static" bag:=my_recording

End it with Ctrl-C, so that the bag gets its index. docs/recordings.md says which motions to record.
"""

from launch.actions import DeclareLaunchArgument, ExecuteProcess, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from launch import Action, LaunchContext, LaunchDescription  # type: ignore[attr-defined]  # mypy takes this folder for it
from taskgan_ros.nodes import topics

ARGUMENTS = [
    DeclareLaunchArgument(
        "image_topic",
        default_value=topics.IMAGE,
        description="Camera images: sensor_msgs/Image, or CompressedImage, which needs a tenth of the disk.",
    ),
    DeclareLaunchArgument(
        "info_topic", default_value="auto", description="Its camera_info; auto: the one beside the images."
    ),
    DeclareLaunchArgument(
        "joint_states_topic", default_value=topics.JOINT_STATES, description="Joint states, sensor_msgs/JointState."
    ),
    DeclareLaunchArgument(
        "extra", default_value="", description="More topics, with spaces between: /tf and /tf_static, a target's pose."
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Of topics that do not start with /."),
    DeclareLaunchArgument(
        "bag", default_value="", description="The folder to write, which must not exist; named by the time if empty."
    ),
    DeclareLaunchArgument(
        "storage", default_value="mcap", choices=["mcap", "sqlite3"], description="How rosbag2 stores it."
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Start the recorder; the launch ends with it."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=record)])


def record(context: LaunchContext) -> list[Action]:
    """Return what says the topics, and the recorder of them."""
    # Imported here, because `ros2 launch --show-args` loads this file too.
    from taskgan_ros.nodes.record_command import record_command, recorded_topics

    values = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    return [
        LogInfo(msg=f"recording {', '.join(recorded_topics(values))}; Ctrl-C ends it"),
        ExecuteProcess(
            cmd=record_command(values), output="screen", sigterm_timeout="10"
        ),  # SIGKILL would leave no index
    ]
