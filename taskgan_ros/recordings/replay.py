"""`taskgan replay`: what the node would have commanded, had it seen a recording; before the arm moves."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

import tyro

from taskgan_ros.core import interrupts
from taskgan_ros.core.config import expand_home
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free, check_place, check_reachable, whole, write_text
from taskgan_ros.core.parameter_files import read_parameter_file
from taskgan_ros.core.parameters import from_values
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.core.streams import check_shown
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.reach.parameters import ReachParameters
from taskgan_ros.reach.pipeline import Pipeline, load_pipeline
from taskgan_ros.recordings.joint_readings import JointReadings
from taskgan_ros.recordings.read_options import ReadOptions, SharedOptions
from taskgan_ros.recordings.recording import Recording, find_delay, open_recording
from taskgan_ros.recordings.replay_figures import Period, Row, as_json, make_periods, make_rows, sentences, summarise
from taskgan_ros.recordings.replay_run import ImageMessage, JointStateMessage, Log, Message, Replay
from taskgan_ros.recordings.source import Shot, Source
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.vision.images import RawImage

_NODE = "/reach_node"
_MOST_INFERENCE_S = 10.0  # slower than any that follows an arm
_FREE_RAD = 100.0  # the recorded arm followed somebody else: that is no fault here
PLOT, TABLE = "replay.png", "replay.csv"


@dataclass(frozen=True)
class ReplayConfig:
    """Show what the node would have commanded, had it seen a recording: every command, limit, hold and score."""

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Bags, LeRobot datasets or folders of images, as for `taskgan import`."""
    bundle: str
    """A shipped bundle's name or a folder."""
    out: Path | None = None
    """Folder to make, with replay.png and a table of every image, replay.csv."""
    json: Path | None = None
    """Where to write all figures; must not exist."""
    reach_params: Path | None = None
    """The node's parameter file, as for reach.launch.py; its defaults where left out."""
    inference: float = 0.02
    """Seconds that the robot's computer needs from an image to its command; 10 at most."""
    recording: SharedOptions = field(default_factory=ReadOptions)
    """How to read the recordings."""


def replay(config: ReplayConfig) -> dict[str, object]:
    """Replay, and return the figures as `--json` writes them.

    Raises:
        InputError: a recording, bundle or parameter file that cannot be used, or an output that exists.
    """
    config = replace(config, out=_expanded(config.out), json=_expanded(config.json))
    _check(config)
    bundle, parameters = load_bundle(config.bundle), _parameters(config)
    recording = open_recording(config.recordings, load_scene(bundle.scene_name), config.recording)
    if recording.camera is None and config.recording.camera_fov:
        parameters = replace(parameters, camera_fov=config.recording.camera_fov)
    camera = recording.camera
    pipeline = load_pipeline(replace(parameters, camera_info_topic=""), False, print_line, camera)
    print_line(pipeline.view.describe())
    log = run_recording(recording, pipeline, config.inference)
    if not log.count["images"]:
        raise InputError(f"{recording.name}: expected images, got none")
    rows, periods = make_rows(log, pipeline.commander.config), make_periods(log)
    figures = {**summarise(log, rows, periods), "inference_ms": pipeline.counters.inference.quantiles_ms("here")}
    tolerance = parameters.guard_tolerance
    if config.out:
        _write_folder(config.out, rows, periods, pipeline, tolerance)
    everything = {"command": _command(config), "bundle": config.bundle, **as_json(rows, periods, figures)}
    if config.json:
        with whole(config.json, "the figures") as file:
            file.write_text(json.dumps(everything, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for line in sentences(figures, tolerance):
        print_line(line)
    if not (config.json or config.out):
        check_shown("the figures")
    return everything


def _expanded(path: Path | None) -> Path | None:
    return path and expand_home(path)


def _check(config: ReplayConfig) -> None:
    """Refuse what cannot be written, or takes forever, before anything is read."""
    if not 0 <= config.inference <= _MOST_INFERENCE_S:
        raise InputError(f"--inference: expected 0 to {_MOST_INFERENCE_S:g} s, got {config.inference}")
    out, file = config.out, config.json
    if out:
        check_free(out)
        check_reachable(out)
    if out and file and file.absolute() in (out.absolute(), *((out / name).absolute() for name in (PLOT, TABLE))):
        raise InputError(f"--json: expected another file than {PLOT} and {TABLE} in --out, got {file}")
    if file and not (out and file.parent.absolute() == out.absolute()):  # that folder comes before the file
        check_place(file)


def run_recording(recording: Recording, pipeline: Pipeline, inference_s: float) -> Log:
    """Replay all of a recording, with a progress bar; every image that the node would get, repeated ones too."""
    replayed = Replay(pipeline, inference_s)
    with progress_bar("replay", recording.count, "images") as advance:
        for source in recording.sources:
            readings = JointReadings(source, recording.arm, recording.options)
            delay_s = find_delay(source, readings, recording.options, recording.notes)
            if recording.options.delay == "estimate":
                print_line(f"{source.name}: images are {delay_s:.3f} s late")
            replayed.run(_watched(messages(source, readings, recording.options, delay_s), advance))
    return replayed.log


def messages(source: Source, readings: JointReadings, options: ReadOptions, delay_s: float = 0.0) -> Iterator[Message]:
    """Yield joint states and images of one recording in order of their stamps; images stream.

    Images that `taskgan import` leaves out are left out here too, except repeated ones, which the node gets as well.
    Their stamps are `delay_s` earlier than recorded: the time of exposure, as a node with calibrated stamps has it.
    """
    shots = source.shots()
    first = next(shots, None)
    if first is None:
        return
    span_s = first.stamp_s, readings.span_s[1]
    states = (state for state in readings.states() if not options.leaves_out(state[0] + delay_s, *span_s))
    state, last_s = next(states, None), -math.inf
    for shot in chain([first], shots):
        while state and state[0] <= shot.stamp_s - delay_s:
            yield JointStateMessage(*state)
            state = next(states, None)
        if not (options.leaves_out(shot.stamp_s, *span_s) or options.is_early(shot.stamp_s, last_s)):
            last_s = shot.stamp_s
            yield ImageMessage(shot.stamp_s - delay_s, partial(_read, shot))
    while state:
        yield JointStateMessage(*state)
        state = next(states, None)


def _watched(stream: Iterator[Message], advance: Callable[..., None]) -> Iterator[Message]:
    for message in stream:
        interrupts.check()
        yield message
        advance(int(isinstance(message, ImageMessage)))


def _read(shot: Shot) -> RawImage:
    return RawImage(shot.decode(), "rgb8")


def _parameters(config: ReplayConfig) -> ReachParameters:
    """Return the node's parameters, but for what a recording cannot show."""
    values = read_parameter_file(expand_home(config.reach_params), _NODE) if config.reach_params else {}
    values = {**values, "bundle": config.bundle, "follow_tolerance_rad": _FREE_RAD}
    return from_values(ReachParameters, values, str(config.reach_params))


def _write_folder(
    out: Path, rows: Sequence[Row], periods: Sequence[Period], pipeline: Pipeline, tolerance: float
) -> None:
    from taskgan_ros.recordings.replay_plot import plot_replay  # matplotlib takes a second to load

    joints = pipeline.policy.card.joint_names
    out.mkdir(parents=True)
    plot_replay(out / PLOT, rows, periods, joints, tolerance)
    write_text(out / TABLE, _table(rows, joints))


def _table(rows: Sequence[Row], joints: Sequence[str]) -> str:
    """Return CSV with one line per image."""
    names = list(dict.fromkeys(name for row in rows for name in row.scores))
    plain = ("time_s", "state", "is_sent", "is_flagged", "angle_rad", "speed_ratio", "speed_share", "limit_share",
             "limit_rad", "fence_m", "leads_outside", "objection", "reason")  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    velocities = [f"{what}_{name}" for what in ("command", "recorded") for name in joints]
    writer.writerow([*plain, *velocities, *(f"score_{name}" for name in names)])
    for row in rows:
        values = [getattr(row, name) for name in plain] + [*row.command, *row.recorded]
        writer.writerow([_cell(value) for value in (*values, *(row.scores.get(name) for name in names))])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return int(value) if isinstance(value, bool) else "" if value is None else value


def _command(config: ReplayConfig) -> str:
    words = ["taskgan", "replay", *map(str, config.recordings), "--bundle", config.bundle]
    words += ["--reach-params", str(config.reach_params)] if config.reach_params else []
    return shlex.join([*words, "--inference", f"{config.inference:g}", *config.recording.arguments()])
