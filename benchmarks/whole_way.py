"""From a misplaced camera to arrivals, by a user's commands: record, calibrate, import, adapt, evaluate.

The simulated cell's camera is 3 cm and 3 degrees from where its scene says, each joint's zero is off by 1 degree, and
it looks like `real_standin`. It is recorded through DDS: a tour of poses to calibrate with, and the expert's episodes.
For comparison the same recording is adapted to without calibration. Arrivals are real ones, whatever the joints read.
Stopped, the same command resumes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
import yaml
from report import ROOT, Row, report

from taskgan_ros.core.files import write_text
from taskgan_ros.core.progress import print_line
from taskgan_ros.core.schema import to_plain
from taskgan_ros.sim.domain import Calibration, load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of

_SCENE, _LOOK = "reach", "real_standin"
_SIGNS = np.array([1.0, -1.0, 1.0]) / np.sqrt(3)
_OFF_M, _OFF_RAD, _ZERO_RAD = 0.03, np.deg2rad(3), np.deg2rad(1)
_SEED, _EPISODES, _POSES = 20, 14, 24
_RATES = {100: 1.75, 10: 0.14}  # images/s, so that after a fifth is held out about so many train


@dataclass(frozen=True)
class Config:
    """Walk the whole way in a simulated cell that is not as its scene says."""

    out: Path = Path("runs/whole_way")
    """Folder of everything; what is there is not made again."""
    images: tuple[int, ...] = (100, 10)
    """How many recorded images train; 100 first, from which the others take what is not of the recording."""
    uncalibrated: bool = True
    """Whether to adapt without calibration too."""
    episodes: int = 100
    """Of the closed loop."""
    workers: int = 2
    """Processes that render."""
    quick: bool = False
    """A few steps of everything: whether it runs."""
    json: Path | None = None
    """JSON to write."""


def main(config: Config) -> None:
    """Run what has not run, and report."""
    config.out.mkdir(parents=True, exist_ok=True)
    write_cell(config.out)
    record(config.out)
    calibrate(config.out)
    rows: list[Row] = []
    cases = [("calibrated", count) for count in config.images]
    cases += [("as it says", config.images[0])] if config.uncalibrated else []
    for camera, count in cases:
        rows.append(measure(config, camera, count))
        report("adapted to a cell that is not as its scene says", rows, config.json)


def write_cell(folder: Path) -> None:
    """Write the real cell, as a domain, and where the targets of the recorded episodes were."""
    scene = load_scene_of(ReachScene, _SCENE)
    x, y, z = (_SIGNS * _OFF_M).tolist()
    a, b, c = (_SIGNS * _OFF_RAD).tolist()
    zeros = tuple(_ZERO_RAD * (-1) ** k for k in range(len(scene.arm.joint_names)))
    error = Calibration(camera_position_m=(x, y, z), camera_rotation_rad=(a, b, c), joint_rad=zeros)
    domain = to_plain(dataclasses.replace(load_domain(_LOOK), calibration=error))
    write_text(folder / "cell.yaml", yaml.safe_dump(domain, sort_keys=False))
    goals = (scene.sample_start(_SEED, k).state.objects[0, :2] for k in range(_EPISODES))
    lines = [f"{k},{x:.4f},{y:.4f}" for k, (x, y) in enumerate(goals)]
    write_text(folder / "goals.csv", "\n".join(["episode,x,y", *lines, ""]))


def record(folder: Path) -> None:
    """Record the tour and the episodes."""
    script = str(ROOT / "benchmarks" / "record_cell.py")
    for name, motion, count in (("tour", "tour", _POSES), ("monday", "expert", _EPISODES)):
        run(folder, name, [script, "--domain", "cell.yaml", "--motion", motion, "--count", str(count), "--out", name])


def calibrate(folder: Path) -> None:
    """Find the camera, then the joints' zeros with it."""
    taskgan(folder, "placed.yaml", f"calibrate tour --scene {_SCENE} --out placed.yaml")
    taskgan(folder, "calibrated.yaml", "calibrate tour --scene placed.yaml --joint-zeros --out calibrated.yaml")


def measure(config: Config, camera: str, count: int) -> Row:
    """Import, adapt and close the loop."""
    scene = "calibrated.yaml" if camera == "calibrated" else _SCENE
    name = f"{camera.replace(' ', '_')}_{count}"
    options = "--split rests --goal-file goals.csv --labels joint_goals --paired source"
    taskgan(config.out, f"{name}.h5", f"import monday --scene {scene} {options} --rate {_RATES[count]} --out {name}.h5")
    words = f"adapt --recording {name}.h5 --scene {scene} --out {name} --workers {config.workers}"
    shared = f"{camera.replace(' ', '_')}_{config.images[0]}_adapt"
    if count != config.images[0]:
        words += f" --source {shared}/source.h5 --task-model {shared}/task_model"
    words += " --quick" if config.quick else ""
    words += " --resume" if (config.out / f"{name}_adapt").exists() else ""
    taskgan(config.out, f"{name}_adapt/report/report.md", words)
    evaluation = f"evaluate --bundle {name} --domain cell.yaml --scene {_SCENE} --episodes {config.episodes}"
    taskgan(config.out, f"{name}.json", f"{evaluation} --workers {config.workers} --json {name}.json")
    figures = json.loads((config.out / f"{name}.json").read_text())
    return {
        "camera and joints": camera,
        "images": count,
        "arrived_%": 100 * figures["success_rate"],
        "final_m": figures["final_distance_mean_m"],
        "episodes": figures["episodes"],
    }


def taskgan(folder: Path, made: str, words: str) -> None:
    """Run a command of taskgan unless what it makes is there."""
    run(folder, made, ["-m", "taskgan_ros.cli", *shlex.split(words)])


def run(folder: Path, made: str, words: list[str]) -> None:
    """Run Python in the folder unless what it makes is there."""
    if (folder / made).exists():
        return
    print_line(shlex.join(words))
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    subprocess.run(
        [sys.executable, *words], cwd=folder, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    )


if __name__ == "__main__":
    main(tyro.cli(Config))
