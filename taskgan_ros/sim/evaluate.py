"""`taskgan evaluate`: how often a bundle arrives in the simulated cell, without ROS (section 4.1.1's metric)."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.limits import integrate
from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free, whole
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.core.streams import check_shown
from taskgan_ros.policy.bundle import Bundle, BundleCard, load_bundle
from taskgan_ros.policy.policy import Policy
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.sim.pool import check_workers, run_parallel
from taskgan_ros.tasks.registry import load_motion_scene
from taskgan_ros.tasks.scene import MotionScene
from taskgan_ros.tasks.state import check_seed_range

TEST_SEED = 1000  # training data is collected with small seeds
_LOCKSTEP = 10  # episodes that step together, one batch per step; enough to fill a core

Array = NDArray[np.float64]
Act = Callable[[NDArray[np.uint8], Array], Array]


@dataclass(frozen=True)
class EvaluateConfig:
    """Close the loop in simulation and count the episodes that end within the threshold; or measure on a recording."""

    bundle: str
    """A shipped bundle's name or a folder."""
    domain: str = ""
    """A shipped domain's name or a YAML file, to close the loop in."""
    episodes: int = 100
    """The paper's."""
    seed: int = TEST_SEED
    """Seed of the starts; it must differ from the training data's."""
    translate: bool = True
    """Whether to run the translator before the task model; --no-translate runs the task model alone."""
    json: Path | None = None
    """Where to write the figures; must not exist."""
    workers: int = os.cpu_count() or 1
    """Number of processes that render and predict."""
    scene: str = ""
    """The scene to simulate, by name or YAML file, if the bundle's own scene is miscalibrated."""
    recording: Path | None = None
    """A dataset of recorded frames that were not used in training, in place of a domain: errors by frame."""


def evaluate(config: EvaluateConfig) -> dict[str, object]:
    """Run the episodes and return the figures, as `--json` writes them.

    Raises:
        InputError: unknown names, a bundle for another arm or task, a seed that trained it, an output that exists or
            cannot be written, no worker or one that was killed, figures that are neither written nor shown.
    """
    if config.json:
        check_free(config.json)
    if bool(config.domain) == bool(config.recording):
        got = "both" if config.domain else "neither"
        raise InputError(f"expected --domain to close the loop in, or --recording to measure on, got {got}")
    check_workers(config.workers)
    bundle = load_bundle(config.bundle)
    if config.recording:
        return _evaluate_recorded(config, bundle, config.recording)
    load_domain(config.domain)  # checked here, loaded again by each worker
    scene = load_motion_scene(config.scene or bundle.scene_name)
    check_seed(bundle.card, config.seed)
    if config.scene and scene.arm.name != bundle.arm.name:
        raise InputError(
            f"{config.scene}: expected a scene of {bundle.arm.name}, the bundle's arm, got {scene.arm.name}"
        )
    check_scene(bundle.card, scene)
    if not config.scene:
        check_arm(bundle, scene)
    if config.episodes < 1:
        raise InputError(f"expected at least 1 episode, got {config.episodes}")
    scene.sample_start(config.seed, 0)
    if config.json:
        _check_place(config.json)
    run = partial(_run_chunk, config)
    distances = run_episodes(run, config.episodes, scene, config.workers, f"evaluate in {config.domain}")
    figures = summarise(distances, scene, config)
    distance = f"{figures['final_distance_mean_m']:.3f} ± {figures['final_distance_std_m']:.3f} m"
    success = f"{figures['success_rate']:.0%} of {config.episodes} episodes"
    _give(config, figures, [f"{config.bundle} in {config.domain}: {success}, final distance {distance}"])
    return figures


def _evaluate_recorded(config: EvaluateConfig, bundle: Bundle, recording: Path) -> dict[str, object]:
    from taskgan_ros.sim.evaluate_recording import evaluate_recording  # here: a simulated cell does without h5py

    if config.json:
        _check_place(config.json)
    with interrupts.deferred():
        figures, lines = evaluate_recording(bundle, recording, config.translate)
    about = {"recording": str(recording), "bundle": config.bundle, "translate": config.translate}
    figures |= {**about, "command": _command(config)}
    _give(config, figures, lines)
    return figures


def _give(config: EvaluateConfig, figures: dict[str, object], lines: list[str]) -> None:
    """Write and print the figures; they are shown even where they cannot be written."""
    try:
        if config.json:
            with whole(config.json, "the figures above") as file:
                file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    finally:
        for line in lines:
            print_line(line)
    if not config.json:
        check_shown("the figures")


def summarise(distances: Array, scene: MotionScene, config: EvaluateConfig) -> dict[str, object]:
    """Return the figures of episodes whose distances (E, steps + 1) in m are given."""
    return {
        **arrivals(distances, scene),
        "domain": config.domain,
        "bundle": config.bundle,
        "seed": config.seed,
        "translate": config.translate,
        "command": _command(config),
    }


def arrivals(distances: Array, scene: MotionScene) -> dict[str, float]:
    """Return how many of the episodes whose distances (E, steps + 1) in m are given end within the threshold."""
    final = distances[:, -1]
    return {
        "success_rate": float((final < scene.threshold_m).mean()),
        "final_distance_mean_m": float(final.mean()),
        "final_distance_std_m": float(final.std()),
        "episodes": len(final),
        "steps": distances.shape[1] - 1,
        "threshold_m": scene.threshold_m,
    }


def run_episodes(
    run_chunk: Callable[[range], Array], episodes: int, scene: MotionScene, workers: int, title: str
) -> Array:
    """Run episodes in chunks with a progress bar, and return their distances (E, steps + 1) in m, in order.

    Args:
        run_chunk: takes the indices of episodes that step together and returns their distances; can be pickled.
        episodes: how many; the chunks are the same however many workers there are, for batches may change figures.
        scene: says what an arrival is.
        workers: processes; 1 starts none.
        title: of the progress bar.

    Raises:
        InputError: a worker that was killed.
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP.
    """
    chunks = [range(k, min(k + _LOCKSTEP, episodes)) for k in range(0, episodes, _LOCKSTEP)]
    here = ((chunk, run_chunk(chunk)) for chunk in chunks)
    ended: dict[range, Array] = {}
    with (
        interrupts.deferred(),
        progress_bar(title, episodes, "episodes") as advance,
        closing(run_parallel(run_chunk, chunks, workers) if workers > 1 else here) as results,
    ):
        for chunk, result in results:
            ended[chunk] = result
            final = np.concatenate(list(ended.values()))[:, -1]
            advance(len(chunk), success=float((final < scene.threshold_m).mean()))
    return np.concatenate([ended[chunk] for chunk in chunks])


def rollout(scene: MotionScene, cell: Cell, act: Act, seed: int, indices: range) -> Array:
    """Close the loop over episodes `indices`, one batch of images a step, and return distances (E, steps + 1) in m.

    Args:
        scene: says how long an episode and a step are.
        cell: draws the camera's images.
        act: images (E, H, W, 3) uint8, and the joint angles (E, n) rad that they show, to joint velocities (E, J) in
            rad/s; speed and joint limits are applied here.
        seed: of the episodes.
        indices: which.

    Distances are the real ones: the domain's calibration says how far the arm is from what its joints read.
    """
    arm, driven = scene.arm, scene.driven
    limits = arm.lower[driven], arm.upper[driven], arm.max_velocity[driven]
    states = [scene.sample_start(seed, index).state for index in indices]
    looks = [cell.sample_look(seed, index) for index in indices]
    calibration = cell.domain.calibration
    distances = [[scene.distance(calibration.true_state(state)) for state in states]]
    for step in range(scene.steps):
        interrupts.check()
        time_s = step * scene.step_s
        images = np.stack([cell.render(state, look, time_s) for state, look in zip(states, looks, strict=True)])
        measured = np.stack([state.joint_pos for state in states])
        for k, velocity in enumerate(act(images, measured)):
            joint_pos = states[k].joint_pos.copy()
            joint_pos[driven] = integrate(joint_pos[driven], velocity, scene.step_s, *limits)
            states[k] = calibration.move(scene, states[k], joint_pos)
        distances.append([scene.distance(calibration.true_state(state)) for state in states])
    return np.array(distances).T


def check_seed(card: BundleCard, seed: int) -> None:
    """Refuse a seed that training data was drawn with, or an invalid one."""
    check_seed_range(seed)
    used = {name: value for name, value in card.seeds.items() if name.endswith("_data")}
    if seed in used.values():
        raise InputError(f"expected a seed that no training data was drawn with ({used}), got {seed}")


def check_scene(card: BundleCard, scene: MotionScene) -> None:
    """Refuse a bundle that does not drive the scene's joints by velocities."""
    if card.task != "joint_velocities":
        raise InputError(f"{card.name}: expected a bundle of joint_velocities to close the loop with, got {card.task}")
    if card.joint_names != scene.driven_joints:
        raise InputError(
            f"{card.name}: expected the joints {scene.driven_joints} in this order, got {card.joint_names}"
        )


def check_arm(bundle: Bundle, scene: MotionScene) -> None:
    """Refuse a bundle whose arm moves in another way than the scene's: other joints, limits or tip."""
    ours, its = scene.arm, bundle.arm
    if ours.joint_names != its.joint_names:
        expected, actual = f"joints {list(ours.joint_names)}", str(list(its.joint_names))
    elif ours.joints != its.joints:
        expected, actual = next((str(a), str(b)) for a, b in zip(ours.joints, its.joints, strict=True) if a != b)
    elif ours.tip != its.tip:
        expected, actual = f"the tip {ours.tip}", str(its.tip)
    else:
        return
    names = f"the scene's arm {scene.arm_name}, got one for {bundle.card.arm}"
    raise InputError(f"{bundle.card.name}: expected a bundle for {names}: expected {expected}, got {actual}")


def _check_place(path: Path) -> None:
    """Refuse a file that could not be written once the figures are there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"{path}: expected a place to write the figures to, got: {error}") from error


def _run_chunk(config: EvaluateConfig, indices: range) -> Array:
    bundle = load_bundle(config.bundle)
    scene = load_motion_scene(config.scene or bundle.scene_name)
    policy = Policy(bundle, threads=1, translate=config.translate)
    with Cell(scene, load_domain(config.domain), bundle.card.image.shape) as cell:
        return rollout(scene, cell, lambda *seen: policy.act(*seen).commands[:, 0], config.seed, indices)


def _command(config: EvaluateConfig) -> str:
    words = ["taskgan", "evaluate", "--bundle", config.bundle]
    if config.recording:
        return shlex.join(
            [*words, "--recording", str(config.recording)] + ([] if config.translate else ["--no-translate"])
        )
    words += ["--domain", config.domain]
    words += ["--scene", config.scene] if config.scene else []
    words += ["--episodes", str(config.episodes), "--seed", str(config.seed)]
    return shlex.join(words + ([] if config.translate else ["--no-translate"]))
