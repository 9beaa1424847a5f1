"""From recorded images to arrivals: `taskgan adapt` in a cell whose camera and joints are not where the scene says.

Issue 13's fourth proof from datasets on: the stand-in's camera is off by 3 cm and 3 degrees, each joint's zero by 1
degree. Images are recorded there, once as the scene says (uncalibrated) and once in the scene that a calibration would
write, with what it leaves: 3 mm, 0.3 and 0.2 degrees. Both see the same cell. Stopped, the same command resumes.

Arrivals are counted by the readings of the joints, as the node would; the tip is off by what their zeros are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
import yaml
from numpy.typing import NDArray
from report import Row, report

from taskgan_ros.core.config import read_yaml, resolve, to_plain
from taskgan_ros.core.files import write_text
from taskgan_ros.core.progress import print_line
from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.sim.collect import CollectConfig, collect
from taskgan_ros.sim.domain import Calibration, load_domain
from taskgan_ros.sim.evaluate import EvaluateConfig, evaluate
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.training.adapt import AdaptConfig, adapt
from taskgan_ros.training.recorded_split import write_part
from taskgan_ros.vision.camera import Camera, camera_at

Array = NDArray[np.float64]

_SCENE, _DOMAIN = "reach", "real_standin"
_SIGNS = np.array([1.0, -1.0, 1.0])
_OFF = {"position": 0.03, "rotation": np.deg2rad(3), "joint": np.deg2rad(1)}
_LEFT = {"position": 0.003, "rotation": np.deg2rad(0.3), "joint": np.deg2rad(0.2)}
_RECORDED_SEED = 20
_TURNED = np.array([1.0, -1.0, -1.0])  # from a camera's own axes right, up, back to its optical ones


@dataclass(frozen=True)
class Config:
    """Adapt to recorded images and count arrivals in closed loop."""

    out: Path = Path("runs/adapt_standin")
    """Folder for datasets, runs and bundles; what is there is not made again."""
    images: tuple[int, ...] = (100, 10)
    """How many are recorded; a fifth of them is held out."""
    calibrated: tuple[bool, ...] = (True, False)
    """Whether the scene is the calibrated one."""
    episodes: int = 100
    """Of the closed loop."""
    quick: bool = False
    """A few steps of everything: whether it runs."""
    workers: int = 2
    """Processes that render."""
    json: Path | None = None
    """JSON to write."""


def main(config: Config) -> None:
    """Run what has not run, and report."""
    config.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for calibrated in config.calibrated:
        scene, domain = write_cell(config.out, calibrated)
        recorded = record(config, scene, domain, max(config.images))
        for count in config.images:
            rows.append(measure(config, calibrated, scene, domain, recorded, count))
            report("adapted to a stand-in", rows, config.json)


def write_cell(folder: Path, calibrated: bool) -> tuple[str, str]:
    """Write what is known of the cell, and how it really is beside that: a scene and a domain."""
    name = "calibrated" if calibrated else "uncalibrated"
    scene, domain = folder / f"{name}_scene.yaml", folder / f"{name}_standin.yaml"
    values, robot = read_yaml(resolve("scenes", _SCENE)), load_scene(_SCENE)
    error = _calibration(_LEFT if calibrated else _OFF, len(robot.arm.joint_names))
    if calibrated:
        off = _calibration(_OFF, len(robot.arm.joint_names))
        values["camera"] = to_plain(_estimate(robot.camera, off, error))
        zeros = np.subtract(off.joint_rad, error.joint_rad).tolist()
        values["joint_zeros"] = dict(zip(robot.arm.joint_names, zeros, strict=True))
    standin = dataclasses.replace(load_domain(_DOMAIN), calibration=error)
    for path, content in ((scene, values), (domain, to_plain(standin))):
        if not path.exists():
            write_text(path, yaml.safe_dump(content, sort_keys=False))
    return str(scene), str(domain)


def _calibration(size: dict[str, float], joints: int) -> Calibration:
    """Return an error of this size: m, rad, and rad a joint, with signs that alternate."""
    x, y, z = (_SIGNS * size["position"] / np.sqrt(3)).tolist()
    a, b, c = (_SIGNS * size["rotation"] / np.sqrt(3)).tolist()
    return Calibration(
        camera_position_m=(x, y, z),
        camera_rotation_rad=(a, b, c),
        joint_rad=tuple(size["joint"] * (-1) ** k for k in range(joints)),
    )


def _estimate(nominal: Camera, off: Calibration, left: Calibration) -> Camera:
    """Return the camera that a calibration finds where it is `off` from the nominal one, `left` being what remains."""
    pose = nominal.pose()
    pose[:3, 3] += np.subtract(off.camera_position_m, left.camera_position_m)
    pose[:3, :3] = pose[:3, :3] @ _turn(off) @ _turn(left).T
    return camera_at(pose, nominal.fov)


def _turn(error: Calibration) -> Array:
    turn: Array = cv2.Rodrigues(_TURNED * np.array(error.camera_rotation_rad))[0]
    return turn


def record(config: Config, scene: str, domain: str, images: int) -> Path:
    """Return a dataset of recorded images with the plain renders that the known scene gives."""
    path = config.out / f"{Path(domain).stem}.h5"
    if not path.exists():
        episodes = -(-images // 16)
        collect(
            CollectConfig(
                domain=domain, paired="source", scene=scene, episodes=episodes, seed=_RECORDED_SEED, out=path,
                workers=config.workers, resume=True,
            )
        )  # fmt: skip
    return path


def take(recorded: Path, count: int) -> Path:
    """Return a dataset of `count` of the recorded images, evenly over all episodes."""
    path = recorded.with_name(f"{recorded.stem}_{count}.h5")
    if not path.exists():
        data = load_dataset(recorded)
        rows = np.linspace(0, len(data) - 1, count).round().astype(int)
        parts = np.full(len(data), -1)
        parts[rows] = data.episode[rows]
        write_part(path, data, parts, np.unique(parts[rows]))
    return path


def measure(config: Config, calibrated: bool, scene: str, domain: str, recorded: Path, count: int) -> Row:
    """Adapt to `count` images and close the loop."""
    name = f"{'calibrated' if calibrated else 'uncalibrated'}_{count}"
    bundle, work = config.out / name, config.out / f"{name}_work"
    shared = next(_finished(config.out, name), None)
    page = work / "report" / "report.md"
    if not page.exists():
        print_line(f"{name}: {work}")
        adapt(
            AdaptConfig(
                recording=(take(recorded, count),), scene=scene, out=bundle, work=work, quick=config.quick,
                workers=config.workers, resume=work.exists(), source=shared / "source.h5" if shared else None,
                task_model=shared / "task_model" if shared else None,
            )
        )  # fmt: skip
    figures = evaluate(
        EvaluateConfig(bundle=str(bundle), domain=domain, episodes=config.episodes, workers=config.workers)
    )
    return {
        "scene": "calibrated" if calibrated else "as it says",
        "images": count,
        "arrived_%": 100 * float(str(figures["success_rate"])),
        "final_m": float(str(figures["final_distance_mean_m"])),
        "episodes": config.episodes,
    }


def _finished(folder: Path, name: str) -> Iterator[Path]:
    """Yield the folder of another adaptation in the same scene that has a task model."""
    knowledge, own = name.split("_")[0], folder / f"{name}_work"
    if (own / "source.h5").exists():
        return
    for work in sorted(folder.glob(f"{knowledge}_*_work")):
        if work != own and (work / "refined").exists() and (work / "source.h5").exists():
            yield work


if __name__ == "__main__":
    main(tyro.cli(Config))
