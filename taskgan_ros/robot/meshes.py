"""Mesh files → triangles of one colour each, few enough to be drawn fast; by trimesh and fast-simplification."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_fetched
from taskgan_ros.robot.description import Description, Link, Mesh, MeshFile, Visual
from taskgan_ros.robot.surface import triangle_areas

Array = NDArray[np.float64]
Color = tuple[float, float, float]
Colored = tuple[Mesh, Color | None]

# Triangles of a whole robot: software rendering then takes as long as for the Mico's primitive shapes, at 128 pixels.
FACES = 12_000
_LEAST_FACES = 40  # of one mesh, however small its share: a rounded box
_FINEST_WELD = 1 / 250  # of a mesh's longest side: less than a pixel of 128 where the arm is seen whole
_COARSER = 1.5  # times the last weld
_KEPT_AREA = 0.85  # of a mesh's area; with less, decimation has removed a whole part of it
_LARGE = 2  # times the mean area of a requested face: fewer than half of the faces are so large
_ENOUGH = 1.2  # times the requested faces
_COLORS = 4  # in one mesh; more are one colour, their mean
_GREY = (0.6, 0.6, 0.6)  # where neither the model nor the mesh gives a colour


def read_mesh(path: Path, faces: int = FACES // 10) -> Mesh:
    """Return one mesh file as triangles in m, decimated, of one colour.

    Raises:
        InputError: no such file, or no mesh.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a mesh as STL, OBJ or DAE, got no file")
    parts = [mesh for mesh, _ in _load(MeshFile(path, str(path)))]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts])
    joined = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    return decimate(Mesh(vertices, joined.astype(np.int32)), faces)


def missing_meshes(description: Description) -> list[str]:
    """Return the model's names of the missing meshes."""
    files = [visual.mesh for link in description.links for visual in link.visuals if isinstance(visual.mesh, MeshFile)]
    return list(dict.fromkeys(file.reference for file in files if file.path is None))


def read_meshes(description: Description, faces: int = FACES) -> Description:
    """Return the description with every mesh read and decimated, and a colour for every visual.

    Args:
        description: as `read_urdf` or `read_mjcf` gives it.
        faces: how many triangles the whole robot may have, shared out by the square root of the meshes' surfaces.

    Raises:
        InputError: a mesh that is missing or cannot be read; the message names it.
    """
    if missing := missing_meshes(description):
        raise InputError(f"{description.source}: expected its meshes, got no file for {', '.join(missing)}")
    load = lru_cache(maxsize=None)(_load)
    links = [(link, [part for visual in link.visuals for part in _read(visual, load)]) for link in description.links]
    areas = {id(part): _area(part.mesh) for _, parts in links for part in parts if isinstance(part.mesh, Mesh)}
    whole = sum(np.sqrt(area) for area in areas.values()) or 1.0

    thinned: dict[int, Mesh] = {}  # screws and motors recur

    def thin(part: Visual) -> Visual:
        if not isinstance(part.mesh, Mesh):
            return part
        if id(part.mesh) not in thinned:
            share = int(faces * np.sqrt(areas[id(part)]) / whole)  # by length, so that small parts keep their shape
            thinned[id(part.mesh)] = decimate(part.mesh, max(share, _LEAST_FACES))
        return dataclasses.replace(part, mesh=thinned[id(part.mesh)])

    taken: dict[str, Color] = {}
    drawn = tuple(_with_visuals(link, [thin(part) for part in parts], taken) for link, parts in links)
    return dataclasses.replace(description, links=drawn)


def decimate(mesh: Mesh, faces: int) -> Mesh:
    """Return the mesh with about `faces` triangles at most, by quadric edge collapse.

    Loose pieces, as CAD exports are full of, do not collapse into each other: vertices are welded first, ever more
    coarsely until there are few enough triangles.
    """
    import trimesh

    if len(mesh.faces) <= faces:
        return mesh
    weld_m = _FINEST_WELD * float(np.ptp(mesh.vertices, axis=0).max())
    while True:
        welded = trimesh.Trimesh(mesh.vertices / weld_m, mesh.faces, process=False)
        welded.merge_vertices(digits_vertex=0, merge_norm=True, merge_tex=True)
        welded.update_faces(welded.nondegenerate_faces() & welded.unique_faces())
        vertices, kept = np.array(welded.vertices, np.float32), np.array(welded.faces, np.int32)
        if len(kept) > faces:
            vertices, kept = _collapse(vertices, kept, faces)
        if len(kept) <= faces * _ENOUGH:
            used, own = np.unique(kept, return_inverse=True)
            small = Mesh(np.array(vertices[used], np.float64) * weld_m, own.reshape(-1, 3).astype(np.int32))
            return small if len(kept) else mesh
        weld_m *= _COARSER


def _collapse(
    vertices: NDArray[np.float32], faces: NDArray[np.int32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return vertices (w, 3) and about `count` faces; large faces are kept where decimation would lose area."""
    import fast_simplification

    few = fast_simplification.simplify(vertices, faces, target_count=count)
    area = _areas(vertices, faces)
    if _areas(*few).sum() > _KEPT_AREA * area.sum():
        return few[0], few[1]
    large = area > _LARGE * area.sum() / count
    walls, rest = faces[large], faces[~large]
    collapsed, kept = fast_simplification.simplify(vertices, rest, target_count=count - len(walls))
    return np.vstack([vertices, collapsed]), np.vstack([walls, kept + len(vertices)])


def _with_visuals(link: Link, visuals: list[Visual], taken: dict[str, Color]) -> Link:
    """Return the link with a colour for every visual, and one colour for every name of a material in `taken`."""
    named = []
    for visual in visuals:
        rgb = visual.rgb or _GREY
        own = "rgb_" + "_".join(f"{round(255 * value)}" for value in rgb)
        material = visual.material or own
        if taken.setdefault(material, rgb) != rgb:
            material = f"{material}_{own}"
            rgb = taken.setdefault(material, rgb)
        named.append(dataclasses.replace(visual, rgb=rgb, material=material))
    return dataclasses.replace(link, visuals=tuple(named))


def _area(mesh: Mesh) -> float:
    return float(_areas(mesh.vertices, mesh.faces).sum())


def _areas(vertices: NDArray[np.floating], faces: NDArray[np.int32]) -> Array:
    """Return the areas (f,) of triangles."""
    return triangle_areas(vertices[faces].astype(np.float64))


def _read(visual: Visual, load: Callable[[MeshFile], list[Colored]]) -> Iterator[Visual]:
    """Yield the visual itself, or one for each colour of its mesh."""
    file = visual.mesh
    if not isinstance(file, MeshFile):
        yield visual
        return
    for mesh, rgb in load(file):
        has_own = visual.rgb is not None
        yield dataclasses.replace(
            visual, mesh=mesh, rgb=visual.rgb if has_own else rgb, material=visual.material if has_own else ""
        )


def _load(file: MeshFile) -> list[Colored]:
    import trimesh  # not at the top: a robot's computer has none

    assert file.path is not None
    check_fetched(file.path)
    scene = _open(file.path)
    factor = _unit(file.path) * np.array(file.scale)
    colored: list[Colored] = []
    for name in scene.graph.nodes_geometry:
        pose, geometry = scene.graph[name]
        part = scene.geometry[geometry]
        if not isinstance(part, trimesh.Trimesh) or not len(part.faces):
            continue
        corners = trimesh.transform_points(part.vertices, pose) * factor
        turned = np.linalg.det(pose[:3, :3]) * np.prod(file.scale) < 0  # mirrored: inside out
        faces = np.asarray(part.faces)[:, ::-1] if turned else np.asarray(part.faces)
        is_finite = np.isfinite(corners[faces]).all(axis=(1, 2))
        for rows, rgb in _by_color(part):
            used, own = np.unique(faces[rows[is_finite[rows]]], return_inverse=True)
            if len(used):
                colored.append((Mesh(corners[used], own.reshape(-1, 3).astype(np.int32)), rgb))
    if not colored:
        raise InputError(f"{file.path}: expected triangles, got none")
    return colored


def _open(path: Path) -> Any:
    """Return a mesh file as trimesh's scene; a COLLADA file whose materials are broken comes without them."""
    import trimesh

    try:
        scene = trimesh.load_scene(path)
        if scene.geometry or path.suffix.lower() != ".dae":
            return scene
        return trimesh.load_scene(io.BytesIO(_without_materials(path.read_bytes())), file_type="dae")
    except Exception as error:  # each format's own reader, and what it runs into
        what = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: expected a mesh as STL, OBJ or DAE, got: {what}") from error


def _without_materials(collada: bytes) -> bytes:
    """Return a COLLADA file without material references: one broken reference would lose all shapes."""
    return re.sub(rb"<(bind_material|library_(?:materials|effects|images|cameras))\b.*?</\1>", b"", collada, flags=re.S)


def _unit(path: Path) -> float:
    """Return how many metres a unit of the file is: COLLADA says so, and the others are in metres by URDF's rule."""
    if path.suffix.lower() != ".dae":
        return 1.0
    found = re.search(rb"<unit\b[^>]*\bmeter\s*=\s*[\"']([^\"']+)", path.read_bytes())
    try:
        return float(found[1]) if found else 1.0
    except ValueError as error:
        raise InputError(f"{path}: expected a unit in metres, got {found and found[1]!r}") from error


def _by_color(part: Any) -> Iterator[tuple[NDArray[np.intp], tuple[float, float, float] | None]]:
    """Yield the rows of a mesh's faces that have one colour in [0, 1], and that colour; None where it has none."""
    everything, kind = np.arange(len(part.faces)), part.visual.kind
    if kind == "texture":
        yield everything, _of_material(part.visual)
        return
    if kind not in ("face", "vertex"):
        yield everything, None
        return
    colors = np.asarray(part.visual.face_colors, dtype=np.float64)[:, :3] / 255
    distinct, which = np.unique(colors.round(2), axis=0, return_inverse=True)
    if len(distinct) > _COLORS:
        yield everything, _triple(colors.mean(axis=0))
        return
    for k, color in enumerate(distinct):
        yield np.flatnonzero(which.ravel() == k), _triple(color)


def _of_material(visual: Any) -> tuple[float, float, float] | None:
    """Return a material's colour, times the mean of its texture where there is one."""
    material = visual.material
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    color = np.asarray(material.main_color, dtype=np.float64)[:3] / 255
    if image is not None and visual.uv is not None:
        texels = np.asarray(image.convert("RGB"), dtype=np.float64) / 255
        height, width = texels.shape[:2]
        u, v = np.mod(np.asarray(visual.uv)[:, :2].T, 1.0)
        rows = np.clip(((1 - v) * height).astype(int), 0, height - 1)
        return _triple(texels[rows, np.clip((u * width).astype(int), 0, width - 1)].mean(axis=0))
    return _triple(color)


def _triple(color: Array) -> tuple[float, float, float]:
    red, green, blue = np.clip(color, 0, 1).tolist()
    return red, green, blue
