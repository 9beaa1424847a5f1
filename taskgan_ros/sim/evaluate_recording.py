"""Open-loop evaluation of a bundle on recorded frames: label errors, translations, the guard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.data.dataset import Dataset, load_dataset
from taskgan_ros.policy.bundle import Bundle
from taskgan_ros.policy.guard import Guard
from taskgan_ros.policy.policy import Policy
from taskgan_ros.robot.angles import whole_turns
from taskgan_ros.robot.units import JOINT_GOALS
from taskgan_ros.sim.recorded_states import with_joint_goals
from taskgan_ros.tasks.registry import load_scene

Array = NDArray[np.float64]
Images = NDArray[np.uint8]

_BATCH = 32
_WORST = 10  # frames that a summary names
_WINDOW_PX, _C1, _C2 = 7, (0.01 * 255) ** 2, (0.03 * 255) ** 2  # structural similarity's, as scikit-image has them


@dataclass(frozen=True)
class RecordedErrors:
    """A bundle on N recorded frames. None where the recording or the bundle has nothing to compare with.

    Attributes:
        data: the frames.
        read: (N, J) what the bundle reads from the images, in the units of the labels: commands, or joint goals.
        translated: (N, H, W, 3) uint8, F(image).
        label: (N,) root mean square over the joints of what is read minus the label.
        l1: (N,) mean |difference| of translation and plain render, of values in [0, 1].
        ssim: (N,) their structural similarity; 1 where they are equal (Wang et al. 2004).
        guard: (N,) the guard's worst score; above 1 the frame is flagged.
    """

    data: Dataset
    read: Array
    translated: Images | None
    label: Array | None
    l1: Array | None
    ssim: Array | None
    guard: Array | None

    @property
    def worst_first(self) -> NDArray[np.intp]:
        """(N,) the frames in the order of their label errors; without labels, of what else there is."""
        similarity = None if self.ssim is None else -self.ssim
        found = next((values for values in (self.label, similarity, self.guard) if values is not None), None)
        return np.arange(len(self.data)) if found is None else np.argsort(-found, kind="stable")


def measure_recording(bundle: Bundle, data: Dataset, what: str, translate: bool = True) -> RecordedErrors:
    """Run a bundle over recorded frames.

    Args:
        bundle: to measure.
        data: frames that were not used in training; otherwise the figures are too good.
        what: names the frames in errors.
        translate: whether the translator stands before the task model.

    Raises:
        InputError: frames of another task, other joints or another size.
    """
    card = bundle.card
    if card.labels == JOINT_GOALS and data.info.task != JOINT_GOALS:
        data = _with_goals(bundle, data, what)
    taken = (data.info.task, data.info.action_names, data.images.shape[1:3])
    expected = (card.labels, card.joint_names, card.image.shape)
    if taken != expected:
        raise InputError(f"{what}: expected labels, joints and images of {card.name}, {expected}, got {taken}")
    policy = Policy(bundle, translate=translate)
    read, translated = _act(policy, data)
    if card.approach_rate is not None:
        read = _goals(bundle, read, data)
    if data.info.units == "rad":
        read = _counted_as(bundle, read, data.actions.astype(np.float64))
    label = None
    if np.ptp(data.actions, axis=0).any() or data.info.task == JOINT_GOALS:  # one goal for all is a label too
        label = np.sqrt(np.square(read - data.actions).mean(axis=1))
    l1 = ssim = None
    if data.paired is not None and translated is not None:
        pairs = list(zip(translated, data.paired, strict=True))
        l1 = np.array([np.abs(one.astype(np.int16) - other).mean() / 255 for one, other in pairs])
        ssim = np.array([structural_similarity(one, other) for one, other in pairs])
    guard = None
    if card.guard is not None and translated is not None:
        guard = _score(Guard(bundle), data, translated)
    return RecordedErrors(data, read, translated, label, l1, ssim, guard)


def _with_goals(bundle: Bundle, data: Dataset, what: str) -> Dataset:
    try:
        return with_joint_goals(data, load_scene(bundle.scene_name))
    except InputError as error:
        raise InputError(f"{what}: expected joint goals, which {bundle.card.name} predicts: {error}") from error


def _goals(bundle: Bundle, commands: Array, data: Dataset) -> Array:
    """Return the joint goals (N, J) rad from which commands (N, J) rad/s came."""
    assert bundle.card.approach_rate is not None
    return data.joint_pos[:, bundle.driven] + commands / bundle.card.approach_rate


def _counted_as(bundle: Bundle, angles: Array, labels: Array) -> Array:
    """Return angles (N, J) rad with as many whole turns as the labels have."""
    return angles - whole_turns(angles - labels, bundle.arm.is_continuous[bundle.driven])


def summarise_recording(errors: RecordedErrors) -> dict[str, Any]:
    """Return the figures of all frames, and those of each under `frames`, the worst first.

    `constant_rms` is the error of always answering with the mean of these frames' own labels: what a model that sees
    nothing could reach at best.
    """
    data = errors.data
    figures: dict[str, Any] = {"images": len(data), "episodes": data.info.episodes, "units": data.info.units}
    if errors.label is not None:
        difference = errors.read - data.actions
        figures["label_rms"] = _root_mean_square(difference)
        figures["label_rms_per_joint"] = {
            name: _root_mean_square(difference[:, k]) for k, name in enumerate(data.info.action_names)
        }
        figures["constant_rms"] = _root_mean_square(data.actions - data.actions.mean(axis=0))
        if data.info.units == "rad":
            figures["label_rms_deg"] = float(np.rad2deg(figures["label_rms"]))
            figures["l2"] = float(np.square(difference / (2 * np.pi)).mean())
    if errors.ssim is not None and errors.l1 is not None:
        figures |= {"ssim": float(errors.ssim.mean()), "l1": float(errors.l1.mean())}
    if errors.guard is not None:
        figures["flagged_share"] = float((errors.guard > 1).mean())
    return {**figures, "frames": [_frame(errors, int(k)) for k in errors.worst_first]}


def evaluate_recording(bundle: Bundle, path: Path, translate: bool = True) -> tuple[dict[str, Any], list[str]]:
    """Return the figures of a recording's frames, and lines that report them.

    Raises:
        InputError: as `measure_recording`, or no dataset.
    """
    errors = measure_recording(bundle, load_dataset(path), str(path), translate)
    figures = summarise_recording(errors)
    return figures, describe_recording(figures, f"{bundle.card.name} on {path}")


def describe_recording(figures: dict[str, Any], what: str) -> list[str]:
    """Return lines that report the figures of `summarise_recording`."""
    parts = []
    if "label_rms" in figures:
        found = f"label error {figures['label_rms']:.3g} {figures['units']}"
        parts.append(f"{found} (predicting their mean: {figures['constant_rms']:.3g})")
    else:
        parts.append("no labels, so the commands were not checked")
    if "ssim" in figures:
        parts.append(f"translations to plain renders: SSIM {figures['ssim']:.3f}, L1 {figures['l1']:.3f}")
    if "flagged_share" in figures:
        parts.append(f"the guard flags {figures['flagged_share']:.0%}")
    lines = [f"{what}: {figures['images']} frames of {figures['episodes']} episodes: {'; '.join(parts)}"]
    worst = [frame for frame in figures["frames"][:_WORST] if "label_error" in frame]
    if worst:
        named = ", ".join(f"{one['frame']} (episode {one['episode']}): {one['label_error']:.3g}" for one in worst)
        lines.append(f"worst frames: {named}")
    return lines


def structural_similarity(one: Images, other: Images) -> float:
    """Return the structural similarity of two images (H, W, 3) uint8, in windows of 7 pixels (Wang et al. 2004)."""
    x, y = one.astype(np.float64), other.astype(np.float64)
    unbiased = _WINDOW_PX**2 / (_WINDOW_PX**2 - 1)

    def mean(values: Array) -> Array:
        return cv2.blur(values, (_WINDOW_PX, _WINDOW_PX)).astype(np.float64)

    mx, my = mean(x), mean(y)
    vx, vy, vxy = (unbiased * (mean(a * b) - p * q) for a, b, p, q in ((x, x, mx, mx), (y, y, my, my), (x, y, mx, my)))
    map_ = ((2 * mx * my + _C1) * (2 * vxy + _C2)) / ((mx**2 + my**2 + _C1) * (vx + vy + _C2))
    edge = _WINDOW_PX // 2
    return float(map_[edge:-edge, edge:-edge].mean())


def _act(policy: Policy, data: Dataset) -> tuple[Array, Images | None]:
    commands, translated = [], []
    with progress_bar("evaluate on the recording", len(data), "frames") as advance:
        for k in range(0, len(data), _BATCH):
            interrupts.check()
            images, joint_pos = data.images[k : k + _BATCH], data.joint_pos[k : k + _BATCH].astype(np.float64)
            predicted = policy.act(images, joint_pos, want_translated=policy.translate)
            commands.append(predicted.commands[:, 0])
            if predicted.translated is not None:
                translated.append(predicted.translated)
            advance(len(images))
    return np.concatenate(commands), np.concatenate(translated) if translated else None


def _score(guard: Guard, data: Dataset, translated: Images) -> Array:
    worst = []
    for image, seen, joint_pos in zip(data.images, translated, data.joint_pos.astype(np.float64), strict=True):
        guard.forget()  # frames of a dataset are not a stream
        worst.append(guard.score(image, seen, joint_pos).worst)
    return np.array(worst)


def _frame(errors: RecordedErrors, k: int) -> dict[str, Any]:
    values = {"label_error": errors.label, "ssim": errors.ssim, "l1": errors.l1, "guard": errors.guard}
    known = {name: round(float(found[k]), 5) for name, found in values.items() if found is not None}
    return {"frame": k, "episode": int(errors.data.episode[k]), **known}


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean()))
