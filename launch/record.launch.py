"""Record what `taskgan import` reads: `ros2 bag record` of the camera's and the arm's topics.

    ros2 launch taskgan_ros record.launch.py image_topic:=/camera/image_raw joint_states_topic:=/joint_states \
        extra:="/tf /tf_static" bag:=my_recording

With `decisions:=true` the bag also says what reach_node decided of each image, and why. End it with Ctrl-C, so that the
bag gets its index. docs/recordings.md says which motions to record.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, ExecuteProcess, GroupAction, LogInfo

from launch import Action, LaunchContext, LaunchDescription  # type: ignore[attr-defined]  # mypy takes this folder for it
from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.launching import attempt, check_arguments, common_arguments, is_required, on_exit

BOOLEANS = ("required", "decisions", "use_sim_time")
STORAGES = ("mcap", "sqlite3")

ARGUMENTS = [
    DeclareLaunchArgument(
        "image_topic",
        default_value=topics.IMAGE,
        description="Image, or CompressedImage, a tenth of the size.",
    ),
    DeclareLaunchArgument(
        "info_topic", default_value="auto", description="Its camera_info; auto: the one beside the images."
    ),
    DeclareLaunchArgument(
        "joint_states_topic", default_value=topics.JOINT_STATES, description="Joint states, sensor_msgs/JointState."
    ),
    DeclareLaunchArgument(
        "decisions", default_value="false", description="Record what reach_node decides, and why, too."
    ),
    DeclareLaunchArgument(
        "extra", default_value="", description="More topics, with spaces between: /tf and /tf_static."
    ),
    DeclareLaunchArgument("bag", default_value="", description="The folder to write; named by the time if empty."),
    DeclareLaunchArgument("storage", default_value="mcap", description="rosbag2's storage: mcap or sqlite3."),
    *common_arguments(),
]


def generate_launch_description() -> LaunchDescription:
    """Start the recorder, in a scope of its own."""
    return LaunchDescription([GroupAction([*ARGUMENTS, attempt(record)])])


def record(context: LaunchContext) -> list[Action]:
    """Return a log line with the topics, and their recorder; if that ends, so does the launch if required.

    Raises:
        InputError: a wrong argument.
    """
    # Imported here, because `ros2 launch --show-args` loads this file too.
    from taskgan_ros.nodes.record_command import record_command, recorded_topics

    names = [argument.name for argument in ARGUMENTS]
    check_arguments(context, Path(__file__).name, names, BOOLEANS)
    values = {name: context.launch_configurations[name] for name in names}
    if values["storage"] not in STORAGES:
        raise InputError(f"storage: expected {' or '.join(STORAGES)}, got {values['storage']!r}")
    return [
        LogInfo(msg=f"recording {', '.join(recorded_topics(values))}; Ctrl-C ends it"),
        ExecuteProcess(
            cmd=record_command(values),
            output="screen",
            sigterm_timeout="10",  # SIGKILL would leave no index
            on_exit=on_exit("the recorder", is_required(context)),
        ),
    ]
