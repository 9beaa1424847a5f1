"""The files that a reach session writes: figures, an animation, a plot. No ROS in here."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from taskgan_ros.core.files import whole, write_bytes, write_text
from taskgan_ros.sim.distance_plot import dress_distances
from taskgan_ros.sim.evaluate import EvaluateConfig, summarise
from taskgan_ros.tasks.scene import MotionScene

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]

FIGURES, ANIMATION, PLOT = "reach.json", "reach.gif", "distance.png"

_GIF_MAX_BYTES = 4_000_000  # what a web page still shows at once
_GIF_COLORS = 64
_GIF_MOVED = 0.05  # share of pixels that still change their colour of the palette when k-means ends
_GIF_TILE_PX = 256
_GIF_MARGIN_PX = 8
_GIF_TEXT_PX = 28
_GIF_FONT_PX = 15
_GIF_END_MS = 1200  # an episode's last frame stays for this long, to show where it ended
_LINGER_S = 1.0  # shown after arrival
_STILL_M = 0.005

_PAPER, _INK, _FAINT = (255, 255, 255), (40, 40, 40), (225, 225, 225)
_ARRIVED, _AWAY = (0, 128, 93), (213, 94, 0)  # distinguished by the colour-blind, and from a red cube


@dataclass(frozen=True)
class VideoFrame:
    """A camera image (H, W, 3) uint8 RGB, what the translator made of it, and when it came, s since the start."""

    time_s: float
    camera: Pixels
    translated: Pixels


@dataclass(frozen=True)
class Episode:
    """What one episode brought; times are s since the node became active.

    Attributes:
        index: its number under the session's seed, from 0; people are shown one more.
        times_s, distances_m: (n,) the tip's true distance from its goal; the first is the start.
        command_times_s, latencies_s: (m,) when each command was sent, and how old its image was then.
        dropped_frames: images that the node replaced by newer ones before it came to them.
        out_of_distribution_images: images that its guard found unlike training.
        reported: the node's state in the end, and why.
        frames: for the animation; none where it was not filmed.
    """

    index: int
    times_s: Array
    distances_m: Array
    command_times_s: Array
    latencies_s: Array
    dropped_frames: int = 0
    out_of_distribution_images: int = 0
    reported: str = ""
    frames: tuple[VideoFrame, ...] = ()

    @property
    def final_distance_m(self) -> float:
        """Where it ended, in m."""
        return float(self.distances_m[-1])

    @property
    def rate_hz(self) -> float:
        """Commands a second; 0 for fewer than two."""
        return _rate(self.command_times_s)

    def arrived_s(self, threshold_m: float) -> float | None:
        """Return when the tip came within the threshold for good, in s; None if it did not."""
        away = np.flatnonzero(self.distances_m >= threshold_m)
        if len(away) == 0:
            return 0.0
        return float(self.times_s[away[-1] + 1]) if away[-1] + 1 < len(self.times_s) else None


def figures(episodes: Sequence[Episode], scene: MotionScene, config: EvaluateConfig, command: str) -> dict[str, Any]:
    """Return the keys of `taskgan evaluate`, what only a running loop has, and each episode.

    Args:
        episodes: at least one.
        scene: says how long a step is, and which distance is an arrival.
        config: with which `evaluate` would run the same episodes.
        command: that ran them.
    """
    grid_s = scene.step_s * np.arange(scene.steps + 1)
    distances_m = np.stack([np.interp(grid_s, episode.times_s, episode.distances_m) for episode in episodes])
    return {
        **summarise(distances_m, scene, config),
        "command": command,
        "latency_ms": _quantiles_ms(np.concatenate([episode.latencies_s for episode in episodes])),
        "rate_hz": _mean_rate(episodes),
        "dropped_frames": sum(episode.dropped_frames for episode in episodes),
        "out_of_distribution_images": sum(episode.out_of_distribution_images for episode in episodes),
        "commands": sum(len(episode.latencies_s) for episode in episodes),
        "arrival_mean_s": _mean_arrival(episodes, scene.threshold_m),
        "episode_details": [
            {
                "episode": episode.index,
                "success": bool(trace[-1] < scene.threshold_m),
                "start_distance_m": round(float(trace[0]), 4),
                "final_distance_m": round(float(trace[-1]), 4),
                "arrived_s": _rounded(episode.arrived_s(scene.threshold_m)),
                "commands": len(episode.latencies_s),
                "dropped_frames": episode.dropped_frames,
                "out_of_distribution_images": episode.out_of_distribution_images,
                "node_said": episode.reported,
                "rate_hz": _rounded(episode.rate_hz),
                "latency_ms": _quantiles_ms(episode.latencies_s),
                "distance_m": np.round(trace, 4).tolist(),
            }
            for episode, trace in zip(episodes, distances_m, strict=True)
        ],
    }


def write_figures(path: Path, values: dict[str, Any]) -> None:
    """Write the figures as JSON."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def write_plot(path: Path, episodes: Sequence[Episode], threshold_m: float, title: str) -> None:
    """Draw the distance over time of every episode, and the threshold."""
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for episode in episodes:
        arrived = episode.final_distance_m < threshold_m
        color = "#" + bytes(_ARRIVED if arrived else _AWAY).hex()
        axes.plot(episode.times_s, episode.distances_m, color=color, alpha=0.75, linewidth=1.6)
        if not arrived:
            axes.annotate(
                f" {episode.index + 1}", (episode.times_s[-1], episode.final_distance_m), color=color, va="center"
            )
    dress_distances(axes, threshold_m, title)
    with whole(path, "the plot") as partial:
        figure.savefig(partial)


def write_animation(path: Path, episodes: Sequence[Episode], threshold_m: float) -> None:
    """Write the filmed episodes as a GIF of at most 4 MB, camera image beside translation, one after the other.

    Frames are left out until it fits. Nothing is written where nothing was filmed.
    """
    films = [_until_still(episode, threshold_m) for episode in episodes if episode.frames]
    if not films:
        return
    share, fewest = 1.0, 2 / max(len(film.frames) for film in films)
    data = _encode(films, threshold_m, share)
    while len(data) > _GIF_MAX_BYTES and share > fewest:
        share *= 0.97 * _GIF_MAX_BYTES / len(data)
        data = _encode(films, threshold_m, share)
    write_bytes(path, data)


def _encode(films: Sequence[Episode], threshold_m: float, share: float) -> bytes:
    """Return the GIF of an evenly spread `share` of each film's frames, its first and last among them."""
    pages, durations_ms = [], []
    for film in films:
        count = len(film.frames)
        kept = np.unique(np.linspace(0, count - 1, max(2, round(share * count))).round().astype(int))
        shown = [film.frames[k] for k in kept]
        pages += [_draw_page(film, frame, threshold_m) for frame in shown]
        gaps_s = [late.time_s - early.time_s for early, late in pairwise(shown)]
        durations_ms += [max(20, round(100 * gap_s) * 10) for gap_s in gaps_s] + [_GIF_END_MS]  # GIF counts 10 ms
    palette = _common_palette(pages)
    indexed = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    buffer = io.BytesIO()
    indexed[0].save(
        buffer, "GIF", save_all=True, append_images=indexed[1:], duration=durations_ms, loop=0, optimize=False
    )
    return buffer.getvalue()


def _until_still(episode: Episode, threshold_m: float) -> Episode:
    """Return the episode with the frames until shortly after the tip came to rest."""
    moving = np.flatnonzero(np.abs(episode.distances_m - episode.final_distance_m) > _STILL_M)
    end_s = (episode.times_s[moving[-1]] if len(moving) else 0.0) + _LINGER_S
    arrived_s = episode.arrived_s(threshold_m)
    end_s = max(end_s, (arrived_s or 0.0) + _LINGER_S)
    frames = tuple(frame for frame in episode.frames if frame.time_s <= end_s)
    return Episode(**{**vars(episode), "frames": frames or episode.frames[:1]})


def _draw_page(episode: Episode, frame: VideoFrame, threshold_m: float) -> Image.Image:
    tile, margin, text = _GIF_TILE_PX, _GIF_MARGIN_PX, _GIF_TEXT_PX
    page = Image.new("RGB", (2 * tile + 3 * margin, tile + 2 * text + margin), _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_GIF_FONT_PX)
    for k, (title, pixels) in enumerate((("camera", frame.camera), ("translation", frame.translated))):
        left = margin + k * (tile + margin)
        page.paste(Image.fromarray(pixels).resize((tile, tile), Image.Resampling.BICUBIC), (left, text))
        draw.text((left + tile / 2, text / 2), title, _INK, font, anchor="mm")
    _draw_distance(draw, font, episode, frame.time_s, threshold_m)
    return page


def _draw_distance(draw: ImageDraw.ImageDraw, font: Any, episode: Episode, time_s: float, threshold_m: float) -> None:
    tile, margin, text = _GIF_TILE_PX, _GIF_MARGIN_PX, _GIF_TEXT_PX
    distance_m = float(np.interp(time_s, episode.times_s, episode.distances_m))
    color = _ARRIVED if distance_m < threshold_m else _AWAY
    middle = tile + text + (text + margin) / 2
    draw.text((margin, middle), f"episode {episode.index + 1}", _INK, font, anchor="lm")
    draw.text((margin + 90, middle), f"{time_s:4.1f} s", _INK, font, anchor="lm")
    draw.text((2 * tile + 2 * margin, middle), f"{distance_m:.3f} m", color, font, anchor="rm")
    left, right = margin + 150, 2 * tile + 2 * margin - 70
    per_m = (right - left) / max(float(episode.distances_m.max()), threshold_m)
    draw.rectangle((left, middle - 6, right, middle + 6), _FAINT)
    draw.rectangle((left, middle - 6, left + distance_m * per_m, middle + 6), color)
    draw.line((left + threshold_m * per_m, middle - 9, left + threshold_m * per_m, middle + 9), _INK)


def _common_palette(pages: Sequence[Image.Image]) -> Image.Image:
    """Return a palette for all pages: with one of its own, each would be larger and flicker."""
    chosen = pages[:: 1 + len(pages) // 12]
    width, height = pages[0].size
    strip = Image.new("RGB", (width, height * len(chosen)))
    for k, page in enumerate(chosen):
        strip.paste(page, (0, k * height))
    few = round(_GIF_MOVED * strip.width * strip.height)
    # The median cut alone forgets what is small: a red cube turns brown.
    return strip.quantize(_GIF_COLORS, method=Image.Quantize.MEDIANCUT, kmeans=few)


def _quantiles_ms(latencies_s: Array) -> dict[str, float | None]:
    if len(latencies_s) == 0:
        return {"p50": None, "p99": None}
    p50, p99 = 1e3 * np.quantile(latencies_s, [0.5, 0.99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}


def _rate(times_s: Array) -> float:
    span_s = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
    return float((len(times_s) - 1) / span_s) if span_s > 0 else 0.0


def _mean_rate(episodes: Sequence[Episode]) -> float:
    return round(float(np.mean([episode.rate_hz for episode in episodes])), 2)


def _mean_arrival(episodes: Sequence[Episode], threshold_m: float) -> float | None:
    times_s = [time_s for episode in episodes if (time_s := episode.arrived_s(threshold_m)) is not None]
    return _rounded(float(np.mean(times_s))) if times_s else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
