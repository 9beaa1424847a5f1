"""The guides' commands do what the guides say, as they are typed, with the numbers that the README gives for a look."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskgan_ros.policy.bundle import load_bundle

ROOT = Path(__file__).resolve().parents[2]
FEW = {  # in place of the guides' numbers
    r"--episodes \d+": "--episodes 6",
    r"taskgan train task-model ": "taskgan train task-model --steps 2 ",
    r"taskgan train translator ": "taskgan train translator --steps 2 --pretrain-steps 2 ",
    r"taskgan refine ": "taskgan refine --steps 2 ",
    r"taskgan evaluate ": "taskgan evaluate --episodes 1 ",
}
NOT_HERE = ("python3 -m venv", "pip install", "make ", "ros2 ")


def commands(page: str, heading: str) -> list[str]:
    """Return the commands of the first block under a heading, each on one line, with few episodes and steps."""
    text = (ROOT / page).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    block = re.sub(r"\\\n\s*", " ", re.split(r"^```\n", text, flags=re.MULTILINE)[1])
    for number, small in FEW.items():
        block = re.sub(number, small, block)
    return [line for line in block.splitlines() if not line.startswith(NOT_HERE)]


def type_in(folder: Path, lines: list[str]) -> None:
    """Run commands in a shell, one after the other, until one fails."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    script = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert script.returncode == 0, script.stderr[-2000:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with what a checkout has beside the package."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path


def test_the_readme_trains_a_bundle_of_ones_own_scene(folder: Path) -> None:
    lines = commands("README.md", "Train it on a simulation of your scene")
    assert lines[0].startswith("cp ")
    assert lines[-1].startswith("taskgan evaluate")
    type_in(folder, lines)
    card = load_bundle(folder / "my_bundle").card
    assert (card.target_domain, card.guard is not None) == ("my_lab", True)


def test_an_arm_gets_its_pictures_and_a_cell(folder: Path) -> None:
    pytest.importorskip("airo_models", reason="the model of an arm is needed")
    lines = commands("docs/your-arm.md", "1. The arm") + commands("docs/your-arm.md", "2. The cell")
    assert len(lines) == 2
    type_in(folder, [line.replace("my_robot.urdf", "package://airo_models/arms/ur5e/ur5e.urdf") for line in lines])
    assert (folder / "pictures").is_dir()
    assert np.asarray(Image.open(folder / "my_cell.png")).std() > 10
    type_in(folder, ["taskgan scene --look my_cell.yaml"])
