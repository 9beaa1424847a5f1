"""One progress bar for all long work: how far, how fast, how long still, and the figures that matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from tqdm import tqdm

_interrupts: list[str] = []  # that came and may have been dropped


def note_interrupt(what: str) -> None:
    """Let the next step of a progress bar raise KeyboardInterrupt, should the one raised now be dropped."""
    _interrupts.append(what)


def forget_interrupt() -> None:
    """Take back what was noted."""
    _interrupts.clear()


@contextmanager
def progress_bar(what: str, total: int, unit: str, done: int = 0) -> Iterator[Callable[..., None]]:
    """Show a bar; the yielded `advance(n, **figures)` moves it and shows figures behind it."""
    with tqdm(total=total, desc=what, unit=f" {unit}", initial=done, mininterval=0.5, smoothing=0.05) as bar:

        def advance(count: int, **figures: float) -> None:
            if _interrupts:
                raise KeyboardInterrupt(_interrupts[0])
            if figures:
                bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()}, refresh=False)
            bar.update(count)

        yield advance


def print_line(text: str) -> None:
    """Print a summary as one line, however narrow the terminal, and also where a pipe or a file takes it."""
    Console().print(text, soft_wrap=True, markup=False, emoji=False)
