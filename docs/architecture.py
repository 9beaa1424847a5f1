"""Draws docs/architecture.svg: the rooms as pyproject.toml has them, and the data's way. Run from the root."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).resolve().parents[1]
PICTURE = Path(__file__).with_suffix(".svg")

INK, GREY, FILL = "#263238", "#78909c", "#eceff1"
ROS, TRAINING, ROBOT = "#ffe0b2", "#d1c4e9", "#c8e6c9"
COLOURS = {
    **dict.fromkeys(("nodes", "demo"), ROS),
    "training": TRAINING,
    **dict.fromkeys(("core", "robot", "vision", "control", "policy", "reach"), ROBOT),
}
LEGEND = ((ROBOT, "on the robot"), (ROS, "speaks ROS 2"), (TRAINING, "needs torch"), (FILL, "everything else"))

# The steps of the data's two ways, from left to right, and their colours.
DRIVING = (
    ("camera\nimage", FILL),
    ("vision\nRGB, cropped", ROBOT),
    ("policy\nF, then f_X", ROBOT),
    ("control\nlimits, motion", ROBOT),
    ("controller\nof the arm", FILL),
)
TRAINED = (
    ("robot, tasks\nan arm, its task", ROBOT),
    ("sim\nrendered states", FILL),
    ("data\nepisodes", FILL),
    ("training\nF and f_X", TRAINING),
    ("bundle\nthat policy loads", ROBOT),
)


def main() -> None:
    """Draw the picture; the same sources give the same bytes."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "taskgan_ros", "font.size": 11, "text.color": INK}):
        draw(layers()).savefig(PICTURE, metadata={"Date": None})


def layers() -> list[list[str]]:
    """Return the rooms of each layer, the uppermost first: each imports from layers below alone."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    rows = next(contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    return [[room.strip("() ") for room in row.split("|")] for row in rows]


def draw(rows: Sequence[Sequence[str]]) -> Figure:
    """Return the figure: the rooms to the left, the two ways of the data to the right."""
    figure = Figure((13, 6.2), facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.1))
    draw_rooms(left, rows)
    draw_ways(right)
    return figure


def draw_rooms(axes: Axes, rows: Sequence[Sequence[str]]) -> None:
    """Draw the layers from top to bottom."""
    _clear(axes, "Rooms: each imports from rows below its own", (-0.03, 3), (-len(rows) - 1.3, 0.2))
    for k, row in enumerate(rows):
        width = 3 / len(row)
        for j, room in enumerate(row):
            _box(axes, (j * width, -k - 0.85), (width - 0.08, 0.72), room, COLOURS.get(room, FILL))
    for j, (colour, words) in enumerate(LEGEND):
        x, y = 1.5 * (j % 2), -len(rows) - 0.45 - 0.5 * (j // 2)
        _box(axes, (x, y), (0.22, 0.28), "", colour)
        axes.text(x + 0.32, y + 0.14, words, va="center", fontsize=9)


def draw_ways(axes: Axes) -> None:
    """Draw how data goes while the arm is driven, and how a bundle comes to be."""
    _clear(axes, "The data's way", (-0.1, 9.8), (-7.2, 0.2))
    _row(axes, -1.5, "Driving: reach (in reach_node) makes a motion of each image", DRIVING)
    _box(axes, (0, -2.9), (1.6, 0.9), "joint states", FILL, 9)
    _box(axes, (3.4, -2.9), (2.2, 0.9), "guard (policy)\nis it like training?", ROBOT, 9)
    _box(axes, (6, -2.9), (2.6, 0.9), "supervisor (control)\ncommand, hold or nothing?", ROBOT, 9)
    for start, end in (((1.6, -2.45), (3.4, -2.45)), ((5.6, -2.45), (6, -2.45))):
        _arrow(axes, start, end)
    _arrow(axes, (4.8, -1.5), (4.8, -2.0))
    _arrow(axes, (6.8, -2.0), (6.8, -1.5))
    axes.text(0, -3.2, "joint states also reach supervisor and control", fontsize=8, color=GREY)
    _row(axes, -5.5, "Training: a bundle comes to be", TRAINED)
    _box(axes, (2, -6.9), (1.6, 0.9), "recordings\nof a real arm", FILL, 9)
    _arrow(axes, (3.6, -6.45), (4.3, -5.5))


def _row(axes: Axes, y: float, heading: str, steps: Sequence[tuple[str, str]]) -> None:
    axes.text(0, y + 1.15, heading, weight="bold", fontsize=10)
    for k, (step, colour) in enumerate(steps):
        _box(axes, (2 * k, y), (1.6, 0.9), step, colour, 9)
        if k:
            _arrow(axes, (2 * k - 0.4, y + 0.45), (2 * k, y + 0.45))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK, "shrinkA": 0, "shrinkB": 0})


def _box(
    axes: Axes, corner: tuple[float, float], size: tuple[float, float], words: str, colour: str, fontsize: float = 11
) -> None:
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, facecolor=colour, edgecolor=GREY))
    centre = corner[0] + size[0] / 2, corner[1] + size[1] / 2
    axes.text(*centre, words, ha="center", va="center", fontsize=fontsize)


def _clear(axes: Axes, title: str, x: tuple[float, float], y: tuple[float, float]) -> None:
    axes.set_title(title, fontsize=12, color=INK)
    axes.set(xlim=x, ylim=y)
    axes.axis("off")


if __name__ == "__main__":
    main()
