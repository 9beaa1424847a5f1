"""What reach_node does with camera images besides commanding: an overlay for aiming, and detecting a moved camera.

Both run in their own threads at low priority: a command never waits for them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from taskgan_ros.nodes.endpoints import Endpoints
from taskgan_ros.nodes.image_conversion import image_message
from taskgan_ros.nodes.newest import NewestOnly
from taskgan_ros.reach.camera_watch import CameraWatch, Sample
from taskgan_ros.reach.drawn_arm import DrawnArm
from taskgan_ros.reach.reacher import Decision

_OVERLAY_S = 0.2  # between two overlays
_NICE = 10  # of the threads
_STOP_S = 2.0  # to wait for what is under way


@dataclass(frozen=True)
class _Picture:
    rgb: NDArray[np.uint8]
    joint_pos: NDArray[np.float64]
    header: Header
    caption: str


class CameraSide:
    """Draws and watches, as far as the bundle says what the arm looks like and where its camera stands."""

    def __init__(self, node: LifecycleNode, endpoints: Endpoints, arm: DrawnArm | None, period_s: float) -> None:
        """Advertise `~/overlay`.

        Args:
            node: whose it is.
            endpoints: the node's; destroying them also stops it.
            arm: None where the bundle does not say: nothing is drawn or watched then.
            period_s: see `CameraWatch`; negative watches nothing.
        """
        self._arm, self._lock = arm, threading.Lock()
        self._watch = CameraWatch(arm, period_s) if arm and period_s >= 0 else None
        self._drawn_s = 0.0
        self._drawer = NewestOnly(_kindly(self._draw), "overlay")
        self._watcher = NewestOnly(_kindly(self._look), "camera watch")
        endpoints.keep(CameraSide.stop, self)  # before the publisher goes, which they use
        self._overlays = endpoints.advertise(Image, "~/overlay", QoSProfile(depth=1))
        if arm is None:
            node.get_logger().info(
                "no ~/overlay: the bundle does not say what its arm looks like, or where its camera stands"
            )

    def show(self, decision: Decision, caption: str) -> None:
        """Hand an image over, if it is needed; must be quick, as the caller holds the reacher's lock."""
        measured, now_s = decision.image.measured, time.monotonic()
        if self._arm is None or measured is None:
            return
        if self._overlays.get_subscription_count() > 0 and now_s - self._drawn_s >= _OVERLAY_S:
            self._drawn_s = now_s
            self._drawer.put(_Picture(decision.rgb, measured, decision.image.header, caption))
        if self._watch:
            with self._lock:
                samples = self._watch.note(now_s, decision.rgb, measured, bool(decision.objection))
            if samples:
                self._watcher.put(samples)

    @property
    def sentence(self) -> str:
        """How the camera seems to have moved, or nothing."""
        with self._lock:
            return self._watch.sentence if self._watch else ""

    def values(self) -> dict[str, object]:
        """Return the newest estimate for diagnostics."""
        with self._lock:
            motion = self._watch.motion if self._watch else None
        if motion is None:
            return {}
        shift_cm, turn_deg = 100 * motion.shift_m, np.rad2deg(motion.turn_rad)
        return {
            "camera_moved_px": motion.pixels,
            "camera_moved_is_certain": motion.is_certain,
            **{f"camera_moved_{axis}_cm": float(value) for axis, value in zip("xyz", shift_cm, strict=True)},
            **{f"camera_turned_{axis}_deg": float(value) for axis, value in zip("xyz", turn_deg, strict=True)},
        }

    def stop(self) -> None:
        """End the threads."""
        self._drawer.stop(_STOP_S)
        self._watcher.stop(_STOP_S)

    def _draw(self, picture: _Picture) -> None:
        assert self._arm is not None
        overlay = self._arm.overlay(picture.rgb, picture.joint_pos, picture.caption)
        self._overlays.publish(image_message(overlay, picture.header))

    def _look(self, samples: list[Sample]) -> None:
        assert self._arm is not None
        assert self._watch is not None
        motion = self._arm.motion([sample.rgb for sample in samples], [sample.joint_pos for sample in samples])
        with self._lock:
            self._watch.take(motion)


def _kindly(work: Callable[..., None]) -> Callable[..., None]:
    """Wrap `work` so that its thread runs at low priority."""

    def run(item: object) -> None:
        if os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < _NICE:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        work(item)

    return run
