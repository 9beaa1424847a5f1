"""`reach_node` with a stamp at each hop of an image: `hop_probe.py OUT.npy ROS_ARGUMENTS`; the node itself has none.

Functions of the node, of rclpy and of the networks are wrapped here, in its own process. `hops.py` starts it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.impl.implementation_singleton import rclpy_implementation
from sensor_msgs.msg import CompressedImage, Image

from taskgan_ros.control.commander import JointCommander
from taskgan_ros.nodes import reach_node
from taskgan_ros.nodes.newest import NewestOnly
from taskgan_ros.nodes.outputs import TrajectoryOutput
from taskgan_ros.policy.policy import Policy
from taskgan_ros.reach.camera_image import CameraImage, Framing
from taskgan_ros.reach.pipeline import Pipeline
from taskgan_ros.reach.reacher import Reacher

HOPS = (  # what ends at each stamp, the first of which is the image's own
    "stamp",
    "message made, in the camera's process",
    "DDS",
    "thread awake",
    "wait set, to the take",
    "take",
    "stamp checked",
    "hand-over to the worker",
    "decode, crop, resize",
    "to the networks",
    "networks",
    "to the guard",
    "guard",
    "decision",
    "limits and motion",
    "published",
)
_KEPT = 100  # images under way


class Stamps:
    """Stamps of each image, ns on the clock of stamps, by the image's own."""

    def __init__(self) -> None:
        """Start without any."""
        self._under_way: OrderedDict[int, list[int]] = OrderedDict()
        self._of_thread = threading.local()
        self.finished: list[list[int]] = []

    def begin(self, stamps: list[int]) -> None:
        """Begin an image that this thread has taken."""
        self._under_way[stamps[0]] = stamps
        while len(self._under_way) > _KEPT:
            self._under_way.popitem(last=False)
        self._of_thread.stamps = stamps

    def resume(self, stamp_s: float) -> None:
        """Go on with an image in this thread."""
        found = min(self._under_way, key=lambda stamp: abs(stamp - stamp_s * 1e9), default=None)
        self._of_thread.stamps = [] if found is None else self._under_way[found]

    def add(self, hop: str) -> None:
        """Stamp the image that this thread is at, if it is the end of this one of `HOPS`, for the first time."""
        stamps = getattr(self._of_thread, "stamps", [])
        if len(stamps) < len(HOPS) and HOPS[len(stamps)] == hop:
            stamps.append(time.time_ns())
            if len(stamps) == len(HOPS):
                self.finished.append(stamps)

    def woke(self) -> None:
        """Note that this thread's wait has ended."""
        self._of_thread.woke = time.time_ns()

    @property
    def woke_ns(self) -> int:
        """When this thread's last wait ended."""
        return int(getattr(self._of_thread, "woke", 0))

    def save(self, path: Path) -> None:
        """Write those of all images that were commanded by."""
        np.save(path, np.array(self.finished, np.int64).reshape(-1, len(HOPS)))


STAMPS = Stamps()


def wrap(owner: Any, name: str, before: str = "", after: str = "") -> None:
    """Stamp before and after each call of `owner.name`."""
    call: Callable[..., Any] = getattr(owner, name)

    def stamped(*arguments: Any, **options: Any) -> Any:
        if before:
            STAMPS.add(before)
        result = call(*arguments, **options)
        if after:
            STAMPS.add(after)
        return result

    setattr(owner, name, stamped)


def wrap_rclpy() -> None:
    """Stamp the end of a wait, and the take of an image."""
    wait, take = rclpy_implementation.WaitSet.wait, rclpy_implementation.Subscription.take_message

    def stamped_wait(*arguments: Any) -> None:
        wait(*arguments)
        STAMPS.woke()

    def stamped_take(subscription: Any, kind: type, raw: bool) -> Any:
        began_ns = time.time_ns()
        taken = take(subscription, kind, raw)
        if kind in (Image, CompressedImage) and taken is not None:
            message, info = taken
            sent_ns, came_ns = info["source_timestamp"], info["received_timestamp"]
            STAMPS.begin([stamp_of(message), sent_ns, came_ns, STAMPS.woke_ns, began_ns, time.time_ns()])
        return taken

    rclpy_implementation.WaitSet.wait, rclpy_implementation.Subscription.take_message = stamped_wait, stamped_take


def stamp_of(message: Image | CompressedImage) -> int:
    """Return an image's stamp in ns."""
    return int(message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec)


def wrap_worker() -> None:
    """Go on with an image where the worker takes it."""
    infer = Reacher.infer

    def stamped_infer(self: Reacher, image: CameraImage) -> None:
        STAMPS.resume(image.stamp_s)
        STAMPS.add("hand-over to the worker")
        infer(self, image)

    Reacher.infer = stamped_infer  # type: ignore[method-assign]


def main() -> None:
    """Run the node; what it stamped is written when it ends."""
    out = Path(sys.argv.pop(1))
    wrap_rclpy()
    wrap_worker()
    wrap(NewestOnly, "put", before="stamp checked")
    wrap(Framing, "read", after="decode, crop, resize")
    wrap(Policy, "act", before="to the networks", after="networks")
    wrap(Pipeline, "score", before="to the guard", after="guard")
    wrap(JointCommander, "follow", before="decision", after="limits and motion")
    wrap(TrajectoryOutput, "send", after="published")
    stop = reach_node.ReachNode.stop

    def stop_and_save(node: reach_node.ReachNode) -> None:
        stop(node)
        STAMPS.save(out)

    reach_node.ReachNode.stop = stop_and_save  # type: ignore[method-assign, assignment]
    reach_node.main()


if __name__ == "__main__":
    main()
