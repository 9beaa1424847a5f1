"""One run with several faults in a row as a picture: the arm's speed, the node's state, and when what happened."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fault_bench import speed
from fault_injector import Log
from fault_list import PERSON, Fault
from fault_trial import Trial
from matplotlib.figure import Figure

_PICTURED = {
    "camera stops": "the camera stops",
    "joint states lose a joint": "joint states lose a joint",
    "reach_node stalls for 2 s": "the node's process stalls: it can neither stop the arm nor say so, "
    "but each trajectory ends with a stop",
    "model returns NaN": "the model returns NaN: the node does not resume until a person deactivates and activates it",
}
_COLORS = {"running": "#009e73", "held": "#e69f00", "fault": "#d55e00", "arrived": "#56b4e9"}  # Okabe and Ito's
_OTHER = "#bbbbbb"
LEAD_S, TAIL_S = 0.6, 1.5  # that the arm is left alone before and after
_BEFORE_S, _AFTER_S = 0.9, 3.0
_TOP = 0.75  # rad/s
_MEAN_S = 0.05  # a trajectory's speed goes in steps


def pictured(faults: Sequence[Fault]) -> list[Fault]:
    """Return the faults to run for the picture, all in one process of `reach_node`."""
    setup = next(fault.setup for fault in faults if fault.name == "model returns NaN")  # the others do not mind it
    chosen = {fault.name: dataclasses.replace(fault, setup=setup) for fault in faults if fault.name in _PICTURED}
    return [chosen[name] for name in _PICTURED]


def draw(path: Path, log: Log, drawn: Sequence[tuple[Fault, Trial]]) -> None:
    """Draw a row for each fault, seconds since it began on the common axis.

    Args:
        path: the PNG file.
        log: what was heard in the run.
        drawn: the faults and what came of them.
    """
    figure = Figure(figsize=(11, 2.35 * len(drawn)), dpi=110, layout="constrained")
    rows = figure.subplots(2 * len(drawn), sharex=True, height_ratios=[4.6, 1] * len(drawn))
    figure.suptitle(
        "Faults in a row, in one run: what the arm does, and what the node says (shaded: while it is broken)"
    )
    for k, (fault, trial) in enumerate(drawn):
        _draw_speed(rows[2 * k], log, fault, trial)
        _draw_states(rows[2 * k + 1], log, trial)
    rows[-1].set(xlim=(-_BEFORE_S, _AFTER_S), xlabel="time since the fault began (s)")
    rows[-1].tick_params(bottom=True, labelbottom=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_speed(axes: Any, log: Log, fault: Fault, trial: Trial) -> None:
    near = [m for m in log.motions if -_BEFORE_S - 1 < m.time_s - trial.cause_s < _AFTER_S + 1]
    times_s, speeds = np.array([(m.time_s - trial.cause_s, speed(m)) for m in near]).T
    grid_s = np.arange(-_BEFORE_S, _AFTER_S, 0.01)
    way = np.append(0.0, np.cumsum(speeds[1:] * np.diff(times_s)))
    means = (np.interp(grid_s + _MEAN_S / 2, times_s, way) - np.interp(grid_s - _MEAN_S / 2, times_s, way)) / _MEAN_S
    axes.axvspan(0, trial.end_s - trial.cause_s, color="#d55e00", alpha=0.10, lw=0)
    axes.plot(grid_s, means, color="#0072b2", lw=1.8)
    axes.set_title(_PICTURED[fault.name], loc="left", fontsize=11)
    axes.set(ylim=(0, _TOP), ylabel="fastest\njoint (rad/s)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(bottom=False)
    by_person, stopped_late = fault.recovers == PERSON, trial.stop_s > trial.end_s
    _mark(axes, 0.0, "fault begins", 0.95, "right")
    _mark(axes, trial.stop_s - trial.cause_s, "stop sent", 0.95)
    _mark(axes, trial.halted_s - trial.cause_s, "arm stands", 0.68)
    _mark(axes, trial.mended_s - trial.cause_s, "a person acts" if by_person else "fault over", 0.95, "right")
    _mark(axes, trial.recovered_s - trial.cause_s, "goes on", 0.68 if stopped_late else 0.95)


def _mark(axes: Any, time_s: float, text: str, height: float, side: str = "left") -> None:
    """Draw a line with a label and its time; nothing for what did not come."""
    if math.isnan(time_s):
        return
    axes.axvline(time_s, color="#333333", lw=1, ls="-" if time_s == 0 else (0, (3, 2)))
    shown = f"{text}\n{time_s:.2f} s" if time_s else text
    offset = 4 if side == "left" else -4
    axes.annotate(
        shown,
        (time_s, height * _TOP),
        (offset, 0),
        textcoords="offset points",
        ha=side,
        va="top",
        fontsize=8.5,
        bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1},
    )


def _draw_states(axes: Any, log: Log, trial: Trial) -> None:
    """Draw what the node reported last as a coloured band."""
    changes = [(s - trial.cause_s, text.split(":")[0]) for s, text in log.states]
    ends_s = [time_s for time_s, _ in changes[1:]] + [math.inf]
    for (start_s, name), end_s in zip(changes, ends_s, strict=True):
        left, right = max(start_s, -_BEFORE_S), min(end_s, _AFTER_S)
        if left >= right:
            continue
        axes.axvspan(left, right, color=_COLORS.get(name, _OTHER), lw=0)
        is_mute = left < 0 and right > trial.end_s - trial.cause_s
        if right - left > 0.25:
            shown = f"{name} (its last report)" if is_mute else name
            axes.text((left + right) / 2, 0.5, shown, ha="center", va="center", color="white", fontsize=9)
    axes.set(ylim=(0, 1), yticks=[])
    axes.set_ylabel("state", rotation=0, ha="right", va="center")
    axes.spines[:].set_visible(False)
    axes.tick_params(bottom=False)
