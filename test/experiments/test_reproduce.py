from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskgan_ros import cli
from taskgan_ros.experiments.cells import Cell
from taskgan_ros.experiments.reproduce import STEPS
from taskgan_ros.experiments.studies import STUDIES, load_scale, study_cells, with_needs

Reproduce = Callable[..., dict[tuple[str, int], dict[str, Any]]]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests share, as studies do: each cell runs once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def reproduce(cache: Path) -> Reproduce:
    def run(study: str, *options: object, status: int = 0) -> dict[tuple[str, int], dict[str, Any]]:
        words = ["reproduce", study, "--scale", "smoke", "--cache", str(cache), *map(str, options)]
        assert cli.run(words) == status
        return records(cache / "smoke" / f"{study}.json")

    return run


def records(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    found = json.loads(path.read_text())["records"]
    return {(record["name"], record["seed"]): record for record in found}


def test_figure_9_from_nothing_for_one_domain(reproduce: Reproduce, cache: Path) -> None:
    found = reproduce("reaching", "--domains", "target_a")
    measured = {name: record for (name, _), record in found.items() if name.endswith("closed-loop")}
    forward = ("benchmark", "source", "source+paired", "source+translated", "source+paired+translated")
    expected = {f"target_a/{regime}/closed-loop" for regime in (*forward, "inverse", "inverse-100")}
    assert set(measured) == {"source/source/closed-loop", *expected}
    for record in measured.values():
        assert record["figures"]["episodes"] == 2
        assert record["seconds"] > 0
    assert (cache / "smoke" / "reaching.md").is_file()


def test_what_has_run_does_not_run_again(reproduce: Reproduce, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce("unseen", "--domains", "target_a")
    capsys.readouterr()
    reproduce("unseen", "--domains", "target_a")
    assert "left]" not in capsys.readouterr().out


def test_figures_outlive_the_cache(
    reproduce: Reproduce, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On another machine only the data is collected anew, to see that it is the same."""
    before = reproduce("unseen", "--domains", "target_a")
    moved = tmp_path / "moved"
    shutil.copytree(cache, moved, ignore=lambda folder, names: [n for n in names if n.startswith("trans")])
    capsys.readouterr()
    assert cli.run(["reproduce", "unseen", "--scale", "smoke", "--domains", "target_a", "--cache", str(moved)]) == 0
    assert "left]" not in capsys.readouterr().out
    assert records(moved / "smoke" / "unseen.json") == before


def test_one_cell_and_what_it_needs(reproduce: Reproduce) -> None:
    found = reproduce("joint-angles", "--only", "inverse-1/angles")
    ran = {name for (name, _), record in found.items() if record["figures"] is not None}
    assert "inverse-1/angles" in ran
    assert "inverse-10/angles" not in ran
    assert found["inverse-10/angles", 0]["command"].endswith("--only inverse-10/angles")


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_can_be_made_of_its_cells(study: str) -> None:
    for scale in ("smoke", "cpu", "full"):
        cells = with_needs(study_cells(STUDIES[study], load_scale(scale), "default", None))
        assert len({(cell.name, cell.seed) for cell in cells}) == len(cells)
        for cell in cells:
            _configured(cell)


def _configured(cell: Cell) -> None:
    values = {**cell.options, **{name: Path(name) for name in cell.needs}, "out": Path("out")}
    STEPS[cell.step].config(**values)


def test_full_scale_has_three_seeds_and_the_papers_numbers() -> None:
    full = load_scale("full")
    assert full.seeds >= 3
    assert (full.source_episodes * 16, full.target_episodes * 16) == (22656, 800)
    assert (full.pose_source_episodes * 16, full.task_model_steps) == (50000, 15000)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("reaching", "--only", "nothing*"), "expected a pattern of some of"),
        (("reaching", "--domains", "mars"), "expected a file or one of"),
        (("reaching", "--scale", "huge"), "expected a file or one of"),
        (("reaching", "--recipe", "pie"), "expected a file or one of"),
        (("task-loss", "--domains", "target_a", "target_b"), "expected one domain"),
    ],
)
def test_what_does_not_exist_is_refused(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", *options, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")]
    assert cli.run(words) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_results_of_another_scale_are_not_mixed(
    reproduce: Reproduce, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduce("unseen", "--domains", "target_a")
    kept = (cache / "smoke" / "unseen.json").read_bytes()
    words = ["reproduce", "unseen", "--scale", "cpu", "--cache", str(tmp_path), "--out", str(cache / "smoke")]
    assert cli.run(words) == 2
    assert "expected results of scale cpu" in capsys.readouterr().err
    assert (cache / "smoke" / "unseen.json").read_bytes() == kept
