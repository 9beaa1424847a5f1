"""Where the time from image stamp to command goes, hop by hop, in a `reach_node` whose functions are wrapped."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from bench import open_bench
from film import Film, render
from hop_probe import HOPS
from latency import JOINT_STATE_RATE_HZ, SIZES, TRANSPORTS, start_node
from numpy.typing import NDArray
from report import ROOT, Row, commit_of, report

from taskgan_ros.policy.bundle import load_bundle


@dataclass(frozen=True)
class Config:
    """Measure each hop of an image."""

    bundle: str = "reach_target_wood"
    """A shipped bundle's name or a folder."""
    rate_hz: float = 20.0
    """Of the camera."""
    seconds: float = 30.0
    """Of each kind of image and each checkout."""
    before: Path | None = None
    """A checkout of another commit, to be measured too."""
    out: Path | None = None
    """JSON to write."""


def measure(config: Config, film: Film, encoding: str, tree: Path) -> NDArray[np.float64]:
    """Return the ms (N, hops) of N images."""
    with tempfile.TemporaryDirectory() as folder, open_bench(Path(folder)) as bench:
        path, stamps = Path(folder) / "film.npz", Path(folder) / "stamps.npy"
        film.save(path, as_jpeg=encoding == "jpeg")
        start_node(bench, config.bundle, encoding, (str(Path(__file__).with_name("hop_probe.py")), str(stamps)), tree)
        bench.start_camera(path, config.rate_hz, JOINT_STATE_RATE_HZ)
        bench.change("activate")
        bench.wait("commands", lambda: bench.trajectories)
        bench.sleep(config.seconds)
        bench.reach.terminate()
        bench.reach.wait()
        found: NDArray[np.float64] = 1e-6 * np.diff(np.load(stamps), axis=1)
    return found


def main(config: Config) -> None:
    """Measure every kind of image, here and before."""
    bundle = load_bundle(config.bundle)
    trees = {f", {commit_of(config.before)}": config.before.resolve()} if config.before else {}
    columns: dict[str, NDArray[np.float64]] = {}
    for size in SIZES:
        film = render(bundle, size)
        for encoding in TRANSPORTS:
            for which, tree in {**trees, "": ROOT}.items():
                columns[f"{size[1]}x{size[0]} {encoding}{which}"] = measure(config, film, encoding, tree)
    rows: list[Row] = [
        {"hop": hop, **{name: float(np.median(ms[:, k])) for name, ms in columns.items()}}
        for k, hop in enumerate(HOPS[1:])
    ]
    rows.append({"hop": "all", **{name: float(np.median(ms.sum(axis=1))) for name, ms in columns.items()}})
    report(f"ms, medians; {config.rate_hz:g} Hz, {bundle.card.name}", rows, config.out)


if __name__ == "__main__":
    main(tyro.cli(Config))
