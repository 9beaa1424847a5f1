from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from taskgan_ros.core import interrupts
from taskgan_ros.demo import isolation
from taskgan_ros.demo.isolation import ChildProcesses, ProcessEnded, SessionError

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(grandchild.pid, flush=True)
time.sleep(60)
"""
HEARING = """
import time
import rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("hearing")
heard = node.create_subscription(Image, "image", print, 1)
print("ready", flush=True)
time.sleep(60)
"""
SLOW = """
import time
print("started", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.3)
    print("ended", flush=True)
"""


def has_ended(pid: int) -> bool:
    """Return whether a process that was killed is gone before long."""
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def stubborn(children: ChildProcesses, folder: Path) -> int:
    """Start a process that ignores SIGINT, with one of its own, whose id is returned."""
    children.start("stubborn", [sys.executable, "-c", STUBBORN])
    deadline = time.monotonic() + 30
    while not (text := (folder / "stubborn.log").read_text()).endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(text)


def test_what_ignores_the_interrupt_is_killed_with_its_own_children(tmp_path: Path) -> None:
    with ChildProcesses(tmp_path) as children:
        grandchild = stubborn(children, tmp_path)
        assert children.stop(grace_s=0.2) == ("stubborn",)
    assert has_ended(grandchild)


def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with ChildProcesses(tmp_path) as children:
        grandchild = stubborn(children, tmp_path)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        started_s = time.monotonic()
        children.stop(grace_s=60)
        assert time.monotonic() - started_s < 30
    assert has_ended(grandchild)
    assert signal.getsignal(signal.SIGINT) is before


def end_for_a_signal_that_comes_twice(children: ChildProcesses) -> None:
    with interrupts.deferred():
        signal.raise_signal(signal.SIGHUP)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGHUP)).start()  # as the shell of a lost terminal does
        children.stop(grace_s=60)


def test_the_signal_that_it_ends_for_may_come_twice(tmp_path: Path) -> None:
    with ChildProcesses(tmp_path) as children:
        children.start("slow", [sys.executable, "-c", SLOW])
        while not (tmp_path / "slow.log").read_text():
            time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            end_for_a_signal_that_comes_twice(children)
    assert (tmp_path / "slow.log").read_text() == "started\nended\n"


def check_for_long(children: ChildProcesses) -> None:
    for _ in range(3000):
        children.check()
        time.sleep(0.01)


def test_a_process_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    code = "for k in range(50): print('line', k)\nraise SystemExit(3)"
    with ChildProcesses(tmp_path) as children:
        children.start("short", [sys.executable, "-c", code])
        with pytest.raises(ProcessEnded) as caught:
            check_for_long(children)
    assert "expected short to run, but it ended with status 3" in str(caught.value)
    assert "line 49" in str(caught.value)
    assert "line 20\n" not in str(caught.value)


def test_two_sessions_get_two_domains() -> None:
    with isolation.own_domain() as first, isolation.own_domain() as second:
        assert first != second


def test_a_domain_in_which_someone_listens_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_LAST_DOMAIN_ID", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as someone:
        someone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as DDS does
        someone.bind(("", 7400 + 250 + 11))
        with pytest.raises(SessionError, match="all in use"), isolation.own_domain():
            pass


def test_the_environment_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGAN_A", "mine")
    monkeypatch.setenv("TASKGAN_B", "mine")
    monkeypatch.delenv("TASKGAN_C", raising=False)
    with isolation.environment({"TASKGAN_A": "x", "TASKGAN_B": None, "TASKGAN_C": "x"}):
        assert (os.environ["TASKGAN_A"], "TASKGAN_B" in os.environ, os.environ["TASKGAN_C"]) == ("x", False, "x")
    assert (os.environ["TASKGAN_A"], os.environ["TASKGAN_B"], "TASKGAN_C" in os.environ) == ("mine", "mine", False)


def test_nodes_speak_within_this_machine_and_share_no_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is needed")
    if _range() == "LOCALHOST":
        pytest.skip("only Jazzy's Fast DDS has a profile of ours")
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "the user's own")
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", "1")
    with isolation.isolated(tmp_path) as (_, processes):
        node = processes.start("hearing", [sys.executable, "-c", HEARING])
        isolation.wait_until("the node", lambda: "ready" in node.text, 30)
        connections = psutil.Process(node.popen.pid).net_connections("inet")
        mapped = Path(f"/proc/{node.popen.pid}/maps").read_text()
    assert {connection.laddr.ip for connection in connections} == {"127.0.0.1"}
    assert "/dev/shm/fastrtps" not in mapped
    assert "Error" not in node.text  # of Fast DDS, about its profile


def test_without_a_profile_that_was_tried_the_range_is_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "")
    assert _range() == "SYSTEM_DEFAULT"
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_zenoh_cpp")
    assert _range() == "LOCALHOST"
    monkeypatch.delenv("RMW_IMPLEMENTATION")
    monkeypatch.setenv("ROS_DISTRO", "kilted")
    assert _range() == "LOCALHOST"


def _range() -> str | None:
    return isolation.loopback_environment()["ROS_AUTOMATIC_DISCOVERY_RANGE"]
