"""Where the arm and the objects are in the camera's images, by their recorded places alone."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.robot.headless import mujoco
from taskgan_ros.sim.arm_model import add_arm, add_material, add_object
from taskgan_ros.sim.renderer import FURTHEST_M, NEAREST_M, camera_quaternion, drawn_pixels, open_renderer
from taskgan_ros.tasks.state import CellState

if TYPE_CHECKING:
    from taskgan_ros.sim.cell import Shown

Array = NDArray[np.float64]
_AWAY_M = -1e3  # below everything: where an object is whose place is not known


class Silhouettes:
    """Draws arm and objects alone and returns their outline, filled. A context manager: it holds a GL context."""

    def __init__(self, scene: Shown, height: int, width: int) -> None:
        """Compile the model and open the renderer for images (height, width).

        Raises:
            InputError: no headless OpenGL.
        """
        self._size, self._objects, self._table = (height, width), scene.objects, scene.table_height
        spec = mujoco.MjSpec()
        spec.visual.quality.shadowsize = spec.visual.quality.offsamples = 0
        spec.visual.map.znear, spec.visual.map.zfar = NEAREST_M, FURTHEST_M
        spec.visual.global_.offheight, spec.visual.global_.offwidth = height, width
        spec.stat.extent, spec.stat.center = 1.0, [0, 0, 0]
        self._arm = add_arm(spec, scene.robot.arm, scene.robot.drawable, scene.held_joints)
        for surface in {thing.surface for thing in scene.objects}:
            add_material(spec, surface, (1, 1, 1))
        for thing in scene.objects:
            add_object(spec, thing)
        pose, fov = scene.camera.pose(), np.rad2deg(scene.camera.fov)
        turn = camera_quaternion(pose).tolist()
        spec.worldbody.add_camera(name="camera", pos=pose[:3, 3].tolist(), fovy=fov, quat=turn)
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._joints = [self._model.joint(name).qposadr[0] for name in self._arm.joints]
        self._renderer = open_renderer(self._model, height, width)

    def __enter__(self) -> Silhouettes:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the GL context."""
        self._renderer.close()

    def draw(self, state: CellState) -> NDArray[np.bool_]:
        """Return where (H, W) the arm is, and the objects that the state has places of."""
        self._data.qpos[self._joints] = self._arm.factors @ state.joint_pos + self._arm.offsets
        for k, thing in enumerate(self._objects):
            known = k < len(state.objects)
            x, y, yaw = state.objects[k] if known else (0.0, 0.0, 0.0)
            self._data.mocap_pos[k] = x, y, self._table + thing.half_size[2] if known else _AWAY_M
            self._data.mocap_quat[k] = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera="camera")
        self._renderer.render()
        return drawn_pixels(self._renderer, *self._size)
