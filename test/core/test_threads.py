"""How torch's threads wait, as its OpenMP library tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")


def _told(module: str, **environment: str) -> str:
    usual = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        cwd=Path(__file__).parents[2],  # for experiments/, which is not installed
        env=usual | {"OMP_DISPLAY_ENV": "VERBOSE"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stderr


@pytest.mark.parametrize("module", ["taskgan_ros.training.steps.task_model", "experiments.models"])
def test_waiting_threads_sleep_soon(module: str) -> None:
    assert "GOMP_SPINCOUNT = '50000'" in _told(module)


@pytest.mark.parametrize(("wish", "spins"), [({"OMP_WAIT_POLICY": "PASSIVE"}, "0"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_the_users_wish_counts(wish: dict[str, str], spins: str) -> None:
    assert f"GOMP_SPINCOUNT = '{spins}'" in _told("taskgan_ros.training.steps.task_model", **wish)
