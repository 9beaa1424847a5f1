"""What `record.launch.py` runs: `ros2 bag record` of the topics that `taskgan import` reads. No ROS in here."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from taskgan_ros.nodes import topics

_MOTION = (topics.TRAJECTORY, topics.COMMANDS)  # reach_node publishes one of them: `command_interface` says which
DECISIONS = (*_MOTION, "reach_node/status", topics.DIAGNOSTICS)  # what says why the arm did what it did


def record_command(arguments: Mapping[str, str]) -> list[str]:
    """Return the command line, from the launch file's arguments by name."""
    output = ["-o", arguments["bag"]] if arguments["bag"] else []
    clock = ["--use-sim-time"] if arguments["use_sim_time"] == "true" else []
    plain = ["-s", arguments["storage"], "--log-level", arguments["log_level"]]
    # Not as positional arguments, which Jazzy's rosbag2 warns of and later ones refuse.
    return ["ros2", "bag", "record", *plain, *clock, *output, "--topics", *recorded_topics(arguments)]


def recorded_topics(arguments: Mapping[str, str]) -> list[str]:
    """Return the topics that are recorded: images, camera_info, joint states, decisions, the user's; all absolute."""
    image = arguments["image_topic"]
    beside = topics.camera_info_beside(image)
    info = beside if arguments["info_topic"] == topics.AUTO else arguments["info_topic"]
    decisions = DECISIONS if arguments["decisions"] == "true" else ()
    names = [image, info, arguments["joint_states_topic"], *decisions, *shlex.split(arguments["extra"])]
    return [_absolute(name, arguments["namespace"]) for name in names]


def _absolute(topic: str, namespace: str) -> str:
    return topic if topic.startswith("/") else "/" + "/".join(filter(None, (namespace.strip("/"), topic)))
