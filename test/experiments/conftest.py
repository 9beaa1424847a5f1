"""Tiny runs of the joint-angle task; experiments/ is not installed, so the tests import it from the tree."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from taskgan_ros import cli

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@pytest.fixture(scope="session")
def angles_run(collected: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a task model of joint angles in the source."""
    out = tmp_path_factory.mktemp("runs") / "angles"
    dataset = collected("source", "--task", "joint_angles")
    words = ["train", "task-model", "--dataset", dataset, "--out", out, "--steps", 4, "--device", "cpu"]
    assert cli.run([str(word) for word in words]) == 0
    return out


@pytest.fixture(scope="session")
def angles_target(collected: Callable[..., Path]) -> Path:
    return collected("target_wood", "--task", "joint_angles", "--paired", "source", seed=1)


@pytest.fixture(scope="session")
def angles_translator_run(
    collected: Callable[..., Path], angles_run: Path, angles_target: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("runs") / "angles_translator"
    data = ["--source", collected("source", "--task", "joint_angles"), "--target", angles_target]
    shape = ["--generator.widths", 8, 16, "--generator.blocks", 1]
    words = ["train", "translator", *data, "--task-model", angles_run, "--out", out, "--recipe", "paper", "--steps", 1]
    assert cli.run([str(word) for word in [*words, *shape, "--device", "cpu"]]) == 0
    return out
