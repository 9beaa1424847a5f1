"""Strangers' task models, exported by torch as they would, put into bundles by the command."""

from __future__ import annotations

import re
import shlex
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from taskgan_ros import cli
from taskgan_ros.core.config import resolve
from taskgan_ros.policy.bundle import TASK_MODEL, TRANSLATOR, Bundle, load_bundle
from taskgan_ros.policy.policy import Policy
from taskgan_ros.robot.arm import load_arm

HEIGHT, WIDTH, STEPS = 24, 32, 4
ARM = load_arm("mico")
BATCH = torch.export.Dim("batch")
JOINTS = ARM.joint_names[:3]
IMAGES = np.random.default_rng(1).integers(0, 256, (3, HEIGHT, WIDTH, 3), np.uint8)
JOINT_POS = np.array(ARM.home) + np.random.default_rng(2).uniform(-0.2, 0.2, (3, 6))


class Stranger(nn.Module):
    """A visuomotor policy as many are: NCHW floats in 0..1 and joint positions to a chunk of actions."""

    def __init__(self, joints: int = 3, steps: int = STEPS) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.steps = steps
        self.convolutions = nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Sequential(nn.LazyLinear(16), nn.GELU(), nn.Linear(16, joints * steps), nn.Tanh())

    def forward(self, image: Tensor, state: Tensor) -> Tensor:
        features = torch.cat([self.convolutions(image), state], dim=1)
        return self.head(features).unflatten(1, (self.steps, -1))


class Eyes(nn.Module):
    """One that takes an image alone, channels last, and gives one command."""

    def __init__(self, joints: int = 3) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head = nn.Linear(3, joints)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(image.float().mean(dim=(1, 2)))


def save(network: nn.Module, path: Path, *example: Tensor, names: list[str], **options: Any) -> Path:
    network.eval()
    with torch.no_grad():
        network(*example)
    options = {"dynamo": True, "dynamic_shapes": tuple({0: BATCH} for _ in example), **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own older exporter, which many still use
        torch.onnx.export(network, example, path, input_names=names, output_names=["action"], verbose=False, **options)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the strangers' files. Not to change."""
    path = tmp_path_factory.mktemp("strangers")
    image, state = torch.rand(2, 3, HEIGHT, WIDTH), torch.rand(2, 3)
    names = ["observation.image", "observation.state"]
    save(Stranger(), path / "chunk.onnx", image, state, names=names)
    old = {"dynamo": False, "dynamic_shapes": None, "opset_version": 13}
    save(Stranger(), path / "fixed.onnx", image[:1], state[:1], names=names, **old)
    sizes = {0: BATCH, 1: torch.export.Dim("height"), 2: torch.export.Dim("width")}
    eyes = torch.zeros(2, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    save(Eyes(), path / "eyes.onnx", eyes, names=["image"])
    save(Eyes(), path / "any_size.onnx", eyes, names=["image"], dynamic_shapes=(sizes,))
    theirs = onnx.load(path / "eyes.onnx")
    onnx.save_model(theirs, path / "outside.onnx", save_as_external_data=True, location="w.bin", size_threshold=60)
    return path


def bundle_of(path: Path, out: Path, *options: object) -> int:
    words = ["bundle", "--task-model", path, "--out", out, "--scene", "reach", *options]
    return cli.run([str(word) for word in words])


def original(path: Path, images: NDArray[Any], joint_pos: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Return what the file gives, image by image, by the names of its own."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    given = [images] if joint_pos is None else [images, joint_pos.astype(np.float32)]
    rows = [
        session.run(None, {name: values[k : k + 1] for name, values in zip(names, given, strict=True)})[0]
        for k in range(len(images))
    ]
    return np.concatenate(rows).astype(np.float64)


def nchw(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("file", ["chunk.onnx", "fixed.onnx"])
def test_a_strangers_chunk_is_driven_as_it_is(
    folder: Path, tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bundle_of(folder / file, tmp_path / "theirs", "--step-s", 0.05) == 0, capsys.readouterr().err
    policy = Policy(load_bundle(tmp_path / "theirs"))
    policy.warm_up()
    prediction = policy.act(IMAGES, JOINT_POS)
    expected = original(folder / file, nchw(IMAGES), JOINT_POS[:, :3])
    np.testing.assert_allclose(prediction.commands, expected, atol=1e-5)
    assert expected.std() > 1e-3  # there is something to compare
    assert prediction.commands.shape == (3, STEPS, 3)
    assert prediction.step_s == 0.05
    card = load_bundle(tmp_path / "theirs").card
    assert (card.observes, card.joint_pos_names) == (("image", "joint_pos"), JOINTS)
    said = capsys.readouterr().out
    assert "observation.image: float32 [" in said
    assert "4 of 0.05 s each" in said
    assert "every value in the networks is checked" in said


def test_bytes_and_channels_last_need_no_option(folder: Path, tmp_path: Path) -> None:
    for file, options in (("eyes.onnx", []), ("any_size.onnx", ["--image-size", HEIGHT, WIDTH]), ("outside.onnx", [])):
        assert bundle_of(folder / file, tmp_path / file[:-5], *options) == 0
        prediction = Policy(load_bundle(tmp_path / file[:-5])).act(IMAGES)
        np.testing.assert_allclose(prediction.commands[:, 0], original(folder / file, IMAGES), rtol=1e-5)
        assert prediction.step_s is None


numbers = st.floats(-2, 2).map(lambda value: round(value, 3))
factors = st.floats(0.1, 3).map(lambda value: round(value, 3))


def listed(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(values, min_size=3, max_size=3)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scale=st.sampled_from([("0..255", 1, 0), ("0..1", 255, 0), ("-1..1", 127.5, 1)]),
    bgr=st.booleans(), degrees=st.booleans(), mean=listed(numbers), std=listed(factors),
    joint=st.tuples(listed(numbers), listed(factors)), action=st.tuples(listed(numbers), listed(factors)),
)  # fmt: skip
def test_whatever_it_was_normalised_by_is_undone(
    folder: Path, tmp_path: Path, scale: tuple[str, float, float], bgr: bool, degrees: bool, mean: list[float],
    std: list[float], joint: tuple[list[float], list[float]], action: tuple[list[float], list[float]],
) -> None:  # fmt: skip
    out = tmp_path / "theirs"
    shutil.rmtree(out, ignore_errors=True)
    options: dict[str, list[Any]] = {
        "step-s": [0.1],
        "scale": [scale[0]],
        "units": ["deg" if degrees else "rad"],
        "color-order": ["bgr" if bgr else "rgb"],
        "mean": mean,
        "std": std,
        "joint-mean": joint[0],
        "joint-std": joint[1],
        "action-mean": action[0],
        "action-std": action[1],
    }
    words = [word for name, values in options.items() for word in (f"--{name}", *values)]
    assert bundle_of(folder / "chunk.onnx", out, *words) == 0
    _, divisor, offset = scale
    colours = (IMAGES[..., ::-1] if bgr else IMAGES) / divisor - offset
    pixels = ((colours - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2).astype(np.float32)
    angle = 180 / np.pi if degrees else 1.0
    joints = (JOINT_POS[:, :3] * angle - np.array(joint[0])) / np.array(joint[1])
    expected = (original(folder / "chunk.onnx", pixels, joints) * np.array(action[1]) + np.array(action[0])) / angle
    np.testing.assert_allclose(Policy(load_bundle(out)).act(IMAGES, JOINT_POS).commands, expected, atol=2e-3)


def test_joints_go_by_the_names_given(folder: Path, tmp_path: Path) -> None:
    driven, seen = ARM.joint_names[3:], [ARM.joint_names[k] for k in (5, 0, 2)]
    words = ["--joints", *driven, "--observed-joints", *seen, "--step-s", 0.1, "--task", "joint_angles"]
    assert bundle_of(folder / "chunk.onnx", tmp_path / "theirs", *words) == 0
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.card.joint_names, bundle.card.units) == (driven, "rad")
    expected = original(folder / "chunk.onnx", nchw(IMAGES), JOINT_POS[:, [5, 0, 2]])
    np.testing.assert_allclose(Policy(bundle).act(IMAGES, JOINT_POS).commands, expected, atol=1e-5)


def test_our_translator_stands_before_a_strangers_policy(
    bundle: Path, translator_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eyes = save(Eyes(), tmp_path / "eyes.onnx", torch.zeros(2, 32, 32, 3, dtype=torch.uint8), names=["image"])
    seen = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    shown = Policy(load_bundle(bundle)).act(seen, want_translated=True).translated
    assert shown is not None
    expected = original(eyes, shown)
    for k, translator in enumerate((bundle, bundle / TRANSLATOR, translator_run)):
        assert bundle_of(eyes, tmp_path / str(k), "--translator", translator) == 0, capsys.readouterr().err
        made = load_bundle(tmp_path / str(k))
        np.testing.assert_allclose(Policy(made).act(seen).commands[:, 0], expected, rtol=1e-5)
        assert made.card.target_domain == ("" if translator == bundle / TRANSLATOR else "target_wood")
    refused(capsys)
    assert bundle_of(eyes, tmp_path / "again", "--translator", tmp_path / "none") == 2
    assert bundle_of(eyes, tmp_path / "again", "--translator", "reach_target_wood") == 2  # of other images
    assert "translator.onnx: expected inputs image: uint8 [N, 32, 32, 3]" in refused(capsys)
    assert not (tmp_path / "again").exists()


def test_a_scene_of_the_users_own_goes_along(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cell").mkdir()
    shutil.copy(resolve("arms", "mico"), tmp_path / "cell" / "mine.yaml")
    scene = {**yaml.safe_load(resolve("scenes", "reach").read_text()), "arm": "mine.yaml"}
    (tmp_path / "cell" / "cell.yaml").write_text(yaml.safe_dump(scene))
    words = ["--scene", tmp_path / "cell" / "cell.yaml", "--camera-fov", 0.9, "--crop", "none"]
    assert bundle_of(folder / "eyes.onnx", tmp_path / "theirs", *words) == 0
    shutil.rmtree(tmp_path / "cell")
    bundle: Bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.card.arm, bundle.card.scene, bundle.camera_fov, bundle.card.crop) == (
        "arm.yaml", "scene.yaml", 0.9, "none",
    )  # fmt: skip


def test_masks_of_infinity_are_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Masked(Eyes):
        mask: Tensor

        def forward(self, image: Tensor) -> Tensor:
            scores = image.float().mean(dim=(1, 2)) + self.mask
            return self.head(torch.softmax(scores, dim=1))

    network = Masked()
    network.register_buffer("mask", torch.tensor([0.0, -torch.inf, 0.0]))
    path = save(network, tmp_path / "masked.onnx", torch.zeros(2, 32, 32, 3, dtype=torch.uint8), names=["image"])
    assert bundle_of(path, tmp_path / "theirs") == 0
    assert "the commands alone are checked" in capsys.readouterr().out


def test_the_example_of_the_docs_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "bundles.md").read_text()
    page = page[page.index("## Your own policy") :]
    code, commands = re.findall(r"```(?:python)?\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    for command in commands.splitlines():
        assert cli.run(shlex.split(command)[1:]) == 0


# What does not fit.


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err.strip()
    return said.splitlines()[-1] if said else ""


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("chunk.onnx", ["--image-input", "rgb"], r"expected image_input to be one of its inputs, got 'rgb': it has "),
        ("chunk.onnx", ["--joint-input", "q"], r"expected joint_input to be one of its inputs, got 'q': it has obs"),
        ("chunk.onnx", ["--output", "q"], r"expected output to be one of its outputs, got 'q': it has action: float32"),
        ("chunk.onnx", ["--layout", "NHWC"], r"expected 3 channels in the layout NHWC, got observation.image: "),
        ("chunk.onnx", [], r"step_s: expected the seconds of each of 4 commands, got none"),
        ("eyes.onnx", ["--step-s", "0.1"], r"step_s: expected none, as action.* is a single command, got 0.1"),
        ("eyes.onnx", ["--scale", "0..1"], r"expected scale 0..255, and neither mean nor std, for image: uint8"),
        ("eyes.onnx", ["--joint-mean", "1", "1", "1"], r"expected an input of joint positions, .* got none"),
        ("eyes.onnx", ["--joints", *JOINTS[:2]], r"expected 2 values a command, one for each of joints, got 3 from "),
        ("chunk.onnx", ["--joints", *JOINTS[:2]], r"expected joint positions of 2 joints, .*got the input "),
        ("eyes.onnx", ["--joints", "a", "b", "c"], r"joints: expected some of the arm's, \['m1n6.*, got \['a', "),
        ("eyes.onnx", ["--action-std", "1", "0", "1"], r"action_std: expected numbers above 0, got \[1.0, 0.0, 1.0\]"),
        ("eyes.onnx", ["--action-mean", "1"], r"action_mean: expected 3 finite numbers, one per joint, got \[1.0\]"),
        ("eyes.onnx", ["--image-size", "32", "32"], r"expected image_size to be that of image: .*, got \[32, 32\]"),
        ("any_size.onnx", [], r"expected image_size, as the graph leaves height or width free, got none: image: uint8"),
        ("any_size.onnx", ["--image-size", "8", "8"], r"expected images of at least 16 pixels a side"),
        ("none.onnx", [], r"none.onnx: expected an ONNX file, got none"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, options: list[str], message: str
) -> None:
    assert bundle_of(folder / file, tmp_path / "theirs", *options) == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def changed(path: Path, out: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load(path)
    change(model)
    out.write_bytes(model.SerializeToString())
    return out


def test_files_that_are_no_sound_models_are_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        bias = next(item for item in model.graph.initializer if item.name.endswith("bias"))
        bias.CopyFrom(onnx.numpy_helper.from_array(np.full(3, np.nan, np.float32), bias.name))

    eyes = folder / "eyes.onnx"
    (tmp_path / "text.onnx").write_text("not a model, and no protobuf either")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "half.onnx").write_bytes((folder / "chunk.onnx").read_bytes()[:-100])
    shutil.copy(folder / "outside.onnx", tmp_path / "alone.onnx")
    changed(eyes, tmp_path / "new.onnx", lambda model: setattr(model.opset_import[0], "version", 99))
    changed(eyes, tmp_path / "nan.onnx", spoil)
    expected = {
        "text.onnx": "expected an ONNX file with its weights in it or beside it, got: ",
        "empty.onnx": "expected a model that onnxruntime",
        "half.onnx": "expected an ONNX file with its weights in it or beside it, got: ",
        "alone.onnx": "expected an ONNX file with its weights in it or beside it, got: ",
        "new.onnx": "expected a model that onnxruntime",
        "nan.onnx": "expected a finite command for a grey image, got [nan, nan, nan]",
    }
    for name, message in expected.items():
        assert bundle_of(tmp_path / name, tmp_path / "theirs") == 2, name
        said = capsys.readouterr().err
        assert f"{name}: {message}" in said
        assert said.count("\n") == 1
    assert not (tmp_path / "theirs").exists()


def test_a_random_output_and_a_batch_that_is_fixed_inside_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 18]>
    theirs (float[{batch}, 3, 32, 32] image) => (float[{batch}, 3] action) {{
        axes = Constant<value = int64[2] {{2, 3}}>()
        mean = ReduceMean<keepdims = 0>(image, axes)
        shape = Constant<value = int64[2] {{1, -1}}>()
        {last}
    }}"""
    cases = {
        "dice": ("N", "noise = RandomNormalLike(mean)\n action = Add(mean, noise)", "got another: is it random?"),
        "fixed": ("1", "row = Reshape(mean, shape)\n three = Constant<value = int64 {3}>()\n "
                  "begin = Constant<value = int64[1] {0}>()\n end = Constant<value = int64[1] {3}>()\n "
                  "one = Constant<value = int64[1] {1}>()\n action = Slice(row, begin, end, one)",
                  "expected the same commands of 6 images at once, got: "),
    }  # fmt: skip
    for name, (batch, last, message) in cases.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(onnx.parser.parse_model(text.format(batch=batch, last=last)).SerializeToString())
        assert bundle_of(path, tmp_path / "theirs") == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert TASK_MODEL not in [path.name for path in tmp_path.rglob("*")]
