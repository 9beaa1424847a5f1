"""`ros2 launch taskgan_ros reach.launch.py`, where ROS 2 and the package are installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from taskgan_ros.nodes.isolation import own_domain

WaitUntil = Callable[..., None]

START_S, END_S = 60.0, 30.0  # each takes a second or two on an idle machine


class Launch:
    """A running `ros2 launch taskgan_ros reach.launch.py`."""

    def __init__(self, folder: Path, domain_id: int, *arguments: str) -> None:
        self._printed = folder / "printed.txt"
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "ROS_LOG_DIR": str(folder)}
        with self._printed.open("w") as file:
            self._popen = subprocess.Popen(
                ["ros2", "launch", "taskgan_ros", "reach.launch.py", *arguments],
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self) -> str:
        return self._printed.read_text()

    def nodes(self) -> dict[str, psutil.Process]:
        """Return the running nodes by the names of their executables."""
        children = psutil.Process(self._popen.pid).children()
        return {Path(word).name: child for child in children for word in child.cmdline() if "lib/taskgan_ros/" in word}

    def interrupt(self) -> None:
        self._popen.send_signal(signal.SIGINT)

    def wait(self) -> int:
        return self._popen.wait(END_S)

    def kill(self) -> None:
        if self._popen.poll() is None:
            for process in (*psutil.Process(self._popen.pid).children(recursive=True), self._popen):
                process.kill()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """Return a function that launches; whatever a test does, all is ended after it."""
    try:
        get_package_prefix("taskgan_ros")
    except PackageNotFoundError:
        pytest.skip("taskgan_ros is not built, or its workspace is not sourced")
    if not shutil.which("ros2"):
        pytest.skip("the command ros2 is not installed")
    started: list[Launch] = []
    with own_domain() as domain_id:

        def start(*arguments: str) -> Launch:
            started.append(Launch(tmp_path, domain_id, *arguments))
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
