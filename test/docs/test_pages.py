"""Pages and pictures that are made of the code are those of today's code."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import architecture
import commands
import pytest

from taskgan_ros.cli import VERBS
from taskgan_ros.reach.parameters import ReachParameters

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_parameters_are_those_that_the_nodes_declare() -> None:
    pytest.importorskip("rclpy")
    import parameters

    page = parameters.PAGE.read_text(encoding="utf-8")
    assert page == parameters.make_page(page), "run `python docs/parameters.py`"
    for field in dataclasses.fields(ReachParameters):
        assert f"| `{field.name}` |" in page


def test_the_comments_of_parameter_files_are_the_declarations_too() -> None:
    pytest.importorskip("rclpy")
    import parameters

    for file, kind in parameters.FILES.items():
        text = file.read_text(encoding="utf-8")
        assert text == parameters.make_file(text, kind), "run `python docs/parameters.py`"


def test_commands_are_those_of_the_help() -> None:
    page = commands.make_page()
    assert (DOCS / "commands.md").read_text(encoding="utf-8") == page, "run `python docs/commands.py`"
    assert page.count("\nusage: taskgan ") == len(VERBS)


def test_the_picture_has_every_room() -> None:
    picture = architecture.PICTURE.read_text(encoding="utf-8")
    for room in (room for row in architecture.layers() for room in row):
        assert f">{room}</text>" in picture, "run `python docs/architecture.py`"
        assert room == "cli" or f"`{room}/`" in (DOCS / "architecture.md").read_text(encoding="utf-8")
