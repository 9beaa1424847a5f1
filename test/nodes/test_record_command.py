from __future__ import annotations

import pytest

from taskgan_ros.nodes.record_command import record_command, recorded_topics

DEFAULTS = {
    "image_topic": "image_raw",
    "info_topic": "auto",
    "joint_states_topic": "joint_states",
    "extra": "",
    "namespace": "",
    "bag": "",
    "storage": "mcap",
    "decisions": "false",
    "use_sim_time": "false",
    "log_level": "info",
}


@pytest.mark.parametrize(
    ("given", "topics"),
    [
        ({}, ["/image_raw", "/camera_info", "/joint_states"]),
        (
            {"image_topic": "/cam/color/image_raw/compressed", "extra": "/tf /tf_static"},
            ["/cam/color/image_raw/compressed", "/cam/color/camera_info", "/joint_states", "/tf", "/tf_static"],
        ),
        (
            {"decisions": "true", "namespace": "left"},
            [
                *(f"/left/{name}" for name in ("image_raw", "camera_info", "joint_states")),
                *("/left/joint_trajectory", "/left/joint_commands"),
                "/left/reach_node/status",
                "/diagnostics",
            ],
        ),
        ({"namespace": "/left", "info_topic": "/k"}, ["/left/image_raw", "/k", "/left/joint_states"]),
    ],
)
def test_what_is_recorded(given: dict[str, str], topics: list[str]) -> None:
    assert recorded_topics(DEFAULTS | given) == topics
    assert record_command(DEFAULTS | given) == [
        *("ros2", "bag", "record", "-s", "mcap", "--log-level", "info", "--topics"),
        *topics,
    ]


def test_the_bag_its_storage_and_its_clock_are_the_users() -> None:
    command = record_command(DEFAULTS | {"bag": "mine", "storage": "sqlite3", "use_sim_time": "true"})
    assert command[3:5] == ["-s", "sqlite3"]
    assert command[7:10] == ["--use-sim-time", "-o", "mine"]
