"""The picture of a replay: state, velocities, angle, guard and limits, one over the other, over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from taskgan_ros.core.files import whole
from taskgan_ros.recordings.replay_figures import Period, Row

# Okabe and Ito's, distinguished by the colour-blind
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
_STATES = {
    "running": "#009e73", "arrived": "#56b4e9", "waiting": "#dddddd", "held": "#e69f00", "fault": "#d55e00",
    "inactive": "#ffffff",
}  # fmt: skip
_WIDTH_IN, _PANEL_IN, _DPI = 11.0, 1.9, 110
_NAMED_S = 0.03  # share of the time below which a period has no room for its source's name
_FULL = 1.0  # of the guard's limit, and of the top speed


def plot_replay(
    path: Path, rows: Sequence[Row], periods: Sequence[Period], joints: Sequence[str], tolerance: float
) -> None:
    """Draw a replay into a PNG file.

    Args:
        path: the file.
        rows: of each image.
        periods: of each state.
        joints: the driven ones, in the order of commands.
        tolerance: above which a score of the guard is flagged.
    """
    heights = [0.5, *[1.0] * len(joints), 1.0, 1.0, 1.0]
    figure = Figure(figsize=(_WIDTH_IN, _PANEL_IN * sum(heights)), dpi=_DPI, layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    _draw_states(panels[0], periods)
    for k, name in enumerate(joints):
        _draw_joint(panels[1 + k], rows, k, name)
    _draw_angle(panels[-3], rows)
    _draw_guard(panels[-2], rows, tolerance)
    _draw_limits(panels[-1], rows)
    panels[-1].set_xlabel("time (s)")
    with whole(path, "the plot") as partial:
        figure.savefig(partial, format="png")


def _draw_states(axes: Axes, periods: Sequence[Period]) -> None:
    lasts_s = max((period.from_s + period.lasts_s for period in periods), default=1.0)
    for period in periods:
        axes.axvspan(period.from_s, period.from_s + period.lasts_s, color=_STATES.get(period.state, "#999999"), lw=0)
        if period.lasts_s > _NAMED_S * lasts_s:
            text = "\n".join(part for part in (period.state, period.source) if part)
            axes.text(period.from_s + period.lasts_s / 2, 0.5, text, ha="center", va="center", fontsize=7)
    axes.set(yticks=[], ylabel="state", ylim=(0, 1))


def _draw_joint(axes: Axes, rows: Sequence[Row], k: int, name: str) -> None:
    times_s = [row.time_s for row in rows]
    axes.plot(times_s, [row.recorded[k] for row in rows], color="#555555", linewidth=1.2, label="recorded")
    axes.plot(times_s, [row.command[k] for row in rows], color=_COLORS[0], linewidth=1.0, label="commanded")
    axes.set_ylabel(f"{name}\n(rad/s)", fontsize=7)
    if k == 0:
        axes.legend(frameon=False, loc="upper right", ncols=2, fontsize=7)


def _draw_angle(axes: Axes, rows: Sequence[Row]) -> None:
    axes.plot([row.time_s for row in rows], np.degrees([row.angle_rad for row in rows]), ".", color=_COLORS[0], ms=3)
    axes.axhline(math.degrees(math.pi / 2), color="black", linestyle="--", linewidth=0.8)
    axes.set(ylabel="angle between\nthe two (°)", ylim=(0, 180))


def _draw_guard(axes: Axes, rows: Sequence[Row], tolerance: float) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row.scores))
    for k, name in enumerate(names):
        scores = [row.scores.get(name, math.nan) for row in rows]
        axes.plot([row.time_s for row in rows], scores, color=_COLORS[k % len(_COLORS)], linewidth=1.0, label=name)
    axes.axhline(tolerance, color="black", linestyle="--", linewidth=0.8)
    axes.set_ylabel("guard's scores")
    if names:
        axes.legend(frameon=False, loc="upper right", ncols=len(names), fontsize=7)


def _draw_limits(axes: Axes, rows: Sequence[Row]) -> None:
    times_s = [row.time_s for row in rows]
    axes.plot(times_s, [row.speed_share for row in rows], color=_COLORS[0], linewidth=1.0, label="of top speed")
    axes.plot(times_s, [row.limit_share for row in rows], color=_COLORS[1], linewidth=1.0, label="taken by limits")
    outside_s = [row.time_s for row in rows if row.leads_outside]
    axes.plot(outside_s, [_FULL] * len(outside_s), "x", color=_COLORS[3], ms=4, label="leads out of the fence")
    axes.set(ylabel="share", ylim=(0, 1.05))
    axes.legend(frameon=False, loc="upper right", ncols=3, fontsize=7)
