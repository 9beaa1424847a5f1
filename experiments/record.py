"""`python -m experiments.record FILE COMMAND…`: run a command, and note in FILE how long it took, when and on what."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from taskgan_ros.core import interrupts
from taskgan_ros.core.config import share_dir
from taskgan_ros.core.files import write_text

_CODE = ("taskgan_ros", "experiments", "config")


def run(record: Path, command: Sequence[str]) -> int:
    """Run the command and return its status; write `record` where that is 0.

    The time counts over all attempts: that of a failed one stays in `record.seconds`.
    """
    spent = record.with_name(f"{record.name}.seconds")
    before = float(spent.read_text(encoding="utf-8")) if spent.exists() else 0.0
    start, commit = time.monotonic(), _commit()  # now: the tree may change while the command runs
    for number in interrupts.stop_signals():
        signal.signal(number, lambda *_: None)  # the command gets it too, and ends us by ending itself
    status = subprocess.run(command).returncode
    seconds = before + time.monotonic() - start
    if status:
        write_text(spent, f"{seconds:.1f}")
        return status if status > 0 else 128 - status
    spent.unlink(missing_ok=True)
    device = command[command.index("--device") + 1] if "--device" in command else "cpu"
    finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    values = {"seconds": round(seconds, 1), "finished": finished, "commit": commit, "hardware": _hardware(device)}
    write_text(record, json.dumps(values, indent=1) + "\n")
    return 0


def _commit() -> str:
    """Return the commit of the code, `+` behind it where files differ; "" where it is no git tree of its own."""
    git = ["git", "-C", str(share_dir())]
    commands = (("rev-parse", "--show-prefix"), ("rev-parse", "--short", "HEAD"), ("status", "--porcelain", *_CODE))
    try:
        inside, commit, changed = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return "" if inside else commit + ("+" if changed else "")


def _hardware(device: str) -> str:
    if device != "cpu" and shutil.which("nvidia-smi"):
        import torch  # which takes seconds

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
