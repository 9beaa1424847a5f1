"""What a person sees of a reach session: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_REDRAW_S = 0.1
_BAR_CELLS = 18  # with it the line fits 80 columns


@dataclass(frozen=True)
class Progress:
    """A running episode at one moment.

    Attributes:
        time_s: since its start.
        start_distance_m, distance_m: then and now.
        latency_s: of the last commands; None before the first.
        rate_hz: of the last commands.
        note: what keeps the arm from moving; empty while nothing does.
    """

    time_s: float
    start_distance_m: float
    distance_m: float
    latency_s: float | None
    rate_hz: float
    note: str


class Display:
    """Shows a session of `episodes` episodes of `length_s`; a context manager, which leaves the terminal as it was."""

    def __init__(self, console: Console, episodes: int, length_s: float, threshold_m: float) -> None:
        """Show nothing yet."""
        self._console, self._episodes, self._length_s, self._threshold_m = console, episodes, length_s, threshold_m
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        fancy = _can_show(console, "✓✗█░┃")
        self._tick, self._cross, self._full, self._empty, self._mark = "✓✗█░┃" if fancy else "+-#.|"
        self._drawn_s = 0.0

    def __enter__(self) -> Display:
        """Take the terminal's last line."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        if self._live:
            self._live.stop()

    def say(self, line: str | Text) -> None:
        """Show a line that stays."""
        self._console.print(line, soft_wrap=True, highlight=False)

    def show_wait(self, what: str, since_s: float) -> None:
        """Show what is waited for."""
        time = f" ({since_s:.0f} s)" if since_s >= 1 else ""
        self._draw(lambda: Text(f"waiting for {what}{time}", "dim"))

    def show_progress(self, number: int, progress: Progress) -> None:
        """Show where the episode `number`, from 1, is."""
        self._draw(lambda: self._progress_line(number, progress))

    def say_result(self, number: int, final_distance_m: float, arrived_s: float | None, note: str = "") -> None:
        """Show how episode `number` ended, and what went wrong in it."""
        is_there = arrived_s is not None
        line = Text()
        line.append(self._tick if is_there else self._cross, "bold green" if is_there else "bold red")
        line.append(f" {self._title(number)}   {final_distance_m:.3f} m from the goal")
        line.append(f", arrived after {arrived_s:.1f} s" if is_there else ", not arrived")
        line.append(f"; {note}" if note else "", "red")
        self.say(line)

    def _draw(self, make: Callable[[], Text]) -> None:
        now_s = time.monotonic()
        if self._live and now_s - self._drawn_s >= _REDRAW_S:
            self._drawn_s = now_s
            line = make()
            line.no_wrap, line.overflow = True, "ellipsis"
            self._live.update(line, refresh=True)

    def _title(self, number: int) -> str:
        width = len(str(self._episodes))
        return f"episode {number:{width}}/{self._episodes}"

    def _progress_line(self, number: int, now: Progress) -> Text:
        color = "green" if now.distance_m < self._threshold_m else "yellow"
        line = Text(f"  {self._title(number)}  {min(now.time_s, self._length_s):4.1f}/{self._length_s:g} s  ")
        line.append_text(self._bar(now, color))
        line.append(f" {now.distance_m:.3f} m", f"bold {color}")
        if now.latency_s is not None:
            line.append(f"  latency {1e3 * now.latency_s:.0f} ms  {now.rate_hz:.1f} Hz", "dim")
        if now.note:
            line.append(f"  {now.note}", "red")
        return line

    def _bar(self, now: Progress, color: str) -> Text:
        """Return the distance as a bar that falls from full at the start, with a mark where arrival begins."""
        whole_m = max(now.start_distance_m, self._threshold_m)
        full = min(_BAR_CELLS, round(_BAR_CELLS * now.distance_m / whole_m))
        cells = [(self._full, color)] * full + [(self._empty, "dim")] * (_BAR_CELLS - full)
        mark = min(_BAR_CELLS - 1, int(_BAR_CELLS * self._threshold_m / whole_m))
        cells[mark] = (self._mark, "bold")
        return Text.assemble(*cells)


def print_summary(console: Console, figures: dict[str, Any], files: list[tuple[Path, str]]) -> None:
    """Show the figures of a session, and where it wrote what.

    Args:
        console: to print on.
        figures: as `report.figures` gives them.
        files: path, and what is in it.
    """
    plus_minus = "±" if _can_show(console, "±") else "+-"
    episodes, latency = figures["episodes"], figures["latency_ms"]
    arrived = round(figures["success_rate"] * episodes)
    table = Table.grid(padding=(0, 3))
    table.add_row("arrived", _bold(f"{arrived} of {episodes}"), f"within {figures['threshold_m']:g} m")
    table.add_row(
        "final distance",
        _bold(f"{figures['final_distance_mean_m']:.3f} m"),
        f"mean, {plus_minus} {figures['final_distance_std_m']:.3f} m",
    )
    if figures["arrival_mean_s"] is not None:
        table.add_row("time to arrive", _bold(f"{figures['arrival_mean_s']:.1f} s"), "mean")
    if latency["p50"] is not None:
        table.add_row(
            "latency",
            _bold(f"{latency['p50']:.0f} ms"),
            f"median, 99 % within {latency['p99']:.0f} ms: image stamp to command",
        )
    table.add_row("rate", _bold(f"{figures['rate_hz']:.1f} Hz"), f"{figures['commands']} commands")
    table.add_row("dropped frames", _bold(str(figures["dropped_frames"])), "replaced by a newer one")
    table.add_row(
        "out-of-distribution images", _bold(str(figures["out_of_distribution_images"])), "unlike the bundle's training"
    )
    console.print()
    console.print(table, highlight=False)
    console.print()
    width = max((len(str(path)) for path, _ in files), default=0)
    for path, what in files:
        console.print(Text(f"{path!s:{width}}   ").append(what, "dim"), soft_wrap=True)


def _bold(text: str) -> Text:
    return Text(text, "bold", justify="right")


def _can_show(console: Console, characters: str) -> bool:
    try:
        characters.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
