"""A recording's joints as the arm's configuration at any time: names, units, interpolation, gaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.read_options import DEGREES, LEROBOT, RADIANS, ReadOptions
from taskgan_ros.recordings.source import Source
from taskgan_ros.robot.arm import Arm

Array = NDArray[np.float64]

_SAME_S: Final = 1e-3  # a state so near to an image is the image's own
_CLOCK_SET_S: Final = 1.0  # stamps that go back by more are of another clock
_BEYOND_RAD: Final = 0.5  # past a joint's limit; drivers overshoot by less
_LEROBOT_END: Final = 100.0  # LeRobot's normalised positions run from -100 to 100 over a joint's range


class JointReadings:
    """Where the arm was: `at` a time, (n,) rad in the arm's order."""

    def __init__(self, source: Source, arm: Arm, options: ReadOptions) -> None:
        """Find the arm's joints among the recorded ones, and convert them.

        Raises:
            InputError: a missing joint, unknown units, or stamps of two clocks.
        """
        units = options.units or source.default_units
        if units is None:
            raise InputError(
                f"{source.name}: expected --units for joint positions, as the file does not have them, got "
                "none: radians, degrees, or lerobot (-100 to 100 over each joint's limits)"
            )
        self._arm, self._largest_gap_s = arm, options.largest_gap
        self._tracks = [self._track(source, name, units, k) for k, name in enumerate(_recorded(source, arm, options))]
        setback_s = source.joints.largest_setback_s()
        if setback_s > _CLOCK_SET_S:
            raise InputError(
                f"{source.name}: expected joint states whose stamps increase, got some {setback_s:.3g} s before the "
                "last: was a clock set, or are two robots' in one topic? --stamps received takes the "
                "recorder's clock"
            )
        self.remarks = [*_doubts(self._tracks, arm, units, options.units is None), *_lerobot_remark(units)]

    @property
    def span_s(self) -> tuple[float, float]:
        """From when to when all joints are known, in s."""
        return max(float(t[0]) for t, _ in self._tracks), min(float(t[-1]) for t, _ in self._tracks)

    def at(self, time_s: float) -> Array | None:
        """Return (n,) rad at a time, interpolated between two states; None where they are too far apart, or none is."""
        positions = np.empty(len(self._tracks))
        for k, (stamps, track) in enumerate(self._tracks):
            after = int(np.searchsorted(stamps, time_s))
            near = [row for row in (after - 1, after) if 0 <= row < len(stamps)]
            same = min(near, key=lambda row: abs(stamps[row] - time_s))
            if abs(stamps[same] - time_s) <= _SAME_S:
                positions[k] = track[same]
                continue
            if len(near) < 2 or stamps[after] - stamps[after - 1] > self._largest_gap_s:
                return None
            share = (time_s - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
            positions[k] = track[after - 1] + share * (track[after] - track[after - 1])
        return positions

    def states(self) -> Iterator[tuple[float, Array]]:
        """Yield each stamp in s with (n,) rad, in order; where joints have separate stamps, those of the rarest."""
        stamps, _ = min(self._tracks, key=lambda track: len(track[0]))
        is_one = all(np.array_equal(stamps, own) for own, _ in self._tracks)
        for row, stamp_s in enumerate(stamps.tolist()):
            positions = np.array([track[row] for _, track in self._tracks]) if is_one else self.at(stamp_s)
            if positions is not None:
                yield stamp_s, positions

    def speed(self, times_s: Array) -> Array:
        """Return (T,) rad/s, the sum of all joints' speeds, between each time and the next, extrapolating nothing."""
        shown = np.stack([np.interp(times_s, stamps, track) for stamps, track in self._tracks], axis=1)
        return np.abs(np.diff(shown, axis=0)).sum(axis=1) / np.maximum(np.diff(times_s), 1e-9)

    def _track(self, source: Source, name: str, units: str, k: int) -> tuple[Array, Array]:
        stamps, recorded = source.joints.track(name)
        joint = self._arm.independent_joints[k]
        if joint.kind == "prismatic" and units != LEROBOT:
            return stamps, recorded  # m
        if units == DEGREES:
            recorded = np.radians(recorded)
        if units == LEROBOT:
            if joint.lower is None or joint.upper is None:
                raise InputError(f"{joint.name}: expected limits for positions in lerobot's -100 to 100, got none")
            recorded = joint.lower + (recorded / _LEROBOT_END + 1) / 2 * (joint.upper - joint.lower)
        return stamps, np.unwrap(recorded) if joint.kind == "continuous" else recorded


def _recorded(source: Source, arm: Arm, options: ReadOptions) -> list[str]:
    """Return the recording's names of the arm's joints, in the arm's order."""
    names, there = options.joint_names or arm.joint_names, source.joints.names
    if len(names) != len(arm.joint_names):
        wanted = f"--joint-names for each of {list(arm.joint_names)}"
        raise InputError(f"expected {wanted}, got {len(names)}: {list(names)}")
    names = tuple(options.joint_prefix + name for name in names)
    if not there:
        raise InputError(f"{source.name}: expected joint states of {list(names)}, got none at all")
    if missing := [name for name in names if name not in there]:
        raise InputError(
            f"{source.name}: expected the joints {list(names)} of {arm.name}, got {there}: missing {missing}; "
            "--joint-names gives the recording's names in the arm's order"
        )
    return list(names)


def _doubts(tracks: list[tuple[Array, Array]], arm: Arm, units: str, is_assumed: bool) -> list[str]:
    """Return a sentence where radians lie so far beyond the limits that they must be degrees, or another arm's."""
    if units != RADIANS:
        return []
    pairs = list(zip(arm.independent_joints, tracks, strict=True))
    turning = [(joint, np.abs(track).max()) for joint, (_, track) in pairs if joint.kind != "prismatic"]
    ends = [(joint, max(abs(joint.lower or 0), abs(joint.upper or 0)) or np.pi) for joint, _ in turning]
    strange = [
        f"{joint.name} at {largest:.4g}"
        for (joint, largest), (_, end) in zip(turning, ends, strict=True)
        if joint.kind == "revolute" and largest > end + _BEYOND_RAD
    ]
    if not strange:
        return []
    assumed = " as ROS has them (REP-103)" if is_assumed else ""
    return [f"joint positions are taken for rad{assumed}, but look like degrees or another arm's: {', '.join(strange)}"]


def _lerobot_remark(units: str) -> list[str]:
    if units != LEROBOT:
        return []
    return ["positions of -100 to 100 are taken to span each joint's limits in the arm file; a calibration that spans "
            "less or more shifts every angle"]  # fmt: skip
