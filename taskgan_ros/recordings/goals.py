"""Where the target was: one place, a file, a topic of poses, or a frame of TF; in the arm's base frame."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.config import expand_home
from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.read_options import BAG_SUFFIXES
from taskgan_ros.recordings.readers import is_bag_folder
from taskgan_ros.recordings.transforms import TF, TransformTree

Array = NDArray[np.float64]

POSE: Final = "geometry_msgs/msg/PoseStamped"
_COLUMNS: Final = ("episode", "x", "y")


@dataclass(frozen=True)
class GoalOptions:
    """Where the arm's target is; give one of these at most."""

    goal: tuple[float, float] | None = None
    """The target's place: x and y in m in the frame of the arm's base."""
    goal_file: Path | None = None
    """CSV with the columns episode, x, y: from 0, and in m in the frame of the arm's base."""
    goal_topic: str | None = None
    """Topic of geometry_msgs/PoseStamped in the bag, in base_frame or a frame without a name."""
    goal_frame: str | None = None
    """TF frame of the target in the bag."""
    base_frame: str = "base_link"
    """Frame of the arm's base: goal_topic's poses are in it, and goal_frame is looked up in it."""

    def __post_init__(self) -> None:
        """Check the place.

        Raises:
            InputError: it is not finite.
        """
        if self.goal and not np.isfinite(self.goal).all():
            raise InputError(f"--goal: expected finite numbers, got {list(self.goal)}")

    @property
    def is_given(self) -> bool:
        """Whether any of them is.

        Raises:
            InputError: more than one is.
        """
        names = ("goal", "goal_file", "goal_topic", "goal_frame")
        given = [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"expected one of {given}, got {len(given)}")
        return bool(given)


def target_places(
    options: GoalOptions, paths: Sequence[Path], stamps: Array, episode: NDArray[np.intp], received: bool = False
) -> Array:
    """Return where the target was at each image (T, 2) in m in the arm's base frame.

    Args:
        options: one of them is given.
        paths: the recordings.
        stamps: (T,) s of the images.
        episode: (T,) of which episode each is.
        received: the stamps are of when messages were recorded, as `ReadOptions.stamps` chooses.

    Raises:
        InputError: a file or topic without what is needed.
    """
    if options.goal is not None:
        return np.tile(np.array(options.goal, float), (len(stamps), 1))
    if options.goal_file is not None:
        places = _read_file(expand_home(options.goal_file))
        if missing := sorted(set(episode.tolist()) - set(places)):
            raise InputError(f"{options.goal_file}: expected a row for each episode, got none for {missing}")
        return np.array([places[one] for one in episode.tolist()])
    times, positions = _recorded(options, paths, received)
    after = np.clip(np.searchsorted(times, stamps, side="right") - 1, 0, len(times) - 1)
    return positions[after]  # the newest at that time; the first where none was yet


def _read_file(path: Path) -> dict[int, tuple[float, float]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        places = {int(row["episode"]): (float(row["x"]), float(row["y"])) for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected a CSV file with numbers in {list(_COLUMNS)}, got {error!r}") from error
    if wrong := {one: place for one, place in places.items() if not np.isfinite(place).all()}:
        raise InputError(f"{path}: expected finite x and y, got by episode {wrong}")
    return places


def _recorded(options: GoalOptions, paths: Sequence[Path], received: bool) -> tuple[Array, Array]:
    """Return times (P,) s in order and places (P, 2) m of the target, as the bags say."""
    from taskgan_ros.recordings.bag import Bag

    found: list[tuple[float, float, float]] = []
    for path in paths:
        if not (path.suffix in BAG_SUFFIXES or is_bag_folder(path)):
            raise InputError(f"{path}: expected a bag for --goal-topic or --goal-frame, got another recording")
        bag = Bag(path)
        found.extend((_poses if options.goal_topic else _transforms)(bag, options, received))
    if not found:
        wanted = options.goal_topic or f"{options.goal_frame} in {options.base_frame}"
        raise InputError(f"expected places of the target by {wanted}, got none")
    rows = np.array(sorted(found))
    if len(wrong := rows[~np.isfinite(rows).all(axis=1)]):
        time_s, x, y = wrong[0]
        raise InputError(f"expected finite places of the target, got ({x:g}, {y:g}) m at {time_s:.3f} s")
    return rows[:, 0], rows[:, 1:]


def _poses(bag: Any, options: GoalOptions, received: bool) -> list[tuple[float, float, float]]:
    from taskgan_ros.recordings.bag import stamp_s

    topic = options.goal_topic
    if topic not in bag.topics(POSE):
        raise InputError(f"{bag.path}: expected --goal-topic of {bag.topics(POSE)}, of {POSE}, got {topic!r}")
    found = []
    for packet, message in bag.messages([topic]):
        frame, base = (name.lstrip("/") for name in (message.header.frame_id, options.base_frame))
        if frame not in ("", base):
            raise InputError(
                f"{bag.path}: {topic}: expected poses in --base-frame {options.base_frame!r}, got some in {frame!r}: "
                "name the frame of the arm's base, or the target's own by --goal-frame"
            )
        place = message.pose.position
        found.append((stamp_s(packet, message, bag.path, received), place.x, place.y))
    return found


def _transforms(bag: Any, options: GoalOptions, received: bool) -> list[tuple[float, float, float]]:
    """Return where the goal's frame is in the base's, each time that a transform on the way changes."""
    topics, tree, goal = bag.topics(*TF), TransformTree(), str(options.goal_frame)
    found: list[tuple[float, float, float]] = []
    for packet, message in bag.messages(topics) if topics else ():
        for one in message.transforms:
            tree.add(one, str(bag.path))
            pose = tree.pose(goal, options.base_frame) if goal.lstrip("/") in tree.parents else None
            if pose is None:
                continue
            place = pose[:2, 3].tolist()
            if not found or tuple(place) != found[-1][1:]:
                time_s = 1e-9 * packet.received_ns if received else _seconds(one.header)
                found.append((time_s, place[0], place[1]))
    return found


def _seconds(header: Any) -> float:
    return float(header.stamp.sec + 1e-9 * header.stamp.nanosec)
