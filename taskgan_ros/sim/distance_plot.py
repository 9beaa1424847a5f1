"""The axes that distances over time are drawn on."""

from __future__ import annotations

from matplotlib.axes import Axes


def dress_distances(axes: Axes, threshold_m: float, title: str) -> None:
    """Title the axes of distances in m over time in s, and draw the threshold."""
    axes.axhline(threshold_m, color="black", linestyle="--", linewidth=1)
    axes.text(1, threshold_m, f"{threshold_m:g} m", va="bottom", ha="right", transform=axes.get_yaxis_transform())
    axes.set(xlabel="time (s)", ylabel="tip to goal (m)", title=title)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
