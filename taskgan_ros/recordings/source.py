"""What each reader returns for a recording: a stream of images, and joint positions over time."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.vision.camera_model import CameraModel
from taskgan_ros.vision.images import Image

Array = NDArray[np.float64]


class Shot(NamedTuple):
    """An image that is not decoded yet.

    Attributes:
        stamp_s: s, when it was taken, as far as its stamp says.
        content: the recorded bytes; two shots with equal content show the same.
        decode: returns (H, W, 3) uint8 RGB; raises InputError where it is damaged.
    """

    stamp_s: float
    content: object
    decode: Callable[[], Image]


@dataclass
class JointTracks:
    """Positions over time of each joint, by name; compact, as those of a whole recording are held in memory.

    Attributes:
        not_finite: positions that were left out, as they are no numbers.
    """

    not_finite: int = 0
    _stamps: dict[str, array[float]] = field(default_factory=dict)
    _positions: dict[str, array[float]] = field(default_factory=dict)

    def add(self, stamp_s: float, names: Sequence[str], positions: Sequence[float] | Array) -> None:
        """Note where joints were at `stamp_s`; those of several publishers may come in any order."""
        for name, position in zip(names, positions, strict=False):
            if not np.isfinite(position):
                self.not_finite += 1
                continue
            self._stamps.setdefault(name, array("d")).append(stamp_s)
            self._positions.setdefault(name, array("d")).append(position)

    @property
    def names(self) -> list[str]:
        """All joints, as recorded."""
        return list(self._stamps)

    def track(self, name: str) -> tuple[Array, Array]:
        """Return stamps (T,) s, which never decrease, and positions (T,) as recorded; nothing is added after it."""
        stamps, positions = np.frombuffer(self._stamps[name]), np.frombuffer(self._positions[name])
        if (stamps[1:] >= stamps[:-1]).all():
            return stamps, positions  # without a copy: an hour of joint states may have 100 MB
        order = np.argsort(stamps, kind="stable")
        return stamps[order], positions[order]

    def largest_setback_s(self) -> float:
        """Return by how much the stamps of a joint go back at most, in s: several publishers' interleave a little."""
        backwards = [np.min(np.diff(np.frombuffer(stamps)), initial=0.0) for stamps in self._stamps.values()]
        return -float(min(backwards, default=0.0))


@dataclass(frozen=True)
class Source:
    """One recording, or one episode of a dataset that holds several.

    Attributes:
        name: for messages.
        shots: returns the images in the order recorded, from the first; may be called again.
        count: how many shots there are, about; 0 where nobody knows.
        joints: where the joints were.
        camera: None where the recording does not say.
        default_units: of the joints, by the format's own rules; None where it has none.
        remarks: what is odd about the recording as a whole, a sentence each.
    """

    name: str
    shots: Callable[[], Iterator[Shot]]
    count: int
    joints: JointTracks
    camera: CameraModel | None = None
    default_units: str | None = None
    remarks: list[str] = field(default_factory=list)
