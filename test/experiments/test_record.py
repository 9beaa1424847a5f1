from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from experiments.record import run

SLEEP = "import sys, time; time.sleep(0.3); sys.exit(int(sys.argv[1]))"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "job.json"


def test_what_ran_leaves_how_long_when_and_on_what(record: Path) -> None:
    assert run(record, [sys.executable, "-c", SLEEP, "0"]) == 0
    values = json.loads(record.read_text())
    assert values["seconds"] >= 0.3
    assert values["finished"].endswith("Z")
    assert "CPU cores" in values["hardware"]
    assert set(values) == {"seconds", "finished", "commit", "hardware"}


def test_what_failed_leaves_its_time_alone(record: Path) -> None:
    assert run(record, [sys.executable, "-c", SLEEP, "3"]) == 3
    assert not record.exists()
    assert run(record, [sys.executable, "-c", SLEEP, "0"]) == 0
    assert json.loads(record.read_text())["seconds"] >= 0.6
    assert [file.name for file in record.parent.iterdir()] == ["job.json"]


def test_what_was_killed_failed(record: Path) -> None:
    assert run(record, [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 128 + 9
    assert not record.exists()
