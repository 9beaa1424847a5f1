"""How well a moved camera is noticed by where it sees the arm, and how far off the estimate of its motion is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from report import Row, report

from taskgan_ros.core.progress import progress_bar
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.reach.camera_watch import IMAGES, LIMIT
from taskgan_ros.reach.drawn_arm import DrawnArm, load_drawn_arm
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of

Array = NDArray[np.float64]

SEED = 11  # not used in training
FALSE_ALARMS = 0.01
MOVES = {"1 cm": (0.01, 0.0), "2 cm": (0.02, 0.0), "5 cm": (0.05, 0.0), "1°": (0.0, 1.0), "3°": (0.0, 3.0)}
NONE = "not moved"
_TO_OPTICAL = np.diag([1.0, -1.0, -1.0])  # the simulated camera's own axes are right, up, back


@dataclass(frozen=True)
class Config:
    """Move the camera of a bundle's cell in random directions, and estimate by how much."""

    bundle: str = "reach_target_wood"
    """A shipped bundle's name or a folder."""
    domains: tuple[str, ...] = ("target_wood", "source")
    """How the cell looks."""
    still: int = 200
    """Trials with a camera that stands right, in each domain: they set the limit of 1 % false alarms."""
    trials: int = 40
    """Of each motion, in each domain, in directions of their own."""
    out: Path | None = None
    """JSON to write."""


@dataclass(frozen=True)
class Trial:
    """One estimate.

    Attributes:
        shift_m, turn_rad: (3,) what was done to the camera, in the base's frame.
        pixels: how far the outline moved.
        found_m, found_rad: (3,) what was estimated.
        is_certain: whether the estimate says so of itself.
    """

    shift_m: Array
    turn_rad: Array
    pixels: float
    found_m: Array
    found_rad: Array
    is_certain: bool


def tries(config: Config, scene: ReachScene, arm: DrawnArm, domain: str) -> Iterator[tuple[str, Trial]]:
    """Yield trials with the name of the motion; each has a look, a start and a direction of its own."""
    with Cell(scene, load_domain(domain), (arm.view.height, arm.view.width)) as cell:
        for name, (distance_m, angle_deg), count in [
            (NONE, (0.0, 0.0), config.still),
            *((name, size, config.trials) for name, size in MOVES.items()),
        ]:
            rng = np.random.default_rng(SEED)
            for index in range(count):
                direction = rng.normal(size=3)
                direction /= np.linalg.norm(direction)
                yield name, attempt(scene, arm, cell, index, distance_m * direction, np.deg2rad(angle_deg) * direction)


def attempt(scene: ReachScene, arm: DrawnArm, cell: Cell, index: int, shift_m: Array, turn_rad: Array) -> Trial:
    """Move the camera along, and turn it about, the base's axes; estimate that from images along an expert's way."""
    own_turn = _TO_OPTICAL @ arm.view.pose[:3, :3].T @ turn_rad
    look = cell.sample_look(SEED, index)
    look = replace(look, camera_offset=look.camera_offset + shift_m, camera_turn=look.camera_turn + own_turn)
    states = scene.path(scene.sample_start(SEED, index))
    chosen = [states[k] for k in np.linspace(0, len(states) - 1, IMAGES).astype(int)]
    images = [cell.render(state, look, k * scene.step_s) for k, state in enumerate(chosen)]
    found = arm.motion(images, [state.joint_pos for state in chosen])
    return Trial(shift_m, turn_rad, found.pixels, found.shift_m, found.turn_rad, found.is_certain)


def summarise(domain: str, name: str, trials: list[Trial], limit_px: float, node_px: float) -> Row:
    """Return a row of the table; errors are of the trials that were noticed and certain."""
    noticed = [trial for trial in trials if trial.pixels > limit_px and trial.is_certain]
    shift_error = [np.linalg.norm(trial.found_m - trial.shift_m) for trial in noticed]
    turn_error = [np.linalg.norm(trial.found_rad - trial.turn_rad) for trial in noticed]
    angles = [angle for trial in noticed if (angle := direction_error(trial)) is not None]
    return {
        "domain": domain,
        "camera": name,
        "trials": len(trials),
        "noticed": round(len(noticed) / len(trials), 3),
        "above the node's limit": round(
            float(np.mean([trial.is_certain and trial.pixels > node_px for trial in trials])), 3
        ),
        "certain": round(float(np.mean([trial.is_certain for trial in trials])), 3),
        "px": round(float(np.median([trial.pixels for trial in trials])), 2),
        "direction off by °": round(float(np.median(angles)), 0) if angles else "",
        "place off by cm": round(100 * float(np.median(shift_error)), 2) if noticed else "",
        "turn off by °": round(float(np.rad2deg(np.median(turn_error))), 2) if noticed else "",
    }


def direction_error(trial: Trial) -> float | None:
    """Return the angle in degrees between what was done and what was found; None for a camera that was not moved."""
    done, found = (trial.shift_m, trial.found_m) if trial.shift_m.any() else (trial.turn_rad, trial.found_rad)
    if not done.any():
        return None
    cosine = done @ found / (np.linalg.norm(done) * np.linalg.norm(found) + 1e-12)
    return float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))


def main(config: Config) -> None:
    """Measure, and report."""
    bundle = load_bundle(config.bundle)
    scene, arm = load_scene_of(ReachScene, bundle.scene_name), load_drawn_arm(bundle)
    assert arm is not None, "the bundle says neither what its arm looks like nor where its camera stands"
    count = len(config.domains) * (config.still + len(MOVES) * config.trials)
    rows: list[Row] = []
    limits: Row = {}
    with progress_bar("moved cameras", count, "trials") as advance:
        for domain in config.domains:
            trials: dict[str, list[Trial]] = {}
            for name, trial in tries(config, scene, arm, domain):
                trials.setdefault(name, []).append(trial)
                advance(1)
            limit_px = float(np.quantile([trial.pixels for trial in trials[NONE]], 1 - FALSE_ALARMS))
            limits[f"limit_px_{domain}"] = round(limit_px, 3)
            rows += [summarise(domain, name, some, limit_px, LIMIT * arm.view.height) for name, some in trials.items()]
    report(f"a moved camera, at {FALSE_ALARMS:.0%} false alarms, {IMAGES} images each", rows, config.out, limits)


if __name__ == "__main__":
    main(tyro.cli(Config))
