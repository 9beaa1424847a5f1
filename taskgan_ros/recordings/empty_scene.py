"""The empty scene, estimated from a recording, and the evidence for the arm where a picture differs from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.robot.silhouette import Mask
from taskgan_ros.vision.contour_fit import Evidence

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_LEAST_SEEN = 3  # pictures in which a pixel must be free of the arm
_LEAST_NOISE = 6.0  # grey levels: what is nearer to the empty scene than so many standard deviations is the scene
_DIFFERENT = 2.8  # standard deviations: as likely the arm as not
_MOST_ODDS, _LEAST_ODDS = 3.0, -2.0  # of a pixel: a shadow differs too, and an arm may be like what is behind it
_SHADE = 0.55  # of the scene's brightness: the arm's shadow darkens it no further


@dataclass(frozen=True)
class BackgroundModel:
    """What a camera sees without the arm.

    Attributes:
        image: (H, W, 3) uint8; black where unknown.
        noise: (H, W, 3) float32, standard deviation in grey levels.
        is_known: (H, W) where enough pictures were free of the arm.
    """

    image: Image
    noise: NDArray[np.float32]
    is_known: Mask


def find_empty_scene(images: Sequence[Image], covered: Sequence[Mask]) -> BackgroundModel:
    """Return the median of the pictures (H, W, 3) uint8 where they are not `covered` (H, W) by the arm.

    A plain median keeps a ghost where the arm stood still. Leaving out the arm's own pixels avoids it, but leaves holes
    where the arm never moved away.
    """
    free = np.stack([~mask for mask in covered])
    count = free.sum(axis=0)
    median = _median(np.stack(images), free, count)
    off = np.stack([np.asarray(cv2.absdiff(image, median), np.uint8) for image in images])
    noise = 1.4826 * _median(off, free, count).astype(np.float32)
    is_known = count >= min(_LEAST_SEEN, len(images))
    return BackgroundModel(np.where(is_known[..., None], median, 0).astype(np.uint8), noise, is_known)


def motion_evidence(image: Image, scene: BackgroundModel, within: Mask) -> Evidence:
    """Return the log odds (H, W) that each pixel is the arm; 0 where the scene is unknown or outside `within` (H, W).

    A pixel that is merely darker than the scene counts as shadow.
    """
    here, there = image.astype(np.float32), scene.image.astype(np.float32)
    shade = np.clip((here * there).sum(-1) / np.maximum((there * there).sum(-1), 1.0), _SHADE, 1.0)[..., None]
    off = np.abs(here - shade * there) / np.maximum(scene.noise, _LEAST_NOISE)
    odds = np.clip((off.max(axis=-1) ** 2 - _DIFFERENT**2) / 2, _LEAST_ODDS, _MOST_ODDS)
    return np.where(scene.is_known & within, odds, 0).astype(np.float32)


def mask_evidence(mask: Mask) -> Evidence:
    """Return the log odds (H, W) of pixels from a known mask."""
    return np.where(mask, _MOST_ODDS, -_MOST_ODDS).astype(np.float32)


def _median(values: NDArray[np.uint8], free: Mask, count: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return the median (H, W, 3) over pictures (n, H, W, 3) of the free ones, `count` (H, W) of them a pixel."""
    ordered = np.sort(np.where(free[..., None], values, 255), axis=0)  # those that do not count come last
    middle = np.maximum(count - 1, 0) // 2
    median: NDArray[np.uint8] = np.take_along_axis(ordered, middle[None, ..., None], axis=0)[0]
    return median
