from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.measure import main
from taskgan_ros.core.errors import InputError


def test_figures_are_left_in_the_folder(angles_run: Path, angles_target: Path, tmp_path: Path) -> None:
    words = ["--task-model", str(angles_run), "--dataset", str(angles_target), "--device", "cpu"]
    main(["angles", *words, "--out", str(tmp_path / "angles")])
    figures = json.loads((tmp_path / "angles" / "figures.json").read_text())
    assert figures["l2"] > 0
    assert [file.name for file in (tmp_path / "angles").iterdir()] == ["figures.json"]


def test_what_does_not_fit_is_refused(angles_target: Path, tmp_path: Path) -> None:
    words = ["--task-model", str(tmp_path), "--dataset", str(angles_target), "--out", str(tmp_path / "angles")]
    with pytest.raises(InputError, match=r"expected a training run"):
        main(["angles", *words])
    assert not (tmp_path / "angles").exists()
