"""One progress bar for all long work: progress, rate, time left and key figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from tqdm import tqdm

_BAR_S = 0.5  # between two updates of a bar
_FIRST_LINE_S, _LATER_LINE_S = 1.0, 60.0  # between two lines of a log: the first soon, but few over a night
_LINE = "{desc}: {n_fmt}/{total_fmt}{unit} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


_before: list[str] = []  # prefixes of every bar


@contextmanager
def part_of(whole: str) -> Iterator[None]:
    """Prefix bars within the block with `whole`, the task that their work is a part of."""
    _before.append(whole)
    try:
        yield
    finally:
        _before.pop()


@contextmanager
def progress_bar(what: str, total: int, unit: str, done: int = 0) -> Iterator[Callable[..., None]]:
    """Show a bar, or a line now and then if there is no terminal.

    Yields:
        `advance(n, **figures)`, which moves it and shows figures behind it.
    """
    live = sys.stderr.isatty()
    look: dict[str, Any] = {"mininterval": _BAR_S, "smoothing": 0.05}
    if not live:
        look = {"mininterval": _FIRST_LINE_S, "miniters": 1, "file": _Lines(sys.stderr), "bar_format": _LINE}
    with tqdm(total=total, desc=": ".join([*_before, what]), unit=f" {unit}", initial=done, **look) as bar:

        def advance(count: int, **figures: float) -> None:
            if figures:
                bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()}, refresh=False)
            if bar.update(count) and not live:
                bar.mininterval = min(2 * bar.mininterval, _LATER_LINE_S)

        yield advance


def print_line(text: str) -> None:
    """Print a summary as one line, however narrow the terminal, and also where a pipe or a file takes it."""
    Console().print(text, soft_wrap=True, markup=False, emoji=False)


class _Lines:
    """A stream that turns each redraw of tqdm's bar into a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.flush, self.encoding = stream.flush, stream.encoding

    def write(self, drawn: str) -> None:
        if line := drawn.strip():
            self._stream.write(f"{line}\n")
