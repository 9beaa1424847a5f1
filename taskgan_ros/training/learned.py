"""A trained task model: its weights, and the file beside them that says what it predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from taskgan_ros.core.config import load
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import write_text
from taskgan_ros.core.schema import config_dataclass, to_plain
from taskgan_ros.data.dataset import DatasetInfo
from taskgan_ros.training import distributed
from taskgan_ros.training.networks import TaskModel, shape_of
from taskgan_ros.training.run import read_description, read_weights, set_weights

WEIGHTS = "task_model"
_LEARNED = "learned.yaml"


@config_dataclass
class Learned:
    """What a task model predicts; saved beside its weights.

    Attributes:
        data: the attributes of the dataset it was trained on.
        label_scale: (J,) what its outputs are multiplied with to get the dataset's units.
        images: how many it was trained on.
    """

    data: DatasetInfo
    label_scale: tuple[float, ...]
    images: int

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.data.height, self.data.width

    @property
    def scale(self) -> NDArray[np.float32]:
        """The label scale (J,) as an array."""
        return np.array(self.label_scale, dtype=np.float32)


def load_task_model(run: Path) -> tuple[TaskModel, Learned]:
    """Return the task model of a run of step 1 or 3 or of two columns, on the CPU, and what it predicts.

    Raises:
        InputError: no such run, or one of another kind.
    """
    kind = read_description(run).kind
    if kind not in ("task_model", "refine", "two_column"):
        raise InputError(f"{run}: expected a run of a task model, got one of {kind}")
    learned = load(Learned, run / _LEARNED)
    path = run / f"{WEIGHTS}.safetensors"
    weights = read_weights(path)
    shape = shape_of({name: tuple(value.shape) for name, value in weights.items()})
    network = TaskModel(len(learned.label_scale), learned.image_size, shape)
    set_weights(network, weights, path)
    return network, learned


def write_learned(run: Path, learned: Learned) -> None:
    """Put what a task model predicts beside its weights."""
    if distributed.is_first():
        write_text(run / _LEARNED, yaml.safe_dump(to_plain(learned), sort_keys=False))
