"""`reach_node` for a long time, on images of 640x480 at 30 Hz and joint states at 100 Hz: does anything grow?"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import tyro
from bench import ARM, Bench, open_bench
from film import render
from matplotlib.figure import Figure
from report import Row, report
from std_msgs.msg import UInt64

from taskgan_ros.core.interrupts import deferred
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.demo.isolation import ProcessEnded
from taskgan_ros.policy.bundle import load_bundle

SIZE = 480, 640
JOINT_STATE_RATE_HZ = 100.0
SHARE_OF_TOP_SPEED = 0.7  # a faster arm's joint states are rejected, and its node would be held
ROWS = 12
COUNTS = "images", "dropped_images", "bad_images", "old_images", "commands", "holds"


@dataclass(frozen=True)
class Config:
    """Run the node for a long time."""

    minutes: float = 60.0
    """How long; 10 for a short run. Ctrl-C ends it, and what there is is written."""
    rate_hz: float = 30.0
    """Of the camera."""
    bundle: str = "reach_target_wood"
    """A shipped bundle's name or a folder."""
    episodes: int = 3
    """Whose expert paths are replayed forwards and backwards."""
    out: Path | None = None
    """JSON to write; the plot goes beside it, as PNG."""


@dataclass(frozen=True)
class Sample:
    """How the node is doing after so long; counts since the start, latency and CPU since the last sample."""

    time_s: float
    published: int
    received: int
    dropped: int
    refused: int
    commands: int
    holds: int
    latency_p50_ms: float
    latency_p99_ms: float
    cpu_percent: float
    memory_mb: float

    def row(self) -> Row:
        """Return it as the table shows it."""
        return {
            "minute": self.time_s / 60,
            "published": self.published,
            "received": self.received,
            "dropped": self.dropped,
            "bad or old": self.refused,
            "commands": self.commands,
            "holds": self.holds,
            "latency p50 ms": self.latency_p50_ms,
            "latency p99 ms": self.latency_p99_ms,
            "CPU %": self.cpu_percent,
            "memory MB": self.memory_mb,
        }


class Soak:
    """The node, its camera, and what has been noted of them."""

    def __init__(self, bench: Bench, config: Config, film: Path) -> None:
        """Bring the node up, and let it run on the camera's images."""
        self._bench = bench
        bench.start_reach(
            bundle=config.bundle,
            camera_fov=load_bundle(config.bundle).camera_fov,
            follow_tolerance_rad=100.0,  # this arm does not follow
            arrived_images=0,  # over and over: it need not stand at the cube
        )
        bench.listen(UInt64, "camera/published", self._hear_published)
        bench.hear_latencies()
        bench.change("activate")
        self._published, self._origin = 0, dict.fromkeys((*COUNTS, "published"), 0)
        self._camera = bench.start_camera(film, config.rate_hz, JOINT_STATE_RATE_HZ)
        bench.wait("the first commands", lambda: bench.trajectories > 0 and self._published > 0)
        with self._paused():
            self._origin = self._counts()
        heard = bench.trajectories
        bench.wait("commands after the pause", lambda: bench.trajectories > heard)
        bench.latencies.clear()
        self._started_s = self._sampled_s = time.monotonic()
        self._cpu_s = bench.cpu_s()
        self.samples: list[Sample] = []

    def run(self, minutes: float, advance: Callable[..., None], check_interrupt: Callable[[], None]) -> str:
        """Take samples until the time is over; return why it ended before, if it did."""
        period_s, seconds = min(60.0, 60 * minutes / ROWS), 60 * minutes
        due_s, shown = period_s, 0
        try:
            while (time_s := time.monotonic() - self._started_s) < seconds:
                self._bench.check()
                check_interrupt()
                if time_s >= due_s:
                    self.take_sample()
                    due_s += period_s
                advance(int(time_s) - shown, memory_mb=self._bench.memory_mb)
                shown = int(time_s)
                time.sleep(0.2)
        except KeyboardInterrupt:
            return "interrupted"
        except (ProcessEnded, psutil.Error) as error:
            return str(error)
        self.take_sample()
        return ""

    def take_sample(self) -> None:
        """Note how the node is doing."""
        bench, now_s = self._bench, time.monotonic()
        latencies, bench.latencies = bench.latencies, []
        p50, p99 = 1e3 * np.quantile(latencies, [0.5, 0.99]) if latencies else (math.nan, math.nan)
        cpu_s, before_s = bench.cpu_s(), self._cpu_s
        counts = self._counts()
        sample = Sample(
            time_s=now_s - self._started_s,
            published=counts["published"],
            received=counts["images"],
            dropped=counts["dropped_images"],
            refused=counts["bad_images"] + counts["old_images"],
            commands=counts["commands"],
            holds=counts["holds"],
            latency_p50_ms=float(p50),
            latency_p99_ms=float(p99),
            cpu_percent=100 * (cpu_s - before_s) / (now_s - self._sampled_s),
            memory_mb=bench.memory_mb,
        )
        self.samples.append(sample)
        self._cpu_s, self._sampled_s = cpu_s, now_s

    def summarize(self, ended: str) -> Row:
        """Return the figures of the whole run; the camera pauses, so that both counts are of one moment."""
        last, early = self.samples[-1], self._first_settled()
        summary: Row = {"minutes": last.time_s / 60, "ended early": ended or "no"}
        if self._bench.reach.is_running() and self._bench.reach.status() != psutil.STATUS_ZOMBIE:
            with self._paused():
                counts = self._counts()
            summary |= {
                "images published": counts["published"],
                "lost before the node": counts["published"] - counts["images"],
                "replaced by newer ones in it": counts["dropped_images"],
                "holds": last.holds,
            }
        return summary | {
            "trajectories": self._bench.trajectories,
            "rejected by the controller": len(self._bench.rejected),
            "worst latency p99, ms": max(sample.latency_p99_ms for sample in self.samples),
            f"memory after {early.time_s / 60:.2g} minutes, MB": early.memory_mb,
            "memory at the end, MB": last.memory_mb,
            "memory growth, %": 100 * (last.memory_mb / early.memory_mb - 1),
        }

    def _first_settled(self) -> Sample:
        """Return the first sample after two minutes, or a sixth of a short run."""
        from_s = min(120.0, self.samples[-1].time_s / 6)
        return next(sample for sample in self.samples if sample.time_s >= from_s)

    def _counts(self) -> dict[str, int]:
        """Return what has been counted since the start; the node says its own once a second."""
        counts = {"published": self._published, **{key: self._bench.count(key) for key in COUNTS}}
        return {key: count - self._origin[key] for key, count in counts.items()}

    @contextmanager
    def _paused(self) -> Iterator[None]:
        self._camera.suspend()
        try:
            self._bench.wait_for_reports(2)
            yield
        finally:
            self._camera.resume()

    def _hear_published(self, message: UInt64) -> None:
        self._published = message.data


def plot(path: Path, samples: Sequence[Sample]) -> None:
    """Draw latency, memory and dropped images over time."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    latency, memory, dropped = figure.subplots(3, sharex=True)
    minutes = [sample.time_s / 60 for sample in samples]
    latency.plot(minutes, [sample.latency_p50_ms for sample in samples], color="#0072b2", label="p50")
    latency.plot(minutes, [sample.latency_p99_ms for sample in samples], color="#d55e00", label="p99")
    latency.set(ylabel="stamp to command (ms)", ylim=(0, None))
    latency.legend(frameon=False)
    memory.plot(minutes, [sample.memory_mb for sample in samples], color="#0072b2")
    memory.set(ylabel="memory (MB)", ylim=(0, 1.2 * max(sample.memory_mb for sample in samples)))
    dropped.plot(minutes, [sample.dropped for sample in samples], color="#0072b2")
    dropped.set(ylabel="images replaced", xlabel="minutes", xlim=(0, None), ylim=(0, max(1, 1.1 * samples[-1].dropped)))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main(config: Config) -> None:
    """Run it and report."""
    with tempfile.TemporaryDirectory() as folder, deferred() as check_interrupt:
        film = Path(folder) / "film.npz"
        print(f"rendering {config.episodes} expert paths")
        step_rad = SHARE_OF_TOP_SPEED * ARM.max_velocity.min() / config.rate_hz
        render(load_bundle(config.bundle), SIZE, config.episodes, step_rad).save(film)
        seconds = round(60 * config.minutes)
        with open_bench(Path(folder)) as bench, progress_bar("soak", seconds, "s") as advance:
            soak = Soak(bench, config, film)
            ended = soak.run(config.minutes, advance, check_interrupt)
            if not soak.samples:
                raise SystemExit(f"expected at least one sample, got none: {ended}")
            summary = soak.summarize(ended)
    every = math.ceil(len(soak.samples) / ROWS)
    rows = [sample.row() for sample in soak.samples[::-1][::every][::-1]]  # the last is always there
    height, width = SIZE
    title = f"{width}x{height} at {config.rate_hz:g} Hz, joint states at {JOINT_STATE_RATE_HZ:g} Hz, {config.bundle}"
    report(title, rows, config.out, summary)
    if config.out:
        plot(config.out.with_suffix(".png"), soak.samples)


if __name__ == "__main__":
    main(tyro.cli(Config))
