"""Things on an arm that its model lacks: stickers, a cable along its links, another tool in its hand."""

from __future__ import annotations

import colorsys
import dataclasses

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.robot.arm import Arm, Color
from taskgan_ros.robot.description import Description, Visual, between
from taskgan_ros.robot.held_tool import hold_tool
from taskgan_ros.robot.meshes import read_meshes
from taskgan_ros.robot.surface import triangle_areas, triangles
from taskgan_ros.sim.domain import ArmAppearance

Array = NDArray[np.float64]

_STREAM = 2000  # of random numbers, beside the textures'
_STICKER_HALF_M = 0.003  # thickness: it must show on a round link
_CABLE_POINTS, _CABLE_SIDE = 200, 0.85  # of a link's surface; it runs along the points furthest to one side: a quantile
_LEAST_CABLE_M = 0.02  # on a shorter link there is none


def dress(arm: Arm, description: Description, look: ArmAppearance, seed: int) -> Description:
    """Return the robot with what the domain adds; the same seed gives the same places and colours.

    Args:
        arm: whose tip's frame the tool is in.
        description: with its meshes read.
        look: the domain's.
        seed: the domain's own.

    Raises:
        InputError: a part of the tool for a link that the robot does not have.
    """
    held = hold_tool(dataclasses.replace(arm, tool=look.tool), description)
    dressed = read_meshes(held) if look.tool else description  # which gives each part a material
    rng = np.random.default_rng([seed, _STREAM])
    added: dict[str, list[Visual]] = {link.name: [] for link in description.links}
    surfaces = {link.name: _surface(link.visuals) for link in description.links}
    areas = {name: triangle_areas(surface) for name, surface in surfaces.items()}
    names, shares = list(areas), np.array([area.sum() for area in areas.values()])
    for k in range(look.stickers if shares.sum() else 0):
        name = names[rng.choice(len(names), p=shares / shares.sum())]
        added[name].append(_sticker(surfaces[name], areas[name], look.sticker_m, k, rng))
    cable_rgb = _bright(rng)
    for link in description.links:
        if look.cable_m and link.joint and len(surfaces[link.name]):
            added[link.name] += _cable(surfaces[link.name], look.cable_m, cable_rgb, rng)
    links = [dataclasses.replace(link, visuals=(*link.visuals, *added[link.name])) for link in dressed.links]
    return dataclasses.replace(dressed, links=tuple(links))


def _surface(visuals: tuple[Visual, ...]) -> Array:
    """Return the corners (f, 3, 3) m of all triangles in the link's frame."""
    found = [np.empty((0, 3, 3))]
    for visual in visuals:
        vertices, faces = triangles(visual)
        found.append((vertices @ visual.pose[:3, :3].T + visual.pose[:3, 3])[faces])
    return np.concatenate(found)


def _sticker(surface: Array, areas: Array, radius_m: float, count: int, rng: np.random.Generator) -> Visual:
    """Return a disc on a random place of the surface."""
    corners = surface[rng.choice(len(surface), p=areas / areas.sum())]
    middle = corners.mean(axis=0)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal = normal / np.linalg.norm(normal)
    pose, half = between(middle - _STICKER_HALF_M * normal, middle + _STICKER_HALF_M * normal)
    return Visual("cylinder", pose, (radius_m, half, 0.0), _bright(rng), f"sticker {count}")


def _bright(rng: np.random.Generator) -> Color:
    return colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.3, 0.9), rng.uniform(0.5, 1.0))


def _cable(surface: Array, radius_m: float, rgb: Color, rng: np.random.Generator) -> list[Visual]:
    """Return a cable along one side of a link, or none on a short link."""
    points = surface[rng.integers(len(surface), size=_CABLE_POINTS)].mean(axis=1)
    middle = points.mean(axis=0)
    points = points - middle
    along, *across = np.linalg.svd(points, full_matrices=False)[2]
    turn = rng.uniform(0, 2 * np.pi)
    side = np.cos(turn) * across[0] + np.sin(turn) * across[1]
    outer = points[points @ side >= np.quantile(points @ side, _CABLE_SIDE)]
    ends = outer[[np.argmin(outer @ along), np.argmax(outer @ along)]]
    if np.linalg.norm(ends[1] - ends[0]) < _LEAST_CABLE_M:
        return []
    ends = middle + ends + radius_m * side
    pose, half = between(ends[0].tolist(), ends[1].tolist())
    return [Visual("capsule", pose, (radius_m, half, 0.0), rgb, "cable")]
