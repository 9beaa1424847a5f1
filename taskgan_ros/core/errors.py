"""Errors that a user can cause and fix; the command line prints their message without a traceback."""

from __future__ import annotations

import os
from pathlib import Path


class InputError(ValueError):
    """A file, message, parameter or argument is wrong; the message says what was expected and what came."""


class OutputExistsError(InputError):
    """An output path is taken; nothing is ever overwritten."""

    def __init__(self, path: Path) -> None:
        """Name the taken path."""
        super().__init__(f"{path} exists already: expected a path that does not, because nothing is overwritten")


def no_opengl(cause: Exception) -> InputError:
    """Return the error for a machine on which MuJoCo cannot draw; it names the Debian packages that are missing."""
    return InputError(
        f"no headless OpenGL with MUJOCO_GL={os.environ.get('MUJOCO_GL')}: expected Debian's libegl1, libgl1-mesa-dri "
        f"and libopengl0 (or libosmesa6 with MUJOCO_GL=osmesa), got: {cause}"
    )
