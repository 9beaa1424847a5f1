"""Errors that a user can cause and mend; the command line prints their message without a traceback."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """A file, message, parameter or argument is not what was expected; the message says both."""


class OutputExistsError(InputError):
    """An output path is taken; nothing is ever overwritten."""

    def __init__(self, path: Path) -> None:
        """Name the taken path."""
        super().__init__(f"{path} exists already: expected a path that does not, because nothing is overwritten")
