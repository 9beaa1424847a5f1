"""`taskgan bundle`: somebody else's task model, an ONNX file, as a bundle that the node drives."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from onnx.onnx_ml_pb2 import ModelProto

import taskgan_ros
from taskgan_ros.core.config import build, short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.progress import print_line
from taskgan_ros.policy.bundle import (
    COMMAND,
    FINITE,
    IMAGE,
    JOINT_POS,
    TASK_MODEL,
    TRANSLATED,
    TRANSLATOR,
    Bundle,
    BundleCard,
    load_bundle,
    write_bundle,
)
from taskgan_ros.policy.graph import read_opset
from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.models import load_robot
from taskgan_ros.robot.units import UNITS
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.training.finite_check import add_finite_check
from taskgan_ros.training.lineage import translated_domains
from taskgan_ros.training.model_card import write_foreign_card
from taskgan_ros.training.onnx_graph import to_onnx, without_traces
from taskgan_ros.training.run import CONFIG
from taskgan_ros.training.steps.export import TranslatorGraph, check_name, compare, load_inverse, own_files
from taskgan_ros.training.task_model_onnx import (
    Layout,
    Normalisation,
    Scale,
    TaskModelOnnx,
    first_line,
    open_session,
    read_task_model,
    wrap,
)

Array = NDArray[np.float64]

_GREY = 128  # as the node's first inference has it
_NOISE_IMAGES = 5
_SPREAD_RAD = 0.3  # of the joint positions that it is compared at, about the arm's home
_MAX_DIFFERENCE = 1e-3  # of a command, or of its size above 1: float32 goes astray by less


@dataclass(frozen=True)
class BundleConfig:
    """Put a task model of your own, an ONNX file, into a bundle that the node drives."""

    task_model: Path
    """The ONNX file: an image, and joint positions if it takes them, to a command or a chunk of them."""
    out: Path
    """The bundle's folder; must not exist. Its name is the bundle's."""
    scene: str
    """A shipped scene's name or a YAML file: where arm and camera stand."""
    arm: str | None = None
    """A shipped arm's name or a YAML file; by default the scene's."""
    translator: str | None = None
    """The translator to run before it: a run of step 2, a bundle, or an ONNX file as bundles have it."""
    task: Literal["joint_velocities", "joint_angles"] = "joint_velocities"
    """What it commands: joint velocities or joint angles."""
    joints: tuple[str, ...] = ()
    """The joints that it drives, in the order of its output; by default the scene's."""
    observed_joints: tuple[str, ...] = ()
    """The joints whose positions it takes, in its order; by default those it drives."""
    units: Literal["rad", "deg"] = "rad"
    """The units of angles in its joint positions and its commands."""
    step_s: float | None = None
    """How long each command of a chunk is for, s."""
    image_input: str | None = None
    """The input that takes the image; by default the only one of four dimensions."""
    joint_input: str | None = None
    """The input that takes joint positions; by default the only other one."""
    output: str | None = None
    """The output that gives the command; by default the only one."""
    layout: Layout | None = None
    """Whether channels come first or last; by default as the input's shape says."""
    image_size: tuple[int, int] | None = None
    """Height and width, where the graph leaves them free."""
    color_order: Literal["rgb", "bgr"] = "rgb"
    """Which colour comes first."""
    scale: Scale | None = None
    """The pixels' range; by default 0..255 for a graph that takes bytes, 0..1 for one that takes floats."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted from the scaled colours, in the order that it takes them."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """What the scaled colours are divided by then."""
    joint_mean: tuple[float, ...] = ()
    """Subtracted from the joint positions, in its units, one per joint."""
    joint_std: tuple[float, ...] = ()
    """What the joint positions are divided by then."""
    action_mean: tuple[float, ...] = ()
    """Added to what it gives, after that was multiplied by action-std; in its units, one per joint."""
    action_std: tuple[float, ...] = ()
    """Factor on its output; 1/step turns the position steps of a policy into velocities."""
    camera_fov: float | None = None
    """The vertical field of view of its images, rad; by default the scene's camera's."""
    crop: Literal["centre", "none"] = "centre"
    """How images of another aspect ratio were treated in training: cropped at the centre, or squeezed whole."""


def make_bundle(config: BundleConfig) -> Bundle:
    """Write the bundle, say what was understood, and return it.

    Raises:
        InputError: a file that is no ONNX model or does not fit the options, with what was expected and found; an
            output that exists.
    """
    check_name(config.out)
    scene = load_scene(config.scene)
    config = dataclasses.replace(config, arm=config.arm or scene.arm_name, joints=config.joints or scene.driven_joints)
    arm_name, scene_name, files = own_files(str(config.arm), config.scene)
    arm = load_robot(str(config.arm)).arm
    task_model = read_task_model(
        config.task_model, config.image_input, config.joint_input, config.output, config.layout, config.image_size
    )
    units = _normalisation(config, task_model)
    samples = _samples(config, task_model, arm)
    expected = _commands(task_model, units, samples)
    steps = _steps(config, task_model, expected)
    files[TASK_MODEL], difference, is_whole = _checked_graph(task_model, units, steps, samples, expected)
    target_domain = ""
    if config.translator:
        files[TRANSLATOR], target_domain = _read_translator(config.translator, task_model.size)
    card = _describe(config, task_model, files, steps, difference)
    card = dataclasses.replace(card, arm=arm_name, scene=scene_name, target_domain=target_domain)
    bundle = write_bundle(config.out, card, files, write_foreign_card(card, TRANSLATOR in files))
    for label, text in _table(config, task_model, units, card, is_whole):
        print_line(f"{label:12} {text}")
    return bundle


def _normalisation(config: BundleConfig, task_model: TaskModelOnnx) -> Normalisation:
    observed = (config.observed_joints or config.joints) if task_model.joint_pos else ()
    takes_bytes = task_model.image.dtype == "uint8"
    scale = config.scale or ("0..255" if takes_bytes else "0..1")
    plain = ("0..255", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    if takes_bytes and (scale, config.mean, config.std) != plain:
        expected = f"scale 0..255, and neither mean nor std, for {task_model.image}, which takes bytes"
        raise InputError(f"expected {expected}, got {scale}, {config.mean} and {config.std}")
    if task_model.joint_pos is None and (config.joint_mean or config.joint_std or config.observed_joints):
        raise InputError(f"{config.task_model}: expected an input of joint positions, which options are for, got none")
    return Normalisation(
        scale=scale,
        mean=np.array(config.mean),
        std=_std("std", config.std, 3),
        is_bgr=config.color_order == "bgr",
        joint_mean=_vector("joint_mean", config.joint_mean, len(observed), 0.0),
        joint_std=_std("joint_std", config.joint_std, len(observed)),
        action_mean=_vector("action_mean", config.action_mean, len(config.joints), 0.0),
        action_std=_std("action_std", config.action_std, len(config.joints)),
        angle=180 / math.pi if config.units == "deg" else 1.0,
    )


def _vector(option: str, values: tuple[float, ...], count: int, default: float) -> Array:
    array = np.array(values or [default] * count, np.float64)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise InputError(f"{option}: expected {count} finite numbers, one per joint, got {list(values)}")
    return array


def _std(option: str, values: tuple[float, ...], count: int) -> Array:
    array = _vector(option, values, count, 1.0)
    if not np.all(array > 0):
        raise InputError(f"{option}: expected numbers above 0, got {list(values)}")
    return array


@dataclass(frozen=True)
class _Samples:
    """Observations to compare graphs on: images (N, H, W, 3) uint8, grey first, and joint positions (N, Jo) rad."""

    images: NDArray[np.uint8]
    joint_pos: Array


def _samples(config: BundleConfig, task_model: TaskModelOnnx, arm: Arm) -> _Samples:
    names = config.observed_joints or config.joints
    if unknown := [name for name in (*config.joints, *names) if name not in arm.joint_names]:
        raise InputError(f"joints: expected some of the arm's, {list(arm.joint_names)}, got {unknown}")
    rng = np.random.default_rng(0)
    shape = (_NOISE_IMAGES, *task_model.size, 3)
    images = np.concatenate([np.full((1, *shape[1:]), _GREY, np.uint8), rng.integers(0, 256, shape, np.uint8)])
    home = np.array(arm.home)[arm.indices(names)]
    if task_model.joint_pos and task_model.joint_pos.shape[1] not in ("N", len(names)):
        expected = f"joint positions of {len(names)} joints, {list(names)}"
        raise InputError(f"{task_model.path}: expected {expected}, got the input {task_model.joint_pos}")
    return _Samples(images, home + rng.uniform(-_SPREAD_RAD, _SPREAD_RAD, (len(images), len(home))))


def _commands(task_model: TaskModelOnnx, units: Normalisation, samples: _Samples) -> Array:
    """Return what the file itself commands, (N, J) or (N, K, J), one observation after the other.

    Raises:
        InputError: it gives the wrong number of values, different ones the second time, or non-finite ones.
    """

    def act(image: NDArray[np.uint8], joint_pos: Array) -> Array:
        joints = units.joints(joint_pos) if task_model.joint_pos else joint_pos
        return task_model.run(units.pixels(image), joints)

    first = act(samples.images[0], samples.joint_pos[0])
    joints = len(units.action_std)
    if first.shape[-1] != joints:
        expected = f"{joints} values a command, one for each of joints"
        raise InputError(f"{task_model.path}: expected {expected}, got {first.shape[-1]} from {task_model.output.name}")
    if not np.isfinite(first).all():
        raise InputError(f"{task_model.path}: expected a finite command for a grey image, got {first.tolist()}")
    if not np.array_equal(first, act(samples.images[0], samples.joint_pos[0])):
        raise InputError(f"{task_model.path}: expected the same command for the same image, got another: is it random?")
    actions = [act(*each) for each in zip(samples.images, samples.joint_pos, strict=True)]
    return units.command(np.stack(actions))


def _steps(config: BundleConfig, task_model: TaskModelOnnx, commands: Array) -> int | None:
    """Return K of its chunk, None for a single command."""
    if commands.ndim == 2 or (commands.shape[1] == 1 and config.step_s is None):
        if config.step_s is not None:
            raise InputError(f"step_s: expected none, as {task_model.output} is a single command, got {config.step_s}")
        return None
    if config.step_s is None or not config.step_s > 0:
        got = "none" if config.step_s is None else config.step_s
        raise InputError(f"step_s: expected the seconds of each of {commands.shape[1]} commands, got {got}")
    return int(commands.shape[1])


def _checked_graph(
    task_model: TaskModelOnnx, units: Normalisation, steps: int | None, samples: _Samples, expected: Array
) -> tuple[bytes, float, bool]:
    """Return the bundle's graph, its largest difference to the file, and whether it looks into the networks.

    Raises:
        InputError: it differs from the file, on several images at once for instance.
    """
    wrapped = wrap(task_model, units, steps)
    why = ""
    for looks_inside in (True, False):
        model = ModelProto()
        model.CopyFrom(wrapped)
        try:
            data = without_traces(add_finite_check(model, looks_inside))
            return data, _difference(data, task_model, samples, expected), looks_inside
        except Exception as error:  # of onnx and onnxruntime, which share no base class, and ours
            why = first_line(error)
    raise InputError(f"{task_model.path}: expected the same commands of {len(expected)} images at once, got: {why}")


def _difference(data: bytes, task_model: TaskModelOnnx, samples: _Samples, expected: Array) -> float:
    """Return the largest difference of a graph's commands to the expected ones.

    Raises:
        ValueError: it is too large, or `finite` is not true of each image.
    """
    inputs: dict[str, NDArray[np.generic]] = {IMAGE: samples.images}
    if task_model.joint_pos:
        inputs[JOINT_POS] = samples.joint_pos.astype(np.float32)
    command, finite = open_session(data).run([COMMAND, FINITE], inputs)
    if finite.shape != expected.shape[:1] or not finite.all():
        raise ValueError(f"finite: {finite.tolist()}")
    difference = float(np.abs(command.reshape(expected.shape) - expected).max())
    if not difference <= _MAX_DIFFERENCE * max(1.0, np.abs(expected).max()):
        raise ValueError(f"a difference of {difference:.3g}: is its batch fixed to 1 inside?")
    return difference


def _read_translator(name_or_path: str, size: tuple[int, int]) -> tuple[bytes, str]:
    """Return translator.onnx for images of a size, and the domain that it translates from, where that is known."""
    path = Path(name_or_path)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise InputError(f"{path}: expected an ONNX file, got none")
        return path.read_bytes(), ""
    if not (path / CONFIG).is_file():
        bundle = load_bundle(name_or_path)
        if TRANSLATOR not in bundle.card.files:
            raise InputError(f"{bundle.path}: expected a bundle with a translator, got one without")
        return (bundle.path / TRANSLATOR).read_bytes(), bundle.card.target_domain
    graph = TranslatorGraph(load_inverse(path)).eval()
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8))
    data = to_onnx(graph, [images], [IMAGE], [TRANSLATED])
    compare(TRANSLATOR, data, graph, {IMAGE: images}, TRANSLATED)
    return data, short_name(translated_domains(path)[0] or "")


def _describe(
    config: BundleConfig, task_model: TaskModelOnnx, files: dict[str, bytes], steps: int | None, difference: float
) -> BundleCard:
    height, width = task_model.size
    values = {
        "name": config.out.name,
        "task": config.task,
        "arm": config.arm,
        "scene": config.scene,
        "joint_names": config.joints,
        "units": UNITS[config.task],
        "label_scale": [1.0] * len(config.joints),
        "image": {"height": height, "width": width},
        "camera_fov": config.camera_fov,
        "crop": config.crop,
        "observes": [IMAGE, JOINT_POS] if task_model.joint_pos else [IMAGE],
        "observed_joints": config.observed_joints,
        "chunk": None if steps is None else {"length": steps, "step_s": config.step_s},
        "opset": max(read_opset(files[name]) for name in (TASK_MODEL, TRANSLATOR) if name in files),
        "data": {"file": task_model.path.name, "sha256": hashlib.sha256(task_model.path.read_bytes()).hexdigest()},
        "taskgan_version": taskgan_ros.__version__,
        "export_max_abs_diff": {f"{Path(TASK_MODEL).stem}.{COMMAND}": difference},
    }
    return build(BundleCard, values, str(config.out))


def _table(
    config: BundleConfig, task_model: TaskModelOnnx, units: Normalisation, card: BundleCard, is_whole: bool
) -> list[tuple[str, str]]:
    """Return what was understood as a table, one row per topic."""
    colours = f"{config.color_order} {units.scale}, mean {list(config.mean)}, std {list(config.std)}"
    joints = f"{task_model.joint_pos} <- {config.units} of {', '.join(card.joint_pos_names)}"
    chunk = f", {card.chunk.length} of {card.chunk.step_s:g} s each" if card.chunk else ""
    angle = card.units.replace("rad", config.units)
    difference = max(card.export_max_abs_diff.values())
    return [
        ("bundle", f"{config.out}: {card.task} of {card.arm} in {card.scene}"),
        ("image", f"{task_model.image} <- {task_model.layout}, {colours}; crop {card.crop}"),
        ("joint_pos", joints if task_model.joint_pos else "not taken"),
        ("command", f"{task_model.output} in {angle} -> {card.units} of {', '.join(card.joint_names)}{chunk}"),
        ("translator", f"{config.translator or 'none'}"),
        ("finite", "every value in the networks is checked" if is_whole else "the commands alone are checked"),
        ("difference", f"at most {difference:.2g} {card.units} from the file's own commands"),
    ]
