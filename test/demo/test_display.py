from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from taskgan_ros.demo.display import Display, Progress, print_summary

MIDWAY = Progress(
    time_s=4.2, start_distance_m=0.4, distance_m=0.2, latency_s=0.061, rate_hz=19.8, note=""
)  # fmt: skip
FIGURES = {
    "success_rate": 0.9, "episodes": 10, "threshold_m": 0.1, "final_distance_mean_m": 0.0314,
    "final_distance_std_m": 0.004, "arrival_mean_s": 3.2, "latency_ms": {"p50": 61.0, "p99": 98.0}, "rate_hz": 19.8,
    "commands": 1980, "dropped_frames": 2, "out_of_distribution_images": 3,
}  # fmt: skip


def shown(progress: Progress, width: int = 80) -> str:
    """Return the live line as a terminal shows it, without colours."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, color_system=None)
    with Display(console, episodes=10, length_s=10.0, threshold_m=0.1) as display:
        display.show_progress(3, progress)
        lines = file.getvalue().splitlines()
    return max((re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in lines), key=len).strip("\r")


def test_the_live_line_says_all_within_80_columns() -> None:
    line = shown(MIDWAY)
    for part in ("episode  3/10", "4.2/10 s", "0.200 m", "latency 61 ms", "19.8 Hz"):
        assert part in line
    assert len(line) <= 80


def test_the_bar_falls_with_the_distance() -> None:
    lengths = [
        shown(Progress(1.0, 0.4, distance_m, None, 0.0, "")).count("█") for distance_m in (0.4, 0.3, 0.2, 0.1, 0.0)
    ]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 10 * lengths[-1] == 0
    assert shown(Progress(1.0, 0.4, 4.0, None, 0.0, "")).count("█") == lengths[0]  # off it goes, the bar stays


def test_what_holds_the_arm_is_said() -> None:
    assert "held: no images for 0.30 s" in shown(Progress(1.0, 0.4, 0.2, None, 0.0, "held: no images for 0.30 s"), 120)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_plain_lines_where_there_is_no_terminal(encoding: str) -> None:
    buffer = io.BytesIO()
    file = io.TextIOWrapper(buffer, encoding=encoding)
    console = Console(file=file, width=80)
    with Display(console, episodes=10, length_s=10.0, threshold_m=0.1) as display:
        display.show_wait("the first image of sim_node", 3.0)
        display.show_progress(1, MIDWAY)
        display.say_result(1, 0.031, 3.2)
        display.say_result(2, 0.310, None)
    print_summary(console, FIGURES, [(Path("out/reach.json"), "every figure")])
    file.flush()
    text = buffer.getvalue().decode(encoding)
    assert "episode  1/10   0.031 m from the goal, arrived after 3.2 s" in text
    assert "episode  2/10   0.310 m from the goal, not arrived" in text
    assert re.search(r"arrived +9 of 10", text)
    assert "4.2/10 s" not in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
