"""How a recording is to be read: options that import, calibrate, overlay and replay share."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Final, Literal

import tyro

from taskgan_ros.core.errors import InputError

BAG_SUFFIXES: Final = (".bag", ".mcap", ".db3", ".zstd")

RADIANS: Final = "radians"
DEGREES: Final = "degrees"
LEROBOT: Final = "lerobot"

_WIDEST: Final = 3.0  # rad; as wide as a scene's camera may be
_RATE_TOLERANCE: Final = 0.1  # of a period: jitter of the stamps


@dataclass(frozen=True)
class ReadOptions:
    """How to read a recording."""

    image_topic: str | None = None
    """Bag's topic, or LeRobot's key, of the images; needed where there are several."""
    joint_topics: tuple[str, ...] = ()
    """Bag's topics of joint states; all of that type if left out."""
    info_topic: str | None = None
    """Bag's topic of the camera_info; the one beside the images if left out."""
    camera_info: Path | None = None
    """YAML file with the camera's matrix and lens, in place of the recording's: camera_calibration's, or a
    camera_info."""
    camera_fov: float | None = None
    """Vertical field of view in rad of an undistorted camera that nothing else describes."""
    stamps: Literal["header", "received"] = "header"
    """Which time counts: that in a message's header, or that at which it was recorded."""
    delay: float | Literal["estimate"] = 0.0
    """How many s an image's stamp is later than its exposure; `estimate` compares motion in images and joints."""
    largest_gap: float = 0.2
    """Longest time in s between two joint states to interpolate; the error is at most 0.01 rad at 2 rad/s²."""
    units: Literal["radians", "degrees", "lerobot"] | None = None
    """Of joint angles; bags have radians (REP-103). lerobot is -100 to 100 over a joint's limits."""
    joint_names: tuple[str, ...] = ()
    """The recording's names of the arm's joints, in the arm's order."""
    joint_prefix: str = ""
    """Prefix of the joint names in the recording."""
    repeated: bool = False
    """Keep exact repetitions of an image, as sent by a driver that is faster than its camera."""
    rate: float | None = None
    """Largest number of images per second; the first of each period is taken."""
    skip_start: float = 0.0
    """s to leave out at the start of each recording."""
    skip_end: float = 0.0
    """s to leave out at the end of each recording."""
    skip: tuple[tuple[float, float], ...] = ()
    """Intervals from and to, in s since the first image, to leave out."""
    episodes: tuple[int, ...] = ()
    """Of a LeRobot dataset, which episodes to read; all if left out."""

    def __post_init__(self) -> None:
        """Check numbers.

        Raises:
            InputError: one is out of its range.
        """
        for name, most in (("largest_gap", math.inf), ("rate", sys.float_info.max), ("camera_fov", _WIDEST)):
            value = getattr(self, name)
            if value is not None and not 0 < value <= most:
                upper = f" and at most {most:g}" if name == "camera_fov" else ""
                raise InputError(f"--{name.replace('_', '-')}: expected a number above 0{upper}, got {value}")
        for name in ("skip_start", "skip_end"):
            if not 0 <= getattr(self, name) < math.inf:
                given = getattr(self, name)
                raise InputError(f"--{name.replace('_', '-')}: expected seconds of 0 or more, got {given}")
        if wrong := [(start, end) for start, end in self.skip if not 0 <= start < end]:
            raise InputError(f"--skip: expected intervals from 0 s or later to a later time, got {wrong}")
        if self.delay != "estimate" and not math.isfinite(self.delay):
            raise InputError(f"--delay: expected a finite number of seconds or estimate, got {self.delay}")

    def leaves_out(self, stamp_s: float, first_s: float, last_s: float) -> bool:
        """Return whether what is of `stamp_s` is to be left out of a recording.

        Args:
            stamp_s: s, of an image, or of a joint state plus the images' delay.
            first_s: s, the first image's stamp.
            last_s: s, when the recording ends.
        """
        since_s = stamp_s - first_s
        is_start = self.skip_start > 0 and since_s < self.skip_start
        is_end = self.skip_end > 0 and stamp_s > last_s - self.skip_end
        return is_start or is_end or any(start <= since_s < end for start, end in self.skip)

    def is_early(self, stamp_s: float, last_s: float) -> bool:
        """Return whether an image comes too soon for `rate` after the last one that was taken, at `last_s`."""
        return self.rate is not None and stamp_s - last_s < (1 - _RATE_TOLERANCE) / self.rate

    def arguments(self) -> list[str]:
        """Return the options that differ from their defaults as a command line has them."""
        words: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                words += [f"--{field.name.replace('_', '-')}", *_words(value)]
        return words


def _words(value: object) -> list[str]:
    if isinstance(value, tuple):
        return [word for item in value for word in _words(item)]
    return [] if value is True else [str(value)]


# As a command's field `recording`: its options without a prefix, --units and not --recording.units.
SharedOptions = Annotated[ReadOptions, tyro.conf.arg(name="")]
