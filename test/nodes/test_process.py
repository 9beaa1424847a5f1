from __future__ import annotations

import subprocess
import sys
import threading

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
