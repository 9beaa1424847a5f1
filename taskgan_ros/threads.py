"""How the threads that torch computes with wait for each other."""

from __future__ import annotations

import os

# Turns of libgomp's waiting loop: 2 ms on an x86 of the 2020s. Nearly every wait within a training step is shorter, and
# a time slice longer. libgomp's own 300 000 outlast a slice: a thread that waits for one that the system has put aside
# then keeps the core busy on which that one could have run.
_SPINS = "50000"


def spin_briefly() -> None:
    """Let torch's waiting threads sleep sooner than its OpenMP library does, unless the environment says how they wait.

    Counts only before torch is loaded. What it gains beside other work, and costs without: docs/benchmarks.md.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
