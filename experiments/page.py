"""A report's page: text that grows, and pictures in the folder beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote


def grid_path(folder: Path, study: str, name: str) -> Path:
    """Return where a report looks for the grid that a job has drawn, such as `inverse/lambda-1/translations`."""
    return folder / study / f"{_what(name).replace('/', '_')}.jpg"


def _what(name: str) -> str:
    """Return what a job has measured: its name without the measure."""
    return name.rpartition("/")[0]


class Page:
    """A report that grows."""

    def __init__(self, folder: Path, study: str) -> None:
        """Start the report of `study` in `folder`."""
        self._folder, self._study = folder, study
        self._parts: list[str] = []

    def add(self, *parts: str) -> None:
        """Add paragraphs or tables."""
        self._parts += parts

    def plot(self, file: str, title: str, draw: Callable[[Path], None] | None) -> None:
        """Add a plot; with None there is nothing to draw, and the last report's plot is removed."""
        path = self._folder / self._study / file
        if draw is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path)
        self.add(f"![{title}]({self._study}/{file})")

    def picture(self, file: str, title: str) -> None:
        """Add a picture that lies beside the report, if it does."""
        if (self._folder / self._study / file).is_file():
            self.add(f"![{title}]({self._study}/{file})")

    def grids(self, names: Iterable[str]) -> None:
        """Add the grids of translations that lie beside the report."""
        for name in names:
            path = grid_path(self._folder, self._study, name)
            if path.is_file():
                what = _what(name)
                self.add(f"**{what}**", f"![{what}: input, translation, truth, both]({self._study}/{quote(path.name)})")

    def __str__(self) -> str:
        """Return the Markdown."""
        return "\n\n".join(self._parts) + "\n"
