"""Opens MuJoCo's renderer, with a helpful error without OpenGL, and finds the pixels that it has drawn on."""

from __future__ import annotations

import contextlib
import importlib

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import no_opengl
from taskgan_ros.robot.headless import mujoco

NEAREST_M, FURTHEST_M = 0.02, 30.0  # what is drawn


def camera_quaternion(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return MuJoCo's quaternion (w, x, y, z) of a camera, which looks along -z, y up, by its optical frame (4, 4)."""
    return quaternion(pose[:3, :3] * [1.0, -1.0, -1.0])


def quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a rotation matrix (3, 3) as a quaternion (w, x, y, z)."""
    found = np.zeros(4)
    mujoco.mju_mat2Quat(found, rotation.flatten())
    return found


def open_renderer(model: mujoco.MjModel, height: int, width: int) -> mujoco.Renderer:
    """Return a renderer of images (height, width, 3).

    Raises:
        InputError: no headless OpenGL; the message names the packages.
    """
    # Mesa draws with LLVM, and so does triton, which torch's CUDA builds import at the first training step: whichever
    # LLVM is loaded second finds the first one's symbols. Triton does not survive that (3.7.1 crashes); Mesa does.
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")
    try:
        return mujoco.Renderer(model, height, width)
    except Exception as error:  # the GL bindings raise types of their own
        raise no_opengl(error) from error


def upload_mesh(renderer: mujoco.Renderer, model: mujoco.MjModel, mesh: int) -> None:
    """Draw a mesh as the model has it from now on; the renderer has no public API for it."""
    mujoco.mjr_uploadMesh(model, renderer._mjr_context, mesh)


def drawn_pixels(renderer: mujoco.Renderer, height: int, width: int) -> NDArray[np.bool_]:
    """Return on which pixels (height, width) something has been drawn by the last `renderer.render()`.

    The depth buffer of that pass gives it exactly; a second pass for a segmentation would double the cost.
    """
    depth = np.empty((height, width), np.float32)
    mujoco.mjr_readPixels(None, depth, mujoco.MjrRect(0, 0, width, height), renderer._mjr_context)
    nothing = 0.0 if renderer._mjr_context.readDepthMap == mujoco.mjtDepthMap.mjDEPTH_ZEROFAR else 1.0
    return np.flipud(depth != nothing)
