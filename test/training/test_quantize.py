from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taskgan_ros import cli
from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.policy.bundle import TASK_MODEL, TRANSLATOR, load_bundle
from taskgan_ros.policy.policy import Policy
from taskgan_ros.sim.collect import CollectConfig, collect

BUNDLE = load_bundle("reach_target_wood")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quantize") / "target.h5"
    collect(CollectConfig("target_wood", 3, out, seed=2, workers=1))
    return out


def quantize(target: Path, out: Path) -> int:
    return cli.run(["quantize", "--bundle", "reach_target_wood", "--target", str(target), "--out", str(out)])


def test_the_translator_gets_smaller_and_the_commands_stay(
    target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(target, tmp_path / "small") == 0
    made = load_bundle(tmp_path / "small")
    assert (made.card.name, made.card.results) == ("small", ())
    assert (made.path / TRANSLATOR).stat().st_size < 0.4 * (BUNDLE.path / TRANSLATOR).stat().st_size
    assert made.card.files[TASK_MODEL] == BUNDLE.card.files[TASK_MODEL]
    data = load_dataset(target)
    seen = data.images[1::8], data.joint_pos[1::8].astype(np.float64)
    before, after = (Policy(bundle).act(*seen).commands for bundle in (BUNDLE, made))
    assert np.sqrt(np.mean((after - before) ** 2)) < 0.1 * np.sqrt(np.mean(before**2))
    assert "differ by" in capsys.readouterr().out
    assert quantize(target, tmp_path / "small") == 2  # and is not overwritten
    assert load_bundle(tmp_path / "small").card == made.card


def test_images_of_another_domain_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.h5"
    collect(CollectConfig("target_a", 2, other, workers=1))
    assert quantize(other, tmp_path / "small") == 2
    assert "expected the domain target_wood, got target_a" in capsys.readouterr().err
    assert not (tmp_path / "small").exists()
