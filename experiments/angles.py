"""How far predicted joint angles are off (section 4.2, figure 12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.models import load_policy
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import config_dataclass
from taskgan_ros.data.dataset import check_compatible, load_dataset
from taskgan_ros.training.run import pick_device


@config_dataclass
class AnglesConfig:
    """Predict the joint angles in a dataset's images."""

    task_model: Path
    """The run of a task model of joint_angles."""
    translator: Path | None = None
    """The run of step 2; without it the task model sees the images as they are."""
    dataset: Path
    """Images and angles that were not used in training."""
    device: str = "auto"
    """auto, cpu or cuda."""
    out: Path
    """A folder for the figures."""


def measure_angles(config: AnglesConfig) -> dict[str, Any]:
    """Return the errors of the angles.

    `l2` is the paper's: the mean squared error of angles divided by 2 pi, in turns squared. The labels are continuous,
    so an error is never shortened by a full turn.

    Raises:
        InputError: runs or a dataset that do not fit, or of another task.
    """
    policy = load_policy(config.task_model, config.translator, pick_device(config.device))
    data = load_dataset(config.dataset)
    check_compatible(policy.learned.data, data.info)
    if data.info.task != "joint_angles":
        raise InputError(f"{config.dataset}: expected labels of joint_angles, got {data.info.task}")
    squared = np.square((policy.predict(policy.translate(data.images)) - data.actions) / (2 * np.pi))
    per_joint = squared.mean(axis=0)
    return {
        "l2": float(squared.mean()),
        "l2_per_joint": _named(data.info.action_names, per_joint),
        "rms_deg": float(360 * np.sqrt(squared.mean())),
        "rms_deg_per_joint": _named(data.info.action_names, 360 * np.sqrt(per_joint)),
        "images": len(data),
    }


def _named(names: tuple[str, ...], values: Any) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}
