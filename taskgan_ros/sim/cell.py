"""The simulated cell: an arm, a table, a camera and what the task places, drawn in the look of a domain."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.headless import mujoco
from taskgan_ros.robot.models import Robot
from taskgan_ros.sim import textures
from taskgan_ros.sim.arm_model import ThickMesh, add_arm, add_material, add_object, colored_by_link
from taskgan_ros.sim.background import load_background, vary
from taskgan_ros.sim.clutter import ClutterParts
from taskgan_ros.sim.domain import Domain, check_calibration
from taskgan_ros.sim.dressing import dress
from taskgan_ros.sim.lens import make_lens
from taskgan_ros.sim.look import Look, sample_look
from taskgan_ros.sim.occlusion import draw_bars
from taskgan_ros.sim.path_tracer import PathTracer
from taskgan_ros.sim.renderer import (
    FURTHEST_M,
    NEAREST_M,
    camera_quaternion,
    drawn_pixels,
    open_renderer,
    upload_mesh,
)
from taskgan_ros.sim.sensor import apply_sensor
from taskgan_ros.tasks.state import CellState, Object
from taskgan_ros.vision.camera import Camera

Array = NDArray[np.float64]

_TABLE_HALF_M = 8.0  # beyond the horizon that the camera sees
_SHADOW_MAP_PX = 512  # a texel is 4 mm on the table, under a pixel; 4096 renders ten times slower
_SLICES = 12  # segments round a cylinder: smooth at 128 pixels, and geometry is what software rendering costs
_MAX_IMAGE_PX = 2048
_SURFACES = ("cube", "mark")  # of what tasks place


def check_image_size(height: int, width: int) -> None:
    """Refuse images that a cell does not draw."""
    if not all(16 <= side <= _MAX_IMAGE_PX for side in (height, width)):
        raise InputError(f"expected an image of 16 to {_MAX_IMAGE_PX} pixels a side, got {height}x{width}")


class Shown(Protocol):
    """What a cell needs of a scene."""

    @property
    def robot(self) -> Robot:
        """The arm, and what it is drawn with."""

    @property
    def camera(self) -> Camera:
        """From where."""

    @property
    def held_joints(self) -> dict[str, float]:
        """Where joints stand that are not the arm's."""

    @property
    def table_height(self) -> float:
        """In m over the arm's base."""

    @property
    def objects(self) -> tuple[Object, ...]:
        """What stands on the table."""


class Cell:
    """The cell in one domain's looks. A context manager: it may hold a GL context, made and used in one thread.

    Attributes:
        scene: what stands where.
        domain: how it looks.
        height, width: of the images in pixels.
    """

    def __init__(self, scene: Shown, domain: Domain, image_size: int | tuple[int, int] = 128) -> None:
        """Compile the model and open the renderer.

        Raises:
            InputError: an image size outside 16 to 2048 pixels, a domain for another arm, an invalid photo,
                lens or background, or no renderer (headless OpenGL, or Mitsuba); the message names the packages.
        """
        self.scene, self.domain = scene, domain
        self.height, self.width = (image_size, image_size) if isinstance(image_size, int) else image_size
        check_image_size(self.height, self.width)
        check_calibration(domain.calibration, scene.robot.arm)
        self._lens = make_lens(domain.sensor.distortion, scene.camera.fov, self.height, self.width)
        behind = domain.background
        self._background = load_background(behind, scene, self.height, self.width) if behind else None
        self._textures = textures.of_table(domain.table, domain.texture_seed)
        self._model = self._compile()
        self._data = mujoco.MjData(self._model)
        self._find_parts()
        finer = domain.sensor.supersampling
        self._renderer = self._open_renderer(finer * self.height, finer * self.width)

    def __enter__(self) -> Cell:
        """Return the cell."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the renderer."""
        self.close()

    def close(self) -> None:
        """Free the GL context."""
        self._renderer.close()

    def sample_look(self, seed: int, index: int) -> Look:
        """Draw how episode `index` looks; the same (seed, index) always gives the same look."""
        colors, shapes, focus = self._arm.colors, len(self._arm.geoms), self.scene.camera.aim()
        return sample_look(self.domain, seed, index, len(self._textures), colors, shapes, focus)

    def render(self, state: CellState, look: Look, time_s: float = 0.0) -> NDArray[np.uint8]:
        """Return the camera's image (H, W, 3) uint8 RGB of `state`, `time_s` into an episode of this look."""
        self._apply(look, time_s)
        self._apply_clutter(look, state, time_s)
        joint_pos = self.domain.calibration.true_state(state).joint_pos
        self._data.qpos[self._joints] = self._arm.factors @ joint_pos + self._arm.offsets
        self._place(state.objects)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera="camera")
        noise = np.random.default_rng([*look.seed, 2, round(time_s * 1000)])
        image = self._renderer.render()
        if look.background and self._background is not None:
            seen = self._before(vary(self._background, look.background), image)
        else:
            seen = self._through_lens(image)
        return apply_sensor(draw_bars(seen, look.bars, time_s), look.sensor, noise)

    def _open_renderer(self, height: int, width: int) -> mujoco.Renderer | PathTracer:
        if self.domain.path_tracing:
            return PathTracer(self._model, height, width, self.domain.path_tracing, self.scene.camera.aim())
        renderer = open_renderer(self._model, height, width)
        flags = renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self.domain.light.shadows
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = False
        flags[mujoco.mjtRndFlag.mjRND_HAZE] = False
        return renderer

    def _before(self, background: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the background (H, W, 3) with the drawn image in front of it, its edges as smooth as the image's.

        The background is a camera's picture already, so it is neither resized nor distorted.
        """
        drawn = drawn_pixels(self._renderer, *image.shape[:2])[..., None]
        seen = self._through_lens(np.concatenate([image * drawn, drawn * np.uint8(255)], axis=-1)).astype(np.float32)
        return (seen[..., :3] + (1 - seen[..., 3:] / 255) * background).round().astype(np.uint8)

    def _through_lens(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what was drawn (H', W', C) as the lens shows it: (H, W, C)."""
        if self.domain.sensor.supersampling > 1:
            image = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA).astype(np.uint8)
        return self._lens.bend(image) if self._lens else image

    def _compile(self) -> mujoco.MjModel:
        spec = mujoco.MjSpec()
        spec.visual.quality.shadowsize = _SHADOW_MAP_PX if self.domain.light.shadows else 0
        spec.visual.quality.offsamples = 0  # multisampling costs more than all else in software
        spec.visual.quality.numslices = spec.visual.quality.numstacks = _SLICES
        spec.visual.map.znear, spec.visual.map.zfar = NEAREST_M, FURTHEST_M
        finer = self.domain.sensor.supersampling
        spec.visual.global_.offwidth, spec.visual.global_.offheight = finer * self.width, finer * self.height
        spec.stat.extent, spec.stat.center = 1.0, [0, 0, 0]
        for k, image in enumerate(self._textures):
            texture = spec.add_texture(name=f"table{k}", type=mujoco.mjtTexture.mjTEXTURE_2D, nchannel=3)
            texture.height, texture.width = image.shape[:2]
            texture.data = image.tobytes()
            material = add_material(spec, f"table{k}", (1, 1, 1))
            material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"table{k}"
            material.texuniform = True
        for name in ("table", *_SURFACES):
            add_material(spec, name, (1, 1, 1))
        shown = self.scene.robot.drawable
        if self.domain.arm.by_link:
            shown = colored_by_link(shown)
        shown = dress(self.scene.robot.arm, shown, self.domain.arm, self.domain.texture_seed)
        self._arm = add_arm(spec, self.scene.robot.arm, shown, self.scene.held_joints)
        world = spec.worldbody
        world.add_geom(
            name="table",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[_TABLE_HALF_M, _TABLE_HALF_M, 1],
            material="table",
            pos=[0, 0, self.scene.table_height],
        )
        for thing in self.scene.objects:
            add_object(spec, thing)
        self._clutter = ClutterParts(self.domain.clutter.count[1], self.domain.light.passer > 0)
        self._clutter.add(spec)
        world.add_light(name="lamp", castshadow=self.domain.light.shadows, pos=[0, 0, 2], dir=[0, 0, -1], cutoff=60)
        camera = self.scene.camera
        fov = self._lens.fov if self._lens else camera.fov
        world.add_camera(name="camera", pos=list(camera.position), fovy=np.rad2deg(fov), quat=[1, 0, 0, 0])
        return spec.compile()

    def _find_parts(self) -> None:
        model = self._model
        self._joints = [model.joint(name).qposadr[0] for name in self._arm.joints]
        self._objects = [model.geom(thing.name).id for thing in self.scene.objects]
        self._object_sizes = model.geom_size[self._objects].copy()
        self._growth = np.ones(len(self._objects))
        self._resizable = [thing.surface == "cube" and thing.mesh is None for thing in self.scene.objects]
        self._table = model.geom("table").id
        model.geom_sameframe[self._table] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE  # otherwise its rotation is ignored
        self._clutter.find(model)
        self._shapes = [model.geom(name).id for name in self._arm.geoms]
        self._shape_sizes = model.geom_size[self._shapes].copy()
        self._round = np.array([kind in ("capsule", "cylinder") for kind in self._arm.kinds], bool)
        self._is_board = np.array([kind == "board" for kind in self._arm.kinds], bool)
        self._is_mesh = np.array([kind == "mesh" for kind in self._arm.kinds], bool)
        self._meshes = [
            ThickMesh(model, model.geom_dataid[k]) for k, own in zip(self._shapes, self._is_mesh, strict=True) if own
        ]
        self._materials = [model.material(name).id for name in self._arm.materials]
        camera, error = self.scene.camera, self.domain.calibration
        straight = camera_quaternion(camera.pose())
        self._camera_rotation = _turned(straight, np.array(error.camera_rotation_rad))
        self._camera_position = np.array(camera.position) + error.camera_position_m

    def _place(self, objects: Array) -> None:
        """Stand each object (k, 3) x, y and yaw on the table."""
        for k, (x, y, yaw) in enumerate(objects):
            thing = self.scene.objects[k]
            half = thing.half_size[2] * self._growth[k]
            self._data.mocap_pos[k] = x, y, self.scene.table_height + half
            self._data.mocap_quat[k] = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]

    def _apply(self, look: Look, time_s: float) -> None:
        model = self._model
        table = model.material("table" if look.texture is None else f"table{look.texture}").id
        model.geom_matid[self._table] = table
        model.mat_texrepeat[table] = 1 / look.texture_scale_m
        model.mat_rgba[table] = [*look.table_rgb, 0.0 if look.background else 1.0]  # at 0 it is not drawn at all
        half = look.table_rotation / 2
        model.geom_quat[self._table] = [np.cos(half), 0, 0, np.sin(half)]
        for surface, rgb in zip(_SURFACES, (look.cube_rgb, look.mark_rgb), strict=True):
            model.mat_rgba[model.material(surface).id, :3] = rgb
        model.mat_rgba[self._materials, :3] = look.material_rgb
        model.mat_specular[self._materials] = look.gloss
        share = min(time_s / self.domain.light.fade_s, 1.0)
        fade = 1 + share * (look.fade - 1)
        model.vis.headlight.ambient[:] = fade * look.ambient
        model.vis.headlight.diffuse[:] = fade * look.headlight
        model.vis.headlight.specular[:] = 0
        self._apply_lamp(look, time_s, fade)
        self._apply_shapes(look)
        model.cam_pos[0] = self._camera_position + look.camera_offset
        model.cam_quat[0] = _turned(self._camera_rotation, look.camera_turn)

    def _apply_lamp(self, look: Look, time_s: float, fade: float) -> None:
        model = self._model
        phase = look.lamp_phase + 2 * np.pi * time_s / self.domain.light.sway_period_s
        position = look.lamp_position + look.lamp_sway * np.sin(phase)
        direction = self.scene.camera.aim() - position
        model.light_active[0] = bool(look.lamp_rgb.any())
        model.light_pos[0], model.light_dir[0] = position, direction / np.linalg.norm(direction)
        model.light_diffuse[0], model.light_specular[0] = fade * look.lamp_rgb, fade * look.lamp_rgb
        model.light_ambient[0] = 0

    def _apply_clutter(self, look: Look, state: CellState, time_s: float) -> None:
        middle = self.scene.camera.aim() * [1, 1, 0] + [0, 0, self.scene.table_height]
        sizes = np.array([max(thing.half_size[:2]) for thing in self.scene.objects])
        self._clutter.place(self._model, look.clutter, middle, state.objects[:, :2], sizes)
        self._clutter.walk(self._model, look.clutter, middle, look.lamp_position, time_s)

    def _apply_shapes(self, look: Look) -> None:
        model = self._model
        self._growth = np.where(self._resizable, look.cube_size, 1.0)
        model.geom_size[self._objects] = self._object_sizes * self._growth[:, None]
        sizes = self._shape_sizes * look.thickness[:, None]
        sizes[self._round, 1] = self._shape_sizes[self._round, 1]  # a link's length is kinematics, not look
        sizes[self._is_board] = self._shape_sizes[self._is_board]  # printed to scale
        model.geom_size[self._shapes] = sizes
        for mesh, thickness in zip(self._meshes, look.thickness[self._is_mesh], strict=True):
            if mesh.scale(model, thickness) and isinstance(self._renderer, mujoco.Renderer):
                upload_mesh(self._renderer, model, mesh.mesh)


def _turned(quaternion: Array, turn: Array) -> Array:
    """Return a quaternion (w, x, y, z) turned about its own axes by the rotation vector `turn` (3,) rad."""
    angle, own, result = float(np.linalg.norm(turn)), np.zeros(4), np.zeros(4)
    mujoco.mju_axisAngle2Quat(own, turn / angle if angle else np.array([1.0, 0, 0]), angle)
    mujoco.mju_mulQuat(result, quaternion, own)
    return result
