"""`taskgan arm`: what was understood of a robot's model, as a table, a picture and, for programs, JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from taskgan_ros.core.files import check_free, write_text
from taskgan_ros.core.progress import print_line
from taskgan_ros.robot.arm import Arm, Joint
from taskgan_ros.robot.description import Description, Mesh, MeshFile
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.robot.meshes import missing_meshes
from taskgan_ros.robot.models import Robot, load_robot
from taskgan_ros.sim.arm_model import self_collisions
from taskgan_ros.sim.picture import draw_arm, write_png

Array = NDArray[np.float64]

STDOUT = "-"
_RANDOM_POSES = 3
_WIDEST = np.pi / 2  # rad about home: poses that a person can tell apart
_OVERLAP_M = 0.005  # convex hulls of neighbours' parts touch; this deep they collide


@dataclass(frozen=True)
class ArmConfig:
    """Show what is understood of an arm's model: joints, limits, tip, meshes; and draw it."""

    model: tyro.conf.Positional[str]
    """A shipped arm's name, an arm file, or a model: URDF, xacro or MJCF, package://PACKAGE/PATH, menagerie:NAME."""
    tip: str | None = None
    """The link, body or site that the arm ends at."""
    out: Path | None = None
    """A folder for a picture of the arm at home and in random poses; made where there is none."""
    json: str | None = None
    """Write JSON to this file; with - or no value, to standard output in place of the table."""


def show_arm(config: ArmConfig) -> dict[str, Any]:
    """Print the table or JSON, draw the picture, and return what JSON has.

    Raises:
        InputError: no such arm or model, no chain to the tip, or an output that exists.
    """
    robot = load_robot(config.model, config.tip)
    picture = config.out / f"{file_name(robot.arm.name)}.png" if config.out else None
    for path in (picture, Path(config.json) if config.json not in (None, STDOUT) else None):
        if path:
            check_free(path)
    report = describe(robot)
    if picture:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_png(picture, draw(robot))
        report["picture"] = str(picture)
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if config.json and config.json != STDOUT:
        write_text(Path(config.json), text + "\n")
    print_line(text if config.json == STDOUT else _table(report))
    return report


def file_name(name: str) -> str:
    """Return a robot's name as that of a file: one without folders."""
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "arm"


def describe(robot: Robot) -> dict[str, Any]:
    """Return what was understood, as JSON has it; rad, or m for prismatic joints."""
    arm, description = robot.arm, robot.description
    missing = missing_meshes(description)
    warnings = list(robot.warnings)
    warnings += [f"mesh {name}: no such file; the arm cannot be drawn" for name in missing]
    if not missing:
        pairs = self_collisions(arm, robot.drawable, _OVERLAP_M)
        warnings += [f"self-collision at home: {one} and {other}" for one, other in pairs]
    if outside := _outside(arm):
        warnings.append(f"home is outside the limits of {', '.join(outside)}")
    return {
        "name": arm.name,
        "source": description.source,
        "joints": [_joint(joint) for joint in arm.independent_joints],
        "mimic_joints": [joint.name for joint in arm.joints if joint.mimic],
        "other_joints": dict(arm.model.rest) if arm.model else {},
        "tip": robot.tip,
        "tip_at_zero_m": _rounded(tip_position(arm, np.zeros(len(arm.home)))),
        "tip_at_home_m": _rounded(tip_position(arm, arm.home)),
        "home": list(arm.home),
        "links": len(description.links),
        "meshes": _mesh_names(description),
        "missing_meshes": missing,
        "assumed": list(robot.assumed),
        "warnings": warnings,
    }


def draw(robot: Robot) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) of the arm at home and in random poses within its limits."""
    arm = robot.arm
    home, rng = np.array(arm.home), np.random.default_rng(1)
    lower = np.maximum(arm.lower, home - _WIDEST)
    upper = np.maximum(np.minimum(arm.upper, home + _WIDEST), lower)
    return draw_arm(robot, np.stack([home, *(rng.uniform(lower, upper) for _ in range(_RANDOM_POSES))]))


def _joint(joint: Joint) -> dict[str, Any]:
    return {
        "name": joint.name,
        "type": joint.kind,
        "lower": joint.lower,
        "upper": joint.upper,
        "max_velocity": joint.max_velocity,
        "max_acceleration": joint.max_acceleration,
        "axis": list(joint.axis),
    }


def _outside(arm: Arm) -> list[str]:
    home = np.array(arm.home)
    return np.array(arm.joint_names)[(home < arm.lower) | (home > arm.upper)].tolist()


def _mesh_names(description: Description) -> list[str]:
    """Return what the model calls its mesh files; MJCF's are read by MuJoCo, so those are counted by link."""
    names = []
    for link in description.links:
        for visual in link.visuals:
            if isinstance(visual.mesh, MeshFile):
                names.append(visual.mesh.reference)
            elif isinstance(visual.mesh, Mesh):
                names.append(f"{link.name}: {len(visual.mesh.faces)} triangles")
    return list(dict.fromkeys(names))


def _rounded(values: Array) -> list[float]:
    return [float(value) + 0.0 for value in values]


def _table(report: dict[str, Any]) -> str:
    rows = [("joint", "type", "lower", "upper", "velocity", "acceleration")]
    for joint in report["joints"]:
        limits = [_number(joint[key]) for key in ("lower", "upper", "max_velocity", "max_acceleration")]
        rows.append((joint["name"], joint["type"], *limits))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [f"{report['name']}: {len(report['joints'])} joints to {report['tip']}, rad and s (prismatic: m)", ""]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [
        "",
        f"tip at zero  {_point(report['tip_at_zero_m'])} m",
        f"tip at home  {_point(report['tip_at_home_m'])} m",
    ]
    lines.append(f"drawn with   {len(report['meshes'])} meshes on {report['links']} links")
    for key, title in (("mimic_joints", "follow others"), ("other_joints", "stand still")):
        if report[key]:
            lines.append(f"{title:12} {', '.join(report[key])}")
    lines += [f"assumed      {note}" for note in report["assumed"]]
    lines += [f"warning      {note}" for note in report["warnings"]]
    if "picture" in report:
        lines.append(f"picture      {report['picture']}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _point(values: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
