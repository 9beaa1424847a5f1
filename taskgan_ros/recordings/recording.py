"""A recording as frames: each image with the arm's configuration when it was taken, in order of time, streaming."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.config import expand_home
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.recordings.delay import estimate_delay
from taskgan_ros.recordings.joint_readings import JointReadings
from taskgan_ros.recordings.notes import MotionCount, Notes
from taskgan_ros.recordings.read_options import ReadOptions
from taskgan_ros.recordings.readers import read_sources
from taskgan_ros.recordings.source import Shot, Source
from taskgan_ros.robot.arm import Arm
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.vision.camera_model import CameraModel, read_camera_model
from taskgan_ros.vision.images import Image, RawImage, zoom_for

__all__ = ["Frame", "ReadOptions", "Recording", "open_recording"]

Array = NDArray[np.float64]

_CLOCK_SET_S: Final = 1.0  # an image so much before the last is of a clock that was set back


@dataclass(frozen=True)
class Frame:
    """An image and where the arm was.

    Attributes:
        stamp_s: s, the image's stamp, as recorded.
        rgb: (H, W, 3) uint8, whole and unrectified.
        joint_pos: (n,) rad, in the arm's order.
        episode: of which recording or episode of a dataset it is, from 0.
    """

    stamp_s: float
    rgb: Image
    joint_pos: Array
    episode: int


@dataclass
class Track:
    """Where the arm was at each image, those beyond the requested rate too: motions and rests are finer than a rate.

    Attributes:
        stamps: s.
        joint_pos: (n,) rad each, in the arm's order.
        source: of which recording or episode of a dataset each is, from 0.
        taken: which of them became frames.
    """

    stamps: list[float] = field(default_factory=list)
    joint_pos: list[Array] = field(default_factory=list)
    source: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)

    def add(self, stamp_s: float, joint_pos: Array, source: int) -> None:
        """Note the next image, not taken so far."""
        self.stamps.append(stamp_s)
        self.joint_pos.append(joint_pos)
        self.source.append(source)

    def take(self) -> None:
        """Note that the last one became a frame."""
        self.taken.append(len(self.stamps) - 1)


@dataclass
class Recording:
    """One recording or several in a row, by one camera.

    Attributes:
        name: for messages.
        camera: its calibration; None where neither the recording nor the options have it.
        joint_names: the arm's, the order of `Frame.joint_pos`.
        notes: what the last whole pass over `frames` counted.
        track: where the arm was in it.
    """

    name: str
    camera: CameraModel | None
    joint_names: tuple[str, ...]
    sources: list[Source]
    arm: Arm
    options: ReadOptions
    notes: Notes = field(default_factory=Notes)
    track: Track = field(default_factory=Track)

    @property
    def count(self) -> int:
        """How many images there are, about, repeated ones included; 0 where nobody knows."""
        return sum(source.count for source in self.sources)

    def frames(self, progress: str = "") -> Iterator[Frame]:
        """Yield the frames in order of time, one in memory at a time; may be called again.

        Args:
            progress: what a progress bar says; none is shown without.

        Raises:
            InputError: as `JointReadings`, images of different sizes, or no frame at all.
        """
        notes, track = Notes(), Track()
        if not progress:
            yield from self._frames(notes, track, lambda count: None)
        else:
            with progress_bar(progress, self.count, "images") as advance:
                yield from self._frames(notes, track, advance)
        self.notes, self.track = notes, track
        if not notes.taken:
            raise InputError(f"{self.name}: expected images with joint states, got none: {_why(notes)}")

    def rectified(self, rgb: Image, camera_fov: float, size: tuple[int, int]) -> Image:
        """Return (H, W, 3) what the scene's ideal camera, of `camera_fov` rad vertically, would have seen.

        Raises:
            InputError: the camera's field of view is unknown or too small.
        """
        if self.camera:
            return self.camera.rectify(rgb, camera_fov, size)
        own_fov = self.options.camera_fov
        if own_fov is None:
            raise InputError(
                f"{self.name}: expected a camera_info with the images, got none: --camera-info FILE names "
                "one, or --camera-fov RAD for an undistorted camera"
            )
        zoom = zoom_for(own_fov, rgb.shape[:2], camera_fov, size, "scene")
        return RawImage(rgb, "rgb8").to_rgb(*size, zoom)

    def _frames(self, notes: Notes, track: Track, advance: Callable[[int], None]) -> Iterator[Frame]:
        shape: tuple[int, ...] | None = None
        for episode, source in enumerate(self.sources):
            for frame in _read(source, episode, self.arm, self.options, notes, track, advance):
                shape = shape or frame.rgb.shape
                if frame.rgb.shape != shape:
                    raise InputError(
                        f"{source.name}: expected images of {shape[1]}x{shape[0]} throughout, got "
                        f"{frame.rgb.shape[1]}x{frame.rgb.shape[0]} at {frame.stamp_s:.3f} s"
                    )
                notes.taken += 1
                yield frame


def open_recording(paths: Sequence[Path], scene: Scene, options: ReadOptions | None = None) -> Recording:
    """Open recordings of the scene's arm by one camera: bags, LeRobot's datasets, folders; images are not read yet.

    Raises:
        InputError: none that can be read, one given twice, topics that are ambiguous, joints missing, or cameras that
            differ.
    """
    options = options or ReadOptions()
    if not paths:
        raise InputError("expected at least one recording, got none")
    resolved = [expand_home(path).resolve() for path in paths]
    if twice := [str(path) for k, path in enumerate(paths) if resolved[k] in resolved[:k]]:
        raise InputError(f"expected recordings that differ, got {twice} more than once")
    sources = [source for path in paths for source in read_sources(expand_home(path), options)]
    given = read_camera_model(expand_home(options.camera_info)) if options.camera_info else None
    cameras = {given} if given else {source.camera for source in sources}
    if len(cameras) > 1:
        names = [source.name for source in sources]
        raise InputError(f"expected one camera in all recordings, got {len(cameras)} in {names}: import each alone")
    for source in sources:
        JointReadings(source, scene.arm, options)  # reports its errors now rather than later
    name = ", ".join(dict.fromkeys(str(path) for path in paths))
    return Recording(name, cameras.pop(), scene.arm.joint_names, sources, scene.arm, options)


def _read(
    source: Source,
    episode: int,
    arm: Arm,
    options: ReadOptions,
    notes: Notes,
    track: Track,
    advance: Callable[[int], None],
) -> Iterator[Frame]:
    """Yield one source's frames."""
    readings = JointReadings(source, arm, options)
    delay_s = find_delay(source, readings, options, notes)
    notes.remarks.extend(remark for remark in (*source.remarks, *readings.remarks) if remark not in notes.remarks)
    notes.not_finite += source.joints.not_finite
    motion, choice = MotionCount(notes, arm), _Choice(options, readings.span_s[1])
    for shot in source.shots():
        interrupts.check()
        advance(1)
        is_taken = choice.takes(shot, notes)
        if not is_taken and not choice.is_thinned:
            continue
        joint_pos = readings.at(shot.stamp_s - delay_s)
        if joint_pos is not None:
            track.add(shot.stamp_s, joint_pos, episode)
        if not is_taken:
            continue
        if joint_pos is None:
            notes.unmatched += 1
            continue
        try:
            rgb = shot.decode()
        except InputError as error:
            notes.damaged += 1
            notes.first_damage = notes.first_damage or str(error)
            continue
        motion.add(shot.stamp_s, joint_pos)
        track.take()
        yield Frame(shot.stamp_s, rgb, joint_pos, episode)
    motion.finish()
    notes.remarks.extend(remark for remark in source.remarks if remark not in notes.remarks)  # a file may end early


def find_delay(source: Source, readings: JointReadings, options: ReadOptions, notes: Notes) -> float:
    """Return by how much images are late, in s."""
    if options.delay != "estimate":
        notes.delay_s = options.delay
        return options.delay
    notes.delay_s, notes.delay_error_s = estimate_delay(source, readings)
    return notes.delay_s


class _Choice:
    """Which shots of a source become frames, as far as stamps and content say.

    Attributes:
        is_thinned: whether the last was left out for the requested rate alone.
    """

    def __init__(self, options: ReadOptions, end_s: float) -> None:
        """Start before the first; the recording ends at `end_s`."""
        self._options, self._end_s = options, end_s
        self._first_s = self._last_s = self._last_taken_s = -math.inf
        self._content: object = None
        self.is_thinned = False

    def takes(self, shot: Shot, notes: Notes) -> bool:
        """Return whether to take it; if not, `notes` count why."""
        notes.images += 1
        self.is_thinned = False
        if self._content is None:
            self._first_s = shot.stamp_s
        is_repeated = self._content is not None and shot.content == self._content
        self._content = shot.content
        if is_repeated and not self._options.repeated:
            notes.repeated += 1
        elif shot.stamp_s <= self._last_s:
            self._refuse_set_clock(shot.stamp_s)
            notes.backwards += 1
        elif self._options.leaves_out(shot.stamp_s, self._first_s, self._end_s):
            notes.skipped += 1
        elif self._options.is_early(shot.stamp_s, self._last_taken_s):
            notes.thinned += 1
            self.is_thinned = True
        else:
            self._last_taken_s = self._last_s = shot.stamp_s
            return True
        self._last_s = max(self._last_s, shot.stamp_s)
        return False

    def _refuse_set_clock(self, stamp_s: float) -> None:
        if self._last_s - stamp_s > _CLOCK_SET_S:
            raise InputError(
                f"expected images whose stamps increase, got one {self._last_s - stamp_s:.3g} s before the last: was "
                "the clock set? --stamps received takes the recorder's clock"
            )


def _why(notes: Notes) -> str:
    return notes.in_short() if notes.images else "there is no image"
