"""What `record.launch.py` runs: `ros2 bag record` of the topics that `taskgan import` reads. No ROS in here."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

AUTO = "auto"


def record_command(arguments: Mapping[str, str]) -> list[str]:
    """Return the command line, from the launch file's arguments by name."""
    output = ["-o", arguments["bag"]] if arguments["bag"] else []
    return ["ros2", "bag", "record", "-s", arguments["storage"], *output, *recorded_topics(arguments)]


def recorded_topics(arguments: Mapping[str, str]) -> list[str]:
    """Return the topics that are recorded: images, camera_info, joint states and the user's, all absolute."""
    image = arguments["image_topic"]
    folder, slash, _ = image.removesuffix("/compressed").rpartition("/")
    beside = f"{folder}{slash}camera_info"
    info = beside if arguments["info_topic"] == AUTO else arguments["info_topic"]
    names = [image, info, arguments["joint_states_topic"], *shlex.split(arguments["extra"])]
    return [_absolute(name, arguments["namespace"]) for name in names]


def _absolute(topic: str, namespace: str) -> str:
    return topic if topic.startswith("/") else "/" + "/".join(filter(None, (namespace.strip("/"), topic)))
