"""Tiny real data and runs, made once a session with the commands that a user has, and what may not be installed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskgan_ros import cli
from taskgan_ros.core.config import resolve

# Work of this size is done before a second thread has woken up. Set before the first import that reads it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LP_NUM_THREADS", "1")

# A script's `&` starts the suite with Ctrl-C ignored, and nohup with SIGHUP. Tests are about what a terminal starts.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

ROOT = Path(__file__).parent
SIZE = 32  # pixels a side
STEPS = 3  # of an episode, in place of 100
TRAINING = ("h5py", "onnx", "onnxscript", "safetensors", "tensorboard", "torch")
MESHES = ("trimesh", "yourdfpy")
NEEDS = {  # by folder or file under test/
    "benchmarks/test_quantization.py": TRAINING,
    "data": ("h5py",),
    "experiments": (*TRAINING, "skimage", "snakemake"),
    "ros/test_own_policy.py": TRAINING,
    "recordings": ("av", "h5py", "mcap", "mujoco", "pyarrow", "rosbags"),
    "robot/test_held_tool.py": MESHES,
    "robot/test_models.py": ("mujoco", *MESHES),
    "robot/test_silhouette.py": ("mujoco",),
    "sim": ("mujoco",),
    "sim/test_collect.py": ("h5py",),
    "sim/test_evaluate.py": TRAINING,
    "sim/test_show_arm.py": MESHES,
    "test_cli.py": TRAINING,
    "training": TRAINING,
}
SLOW = (  # what trains, draws much, runs nodes or starts Python many times: `make quick` leaves it out
    "core/test_threads.py",
    "demo/test_report.py",
    "docs/test_guides.py",
    "experiments",
    "recordings/test_calibrate.py",
    "recordings/test_held_board.py",
    "recordings/test_import_recording.py",
    "ros",
    "sim/test_cell.py",
    "sim/test_collect.py",
    "sim/test_evaluate.py",
    "sim/test_first_scene.py",
    "sim/test_show_arm.py",
    "test_cli.py",
    "test_imports.py",
    "test_package.py",
    "training",
)
QUICK = "not slow"  # what -m says then
TINY = ["--generator.widths", "8", "16", "--generator.blocks", "1", "--device", "cpu"]

YamlFile = Callable[..., Path]
Collected = Callable[..., Path]


def _missing(path: Path) -> list[str]:
    needed = {name for place, names in NEEDS.items() if path.is_relative_to(ROOT / place) for name in names}
    return sorted(name for name in needed if importlib.util.find_spec(name) is None)


def _is_slow(path: Path) -> bool:
    return any(path.is_relative_to(ROOT / place) for place in SLOW)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: not among what `make quick` runs; test/conftest.py says which")
    gone = [place for place in (*NEEDS, *SLOW) if not (ROOT / place).exists()]
    assert not gone, f"expected folders or files under test/, got {gone}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_slow = config.option.markexpr == QUICK and _is_slow(collection_path)  # not even imported: torch takes seconds
    return True if is_slow or _missing(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_slow(item.path):
            item.add_marker("slow")


def pytest_report_header(config: pytest.Config) -> list[str]:
    slow = [f"left out as slow, under test/: {', '.join(SLOW)}"] if config.option.markexpr == QUICK else []
    absent = {place: _missing(ROOT / place) for place in NEEDS}
    lacking = [f"left out: test/{place}, which needs {', '.join(names)}" for place, names in absent.items() if names]
    return slow + lacking


def taskgan(*words: object) -> None:
    """Run a command that must succeed."""
    arguments = [str(word) for word in words]
    assert cli.run(arguments) == 0, f"taskgan {' '.join(arguments)} failed"


@pytest.fixture
def yaml_file(tmp_path: Path) -> YamlFile:
    """Return a function that writes a shipped file with changes: `a.b=value` in place of field b of a; None removes."""

    def write(kind: str, name: str, changes: dict[str, Any]) -> Path:
        values = yaml.safe_load(resolve(kind, name).read_text(encoding="utf-8"))
        for field, value in changes.items():
            _change(values, field.split("."), value)
        path = tmp_path / f"my_{name}.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        return path

    return write


def _change(values: Any, parts: list[str], value: Any) -> None:
    key: Any = int(parts[0]) if isinstance(values, list) else parts[0]
    if len(parts) > 1:
        if isinstance(values, dict):
            values.setdefault(key, {})
        _change(values[key], parts[1:], value)
    elif value is None:
        del values[key]
    else:
        values[key] = value


@pytest.fixture(scope="session")
def short_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shipped scene with episodes of a few steps."""
    values = yaml.safe_load(resolve("scenes", "reach").read_text(encoding="utf-8"))
    path = tmp_path_factory.mktemp("scene") / "short.yaml"
    path.write_text(yaml.safe_dump({**values, "steps": STEPS}), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory, short_scene: Path) -> Collected:
    """Return a function that collects a tiny dataset, not to be changed: the same arguments give the same file."""
    folder = tmp_path_factory.mktemp("datasets")
    known: dict[tuple[object, ...], Path] = {}

    def collect(domain: str = "source", *options: object, episodes: int = 3, size: int = SIZE, seed: int = 0) -> Path:
        key = (domain, episodes, size, seed, *map(str, options))
        if key not in known:
            out = folder / f"{len(known)}.h5"
            fixed = ["--scene", short_scene, "--workers", 1, "--image-size", size, "--episodes", episodes]
            taskgan("collect", "--domain", domain, "--seed", seed, "--out", out, *fixed, *options)
            known[key] = out
        return known[key]

    return collect


@pytest.fixture(scope="session")
def source(collected: Collected) -> Path:
    return collected("source")


@pytest.fixture(scope="session")
def target(collected: Collected) -> Path:
    return collected("target_wood", "--paired", "source", seed=1)


@pytest.fixture(scope="session")
def randomized(collected: Collected) -> Path:
    return collected("randomized", "--paired", "source", seed=2)


@pytest.fixture(scope="session")
def task_model_run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "task_model"
    taskgan("train", "task-model", "--dataset", source, "--out", out, "--steps", 4, "--device", "cpu")
    return out


@pytest.fixture(scope="session")
def translator_run(
    source: Path, target: Path, randomized: Path, task_model_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("runs") / "translator"
    data = ["--source", source, "--target", target, "--pretrain", randomized, "--task-model", task_model_run]
    taskgan("train", "translator", *data, "--out", out, "--pretrain-steps", 1, "--steps", 2, *TINY)
    return out


@pytest.fixture(scope="session")
def refined_run(
    source: Path, target: Path, task_model_run: Path, translator_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("runs") / "refined"
    data = ["--source", source, "--target", target, "--task-model", task_model_run, "--translator", translator_run]
    taskgan("refine", *data, "--out", out, "--steps", 2, "--device", "cpu")
    return out


@pytest.fixture(scope="session")
def evaluation(short_scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a JSON file as `taskgan evaluate` writes it, of a bundle that never existed."""
    import numpy as np

    from taskgan_ros.sim.evaluate import EvaluateConfig, summarise
    from taskgan_ros.tasks.registry import load_motion_scene

    config = EvaluateConfig(bundle="elsewhere/tiny", domain="target_wood", episodes=2)
    figures = summarise(np.array([[0.5, 0.02], [0.5, 0.12]]), load_motion_scene(short_scene), config)
    path = tmp_path_factory.mktemp("evaluation") / "evaluation.json"
    path.write_text(json.dumps(figures), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def bundle(
    target: Path,
    refined_run: Path,
    translator_run: Path,
    evaluation: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return the folder of an exported bundle. Not to change."""
    out = tmp_path_factory.mktemp("models") / "tiny"
    runs = ["--translator", translator_run, "--task-model", refined_run]
    taskgan("export", *runs, "--target", target, "--out", out, "--results", evaluation)
    return out
