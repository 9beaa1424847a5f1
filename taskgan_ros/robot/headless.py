"""MuJoCo, imported so that it draws without a screen: `from taskgan_ros.robot.headless import mujoco`."""

from __future__ import annotations

import os
import sys

from taskgan_ros.core.errors import InputError, no_opengl

# MuJoCo reads this once, at its import; a user's own choice stands.
if sys.platform == "linux":
    os.environ["MUJOCO_GL"] = os.environ.get("MUJOCO_GL") or "egl"  # MuJoCo takes an empty value for a window (glfw)
try:
    import mujoco
except ModuleNotFoundError:
    raise
except (AttributeError, ImportError) as error:  # PyOpenGL's ways to say that a system library is missing
    raise no_opengl(error) from error
except RuntimeError as error:
    raise InputError(f"MUJOCO_GL: expected egl, osmesa or glfw, got {os.environ['MUJOCO_GL']!r}") from error

__all__ = ["mujoco"]
