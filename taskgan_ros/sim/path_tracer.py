"""Draws a MuJoCo model by tracing paths of light, with Mitsuba: soft shadows, gloss, indirect light."""

from __future__ import annotations

import importlib
import multiprocessing
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.description import Visual, z_along
from taskgan_ros.robot.headless import mujoco
from taskgan_ros.robot.srgb import from_srgb, to_srgb
from taskgan_ros.robot.surface import triangles
from taskgan_ros.sim.domain import PathTracing

Array = NDArray[np.float64]

_VARIANT = "scalar_rgb"  # the one that needs no LLVM and no GPU
_MAX_DEPTH = 4  # as Mitsuba counts: three bounces; six segments took a fifth longer and looked the same
_BARE_GLOSS = 0.5  # MuJoCo's, of a geom without a material
_GEOM = mujoco.mjtGeom
_TO_CAMERA = np.diag([-1.0, 1.0, -1.0, 1.0])  # Mitsuba's camera looks along +z, x to the left; MuJoCo's along -z
_SQUARE = np.array([[0, 1, 2], [0, 2, 3]])


@dataclass(frozen=True)
class Triangles:
    """A shape in its own frame.

    Attributes:
        corners: (c, 3) m.
        normals: (c, 3), of unit length.
        faces: (f, 3), rows of `corners`.
    """

    corners: Array
    normals: Array
    faces: NDArray[np.integer[Any]]


class PathTracer:
    """Draws what `mujoco.Renderer` draws, by another renderer; surface colours and textures are read as sRGB.

    A light of strength 1 shows a white surface that faces it at the focus as white. The headlight is a point at the
    camera, so that the camera does not see its shadows; the lamp is a disc, and invisible itself.
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int, settings: PathTracing, focus: Array) -> None:
        """Draw images (height, width, 3) of `model`, which may be changed before each of them.

        Args:
            model: compiled.
            height: pixels.
            width: pixels.
            settings: the domain's.
            focus: (3,) m, where lights have the strength that the model says.

        Raises:
            InputError: no Mitsuba.
        """
        self._mitsuba = _load_mitsuba()
        self._model, self._size, self._settings, self._focus = model, (height, width), settings, focus
        self._scene: dict[str, Any] = {}
        self._bitmaps: dict[int, tuple[tuple[float, ...], Any]] = {}
        self._seed = 0

    def update_scene(self, data: mujoco.MjData, camera: str) -> None:
        """Look at the state `data` through a camera of the model."""
        integrator = {"type": "path", "max_depth": _MAX_DEPTH, "hide_emitters": True}
        self._scene = {"type": "scene", "integrator": integrator}
        self._scene["camera"] = self._camera(data, self._model.camera(camera).id)
        self._scene |= self._lights(data, self._model.camera(camera).id)
        for geom in range(self._model.ngeom):
            self._add_geom(data, geom)
        # Seeded by the state: each has noise of its own, and always the same.
        self._seed = zlib.crc32(data.geom_xpos.tobytes() + data.cam_xpos.tobytes())

    def render(self) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) uint8 RGB."""
        scene = self._mitsuba.load_dict(self._scene)
        light = np.array(self._mitsuba.render(scene, seed=self._seed), np.float64)[..., :3]
        return (255 * to_srgb(np.clip(light, 0, 1))).round().astype(np.uint8)

    def close(self) -> None:
        """Free the scene."""
        self._scene = {}

    def _camera(self, data: mujoco.MjData, camera: int) -> dict[str, Any]:
        height, width = self._size
        pose = _pose(data.cam_xpos[camera], data.cam_xmat[camera]) @ _TO_CAMERA
        film = {"type": "hdrfilm", "height": height, "width": width, "rfilter": {"type": "box"}}
        sampler = {"type": "multijitter", "sample_count": self._settings.samples}
        angle = {"fov": float(self._model.cam_fovy[camera]), "fov_axis": "y"}
        return {"type": "perspective", "to_world": self._transform(pose), "film": film, "sampler": sampler} | angle

    def _lights(self, data: mujoco.MjData, camera: int) -> dict[str, Any]:
        head = self._model.vis.headlight
        lights: dict[str, Any] = {"around": {"type": "constant", "radiance": self._rgb(head.ambient)}}
        if head.diffuse.any():
            place = data.cam_xpos[camera]
            # A white surface that faces irradiance E shows radiance E / π; a point's intensity is E at 1 m.
            intensity = np.pi * head.diffuse * np.sum((self._focus - place) ** 2)
            lights["headlight"] = {"type": "point", "position": place.tolist(), "intensity": self._rgb(intensity)}
        if self._model.light_active[0]:
            lights["lamp"] = self._lamp(self._model.light_pos[0], self._model.light_dir[0])
        return lights

    def _lamp(self, position: Array, direction: Array) -> dict[str, Any]:
        """Return a disc that looks along `direction`."""
        radius = self._settings.lamp_radius_m
        away = float(np.linalg.norm(self._focus - position))
        radiance = self._model.light_diffuse[0] * (1 + (away / radius) ** 2)  # on the axis of a Lambertian disc
        pose = _pose(position, z_along(direction)) @ np.diag([radius, radius, 1, 1])
        emitter = {"type": "area", "radiance": self._rgb(radiance)}
        return {"type": "disk", "to_world": self._transform(pose), "emitter": emitter}

    def _add_geom(self, data: mujoco.MjData, geom: int) -> None:
        surface = self._surface(geom)
        if surface is None:
            return
        kind, size = int(self._model.geom_type[geom]), self._model.geom_size[geom]
        pose = _pose(data.geom_xpos[geom], data.geom_xmat[geom])
        for k, shape in enumerate(self._shapes(geom, kind, size, pose, surface)):
            self._scene[f"geom{geom}_{k}"] = shape

    def _shapes(self, geom: int, kind: int, size: Array, pose: Array, surface: dict[str, Any]) -> list[Any]:
        if kind in (_GEOM.mjGEOM_PLANE, _GEOM.mjGEOM_BOX):
            mesh = _box(size) if kind == _GEOM.mjGEOM_BOX else _plane(size)
            return [self._mesh(geom, mesh, pose, surface)]
        if kind == _GEOM.mjGEOM_ELLIPSOID:
            return [self._mesh(geom, _ellipsoid(size), pose, surface)]
        if kind == _GEOM.mjGEOM_MESH:
            return [self._mesh(geom, self._triangles(self._model.geom_dataid[geom]), pose, surface)]
        if kind in (_GEOM.mjGEOM_CYLINDER, _GEOM.mjGEOM_CAPSULE):
            return self._cylinder(kind, size, pose, surface)
        raise InputError(
            f"path_tracing: expected a plane, box, ellipsoid, cylinder, capsule or mesh, got {_GEOM(kind).name}"
        )

    def _cylinder(self, kind: int, size: Array, pose: Array, surface: dict[str, Any]) -> list[Any]:
        """Return a cylinder with its ends: discs, or a capsule's spheres."""
        radius, half = size[:2]
        ends = [pose @ _raised(sign * half) @ turn for sign, turn in ((1, np.eye(4)), (-1, np.diag([1.0, -1, -1, 1])))]
        if kind == _GEOM.mjGEOM_CAPSULE:
            caps = [self._shape("sphere", end @ np.diag([radius] * 3 + [1]), surface) for end in ends]
        else:
            caps = [self._shape("disk", end @ np.diag([radius, radius, 1, 1]), surface) for end in ends]
        side = pose @ _raised(-half) @ np.diag([radius, radius, 2 * half, 1])
        return [self._shape("cylinder", side, surface), *caps]

    def _shape(self, kind: str, pose: Array, surface: dict[str, Any]) -> dict[str, Any]:
        return {"type": kind, "to_world": self._transform(pose), "bsdf": surface}

    def _mesh(self, geom: int, shape: Triangles, pose: Array, surface: dict[str, Any]) -> Any:
        properties = self._mitsuba.Properties()
        properties["bsdf"] = self._mitsuba.load_dict(surface)
        counts = len(shape.corners), len(shape.faces)
        mesh = self._mitsuba.Mesh(
            f"geom{geom}", *counts, has_vertex_normals=True, has_vertex_texcoords=True, props=properties
        )
        arrays = self._mitsuba.traverse(mesh)
        arrays["vertex_positions"] = (shape.corners @ pose[:3, :3].T + pose[:3, 3]).ravel()
        arrays["vertex_normals"] = (shape.normals @ pose[:3, :3].T).ravel()
        arrays["vertex_texcoords"] = self._places_on_texture(geom, shape.corners).ravel()
        arrays["faces"] = shape.faces.ravel()
        arrays.update()
        return mesh

    def _places_on_texture(self, geom: int, corners: Array) -> Array:
        """Return where on its texture each corner (n, 3) m of a geom lies: (n, 2), along x and y as MuJoCo has it."""
        material, half = self._model.geom_matid[geom], self._model.geom_size[geom][:2]
        if material < 0:
            return np.zeros((len(corners), 2))
        unit = 1.0 if self._model.mat_texuniform[material] else half
        return 0.5 * self._model.mat_texrepeat[material] * (half + corners[:, :2] * [1, -1]) / unit

    def _triangles(self, mesh: int) -> Triangles:
        """Return a mesh's triangles with its sharp edges kept: no two share a corner."""
        model = self._model
        faces = slice(model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + model.mesh_facenum[mesh])
        corners = model.mesh_vert[model.mesh_vertadr[mesh] + model.mesh_face[faces].ravel()].astype(np.float64)
        normals = model.mesh_normal[model.mesh_normaladr[mesh] + model.mesh_facenormal[faces].ravel()]
        return Triangles(corners, normals.astype(np.float64), np.arange(len(corners)).reshape(-1, 3))

    def _surface(self, geom: int) -> dict[str, Any] | None:
        """Return what a geom is made of; None where it is not drawn."""
        model, material = self._model, self._model.geom_matid[geom]
        rgba = model.geom_rgba[geom] if material < 0 else model.mat_rgba[material]
        if not rgba[3]:
            return None
        gloss = _BARE_GLOSS if material < 0 else float(model.mat_specular[material])
        texture = -1 if material < 0 else model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]
        color = self._rgb(from_srgb(rgba[:3])) if texture < 0 else self._texture(texture, rgba[:3])
        if not gloss:
            return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": color}}
        shiny = {"type": "principled", "base_color": color, "specular": gloss, "roughness": self._settings.roughness}
        return {"type": "twosided", "bsdf": shiny}

    def _texture(self, texture: int, rgb: Array) -> dict[str, Any]:
        color = tuple(rgb.tolist())
        if texture not in self._bitmaps or self._bitmaps[texture][0] != color:  # one look's, which its frames share
            self._bitmaps[texture] = color, self._bitmap(texture, rgb)
        return {"type": "bitmap", "bitmap": self._bitmaps[texture][1], "raw": True}

    def _bitmap(self, texture: int, rgb: Array) -> Any:
        model, start = self._model, self._model.tex_adr[texture]
        height, width = model.tex_height[texture], model.tex_width[texture]
        texels = model.tex_data[start : start + height * width * 3].reshape(height, width, 3)
        # MuJoCo multiplies what a screen shows, before it becomes light.
        return self._mitsuba.Bitmap(from_srgb(texels / 255 * rgb).astype(np.float32))

    def _rgb(self, rgb: Array) -> dict[str, Any]:
        return {"type": "rgb", "value": [float(channel) for channel in rgb]}

    def _transform(self, pose: Array) -> Any:
        return self._mitsuba.ScalarTransform4f(pose)


def _load_mitsuba() -> Any:
    try:
        mitsuba = importlib.import_module("mitsuba")
    except ImportError as error:
        raise InputError(
            f"path_tracing: expected Mitsuba, which draws such a domain, got none: pip install mitsuba ({error})"
        ) from error
    if multiprocessing.parent_process() is not None:  # a worker among others, with a core for each
        importlib.import_module("drjit").set_thread_count(1)
    mitsuba.set_variant(_VARIANT)
    mitsuba.set_log_level(mitsuba.LogLevel.Error)  # it warns of each frame whose samples it rounds up
    return mitsuba


def _pose(position: Array, rotation: Array) -> Array:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.reshape(3, 3), position
    return pose


def _raised(along_z: float) -> Array:
    return _pose(np.array([0.0, 0.0, along_z]), np.eye(3))


def _plane(half: Array) -> Triangles:
    """Return a plane that faces z."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half[:2]
    return Triangles(np.column_stack([corners, np.zeros(4)]), np.tile([0.0, 0, 1], (4, 1)), _SQUARE)


def _box(half: Array) -> Triangles:
    """Return a box, four corners a side."""
    sides = []
    for axis in range(3):
        for sign in (1, -1):
            across = np.roll(np.eye(3), axis - 2, axis=1)  # x, y and z turned so that z becomes this axis
            corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]) * sign @ across
            sides.append((corners * half, np.tile(sign * across[2], (4, 1))))
    corners, normals = (np.vstack(part) for part in zip(*sides, strict=True))
    return Triangles(corners, normals, np.vstack([_SQUARE + 4 * k for k in range(6)]))


def _ellipsoid(half: Array) -> Triangles:
    corners, faces = triangles(Visual("ellipsoid", np.eye(4), tuple(half.tolist())))
    normals = corners / half**2
    return Triangles(corners, normals / np.linalg.norm(normals, axis=1, keepdims=True), faces)
