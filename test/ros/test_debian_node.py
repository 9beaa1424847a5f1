"""The node where ROS 2 users have it: on the distribution's own Python packages; .ci/debian_node says what it needs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_PACKAGES = 77


def test_the_node_runs_with_what_rosdep_brings(tmp_path: Path) -> None:
    command = [ROOT / ".ci" / "debian_node", tmp_path / "venv"]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == WITHOUT_PACKAGES:
        pytest.skip(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout
    for transport in ("raw", "compressed"):
        assert f"{transport}: " in done.stdout
