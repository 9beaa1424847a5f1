"""Speed and memory of `taskgan import` over the size of a bag, which is made by repeating a recording.

    python benchmarks/import_speed.py ../shared/real/bags/panda_9s_mcap --scene SCENE --gigabytes 0.2 1 2

Each size is imported by a process of its own; the stamps of each repetition follow those of the one before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from taskgan_ros.recordings.bag import Bag

_NS = 10**9


@dataclass(frozen=True)
class ImportBenchmark:
    """Import bags of several sizes."""

    recording: tyro.conf.Positional[Path]
    """The bag that is repeated."""
    scene: str
    """Of its arm."""
    gigabytes: tuple[float, ...] = (0.2, 1.0, 2.0)
    """Sizes of the bags."""
    folder: Path | None = None
    """Where to put them, one at a time; a temporary folder if left out."""
    json: Path | None = None
    """Where to write the figures."""


def repeat(source: Path, out: Path, size: float) -> float:
    """Write `source`, shifted in time, until `out` has `size` bytes; return its bytes."""
    store, bag = get_typestore(Stores.ROS2_JAZZY), Bag(source)
    messages = list(bag.messages([]))
    period_ns = messages[-1][0].received_ns - messages[0][0].received_ns + _NS
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in bag.counts}
        written, turn = 0, 0
        while written < size:
            for packet, message in messages:
                stamp = message.header.stamp
                late_ns = stamp.sec * _NS + stamp.nanosec + turn * period_ns
                before = stamp.sec, stamp.nanosec
                stamp.sec, stamp.nanosec = divmod(late_ns, _NS)
                data = store.serialize_cdr(message, packet.type)
                stamp.sec, stamp.nanosec = before
                writer.write(connections[packet.topic], packet.received_ns + turn * period_ns, data)
                written += len(data)
            turn += 1
    return float(sum(file.stat().st_size for file in out.iterdir()))


def measure(bag: Path, scene: str, out: Path) -> dict[str, Any]:
    """Import `bag` in a process of its own; return s, images and the peak of its memory in MB."""
    command = [sys.executable, "-m", "taskgan_ros.cli", "import", str(bag), "--scene", scene, "--out", str(out)]
    begin = time.monotonic()
    process = subprocess.Popen([*command, "--json", str(out.with_suffix(".json"))])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"expected {' '.join(command)} to succeed, got the status {status}")
    figures = json.loads(out.with_suffix(".json").read_text())
    return {"s": time.monotonic() - begin, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024,
            "images": figures["notes"]["images"], "taken": figures["images"]}  # fmt: skip


def main(config: ImportBenchmark) -> None:
    """Print a line a size."""
    rows = []
    print("  GB     s  cpu s  MB/s  peak MB  images   taken")
    for size in config.gigabytes:
        with tempfile.TemporaryDirectory(dir=config.folder) as folder:
            bytes_ = repeat(config.recording, Path(folder) / "bag", size * 1e9)
            found = measure(Path(folder) / "bag", config.scene, Path(folder) / "out.h5")
        rows.append({"gigabytes": bytes_ / 1e9, "mb_s": bytes_ / 1e6 / found["s"], **found})
        row = rows[-1]
        print(
            f"{row['gigabytes']:4.1f} {row['s']:5.0f} {row['cpu_s']:6.0f} {row['mb_s']:5.0f} {row['peak_mb']:8.0f} "
            f"{row['images']:7d} {row['taken']:7d}",
            flush=True,
        )
    if config.json:
        config.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(ImportBenchmark))
