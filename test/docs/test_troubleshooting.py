"""Every sentence that the node may log, or put into ~/status or diagnostics, has a row on the page of symptoms."""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgan_ros.control.states import Source, State
from taskgan_ros.reach.verdict import Outcome

ROOT = Path(__file__).resolve().parents[2]
PAGE = " ".join((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").split())
PACKAGE = ROOT / "taskgan_ros"
ROOMS = ("control", "nodes", "policy", "reach")
BESIDE = ("core/parameters", "robot/joint_names", "vision/camera_model", "vision/compressed", "vision/images")
OF_OTHER_PROCESSES = {"nodes/record_command.py", "nodes/sim_node.py", "nodes/camera_frame.py"}
DESCRIBES = {"parameter", "DeclareLaunchArgument", "info", "compile"}  # calls whose words are no symptom
NO_SYMPTOMS = {
    # what is well
    "…, … of the arm's top speed, …",
    "the tip within … and … m",
    ", … ms after the image's stamp",
    ", chunks of … commands of … s, …",
    "a camera of … rad",
    "images are rectified by the camera's calibration (…) to the bundle's … rad",
    "images are assumed to have the bundle's field of view, and resized to …x…",
    "images of … are cropped to the bundle's … rad",
    "may change at any time",
    "of which horizon_s executes … s",
    "…x…, …, seen … rad vertically in …:…",
    # what a row has by the sentence around it
    "Sequence should be of same type",
    "at most … m in magnitude, not mm, or nothing for no fence",
    "step_s, of a chunk",
    "x, y, z of the lower corner and then of the upper one, or nothing",
    # what the node's own parts never do to each other; `the policy failed: …` would report it
    "age of the joint state: expected 0 s or more, got …",
    "command_interface: expected one of …, got …",
    "expected uint8 [N, …, …, 3] with N >= 1",
    "joint command: expected joint names, each once, got …",
    "joint command: expected … values, got shape …",
    "joint_pos: expected float …, got …",
    "max_velocity: expected positive numbers, got …",
    "position limits: expected lower <= upper, got … and …",
    "task: expected … or …, got …",
    "trajectory: expected joint names, each once, got …",
    "trajectory: expected times above 0 that increase, got …",
    "trajectory: expected to end at rest, got velocities …",
    "trajectory: expected … of shape …, got …",
    "want_translated: expected a policy with a translator, got one without",
    "…: expected a minimum and a maximum",
    "…: expected one value for each of …, got shape …",
    "…: expected shape [..., J] for limits [J], one per joint, got …",
    "…: expected to write … MB there, got: …",
}
SHORTEST, LONGEST = 3, 40  # words of a sentence; characters of it that the page must have


def rendered(node: ast.AST) -> str:
    """Return a string as the page quotes it, with … for what changes; nothing for another node."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


def sentences(node: ast.AST) -> Iterator[str]:
    """Yield the strings below a node that are no docstrings, no parts of others and no descriptions."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in DESCRIBES:
        return
    if text := rendered(node):
        if len(text.replace("…", " ").split()) >= SHORTEST:
            yield text
    elif not isinstance(node, ast.JoinedStr):
        for child in ast.iter_child_nodes(node):
            yield from sentences(child)


def said() -> Iterator[tuple[str, str]]:
    """Yield where each sentence of the node is, and the sentence."""
    files = [file for room in ROOMS for file in sorted((PACKAGE / room).glob("*.py"))]
    for file in [*files, *(PACKAGE / f"{name}.py" for name in BESIDE)]:
        place = file.relative_to(PACKAGE).as_posix()
        if place not in OF_OTHER_PROCESSES:
            yield from ((place, text) for text in sentences(ast.parse(file.read_text(encoding="utf-8"))))


def sought(sentence: str) -> str:
    """Return what a person would search for: the first words that never change, without what came."""
    parts = [part.strip(" ;:,.()[]?`").removesuffix("got").strip(" ,") for part in sentence.split("…")]
    long = [part for part in parts if len(part.split()) >= SHORTEST]
    return (long[0] if long else max(parts, key=len))[:LONGEST].strip()


def test_every_sentence_of_the_node_has_a_row() -> None:
    absent = [f"{place}: {text}" for place, text in said() if text not in NO_SYMPTOMS and sought(text) not in PAGE]
    assert absent == [], "docs/troubleshooting.md: expected a row for each of these"


def test_what_is_left_out_is_still_said() -> None:
    assert {text for _, text in said()} >= NO_SYMPTOMS


@pytest.mark.parametrize("words", [Outcome, Source, State])
def test_every_word_of_the_status_is_explained(words: type[enum.Enum]) -> None:
    assert [word.value for word in words if f"`{word.value}`" not in PAGE] == []
