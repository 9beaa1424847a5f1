from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from taskgan_ros import cli
from taskgan_ros.data.dataset import EpisodeRecord, load_dataset, open_writer
from taskgan_ros.training.adversary import Adversary
from taskgan_ros.training.learned import load_task_model
from taskgan_ros.training.lineage import data_seeds, translated_domains
from taskgan_ros.training.networks import Generator, to_network
from taskgan_ros.training.run import load_checkpoint
from taskgan_ros.training.steps.translator import load_alignment, load_translator
from taskgan_ros.training.taskgan import TranslatorTrainer

Collected = Callable[..., Path]
Train = Callable[..., Path]
OPTIONS = ["--device", "cpu", "--log-every", 1, "--show-every", 3, "--save-every", 2]
TINY = ["--generator.widths", 8, 16, "--generator.blocks", 1]
SHORT = ["--pretrain-steps", 2, "--align-steps", 0, "--steps", 4]
# On images of one value, each instance norm makes 300 times as much of rounding: with few norms that stays small.
FLAT = ["--generator.no-merges", "--generator.stem-kernel", 5]


@pytest.fixture
def train(source: Path, target: Path, randomized: Path, task_model_run: Path, tmp_path: Path) -> Train:
    """Return a function that trains a tiny translator to a folder of this name and expects a status."""

    def run(name: str, *options: object, status: int = 0) -> Path:
        data = ["--source", source, "--target", target, "--pretrain", randomized, "--task-model", task_model_run]
        words = ["train", "translator", *data, "--out", tmp_path / name, *OPTIONS, *TINY, *SHORT, *options]
        assert cli.run([str(word) for word in words]) == status
        return tmp_path / name

    return run


def metrics(run: Path, key: str) -> dict[int, float]:
    """Return the figures of this name by step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[key] for line in lines if key in line}


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1].removeprefix("taskgan: ")


def test_the_papers_recipe_trains(train: Train) -> None:
    run = train("run", "--recipe", "paper", "--pretrain-steps", 0, "--steps", 2)
    described = yaml.safe_load((run / "config.yaml").read_text())
    assert (described["kind"], described["config"]["recipe"]) == ("translator", "paper")
    assert described["config"]["settings"]["lambda_task"] == 0.01
    assert len(load_checkpoint(run)["trainer"]["pool"]) == 8  # two steps of four images
    for name in ("adversarial", "task", "discriminator", "gradient_ratio"):
        assert np.isfinite(list(metrics(run, name).values())).all()


def test_the_default_recipe_trains_and_measures_with_what_took_no_part(train: Train, collected: Collected) -> None:
    validation = collected("target_wood", "--paired", "source", seed=7, episodes=1)
    judge = train("judge_data").parent / "judge"
    words = ["train", "task-model", "--dataset", collected("source", seed=9), "--out", judge, "--steps", 2]
    assert cli.run([*map(str, words), "--device", "cpu"]) == 0
    run = train("run", "--judge", judge, "--validation", validation, "--no-keep-best")
    assert list(metrics(run, "pixel")) == [1, 2, 3, 4, 5, 6]
    assert list(metrics(run, "adversarial")) == [3, 4, 5, 6]  # after two steps of pre-training
    assert list(metrics(run, "validation_pixel")) == [3, 6]

    data, translator = load_dataset(validation), load_translator(run)
    judge_model, own = load_task_model(judge)
    scale = load_task_model(Path(yaml.safe_load((run / "config.yaml").read_text())["config"]["task_model"]))[1].scale
    with torch.no_grad():
        translated = translator(to_network(torch.from_numpy(data.images)))
        physical = judge_model(translated).numpy() * own.scale  # the judge has a label scale of its own
    error = np.square((physical - data.actions) / scale).mean()
    assert metrics(run, "validation_judge")[6] == pytest.approx(error, rel=1e-3)
    assert data.paired is not None
    truth = to_network(torch.from_numpy(data.paired))
    assert metrics(run, "validation_pixel")[6] == pytest.approx((translated - truth).abs().mean().item(), rel=1e-3)


def test_what_the_adversarial_steps_spoil_is_not_kept(train: Train) -> None:
    run = train("run", "--learning-rate", 1.0)
    assert metrics(run, "kept_step") == {3: 2, 6: 2}  # after two steps of pre-training
    state = load_checkpoint(run)["trainer"]
    saved = load_translator(run).state_dict()
    assert all(torch.equal(saved[name], weights) for name, weights in state["kept"]["weights"].items())
    assert not all(torch.equal(saved[name], weights) for name, weights in state["average"].items())


def test_pictures_show_input_translation_and_truth(train: Train, target: Path) -> None:
    run = train("run")
    names = sorted(path.name for path in (run / "images").iterdir())
    assert names == ["translations_000003.png", "translations_000006.png"]
    picture = np.asarray(Image.open(run / "images" / names[-1]))
    assert picture.shape == (3 * 64, 6 * 64, 3)  # of six held-out images, twice as large
    data = load_dataset(target)
    assert data.paired is not None
    held_out = data.split_by_episode(0.1, 0)[1]
    first = [images[held_out[0]].repeat(2, axis=0).repeat(2, axis=1) for images in (data.images, data.paired)]
    np.testing.assert_array_equal(picture[:64, :64], first[0])
    np.testing.assert_array_equal(picture[128:, :64], first[1])


def test_the_forward_direction_translates_the_source(train: Train, source: Path, target: Path, tmp_path: Path) -> None:
    task_model = tmp_path / "f_Y"
    words = ["train", "task-model", "--dataset", target, "--out", task_model, "--steps", 2, "--device", "cpu"]
    assert cli.run(list(map(str, words))) == 0
    paper = ["--recipe", "paper", "--pretrain-steps", 0, "--task-model", task_model]
    run = train("run", *paper, "--direction", "forward", "--steps", 3)
    picture = np.asarray(Image.open(run / "images" / "translations_000003.png"))
    data = load_dataset(source)
    held_out = data.split_by_episode(0.1, 0)[1]
    assert picture.shape == (2 * 64, 6 * 64, 3)  # no truth is known
    np.testing.assert_array_equal(picture[:64, :64][::2, ::2], data.images[held_out[0]])


ALIGNED = ["--align-steps", 2, "--steps", 2]
EVERYTHING = ["--self-weight", 1.0, "--cycle-weight", 10.0, "--conditional"]


@pytest.mark.parametrize(("step", "more"), [(1, []), (2, []), (5, []), (5, EVERYTHING), (3, ALIGNED), (5, ALIGNED)])
def test_a_stopped_run_is_resumed_to_the_same_bits(
    step: int,
    more: list[object],
    train: Train,
    at_step: Callable[..., AbstractContextManager[None]],
    assert_same_run: Callable[[Path, Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--pool-size", 6, "--r1", 1.0, *more]  # with all that has a state or draws at random
    whole = train("whole", *options)
    with at_step(TranslatorTrainer, step, signal.SIGINT):
        stopped = train("stopped", *options, status=130)
    assert f"stopped after step {step} of 6; resume with the same command and --resume" in capsys.readouterr().err
    load_translator(stopped)  # usable as it is
    assert_same_run(train("stopped", *options, "--resume"), whole)
    for name in ("pixel", "adversarial", "validation_task"):
        assert metrics(stopped, name) == metrics(whole, name)


@pytest.fixture
def painted(tmp_path: Path) -> Callable[[Path, Any, int], Path]:
    """Return a function that copies a dataset with other images and pairs: one byte, or an array for each episode."""

    def paint(dataset: Path, images: Any, paired: Any) -> Path:
        out = tmp_path / f"painted{len(list(tmp_path.iterdir()))}.h5"
        shutil.copy(dataset, out)
        with h5py.File(out, "a") as file:
            for demo in file["data"].values():
                for name, values in (("image", images), ("image_paired", paired)):
                    if name in demo["obs"]:  # h5py would write a single value pixel by pixel
                        demo["obs"][name][...] = np.broadcast_to(np.uint8(values), demo["obs"][name].shape)
        return out

    return paint


def grey(value: int) -> float:
    """Return the L1 distance of this byte from mid-grey, which a new generator makes of an image of one colour."""
    return abs(value / 127.5 - 1)


@pytest.mark.parametrize(
    ("identity", "pairs", "expected"),
    [(2, 0, grey(240)), (0, 2, grey(180)), (3, 1, 0.75 * grey(240) + 0.25 * grey(180))],
)
def test_identity_images_stay_as_they_are_and_pairs_become_their_truth(
    identity: int,
    pairs: int,
    expected: float,
    train: Train,
    painted: Callable[[Path, Any, int], Path],
    source: Path,
    target: Path,
    randomized: Path,
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    data = ["--source", painted(source, 240, 0), "--target", painted(target, noise, 60)]
    data += ["--pretrain", painted(randomized, 0, 180)]
    sizes = ["--identity-batch-size", identity, "--pairs-batch-size", pairs, "--no-paired-target"]
    run = train("run", *data, *sizes, "--pretrain-steps", 0, "--steps", 1, "--augment", 0.0)
    assert metrics(run, "pixel")[1] == pytest.approx(expected, abs=0.02)


def test_labelled_target_images_become_their_render(
    train: Train, painted: Callable[[Path, Any, int], Path], target: Path
) -> None:
    sizes = ["--identity-batch-size", 0, "--pairs-batch-size", 0, "--pretrain-steps", 0, "--steps", 1]
    run = train("run", "--target", painted(target, 90, 60), *sizes, "--augment", 0.0)
    assert metrics(run, "pixel")[1] == pytest.approx(grey(60), abs=0.02)


def test_the_pixel_loss_looks_where_the_scene_is_not_empty(
    train: Train, painted: Callable[[Path, Any, Any], Path], source: Path, randomized: Path
) -> None:
    truth = np.full((16, 32, 32, 3), 240, np.uint8)
    truth[:, :, :16] = 180  # an arm, beside the source's empty 240; the column next to it counts as its border
    data = ["--source", painted(source, 240, 0), "--pretrain", painted(randomized, 0, truth)]
    run = train(
        "run", *data, "--target", "None", "--pretrain-steps", 1, "--steps", 0, "--augment", 0.0, "--pixel-focus", 0.9
    )
    expected = 0.9 * (16 * grey(180) + grey(240)) / 17 + 0.1 * grey(240)
    assert metrics(run, "pixel")[1] == pytest.approx(expected, abs=0.02)


def test_the_tasks_gradient_can_be_limited(train: Train) -> None:
    ratios = []
    for name, limit in (("free", 0.0), ("limited", 0.5)):
        options = ["--lambda-task", 1000.0, "--task-gradient-limit", limit, "--lambda-warmup", 0.0]
        run = train(name, *options, "--pretrain-steps", 2, "--steps", 1)
        ratios.append(metrics(run, "gradient_ratio")[1])
    assert ratios[0] > 1
    assert ratios[1] == pytest.approx(0.5, abs=1e-4)


def test_pre_training_on_pairs_comes_nearer_to_the_plain_render(train: Train) -> None:
    run = train("run", "--pretrain-steps", 60, "--steps", 1, "--show-every", 60, "--ema", 0.9)
    pixel = metrics(run, "pixel")
    assert np.mean([pixel[step] for step in range(51, 61)]) < 0.6 * pixel[1]


def test_the_discriminator_learns_to_tell_the_two_apart(train: Train) -> None:
    run = train("run", "--recipe", "paper", "--pretrain-steps", 0, "--steps", 25, "--show-every", 25)
    loss = metrics(run, "discriminator")
    assert loss[1] == pytest.approx(0.5, abs=0.1)  # it knows nothing: 0.5² + 0.5²
    assert min(loss.values()) < 0.25


def test_the_run_is_the_moving_average_of_the_weights(train: Train) -> None:
    for name, ema, same in (("averaged", 0.9, False), ("last", 0.0, True)):
        run = train(name, "--ema", ema)
        state = load_checkpoint(run)["trainer"]
        saved = load_translator(run).state_dict()
        assert all(torch.equal(saved[key], state["average"][key]) for key in saved)
        assert all(torch.equal(saved[key], state["generator"][key]) for key in saved) is same


@pytest.fixture
def target_model(target: Path, tmp_path: Path) -> Path:
    """Return the run of a task model of the target domain, for the forward direction."""
    out = tmp_path / "f_Y"
    words = ["train", "task-model", "--dataset", target, "--out", out, "--steps", 2, "--device", "cpu"]
    assert cli.run(list(map(str, words))) == 0
    return out


ALONE = ["--identity-batch-size", 0, "--pairs-batch-size", 0, "--augment", 0.0]
FORWARD = ["--direction", "forward", "--pretrain", "None"]


def test_the_forward_direction_learns_from_the_targets_own_pairs_turned_round(
    train: Train, painted: Callable[[Path, Any, int], Path], target: Path, target_model: Path
) -> None:
    own = painted(target, 90, 60)
    run = train("run", *FORWARD, "--task-model", target_model, "--target", own, *ALONE, "--pretrain-steps", 1)
    pixel = metrics(run, "pixel")
    assert pixel[1] == pytest.approx(grey(90), abs=0.02)  # while it pre-trains
    assert pixel[2] == pytest.approx(grey(90), abs=0.03)  # and beside the images of the source


# Few target images, one included

FIRST = np.array([60] + [200] * 15)[:, None, None, None]


def test_the_first_target_image_alone_trains(
    train: Train, painted: Callable[[Path, Any, Any], Path], target: Path, target_model: Path
) -> None:
    episode = np.arange(16)[:, None, None, None]
    step = [*ALONE, "--pretrain-steps", 0, "--steps", 1, "--no-paired-target", "--target-images", 1]
    inverse = train("inverse", "--target", painted(target, 90, FIRST), *step, "--paired-target")
    assert metrics(inverse, "pixel")[1] == pytest.approx(grey(60), abs=0.02)
    forward = [*FORWARD, "--task-model", target_model, *step]
    identity = train("identity", *forward, "--target", painted(target, FIRST, episode), "--identity-batch-size", 4)
    assert metrics(identity, "pixel")[1] == pytest.approx(grey(60), abs=0.02)
    turned = train("turned", *forward, "--target", painted(target, FIRST, 90), "--paired-target")
    assert metrics(turned, "pixel")[1] == pytest.approx(grey(60), abs=0.02)


@pytest.mark.parametrize("more", [[], EVERYTHING])
def test_one_target_image_is_enough(more: list[object], train: Train) -> None:
    run = train("run", "--target-images", 1, *more)
    assert len(metrics(run, "discriminator")) == 4
    assert len(metrics(run, "validation_pixel")) == 2


def test_more_target_images_than_there_are_are_refused(
    train: Train, target: Path, target_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, there in (([], 32), ([*FORWARD, "--task-model", target_model], 48)):  # an episode of 16 is held out
        capsys.readouterr()
        assert not train("run", "--target-images", 49, *options, status=2).exists()
        said = refused(capsys)
        assert said.startswith(f"target_images: {target}: expected at most ")
        assert f" {there}" in said
        assert said.endswith("got 49")


# Pre-training alone, and starting from what pre-trained


def test_pre_training_alone_needs_no_target_and_translates_any(
    train: Train, target: Path, source: Path, task_model_run: Path, randomized: Path, tmp_path: Path
) -> None:
    run = train("run", "--recipe", "rcan", "--target", "None", "--pretrain-steps", 3, "--steps", 0)
    assert list(metrics(run, "pixel")) == [1, 2, 3]
    assert not metrics(run, "adversarial")
    assert translated_domains(run) == (None, "source")
    words = ["refine", "--source", source, "--target", target, "--task-model", task_model_run, "--translator", run]
    words += ["--out", tmp_path / "refined", "--steps", 1, "--device", "cpu"]
    assert cli.run(list(map(str, words))) == 0
    data = load_dataset(randomized)
    picture = np.asarray(Image.open(run / "images" / "translations_000003.png"))
    np.testing.assert_array_equal(picture[:64:2, :64:2], data.images[data.split_by_episode(0.1, 0)[1][0]])


def test_pre_training_alone_does_not_train_on_what_it_holds_out(train: Train, randomized: Path, tmp_path: Path) -> None:
    held_out = load_dataset(randomized).split_by_episode(0.1, 0)[1][0] // 16
    shutil.copy(randomized, tmp_path / "pairs.h5")
    with h5py.File(tmp_path / "pairs.h5", "a") as file:
        for name, demo in file["data"].items():
            demo["obs/image"][...] = np.zeros((16, 32, 32, 3), np.uint8)
            demo["obs/image_paired"][...] = np.full(
                (16, 32, 32, 3), 240 if name == f"demo_{held_out}" else 60, np.uint8
            )
    only = ["--target", "None", "--pretrain", tmp_path / "pairs.h5", "--pretrain-steps", 1, "--steps", 0]
    run = train("run", "--recipe", "rcan", *only, *FLAT, "--augment", 0.0)
    assert metrics(run, "pixel")[1] == pytest.approx(grey(60), abs=0.02)
    assert metrics(run, "validation_pixel")[1] == pytest.approx(grey(240), abs=0.02)


def test_a_run_starts_from_anothers_weights_in_place_of_pre_training(train: Train) -> None:
    first = train("first", "--target", "None", "--pretrain-steps", 3, "--steps", 0)
    standing = ["--start-from", first, "--learning-rate", 1e-12, "--pretrain", "None", "--pairs-batch-size", 0]
    run = train("run", *standing, "--lambda-warmup", 0.5)
    before, after = load_translator(first).state_dict(), load_translator(run).state_dict()
    for name in before:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    assert list(metrics(run, "adversarial")) == [1, 2, 3, 4]
    assert yaml.safe_load((run / "config.yaml").read_text())["config"]["settings"]["pretrain_steps"] == 0
    assert data_seeds(run)["pretrain_data"] == 2  # of the run it started from


@pytest.fixture
def copying(train: Train, randomized: Path, tmp_path: Path) -> list[object]:
    """Return options that start from a translator which has learned to leave images as they are."""
    same = beside_its_pairs(randomized, tmp_path / "same.h5", 0)
    run = train("copying", "--pretrain", same, "--target", "None", "--pretrain-steps", 150, "--steps", 0)
    return ["--start-from", run, "--pretrain", "None", "--steps", 0, "--align-steps", 60]


def beside_its_pairs(dataset: Path, out: Path, pixels: int) -> Path:
    """Copy a dataset, whose images are now their plain renders, so many pixels further to the right."""
    shutil.copy(dataset, out)
    with h5py.File(out, "a") as file:
        for demo in file["data"].values():
            demo["obs/image"][...] = np.roll(demo["obs/image_paired"][()], pixels, axis=2)
    return out


def test_target_images_are_moved_to_where_their_renders_are(
    copying: list[object], train: Train, target: Path, tmp_path: Path
) -> None:
    off = beside_its_pairs(target, tmp_path / "off.h5", 3)
    run = train("aligned", *copying, "--target", off, "--target-images", 10)
    alignment = load_alignment(run)
    assert alignment is not None
    assert alignment.moved_px(32, 32) == pytest.approx(3, abs=1)
    assert metrics(run, "aligned_px")[60] == alignment.moved_px(32, 32)
    data = load_dataset(off)
    assert data.paired is not None
    recorded, truth = (to_network(torch.from_numpy(images)) for images in (data.images, data.paired))
    errors = [float((network(recorded) - truth).abs().mean()) for network in translators(copying[1], run)]
    assert errors[1] < 0.7 * errors[0]
    again = train("again", "--start-from", run, "--target", off, "--steps", 1)
    kept = load_alignment(again)
    assert kept is not None
    assert torch.equal(kept.warp, alignment.warp)
    assert isinstance(load_translator(run, "randomized"), Generator)  # which the simulated camera took
    assert isinstance(load_translator(run, "target_wood"), torch.nn.Sequential)


def test_another_cameras_alignment_is_not_inherited(
    copying: list[object], train: Train, collected: Collected, target: Path, tmp_path: Path
) -> None:
    off = beside_its_pairs(target, tmp_path / "off.h5", 3)
    run = train("aligned", *copying, "--target", off)
    assert load_alignment(run) is not None
    other = collected("target_a", "--paired", "source", seed=8, episodes=2)
    assert load_alignment(train("other", "--start-from", run, "--target", other, "--steps", 1)) is None
    straight = beside_its_pairs(target, tmp_path / "straight.h5", 0)
    again = train("again", "--start-from", run, "--target", straight, "--steps", 0, "--align-steps", 1)
    assert load_alignment(again) is None  # held-out images are better off without


def test_an_untrained_translator_aligns_nothing(train: Train) -> None:
    run = train("run", "--pretrain-steps", 0, "--align-steps", 5)
    assert load_checkpoint(run)["step"] == 4


def translators(*runs: object) -> list[torch.nn.Module]:
    return [load_translator(Path(str(run))).eval().requires_grad_(False) for run in runs]


def test_an_alignment_that_does_not_help_on_held_out_images_is_dropped(
    copying: list[object], train: Train, target: Path, tmp_path: Path
) -> None:
    off, straight = (beside_its_pairs(target, tmp_path / f"{pixels}.h5", pixels) for pixels in (3, 0))
    run = train("run", *copying, "--target", off, "--validation", straight)
    assert load_alignment(run) is None
    assert not metrics(run, "aligned_px")
    before, after = (network.state_dict() for network in translators(copying[1], run))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_nothing_is_aligned_without_plain_renders(
    copying: list[object], train: Train, collected: Collected, target_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = collected("target_wood", seed=1)
    train("run", *copying, "--target", bare, status=2)
    assert refused(capsys).startswith("expected steps or pretrain_steps above 0, or target images with plain renders")
    assert load_checkpoint(train("run", "--target", bare, "--align-steps", 5))["step"] == 6
    forward = train("forward", *FORWARD, "--task-model", target_model, "--align-steps", 5)
    assert load_checkpoint(forward)["step"] == 6


def test_a_start_that_does_not_fit_is_refused(
    train: Train, target: Path, target_model: Path, translator_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["--start-from", translator_run]
    assert not train("run", *start, "--generator.blocks", 2, status=2).exists()
    said = refused(capsys)
    assert said.startswith(
        f"start_from: {translator_run}: expected the recipe's GeneratorConfig(widths=(8, 16), blocks=2"
    )
    assert "got GeneratorConfig(widths=(8, 16), blocks=1" in said
    train("run", *start, *FORWARD, "--task-model", target_model, status=2)
    other = f"start_from: {translator_run}, what it translates into: expected the domain target_wood, got source"
    assert refused(capsys) == other
    train("run", *start, "--steps", 0, status=2)
    nothing = "expected steps or pretrain_steps above 0, or target images with plain renders to align, got steps 0 and "
    assert refused(capsys).startswith(f"{nothing}start_from")


def test_a_run_with_nothing_to_do_or_no_target_is_refused(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    assert not train("run", "--pretrain-steps", 0, "--steps", 0, status=2).exists()
    assert refused(capsys).endswith("got steps 0 and pretrain_steps 0")
    alone = ["--steps", 0, "--target", "None"]
    for options in (["--target", "None"], [*alone, "--target-images", 1], [*alone, "--direction", "forward"]):
        assert not train("run", *options, status=2).exists()
        assert refused(capsys).startswith("expected --target DATASET, got none: only an inverse translator that ")


# Objectives of others

PUBLISHED = {
    "simgan": {"adversarial", "self", "discriminator"},
    "cyclegan": {
        "adversarial", "pixel", "cycle", "cycle_adversarial", "cycle_identity", "discriminator", "cycle_discriminator",
    },
    "pix2pix": {"adversarial", "pixel", "discriminator"},
}  # fmt: skip


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_a_published_objective_trains_by_its_own_losses_alone(recipe: str, train: Train) -> None:
    run = train("run", "--recipe", recipe, "--pretrain", "None", "--pretrain-steps", 0, "--steps", 2)
    figures = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert figures.keys() == {"step", *PUBLISHED[recipe]}
    assert set(metrics(run, "validation_task")) == {2}  # it is measured all the same
    assert ("cycle" in load_checkpoint(run)["trainer"]) is (recipe == "cyclegan")


ONLY = [*ALONE, "--no-paired-target", "--pretrain-steps", 0, "--adversarial-weight", 0.0, "--lambda-task", 0.0]
ONLY += ["--learning-rate", 0.005, "--steps", 40, "--show-every", 40]
SHADE = np.linspace(-20, 20, 32)[:, None, None]  # from top to bottom: of one colour, an instance norm leaves rounding


def test_a_translation_is_held_to_its_input(
    train: Train, painted: Callable[[Path, Any, int], Path], target: Path
) -> None:
    flat = train("flat", *ONLY, *FLAT, "--self-weight", 10.0, "--steps", 1, "--target", painted(target, 60, 0))
    assert metrics(flat, "self")[1] == pytest.approx(grey(60), abs=0.02)
    run = train("run", *ONLY, "--self-weight", 10.0, "--target", painted(target, 60 + SHADE, 0))
    assert metrics(run, "self")[40] < 0.5 * grey(60)


def test_the_cycle_reconstructs_the_input_in_both_domains(
    train: Train, painted: Callable[[Path, Any, int], Path], source: Path, target: Path
) -> None:
    data = ["--source", painted(source, 230 + SHADE, 0), "--target", painted(target, 60 + SHADE, 0)]
    run = train("run", *ONLY, *FLAT, "--cycle-weight", 10.0, *data)
    cycle = metrics(run, "cycle")
    assert cycle[1] == pytest.approx(grey(60) + grey(230), abs=0.04)
    assert cycle[40] < 0.5 * min(grey(60), grey(230))  # which takes both generators
    state = load_checkpoint(run)["trainer"]["cycle"]
    assert {"generator", "generator_adam", "discriminator", "discriminator_adam", "pool"} == state.keys()


def test_a_conditional_discriminator_compares_recorded_pairs(
    train: Train, painted: Callable[[Path, Any, int], Path], target: Path, target_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shown: list[tuple[torch.Tensor, torch.Tensor]] = []
    step = Adversary.step

    def noted(self: Adversary, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        shown.append((real, fake))
        return step(self, real, fake)

    monkeypatch.setattr(Adversary, "step", noted)
    pix2pix = ["--recipe", "pix2pix", "--pretrain-steps", 0, "--steps", 1, "--target", painted(target, 90, 60)]
    train("inverse", *pix2pix)
    train("forward", *pix2pix, *FORWARD, "--task-model", target_model)
    (real, fake), (forward_real, forward_fake) = shown
    for images, byte in ((real[:, :3], 90), (real[:, 3:], 60), (fake[:, :3], 90)):  # not the augmented ones
        assert torch.allclose(images, torch.tensor(byte / 127.5 - 1), atol=1e-6)
    for images, byte in ((forward_real[:, :3], 60), (forward_real[:, 3:], 90)):
        assert torch.allclose(images, torch.tensor(byte / 127.5 - 1), atol=1e-6)
    assert real.shape == fake.shape == forward_real.shape == forward_fake.shape == (4, 6, 32, 32)


# Refusals


def test_a_conditional_discriminator_needs_pairs(
    train: Train, collected: Collected, target_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = ["--target", collected("target_wood", seed=1), "--no-paired-target", "--conditional"]
    missing = "conditional: expected a dataset of target_wood with pairs in source (collect --paired source), got none"
    assert not train("run", *bare, status=2).exists()
    assert refused(capsys) == missing
    assert not train(
        "run", *bare, *FORWARD, *ALONE, "--pretrain-steps", 0, "--task-model", target_model, status=2
    ).exists()
    assert refused(capsys) == missing
    assert not train("run", *bare, *FORWARD, "--task-model", target_model, status=2).exists()
    assert refused(capsys) == missing.replace("conditional", "pretrain")


def test_a_dataset_of_another_image_size_is_refused(
    train: Train, collected: Collected, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("run", "--target", collected("target_a", "--paired", "source", size=48, episodes=1), status=2)
    assert refused(capsys) == "datasets do not fit: expected height 32 as in source, got 48 in target_a"
    assert not run.exists()


def shrunk(dataset: Path, out: Path) -> Path:
    """Write a dataset again with images of 16 pixels a side, as no collection makes them."""
    data = load_dataset(dataset)
    with open_writer(out, dataclasses.replace(data.info, height=16, width=16)) as writer:
        for k in range(data.info.episodes):
            rows = data.episode == k
            paired = None if data.paired is None else data.paired[rows, ::2, ::2]
            images = data.images[rows, ::2, ::2]
            writer.add(k, EpisodeRecord(images, data.actions[rows], data.joint_pos[rows], paired))
    return out


def test_images_too_small_for_a_network_are_refused_before_pre_training(
    train: Train, source: Path, target: Path, randomized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [shrunk(path, tmp_path / f"{k}.h5") for k, path in enumerate((source, target, randomized))]
    model = tmp_path / "model"
    words = ["train", "task-model", "--dataset", small[0], "--out", model, "--steps", 1, "--device", "cpu"]
    assert cli.run([str(word) for word in words]) == 0
    data = dict(zip(("--source", "--target", "--pretrain", "--task-model"), (*small, model), strict=True))
    options = [word for pair in data.items() for word in pair]
    assert not train("run", *options, status=2).exists()
    assert refused(capsys).startswith(
        "expected images large enough for the recipe's networks, got 16x16: Expected more"
    )
    assert train(
        "alone", *options, "--recipe", "rcan", "--target", "None", "--steps", 0, "--pretrain-steps", 1
    ).exists()
    deep = ["--generator.widths", *[4] * 4]
    assert not train("deep", *options, "--steps", 0, "--pretrain-steps", 1, *deep, status=2).exists()
    assert refused(capsys).startswith(
        "expected images large enough for the recipe's networks, got 16x16: Expected more"
    )


def test_a_task_model_of_another_domain_is_refused(
    train: Train, collected: Collected, task_model_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    words = ["train", "task-model", "--dataset", collected("target_a", seed=3), "--out", other, "--steps", 1]
    assert cli.run([*map(str, words), "--device", "cpu"]) == 0
    capsys.readouterr()
    assert not train("run", "--task-model", other, status=2).exists()
    assert refused(capsys) == f"task_model: {other}: expected the domain source, got target_a"
    assert not train("run", "--judge", other, status=2).exists()
    assert refused(capsys) == f"judge: {other}: expected the domain source, got target_a"
    forward = ["--recipe", "paper", "--pretrain-steps", 0, "--direction", "forward"]
    assert not train("run", *forward, status=2).exists()
    assert refused(capsys) == f"task_model: {task_model_run}: expected the domain target_wood, got source"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scene": "kitchen"}, "got 'kitchen' in target_wood"),
        ({"arm": "jaco"}, "datasets do not fit: expected arm 'mico' as in source, got 'jaco' in target_wood"),
        (
            {"task": "joint_angles", "units": "rad"},
            "expected task 'joint_velocities' as in source, got 'joint_angles' in target_wood",
        ),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused(
    changes: dict[str, str],
    message: str,
    train: Train,
    target: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other: Any = tmp_path / "other.h5"
    shutil.copy(target, other)
    with h5py.File(other, "a") as file:
        file["data"].attrs.update(changes)
    run = train("run", "--target", other, status=2)
    assert refused(capsys).endswith(message)
    assert not run.exists()


def test_images_that_do_not_divide_by_the_generators_stride_are_refused(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("run", "--generator.widths", 4, 4, 4, 4, 4, 4, status=2)
    assert refused(capsys) == "expected images whose sides are multiples of 64, the generator's stride, got 32x32"
    assert not run.exists()


def test_pairs_that_are_missing_are_asked_for(train: Train, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("run", "--pretrain", "None", status=2)
    asked = "this recipe pre-trains on pairs: expected --pretrain DATASET (collect --paired), got none"
    assert refused(capsys) == asked
    train("run", "--pretrain", source, status=2)
    missing = "pretrain: expected a dataset of source with pairs in source (collect --paired source), got none"
    assert refused(capsys) == missing
    assert not train("run", "--direction", "forward", status=2).exists()
    assert refused(capsys).startswith("pretrain: expected a dataset of randomized with pairs in target_wood ")


def test_target_images_without_pairs_train_by_what_they_have(
    train: Train, collected: Collected, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("run", "--target", collected("target_wood", seed=1))
    assert "its images have no plain renders" in capsys.readouterr().out
    assert yaml.safe_load((run / "config.yaml").read_text())["config"]["settings"]["paired_target"] is False
    train("run", "--target", collected("target_wood", seed=1), "--resume")  # the same choice again
    train("paired")
    assert "its images have their plain renders" in capsys.readouterr().out


def test_explicitly_requested_pairs_must_exist(
    train: Train, collected: Collected, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("run", "--target", collected("target_wood", seed=1), "--paired-target", status=2)
    assert refused(capsys) == (
        "paired_target: expected a dataset of target_wood with pairs in source (collect --paired source), got none"
    )
    assert not run.exists()


def test_a_run_of_another_kind_is_refused_as_a_task_model(
    train: Train, translator_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("run", "--task-model", translator_run, status=2)
    assert refused(capsys) == f"{translator_run}: expected a run of a task model, got one of translator"


def test_resuming_with_another_setting_is_refused(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train("run")
    train("run", "--resume", "--lambda-task", 0.25, status=2)
    was, now = "{'settings.lambda_task': 1.0}", "{'settings.lambda_task': 0.25}"
    assert refused(capsys) == f"{run}: expected the configuration it started with, {was}, got {now}"


def test_a_run_that_began_before_an_option_is_resumed(
    train: Train, at_step: Callable[..., AbstractContextManager[None]]
) -> None:
    with at_step(TranslatorTrainer, 2, signal.SIGINT):
        run = train("run", "--recipe", "paper", status=130)
    described = yaml.safe_load((run / "config.yaml").read_text())
    settings = described["config"]["settings"]
    del settings["pretrain_optimiser"], settings["align_steps"], settings["generator"]["merges"]
    (run / "config.yaml").write_text(yaml.safe_dump(described))
    train("run", "--recipe", "paper", "--resume")
    assert max(metrics(run, "adversarial")) == 6


def test_an_output_that_exists_is_refused(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train("run")
    before = (run / "translator.safetensors").read_bytes()
    train("run", status=2)
    assert refused(capsys).startswith(f"{run} exists already: expected a path that does not")
    assert (run / "translator.safetensors").read_bytes() == before
