"""Joint angles of a real Panda from its camera's images: section 4.2 of the paper, on real images.

One clip of 47 distinct images of a Franka Panda with its seven joint angles and a calibrated camera (../shared/real).
The first 0, 1 or 10 frames train; frames 27 to 46 test, 27-36 and 37-46 apart: from 37 on the hand is 0.2 m from the
lens. Simulated poses come from a box around the clip's first reading, a quarter of each joint's range either way, with
the hand in the picture; no label but that reading made it. Stopped, the same command resumes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
import yaml
from calibration import published_view
from numpy.typing import NDArray
from report import ROOT, Row, report

from taskgan_ros.core.files import write_text
from taskgan_ros.core.progress import print_line
from taskgan_ros.data.dataset import Dataset, load_dataset
from taskgan_ros.recordings.import_recording import ImportConfig, import_recording
from taskgan_ros.robot.models import load_robot
from taskgan_ros.sim.collect import CollectConfig, collect
from taskgan_ros.training.bank import make_bank
from taskgan_ros.training.learned import Learned, load_task_model
from taskgan_ros.training.networks import TaskModel, run_batches, to_network, to_uint8
from taskgan_ros.training.rates import RateSchedule
from taskgan_ros.training.recipe import load_recipe
from taskgan_ros.training.recorded_split import write_part
from taskgan_ros.training.steps.refine import RefineConfig, refine
from taskgan_ros.training.steps.task_model import TaskModelConfig, train_task_model
from taskgan_ros.training.steps.translator import TranslatorConfig, load_translator, train_translator
from taskgan_ros.training.task_trainer import TaskModelTrainer
from taskgan_ros.vision.camera import camera_at

Array = NDArray[np.float64]
Images = NDArray[np.uint8]

_ARM = "panda"
# What the real hand carries, in the tip's frame: `real_arm_board.py ../shared/real` prints it, from frames 0 to 26.
_BOARD = {
    "kind": "board",
    "pattern": "chessboard:9x6:0.0118",
    "at": [0.0343, 0.0031, -0.0445],
    "rpy": [-1.5351, 0.0168, -1.6301],
    "size": [0.066, 0.048, 0.002],
}
_NEAREST_M = 0.15  # of the hand in front of the lens: nearer, it fills the picture
_BOX_SHARE = 0.25  # of a joint's range, to each side of the first reading
_TRAIN, _TESTS = range(10), {"27-46": range(27, 47), "27-36": range(27, 37), "37-46": range(37, 47)}
_BATCH, _RATE, _NORMAL_STEPS = 16, 1e-3, 1500
_LEARN_BATCH, _LEARN_RATE = 32, 2e-3  # group norms tolerate more of both than the paper's network
_REFINED = "inverse_0", "inverse_10"
_FEW_STEPS = 250  # of the TaskGAN with ten images or fewer: docs/reproduce.md has why


@dataclass(frozen=True)
class Config:
    """Measure the error of angles predicted from real images."""

    out: Path = Path("runs/real_arm")
    """Folder for datasets and runs; what is there is not made again."""
    real: Path = ROOT.parent / "shared" / "real"
    """Folder with the recordings."""
    plain: str = "colored"
    """The source domain: what f_X learns in and F translates to."""
    network: str = "positions"
    """Of the task models."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of all training."""
    refined: tuple[int, ...] = (0, 1, 2)
    """The seeds with which f_X is refined too."""
    episodes: int = 1250
    """Of plain simulation, 16 poses each."""
    randomized: int = 1500
    """Randomised ones, with the recording's own empty scene behind most."""
    steps: int = 3000
    """Of each task model."""
    pretrain_steps: int = 12000
    """Of the translator."""
    refine_steps: int = 1500
    """Of each refinement."""
    workers: int = 2
    """Processes that render."""
    json: Path | None = None
    """JSON to write."""


def main(config: Config) -> None:
    """Make what is missing, and report."""
    config.out.mkdir(parents=True, exist_ok=True)
    scene = write_scene(config)
    data = make_datasets(config, scene)
    rows: list[Row] = list(constants(data))
    for seed in config.seeds:
        rows += [{**row, "seed": seed} for row in measure(config, data, seed)]
        report("angles of a real Panda's joints", summary(rows), config.json)


def write_scene(config: Config) -> str:
    """Write the scene: the published camera, the box of poses, and the arm with what it carries."""
    path, arm_path = config.out / "scene.yaml", config.out / "panda.yaml"
    shipped = yaml.safe_load((ROOT / "config" / "arms" / f"{_ARM}.yaml").read_text())
    write_text(arm_path, yaml.safe_dump({**shipped, "tool": [_BOARD]}, sort_keys=False))
    first = json.loads((config.real / "panda" / "labels.json").read_text())[0]
    view = published_view(config.real / "panda")
    fov = 2 * np.arctan(view.height / 2 / view.matrix[1, 1])
    camera = camera_at(view.pose, float(round(0.99 * fov, 4)))  # the principal point is a little off
    arm = load_robot(_ARM).arm
    values = {
        "task": "poses",
        "arm": str(arm_path.resolve()),
        "driven_joints": list(arm.joint_names),
        "ready": np.round(first["positions_rad"], 3).tolist(),
        "poses": {
            "spread": np.round(_BOX_SHARE * (arm.upper - arm.lower), 3).tolist(),
            "clearance": 0.0,
            "nearest_m": _NEAREST_M,
        },
        "images_per_episode": 16,
        "step_s": 0.1,
        "camera": {"position": list(camera.position), "rotation": list(camera.rotation or ()), "fov": camera.fov},
    }
    write_text(path, yaml.safe_dump(values, sort_keys=False))
    return str(path)


@dataclass(frozen=True)
class Data:
    """Paths of the datasets, and the recording."""

    source: Path
    randomized: Path
    labelled: Path
    recorded: Dataset


def make_datasets(config: Config, scene: str) -> Data:
    """Import the clip, and simulate the rest."""
    out = config.out
    recorded, labelled = out / "recorded.h5", out / "first_10.h5"
    if not recorded.exists():
        bag = config.real / "bags" / "panda_9s_mcap"
        import_recording(ImportConfig((bag,), scene=scene, out=recorded, labels="joint_angles", paired=config.plain))
    data = load_dataset(recorded)
    if not labelled.exists():
        parts = np.full(len(data), -1)
        parts[: len(_TRAIN)] = np.arange(len(_TRAIN))  # an episode each, so that some can validate
        write_part(labelled, data, parts, np.arange(len(_TRAIN)))
    domain = out / "randomized.yaml"
    shipped = yaml.safe_load((ROOT / "config" / "domains" / "randomized.yaml").read_text())
    background = {"file": labelled.name, "share": 0.8, "brightness": [0.7, 1.3], "jitter": 0.1, "shift_px": 2.0}
    write_text(domain, yaml.safe_dump({**shipped, "background": background}, sort_keys=False))
    make = partial(CollectConfig, scene=scene, task="joint_angles", workers=config.workers, resume=True)
    made = Data(out / "source.h5", out / "randomized.h5", labelled, data)
    if not made.source.exists():
        collect(make(config.plain, config.episodes, made.source, seed=1))
    if not made.randomized.exists():
        collect(make(str(domain), config.randomized, made.randomized, seed=3, paired=config.plain))
    return made


def constants(data: Data) -> Iterator[Row]:
    """Yield what always answering the same would be off by."""
    simulated = load_dataset(data.source).actions.mean(axis=0)
    labels = data.recorded.actions
    yield row("mean of the simulation", 0, np.broadcast_to(simulated, labels.shape), labels)
    for count in (1, len(_TRAIN)):
        answer = labels[:count].mean(axis=0)
        yield row("mean of the training frames", count, np.broadcast_to(answer, labels.shape), labels)


def row(model: str, images: int, predicted: NDArray[Any], labels: NDArray[Any]) -> Row:
    """Return the errors of predicted angles (47, 7) rad: the paper's L2, and degrees (RMS over joints and frames)."""
    error = predicted - labels
    found: Row = {"model": model, "labelled frames": images}
    for name, frames in _TESTS.items():
        found[f"L2 (turns²), {name}"] = float(np.square(error[list(frames)] / (2 * np.pi)).mean())
        found[f"degrees, {name}"] = float(np.rad2deg(np.sqrt(np.square(error[list(frames)]).mean())))
    return found


def measure(config: Config, data: Data, seed: int) -> Iterator[Row]:
    """Train everything with one seed, and yield its errors."""
    runs = config.out / f"seed_{seed}"
    f_x = learn(config, runs / "f_x", data.source, seed)
    f_dr = learn(config, runs / "f_randomized", data.randomized, seed)
    yield predicted("f_X alone", 0, f_x, data)
    yield predicted("f_X on true plain renders", 0, f_x, data, of="paired")
    yield predicted("f on randomised images", 0, f_dr, data)
    for count in (1, len(_TRAIN)):
        yield row("Normal", count, normal(data, count, f_x, seed), data.recorded.actions)
    plain = translate(config, runs / "inverse_0", data, f_x, seed, None)
    kinds = {
        ("inverse, no target image", 0): plain,
        ("inverse, 1 labelled", 1): translate(config, runs / "inverse_1", data, f_x, seed, 1, plain),
        ("inverse, 10 unlabelled", 0): translate(
            config, runs / "inverse_10_unlabelled", data, f_x, seed, 10, plain, labelled=False
        ),
        ("inverse, 10 labelled", 10): translate(config, runs / "inverse_10", data, f_x, seed, 10, plain),
    }
    for (name, count), translator in kinds.items():
        yield predicted(name, count, f_x, data, translator)
    if seed not in config.refined:
        return
    for (name, count), translator in kinds.items():
        if translator.name in _REFINED:
            refined = refine_behind(config, runs / f"{translator.name}_refined", data, f_x, seed, translator)
            yield predicted(f"{name}, refined", count, refined, data, translator)


def normal(data: Data, count: int, f_x: Path, seed: int) -> NDArray[Any]:
    """Return the angles (47, 7) that a task model reads that has seen `count` labelled frames and nothing else.

    In the units of `f_x`, whose labels vary; those of the first frames hardly do.
    """
    _, learned = load_task_model(f_x)
    torch.manual_seed(seed)
    network = TaskModel(len(learned.scale), learned.image_size)
    bank = make_bank(load_dataset(data.labelled), learned.scale, torch.device("cpu")).take(np.arange(count))
    trainer = TaskModelTrainer(network, [(bank, _BATCH)], {}, RateSchedule(_RATE, _NORMAL_STEPS), augment=0.5)
    for step in range(_NORMAL_STEPS):
        trainer.train_step(step)
    return angles(network, learned, data.recorded.images)


def angles(network: TaskModel, learned: Learned, images: Images) -> NDArray[Any]:
    """Return what a task model reads off images (N, H, W, 3): (N, 7) rad."""
    return run_batches(lambda part: network.eval()(to_network(part)), images) * learned.scale


def learn(config: Config, out: Path, dataset: Path, seed: int) -> Path:
    """Return a run of step 1."""
    start(out, train_task_model, TaskModelConfig(
        dataset=dataset, out=out, steps=config.steps, seed=seed, network=config.network, device="cpu",
        augment=0.0 if out.name == "f_x" else 0.5, batch_size=_LEARN_BATCH, learning_rate=_LEARN_RATE, optimiser="muon",
    ))  # fmt: skip
    return out


def translate(
    config: Config, out: Path, data: Data, f_x: Path, seed: int, images: int | None, begun: Path | None = None,
    labelled: bool = True,
) -> Path:  # fmt: skip
    """Return a run of step 2: pre-training alone, or from a pre-trained one on the first frames.

    Without their labels there is no task loss, no plain render to pair with and no pose to match, and nothing tells the
    best weights.
    """
    recipe = "default" if begun else "rcan"
    own: dict[str, Any] = {"steps": _FEW_STEPS} if begun else {"pretrain_steps": config.pretrain_steps}
    if not labelled:
        own |= {"lambda_task": 0.0, "paired_target": False, "matched_poses": 0, "keep_best": False}
    settings = dataclasses.replace(load_recipe(recipe), **own)
    start(out, train_translator, TranslatorConfig(
        source=data.source, target=data.labelled if begun else None, target_images=images if begun else None,
        task_model=f_x, recipe=recipe, settings=settings, pretrain=data.randomized, start_from=begun,
        validation=data.labelled if begun else None, out=out, seed=seed, device="cpu",
    ))  # fmt: skip
    return out


def refine_behind(config: Config, out: Path, data: Data, f_x: Path, seed: int, translator: Path) -> Path:
    """Return a run of step 3, on what the translator makes of randomised images."""
    start(out, refine, RefineConfig(
        task_model=f_x, translator=translator, source=data.source, target=data.randomized, variants=1,
        steps=config.refine_steps, out=out, seed=seed, device="cpu",
    ))  # fmt: skip
    return out


def start(out: Path, step: Callable[[Any], Any], config: Any) -> None:
    """Run a step that has not ended, from where it was stopped."""
    done = out / "done"
    if not done.exists():
        print_line(str(out))
        step(dataclasses.replace(config, resume=out.exists()))
        done.touch()


def predicted(
    name: str, images: int, task_model: Path, data: Data, translator: Path | None = None, of: str = "images"
) -> Row:
    """Return the errors of a task model on the recording, behind a translator or not."""
    network, learned = load_task_model(task_model)
    seen: Images = getattr(data.recorded, of)
    if translator:
        generator = load_translator(translator).eval()
        seen = run_batches(lambda part: to_uint8(generator(to_network(part))), seen)
    return row(name, images, angles(network, learned, seen), data.recorded.actions)


def summary(rows: list[Row]) -> list[Row]:
    """Return the mean over seeds of each model, and the spread of its L2."""
    kinds = dict.fromkeys((str(found["model"]), found["labelled frames"]) for found in rows)
    means: list[Row] = []
    for model, images in kinds:
        own = [found for found in rows if (found["model"], found["labelled frames"]) == (model, images)]
        figures = [key for key in own[0] if key not in ("model", "labelled frames", "seed")]
        means.append({
            "model": model, "labelled frames": images, "seeds": len(own),
            **{key: float(np.mean([float(found[key]) for found in own])) for key in figures},
            "spread of L2": float(np.std([float(found["L2 (turns²), 27-46"]) for found in own])),
        })  # fmt: skip
    return means


if __name__ == "__main__":
    main(tyro.cli(Config))
