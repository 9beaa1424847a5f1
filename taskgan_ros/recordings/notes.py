"""What was left out of a recording, and what is odd about it: counted while it is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.robot.arm import Arm

Array = NDArray[np.float64]

_STILL_RAD: Final = 2e-3  # 0.1°, less than a picture of the usual size shows
_MUCH_STILL: Final = 0.5  # share of the images; more are worth a word
_GAP: Final = 3.0  # times the median interval
_SPEED: Final = 1.5  # times a joint's limit; the stamps of joint states are not accurate enough for less


@dataclass
class Notes:
    """Counts of one pass over a recording.

    Attributes:
        images: in the recording.
        taken: of them, how many became frames.
        repeated: equal to the one before.
        damaged: not decodable.
        backwards: with a stamp before the last one's, or equal to it.
        unmatched: without joint states near enough.
        skipped: as the user requested.
        thinned: above the requested rate.
        still: frames in which the arm stood as in the frame before.
        jumps: steps between frames that are faster than the arm can be.
        gaps: intervals between frames longer than three times the usual one; `longest_gap_s` is the longest.
        not_finite: joint positions that are no numbers.
        interval_s: between frames, in the median.
        delay_s, delay_error_s: by how much images are late, and the standard error where it was estimated.
        first_damage: why the first damaged image is.
        remarks: sentences on the whole.
    """

    images: int = 0
    taken: int = 0
    repeated: int = 0
    damaged: int = 0
    backwards: int = 0
    unmatched: int = 0
    skipped: int = 0
    thinned: int = 0
    still: int = 0
    jumps: int = 0
    gaps: int = 0
    longest_gap_s: float = 0.0
    not_finite: int = 0
    interval_s: float = 0.0
    delay_s: float = 0.0
    delay_error_s: float | None = None
    first_damage: str = ""
    remarks: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """Return what a user should know, a line each."""
        counts = {
            "repeat the one before": self.repeated,
            "are damaged": self.damaged,
            "have a stamp that is not after the last one's": self.backwards,
            "have no joint states near enough in time": self.unmatched,
            "are skipped as requested": self.skipped,
            "are beyond the requested rate": self.thinned,
        }
        left_out = [f"{count} {why}" for why, count in counts.items() if count]
        lines = [f"{self.taken} of {self.images} images taken" + "".join(f"; {part}" for part in left_out)]
        if self.first_damage:
            lines.append(f"the first damage: {self.first_damage}")
        if self.delay_error_s is not None:
            spread = f"{1e3 * self.delay_error_s:.0f} ms (standard error)"
            lines.append(f"images are {1e3 * self.delay_s:.0f} ± {spread} later than what they show")
        if self.gaps:
            lines.append(f"{self.gaps} gaps, the longest of {self.longest_gap_s:.2f} s")
        if self.jumps:
            lines.append(f"{self.jumps} steps between images are faster than the arm can move")
        if self.not_finite:
            lines.append(f"{self.not_finite} joint positions are not finite and were left out")
        if self.still > _MUCH_STILL * self.taken:
            lines.append(f"the arm stands still in {self.still} of {self.taken} images")
        return lines + self.remarks

    def in_short(self) -> str:
        """Return what explains an import without images or motion, in one line."""
        return "; ".join(replace(self, still=0).sentences())


class MotionCount:
    """Counts still images, jumps and gaps along the frames of one source."""

    def __init__(self, notes: Notes, arm: Arm) -> None:
        """Start before the first frame."""
        self._notes, self._fastest = notes, _SPEED * arm.max_velocity
        self._last: tuple[float, Array] | None = None
        self._intervals: list[float] = []

    def add(self, stamp_s: float, joint_pos: Array) -> None:
        """Count the next frame."""
        if self._last:
            passed_s, step = stamp_s - self._last[0], np.abs(joint_pos - self._last[1])
            self._intervals.append(passed_s)
            self._notes.still += bool(step.max() < _STILL_RAD)
            self._notes.jumps += bool((step > self._fastest * passed_s + _STILL_RAD).any())
        self._last = stamp_s, joint_pos

    def finish(self) -> None:
        """Count the gaps."""
        if not self._intervals:
            return
        intervals = np.array(self._intervals)
        usual = float(np.median(intervals))
        self._notes.interval_s = usual
        self._notes.gaps += int((intervals > _GAP * usual).sum())
        if (intervals > _GAP * usual).any():
            self._notes.longest_gap_s = max(self._notes.longest_gap_s, float(intervals.max()))
