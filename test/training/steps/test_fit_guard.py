"""A guard made with the commands that a user has, on tiny real data."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from taskgan_ros import cli
from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.policy.bundle import GUARD, IMAGE, TRANSLATED, TRANSLATOR, load_bundle
from taskgan_ros.policy.guard import Guard
from taskgan_ros.policy.policy import Policy
from taskgan_ros.training.alignment import Alignment
from taskgan_ros.training.networks import TaskModel
from taskgan_ros.training.onnx_graph import to_onnx
from taskgan_ros.training.steps.export import TranslatorGraph
from taskgan_ros.training.steps.fit_guard import GuardData, fit_guard, hold_out_in_turn, is_enough
from taskgan_ros.training.steps.translator import load_translator

Collected = Callable[..., Path]


@pytest.fixture(scope="module")
def many(collected: Collected) -> Path:
    """Return enough target images for a guard."""
    return collected("target_wood", "--paired", "source", episodes=6, seed=1)


@pytest.fixture(scope="module")
def held_out(collected: Collected) -> Path:
    return collected("target_wood", episodes=6, seed=9)


@pytest.fixture(scope="module")
def guarded(bundle: Path, source: Path, many: Path, randomized: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("guarded") / bundle.name
    assert run("--bundle", bundle, "--source", source, "--target", many, "--pretrain", randomized, "--out", out) == 0
    return out


def run(*options: object) -> int:
    return cli.run(["guard", *map(str, options)])


def scores_of(
    bundle: Path, dataset: Path, change: Callable[[np.ndarray], np.ndarray] = np.ascontiguousarray
) -> np.ndarray:
    loaded, data = load_bundle(bundle), load_dataset(dataset)
    policy, guard, rows = Policy(loaded), Guard(loaded), []
    for image, joint_pos in zip(data.images, data.joint_pos.astype(float), strict=True):
        seen = np.ascontiguousarray(change(image))
        translated = policy.act(seen[None], want_translated=True).translated
        assert translated is not None
        rows.append(guard.score(seen, translated[0], joint_pos).values)
    return np.array([[row["camera"], row["pose"]] for row in rows])


def test_images_of_other_colours_score_higher_than_those_it_was_made_of(guarded: Path, many: Path) -> None:
    good = scores_of(guarded, many)
    assert np.isfinite(good).all()
    assert np.median(good[:, 0]) < 1
    assert np.median(scores_of(guarded, many, lambda image: 255 - image)[:, 0]) > 2 * np.median(good[:, 0])


def test_a_pose_that_the_image_does_not_show_scores_high(guarded: Path, many: Path) -> None:
    loaded, data = load_bundle(guarded), load_dataset(many)
    policy, guard = Policy(loaded), Guard(loaded)
    translated = policy.act(data.images[:1], want_translated=True).translated
    assert translated is not None
    away = data.joint_pos[0].astype(float)
    away[:3] += [1.2, -0.9, 0.9]
    near = guard.score(data.images[0], translated[0], data.joint_pos[0].astype(float)).values["pose"]
    assert guard.score(data.images[0], translated[0], away).values["pose"] > near
    turns = data.joint_pos[0].astype(float) + 2 * np.pi
    assert guard.score(data.images[0], translated[0], turns).values["pose"] == pytest.approx(near, rel=1e-3)


def test_the_bundle_stays_as_it_was_but_for_its_guard(guarded: Path, bundle: Path) -> None:
    before, after = load_bundle(bundle).card, load_bundle(guarded).card
    assert before.guard is None
    assert after.guard is not None
    assert {**after.files} == {**before.files, GUARD: after.files[GUARD]}
    assert (after.guard.scores, after.guard.images, after.guard.held_out) == (("camera", "pose"), 96, False)
    assert all(found["0.999"] == pytest.approx(1, abs=1e-3) for found in after.guard.quantiles.values())
    assert "has no guard" in (bundle / "README.md").read_text()
    assert "`guard.onnx` notices some of that" in (guarded / "README.md").read_text()
    assert (guarded / "translations.png").read_bytes() == (bundle / "translations.png").read_bytes()


def test_limits_are_of_held_out_images_where_there_are_some(
    guarded: Path, source: Path, many: Path, held_out: Path, tmp_path: Path
) -> None:
    out = tmp_path / guarded.name
    options = ["--bundle", guarded, "--source", source, "--target", many, "--held-out", held_out, "--out", out]
    assert run(*options) == 0, "a guard is replaced by another"
    card = load_bundle(out).card.guard
    assert card is not None
    assert card.held_out
    scores = scores_of(out, held_out)
    np.testing.assert_allclose(np.quantile(scores, card.quantile, axis=0), 1, rtol=1e-2)


@pytest.fixture
def renamed(tmp_path: Path) -> Callable[[Path], Path]:
    """Return a function that copies a dataset and calls its domain target_wood, as a person may."""

    def rename(dataset: Path) -> Path:
        copy = tmp_path / f"renamed_{dataset.name}"
        shutil.copy(dataset, copy)
        with h5py.File(copy, "a") as file:
            file["data"].attrs["domain"] = "target_wood"
        return copy

    return rename


def test_held_out_images_of_another_look_are_refused_whatever_they_are_called(
    bundle: Path, source: Path, held_out: Path, collected: Collected, renamed: Callable[[Path], Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recorded = renamed(collected("real_standin", episodes=6, seed=1))
    out = tmp_path / bundle.name
    options = ["--bundle", bundle, "--source", source, "--target", recorded, "--out", out]
    assert run(*options, "--held-out", held_out) == cli.EXIT_INPUT_ERROR
    assert "held out: expected images that look as the target's do, at most 1.4 times" in capsys.readouterr().err
    assert not out.exists()
    assert run(*options, "--held-out", renamed(collected("real_standin", episodes=6, seed=9))) == 0
    assert 0.6 < (load_bundle(out).card.guard.likeness or 0) < 1.4  # type: ignore[union-attr]
    assert "times as far from the target's as those are from each other" in (out / "README.md").read_text()


def test_a_recording_in_one_light_flags_half_of_it(
    bundle: Path, source: Path, collected: Collected, yaml_file: Callable[..., Path], tmp_path: Path
) -> None:
    steady = {"ambient": 0.38, "headlight": 0.07, "lamp": 0.67, "azimuth": -1.6, "elevation": 0.9, "distance_m": 3.3}
    camera = {"gain": 1.15, "gamma": 0.83, "white_balance": 0.0, "blur_px": 0.5, "noise": 0.015}
    changes = {**{f"light.{name}": value for name, value in {**steady, "tint": 0.0}.items()},
               **{f"sensor.{name}": value for name, value in camera.items()}}  # fmt: skip
    lab = yaml_file("domains", "real_standin", changes)
    recorded, unseen = collected(str(lab), episodes=6, seed=1), collected(str(lab), episodes=3, seed=9)
    out = tmp_path / bundle.name
    assert run("--bundle", bundle, "--source", source, "--target", recorded, "--new-look", "--out", out) == 0
    assert (scores_of(out, unseen, lambda image: image // 2)[:, 0] > 1).mean() >= 0.95
    assert (scores_of(out, unseen)[:, 0] > 1).mean() < 0.1


def test_a_guard_is_refitted_to_a_recording_of_a_new_look(
    bundle: Path, source: Path, collected: Collected, tmp_path: Path
) -> None:
    out, recorded = tmp_path / bundle.name, collected("target_a", episodes=6)
    assert run("--bundle", bundle, "--source", source, "--target", recorded, "--new-look", "--out", out) == 0
    card = load_bundle(out).card
    assert (card.target_domain, card.guard and card.guard.domain) == ("target_wood", "target_a")
    assert np.median(scores_of(out, recorded)[:, 0]) < 1


def test_one_long_episode_is_held_out_in_stretches(many: Path) -> None:
    data = load_dataset(many)
    long = dataclasses.replace(data, info=dataclasses.replace(data.info, episodes=1), episode=np.zeros(len(data), int))
    folds = hold_out_in_turn(long)
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]
    assert (np.diff(folds) >= 0).all()
    assert is_enough(long)


def test_an_export_with_enough_images_has_a_guard(
    translator_run: Path, refined_run: Path, many: Path, tmp_path: Path
) -> None:
    runs = ["--translator", translator_run, "--task-model", refined_run, "--target", many]
    assert cli.run(["export", *map(str, runs), "--out", str(tmp_path / "mine")]) == 0
    assert load_bundle(tmp_path / "mine").card.guard is not None


def test_a_task_that_says_what_to_do_compares_no_pose(collected: Collected, bundle: Path) -> None:
    poses = [
        load_dataset(collected(domain, "--scene", "poses", "--task", "joint_angles", episodes=6))
        for domain in ("source", "real_standin")
    ]
    source, target = poses
    assert target.info.task == "joint_angles"
    network = TaskModel(len(target.info.action_names), (target.info.height, target.info.width))
    _, card = fit_guard(network, (bundle / TRANSLATOR).read_bytes(), GuardData(source, target))
    assert card.scores == ("camera", "translation")


def test_images_that_are_all_the_same_are_refused(bundle: Path, source: Path, many: Path) -> None:
    data = load_dataset(many)
    same = dataclasses.replace(data, images=np.broadcast_to(data.images[:1], data.images.shape))
    network = TaskModel(len(data.info.action_names), (data.info.height, data.info.width))
    with pytest.raises(InputError, match="expected target images that differ, got 96 that are all the same"):
        fit_guard(network, (bundle / TRANSLATOR).read_bytes(), GuardData(load_dataset(source), same))


def test_an_arm_that_never_moved_makes_a_guard(bundle: Path, source: Path, many: Path) -> None:
    data = load_dataset(many)
    still = dataclasses.replace(data, joint_pos=np.broadcast_to(data.joint_pos[:1], data.joint_pos.shape))
    network = TaskModel(len(data.info.action_names), (data.info.height, data.info.width))
    _, card = fit_guard(network, (bundle / TRANSLATOR).read_bytes(), GuardData(load_dataset(source), still))
    assert all(np.isfinite(list(found.values())).all() for found in card.quantiles.values())


def test_an_aligned_translator_is_not_shown_what_needs_no_alignment(
    translator_run: Path, source: Path, many: Path, randomized: Path
) -> None:
    data, plain, other = (load_dataset(path) for path in (many, source, randomized))
    network = TaskModel(len(data.info.action_names), (data.info.height, data.info.width))
    alignment = Alignment()
    with torch.no_grad():
        alignment.warp[2] = 0.1
    example = [torch.from_numpy(data.images[:2])]
    differs = []
    for translator in (load_translator(translator_run), nn.Sequential(alignment, load_translator(translator_run))):
        graph = to_onnx(TranslatorGraph(translator.eval()), example, [IMAGE], [TRANSLATED])
        given = GuardData(plain, data), GuardData(plain, data, pretrain=other)
        without, with_pretrain = (fit_guard(network, graph, each)[1].quantiles for each in given)
        differs.append(without != with_pretrain)
    assert differs == [True, False]


def test_a_recording_that_counts_turns_otherwise_makes_the_same_guard(bundle: Path, source: Path, many: Path) -> None:
    data = load_dataset(many)
    wrapped = dataclasses.replace(data, joint_pos=np.remainder(data.joint_pos + np.pi, 2 * np.pi) - np.pi)
    assert (wrapped.joint_pos < 0).any()
    assert (abs(wrapped.joint_pos - data.joint_pos) > 6).any()
    network = TaskModel(len(data.info.action_names), (data.info.height, data.info.width))
    cards = [
        fit_guard(network, (bundle / TRANSLATOR).read_bytes(), GuardData(load_dataset(source), dataset))[1]
        for dataset in (data, wrapped)
    ]
    for score, found in cards[0].quantiles.items():
        assert cards[1].quantiles[score] == pytest.approx(found, rel=1e-2)


def test_what_does_not_fit_is_refused_and_leaves_nothing(
    bundle: Path, source: Path, target: Path, many: Path, collected: Collected, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / bundle.name
    usual = ["--bundle", bundle, "--source", source, "--out", out]

    def refused(*options: object) -> str:
        assert run(*options) == cli.EXIT_INPUT_ERROR
        return capsys.readouterr().err.splitlines()[-1]

    assert "expected at least 50 target images, got 48" in refused(*usual, "--target", target)
    again = ("--target", many, "--held-out", target)
    assert "expected images held out from training, got 48 of the target's" in refused(*usual, *again)
    few = ("--target", many, "--held-out", collected("target_wood", episodes=3, seed=9))
    assert "expected at least 50 held-out images, got 48" in refused(*usual, *few)
    other_look = refused(*usual, "--target", collected("target_a", episodes=6))
    assert "expected the domain target_wood, got target_a; --new-look" in other_look
    other = collected("target_wood", episodes=6, size=64)
    assert "expected height 64 as in" in refused(*usual, "--target", other)
    assert "expected a folder named as the bundle" in refused(*usual[:4], "--out", tmp_path / "x", "--target", many)
    assert not any(tmp_path.iterdir())
    out.mkdir()
    assert "exists" in refused(*usual, "--target", many)
