"""Detects a moved camera: selects images, decides when to estimate its motion, and keeps the newest estimate."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.reach.drawn_arm import DrawnArm
from taskgan_ros.vision.moved_camera import CameraMotion

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

IMAGES: Final = 3  # for one estimate; the arm's poses differ, so that shift and turn can be told apart
LIMIT: Final = 0.004  # of the picture's height; with a camera that stands right, 1 % of estimates are above 0.0027
_STILL_RAD_S = 0.1  # a faster arm has moved on between an image and the joint state that goes with it
_APART_RAD = 0.1  # of a joint, between two poses that count as two
_OBJECTED_S = 5.0  # between two estimates while the guard objects
_IN_A_ROW = 2  # estimates above the limit, where the guard has no objection
_CM, _AXES = 100.0, "xyz"


@dataclass(frozen=True)
class Sample:
    """An image (H, W, 3) as the policy took it, and the arm's joints (n,) rad."""

    rgb: Image
    joint_pos: Array


class CameraWatch:
    """Gathers images of an arm that stands, in poses that differ, and says when to estimate the camera's motion.

    Not thread-safe: its owner calls it under one lock; `DrawnArm.motion` itself may run elsewhere.

    Attributes:
        motion: the newest estimate; None before the first.
    """

    def __init__(self, arm: DrawnArm, period_s: float) -> None:
        """Start without images.

        Args:
            arm: what the camera should see.
            period_s: s between two estimates while the guard has no objection; 0: only when it has one.
        """
        self.arm, self.motion = arm, None  # type: DrawnArm, CameraMotion | None
        self._period_s = period_s
        self._samples: deque[Sample] = deque(maxlen=IMAGES)
        self._last: tuple[float, Array] | None = None
        self._looked_s, self._is_new, self._above, self._is_objected = -math.inf, False, 0, False

    def note(self, now_s: float, rgb: Image, joint_pos: Array | None, is_objected: bool) -> list[Sample]:
        """Add an image; return the samples to estimate the motion from, or none if that is not due.

        Args:
            now_s: s, on any clock that advances.
            rgb: (H, W, 3) uint8, as the policy took it.
            joint_pos: (n,) rad; None while nobody knows.
            is_objected: whether the guard objects to the image.
        """
        if joint_pos is None:
            return []
        if self._stands(now_s, joint_pos):
            self._gather(Sample(rgb, joint_pos))
        if not (self._samples and self._is_new and self._is_due(now_s, is_objected)):
            return []
        self._looked_s, self._is_new, self._is_objected = now_s, False, is_objected
        return list(self._samples)

    def take(self, motion: CameraMotion) -> None:
        """Store a new estimate."""
        self.motion = motion
        self._above = self._above + 1 if self._is_above(motion) else 0

    @property
    def sentence(self) -> str:
        """How the camera seems to have moved, for a person; empty while it seems to stand right."""
        if self.motion is None or self._above < (1 if self._is_objected else _IN_A_ROW):
            return ""
        return describe_motion(self.motion)

    def _is_above(self, motion: CameraMotion) -> bool:
        return motion.is_certain and motion.pixels > LIMIT * self.arm.view.height

    def _stands(self, now_s: float, joint_pos: Array) -> bool:
        last, self._last = self._last, (now_s, joint_pos)
        if last is None or now_s <= last[0]:
            return False
        return bool(np.max(np.abs(joint_pos - last[1])) <= _STILL_RAD_S * (now_s - last[0]))

    def _gather(self, sample: Sample) -> None:
        """Keep a sample; it replaces the last if that shows the same pose."""
        is_same = self._samples and np.max(np.abs(sample.joint_pos - self._samples[-1].joint_pos)) < _APART_RAD
        if is_same:
            self._samples.pop()
        self._samples.append(sample)
        self._is_new = True

    def _is_due(self, now_s: float, is_objected: bool) -> bool:
        if is_objected:
            return now_s - self._looked_s >= _OBJECTED_S
        return bool(self._period_s and len(self._samples) == IMAGES and now_s - self._looked_s >= self._period_s)


def describe_motion(motion: CameraMotion) -> str:
    """Return how far a camera stands from where it should, along and about the axes of the arm's base."""
    shift = ", ".join(f"{axis} {_CM * value:+.1f}" for axis, value in zip(_AXES, motion.shift_m, strict=True))
    turn = ", ".join(f"{axis} {value:+.1f}" for axis, value in zip(_AXES, np.rad2deg(motion.turn_rad), strict=True))
    return (
        f"the camera seems to have moved by {_CM * motion.distance_m:.1f} cm ({shift}) and turned by "
        f"{math.degrees(motion.angle_rad):.1f}° ({turn}): the arm is seen {motion.pixels:.1f} pixels from where the "
        "bundle's scene has it"
    )
