"""What is printed where it cannot be: in processes of their own, as a shell starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import taskgan_ros

PRINT = """
import sys
from taskgan_ros.core import progress, streams
streams.open_standard()
with streams.never_failing():
    progress.print_line("0.01 ± 0.02 m")
    print("x" * 100_000, flush=True)  # more than a pipe holds
    with progress.progress_bar("work", 3, "steps") as advance:
        for _ in range(3):
            advance(1, loss=0.5)
    open(sys.argv[1], "w").write(f"done; {streams.fault()}")
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(taskgan_ros.__file__).parents[1])}


def shell(script: str, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run PRINT as `$print` in a shell's script."""
    (folder / "print.py").write_text(PRINT)
    variables = ENVIRONMENT | {"print": f"{sys.executable} print.py note"} | changes
    return subprocess.run(["bash", "-c", script], cwd=folder, env=variables, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("$print >/dev/full 2>/dev/null", "[Errno 28] No space left on device"),
        ("$print 2>/dev/null | true; exit ${PIPESTATUS[0]}", "[Errno 32] Broken pipe"),
        ("$print >&- 2>&-", "it is closed"),
        ("$print 2>/dev/full", "None"),
        ("$print 2>&- >/dev/null", "None"),
        ("$print 2> >(true) >/dev/null", "None"),
    ],
)
def test_what_cannot_be_printed_costs_no_work(script: str, fault: str, tmp_path: Path) -> None:
    done = shell(script, tmp_path)
    assert (tmp_path / "note").read_text() == f"done; {fault}", done.stderr
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "changes",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_an_encoding_without_a_character_shows_one_like_it(changes: dict[str, str], tmp_path: Path) -> None:
    done = shell("$print", tmp_path, **changes)
    assert done.stdout.splitlines()[0] == "0.01 +- 0.02 m"
    assert (tmp_path / "note").read_text() == "done; None"


def test_no_file_gets_the_number_of_a_stream_that_is_closed() -> None:
    code = "import os; from taskgan_ros.core import streams; streams.open_standard(); print(os.open('.', os.O_RDONLY))"
    script = f'{sys.executable} -c "{code}" 0<&- 2>&-'
    done = subprocess.run(["bash", "-c", script], env=ENVIRONMENT, text=True, capture_output=True)
    assert int(done.stdout) > 2
