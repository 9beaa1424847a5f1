from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from taskgan_ros import cli

VERBS = [
    "reach",
    "collect",
    "import",
    "export-dataset",
    "train task-model",
    "train two-column",
    "train translator",
    "refine",
    "export",
    "bundle",
    "evaluate",
    "reproduce",
]
WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None  # an import of it raises ModuleNotFoundError
from taskgan_ros.cli import run
status = run({words!r})
heavy = {{"torch", "rclpy", "mujoco", "onnxruntime", "h5py"}} & {{name for name in sys.modules if sys.modules[name]}}
print("loaded:", *sorted(heavy))
sys.exit(status)
"""


def run_without(*missing: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a fresh interpreter in which these packages do not exist."""
    code = WITHOUT.format(missing=missing, words=words)
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)


def test_help_lists_the_verbs_and_loads_none_of_them() -> None:
    done = run_without(words=["--help"])
    assert done.returncode == 0, done.stderr
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("words", [[], ["fly"], ["train"], ["train", "everything"]])
def test_an_unknown_verb_is_refused_with_those_there_are(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"taskgan: expected one of the verbs below, got {' '.join(words) or 'nothing'}\n")
    for verb in VERBS:
        assert f"\n  {verb} " in said


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "reach"])  # reach needs ROS
def test_every_verb_explains_its_options(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        cli.run([*verb.split(), "--help"])
    assert status.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: taskgan {verb} " in said
    assert "--out PATH" in said or "--json " in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["collect", "--domain", "source"], "Required options"),
        (["collect", "--domain", "source", "--episodes", "few", "--out", "x"], "--episodes"),
        (["train", "task-model", "--dataset", "a", "--out", "b", "--speed", "1"], "Unrecognized options: --speed"),
        (["train", "task-model", "--dataset", "a", "--out", "b", "--steps", "0"], "greater than or equal to 1"),
    ],
)
def test_wrong_options_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        cli.run(words)
    assert status.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())  # a narrow terminal breaks lines


@pytest.mark.parametrize(
    ("missing", "verb", "extra"),
    [("h5py", "collect", "training"), ("torch", "refine", "training"), ("snakemake", "reproduce", "experiments")],
)
def test_a_missing_module_is_named_with_the_extra_that_brings_it(missing: str, verb: str, extra: str) -> None:
    done = run_without(missing, words=[verb])
    assert done.returncode == 2
    assert done.stderr == f"taskgan: expected the Python module {missing}, got none: pip install -e '.[{extra}]'\n"


def test_studies_need_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "share_dir", lambda: tmp_path)
    assert cli.run(["reproduce", "unseen"]) == 2
    assert "expected a checkout of the repository, whose experiments/ has the studies, got" in capsys.readouterr().err


def test_without_ros_reach_says_where_to_get_it(bundle: Path, tmp_path: Path) -> None:
    done = run_without("rclpy", words=["reach", "--bundle", str(bundle), "--out", str(tmp_path / "out")])
    assert done.returncode == 2
    hint = "source a ROS 2 installation, or pip install -e '.[ros-wheels]'"
    assert done.stderr == f"taskgan: expected the Python module rclpy, got none: {hint}\n"
    assert list(tmp_path.iterdir()) == []


def test_the_process_ends_with_the_commands_status(tmp_path: Path) -> None:
    words = ["collect", "--domain", "marble", "--episodes", "1", "--out", str(tmp_path / "data.h5")]
    done = subprocess.run([sys.executable, "-m", "taskgan_ros.cli", *words], text=True, capture_output=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(r"taskgan: domains: expected a file or one of \[.*source.*\], got 'marble'", line)


def test_sigterm_is_reported_like_ctrl_c_and_the_handler_restored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb(_: Sequence[str]) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as error:
            error.add_note("go on tomorrow")
            raise

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(cli.VERBS, ("wait",), verb)
    assert cli.run(["wait"]) == 130
    assert capsys.readouterr().err == "taskgan: interrupted by SIGTERM; go on tomorrow\n"
    assert signal.getsignal(signal.SIGTERM) == before
