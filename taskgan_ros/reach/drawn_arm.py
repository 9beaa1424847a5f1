"""The arm as the bundle's camera should see it: an outline for aiming a camera, and how far it has moved."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.config import read_yaml, resolve
from taskgan_ros.policy.bundle import Bundle
from taskgan_ros.robot.description import Description, describe_shapes
from taskgan_ros.robot.drawing import read_drawing
from taskgan_ros.robot.held_tool import hold_tool
from taskgan_ros.robot.silhouette import View, outlined, silhouette
from taskgan_ros.robot.surface import ArmSurface
from taskgan_ros.vision.caption import write_line
from taskgan_ros.vision.moved_camera import CameraMotion, camera_motion

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

_SHOWN_PX = 512  # height of an overlay, at least: an outline on 128 pixels is too coarse to aim by
_RGB = (255, 0, 200)
_LINE_PX = 2
_FONT_SCALE, _LETTERS, _ROW_PX = 0.5, 9, 20  # 9 pixels a letter, 20 a row


@dataclass(frozen=True)
class DrawnArm:
    """The arm's surface, and the camera that the bundle's images are of.

    Attributes:
        surface: the arm.
        view: of the bundle's images.
    """

    surface: ArmSurface
    view: View

    def overlay(self, rgb: Image, joint_pos: Array, caption: str = "") -> Image:
        """Return an image (H, W, 3), enlarged, with the outline of the arm at `joint_pos` (n,) rad and a caption."""
        factor = max(1, round(_SHOWN_PX / self.view.height))
        view = self.view.scaled(factor)
        large = cv2.resize(rgb, (view.width, view.height), interpolation=cv2.INTER_LINEAR)
        drawn = outlined(np.asarray(large, np.uint8), silhouette(self.surface, joint_pos, view), _RGB, _LINE_PX)
        return _captioned(drawn, caption)

    def motion(self, images: Sequence[Image], joint_pos: Sequence[Array]) -> CameraMotion:
        """Return how far the camera of N images (H, W, 3), with the arm at (n,) rad in each, stands from the view."""
        return camera_motion(self.surface, self.view, images, np.stack(joint_pos))


def _captioned(image: Image, text: str) -> Image:
    """Write a text, whose letters must be ASCII, over the lower edge."""
    rows = textwrap.wrap(text.encode("ascii", "replace").decode(), image.shape[1] // _LETTERS)
    for up, row in enumerate(reversed(rows)):
        write_line(image, row, (4, image.shape[0] - 6 - up * _ROW_PX), _FONT_SCALE)
    return image


def load_drawn_arm(bundle: Bundle) -> DrawnArm | None:
    """Return the bundle's arm and camera; None where it has no drawing, or nobody says where the camera stands.

    Raises:
        InputError: a drawing or a scene that cannot be read.
    """
    camera, description = bundle.camera, _description(bundle)
    if camera is None or description is None or bundle.card.crop == "none":
        return None
    height, width = bundle.card.image.shape
    held = read_yaml(resolve("scenes", bundle.scene_name)).get("held_joints") or {}
    surface = ArmSurface(bundle.arm, description, held)
    return DrawnArm(surface, View(camera.pose(), camera.matrix(height, width), height, width))


def _description(bundle: Bundle) -> Description | None:
    """Return what the arm is drawn with, without its model, which a robot's computer need not have."""
    arm, drawing = bundle.arm, bundle.arm.drawn_from
    if arm.model is None and drawing is None:
        return hold_tool(arm, describe_shapes(arm))
    return read_drawing(bundle.path / drawing) if drawing and (bundle.path / drawing).is_file() else None
