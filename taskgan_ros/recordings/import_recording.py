"""`taskgan import`: recordings of a real arm into one dataset, with labels, to train on."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
import tyro
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.config import expand_home
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free, check_outputs, make_folder, write_text
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.data.dataset import LEAST_PX, SIDE_PX, DatasetInfo, EpisodeRecord, open_writer
from taskgan_ros.recordings.episodes import cut, split_at_rests, split_by_file
from taskgan_ros.recordings.goals import GoalOptions, target_places
from taskgan_ros.recordings.labels import (
    angle_labels,
    demonstration_labels,
    goal_labels,
    joint_goal_labels,
    reach_scene,
)
from taskgan_ros.recordings.pairs import PairRenderer
from taskgan_ros.recordings.pictures import write_contact_sheet, write_joint_plot
from taskgan_ros.recordings.read_options import ReadOptions, SharedOptions
from taskgan_ros.recordings.recording import Recording, open_recording
from taskgan_ros.recordings.source_hash import recording_hash
from taskgan_ros.recordings.spool import Spool
from taskgan_ros.robot.angles import angle_difference
from taskgan_ros.robot.units import JOINT_GOALS, UNITS
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.tasks.scene import Scene

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

ANGLES, DEMONSTRATION, GOAL = "joint_angles", "demonstration", "goal"
_PASSIVE_RAD: Final = 0.1  # how far a joint that is not driven may sag, as in `tasks.reach`
_TASKS: Final = {
    ANGLES: "joint_angles",
    DEMONSTRATION: "joint_velocities",
    GOAL: "joint_velocities",
    JOINT_GOALS: JOINT_GOALS,
}

_MOST_CUT = 0.9  # of the picture's side: if less is kept, a remark says how much


@dataclass(frozen=True)
class ImportConfig:
    """Make a dataset of recordings: bags, LeRobotDatasets, or folders of images with joint angles."""

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Bags of ROS 1 or 2 (files or folders), LeRobotDatasets, folders with a CSV or JSON; by one camera."""
    scene: str
    """A shipped scene's name or a YAML file: arm, driven joints, and how much of the camera's view is used."""
    out: Path
    """The HDF5 file to write; must not exist. Beside it come a sheet of images and a plot, to look at."""
    recording: SharedOptions = field(default_factory=ReadOptions)
    labels: Literal["joint_angles", "demonstration", "goal", "joint_goals"] | None = None
    """The images' labels: joint angles; the demonstrated step towards the episode's end; the motion towards a given
    goal; or the joint angles at that goal. If left out: goal where one is given, angles for a scene of poses, else
    demonstration."""
    goal: Annotated[GoalOptions, tyro.conf.arg(name="")] = field(default_factory=GoalOptions)
    split: Literal["rests", "file", "none"] | None = None
    """What ends an episode: a rest of the arm, or the file. If left out: rests for demonstrations, else file."""
    rest: float = 1.0
    """s, the shortest rest that ends an episode."""
    longest_episode: int | None = None
    """Cut episodes into parts of at most this many images, so that some can be held out."""
    paired: str | None = None
    """A domain, such as source, in which each recorded state is rendered as `obs/image_paired`. Needs a calibrated
    camera, and the goal where the scene has a target."""
    name: str | None = None
    """The domain's name in the dataset; the file's without ending if left out."""
    image_size: int = 128
    """Pixels a side, 24 or more and a multiple of 8; 128 is the paper's."""
    json: Path | None = None
    """Where to write what is printed; must not exist, nor be another of the outputs."""


@dataclass(frozen=True)
class _Taken:
    """All frames that became images of the scene, in order.

    Attributes:
        spool: their images.
        stamps: (T,) s.
        joint_pos: (T, n) rad.
        track: (M, n) rad, the arm at these and at the images that a lower rate left out.
        rows: (T,) of the track, which these are.
    """

    spool: Spool
    stamps: Array
    joint_pos: Array
    track: Array
    rows: Rows


class _Episode(NamedTuple):
    """A motion, as rows of the track, and which of the T frames are of it."""

    motion: Rows
    frames: Rows


def import_recording(config: ImportConfig) -> dict[str, Any]:
    """Write the dataset and its pictures, and return what is printed.

    Raises:
        InputError: recordings that cannot be read or give no image, options that do not fit, or outputs that exist or
            collide.
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP; nothing is left.
    """
    out, scene = expand_home(config.out), load_scene(config.scene)
    check_free(out)  # a folder without a name, such as /, too
    sheet, plot = (out.with_name(f"{out.stem}_{what}.png") for what in ("images", "joints"))
    said = [expand_home(config.json)] if config.json else []
    check_outputs([out, sheet, plot, *said])
    _check(config, scene)
    paths = [expand_home(path) for path in config.recordings]
    with ExitStack() as stack:
        stack.enter_context(interrupts.deferred())
        recording = open_recording(paths, scene, config.recording)
        for path in (out, *said):
            make_folder(path.parent)
        size = (config.image_size, config.image_size)
        taken = _take(recording, scene, stack.enter_context(Spool(out.parent, size)))
        every = _episodes(config, scene, recording, taken)
        places = _places(config, paths, taken, every)
        filled = [episode for episode in every if len(episode.frames)]  # a low rate leaves some without a frame
        labels = [_label(config, scene, taken, episode, places) for episode in filled]
        episodes = [episode.frames for episode in filled]
        info = _info(config, scene, episodes, recording_hash(paths))
        _write(config, scene, info, taken, episodes, labels, places)
        write_contact_sheet(sheet, taken.spool, episodes)
        write_joint_plot(plot, taken.stamps, taken.joint_pos, scene.arm.joint_names, episodes)
    lines = [*recording.notes.sentences(), *_cut_away(recording, scene), *_remarks(scene, taken, info)]
    return _report(config, recording, info, lines, [sheet, plot])


def _check(config: ImportConfig, scene: Scene) -> None:
    if config.image_size < LEAST_PX or config.image_size % SIDE_PX:
        raise InputError(
            f"expected an image_size of {LEAST_PX} pixels or more that is a multiple of {SIDE_PX}, "
            f"as translators need, got {config.image_size}"
        )
    if config.longest_episode is not None and config.longest_episode < 1:
        raise InputError(f"--longest-episode: expected 1 image or more, got {config.longest_episode}")
    if not config.rest >= 0:
        raise InputError(f"--rest: expected 0 s or more, got {config.rest}")
    kind = _kind(config, scene)
    if kind in (GOAL, JOINT_GOALS):
        if not config.goal.is_given:
            options = "--goal, --goal-file, --goal-topic or --goal-frame"
            raise InputError(f"--labels {kind}: expected {options}, got none of them")
        reach_scene(scene)
    if config.paired and scene.objects and not config.goal.is_given:
        raise InputError(
            "--paired: expected the target's place, which the plain render shows: --goal, --goal-file, --goal-topic "
            "or --goal-frame, got none of them"
        )
    if config.paired:
        PairRenderer(scene, config.paired, config.image_size).close()


def _kind(config: ImportConfig, scene: Scene) -> str:
    if config.labels:
        return config.labels
    return GOAL if config.goal.is_given else ANGLES if scene.task == "poses" else DEMONSTRATION


def _take(recording: Recording, scene: Scene, spool: Spool) -> _Taken:
    """Read the recording once; what stays in memory are stamps and angles."""
    for frame in recording.frames(progress="import"):
        spool.add(recording.rectified(frame.rgb, scene.camera.fov, spool.size))
    track, rows = np.array(recording.track.joint_pos), np.array(recording.track.taken, np.intp)
    return _Taken(spool, np.array(recording.track.stamps)[rows], track[rows], track, rows)


def _episodes(config: ImportConfig, scene: Scene, recording: Recording, taken: _Taken) -> list[_Episode]:
    """Return all episodes of the recording, also those without a frame: a goal's file counts them."""
    track, notes = recording.track, recording.notes
    split = config.split or ("rests" if _kind(config, scene) == DEMONSTRATION else "file")
    source = np.array(track.source, np.intp)
    if split == "none":
        motions = [np.arange(len(source))]
    elif split == "file":
        motions = split_by_file(source)
    else:
        motions = split_at_rests(np.array(track.stamps), taken.track, source, config.rest)
    if not motions:
        raise InputError(f"expected an arm that moves, got none that does ({notes.in_short()}): --split file takes all")
    if config.longest_episode:
        motions = cut(motions, config.longest_episode, taken.rows)
    return [_Episode(motion, np.flatnonzero(np.isin(taken.rows, motion))) for motion in motions]


def _places(config: ImportConfig, paths: list[Path], taken: _Taken, episodes: list[_Episode]) -> Array | None:
    """Return (T, 2) m, where the target is at each image, None where that is unknown."""
    if not config.goal.is_given:
        return None
    numbers = np.zeros(len(taken.stamps), np.intp)
    for number, episode in enumerate(episodes):
        numbers[episode.frames] = number
    return target_places(config.goal, paths, taken.stamps, numbers, config.recording.stamps == "received")


def _label(config: ImportConfig, scene: Scene, taken: _Taken, episode: _Episode, places: Array | None) -> Array:
    """Return the labels (F, J) of one episode's frames."""
    motion, frames = episode
    kind, joint_pos = _kind(config, scene), taken.joint_pos[frames]
    if kind == ANGLES:
        return angle_labels(scene, joint_pos)
    if kind == DEMONSTRATION:
        return demonstration_labels(scene, taken.track[motion])[np.isin(motion, taken.rows)]
    assert places is not None  # ensured by `_check`
    if kind == JOINT_GOALS:
        return joint_goal_labels(scene, joint_pos, places[frames])
    return goal_labels(scene, joint_pos, places[frames])


def _info(config: ImportConfig, scene: Scene, episodes: list[Rows], recording: str) -> DatasetInfo:
    task = _TASKS[_kind(config, scene)]
    return DatasetInfo(
        task=task,
        units=UNITS[task],
        arm=scene.arm_name,
        scene=config.scene,
        domain=config.name or config.out.stem,
        paired_domain=config.paired or "",
        joint_names=scene.arm.joint_names,
        action_names=scene.driven_joints,
        height=config.image_size,
        width=config.image_size,
        seed=0,
        images=sum(map(len, episodes)),
        episodes=len(episodes),
        recording=recording,
    )


def _write(
    config: ImportConfig,
    scene: Scene,
    info: DatasetInfo,
    taken: _Taken,
    episodes: list[Rows],
    labels: list[Array],
    places: Array | None,
) -> None:
    with ExitStack() as stack:
        pairs = PairRenderer(scene, config.paired, config.image_size) if config.paired else None
        if pairs:
            stack.callback(pairs.close)
        writer = stack.enter_context(open_writer(expand_home(config.out), info, keep=False))
        advance = stack.enter_context(progress_bar("write", info.images, "images"))
        for k, rows in enumerate(episodes):
            joint_pos = taken.joint_pos[rows]
            shown = pairs.show(joint_pos, None if places is None else places[rows]) if pairs else None
            actions = np.asarray(labels[k], np.float32)
            images = taken.spool.rows(rows, advance)
            writer.add(k, EpisodeRecord(images, actions, joint_pos.astype(np.float32), shown))


def _cut_away(recording: Recording, scene: Scene) -> list[str]:
    """Return a sentence where much of what the camera saw is beyond the scene's field of view."""
    seen = recording.camera.ideal_fov(1.0) if recording.camera else recording.options.camera_fov
    if not seen:
        return []
    kept = float(np.tan(scene.camera.fov / 2) / np.tan(seen / 2))
    if kept > _MOST_CUT:
        return []
    return [
        f"the middle {kept:.0%} of the largest square is kept: the scene's fov is {scene.camera.fov:.3g} rad, the "
        f"camera sees {seen:.3g}; a larger fov in the scene shows more"
    ]


def _remarks(scene: Scene, taken: _Taken, info: DatasetInfo) -> list[str]:
    """Return sentences on what training would not see."""
    lines = []
    if resting := len(taken.stamps) - info.images:
        lines.append(f"{resting} images of a resting arm are in no episode")
    off = np.abs(angle_difference(taken.joint_pos, np.array(scene.ready), scene.arm.is_continuous)).max(axis=0)
    off[scene.driven] = 0
    if off.max(initial=0.0) > _PASSIVE_RAD:
        names = [name for name, one in zip(scene.arm.joint_names, off, strict=True) if one > _PASSIVE_RAD]
        apart = f"{', '.join(names)}, which the scene does not drive, are up to {off.max():.2g} rad from its `ready`"
        lines.append(f"{apart}: if this recording is of another task, edit `ready` and `driven_joints` in the scene")
    return lines


def _report(
    config: ImportConfig, recording: Recording, info: DatasetInfo, lines: list[str], pictures: list[Path]
) -> dict[str, Any]:
    """Print what was taken, and return it."""
    episodes = f"{info.episodes} episode{'s' if info.episodes > 1 else ''}"
    print_line(f"{config.out}: {info.images} images in {episodes}, {info.task} of {len(info.action_names)}")
    for line in lines:
        print_line(f"  {line}")
    print_line(f"  look at {' and '.join(map(str, pictures))} before training")
    figures = {"out": str(config.out), "images": info.images, "episodes": info.episodes, "task": info.task}
    figures |= {"recording": info.recording, "notes": vars(recording.notes), "lines": lines}
    if config.json:
        write_text(expand_home(config.json), json.dumps(figures, indent=2) + "\n")
    return figures
