from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is needed: an installation, or the `ros-wheels` extra")

from taskgan_ros.nodes.process import Stop

# Four signals within half a millisecond, so that some come while the one before is still being handled.
BURSTS = """
import signal
from taskgan_ros.nodes.process import Stop

left = 0

def handler(*_):
    global left
    left -= 1
    if left <= 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
    stop()

signal.signal(signal.SIGALRM, handler)
for _ in range(500):
    stop, left = Stop(), 4
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-4)
    stop.wait()
    signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_signals_that_interrupt_each_other_do_not_lock_it_up() -> None:
    subprocess.run([sys.executable, "-c", BURSTS], timeout=60, check=True)


# The kernel chooses the thread; here it is never the main one.
ELSEWHERE = """
import signal, threading, time
from taskgan_ros.nodes.process import Stop

def interrupt():
    time.sleep(0.2)  # until the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    time.sleep(600)

stop = Stop()
signal.signal(signal.SIGINT, lambda *_: stop())
threading.Thread(target=interrupt, daemon=True).start()
stop.wait()
"""


def test_a_signal_that_another_thread_gets_ends_it_too() -> None:
    subprocess.run([sys.executable, "-c", ELSEWHERE], timeout=20, check=True)


BUSY = """
import threading, time
from taskgan_ros.nodes.process import finish
threading.Thread(target=time.sleep, args=[600]).start()
print("written")
finish(3)
"""


def test_a_thread_that_does_not_end_neither_delays_the_end_nor_changes_its_status() -> None:
    done = subprocess.run([sys.executable, "-c", BUSY], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "written\n", "")


LATE = """
import os, signal
from taskgan_ros.nodes.process import finish

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

late = Late()
signal.signal(signal.SIGINT, lambda *_: None)
finish(3)
"""


def test_a_signal_while_python_ends_does_not_change_the_status() -> None:
    assert subprocess.run([sys.executable, "-c", LATE], timeout=20).returncode == 3


def test_a_node_ends_it_with_a_reason() -> None:
    stop = Stop()
    threading.Timer(0.01, stop, args=["the camera failed"]).start()
    assert stop.wait() == "the camera failed"


STARTS = """
import sys
from rclpy.exceptions import InvalidTopicNameException
from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes.process import run

def make(stop):
    raise {error}

sys.exit(run("cell", make, None, None))
"""


def refusal(error: str, *words: str) -> list[str]:
    """Return the fatal lines of a node that cannot be made; check that there is nothing else but rcl's own line."""
    script = [sys.executable, "-c", STARTS.format(error=error), "--ros-args", *words]
    done = subprocess.run(script, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    lines = [line for line in done.stderr.splitlines() if "[rcl]: Failed to parse global arguments" not in line]
    assert all(re.fullmatch(r"\[FATAL\] \[[0-9.]+\] \[cell\]: .*", line) for line in lines), done.stderr
    return [line.split("[cell]: ")[1] for line in lines]


def test_why_there_is_no_node_is_logged_with_a_level_a_line_a_fault() -> None:
    assert refusal("InputError('scene: got x\\ndomain: got y')") == ["scene: got x", "domain: got y"]
    (line,) = refusal("InvalidTopicNameException('a b', 'must not contain a space', 1)")
    assert line.startswith("refused by ROS: Invalid topic name: must not contain a space: 'a b'")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-r", "image_raw:=1st"], "refused by ROS: Couldn't parse remap rule: '-r image_raw:=1st'"),
        (["-p", "guard"], "refused by ROS: Couldn't parse parameter override rule: '-p guard'. Error: Expected lexeme"),
        (["--param-file", "x"], "expected ROS arguments, got unknown ones: ['--param-file', 'x']"),
    ],
)
def test_arguments_that_ros_cannot_read_are_one_line(words: list[str], reason: str) -> None:
    (line,) = refusal("AssertionError", *words)
    assert line.startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/**:\n  ros__parameters:\n    a: [1\n", "Error parsing a event near line"),
        ("/**:\n  speed_scale: 0.2\n", "Cannot have a value before ros__parameters at line 2"),
        ("/**:\n  ros__parameters:\n    a: [1, 0.5]\n", "in one list, write all numbers with a decimal point, or none"),
    ],
)
def test_a_parameter_file_that_ros_cannot_read_is_one_line(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    (line,) = refusal("AssertionError", "--params-file", str(file))
    assert line.startswith(f"refused by ROS: Couldn't parse params file: '--params-file {file}'. Error: ")
    assert reason in line
    assert "arguments.c" not in line
