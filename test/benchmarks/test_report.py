from __future__ import annotations

import json
from pathlib import Path

import pytest
from report import report


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_figures_are_written_before_they_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console.Console.print", fail)
    out = tmp_path / "figures.json"
    with pytest.raises(OSError, match="No space"):
        report("speed", [{"case": "idle", "steps/s": 68.0}], out)
    assert json.loads(out.read_text())["rows"] == [{"case": "idle", "steps/s": 68.0}]
