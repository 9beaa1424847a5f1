from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from reliability_page import SECTIONS, make_page
from report import report

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_made_of_the_committed_figures() -> None:
    assert (DOCS / "reliability.md").read_text(encoding="utf-8") == make_page(DOCS / "reliability")


def test_a_benchmark_without_figures_says_that_it_was_not_run(tmp_path: Path) -> None:
    page = make_page(tmp_path)
    assert page.count("Not run: `") == len(SECTIONS)
    assert "`benchmarks/soak.py --minutes 60 --out docs/reliability/soak.json`" in page


def test_a_benchmarks_figures_its_command_and_its_picture_are_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(DOCS.parent / "benchmarks" / "soak.py"), "--minutes", "1"])
    report("a title", [{"what": "one", "figure": 1.23456}], tmp_path / "soak.json", {"growth, %": 2})
    assert "soak.png" not in make_page(tmp_path)
    (tmp_path / "soak.png").touch()
    page = make_page(tmp_path)
    command = "`benchmarks/soak.py --minutes 1`"
    for expected in ("**a title**", "| one | 1.235 |", "- growth, %: 2", command, "(reliability/soak.png)"):
        assert expected in page
    assert json.loads((tmp_path / "soak.json").read_text())["date"] in page
    assert page.count("Not run: `") == len(SECTIONS) - 1
