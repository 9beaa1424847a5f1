"""Why the sixth joint's angle is not predicted: half a turn of the hand looks the same (section 4.2.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.pictures import SYMMETRY
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import whole
from taskgan_ros.core.schema import config_dataclass
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.poses import PoseScene
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.tasks.state import CellState
from taskgan_ros.training.run import Count

_TURNS_DEG = (0, 90, 180)
_SHOWN = 4


@config_dataclass
class SymmetryConfig:
    """Turn one joint and see how much of the image changes."""

    scene: str = "poses"
    """A shipped scene's name or a YAML file."""
    domain: str = "source"
    """A shipped domain's name or a YAML file."""
    joint: str = "m1n6s200_joint_6"
    """Which."""
    poses: Count = 100
    """Number of random poses of the arm."""
    seed: int = 0
    """Seed of the poses."""
    out: Path
    """A folder for the picture."""


def measure_symmetry(config: SymmetryConfig) -> dict[str, Any]:
    """Return how much turning the joint by 90 and by 180 degrees changes the image, and draw some poses.

    The change is the mean absolute difference of images with values in [0, 1], which an arm fills little of, divided by
    the mean change between one pose and the next: 1 is as different as another pose.

    Raises:
        InputError: a scene or joint that does not fit.
    """
    scene = load_scene(config.scene)
    if not isinstance(scene, PoseScene) or config.joint not in scene.arm.joint_names:
        raise InputError(f"expected a scene of random poses with the joint {config.joint}, got {config.scene}")
    joint = scene.arm.joint_names.index(config.joint)
    with Cell(scene, load_domain(config.domain)) as cell:
        states = [scene.demonstrate(config.seed, index)[0][0] for index in range(config.poses)]
        images = np.array([_mirrored(cell, state, joint) for state in states], np.float32) / 255
    config.out.mkdir(parents=True, exist_ok=True)
    rows = [np.concatenate(list(turned), axis=1) for turned in images[:_SHOWN]]
    with whole(config.out / SYMMETRY, "the images") as partial:
        Image.fromarray((np.concatenate(rows) * 255).astype(np.uint8)).save(partial)
    another = np.abs(images[1:, 0] - images[:-1, 0]).mean()
    changes = [float(np.abs(images[:, k] - images[:, 0]).mean() / another) for k in range(1, len(_TURNS_DEG))]
    return {f"difference_{degrees}": change for degrees, change in zip(_TURNS_DEG[1:], changes, strict=True)}


def _mirrored(cell: Cell, state: CellState, joint: int) -> list[NDArray[np.uint8]]:
    look, images = cell.sample_look(0, 0), []
    for degrees in _TURNS_DEG:
        joint_pos = state.joint_pos.copy()
        joint_pos[joint] += np.deg2rad(degrees)
        images.append(cell.render(state.moved_to(joint_pos), look))
    return images
