"""The plots of the reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.summary import Arrivals
from taskgan_ros.core.files import whole

Array = NDArray[np.float64]

# Okabe and Ito's, distinguished by the colour-blind; the last of a series is often the one to see
_COLORS = ("#999999", "#56b4e9", "#f0e442", "#e69f00", "#cc79a7", "#0072b2", "#009e73", "#d55e00")
_SIZE_IN = (9.0, 4.2)
_CAPS: dict[str, Any] = {"error_kw": {"elinewidth": 1, "capsize": 2, "ecolor": "#333333"}}


def plot_success(path: Path, groups: Mapping[str, Mapping[str, Arrivals | None]]) -> None:
    """Draw success rates in groups of bars, with their 95 % intervals.

    Args:
        path: the PNG file.
        groups: by group and then by series; every group has the same series. None where it has not run.
    """
    figure, (axes,) = _figure(1)
    series = list(next(iter(groups.values())))
    width = 0.86 / len(series)
    for k, name in enumerate(series):
        offset = (k - (len(series) - 1) / 2) * width
        bars = {place + offset: group[name] for place, group in enumerate(groups.values())}
        for place in [place for place, bar in bars.items() if bar is None]:
            axes.text(place, 1, "not run", rotation=90, ha="center", va="bottom", fontsize=7, color="#666666")
        drawn = {place: bar for place, bar in bars.items() if bar is not None}
        if drawn:
            rates, errors = _percent(list(drawn.values()))
            axes.bar(list(drawn), rates, width, yerr=errors, color=_COLORS[k % len(_COLORS)], label=name, **_CAPS)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set(ylabel="success (%)", ylim=(0, 103), xlim=(-0.5, len(groups) - 0.5))
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    with whole(path, "the plot") as partial:
        figure.savefig(partial)


def plot_weights(
    path: Path,
    weights: Sequence[str],
    errors: Mapping[str, Sequence[float | None]],
    floors: Mapping[str, float | None],
    success: Mapping[str, Sequence[Arrivals | None]],
) -> None:
    """Draw the judge's error, and success with its 95 % interval, by the weight of the task loss.

    Args:
        path: the PNG file.
        weights: their names in order, drawn at equal distances.
        errors: by direction, one value per weight, None where it has not run.
        floors: the error on true images, by direction.
        success: by direction, of those that close the loop.
    """
    figure, panels = _figure(2 if success else 1)
    for k, (direction, values) in enumerate(errors.items()):
        color, floor = _COLORS[5 + k % 3], floors[direction]
        numbers = [np.nan if value is None else value for value in values]
        panels[0].plot(range(len(weights)), numbers, "o-", color=color, label=direction)
        if floor is not None:
            panels[0].axhline(floor, color=color, linestyle="--", linewidth=1, label=f"{direction}, true images")
        if direction in success:
            drawn = {place: bar for place, bar in enumerate(success[direction]) if bar is not None}
            rates, spread = _percent(list(drawn.values()))
            panels[-1].errorbar(list(drawn), rates, spread, fmt="o-", color=color, capsize=2, label=direction)
    for axes in panels:
        axes.set_xticks(range(len(weights)), list(weights))
        axes.set_xlabel("λ, weight of the task loss")
        axes.legend(frameon=False)
    if success:
        panels[-1].set(ylabel="success (%)", ylim=(0, 103))
    panels[0].set(ylabel="judge's error", yscale="log")
    with whole(path, "the plot") as partial:
        figure.savefig(partial)


def _percent(bars: Sequence[Arrivals]) -> tuple[Array, Array]:
    """Return success rates (N,) and how far their intervals reach below and above (2, N), in percent."""
    rates = np.array([bar.rate for bar in bars])
    bounds = np.array([bar.interval for bar in bars]).reshape(-1, 2).T
    return 100 * rates, 100 * np.abs(bounds - rates)


def plot_angles(path: Path, series: Mapping[str, Mapping[int, float]], levels: Mapping[str, float]) -> None:
    """Draw the error of joint angles over the number of target images, and levels to compare with.

    Args:
        path: the PNG file.
        series: L2 in turns squared by number of images, 0 among them, by name.
        levels: L2 of models that have no such number.
    """
    figure, (axes,) = _figure(1)
    for k, (name, value) in enumerate(levels.items()):
        axes.axhline(value, color=_COLORS[(0, 1, 3, 4)[k % 4]], linestyle="--", linewidth=1.4, label=name)
    counts = sorted({count for by_images in series.values() for count in by_images})
    for color, (name, by_images) in zip(_COLORS[6:], series.items(), strict=False):
        if by_images:
            axes.plot([counts.index(n) for n in by_images], list(by_images.values()), "o-", color=color, label=name)
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_yscale("log")
    axes.set(xlabel="target images", ylabel="L2 (turns²)")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    with whole(path, "the plot") as partial:
        figure.savefig(partial)


def plot_adaptation(
    path: Path, domains: Mapping[str, Mapping[str, Mapping[int, tuple[Arrivals, Arrivals]]]], counts: Sequence[int]
) -> None:
    """Draw success within 0.1 and 0.03 m with its 95 % interval, and distance, over the number of target images.

    Args:
        path: the PNG file.
        domains: by domain, method and number of images, the episodes as each threshold counts them.
        counts: of images, in order, drawn at equal distances.
    """
    figure = Figure(figsize=(_SIZE_IN[0], 2.3 * len(domains) + 0.6), dpi=110, layout="constrained")
    rows = figure.subplots(len(domains), 3, squeeze=False, sharex=True)
    for panels, (domain, lines) in zip(rows, domains.items(), strict=True):
        panels[0].set(ylabel=f"{domain}\nwithin 0.1 m (%)", ylim=(-3, 103))
        panels[1].set(ylabel="within 0.03 m (%)", ylim=(-3, 103))
        panels[2].set(ylabel="distance (m)")
        for k, (method, found) in enumerate(lines.items()):
            color = _COLORS[-1 - k % len(_COLORS)]
            places = [counts.index(count) + 0.06 * k - 0.09 for count in found]
            for panel, which in zip(panels, (0, 1), strict=False):
                rates, spread = _percent([arrivals[which] for arrivals in found.values()])
                panel.errorbar(places, rates, spread, fmt="o-", color=color, capsize=2, markersize=4, label=method)
            panels[2].plot(places, [near.distance_m for _, near in found.values()], "o-", color=color, markersize=4)
        panels[2].set_ylim(bottom=0)
    for axes in rows.flat:
        _plain(axes)
        axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    for axes in rows[-1]:
        axes.set_xlabel("target images")
    handles, titles = rows[0][0].get_legend_handles_labels()
    figure.legend(handles, titles, loc="outside lower center", ncols=4, frameon=False)
    with whole(path, "the plot") as partial:
        figure.savefig(partial)


def _figure(panels: int) -> tuple[Figure, Sequence[Any]]:
    figure = Figure(figsize=_SIZE_IN, dpi=110, layout="constrained")
    all_axes: Sequence[Any] = figure.subplots(1, panels, squeeze=False)[0]
    for axes in all_axes:
        _plain(axes)
    return figure, all_axes


def _plain(axes: Any) -> None:
    """Leave a panel no more lines than it needs."""
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
