"""Export of a translator and a task model to a bundle of ONNX graphs, checked against torch before it is written."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

import taskgan_ros
from taskgan_ros.core.config import build, expand_home, is_path, read_yaml, resolve, short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free
from taskgan_ros.core.progress import print_line
from taskgan_ros.core.schema import config_dataclass, to_plain
from taskgan_ros.data.dataset import Dataset, check_compatible, load_dataset, read_info
from taskgan_ros.policy.bundle import (
    COMMAND,
    FINITE,
    GUARD,
    IMAGE,
    JOINT_POS,
    NAME,
    TASK_MODEL,
    TRANSLATED,
    TRANSLATOR,
    Bundle,
    BundleCard,
    Result,
    write_bundle,
)
from taskgan_ros.robot.drawing import to_drawing
from taskgan_ros.robot.locate import is_reference
from taskgan_ros.robot.models import Robot, load_robot, shift_zeros
from taskgan_ros.robot.units import JOINT_GOALS, UNITS, ApproachRate
from taskgan_ros.training.learned import Learned, load_task_model
from taskgan_ros.training.lineage import (
    check_domain,
    count_images,
    data_seeds,
    fitted_images,
    generations,
    locate,
    refined_domains,
    translated_domains,
)
from taskgan_ros.training.model_card import write_model_card, write_table
from taskgan_ros.training.networks import TaskModel, to_network, to_uint8
from taskgan_ros.training.onnx_graph import OPSET, to_onnx
from taskgan_ros.training.run import read_description
from taskgan_ros.training.steps.fit_guard import GuardData, fit_guard, is_enough
from taskgan_ros.training.steps.translator import load_translator

APPROACH_RATE = 1.5  # 1/s
_ARM, _SCENE, _DRAWING = "arm.yaml", "scene.yaml", "arm.npz"
_MAX_COMMAND_DIFFERENCE = (
    1e-3  # rad/s: the float error of the graph; one byte of the translation moves the command more
)
_MAX_SHARE_OF_OTHER_BYTES = 1e-3  # a translation may round to the neighbouring byte here and there
_CHECKED_IMAGES = 32


@config_dataclass
class ExportConfig:
    """Export a trained task model to a bundle, behind a translator or, for the domain that it learned in, alone."""

    task_model: Path
    """The run of step 3, or of step 1 to leave refinement out."""
    target: Path
    """The target dataset: the export is checked on its images. Without a translator, the task model's own."""
    out: Path
    """The bundle's folder; must not exist. Its name is the bundle's."""
    translator: Path | None = None
    """The run of step 2; without one the task model sees the camera's images."""
    results: tuple[Path, ...] = field(default=())
    """JSON files of `taskgan evaluate` on the same graphs, for the card."""
    held_out: Path | None = None
    """Good camera images held out from training, for the guard's limits; they must look like the target's. Without
    them, the target's episodes are cross-validated."""
    approach_rate: ApproachRate | None = None
    """1/s, for a task model of joint goals: velocity = this × (goal − position). 1.5 if left out: then an arm that lags
    by up to 0.24 s does not overshoot, as rate × lag stays below 1/e."""
    picture: Path | None = None
    """A picture for the model card; by default the translator run's last grid."""


class TranslatorGraph(nn.Module):
    """F on bytes: images (N, H, W, 3) uint8 to the same."""

    def __init__(self, translator: nn.Module) -> None:
        """Wrap F."""
        super().__init__()
        self.translator = translator

    def forward(self, image: Tensor) -> Tensor:
        """Translate `image`."""
        return to_uint8(self.translator(to_network(image)))


class TaskModelGraph(nn.Module):
    """f_X on bytes: images (N, H, W, 3) uint8 to commands (N, J) in physical units."""

    def __init__(self, task_model: TaskModel, scale: NDArray[np.float32]) -> None:
        """Wrap f_X; `scale` (J,) undoes the standardisation of its labels."""
        super().__init__()
        self.task_model = task_model
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, image: Tensor) -> Tensor:
        """Predict from `image`."""
        command: Tensor = self.task_model(to_network(image)) * self.scale
        return command


class GoalGraph(TaskModelGraph):
    """A task model of joint goals, on bytes and joint positions: it commands `approach_rate` × (goal − position).

    The arm slows down as it arrives, and stops at the predicted goal.
    """

    def __init__(
        self,
        task_model: TaskModel,
        scale: NDArray[np.float32],
        approach_rate: float,
        is_continuous: NDArray[np.bool_],
    ) -> None:
        """Wrap f_X; `is_continuous` (J,) says which joints go the short way round."""
        super().__init__(task_model, scale)
        self._rate = approach_rate
        self.turn: Tensor
        self.register_buffer("turn", torch.from_numpy(2 * np.pi * is_continuous.astype(np.float32)))

    def forward(self, image: Tensor, joint_pos: Tensor) -> Tensor:  # type: ignore[override]  # it observes more
        """Return velocities (N, J) in rad/s from images (N, H, W, 3) uint8 and joint positions (N, J) in rad."""
        left = super().forward(image) - joint_pos
        left = left - self.turn * torch.round(left / (2 * torch.pi))
        return left * self._rate


def export(config: ExportConfig) -> Bundle:
    """Write the bundle and return it.

    Raises:
        InputError: runs or files that do not fit, an output that exists, a full disk, a graph that differs from torch.
    """
    check_name(config.out)
    translator = load_inverse(config.translator) if config.translator else None
    task_model, learned = load_task_model(config.task_model)
    target = load_dataset(config.target)
    check_compatible(learned.data, target.info)
    _check_domains(config, learned.data.domain, target.info.domain)
    arm, scene, files = own_files(*(_found(config.task_model, part) for part in (learned.data.arm, learned.data.scene)))
    card, pictures = _describe(config, learned, arm, scene), _pictures(config)
    graphs: dict[str, tuple[nn.Module, str]] = {} if translator is None else _translator_graph(translator)
    graphs[TASK_MODEL] = (
        task_model_graph(config.task_model, task_model, learned, card.approach_rate or APPROACH_RATE),
        COMMAND,
    )
    step = max(1, len(target) // _CHECKED_IMAGES)
    rows = slice(None, _CHECKED_IMAGES * step, step)
    observed = {IMAGE: torch.from_numpy(target.images[rows])}
    if card.joint_pos_names:
        observed[JOINT_POS] = torch.from_numpy(target.joint_pos[rows, target.info.indices(card.joint_pos_names)])
    differences = {}
    for name, (graph, output) in graphs.items():
        inputs = {IMAGE: observed[IMAGE]} if output == TRANSLATED else observed
        files[name] = to_onnx(graph, [values[:2] for values in inputs.values()], list(inputs), [output])
        differences[f"{Path(name).stem}.{output}"] = compare(name, files[name], graph, inputs, output)
    card = dataclasses.replace(card, export_max_abs_diff=differences)
    if translator is None:
        print_line(f"{config.out}: no guard, which looks at translations")
    elif is_enough(target):
        files[GUARD], guard = fit_guard(task_model, files[TRANSLATOR], _guard_data(config, target))
        card = dataclasses.replace(card, guard=guard)
    else:
        print_line(f"{config.out}: no guard: {len(target)} target images are too few to fit one")
    bundle = write_bundle(config.out, card, files, write_model_card(card, list(pictures)), pictures)
    largest = ", ".join(f"{name} {value:.2g}" for name, value in differences.items())
    print_line(f"{config.out}: largest differences from torch (bytes, {card.units}): {largest}")
    return bundle


def _translator_graph(translator: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    return {TRANSLATOR: (TranslatorGraph(translator), TRANSLATED)}


def task_model_graph(
    run: Path, network: TaskModel, learned: Learned, approach_rate: float = APPROACH_RATE
) -> TaskModelGraph:
    """Return a run's task model on bytes: a `GoalGraph` where it predicts joint goals."""
    if learned.data.task != JOINT_GOALS:
        return TaskModelGraph(network.eval(), learned.scale)
    arm = load_robot(_found(run, learned.data.arm)).arm
    turns = arm.is_continuous[arm.indices(learned.data.action_names)]
    return GoalGraph(network.eval(), learned.scale, approach_rate, turns)


def _check_domains(config: ExportConfig, learned_in: str, target: str) -> None:
    """Refuse a translator into another domain than the task model's, and a target of another than it takes."""
    taken: str | tuple[str, ...] | None = (learned_in, *refined_domains(config.task_model))
    if config.translator:
        taken, given = translated_domains(config.translator)
        check_domain(f"{config.translator}, what it translates into", learned_in, given)
    check_domain(f"target: {config.target}", taken, target)


def check_name(out: Path) -> None:
    """Refuse a folder that exists, or whose name cannot be a bundle's.

    Raises:
        OutputExistsError: something is there.
        InputError: another name.
    """
    check_free(out)
    if not re.fullmatch(NAME, out.name):
        raise InputError(f"{out}: expected a folder's name of letters, digits, _ - and ., got {out.name!r}")


def load_inverse(run: Path) -> nn.Module:
    """Return the translator of a run, which may stand before a task model.

    Raises:
        InputError: no such run, or one that translates the other way.
    """
    translator = load_translator(run).eval()
    direction = read_description(run).config["direction"]
    if direction != "inverse":
        raise InputError(f"{run}: expected an inverse translator, to stand before f_X, got a {direction} one")
    return translator


def _guard_data(config: ExportConfig, target: Dataset) -> GuardData:
    assert config.translator is not None  # a guard looks at translations
    run, settings = config.translator, read_description(config.translator).config
    pretrain = locate(run, settings["pretrain"]) if settings["pretrain"] else None
    return GuardData.load(locate(run, settings["source"]), target, pretrain, config.held_out)


def compare(name: str, data: bytes, graph: nn.Module, inputs: Mapping[str, Tensor], output: str) -> float:
    """Return the largest difference of a graph's output to torch, which takes the inputs in their order.

    Raises:
        InputError: it is too large, or the networks are not finite.
    """
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected: Tensor = graph(*inputs.values())
    finite, actual = session.run([FINITE, output], {name: values.numpy() for name, values in inputs.items()})
    if not finite.all():
        got = f"NaN, infinity or huge values on {np.sum(~finite)} images"
        raise InputError(f"{name}: expected finite weights and activations, got {got}")
    difference = np.abs(actual.astype(np.float64) - expected.numpy().astype(np.float64))
    wrong = (difference > 0).mean() > _MAX_SHARE_OF_OTHER_BYTES or difference.max() > 1
    if wrong if output == TRANSLATED else difference.max() > _MAX_COMMAND_DIFFERENCE:
        raise InputError(f"{name}: expected {output} as in torch, got a difference of {difference.max():.3g}")
    return float(difference.max())


def _found(run: Path, part: str) -> str:
    """Return where a run's arm or scene is, if it is a file."""
    return str(locate(run, part)) if is_path(part) and not is_reference(part) else part


def own_files(arm: str, scene: str) -> tuple[str, str, dict[str, bytes]]:
    """Return the card's arm and scene, and the files that they name in the bundle where they are not shipped ones.

    Args:
        arm: a shipped name, a reference to a model or a path.
        scene: a shipped name or a path.
    """
    path = resolve("scenes", scene)
    values = read_yaml(path)
    zeros = values.pop("joint_zeros", {})  # become part of the arm's numbers
    files, robot = {}, shift_zeros(load_robot(arm), zeros)
    has_meshes = bool(robot.arm.model) or any(part.kind == "mesh" for part in robot.arm.tool)
    if is_path(arm) and not has_meshes and not zeros:
        files[_ARM], arm = Path(arm).read_bytes(), _ARM
    elif has_meshes or zeros:  # as numbers: the robot's computer reads no models
        files |= _arm_files(robot)
        arm = _ARM
    if is_path(scene) or _ARM in files:
        values["arm"] = arm  # which lies beside it now
        if isinstance(target := values.get("target"), dict) and "file" in target:
            mesh = path.parent / expand_home(target["file"])
            files[mesh.name], values["target"] = mesh.read_bytes(), {**target, "file": mesh.name}
        files[_SCENE], scene = yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode(), _SCENE
    return arm, scene, files


def _arm_files(robot: Robot) -> dict[str, bytes]:
    """Return the arm's numbers, and what it is drawn with where that is not among them."""
    arm, files = robot.arm, {}
    if arm.model:
        files[_DRAWING] = to_drawing(robot.drawable)
        arm = dataclasses.replace(arm, model=dataclasses.replace(arm.model, drawing=_DRAWING))
    elif any(part.kind == "mesh" for part in arm.tool):
        files[_DRAWING] = to_drawing(robot.drawable)
        arm = dataclasses.replace(arm, drawing=_DRAWING)
    files[_ARM] = yaml.safe_dump(to_plain(arm), sort_keys=False, allow_unicode=True).encode()
    return files


def _describe(config: ExportConfig, learned: Learned, arm: str, scene: str) -> BundleCard:
    first, *refinements = generations(config.task_model)
    counts: dict[str, int | float | str] = {
        "task_model_steps": first["steps"],
        "refine_steps": sum(refinement["steps"] for refinement in refinements),
    }
    if fitted := fitted_images(config.task_model):
        counts["output_fitted_to"] = fitted
    is_of_goals = learned.data.task == JOINT_GOALS
    if config.approach_rate is not None and not is_of_goals:
        got = f"{config.approach_rate} for one of {learned.data.task}"
        raise InputError(f"approach_rate: expected none but for a task model of joint goals, got {got}")
    task = "joint_velocities" if is_of_goals else learned.data.task
    values: dict[str, Any] = {
        "name": config.out.name,
        "task": task,
        "arm": arm,
        "scene": scene,
        "target_domain": short_name(read_info(config.target).domain),
        "joint_names": learned.data.action_names,
        "units": UNITS[task],
        "label_scale": learned.label_scale,
        "image": {"height": learned.data.height, "width": learned.data.width},
        "observes": (IMAGE, JOINT_POS) if is_of_goals else (IMAGE,),
        "approach_rate": (config.approach_rate or APPROACH_RATE) if is_of_goals else None,
        "opset": OPSET,
        "data": counts,
        "seeds": {"task_model": first["seed"], **data_seeds(*filter(None, (config.translator, config.task_model)))},
        "taskgan_version": taskgan_ros.__version__,
        "results": tuple(_read_result(path, config.out.name) for path in config.results),
    }
    if config.translator:
        values |= _describe_translator(config.translator, counts, values["seeds"])
    return build(BundleCard, values, str(config.out))


def _describe_translator(run: Path, counts: dict[str, int | float | str], seeds: dict[str, int]) -> dict[str, Any]:
    """Return what the card says of a translator's run."""
    settings = read_description(run).config
    data: dict[str, int | float | str] = {
        "source_images": read_info(locate(run, settings["source"])).images,
        "target_images": count_images(run, settings, "target", "target_images"),
        "translator_steps": settings["settings"]["steps"],
        **counts,
    }
    if settings["pretrain"]:
        data["randomised_pairs"] = read_info(locate(run, settings["pretrain"])).images
        data["pretrain_steps"] = settings["settings"]["pretrain_steps"]
    return {
        "lambda_task": settings["settings"]["lambda_task"],
        "recipe": short_name(settings["recipe"]),
        "data": data,
        "seeds": {"translator": settings["seed"], **seeds},
    }


def _read_result(path: Path, name: str) -> Result:
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        command, measured = figures.pop("command"), Path(figures["bundle"]).name
        figures |= {"bundle": measured, "domain": short_name(figures["domain"])}
        what = f"{'f_X(F(image))' if figures.pop('translate') else 'f_X(image)'} in {figures['domain']}"
        result = Result(what=what, command=command, figures=figures)
        write_table((result,))  # finds what is missing
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected a JSON file of `taskgan evaluate`, got: {error!r}") from error
    if measured != name:
        raise InputError(f"{path}: expected figures of the bundle {name}, got those of {measured}")
    return result


def _pictures(config: ExportConfig) -> dict[str, bytes]:
    path = config.picture
    if path is None:
        if config.translator is None:
            return {}
        grids = sorted((config.translator / "images").glob("translations_*.png"))
        if not grids:
            return {}
        path = grids[-1]
    if not path.is_file():
        raise InputError(f"{path}: expected a picture for the model card, got no file")
    return {f"translations{path.suffix}": path.read_bytes()}
