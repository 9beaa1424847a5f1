from __future__ import annotations

import sys

import pytest

from taskgan_ros.core import progress


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar("train", 5000, "steps", 100) as advance:
        for _ in range(4900):
            advance(0, loss=0.25)
            advance(1)
    said = capsys.readouterr().err
    assert "\r" not in said
    lines = said.splitlines()
    assert lines[0].startswith("train: 100/5000 steps [00:00<")
    assert lines[-1].startswith("train: 5000/5000 steps [")
    assert lines[-1].endswith(", loss=0.25]")
    assert len(lines) < 10
    assert "" not in lines


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.progress_bar("train", 3, "steps") as advance:
        advance(3)
    assert "\rtrain: 100%|" in capsys.readouterr().err


def test_a_part_says_what_it_is_part_of(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.part_of("2/6, all in 9 min"), progress.progress_bar("train", 3, "steps") as advance:
        advance(3)
    with progress.progress_bar("alone", 3, "steps") as advance:
        advance(3)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("2/6, all in 9 min: train: 0/3 steps")
    assert said[-1].startswith("alone: 3/3 steps")
