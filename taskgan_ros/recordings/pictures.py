"""Pictures of an imported recording, to check before training: a contact sheet, and the joints over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as Pillow

from taskgan_ros.core.files import whole
from taskgan_ros.recordings.spool import Spool

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

_COLUMNS, _ROWS = 8, 6
_GAP_PX: Final = 2


def write_contact_sheet(path: Path, spool: Spool, episodes: Sequence[Rows]) -> None:
    """Write up to 48 of the images that were taken, evenly spaced over all episodes, in order of time."""
    taken = np.concatenate(episodes)
    chosen = taken[np.linspace(0, len(taken) - 1, min(len(taken), _COLUMNS * _ROWS)).round().astype(int)]
    height, width = spool.read(0).shape[:2]
    rows = -(-len(chosen) // _COLUMNS)
    sheet = np.full((rows * (height + _GAP_PX), _COLUMNS * (width + _GAP_PX), 3), 255, np.uint8)
    for k, index in enumerate(chosen.tolist()):
        top, left = k // _COLUMNS * (height + _GAP_PX), k % _COLUMNS * (width + _GAP_PX)
        sheet[top : top + height, left : left + width] = spool.read(index)
    with whole(path, "the images") as file:
        Pillow.fromarray(sheet).save(file, format="PNG")


def write_joint_plot(
    path: Path, stamps: Array, joint_pos: Array, names: Sequence[str], episodes: Sequence[Rows]
) -> None:
    """Write a plot of the joints' angles at all images over time, with the episodes shaded.

    Args:
        path: a PNG.
        stamps: (T,) s.
        joint_pos: (T, n) rad.
        names: (n,) of the joints.
        episodes: the rows of each.
    """
    figure = Figure(figsize=(12, 1.2 * len(names) + 1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    times = stamps - stamps[0] if (np.diff(stamps) > 0).all() else np.arange(len(stamps))
    for k, axis in enumerate(axes):
        axis.plot(times, joint_pos[:, k], ".", markersize=2, color="0.3")
        axis.set_ylabel(names[k], rotation=0, ha="right")
        for number, rows in enumerate(episodes):
            axis.axvspan(times[rows[0]], times[rows[-1]], color=f"C{number % 2}", alpha=0.2, linewidth=0)
    axes[-1].set_xlabel("s" if times[-1] == stamps[-1] - stamps[0] else "image")
    axes[0].set_title(f"rad at each image; {len(episodes)} episodes shaded")
    with whole(path, "the plot") as file:
        figure.savefig(file, format="png", dpi=100)
