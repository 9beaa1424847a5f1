"""The out-of-distribution check: scores of an image by `guard.onnx` and the joint states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.bundle import GUARD, IMAGE, JOINT_POS, SCORES, TRANSLATED, Bundle
from taskgan_ros.robot.angles import angle_difference

Array = NDArray[np.float64]

CAMERA, TRANSLATION, POSE, FROZEN = "camera", "translation", "pose", "frozen"
_SENTENCES = {
    CAMERA: "its colours and brightness are not those of the target images",
    TRANSLATION: "its translation looks like nothing in the simulation",
    POSE: "its translation shows the arm where the joint states say it is not",
    FROZEN: "it equals the previous image in every pixel, although the arm has moved",
}
# Advice if most images are like this: then not one image is odd, but a camera, light or scene is new.
_ADVICE = (
    "if all of this scene is new: `taskgan adapt` on a recording of it, or `taskgan guard --new-look` if it arrives"
)
_MOVED_RAD = 0.03  # of a joint; a camera that sees the arm must then give another image


@dataclass(frozen=True)
class Scores:
    """How unusual an image is, each score in units of its limit: good images of the bundle are below 1."""

    values: dict[str, float]

    @property
    def worst(self) -> float:
        """The largest; infinite where one is not a number."""
        return max(map(_or_infinite, self.values.values()), default=0.0)

    def objection(self, tolerance: float) -> str:
        """Return why the image is unlike training and what to do, or nothing if no score is above `tolerance`."""
        if self.worst <= tolerance:
            return ""
        name = max(self.values, key=lambda name: _or_infinite(self.values[name]))
        text = f"{_SENTENCES.get(name, name)} ({name} score {self.values[name]:.2f}, expected at most {tolerance:g})"
        return text if name == FROZEN else f"{text}; {_ADVICE}"


class Guard:
    """Scores images in the order of their arrival; not thread-safe, because it remembers the last.

    - `camera`: Mahalanobis distance of the camera image, coarse, from the target images.
    - `pose`: difference of the measured joint angles from those read out of f_X's last convolution on F(image), in
      units of its usual size. For bundles of joint velocities.
    - `translation`: as `camera`, of F(image) from the simulation's images. For bundles of joint angles.
    - `frozen`: infinite for the same pixels again although a joint has moved, else 0.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Load the bundle's guard.

        Raises:
            InputError: it has none.
        """
        if bundle.card.guard is None:
            raise InputError(f"{bundle.path}: expected a bundle with {GUARD}, got one without: `taskgan guard` adds it")
        self._names = bundle.card.guard.scores
        self._size, self._joints = bundle.card.image.shape, len(bundle.arm.joint_names)
        self._is_continuous = bundle.arm.is_continuous
        self._driven = bundle.driven
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # half a millisecond of one
        options.log_severity_level = 3
        self._session = ort.InferenceSession(bundle.path / GUARD, options, providers=["CPUExecutionProvider"])
        self._last: tuple[NDArray[np.uint8], Array] | None = None

    def score(self, image: NDArray[np.uint8], translated: NDArray[np.uint8], joint_pos: Array) -> Scores:
        """Return the scores of an image.

        Args:
            image: (H, W, 3) uint8 RGB, as the policy took it.
            translated: (H, W, 3) uint8 RGB, F(image).
            joint_pos: (n,) rad, all of the arm's joints, when the image was taken.
        """
        inputs = {
            IMAGE: image[None],
            TRANSLATED: translated[None],
            JOINT_POS: joint_pos[self._driven].astype(np.float32)[None],
        }
        (scores,) = self._session.run([SCORES], inputs)
        values = dict(zip(self._names, scores[0].astype(float).tolist(), strict=True))
        return Scores({**values, FROZEN: np.inf if self._is_frozen(image, joint_pos) else 0.0})

    def warm_up(self) -> None:
        """Score a black image: a guard that loads may still fail to run, which must show before the arm moves.

        Raises:
            InputError: a score is not finite.
        """
        black = np.zeros((*self._size, 3), np.uint8)
        scores = self.score(black, black, np.zeros(self._joints))
        self.forget()
        if not np.isfinite(scores.worst):
            raise InputError(f"{GUARD}: expected finite scores of a black image, got {scores.values}")

    def forget(self) -> None:
        """Compare the next image with none before it."""
        self._last = None

    def _is_frozen(self, image: NDArray[np.uint8], joint_pos: Array) -> bool:
        """Return whether the pixels are those of the image before, from when the arm stood elsewhere."""
        if self._last is None or not np.array_equal(image, self._last[0]):
            self._last = image.copy(), joint_pos.copy()
            return False
        way = angle_difference(joint_pos, self._last[1], self._is_continuous)
        return bool(np.max(np.abs(way[self._driven])) > _MOVED_RAD)


def _or_infinite(score: float) -> float:
    return score if np.isfinite(score) else np.inf
