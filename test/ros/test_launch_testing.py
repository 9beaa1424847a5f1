"""`reach.launch.py` as launch_testing runs it, where ROS 2 and the package are installed: `colcon test` does."""

from __future__ import annotations

import time
import unittest
from pathlib import Path
from typing import Any

import pytest

launch_testing = pytest.importorskip("launch_testing", reason="launch_testing is in a ROS 2 installation only")
pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory  # noqa: E402

try:
    SHARE = Path(get_package_share_directory("taskgan_ros"))
except PackageNotFoundError:
    pytest.skip("taskgan_ros is not built, or its workspace is not sourced", allow_module_level=True)

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from rclpy.node import Node  # noqa: E402

from launch import LaunchDescription  # type: ignore[attr-defined] # noqa: E402  # mypy takes launch/ for it

PATIENCE_S = 60.0


@pytest.mark.launch_test
def generate_test_description() -> LaunchDescription:
    """Start the whole loop, with booleans as people write them."""
    source = PythonLaunchDescriptionSource(str(SHARE / "launch" / "reach.launch.py"))
    arguments = {"sim": "Yes", "rviz": "0", "namespace": "cell", "description": "off"}
    loop = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    return LaunchDescription([loop, launch_testing.actions.ReadyToTest()])


class TestLoop(unittest.TestCase):
    """While it runs."""

    node: Node

    @classmethod
    def setUpClass(cls) -> None:
        rclpy.init()
        cls.node = Node("test_launch_testing")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.node.destroy_node()
        rclpy.shutdown()

    def test_it_commands_the_arm(self) -> None:
        """The status says so: the simulated cell has been seen, and its arm moved."""
        told: list[str] = []

        def note(message: DiagnosticArray) -> None:
            told.extend(pair.value for pair in message.status[0].values if pair.key == "decision")

        self.node.create_subscription(DiagnosticArray, "/cell/reach_node/status", note, 10)
        deadline_s = time.monotonic() + PATIENCE_S
        while "command" not in told and time.monotonic() < deadline_s:
            rclpy.spin_once(self.node, timeout_sec=0.1)
        assert "command" in told


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    """After its end."""

    def test_the_nodes_have_ended_in_good_order(self, proc_info: Any) -> None:
        launch_testing.asserts.assertExitCodes(proc_info)
