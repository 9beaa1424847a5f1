"""How the threads that torch computes with wait for each other."""

from __future__ import annotations

import os

# Iterations of libgomp's waiting loop: 2 ms on an x86 of the 2020s. Nearly every wait within a training step is
# shorter, and a time slice of the scheduler is longer. libgomp's default, 300 000, outlasts a time slice: a thread that
# waits for a preempted one then occupies the core on which that one could have run.
_SPINS = "50000"


def spin_briefly() -> None:
    """Let torch's waiting threads sleep sooner than OpenMP's default; an environment variable takes precedence.

    Takes effect only before torch is loaded. docs/benchmarks.md has measurements, with and without other processes.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
