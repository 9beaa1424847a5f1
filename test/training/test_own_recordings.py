"""The example that docs/training.md gives for recordings of one's own."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from taskgan_ros.data.dataset import load_dataset

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def test_the_example_writes_a_dataset_that_loads_with_the_experts_labels(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "source.h5").symlink_to(source)
    collected = load_dataset(source)
    rows = [collected.episode == k for k in range(2)]
    cubes = [np.array([0.05, -0.35]), np.array([-0.08, -0.38])]
    recordings = ModuleType("my_recordings")
    recordings.episodes = [  # type: ignore[attr-defined]
        (collected.images[row], collected.joint_pos[row], cube) for row, cube in zip(rows, cubes, strict=True)
    ]
    monkeypatch.setitem(sys.modules, "my_recordings", recordings)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(example, {})
    written = load_dataset(tmp_path / "datasets" / "target.h5")
    assert (written.info.domain, written.info.episodes, len(written)) == ("my_lab", 2, int(sum(map(sum, rows))))
    np.testing.assert_array_equal(written.joint_pos, collected.joint_pos[rows[0] | rows[1]])
    assert written.info.action_names == collected.info.action_names
    assert np.abs(written.actions).max() > 0.01
