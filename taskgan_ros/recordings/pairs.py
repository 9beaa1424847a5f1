"""The plain render of recorded states: what the simulated camera shows where the real one stands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import ImageRows
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.tasks.state import CellState

Array = NDArray[np.float64]


class PairRenderer:
    """Renders a scene's states in one domain, with its first appearance sample."""

    def __init__(self, scene: Scene, domain: str, image_size: int) -> None:
        """Open a cell.

        Raises:
            InputError: an unknown domain, or a scene with objects whose places no recording has.
        """
        if scene.objects and not isinstance(scene, ReachScene):
            raise InputError(f"--paired: expected a scene whose objects are a target alone, got the task {scene.task}")
        self._size = image_size
        self._cell = Cell(scene, load_domain(domain), image_size)
        self._look = self._cell.sample_look(0, 0)

    def show(self, joint_pos: Array, places: Array | None) -> ImageRows:
        """Return pictures of the arm at `joint_pos` (T, n) rad, the target at `places` (T, 2) m, drawn when read."""
        return _Renders(self, joint_pos, places)

    def render(self, joint_pos: Array, place: Array | None) -> NDArray[np.uint8]:
        """Return one (H, W, 3)."""
        interrupts.check()
        objects = np.zeros((0, 3)) if place is None else np.array([[*place, 0.0]])
        return self._cell.render(CellState(joint_pos, objects), self._look)

    def close(self) -> None:
        """Close the cell."""
        self._cell.close()


class _Renders:
    """Renders as `data.dataset.ImageRows`."""

    def __init__(self, renderer: PairRenderer, joint_pos: Array, places: Array | None) -> None:
        self._renderer, self._joint_pos, self._places = renderer, joint_pos, places

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._joint_pos), self._renderer._size, self._renderer._size, 3)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape))

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self._renderer.render(self._joint_pos[index], None if self._places is None else self._places[index])
