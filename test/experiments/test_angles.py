from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.angles import AnglesConfig, measure_angles
from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.training.learned import load_task_model
from taskgan_ros.training.networks import to_network, to_uint8
from taskgan_ros.training.steps.translator import load_translator


def test_errors_are_in_turns_squared_and_in_degrees(angles_run: Path, angles_target: Path, tmp_path: Path) -> None:
    config = AnglesConfig(task_model=angles_run, dataset=angles_target, device="cpu", out=tmp_path)
    figures = measure_angles(config)
    data = load_dataset(angles_target)
    network, learned = load_task_model(angles_run)
    with torch.no_grad():
        predicted = network(to_network(torch.from_numpy(data.images))).numpy() * learned.scale
    error = predicted - data.actions
    assert figures["l2"] == pytest.approx(np.square(error / (2 * np.pi)).mean(), rel=1e-4)
    assert figures["rms_deg"] == pytest.approx(np.rad2deg(np.sqrt(np.square(error).mean())), rel=1e-4)
    for k, name in enumerate(data.info.action_names):
        assert figures["l2_per_joint"][name] == pytest.approx(np.square(error[:, k] / (2 * np.pi)).mean(), rel=1e-4)
        degrees = np.rad2deg(np.sqrt(np.square(error[:, k]).mean()))
        assert figures["rms_deg_per_joint"][name] == pytest.approx(degrees, rel=1e-4)
    assert figures["images"] == 48


def test_with_a_translator_the_task_model_sees_translations(
    angles_run: Path, angles_translator_run: Path, angles_target: Path, tmp_path: Path
) -> None:
    runs = {"task_model": angles_run, "translator": angles_translator_run}
    figures = measure_angles(AnglesConfig(**runs, dataset=angles_target, device="cpu", out=tmp_path))
    data = load_dataset(angles_target)
    network, learned = load_task_model(angles_run)
    with torch.no_grad():
        seen = to_uint8(load_translator(angles_translator_run)(to_network(torch.from_numpy(data.images))))
        predicted = network(to_network(seen)).numpy() * learned.scale
    expected = np.square((predicted - data.actions) / (2 * np.pi)).mean()
    assert figures["l2"] == pytest.approx(expected, rel=1e-4)


def test_a_dataset_of_velocities_is_refused(task_model_run: Path, target: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected labels of joint_angles, got joint_velocities"):
        measure_angles(AnglesConfig(task_model=task_model_run, dataset=target, device="cpu", out=tmp_path))
