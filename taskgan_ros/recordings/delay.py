"""Estimates the delay of images by correlating motion in the images with motion of the joints."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.joint_readings import JointReadings
from taskgan_ros.recordings.source import Source

Array = NDArray[np.float64]

_WIDTH_PX: Final = 80  # of the images compared; finer shows noise
_LONGEST_S: Final = 120.0  # of a recording; more says nothing new
_MOST_S: Final = 1.0  # of delay, either way
_STEP_S: Final = 0.005  # between delays that are tried; a parabola goes between
_BLOCKS: Final = 5  # of the recording, each estimated by itself: their spread is the uncertainty
_LEAST_IMAGES: Final = 60
_LEAST_PEAK: Final = 0.5  # of correlation; below, motion in the images is not the arm's
_MOST_ERROR_S: Final = 0.05  # of the standard error: a frame and a half at 30 Hz


def estimate_delay(source: Source, readings: JointReadings) -> tuple[float, float]:
    """Return by how many s images are late, and the standard error, by cross-correlation with a sub-sample peak.

    Motion in the images is the root of the mean squared difference of one to the next; the arm's is the sum of its
    joints' speeds. The error is the spread of the estimates in five parts of the recording.

    Raises:
        InputError: too few images, a still arm, or an estimate that is too uncertain.
    """
    times, motion = _image_motion(source)
    if len(motion) < _LEAST_IMAGES:
        raise InputError(f"{source.name}: expected {_LEAST_IMAGES} images to estimate a delay, got {len(motion)}")
    delays = np.arange(-_MOST_S, _MOST_S + _STEP_S / 2, _STEP_S)
    correlations = np.array([_correlation(readings, times - delay, motion) for delay in delays])
    best, peak = _peak(delays, correlations)
    parts = np.array_split(np.arange(len(motion)), _BLOCKS)
    found = [_of_part(readings, times, motion, part, delays) for part in parts]
    known = np.array([delay for delay in found if delay is not None])
    error = float(np.std(known, ddof=1) / np.sqrt(len(known))) if len(known) > 1 else np.inf
    if peak < _LEAST_PEAK or error > _MOST_ERROR_S or abs(best) > _MOST_S - 2 * _STEP_S:
        raise InputError(
            f"{source.name}: expected motion in images and joints that fits at one delay, got {1e3 * best:.0f} ± "
            f"{1e3 * error:.0f} ms at a correlation of {peak:.2f}: let the arm start and stop several times, or give "
            "--delay in s"
        )
    return best, error


def _image_motion(source: Source) -> tuple[Array, Array]:
    """Return the stamps of T distinct images (T,) s, and the motion (T - 1,) from each to the next."""
    stamps: list[float] = []
    motion: list[float] = []
    last, content = None, None
    for shot in source.shots():
        interrupts.check()
        if stamps and shot.stamp_s - stamps[0] > _LONGEST_S:
            break
        if shot.content == content or (stamps and shot.stamp_s <= stamps[-1]):
            continue
        content = shot.content
        try:
            rgb = shot.decode()
        except InputError:
            continue
        height = max(1, round(_WIDTH_PX * rgb.shape[0] / rgb.shape[1]))
        small = cv2.resize(rgb, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        if last is not None and small.shape == last.shape:
            passed_s = shot.stamp_s - stamps[-1]
            motion.append(float(np.sqrt(np.mean((small - last) ** 2))) / passed_s)
        elif last is not None:
            continue
        stamps.append(shot.stamp_s)
        last = small
    return np.array(stamps), np.array(motion)


def _correlation(readings: JointReadings, times: Array, motion: Array) -> float:
    speed = readings.speed(times)
    first, last = readings.span_s
    inside = (times[:-1] >= first) & (times[1:] <= last)
    if inside.sum() < len(motion) // 2:
        return -1.0
    a, b = speed[inside] - speed[inside].mean(), motion[inside] - motion[inside].mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 1e-12 else -1.0


def _of_part(
    readings: JointReadings, times: Array, motion: Array, part: NDArray[np.intp], delays: Array
) -> float | None:
    """Return the delay that a part of the recording shows by itself, None where it shows none."""
    own = times[part[0] : part[-1] + 2]
    correlations = np.array([_correlation(readings, own - delay, motion[part]) for delay in delays])
    best, peak = _peak(delays, correlations)
    return best if peak >= _LEAST_PEAK else None


def _peak(delays: Array, correlations: Array) -> tuple[float, float]:
    """Return where the correlation is greatest, on the parabola through three points, and how great it is."""
    k = int(np.argmax(correlations))
    if k in (0, len(delays) - 1):
        return float(delays[k]), float(correlations[k])
    left, middle, right = correlations[k - 1 : k + 2]
    bend = left - 2 * middle + right
    shift = 0.0 if bend == 0 else float((left - right) / (2 * bend))
    return float(delays[k] + shift * _STEP_S), float(middle)
