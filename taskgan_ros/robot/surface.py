"""An arm's surface as triangles that move with its joints; numpy alone, so that a robot's computer has it too."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.description import Description, Mesh, Visual, root_in_base

Array = NDArray[np.float64]
Indices = NDArray[np.int32]

_SLICES = 32  # round a cylinder: off a circle by 0.5 % of its radius
_WELD_M = 1e-5  # nearer vertices of a mesh are one, so that its triangles have edges in common


class ArmSurface:
    """A robot's visuals as one triangle mesh.

    Attributes:
        faces: (f, 3) indices of vertices.
        edges: (e, 2) indices of vertices, each edge of a triangle once.
        edge_faces: (e, 2) the two triangles that meet at an edge; -1 where fewer do or more.
        vertex_links: (v,) the link that each vertex is on, an index of the description's links.
    """

    def __init__(self, arm: Arm, description: Description, held: Mapping[str, float] | None = None) -> None:
        """Collect the triangles.

        Args:
            arm: whose joints move.
            description: with its meshes read (`Robot.drawable`); other meshes are left out.
            held: where joints stand that are not the arm's, rad or m; as the arm's model says where left out.
        """
        self._arm, self._description = arm, description
        self._held = dict(held or {})
        rest = {**arm.positions(arm.home), **self._held}
        self._root = root_in_base(arm, description, rest)
        parts = [
            (k, *_weld(vertices @ visual.pose[:3, :3].T + visual.pose[:3, 3], faces))
            for k, link in enumerate(description.links)
            for visual in link.visuals
            for vertices, faces in [triangles(visual)]
        ]
        starts = np.cumsum([0, *(len(vertices) for _, vertices, _ in parts)])
        self._vertices = np.concatenate([np.empty((0, 3)), *(vertices for _, vertices, _ in parts)])
        shifted = [faces + start for (_, _, faces), start in zip(parts, starts, strict=False)]
        self.faces: Indices = np.concatenate([np.empty((0, 3), np.int32), *shifted]).astype(np.int32)
        links = [np.full(len(vertices), k, np.int32) for k, vertices, _ in parts]
        self.vertex_links: Indices = np.concatenate([np.empty(0, np.int32), *links])
        self.edges, self.edge_faces = _edges(self.faces)
        self._slices = {k: np.flatnonzero(self.vertex_links == k) for k in np.unique(self.vertex_links)}

    @property
    def link_names(self) -> tuple[str, ...]:
        """Names of the description's links."""
        return tuple(link.name for link in self._description.links)

    def poses(self, joint_pos: ArrayLike) -> Array:
        """Return the pose (l, 4, 4) of every link in the arm's base frame, its joints at `joint_pos` (n,) rad or m."""
        at = {**self._arm.positions(np.asarray(joint_pos, np.float64)), **self._held}
        poses: Array = self._root @ np.stack(list(self._description.poses(at).values()))
        return poses

    def place(self, joint_pos: ArrayLike) -> Array:
        """Return the vertices (v, 3) m in the arm's base frame, its joints at `joint_pos` (n,) rad or m."""
        poses, placed = self.poses(joint_pos), np.empty_like(self._vertices)
        for k, rows in self._slices.items():
            placed[rows] = self._vertices[rows] @ poses[k, :3, :3].T + poses[k, :3, 3]
        return placed


def triangles(visual: Visual) -> tuple[Array, Indices]:
    """Return a visual's vertices (v, 3) m in its own frame and faces (f, 3); none of a mesh that is not read."""
    if visual.kind == "mesh":
        if not isinstance(visual.mesh, Mesh):
            return np.empty((0, 3)), np.empty((0, 3), np.int32)
        return visual.mesh.vertices.astype(np.float64), visual.mesh.faces.astype(np.int32)
    size = np.array(visual.size)
    if visual.kind == "box":
        return _turned([-1, -1, 1, 1], [0, 1, 1, 0], 4, np.pi / 4, size * [np.sqrt(2), np.sqrt(2), 1])
    if visual.kind == "cylinder":
        return _turned([-1, -1, 1, 1], [0, 1, 1, 0], _SLICES, 0, np.array([size[0], size[0], size[1]]))
    latitude = np.linspace(-np.pi / 2, np.pi / 2, _SLICES // 2 + 2)
    latitude = np.insert(latitude, len(latitude) // 2, 0.0)  # the equator twice: a capsule's cylindrical part
    height, radius = np.sin(latitude), np.cos(latitude)
    if visual.kind == "ellipsoid":
        return _turned(height, radius, _SLICES, 0, size)
    barrel = np.where(np.arange(len(height)) < len(height) / 2, -size[1], size[1])
    return _turned(height * size[0] + barrel, radius * size[0], _SLICES, 0, np.ones(3))


def triangle_areas(corners: Array) -> Array:
    """Return the areas (f,) of triangles by their corners (f, 3, 3)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    areas: Array = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return areas


def _turned(height: ArrayLike, radius: ArrayLike, slices: int, start: float, scale: Array) -> tuple[Array, Indices]:
    """Return the surface of revolution of a profile (height, radius) about z, in `slices` steps."""
    z, r = np.asarray(height, np.float64), np.asarray(radius, np.float64)
    angle = start + 2 * np.pi * np.arange(slices) / slices
    x, y = np.outer(r, np.cos(angle)), np.outer(r, np.sin(angle))
    vertices = np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=-1).reshape(-1, 3) * scale
    row, column = np.meshgrid(np.arange(len(z) - 1), np.arange(slices), indexing="ij")
    a, b = row * slices + column, row * slices + (column + 1) % slices
    faces = np.stack([np.stack([a, b, b + slices], -1), np.stack([a, b + slices, a + slices], -1)])
    return vertices, faces.reshape(-1, 3).astype(np.int32)


def _weld(vertices: Array, faces: Indices) -> tuple[Array, Indices]:
    """Return the mesh with coincident vertices merged and degenerate triangles removed."""
    if not len(vertices):
        return vertices, faces
    _, first, own = np.unique(
        np.round(vertices / _WELD_M).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    welded = own.reshape(-1).astype(np.int32)[faces]
    is_flat = (welded == np.roll(welded, 1, axis=1)).any(axis=1)
    return vertices[first], welded[~is_flat]


def _edges(faces: Indices) -> tuple[Indices, Indices]:
    """Return the edges (e, 2) of triangles, and which two (e, 2) meet at each, or -1."""
    if not len(faces):
        return np.empty((0, 2), np.int32), np.empty((0, 2), np.int32)
    every = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    owner = np.repeat(np.arange(len(faces), dtype=np.int32), 3)
    key = every[:, 0].astype(np.int64) * (int(faces.max()) + 1) + every[:, 1]
    order = np.argsort(key, kind="stable")
    _, start, count = np.unique(key[order], return_index=True, return_counts=True)
    pairs = np.full((len(start), 2), -1, np.int32)
    is_pair = count == 2
    pairs[is_pair, 0], pairs[is_pair, 1] = owner[order[start[is_pair]]], owner[order[start[is_pair] + 1]]
    return every[order[start]], pairs
