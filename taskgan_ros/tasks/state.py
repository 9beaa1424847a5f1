"""What moves in a cell, where an episode starts, and what is placed in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.description import Mesh

Array = NDArray[np.float64]

_MAX_SEED = 2**63 - 1  # what a dataset's attribute holds


@dataclass(frozen=True)
class CellState:
    """Everything that moves in the cell.

    Attributes:
        joint_pos: (n,) rad, all joints of the arm.
        objects: (k, 3) of each object x and y in m on the table and yaw in rad, in the order of the scene's `objects`.
    """

    joint_pos: Array
    objects: Array = field(default_factory=lambda: np.zeros((0, 3)))

    def moved_to(self, joint_pos: Array) -> CellState:
        """Return the same cell with the arm at `joint_pos` (n,) rad."""
        return replace(self, joint_pos=joint_pos)


@dataclass(frozen=True)
class Episode:
    """Where an episode starts.

    Attributes:
        seed: the run's seed.
        index: the episode's number under that seed.
        state: where it starts.
    """

    seed: int
    index: int
    state: CellState


@dataclass(frozen=True)
class Object:
    """Something that a task places on the table.

    Attributes:
        kind: how it is drawn; a mesh stands on its lowest point.
        half_size: (x, y, z) in m; of a cylinder radius, radius and half height.
        surface: which of a domain's surfaces it has.
        mesh: in m, where kind is mesh.
    """

    name: str
    kind: Literal["box", "ellipsoid", "cylinder", "mesh"]
    half_size: tuple[float, float, float]
    surface: Literal["cube", "mark"] = "cube"
    mesh: Mesh | None = None


def check_seed_range(seed: int) -> None:
    """Refuse a seed that no episode can be drawn with."""
    if not 0 <= seed <= _MAX_SEED:
        raise InputError(f"expected a seed of 0 to {_MAX_SEED}, got {seed}")
