"""Draws a MuJoCo model by tracing paths of light, with Mitsuba: soft shadows, reflections, light from wall to wall."""

from __future__ import annotations

import importlib
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.headless import mujoco
from taskgan_ros.sim.domain import PathTracing

Array = NDArray[np.float64]

_VARIANT = "scalar_rgb"  # the one that needs no LLVM and no GPU
_BOUNCES = 4  # paths this long have lost nearly all of their light on an indoor scene's surfaces
_RINGS, _SEGMENTS = 24, 48  # of an ellipsoid: smooth at 128 pixels
_GEOM = mujoco.mjtGeom
_TO_CAMERA = np.diag([-1.0, 1.0, -1.0, 1.0])  # Mitsuba's camera looks along +z, x to the left; MuJoCo's along -z


class PathTracer:
    """Draws what `mujoco.Renderer` draws, by another renderer; colours are sRGB, as on a screen.

    A light's strength is that of the reflection off a white table, so one setting serves both renderers. The headlight
    is a sun in the direction of the camera's view, and the lamp a disc.
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int, settings: PathTracing) -> None:
        """Draw images (height, width, 3) of `model`, which may be changed before each of them.

        Raises:
            InputError: no Mitsuba.
        """
        self._mitsuba = _load_mitsuba()
        self._model, self._size, self._settings = model, (height, width), settings
        self._scene: dict[str, Any] = {}
        self._bitmaps: dict[tuple[float, ...], Any] = {}
        self._seed = 0

    def update_scene(self, data: mujoco.MjData, camera: str) -> None:
        """Look at the state `data` through a camera of the model."""
        self._scene = {"type": "scene", "integrator": {"type": "path", "max_depth": _BOUNCES}}
        self._scene["camera"] = self._camera(data, self._model.camera(camera).id)
        self._scene |= self._lights(data, self._model.camera(camera).id)
        for geom in range(self._model.ngeom):
            self._add_geom(data, geom)
        # Another pattern of the tracer's own noise for each state, and the same for the same.
        self._seed = zlib.crc32(data.geom_xpos.tobytes() + data.cam_xpos.tobytes())

    def render(self) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) uint8 RGB."""
        scene = self._mitsuba.load_dict(self._scene)
        light = np.array(self._mitsuba.render(scene, seed=self._seed), np.float64)[..., :3]
        return (255 * _to_srgb(np.clip(light, 0, 1))).round().astype(np.uint8)

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
        view = -data.cam_xmat[camera].reshape(3, 3)[:, 2]
        lights: dict[str, Any] = {"around": {"type": "constant", "radiance": self._rgb(head.ambient)}}
        if head.diffuse.any():
            sun = {"type": "directional", "direction": view.tolist(), "irradiance": self._rgb(np.pi * head.diffuse)}
            lights["headlight"] = sun
        if self._model.light_active[0]:
            lights["lamp"] = self._lamp(self._model.light_pos[0], self._model.light_dir[0])
        return lights

    def _lamp(self, position: Array, direction: Array) -> dict[str, Any]:
        """Return a disc that lights a white point straight before it, on the table, as bright as the model says."""
        radius = self._settings.lamp_radius_m
        away = (position[2] - self._model.geom("table").pos[2]) / -direction[2]
        light = self._model.light_diffuse[0] * (1 + (away / radius) ** 2)  # on the axis of a Lambertian disc
        at = _pose(position, _facing(direction)) @ np.diag([radius, radius, 1, 1])
        return {
            "type": "disk",
            "to_world": self._transform(at),
            "emitter": {"type": "area", "radiance": self._rgb(light)},
        }

    def _add_geom(self, data: mujoco.MjData, geom: int) -> None:
        surface = self._surface(geom)
        if surface is None:
            return
        kind, size = self._model.geom_type[geom], self._model.geom_size[geom]
        pose = _pose(data.geom_xpos[geom], data.geom_xmat[geom])
        for k, shape in enumerate(self._shapes(geom, kind, size, pose, surface)):
            self._scene[f"geom{geom}_{k}"] = shape

    def _shapes(self, geom: int, kind: int, size: Array, pose: Array, surface: dict[str, Any]) -> list[Any]:
        if kind == _GEOM.mjGEOM_PLANE:
            return [self._shape("rectangle", pose @ np.diag([size[0], size[1], 1, 1]), surface)]
        if kind == _GEOM.mjGEOM_BOX:
            return [self._shape("cube", pose @ np.diag([*size, 1]), surface)]
        if kind == _GEOM.mjGEOM_ELLIPSOID:
            corners, normals, faces = _ellipsoid(size)
            return [self._mesh(f"geom{geom}", corners, normals, faces, pose, surface)]
        if kind == _GEOM.mjGEOM_MESH:
            corners, normals = self._triangles(self._model.geom_dataid[geom])
            faces = np.arange(len(corners)).reshape(-1, 3)
            return [self._mesh(f"geom{geom}", corners, normals, faces, pose, surface)]
        return self._round(kind, size, pose, surface)

    def _round(self, kind: int, size: Array, pose: Array, surface: dict[str, Any]) -> list[Any]:
        """Return a cylinder with its ends: discs, or a capsule's spheres."""
        radius, half = size[:2]
        ends = [pose @ _moved(sign * half) @ turn for sign, turn in ((1, np.eye(4)), (-1, np.diag([1.0, -1, -1, 1])))]
        wide = np.diag([radius, radius, 1, 1])
        if kind == _GEOM.mjGEOM_CAPSULE:
            caps = [self._shape("sphere", end @ np.diag([radius] * 3 + [1]), surface) for end in ends]
        else:
            caps = [self._shape("disk", end @ wide, surface) for end in ends]
        side = pose @ _moved(-half) @ np.diag([radius, radius, 2 * half, 1])
        return [self._shape("cylinder", side, surface), *caps]

    def _shape(self, kind: str, pose: Array, surface: dict[str, Any]) -> dict[str, Any]:
        return {"type": kind, "to_world": self._transform(pose), "bsdf": surface}

    def _mesh(
        self, name: str, corners: Array, normals: Array, faces: NDArray[np.int_], pose: Array, surface: dict[str, Any]
    ) -> Any:
        properties = self._mitsuba.Properties()
        properties["bsdf"] = self._mitsuba.load_dict(surface)
        mesh = self._mitsuba.Mesh(name, len(corners), len(faces), has_vertex_normals=True, props=properties)
        arrays = self._mitsuba.traverse(mesh)
        arrays["vertex_positions"] = (corners @ pose[:3, :3].T + pose[:3, 3]).ravel()
        arrays["vertex_normals"] = (normals @ pose[:3, :3].T).ravel()
        arrays["faces"] = faces.ravel()
        arrays.update()
        return mesh

    def _triangles(self, mesh: int) -> tuple[Array, Array]:
        """Return the corners (3 f, 3) m of a mesh's triangles, and their normals, with its sharp edges kept."""
        model = self._model
        faces = slice(model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + model.mesh_facenum[mesh])
        corners = model.mesh_vert[model.mesh_vertadr[mesh] + model.mesh_face[faces].ravel()]
        normals = model.mesh_normal[model.mesh_normaladr[mesh] + model.mesh_facenormal[faces].ravel()]
        return corners.astype(np.float64), normals.astype(np.float64)

    def _surface(self, geom: int) -> dict[str, Any] | None:
        """Return what a geom is made of; None where it is not drawn."""
        model, material = self._model, self._model.geom_matid[geom]
        rgba = model.geom_rgba[geom] if material < 0 else model.mat_rgba[material]
        if not rgba[3]:
            return None
        gloss = 0.0 if material < 0 else float(model.mat_specular[material])
        texture = -1 if material < 0 else model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]
        color = self._rgb(_from_srgb(rgba[:3])) if texture < 0 else self._texture(texture, material, rgba[:3], geom)
        if not gloss:
            return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": color}}
        shiny = {"type": "principled", "base_color": color, "specular": gloss, "roughness": self._settings.roughness}
        return {"type": "twosided", "bsdf": shiny}

    def _texture(self, texture: int, material: int, rgb: Array, geom: int) -> dict[str, Any]:
        model, key = self._model, (texture, *rgb.tolist())
        if key not in self._bitmaps:  # one look's, which all of its frames share
            self._bitmaps = {key: self._bitmap(texture, rgb)}
        found = {"type": "bitmap", "bitmap": self._bitmaps[key], "raw": True}
        if model.mat_texuniform[material]:
            tiles = model.geom_size[geom][:2] * model.mat_texrepeat[material]  # MuJoCo repeats every two units
            found["to_uv"] = self._transform(np.diag([*tiles, 1, 1]))
        return found

    def _bitmap(self, texture: int, rgb: Array) -> Any:
        model, start = self._model, self._model.tex_adr[texture]
        height, width = model.tex_height[texture], model.tex_width[texture]
        texels = model.tex_data[start : start + height * width * 3].reshape(height, width, 3)
        # MuJoCo multiplies what a screen shows, before it becomes light.
        return self._mitsuba.Bitmap(_from_srgb(texels / 255 * rgb).astype(np.float32))

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
    mitsuba.set_variant(_VARIANT)
    mitsuba.set_log_level(mitsuba.LogLevel.Error)  # it warns of each frame whose samples it rounds up
    return mitsuba


def _pose(position: Array, rotation: Array) -> Array:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.reshape(3, 3), position
    return pose


def _moved(along_z: float) -> Array:
    return _pose(np.array([0.0, 0.0, along_z]), np.eye(3))


def _facing(direction: Array) -> Array:
    """Return a rotation (3, 3) that turns z into `direction` (3,)."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([1.0, 0, 0] if abs(z[0]) < 0.9 else [0, 1.0, 0], z)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


def _ellipsoid(half: Array) -> tuple[Array, Array, NDArray[np.int_]]:
    """Return an ellipsoid's vertices (v, 3) m, their normals and its faces (f, 3)."""
    up, around = np.meshgrid(np.linspace(0, np.pi, _RINGS + 1), np.linspace(0, 2 * np.pi, _SEGMENTS + 1), indexing="ij")
    ball = np.stack([np.sin(up) * np.cos(around), np.sin(up) * np.sin(around), np.cos(up)], axis=-1).reshape(-1, 3)
    normals = ball / half
    first = (np.arange(_RINGS)[:, None] * (_SEGMENTS + 1) + np.arange(_SEGMENTS)).ravel()
    below, beside = first + _SEGMENTS + 1, first + 1
    faces = np.vstack([np.column_stack([first, below, beside]), np.column_stack([beside, below, below + 1])])
    return ball * half, normals / np.linalg.norm(normals, axis=1, keepdims=True), faces


def _from_srgb(value: Array) -> Array:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _to_srgb(value: Array) -> Array:
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
