"""Things that a robot holds or carries and its model lacks, fixed to its links: a gripper, a board, cables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Arm, ToolPart
from taskgan_ros.robot.board import parse_board
from taskgan_ros.robot.description import Description, MeshFile, Visual, between
from taskgan_ros.robot.kinematics import transform

Array = NDArray[np.float64]
FindMesh = Callable[[str], Path | None]  # a mesh's reference → its file, None where there is none

_PLATE_HALF_M = 0.002  # thickness of a board's plate
_WHITE = (1.0, 1.0, 1.0)


def hold_tool(arm: Arm, description: Description, find: FindMesh = lambda reference: None) -> Description:
    """Return the description with the arm's `tool` fixed to its links.

    Args:
        arm: with or without a tool.
        description: of the same robot.
        find: returns a mesh's file; on a robot's computer none is read.

    Raises:
        InputError: a link that the robot does not have.
    """
    if not arm.tool:
        return description
    held: dict[str, list[Visual]] = {}
    for k, part in enumerate(arm.tool):
        link, place = _place(arm, description, part, f"{description.source}: tool.{k}")
        held.setdefault(link, []).append(_visual(part, place, find))
    links = [dataclasses.replace(link, visuals=(*link.visuals, *held.get(link.name, ()))) for link in description.links]
    return dataclasses.replace(description, links=tuple(links))


def _place(arm: Arm, description: Description, part: ToolPart, what: str) -> tuple[str, Array]:
    """Return the link that a part is fixed to, and the pose (4, 4) of the part's reference frame in it."""
    if part.link is None:
        last = arm.joints[-1].name  # the tip is fixed to what this one moves
        (holder,) = [link.name for link in description.links if link.joint and link.joint.name == last]
        return holder, transform(arm.tip.xyz, arm.tip.rpy)
    if part.link in description.frames:
        return description.frames[part.link]
    if part.link not in description.by_name:
        known = [*description.by_name, *description.frames]
        raise InputError(f"{what}.link: expected one of {known}, got {part.link!r}")
    return part.link, np.eye(4)


def _visual(part: ToolPart, place: Array, find: FindMesh) -> Visual:
    if part.start is not None and part.end is not None and part.radius is not None and part.kind != "mesh":
        pose, half = between(part.start, part.end)
        return Visual(part.kind, place @ pose, (part.radius, half, 0.0), part.rgb)  # type: ignore[arg-type]
    pose = place @ transform(part.at or (0, 0, 0), part.rpy)
    if part.kind == "board":
        return Visual("box", pose, _plate(part), _WHITE, f"board {part.pattern}", pattern=part.pattern or "")
    if part.kind == "mesh":
        reference, scale = part.file or "", (part.scale, part.scale, part.scale)
        return Visual("mesh", pose, rgb=part.rgb, mesh=MeshFile(find(reference), reference, scale))
    return Visual(part.kind, pose, part.size or (0, 0, 0), part.rgb)


def _plate(part: ToolPart) -> tuple[float, float, float]:
    """Return half-axes of a board: its plate's, or the pattern's with a margin of one square."""
    if part.size is not None:
        return part.size
    board = parse_board(part.pattern or "")
    return board.width_m / 2 + board.size_m, board.height_m / 2 + board.size_m, _PLATE_HALF_M
