"""Summary of a replay: how often and why the arm would have been held, and its commands beside the recorded motion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.commander_config import VELOCITIES, CommanderConfig
from taskgan_ros.control.states import State
from taskgan_ros.recordings.replay_run import Change, Log, Replayed
from taskgan_ros.vision.moved_camera import CameraMotion

Array = NDArray[np.float64]

_AROUND_S = 0.1  # before and after an image, over which the arm's velocity is taken
_MOVING = 0.02  # rad/s over all driven joints, below which a velocity has no direction
_LIMITED = 0.02  # share of a command that limits may take without being reported
_RIGHT_RAD = math.pi / 2
_JUMP = 2.0  # times its top speed, at which the arm did not move but was set elsewhere


@dataclass(frozen=True)
class Row:
    """One image's figures; NaN where there is none.

    Attributes:
        time_s: s since the recording began.
        state: of the node, after it.
        objection: the guard's, or nothing.
        reason: what was decided and why, in the words of the node's `~/status`.
        command, recorded: (J,) rad/s, the policy's command (for positions, what leads there in `horizon_s`), and the
            recorded arm's velocity then.
        angle_rad: between the two, over the driven joints.
        speed_ratio: length of the command's velocity over the recorded one's.
        speed_share: the fastest joint's velocity after all limits, as a share of its top speed.
        limit_share: of the command, that limits and fence take away.
        limit_rad: how near the nearest driven joint is to a position limit (`margin_rad` counted).
        fence_m: how far outside the fence the tip is.
        leads_outside: whether the command, kept for `horizon_s`, would take the tip out of the fence or further out.
        scores: the guard's.
        is_flagged: whether the guard objects.
        is_sent: whether a command would have been sent.
    """

    time_s: float
    state: str
    objection: str
    reason: str
    command: tuple[float, ...]
    recorded: tuple[float, ...]
    angle_rad: float
    speed_ratio: float
    speed_share: float
    limit_share: float
    limit_rad: float
    fence_m: float
    leads_outside: bool
    scores: dict[str, float]
    is_flagged: bool
    is_sent: bool


@dataclass(frozen=True)
class Period:
    """A time in one state.

    Attributes:
        from_s: s since the recording began.
        lasts_s: s.
        source: what holds the arm, or nothing.
    """

    from_s: float
    lasts_s: float
    state: str
    source: str
    reason: str


def make_rows(log: Log, config: CommanderConfig) -> list[Row]:
    """Return the figures of every image that the policy took."""
    recorded = _Recorded(log, config)
    return [_row(image, recorded, config) for image in log.images]


def make_periods(log: Log) -> list[Period]:
    """Return the states one after the other, over the whole recording."""
    last = Change(log.lasts_s, State.INACTIVE, (), "")
    return [
        Period(
            change.time_s,
            max(min(after.time_s, log.lasts_s) - change.time_s, 0.0),
            change.state.value,
            " and ".join(source.value for source in change.blocked_by),
            change.reason,
        )
        for change, after in pairwise([*log.changes, last])
    ]


def summarise(log: Log, rows: Sequence[Row], periods: Sequence[Period]) -> dict[str, Any]:
    """Return the summary's figures: shares of the recording's time and of its images, angles in degrees."""
    lasts_s = log.lasts_s
    waits = [period for period in periods if period.state == State.WAITING.value]
    held = [period for period in periods if period.state in (State.HELD.value, State.FAULT.value)]
    compared = np.degrees([row.angle_rad for row in rows if not math.isnan(row.angle_rad)])
    ratios = [row.speed_ratio for row in rows if not math.isnan(row.speed_ratio)]
    shares = [row.speed_share for row in rows if not math.isnan(row.speed_share)]
    return {
        "lasts_s": lasts_s,
        "joint_states": log.count["joint states"],
        "images": log.count["images"],
        "images_refused": log.count["refused images"],
        "images_dropped": log.count["dropped images"],
        "images_taken": len(rows),
        "commands": sum(row.is_sent for row in rows),
        "time_shares": _time_shares(periods, lasts_s),
        "held": {"times": len(held), "seconds": sum(period.lasts_s for period in held), "why": _why(held)},
        "waited": _why(waits),
        "scored_images": sum(bool(row.scores) for row in rows),
        "flagged_share": _share(row.is_flagged for row in rows if row.scores),
        "angle_deg": _quantiles(compared),
        "angle_images": len(compared),
        "angle_above_90_share": _share(compared > math.degrees(_RIGHT_RAD)),
        "speed_ratio": _quantiles(np.array(ratios)),
        "speed_share": _quantiles(np.array(shares)),
        "limited_share": _share(row.limit_share > _LIMITED for row in rows if not math.isnan(row.limit_share)),
        "leads_outside_share": _share(row.leads_outside for row in rows if not math.isnan(row.fence_m)),
        "leads_outside_s": _starts([row.time_s for row in rows if row.leads_outside]),
        "recorded_outside_share": _share(row.fence_m > 0 for row in rows if not math.isnan(row.fence_m)),
        "camera": log.camera,
        "camera_motions": [_motion(time_s, motion) for time_s, motion in log.motions],
        "warnings": dict(log.warnings.most_common()),
    }


def sentences(figures: dict[str, Any], tolerance: float) -> list[str]:
    """Return the summary for a person, a line each."""
    taken = figures["images_taken"]
    lines = [
        f"{figures['images']} images and {figures['joint_states']} joint states in {figures['lasts_s']:.1f} s: the "
        f"policy took {taken}, {figures['images_refused']} were refused, {figures['images_dropped']} dropped for newer "
        f"ones; {figures['commands']} commands sent"
    ]
    shares = ", ".join(f"{name} {share:.0%}" for name, share in figures["time_shares"].items())
    lines.append(f"time: {shares}")
    if figures["waited"]:
        waited = ", ".join(f"{why} {entry['seconds']:.1f} s" for why, entry in figures["waited"].items())
        lines.append(f"not started yet for want of: {waited}")
    held = figures["held"]
    lines.append(f"held or at fault {held['times']} times, {held['seconds']:.1f} s in all")
    for why, entry in held["why"].items():
        lines.append(f"  {why}: {entry['times']} times, {entry['seconds']:.1f} s, first: {entry['first']}")
    if taken:
        lines += _command_sentences(figures, tolerance)
    if figures["camera_motions"]:
        certain = sum(motion["is_certain"] for motion in figures["camera_motions"])
        looks = f"camera: {len(figures['camera_motions'])} looks, {certain} of them certain"
        otherwise = "no sign that it has moved" if certain else "the arm is not found where the scene has it"
        lines.append(f"{looks}: {figures['camera'] or otherwise}")
    return lines


def as_json(rows: Sequence[Row], periods: Sequence[Period], figures: dict[str, Any]) -> dict[str, Any]:
    """Return all of it as JSON has it: null where there is no number."""
    plain: dict[str, Any] = _without_nan(
        {"summary": figures, "states": [asdict(each) for each in periods], "images": [asdict(row) for row in rows]}
    )
    return plain


def _command_sentences(figures: dict[str, Any], tolerance: float) -> list[str]:
    angle, ratio, share = figures["angle_deg"], figures["speed_ratio"], figures["speed_share"]
    lines = ["there is no guard, so nothing tells an out-of-distribution image"]
    if figures["scored_images"]:
        flagged = figures["flagged_share"]
        lines = [f"the guard flags {flagged:.1%} of {figures['scored_images']} images (a score above {tolerance:g})"]
    if angle:
        lines.append(
            f"commanded against recorded velocity: {angle['median']:.0f}° in the median, {angle['p90']:.0f}° at the "
            f"90th percentile, above 90° in {figures['angle_above_90_share']:.0%} of {figures['angle_images']} images "
            f"with both moving; {ratio['median']:.2f} times as fast in the median"
        )
    else:
        lines.append("commanded against recorded velocity: the two never move at once")
    if share:
        lines.append(
            f"limits: the fastest joint uses {share['median']:.0%} of its top speed in the median, {share['most']:.0%} "
            f"at most; limits change {figures['limited_share']:.0%} of the commands"
        )
    outside, times = figures["leads_outside_share"], figures["leads_outside_s"]
    first = f", first at {', '.join(f'{time_s:.1f}' for time_s in times[:5])} s" if times else ""
    lines.append(f"fence: {outside:.1%} of the commands would lead out of it without the limits{first}")
    if figures["recorded_outside_share"]:
        lines.append(f"  the recorded arm itself is outside in {figures['recorded_outside_share']:.0%} of the images")
    return lines


def _row(image: Replayed, recorded: _Recorded, config: CommanderConfig) -> Row:
    moved, command = recorded.velocity(image.time_s), _velocity(image, config)
    fence_m, leads_outside = _outside(image.measured, command, config)
    length = _length(command)
    share = math.nan if image.allowed is None or length < _MOVING else 1 - min(_length(image.allowed) / length, 1.0)
    return Row(
        time_s=image.time_s,
        state=image.state.value,
        objection=image.objection,
        reason=image.reason,
        command=tuple(command.tolist()),
        recorded=tuple(moved.tolist()),
        angle_rad=_angle(command, moved),
        speed_ratio=length / _length(moved) if _length(moved) >= _MOVING else math.nan,
        speed_share=math.nan if image.allowed is None else _speed_share(image.allowed, config),
        limit_share=share,
        limit_rad=_limit_rad(image.measured, config),
        fence_m=fence_m,
        leads_outside=leads_outside,
        scores=image.scores,
        is_flagged=bool(image.objection),
        is_sent=image.sent is not None,
    )


def _motion(time_s: float, motion: CameraMotion) -> dict[str, Any]:
    return {
        "time_s": time_s,
        "pixels": motion.pixels,
        "shift_m": motion.shift_m.tolist(),
        "turn_rad": motion.turn_rad.tolist(),
        "is_certain": motion.is_certain,
    }


def _velocity(image: Replayed, config: CommanderConfig) -> Array:
    """Return what the first command asks for, (J,) rad/s."""
    command = image.command[0]
    if config.task == VELOCITIES:
        return command
    if image.measured is None:
        return np.full_like(command, math.nan)
    velocity: Array = (command - image.measured[config.driven]) / config.horizon_s
    return velocity


def _outside(measured: Array | None, command: Array, config: CommanderConfig) -> tuple[float, bool]:
    if measured is None or config.fence is None or not np.isfinite(command).all():
        return math.nan, False
    ahead = measured.copy()
    ahead[config.driven] += command * config.horizon_s
    now_m, then_m = config.fence.outside_m(np.stack([measured, ahead]))
    return float(now_m), bool(then_m > now_m and then_m > 0)


def _speed_share(velocity: Array, config: CommanderConfig) -> float:
    return float(np.max(np.abs(velocity) / config.arm.max_velocity[config.driven]))


def _limit_rad(measured: Array | None, config: CommanderConfig) -> float:
    if measured is None:
        return math.nan
    rooms = np.minimum(config.upper - measured, measured - config.lower)[config.driven]
    return float(np.min(rooms))


class _Recorded:
    """How the recorded arm moved."""

    def __init__(self, log: Log, config: CommanderConfig) -> None:
        self._times_s = np.array(log.times_s)
        count = len(config.driven)
        self._fastest = _JUMP * config.arm.max_velocity[config.driven]
        self._positions = np.array(log.positions)[:, config.driven] if log.positions else np.empty((0, count))

    def velocity(self, time_s: float) -> Array:
        """Return (J,) rad/s of the driven joints about a time; NaN where there are no joint states on both sides."""
        first, last = np.searchsorted(self._times_s, [time_s - _AROUND_S, time_s + _AROUND_S])
        times_s = self._times_s[max(first - 1, 0) : last + 1]
        if len(times_s) < 2 or times_s[0] > time_s or times_s[-1] < time_s or np.ptp(times_s) > 4 * _AROUND_S:
            return np.full(self._positions.shape[1], math.nan)
        positions = self._positions[max(first - 1, 0) : last + 1]
        velocity: Array = (positions[-1] - positions[0]) / np.ptp(times_s)
        return np.where(np.any(np.abs(velocity) > self._fastest), math.nan, velocity)


def _angle(one: Array, other: Array) -> float:
    """Return the angle between two velocities, rad; NaN where one of them has no direction."""
    lengths = _length(one), _length(other)
    if not min(lengths) >= _MOVING:
        return math.nan
    return float(np.arccos(np.clip(one @ other / (lengths[0] * lengths[1]), -1, 1)))


def _length(velocity: Array) -> float:
    return float(np.linalg.norm(velocity))


def _time_shares(periods: Sequence[Period], lasts_s: float) -> dict[str, float]:
    states = dict.fromkeys(period.state for period in periods if period.lasts_s > 0)
    sums = {state: sum(period.lasts_s for period in periods if period.state == state) for state in states}
    return {state: seconds / lasts_s if lasts_s else 0.0 for state, seconds in sums.items()}


def _why(held: Sequence[Period]) -> dict[str, dict[str, Any]]:
    """Return by source how often it held the arm, for how long, and its first reason."""
    sources = dict.fromkeys(period.source for period in held)
    return {
        source: {
            "times": sum(period.source == source for period in held),
            "seconds": sum(period.lasts_s for period in held if period.source == source),
            "first": next(period.reason for period in held if period.source == source),
        }
        for source in sources
    }


def _starts(times_s: Sequence[float]) -> list[float]:
    """Return when each run of times begins that follow each other within a second."""
    return [time_s for k, time_s in enumerate(times_s) if not k or time_s - times_s[k - 1] > 1.0]


def _share(values: Any) -> float:
    found = list(values)
    return sum(map(bool, found)) / len(found) if found else 0.0


def _quantiles(values: Array) -> dict[str, float]:
    if not len(values):
        return {}
    return {"median": float(np.median(values)), "p90": float(np.quantile(values, 0.9)), "most": float(np.max(values))}


def _without_nan(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
