"""Writes docs/commands.md from what every `taskgan VERB --help` prints. Run from the repository's root."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from taskgan_ros.cli import VERBS, run

PAGE = Path(__file__).with_suffix(".md")
COLUMNS = 110

_HEAD = """# Commands

`taskgan` prints its commands, and `taskgan VERB --help` the options of one. This page is what they print, and is made
of it by `docs/commands.py`.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(make_page(), encoding="utf-8")


def make_page() -> str:
    """Return the page: a section a command."""
    sections = [f"## {' '.join(words)}\n\n```text\n{help_of(words)}\n```\n" for words in VERBS]
    return "\n".join([_HEAD, *sections])


def help_of(words: Sequence[str]) -> str:
    """Return what `taskgan VERB --help` prints where standard output is no terminal."""
    printed = io.StringIO()
    wide = mock.patch.dict(os.environ, {"COLUMNS": str(COLUMNS), "NO_COLOR": "1"})
    with wide, contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        run([*words, "--help"])
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    return "\n".join(lines).strip()


if __name__ == "__main__":
    main()
