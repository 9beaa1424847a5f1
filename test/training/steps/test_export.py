from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import taskgan_ros
from taskgan_ros import cli
from taskgan_ros.core.config import resolve
from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.policy.bundle import TASK_MODEL, TRANSLATOR, load_bundle
from taskgan_ros.policy.policy import Policy
from taskgan_ros.robot.arm import load_arm
from taskgan_ros.tasks.registry import load_motion_scene
from taskgan_ros.training.alignment import Alignment
from taskgan_ros.training.learned import load_task_model
from taskgan_ros.training.networks import to_network, to_uint8
from taskgan_ros.training.run import save_weights
from taskgan_ros.training.steps.export import own_files
from taskgan_ros.training.steps.translator import load_translator

Export = Callable[..., int]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a path in an empty folder."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models" / "mine"


@pytest.fixture
def export(translator_run: Path, refined_run: Path, target: Path, out: Path) -> Export:
    """Return a function that exports to `out` with options over the usual ones, and gives the status."""

    def run(*options: object) -> int:
        words = ["export", "--translator", translator_run, "--task-model", refined_run, "--target", target]
        return cli.run([str(word) for word in (*words, "--out", out, *options)])

    return run


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1].removeprefix("taskgan: ")


def test_the_graphs_give_what_torch_gives(bundle: Path, translator_run: Path, refined_run: Path, target: Path) -> None:
    images = load_dataset(target).images
    task_model, learned = load_task_model(refined_run)
    with torch.no_grad():
        translated = to_uint8(load_translator(translator_run)(to_network(torch.from_numpy(images))))
        expected = task_model(to_network(translated)).numpy() * learned.scale
        untranslated = task_model(to_network(torch.from_numpy(images))).numpy() * learned.scale

    loaded = load_bundle(bundle)
    prediction = Policy(loaded).act(images, want_translated=True)
    assert prediction.translated is not None
    difference = np.abs(prediction.translated.astype(int) - translated.numpy())
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
    np.testing.assert_allclose(prediction.commands[:, 0], expected, atol=1e-3)
    np.testing.assert_allclose(Policy(loaded, translate=False).act(images).commands[:, 0], untranslated, atol=1e-5)
    assert expected.std() > 1e-4  # there is something to compare


def test_an_aligned_translators_graph_aligns_too(
    translator_run: Path, refined_run: Path, target: Path, tmp_path: Path
) -> None:
    run, alignment, images = tmp_path / "aligned", Alignment(), load_dataset(target).images
    shutil.copytree(translator_run, run)
    with torch.no_grad():
        alignment.warp[2] = 4 / 16  # 4 of the 32 pixels: what it looks at is further to the right
    save_weights(run / "alignment.safetensors", alignment)
    words = ["export", "--translator", run, "--task-model", refined_run, "--target", target, "--out", tmp_path / "out"]
    assert cli.run([str(word) for word in words]) == 0
    left = np.concatenate([images[:, :, 4:], np.repeat(images[:, :, -1:], 4, axis=2)], axis=2)
    with torch.no_grad():
        wanted = to_uint8(load_translator(translator_run)(to_network(torch.from_numpy(left)))).numpy().astype(int)
    found = Policy(load_bundle(tmp_path / "out")).act(images, want_translated=True).translated
    assert found is not None
    assert np.abs(found - wanted).max() <= 1


def test_one_image_gives_what_it_gives_in_a_batch(bundle: Path, target: Path) -> None:
    policy, images = Policy(load_bundle(bundle)), load_dataset(target).images[:5]
    together = policy.act(images).commands
    np.testing.assert_allclose(
        together, np.concatenate([policy.act(image[None]).commands for image in images]), atol=1e-5
    )


def test_the_card_says_how_the_bundle_was_made(bundle: Path, translator_run: Path) -> None:
    card = load_bundle(bundle).card
    assert (card.name, card.task, card.units, card.arm) == ("tiny", "joint_velocities", "rad/s", "mico")
    assert (card.target_domain, card.recipe, card.lambda_task) == ("target_wood", "default", 1.0)
    assert card.joint_names == tuple(f"m1n6s200_joint_{n}" for n in (1, 2, 3))
    assert (card.image.height, card.image.width) == (32, 32)
    counts = {"source_images": 48, "target_images": 48, "randomised_pairs": 48, "pretrain_steps": 1}
    steps = {"translator_steps": 2, "task_model_steps": 4, "refine_steps": 2}
    assert counts.items() | steps.items() <= card.data.items()
    seeds = {"source_data": 0, "target_data": 1, "pretrain_data": 2, "task_model": 0, "translator": 0}
    assert card.seeds == seeds
    assert card.taskgan_version == taskgan_ros.__version__
    assert set(card.files) == {TRANSLATOR, TASK_MODEL, "scene.yaml"}  # the scene is not a shipped one
    assert max(card.export_max_abs_diff.values()) <= 1
    assert card.export_max_abs_diff["task_model.command"] < 1e-5
    (result,) = card.results
    assert result.what == "f_X(F(image)) in target_wood"
    assert result.command == "taskgan evaluate --bundle elsewhere/tiny --domain target_wood --episodes 2 --seed 1000"
    assert result.figures["success_rate"] == 0.5
    assert result.figures["bundle"] == "tiny"


def test_a_bundle_for_a_users_own_cell_works_wherever_it_is(
    export: Export, refined_run: Path, translator_run: Path, target: Path, tmp_path: Path, out: Path,
    short_scene: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "here" / "arms").mkdir(parents=True)
    arm = resolve("arms", "mico").read_text().replace("name: mico", "name: mine")
    (tmp_path / "here" / "arms" / "mine.yaml").write_text(arm)
    scene = {**yaml.safe_load(short_scene.read_text()), "arm": "arms/mine.yaml"}  # beside the scene's file
    (tmp_path / "here" / "cell.yaml").write_text(yaml.safe_dump(scene))
    own = {"scene": "here/cell.yaml", "arm": load_motion_scene(tmp_path / "here" / "cell.yaml").arm_name}
    assert own["arm"] == str(tmp_path / "here" / "arms" / "mine.yaml")
    run, data = tmp_path / "run", tmp_path / "target.h5"
    shutil.copytree(refined_run, run)
    learned = yaml.safe_load((run / "learned.yaml").read_text())
    (run / "learned.yaml").write_text(yaml.safe_dump({**learned, "data": {**learned["data"], **own}}))
    shutil.copy(target, data)
    with h5py.File(data, "a") as file:
        file["data"].attrs.update({**own, "domain": "elsewhere/target_wood.yaml"})
    assert export("--task-model", run, "--target", data) == 0

    shutil.rmtree(tmp_path / "here")
    out.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "models")
    bundle = load_bundle(tmp_path / "moved")
    assert (bundle.card.arm, bundle.card.scene, bundle.card.target_domain) == ("arm.yaml", "scene.yaml", "target_wood")
    assert (bundle.arm.name, load_motion_scene(bundle.scene_name).arm.name) == ("mine", "mine")
    assert load_motion_scene(bundle.scene_name).steps == scene["steps"]
    assert str(tmp_path) not in (bundle.path / "bundle.yaml").read_text()


def test_a_cells_joint_zeros_are_in_its_bundles_arm(tmp_path: Path, short_scene: Path) -> None:
    values = {**yaml.safe_load(short_scene.read_text()), "joint_zeros": {"m1n6s200_joint_2": 0.1}}
    (tmp_path / "cell.yaml").write_text(yaml.safe_dump(values))
    cell = load_motion_scene(tmp_path / "cell.yaml")
    names = own_files("mico", str(tmp_path / "cell.yaml"))
    for name, content in names[2].items():
        (tmp_path / name).write_bytes(content)
    assert names[:2] == ("arm.yaml", "scene.yaml")
    assert load_arm(tmp_path / "arm.yaml") == cell.arm == load_motion_scene(tmp_path / "scene.yaml").arm


def test_the_card_counts_every_refinement_and_every_seed(
    export: Export, collected: Callable[..., Path], source: Path, refined_run: Path, translator_run: Path,
    tmp_path: Path, out: Path,
) -> None:  # fmt: skip
    more = collected("target_wood", "--paired", "source", seed=5)
    data = ["--source", source, "--target", more, "--task-model", refined_run, "--translator", translator_run]
    words = ["refine", *data, "--out", tmp_path / "again", "--steps", 3, "--device", "cpu"]
    assert cli.run([str(word) for word in words]) == 0
    on = ["train", "task-model", "--dataset", source, "--task-model", tmp_path / "again", "--out", tmp_path / "on"]
    assert cli.run([str(word) for word in [*on, "--steps", 1, "--device", "cpu"]]) == 0
    assert export("--task-model", tmp_path / "on") == 0
    card = load_bundle(out).card
    assert (card.data["task_model_steps"], card.data["refine_steps"]) == (4, 6)
    data_seeds = {name: seed for name, seed in card.seeds.items() if name.endswith("_data")}
    assert data_seeds == {"source_data": 0, "target_data": 1, "pretrain_data": 2, "target_2_data": 5}


def test_what_a_run_was_made_from_is_found_above_it(
    export: Export, refined_run: Path, task_model_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    moved = tmp_path / "work" / "runs" / "refined"
    shutil.copytree(refined_run, moved)
    shutil.copytree(task_model_run, tmp_path / "work" / "runs" / "first")
    described = yaml.safe_load((moved / "config.yaml").read_text())
    for path, status in (("runs/first", 0), ("runs/gone", 2), ("runs/refined", 2)):
        described["config"]["task_model"] = path
        (moved / "config.yaml").write_text(yaml.safe_dump(described))
        assert export("--task-model", moved, "--out", tmp_path / "bundles" / "b") == status
        shutil.rmtree(tmp_path / "bundles", ignore_errors=True)
        said = capsys.readouterr().err
        if path == "runs/gone":
            assert f"{moved}: expected runs/gone, which it was made from, here or in a folder above the run" in said
        if path == "runs/refined":
            assert "expected a task model that continued another, got one that continued itself" in said


def test_the_model_card_shows_figures_and_a_picture_that_is_there(bundle: Path) -> None:
    text = (bundle / "README.md").read_text()
    assert "| f_X(F(image)) in target_wood | 50% | 0.070 ± 0.050 m | 2 × 1 | `taskgan evaluate --bundle" in text
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", text)
    assert (bundle / picture).read_bytes().startswith(b"\x89PNG")
    assert "{" not in text  # no field of the template is left


def test_nothing_of_the_machine_is_in_the_graphs(bundle: Path) -> None:
    for name in (TRANSLATOR, TASK_MODEL):
        data = (bundle / name).read_bytes()
        for trace in (str(Path(taskgan_ros.__file__).parent), str(Path(torch.__file__).parent), "export.py"):
            assert trace.encode() not in data


def test_networks_that_are_not_finite_are_refused(
    export: Export, task_model_run: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(task_model_run, spoilt)
    (weights,) = spoilt.glob("*.safetensors")
    tensors = load_file(weights)
    tensors["extractor.2.weight"][0, 0, 0, 0] = -torch.inf  # of which a ReLU makes 0
    save_file(tensors, weights)
    assert export("--task-model", spoilt) == 2
    assert (
        refused(capsys)
        == "task_model.onnx: expected finite weights and activations, got NaN, infinity or huge values on 32 images"
    )
    assert list(out.parent.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(
    export: Export, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    convert = torch.onnx.export

    def press_ctrl_c(*args: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return convert(*args, **options)

    monkeypatch.setattr(torch.onnx, "export", press_ctrl_c)
    assert export() == 130
    assert refused(capsys) == "interrupted"
    assert list(out.parent.iterdir()) == []


# Refusals: all before the minutes that a large network takes


def test_an_output_that_exists_is_refused_and_kept(
    export: Export, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.mkdir()
    (out / "notes.txt").write_text("precious")
    assert export() == 2
    assert refused(capsys).startswith(f"{out} exists already: expected a path that does not")
    assert (out / "notes.txt").read_text() == "precious"


def test_runs_of_the_wrong_kind_are_refused(
    export: Export, out: Path, translator_run: Path, task_model_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--translator", task_model_run) == 2
    assert refused(capsys) == f"{task_model_run}: expected a run of a translator, got one of task_model"
    assert export("--task-model", translator_run) == 2
    assert refused(capsys) == f"{translator_run}: expected a run of a task model, got one of translator"
    assert export("--task-model", out) == 2
    assert refused(capsys) == f"{out}: expected a training run (a folder with config.yaml), got none"
    assert list(out.parent.iterdir()) == []


def test_a_forward_translator_is_refused(
    export: Export, translator_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forward = tmp_path / "forward"
    shutil.copytree(translator_run, forward)
    described = yaml.safe_load((forward / "config.yaml").read_text())
    described["config"]["direction"] = "forward"
    (forward / "config.yaml").write_text(yaml.safe_dump(described))
    assert export("--translator", forward) == 2
    assert refused(capsys) == f"{forward}: expected an inverse translator, to stand before f_X, got a forward one"


def test_a_target_of_another_domain_is_refused(
    export: Export, collected: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    other = collected("target_a", "--paired", "source", episodes=1)
    assert export("--target", other) == 2
    assert refused(capsys) == f"target: {other}: expected the domain target_wood, got target_a"


@pytest.mark.parametrize("name", ["my bundle", ".hidden"])
def test_a_name_that_is_none_is_refused(
    name: str, export: Export, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--out", out.parent / name, "--target", "not even read") == 2
    assert (
        refused(capsys) == f"{out.parent / name}: expected a folder's name of letters, digits, _ - and ., got {name!r}"
    )


def test_results_of_another_bundle_are_refused(
    export: Export, evaluation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--results", evaluation) == 2
    assert refused(capsys) == f"{evaluation}: expected figures of the bundle mine, got those of tiny"


def test_a_target_of_another_image_size_is_refused(
    export: Export, collected: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--target", collected("target_a", "--paired", "source", size=48, episodes=1)) == 2
    assert refused(capsys) == "datasets do not fit: expected height 32 as in source, got 48 in target_a"


@pytest.mark.parametrize("text", ["{}", "[1, 2]", "success: 100%", '{"command": "", "translate": true, "domain": ""}'])
def test_results_that_evaluate_did_not_write_are_refused(
    text: str, export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.json"
    results.write_text(text)
    assert export("--results", results) == 2
    assert refused(capsys).startswith(f"{results}: expected a JSON file of `taskgan evaluate`, got: ")


def test_a_picture_that_is_not_there_is_refused(
    export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--picture", tmp_path / "none.png") == 2
    assert refused(capsys) == f"{tmp_path / 'none.png'}: expected a picture for the model card, got no file"


def test_a_task_model_alone_is_a_bundle_for_its_own_domain(
    task_model_run: Path, source: Path, target: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "--task-model", str(task_model_run), "--out", str(out)]
    assert cli.run([*words, "--target", str(target)]) == 2
    assert "target: " in refused(capsys)
    assert cli.run([*words, "--target", str(source)]) == 0
    bundle = load_bundle(out)
    assert [name for name in bundle.card.files if name.endswith(".onnx")] == ["task_model.onnx"]
    assert (bundle.card.recipe, bundle.card.lambda_task, bundle.card.guard) == ("", 0, None)
    assert "It has no translator" in (out / "README.md").read_text()
