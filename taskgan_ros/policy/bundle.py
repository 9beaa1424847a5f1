"""A bundle: a folder of ONNX graphs and the card that says what they are, verified before any of it runs."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from taskgan_ros.core.config import (
    build,
    expand_home,
    is_path,
    load,
    read_yaml,
    resolve,
    share_dir,
)
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free
from taskgan_ros.core.schema import Before, Field, config_dataclass, field_rule, to_plain, whole_rule
from taskgan_ros.policy.graph import Signature, Tensor, read_signature
from taskgan_ros.robot.arm import Arm, load_arm
from taskgan_ros.robot.units import JOINT_GOALS, UNITS, ApproachRate, NonNegative, Positive, at_most
from taskgan_ros.vision.camera import Camera

CARD = "bundle.yaml"
README = "README.md"
TRANSLATOR = "translator.onnx"
TASK_MODEL = "task_model.onnx"
POLICY = "policy.onnx"
GRAPHS = (TRANSLATOR, TASK_MODEL, POLICY)  # every bundle has the task model; the policy is the other two in one file
GUARD = "guard.onnx"

IMAGE: Final = "image"
JOINT_POS: Final = "joint_pos"
COMMAND, TRANSLATED, SCORES = "command", "translated", "scores"
FINITE = "finite"  # per image: whether all values between it and the other outputs are; see `training/finite_check.py`

NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"  # cannot point to another folder
Name = Annotated[str, Field(pattern=NAME)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(gt=0)]
FieldOfView = Annotated[float, Field(gt=0, lt=3)]  # rad
Scale = Annotated[Positive, at_most(10, "rad/s or rad", "degrees")]
Figure = int | float | str


def _refuse_format_1(number: object) -> object:
    if number == 1:
        raise ValueError(
            "expected 2, whose graphs report values that are not finite; `taskgan upgrade` converts format 1"
        )
    return number


@config_dataclass
class ImageFormat:
    """The images that the graphs take: uint8, [N, height, width, 3]."""

    height: Count
    width: Count
    color_order: Literal["rgb"] = "rgb"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


@config_dataclass
class ActionChunk:
    """Several commands from one observation: the first holds from the image's time on, each for `step_s`."""

    length: Count
    step_s: Positive


@config_dataclass
class Result:
    """A measurement: what was measured, the command that measures it again, and its figures."""

    what: str
    command: str
    figures: dict[str, Figure]


@config_dataclass
class GuardCard:
    """What `guard.onnx` measures of an image, and the values that good images have.

    Attributes:
        scores: what the graph gives, each in units of its limit; `policy/guard.py` says what they are.
        quantile: the share of good images that are below the limit of 1, by each score.
        images: how many good images that was found on.
        held_out: whether no training saw them; else they are the target images, cross-validated by episode.
        likeness: distance of held-out images from the target's, relative to the distances among those: about 1 if they
            look alike; None without held-out images, or if an older version wrote the card.
        domain: whose images count as good; empty: the bundle's target domain.
        quantiles: of good images' scores, by score, "0.99" say, and in units of the limit.
    """

    scores: Annotated[tuple[Name, ...], Field(min_length=1)]
    quantile: Annotated[float, Field(gt=0, lt=1)]
    images: Count
    held_out: bool
    likeness: NonNegative | None = None
    domain: str = ""
    quantiles: dict[str, dict[str, NonNegative]]

    @staticmethod
    @field_rule("scores")
    def _scores_differ(scores: tuple[str, ...], _: Mapping[str, Any]) -> None:
        if len({*scores, "frozen"}) <= len(scores):  # `frozen` is not from the graph, and one name would hide another
            raise ValueError("expected each score once, and none named frozen")


@config_dataclass
class BundleCard:
    """What `bundle.yaml` says.

    Attributes:
        format: the layout of the folder. Graphs of format 1 had no output `finite`.
        name: of the bundle, as `models/` has it.
        task: what the command is.
        arm: a shipped arm, or an arm file among `files`.
        scene: the scene it was trained in: a shipped one, or a scene file among `files`.
        target_domain: the domain of the camera images that the translator (F) takes; empty without one.
        joint_names: one for each of the J outputs, in their order.
        units: of the command: rad/s for joint_velocities, rad for joint_angles.
        label_scale: (J,) in `units`, or in rad where there is an `approach_rate`; the scale of the labels that the task
            model (f_X) was trained on. The graphs undo it.
        image: what the graphs take.
        camera_fov: rad, the vertical field of view of those images; None: as the scene says.
        crop: how a camera's image of another shape becomes one of theirs. `centre`: the largest part of their shape,
            from the middle. `none`: the whole image, squeezed.
        observes: what the task model takes, of `image` and `joint_pos`.
        observed_joints: whose angles `joint_pos` has, in this order; empty: those of `joint_names`.
        approach_rate: 1/s, of a task model that predicts the joint angles at the goal: its command is this times
            (goal − joint position). None: the task model predicts the command itself.
        chunk: the commands that one observation gives; None: one, which holds until the next.
        opset: of the graphs, the newest where they differ.
        lambda_task: λ, the weight of the task in the translator's loss; 0 without a translator of ours.
        recipe: the training recipe; empty for networks from elsewhere.
        data: counts, of source and target images for instance.
        seeds: of each training step.
        taskgan_version: that exported it.
        files: SHA-256 of each file that a program reads. The model card and its pictures are for people, who
            may edit them.
        export_max_abs_diff: the largest difference to torch found at export, by output.
        results: measured on the exported bundle.
        guard: on `guard.onnx`, for a bundle that has one.
    """

    format: Annotated[Literal[2], Before(_refuse_format_1)] = 2
    name: Name
    task: Literal["joint_velocities", "joint_angles"]
    arm: str
    scene: str
    target_domain: str = ""
    joint_names: Annotated[tuple[str, ...], Field(min_length=1)]
    units: str
    label_scale: tuple[Scale, ...]
    image: ImageFormat
    camera_fov: FieldOfView | None = None
    crop: Literal["centre", "none"] = "centre"
    observes: tuple[Literal["image", "joint_pos"], ...] = (IMAGE,)
    observed_joints: tuple[str, ...] = ()
    approach_rate: ApproachRate | None = None
    chunk: ActionChunk | None = None
    opset: Count
    lambda_task: NonNegative = 0.0
    recipe: str = ""
    data: dict[str, Figure] = dataclasses.field(default_factory=dict)
    seeds: dict[str, int] = dataclasses.field(default_factory=dict)
    taskgan_version: str
    files: dict[Name, Sha256] = dataclasses.field(default_factory=dict)
    export_max_abs_diff: dict[str, NonNegative] = dataclasses.field(default_factory=dict)
    results: tuple[Result, ...] = ()
    guard: GuardCard | None = None

    @staticmethod
    @field_rule("joint_names", "observed_joints")
    def _names_differ(names: tuple[str, ...], _: Mapping[str, Any]) -> None:
        if len(set(names)) < len(names):
            raise ValueError("expected each joint once")

    @staticmethod
    @field_rule("observes")
    def _sees(observes: tuple[str, ...], _: Mapping[str, Any]) -> None:
        if observes not in ((IMAGE,), (IMAGE, JOINT_POS)):
            raise ValueError(f"expected [{IMAGE}] or [{IMAGE}, {JOINT_POS}]")

    @whole_rule
    def _observes_what_it_names(self) -> None:
        if self.observed_joints and JOINT_POS not in self.observes:
            raise ValueError(f"observed_joints: expected none where observes lacks {JOINT_POS}, got some")

    @whole_rule
    def _approaches_what_it_observes(self) -> None:
        observed = self.task == "joint_velocities" and self.joint_pos_names == self.joint_names
        if self.approach_rate is not None and not observed:
            raise ValueError(
                "approach_rate: expected one only for joint_velocities that observe the joint_pos of joint_names"
            )

    @staticmethod
    @field_rule("units")
    def _units_fit_task(units: str, earlier: Mapping[str, Any]) -> None:
        expected = UNITS.get(earlier.get("task", ""))
        if expected and units != expected:
            raise ValueError(f"expected {expected} for the task {earlier['task']}")

    @staticmethod
    @field_rule("label_scale")
    def _one_scale_a_joint(scale: tuple[float, ...], earlier: Mapping[str, Any]) -> None:
        names = earlier.get("joint_names", scale)
        if len(scale) != len(names):
            raise ValueError(f"expected {len(names)} values, one for each of joint_names")

    @property
    def labels(self) -> str:
        """The task of the datasets that the task model (f_X) learns from."""
        return self.task if self.approach_rate is None else JOINT_GOALS

    @property
    def joint_pos_names(self) -> tuple[str, ...]:
        """The joints whose angles the task model takes, in order; none where it takes the image alone."""
        return (self.observed_joints or self.joint_names) if JOINT_POS in self.observes else ()


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its folder, its card, and the arm that it is for."""

    path: Path
    card: BundleCard
    arm: Arm

    @cached_property
    def driven(self) -> NDArray[np.intp]:
        """(J,) indices of the joints that it commands among the arm's."""
        return self.arm.indices(self.card.joint_names)

    @property
    def scene_name(self) -> str | Path:
        """The scene it was trained in: a shipped name, or the path of the bundle's own file."""
        return _part(self.path, self.card, "scene")

    @property
    def camera_fov(self) -> float:
        """The vertical field of view of the images that it was trained on, rad.

        Raises:
            InputError: neither the card nor the scene says.
        """
        if self.card.camera_fov is not None:
            return self.card.camera_fov
        path = resolve("scenes", self.scene_name)
        try:
            return float(read_yaml(path)["camera"]["fov"])
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"{path}: expected the camera's fov, got none: {error!r}") from error

    @property
    def camera(self) -> Camera | None:
        """Where the camera of those images stands, with their field of view; None where the scene does not say.

        Raises:
            InputError: the scene's camera is invalid.
        """
        path = resolve("scenes", self.scene_name)
        values = read_yaml(path)
        if not isinstance(values, dict) or not isinstance(values.get("camera"), dict):
            return None
        return dataclasses.replace(build(Camera, values["camera"], f"{path}: camera"), fov=self.camera_fov)


def shipped_bundles() -> tuple[str, ...]:
    """Return the names of the bundles in `models/`."""
    return tuple(sorted(card.parent.name for card in (share_dir() / "models").glob(f"*/{CARD}")))


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Return a shipped bundle by name, or the one in a user's folder, after checking all of it.

    A folder in the working directory never shadows a shipped name; write `./name` for it.

    Raises:
        InputError: no such bundle; or its card, a file's hash, a graph's opset, inputs or outputs, or the
            joint names do not fit; or its own arm or scene file is invalid. The message says where, what was
            expected and what was found.
    """
    path = _find(name_or_path)
    card = load(BundleCard, path / CARD)
    needed = (TASK_MODEL, TRANSLATOR) if POLICY in card.files else (TASK_MODEL,)
    if missing := [name for name in needed if name not in card.files]:
        raise InputError(f"{path / CARD}: files: expected {list(needed)} among them, got none for {missing}")
    if (card.guard is None) != (GUARD not in card.files):
        got = "a file and no entry" if card.guard is None else "an entry and no file"
        raise InputError(f"{path / CARD}: expected {GUARD} among files and an entry guard, or neither, got {got}")
    for name, expected in card.files.items():
        data = read_verified(path / name, expected)
        if name in (*GRAPHS, GUARD):
            _check_graph(path / name, read_signature(data, path / name), card)
    scene = _part(path, card, "scene")
    if card.scene in card.files:
        read_yaml(Path(scene))
    return Bundle(path, card, _load_arm(path, card))


def read_pictures(folder: Path) -> dict[str, bytes]:
    """Return the pictures of a bundle's model card by file name, as `write_bundle` takes them."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def write_bundle(
    out: Path,
    card: BundleCard,
    files: Mapping[str, bytes],
    readme: str,
    pictures: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle that `load_bundle` takes, all of it or nothing.

    It is put together and verified beside `out` and then renamed, so an interrupted or failed export leaves
    nothing.

    Args:
        out: the folder to make.
        card: its `files` are replaced by the hashes of `files`.
        files: content by file name; the task model, other graphs, and whatever else programs read.
        readme: the model card, Markdown.
        pictures: content by file name, for the model card.

    Raises:
        OutputExistsError: `out` exists.
        InputError: it would not load again, or cannot be written, the disk being full for instance.
    """
    check_free(out)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    plain = to_plain(dataclasses.replace(card, files=hashes))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    contents = {**(pictures or {}), **files, README: readme.encode(), CARD: text.encode()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as beside:
            folder = Path(beside) / out.name
            folder.mkdir()
            for name, data in contents.items():
                _write(folder / name, data)
            bundle = load_bundle(folder)
            folder.rename(out)
    except OSError as error:
        size = sum(map(len, contents.values())) / 1e6
        raise InputError(f"{out}: expected to write {size:.1f} MB there, got: {error}") from error
    return dataclasses.replace(bundle, path=out)


def _find(name_or_path: str | Path) -> Path:
    shipped = shipped_bundles()
    if str(name_or_path) in shipped:
        return share_dir() / "models" / name_or_path
    path = expand_home(name_or_path)
    if not path.is_dir():
        raise InputError(f"bundle: expected a folder or one of [{', '.join(shipped)}], got {str(name_or_path)!r}")
    if not (path / CARD).is_file():
        found = sorted(file.name for file in path.iterdir())
        raise InputError(f"{path}: expected a bundle, which has {CARD}, got a folder with {found}")
    return path


def read_verified(path: Path, expected: str) -> bytes:
    """Return the content of a bundle's file.

    Raises:
        InputError: its SHA-256 is not `expected`, or it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected this file, which {CARD} lists, got: {error.strerror}") from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected:
        got = f"{actual} of {len(data)} bytes: damaged, cut short or replaced"
        raise InputError(f"{path}: expected SHA-256 {expected}, as {CARD} says, got {got}")
    return data


def _check_graph(path: Path, found: Signature, card: BundleCard) -> None:
    if found.opset > card.opset:
        raise InputError(f"{path}: expected opset {card.opset} or older, as {CARD} says, got {found.opset}")
    inputs, outputs = _signatures(card)[path.name]
    for what, expected, actual in (("inputs", inputs, found.inputs), ("outputs", outputs, found.outputs)):
        if set(actual) != set(expected):
            raise InputError(f"{path}: expected {what} {_listed(expected)}, got {_listed(actual)}")


def _signatures(card: BundleCard) -> dict[str, tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
    """Return the inputs and outputs of each graph of a bundle."""
    pixels, joints = ("N", *card.image.shape, 3), ("N", len(card.joint_names))
    steps = (card.chunk.length,) if card.chunk else ()
    image, translated = Tensor(IMAGE, "uint8", pixels), Tensor(TRANSLATED, "uint8", pixels)
    command = Tensor(COMMAND, "float32", ("N", *steps, len(card.joint_names)))
    observed, finite = [image], Tensor(FINITE, "bool", ("N",))
    if card.joint_pos_names:
        observed.append(Tensor(JOINT_POS, "float32", ("N", len(card.joint_pos_names))))
    signatures: dict[str, tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = {
        TRANSLATOR: ((image,), (translated, finite)),
        TASK_MODEL: (tuple(observed), (command, finite)),
        POLICY: (tuple(observed), (command, translated, finite)),
    }
    if card.guard:
        judged = (image, translated, Tensor(JOINT_POS, "float32", joints))
        signatures[GUARD] = (judged, (Tensor(SCORES, "float32", ("N", len(card.guard.scores))), finite))
    return signatures


def _listed(tensors: tuple[Tensor, ...]) -> str:
    return "; ".join(map(str, tensors))


def _part(path: Path, card: BundleCard, field: Literal["arm", "scene"]) -> str | Path:
    """Return the bundle's own verified file that the card's `field` names, or the shipped name that it is."""
    name: str = getattr(card, field)
    if name in card.files:
        return path.absolute() / name
    if is_path(name) and not Path(name).is_absolute():  # would be another file in each working directory
        raise InputError(f"{path / CARD}: {field}: expected a shipped name or one of `files`, got {name!r}")
    return name


def _load_arm(path: Path, card: BundleCard) -> Arm:
    arm = load_arm(_part(path, card, "arm"))
    for field in ("joint_names", "observed_joints"):
        unknown = [name for name in getattr(card, field) if name not in arm.joint_names]
        if unknown:
            expected = f"expected joints of the arm {card.arm}, {list(arm.joint_names)}"
            raise InputError(f"{path / CARD}: {field}: {expected}, got {unknown}")
    return arm


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # the data must reach the disk before the rename does
