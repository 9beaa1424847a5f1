"""How often the guard notices out-of-distribution images, beside how often it objects to good ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import tyro
import yaml
from numpy.typing import NDArray
from report import Row, report

from taskgan_ros.core.config import read_yaml, resolve
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.policy.bundle import Bundle, load_bundle
from taskgan_ros.policy.guard import CAMERA, POSE, Guard
from taskgan_ros.policy.policy import Policy
from taskgan_ros.reach.parameters import ReachParameters
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.sim.evaluate import rollout, run_episodes
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of

Images = NDArray[np.uint8]
Array = NDArray[np.float64]
Change = Callable[[Images, np.random.Generator], Images]

SEED = 7  # of neither training nor the guard's limits
FALSE_ALARMS = 0.01
IN_A_ROW, TOLERANCE = ReachParameters().guard_images, ReachParameters().guard_tolerance
SHOWN = 6  # images a row of the picture


@dataclass(frozen=True)
class Config:
    """Measure the guard of a bundle in its own domain."""

    bundle: str = "reach_target_wood"
    """A shipped bundle's name or a folder."""
    episodes: int = 60
    """Episodes of 16 good images along the expert's path; every corruption is made from the same images."""
    closed_loop: int = 50
    """Episodes that the policy drives, to count false alarms in."""
    out: Path | None = None
    """JSON to write."""
    picture: Path | None = None
    """PNG to draw of what was tried."""


@dataclass(frozen=True)
class Shots:
    """Images (N, H, W, 3) and the arm's angles (N, n) rad that go with them, T of an episode in a row."""

    images: Images
    joint_pos: Array
    per_episode: int


def shoot(scene: ReachScene, domain: str, size: tuple[int, int], episodes: int, seed: int = SEED) -> Shots:
    """Take images along the expert's ways, each episode with a look of its own."""
    images, poses, per_episode = [], [], 0
    with Cell(scene, load_domain(domain), size) as cell:
        for index in range(episodes):
            states = scene.path(scene.sample_start(seed, index))
            look, per_episode = cell.sample_look(seed, index), len(states)
            images += [cell.render(state, look, k * scene.step_s) for k, state in enumerate(states)]
            poses += [state.joint_pos for state in states]
    return Shots(np.stack(images), np.array(poses), per_episode)


# What may be wrong with an image.


def filled(value: int) -> Change:
    """Show nothing but one brightness, with a sensor's noise."""
    return lambda images, rng: noisy(np.full_like(images, value), rng, 3.0)


def noisy(images: Images, rng: np.random.Generator, deviation: float) -> Images:
    """Add noise of `deviation` in bytes."""
    noise = rng.normal(0, deviation, images.shape).astype(np.float32)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def half_covered(images: Images, rng: np.random.Generator) -> Images:
    """Cover the left half of the lens."""
    covered = images.copy()
    covered[:, :, : images.shape[2] // 2] = 20
    return noisy(covered, rng, 3.0)


def with_a_hand(images: Images, rng: np.random.Generator) -> Images:
    """Put a disc of skin's colour somewhere into each image, a third of it wide."""
    shown = images.copy()
    height, width = images.shape[1:3]
    for image in shown:
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(image, centre, width // 6, (204, 150, 120), -1)
    return shown


def brighter(factor: float) -> Change:
    """Expose longer, or less."""
    return lambda images, _: np.clip(images * np.float32(factor), 0, 255).astype(np.uint8)


def moved(shift_px: float = 0.0, turn_deg: float = 0.0) -> Change:
    """Move the picture to the right, and turn it."""

    def change(images: Images, _: np.random.Generator) -> Images:
        height, width = images.shape[1:3]
        matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), turn_deg, 1.0)
        matrix[0, 2] += shift_px
        how = {"borderMode": cv2.BORDER_REFLECT}
        return np.stack([cv2.warpAffine(image, matrix, (width, height), **how) for image in images])  # type: ignore[call-overload]

    return change


def blurred(images: Images, _: np.random.Generator) -> Images:
    """Put the lens out of focus."""
    return np.stack([cv2.GaussianBlur(image, (0, 0), 3.0) for image in images])


CHANGES: dict[str, Change] = {
    "lens covered": filled(15),
    "black": lambda images, _: np.zeros_like(images),
    "white": filled(255),
    "half covered": half_covered,
    "saturated: twice as bright": brighter(2.0),
    "dark: 0.4 as bright": brighter(0.4),
    "noise alone": lambda images, rng: rng.integers(0, 256, images.shape, dtype=np.uint8),
    "noisy: 25 of 255": lambda images, rng: noisy(images, rng, 25.0),
    "out of focus": blurred,
    "red and blue swapped": lambda images, _: np.ascontiguousarray(images[..., ::-1]),
    "no colours": lambda images, _: np.repeat(images.mean(-1, keepdims=True).astype(np.uint8), 3, -1),
    "a hand in front": with_a_hand,
    "mirrored": lambda images, _: np.ascontiguousarray(images[:, :, ::-1]),
    "upside down": lambda images, _: np.ascontiguousarray(images[:, ::-1, ::-1]),
    "picture shifted by 2 px": moved(shift_px=2),
    "picture shifted by 4 px": moved(shift_px=4),
    "picture shifted by 10 px": moved(shift_px=10),
    "picture turned by 3 degrees": moved(turn_deg=3),
    "picture turned by 5 degrees": moved(turn_deg=5),
    "picture turned by 10 degrees": moved(turn_deg=10),
}
CAMERAS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {  # moved by, looks past by: m
    "camera moved by 2 cm": ((0.02, 0.0, 0.0), (0.0, 0.0, 0.0)),
    "camera moved by 5 cm": ((0.05, 0.0, 0.0), (0.0, 0.0, 0.0)),
    "camera moved by 10 cm": ((0.1, 0.0, 0.0), (0.0, 0.0, 0.0)),
    "camera looks 2 cm past": ((0.0, 0.0, 0.0), (0.02, 0.0, 0.0)),
    "camera looks 5 cm past": ((0.0, 0.0, 0.0), (0.05, 0.0, 0.0)),
}
SCENES = ("target_a", "target_b", "source", "real_standin")
LAGS = (2, 4, 8)  # sixteenths of a path


def with_camera(bundle: Bundle, by: tuple[float, ...], past: tuple[float, ...]) -> ReachScene:
    """Return the bundle's scene with its camera moved by, and looking past its target by, so many m."""
    values = read_yaml(resolve("scenes", bundle.scene_name))
    camera = values["camera"]
    moved_to = {"position": np.add(camera["position"], by), "target": np.add(camera["target"], past)}
    values["camera"] = camera | {name: vector.tolist() for name, vector in moved_to.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return load_scene_of(ReachScene, path)


def tries(bundle: Bundle, scene: ReachScene, good: Shots, episodes: int) -> Iterator[tuple[str, Shots]]:
    """Yield what is tried: its name, its images, and the angles that are measured meanwhile."""
    size = bundle.card.image.shape
    for name, change in CHANGES.items():
        yield name, replace(good, images=change(good.images, np.random.default_rng(SEED)))
    for name, (by, past) in CAMERAS.items():
        yield name, shoot(with_camera(bundle, by, past), bundle.card.target_domain, size, episodes)
    for domain in SCENES:
        yield f"another scene: {domain}", shoot(scene, domain, size, episodes)
    films = good.images.reshape(-1, good.per_episode, *good.images.shape[1:])
    poses = good.joint_pos.reshape(-1, good.per_episode, good.joint_pos.shape[1])
    for lag in LAGS:
        old, now = films[:, :-lag].reshape(-1, *good.images.shape[1:]), poses[:, lag:]
        way = np.abs(now - poses[:, :-lag]).max(-1).mean()
        yield (
            f"late: the arm is {way:.2f} rad further",
            Shots(old, now.reshape(-1, poses.shape[-1]), good.per_episode - lag),
        )


def judge(policy: Policy, bundle: Bundle, shots: Shots) -> tuple[Array, Array]:
    """Return scores (N, 2), camera and pose, and the policy's commands (N, J)."""
    guard, scores, commands = Guard(bundle), [], []
    for image, joint_pos in zip(shots.images, shots.joint_pos, strict=True):
        guard.forget()  # each by itself: what a frozen camera repeats is another matter
        prediction = policy.act(image[None], joint_pos[None], want_translated=True)
        assert prediction.translated is not None
        values = guard.score(image, prediction.translated[0], joint_pos).values
        scores.append([values[CAMERA], values[POSE]])
        commands.append(prediction.commands[0, 0])
    return np.array(scores), np.array(commands)


def false_alarms(policy: Policy, bundle: Bundle, scene: ReachScene, episodes: int) -> Row:
    """Let the policy drive and return how often the guard, as it is by default, would have objected and stopped."""
    objections: list[NDArray[np.bool_]] = []

    def run_chunk(indices: range) -> Array:
        guards, steps = [Guard(bundle) for _ in indices], []

        def act(images: Images, joint_pos: Array) -> Array:
            prediction = policy.act(images, joint_pos, want_translated=True)
            assert prediction.translated is not None
            scored = zip(guards, images, prediction.translated, joint_pos, strict=True)
            steps.append([bool(guard.score(*shot).objection(TOLERANCE)) for guard, *shot in scored])
            return prediction.commands[:, 0]

        with Cell(scene, load_domain(bundle.card.target_domain), bundle.card.image.shape) as cell:
            distances = rollout(scene, cell, act, SEED + 1, indices)
        objections.append(np.array(steps).T)
        return distances

    run_episodes(run_chunk, episodes, scene, workers=1, title="guard: closed loop")
    is_rejected = np.concatenate(objections)
    in_a_row = np.all(np.lib.stride_tricks.sliding_window_view(is_rejected, IN_A_ROW, axis=1), axis=2)
    stops = np.count_nonzero(np.any(in_a_row, axis=1))
    return {
        "good images objected to while the policy drives, %": 100 * float(is_rejected.mean()),
        f"episodes with {IN_A_ROW} such in a row, which stop the arm": f"{stops} of {episodes}",
    }


def draw(path: Path, examples: list[tuple[str, Images]]) -> None:
    """Draw some images of everything that was tried."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = 3
    rows = -(-len(examples) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(15, 1.15 * rows), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, images) in zip(axes.T.flat, examples, strict=False):
        some = images[np.linspace(0, len(images) - 1, SHOWN).astype(int)]
        axis.imshow(np.concatenate(list(some[:, ::2, ::2]), axis=1))
        axis.set_title(name, fontsize=8, loc="left", pad=2)
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main(config: Config) -> None:
    """Measure, print, write."""
    bundle = load_bundle(config.bundle)
    scene, policy = load_scene_of(ReachScene, bundle.scene_name), Policy(bundle)
    good = shoot(scene, bundle.card.target_domain, bundle.card.image.shape, config.episodes)
    base, wanted = judge(policy, bundle, good)
    usual = float(np.sqrt(np.mean(wanted**2)))
    single = np.quantile(base, 1 - FALSE_ALARMS, axis=0)
    either = float(np.quantile((base / single).max(axis=1), 1 - FALSE_ALARMS))
    rows: list[Row] = []
    examples: list[tuple[str, Images]] = []
    tried = (
        (name, shots.images, *judge(policy, bundle, shots))
        for name, shots in tries(bundle, scene, good, config.episodes)
    )
    total = 1 + len(CHANGES) + len(CAMERAS) + len(SCENES) + len(LAGS)
    with progress_bar("guard", total, "corruptions") as advance:
        for name, images, scores, commands in chain([("good images", good.images, base, wanted)], tried):
            same = len(commands) == len(wanted)
            error = float(np.median(np.sqrt(np.mean((commands - wanted) ** 2, axis=1)))) / usual if same else np.nan
            rows.append(
                {
                    "images": name,
                    "camera %": 100 * float(np.mean(scores[:, 0] > single[0])),
                    "pose %": 100 * float(np.mean(scores[:, 1] > single[1])),
                    "either %": 100 * float(np.mean((scores / single).max(axis=1) > either)),
                    "by default %": 100 * float(np.mean(scores.max(axis=1) > TOLERANCE)),
                    "command off by": error if same else "",
                }
            )
            examples.append((f"{name}: {rows[-1]['either %']:.0f} %", images))
            advance(1)
    summary = false_alarms(policy, bundle, scene, config.closed_loop)
    title = f"images noticed, {100 * FALSE_ALARMS:g} % of good ones too; by default: above {TOLERANCE:g} limits"
    report(title, rows, config.out, summary)
    if config.picture:
        draw(config.picture, examples)


if __name__ == "__main__":
    main(tyro.cli(Config))
