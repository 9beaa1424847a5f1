"""`ros2 launch taskgan_ros reach.launch.py`, where ROS 2 and the package are installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

if TYPE_CHECKING:
    from test.ros.conftest import Lab

WaitUntil = Callable[..., None]

START_S, END_S = 60.0, 30.0  # each takes a second or two on an idle machine


class Launch:
    """A running `ros2 launch taskgan_ros reach.launch.py`."""

    def __init__(self, folder: Path, domain_id: int, *arguments: str, file: str = "") -> None:
        named = [file] if file else ["taskgan_ros", "reach.launch.py"]
        self._printed = folder / "printed.txt"
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "ROS_LOG_DIR": str(folder)}
        with self._printed.open("w") as printed:
            self._popen = subprocess.Popen(
                ["ros2", "launch", *named, *arguments],
                env=environment,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self) -> str:
        return self._printed.read_text()

    def nodes(self) -> dict[str, psutil.Process]:
        """Return the running nodes by the names of their executables."""
        return {
            Path(word).name: child
            for child in self.children()
            for word in child.cmdline()
            if "lib/taskgan_ros/" in word
        }

    def children(self) -> list[psutil.Process]:
        return [child for child in psutil.Process(self._popen.pid).children() if child.is_running()]

    def interrupt(self) -> None:
        self._popen.send_signal(signal.SIGINT)

    def wait(self) -> int:
        return self._popen.wait(END_S)

    def kill(self) -> None:
        if self._popen.poll() is None:
            for process in (*psutil.Process(self._popen.pid).children(recursive=True), self._popen):
                process.kill()


@pytest.fixture
def launch(tmp_path: Path, lab: Lab) -> Iterator[Callable[..., Launch]]:
    """Return a function that launches; whatever a test does, all is ended after it."""
    try:
        get_package_prefix("taskgan_ros")
    except PackageNotFoundError:
        pytest.skip("taskgan_ros is not built, or its workspace is not sourced")
    if not shutil.which("ros2"):
        pytest.skip("the command ros2 is not installed")
    started: list[Launch] = []

    def start(*arguments: str, file: str = "") -> Launch:
        started.append(Launch(tmp_path, lab.domain_id, *arguments, file=file))
        return started[-1]

    yield start
    for launched in started:
        launched.kill()


def test_it_runs_and_ends_with_ctrl_c(launch: Callable[..., Launch], wait_until: WaitUntil) -> None:
    running = launch()
    wait_until(lambda: "[reach_node]: running" in running.printed, "a commanded arm", START_S)
    nodes = running.nodes()
    assert set(nodes) == {"sim_node", "reach_node"}
    running.interrupt()
    running.wait()
    assert "[reach_node]: inactive" in running.printed  # it has held the arm
    assert not any(node.is_running() for node in nodes.values())


@pytest.mark.parametrize("name", ["sim_node", "reach_node"])
def test_a_node_that_dies_ends_it_with_an_error(
    name: str, launch: Callable[..., Launch], wait_until: WaitUntil
) -> None:
    running = launch("namespace:=left")
    wait_until(lambda: "[left.reach_node]: running" in running.printed, "a commanded arm", START_S)
    nodes = running.nodes()
    nodes[name].kill()
    assert running.wait() == 1, running.printed
    assert f"{name} has ended with exit code -9" in running.printed
    assert not any(node.is_running() for node in nodes.values())


def test_what_cannot_be_configured_ends_it_with_an_error(launch: Callable[..., Launch]) -> None:
    running = launch("bundle:=nowhere", "sim:=false")
    assert running.wait() == 1, running.printed
    assert "cannot configure: bundle: expected a folder or one of" in running.printed
    assert "reach_node could not be configured" in running.printed


def test_only_its_own_configure_activates_or_ends_it(
    lab: Lab, launch: Callable[..., Launch], wait_until: WaitUntil
) -> None:
    running = launch("sim:=false")
    wait_until(lambda: "[reach_node]: waiting: no joint states yet" in running.printed, "an active node", START_S)
    assert lab.change("deactivate")
    assert lab.change("cleanup")
    assert lab.set_parameter("bundle", "nowhere") == ""
    assert not lab.change("configure")
    assert lab.set_parameter("bundle", "reach_target_wood") == ""
    assert lab.change("configure")
    time.sleep(1)
    assert lab.state == "inactive"
    assert "could not be" not in running.printed


def test_a_parameter_file_for_another_node_ends_it_before_a_node_runs(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("/reach: {ros__parameters: {speed_scale: 0.2}}")
    running = launch(f"reach_params:={tmp_path / 'mine.yaml'}")
    assert running.wait() == 1, running.printed
    assert "expected parameters for /reach_node, e.g. under /**/reach_node, got ['/reach']" in running.printed
    assert "process started" not in running.printed


BRINGUP = """
import os
from launch.actions import ExecuteProcess, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.substitutions import FindPackageShare
from launch import LaunchDescription

def show(context):
    kept = {name for name in ("FASTRTPS_DEFAULT_PROFILES_FILE",) if name in os.environ}
    print("left:", sorted({*context.launch_configurations} - {*GIVEN, "imagetopic"}), sorted(kept), flush=True)

GIVEN = {"bundle": "nowhere", "sim": "false", "required": "REQUIRED"}

def generate_launch_description():
    os.environ.pop("FASTRTPS_DEFAULT_PROFILES_FILE", None)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    file = [FindPackageShare("taskgan_ros"), "/launch/reach.launch.py"]
    return LaunchDescription([
        IncludeLaunchDescription(PythonLaunchDescriptionSource(file), launch_arguments=GIVEN.items()),
        OpaqueFunction(function=show),
        ExecuteProcess(cmd=["sleep", "600"], name="driver"),
    ])
"""


@pytest.mark.parametrize("required", ["true", "false"])
def test_included_it_leaves_nothing_and_ends_the_rest_only_if_that_is_wanted(
    required: str, lab: Lab, launch: Callable[..., Launch], wait_until: WaitUntil, tmp_path: Path
) -> None:
    file = tmp_path / "bringup.launch.py"
    file.write_text(BRINGUP.replace("REQUIRED", required))
    running = launch("imagetopic:=theirs", file=str(file))
    if required == "true":
        assert running.wait() == 1, running.printed
    else:
        wait_until(lambda: "[ERROR] [taskgan_ros]: reach_node could not be" in running.printed, "the reason", START_S)
        assert lab.set_parameter("bundle", "reach_target_wood") == ""
        assert lab.change("configure")
        assert len(running.children()) == 2
    assert "reach_node could not be configured: see its log above" in running.printed
    assert "left: [] []" in running.printed
    assert "there is no argument" not in running.printed
