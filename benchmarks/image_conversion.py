"""How long images take from a message to the 128x128 RGB of a policy, and from RGB to a message: by cv_bridge or not.

Needs cv_bridge. Each figure is a median of `repeats` conversions on one thread.
"""

from __future__ import annotations

import statistics
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from report import Row, report
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes.image_conversion import BRIDGE, converted, image_message, raw_image, read_compressed_message
from taskgan_ros.vision.images import sample_size

SIZES = ((128, 128), (480, 640))
RAW = (("rgb8", 0), ("rgb8", 1), ("bgr8", 0), ("bayer_rggb8", 0))  # and how far each row is padded, in bytes
WANTED = (128, 128)
WARM_UP = 10


@dataclass(frozen=True)
class Config:
    """Time the conversion of images."""

    repeats: int = 200
    """Conversions that each median is of."""
    out: Path | None = None
    """JSON to write."""


def median_ms(convert: Callable[[], Any], repeats: int) -> float:
    """Return the median time of a call in ms."""
    times = []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        convert()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """Return smooth colours, which compress as a photograph does."""
    small = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def read_raw(encoding: str, padding: int, height: int, width: int) -> Callable[[Any], Any]:
    """Return what reads an image of random pixels by a bridge, or by none."""
    channels, sample_bytes = sample_size(encoding)
    message = Image(height=height, width=width, encoding=encoding, step=width * channels * sample_bytes + padding)
    message.data = array("B", np.random.default_rng(0).bytes(height * message.step))
    return lambda bridge: converted(message, raw_image(message), bridge).to_rgb(*WANTED)


def read_file(kind: str, height: int, width: int) -> Callable[[Any], Any]:
    """Return what reads a JPEG or PNG by a bridge, or by none."""
    message = CompressedImage(format=kind)
    message.data = array("B", cv2.imencode(f".{kind}", photograph(height, width))[1].tobytes())
    return lambda bridge: read_compressed_message(message, bridge=bridge).to_rgb(*WANTED)


def cases(height: int, width: int) -> dict[str, Callable[[Any], Any]]:
    """Return all that is timed for a size."""
    raw = {f"{name}{', padded' if pad else ''}": read_raw(name, pad, height, width) for name, pad in RAW}
    files = {kind: read_file(kind, height, width) for kind in ("jpeg", "png")}
    rgb = photograph(height, width)
    return raw | files | {"rgb8 out": lambda bridge: image_message(rgb, Header(), bridge)}


def main(config: Config) -> None:
    """Measure every case by both."""
    if BRIDGE is None:
        raise InputError("expected cv_bridge, which this compares with, got none that works")
    cv2.setNumThreads(1)
    rows: list[Row] = []
    for height, width in SIZES:
        for name, convert in cases(height, width).items():
            ours = median_ms(lambda convert=convert: convert(None), config.repeats)  # type: ignore[misc]
            theirs = median_ms(lambda convert=convert: convert(BRIDGE), config.repeats)  # type: ignore[misc]
            size = f"{width}x{height}"
            rows.append({"size": size, "image": name, "ours ms": ours, "cv_bridge ms": theirs, "ratio": theirs / ours})
    report("images from and to messages", rows, config.out)


if __name__ == "__main__":
    main(tyro.cli(Config))
