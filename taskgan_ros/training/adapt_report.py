"""The page that `taskgan adapt` ends with: pictures before and after, errors by frame, what to record more of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from taskgan_ros.core.files import whole, write_text
from taskgan_ros.sim.evaluate_recording import RecordedErrors, describe_recording, summarise_recording
from taskgan_ros.sim.picture import write_png
from taskgan_ros.training.coverage import Region

Images = NDArray[np.uint8]

REPORT, FIGURES = "report.md", "held_out.json"
_SHOWN, _LISTED, _REGIONS_SHOWN = 6, 20, 8
_ENLARGE = 2


@dataclass(frozen=True)
class AdaptStory:
    """What the report tells.

    Attributes:
        bundle: the folder that was made.
        command: that made it.
        facts: lines: how many frames trained, what was chosen and why.
        errors: on held-out frames.
        background: (H, W, 3) uint8, the empty scene; None where the simulation kept its table.
        regions: of joint space, those of most concern first.
    """

    bundle: Path
    command: str
    facts: Sequence[str]
    errors: RecordedErrors
    background: Images | None
    regions: Sequence[Region]


def write_report(folder: Path, story: AdaptStory) -> Path:
    """Write report.md, its pictures and held_out.json to a folder, and return the page.

    Raises:
        InputError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    errors = story.errors
    figures = summarise_recording(errors)
    write_text(folder / FIGURES, json.dumps({**figures, "bundle": str(story.bundle)}, indent=2) + "\n")
    order = errors.worst_first
    even = np.sort(order)[np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).round().astype(int)]
    write_png(folder / "worst.png", draw_rows(errors, order[:_SHOWN]))
    write_png(folder / "evenly.png", draw_rows(errors, even))
    if story.background is not None:
        write_png(folder / "background.png", _enlarge(story.background))
    if errors.label is not None:
        _plot_errors(folder / "errors.png", errors)
    write_text(folder / REPORT, _page(story, figures))
    return folder / REPORT


def draw_rows(errors: RecordedErrors, rows: NDArray[np.intp]) -> Images:
    """Return a picture of frames side by side: as recorded, as translated, and as truly plain where that is known."""
    data = errors.data
    kinds = [data.images[rows]]
    kinds += [images[rows] for images in (errors.translated, data.paired) if images is not None]
    return _enlarge(np.vstack([np.hstack(list(images)) for images in kinds]))


def _enlarge(image: Images) -> Images:
    return image.repeat(_ENLARGE, axis=0).repeat(_ENLARGE, axis=1)


def _plot_errors(path: Path, errors: RecordedErrors) -> None:
    assert errors.label is not None
    figure = Figure(figsize=(8.0, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.bar(np.arange(len(errors.label)), errors.label, width=1.0, color="#0072b2")
    starts = np.flatnonzero(np.diff(errors.data.episode)) + 0.5
    for start in starts:
        axes.axvline(start, color="#999999", linewidth=0.8)
    axes.set(xlabel="held-out frame, in the order of the recording", ylabel=f"label error ({errors.data.info.units})")
    axes.spines[["top", "right"]].set_visible(False)
    with whole(path, "the plot") as file:
        figure.savefig(file, format="png", dpi=110)


def _page(story: AdaptStory, figures: dict[str, Any]) -> str:
    errors = story.errors
    rows = ["recorded", "translated"] if errors.translated is not None else ["recorded"]
    legend = ", ".join(rows + (["its true plain render"] if errors.data.paired is not None else []))
    lines = [f"# {story.bundle.name}, adapted to a recording", ""]
    lines += [f"`{story.command}`", "", *(f"- {fact}" for fact in story.facts), ""]
    lines += ["## Held-out frames", ""]
    lines += [f"{line}\n" for line in describe_recording(figures, "on held-out frames")]
    lines += [f"Top to bottom: {legend}. The worst frames:", "", "![the worst frames](worst.png)", ""]
    lines += ["Frames evenly over the recording:", "", "![frames evenly](evenly.png)", ""]
    if errors.label is not None:
        lines += ["![label errors by frame](errors.png)", ""]
    lines += _table(figures["frames"][:_LISTED], errors.data.info.units)
    if story.background is not None:
        lines += ["## The empty scene", "", "Arm gone, holes filled; a ghost of the arm means a camera or joint angles"]
        lines += ["that are not where the scene says.", "", "![the empty scene](background.png)", ""]
    lines += _advice(story.regions, errors.data.info.units)
    lines += [
        "## Then",
        "",
        f"`taskgan replay RECORDING --bundle {story.bundle}` shows every command before an arm moves.",
    ]
    return "\n".join(lines) + "\n"


def _table(frames: Sequence[dict[str, Any]], units: str) -> list[str]:
    names = {"label_error": f"label error ({units})", "ssim": "SSIM", "l1": "L1", "guard": "guard score"}
    shown = [name for name in names if frames and name in frames[0]]
    head = ["frame", "episode", *(names[name] for name in shown)]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for frame in frames:
        cells = [str(frame["frame"]), str(frame["episode"]), *(f"{frame[name]:.3g}" for name in shown)]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", f"All frames are in `{FIGURES}`.", ""]


def _advice(regions: Sequence[Region], units: str) -> list[str]:
    lines = ["## What to record more of", ""]
    concerns = [region for region in regions if region.is_sparse or region.errs][:_REGIONS_SHOWN]
    if not concerns:
        return [
            *lines,
            "No region of joint space stands out: more of the same, in other light, is what helps next.",
            "",
        ]
    lines += [
        f"| joint | from | to | expert's frames there | recorded | held-out error ({units}) | why |",
        f"|{' --- |' * 7}",
    ]
    for one in concerns:
        why = " and ".join(
            filter(None, ("few frames" if one.is_sparse else "", "errs more than elsewhere" if one.errs else ""))
        )
        error = "none held out" if one.error is None else f"{one.error:.3g}"
        place = f"{one.joint} | {one.low:.2f} | {one.high:.2f}"
        lines.append(f"| {place} | {one.expected:.0%} | {one.recorded} | {error} | {why} |")
    return [
        *lines,
        "",
        "Drive the arm through these, to the goal's end and around it, and adapt again with both recordings.",
        "",
    ]
