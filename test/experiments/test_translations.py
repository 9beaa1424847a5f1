from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.models import load_translate
from experiments.translations import (
    TranslationConfig,
    distances_by_place,
    measure_translations,
    pixel_distance,
    similarity,
)
from taskgan_ros import cli
from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.policy.policy import Policy
from taskgan_ros.training.learned import load_task_model
from taskgan_ros.training.networks import to_network, to_uint8
from taskgan_ros.training.steps.translator import load_translator

KEYS = {"l1", "l1_arm", "l1_empty", "ssim", "kid", "judge_error", "judge_floor", "images"}


@pytest.fixture
def config(translator_run: Path, target: Path, task_model_run: Path, tmp_path: Path) -> dict[str, Any]:
    runs = {"translator": translator_run, "judge": task_model_run}
    return {**runs, "dataset": target, "device": "cpu", "out": tmp_path / "out"}


@pytest.fixture(scope="session")
def forward_run(
    source: Path, target: Path, collected: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Return a forward translator and a judge of its domain."""
    folder = tmp_path_factory.mktemp("forward")
    judge, run = folder / "judge", folder / "translator"
    wood = collected("target_wood", "--paired", "source", seed=1)
    how = ["--device", "cpu", "--steps", 1]
    data = ["--source", source, "--target", target, "--task-model", judge, "--direction", "forward"]
    shape = ["--recipe", "paper", "--generator.widths", 8, 16, "--generator.blocks", 1]
    for words in (
        ["train", "task-model", "--dataset", wood, "--out", judge, *how],
        ["train", "translator", *data, "--out", run, *shape, *how],
    ):
        assert cli.run([str(word) for word in words]) == 0
    return run, judge


def test_equal_images_are_0_apart_and_alike() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    assert pixel_distance(images, images) == 0
    assert similarity(images, images) == 1


def test_distance_is_of_values_from_0_to_1_and_noise_is_less_alike_than_a_shift_of_colour() -> None:
    images = np.full((2, 32, 32, 3), 100, np.uint8)
    images[:, 8:16, 8:16] = 30
    assert pixel_distance(images, images + np.uint8(51)) == pytest.approx(0.2)
    assert pixel_distance(images + np.uint8(51), images) == pytest.approx(0.2)
    noise = np.random.default_rng(0).integers(0, 102, images.shape).astype(np.uint8)
    assert 0 < similarity(images + noise, images) < 0.5 < similarity(images + np.uint8(51), images) < 1


def test_what_is_drawn_of_the_arm_counts_apart_from_the_table() -> None:
    truth = np.full((9, 32, 32, 3), 100, np.uint8)
    for k, image in enumerate(truth):
        image[8:16, 3 * k : 3 * k + 4] = 30  # moves, so that the median is the empty table
    translated = truth.copy()
    translated[truth == 30] = 81  # 0.2 off in its 32 pixels of the 60 to 50 that are within one of it
    translated[:, 24:] = 151
    on_arm, elsewhere = distances_by_place(translated, truth)
    assert on_arm is not None
    assert 0.2 * 32 / 60 <= on_arm <= 0.2 * 32 / 50
    assert elsewhere == pytest.approx(0.2 * 8 * 32 / (32 * 32 - 60), rel=0.02)
    assert distances_by_place(translated[:1], truth[:1])[0] is None  # one image is its own median


def test_translations_are_compared_with_the_true_images(config: dict[str, Any]) -> None:
    figures = measure_translations(TranslationConfig(**config))
    data = load_dataset(config["dataset"])
    assert data.paired is not None
    assert set(figures) == KEYS
    assert figures["images"] == len(data) == 48
    with torch.no_grad():
        translated = to_uint8(load_translator(config["translator"])(to_network(torch.from_numpy(data.images))))
    judge, learned = load_task_model(config["judge"])
    for name, images in (("judge_error", translated), ("judge_floor", torch.from_numpy(data.paired))):
        with torch.no_grad():
            predicted = judge(to_network(images)).numpy() * learned.scale
        expected = np.square((predicted - data.actions) / learned.scale).mean()
        assert figures[name] == pytest.approx(expected, rel=1e-4)
    difference = np.abs(translated.numpy().astype(float) - data.paired).mean() / 255
    assert figures["l1"] == pytest.approx(difference, rel=1e-4)
    assert -1 < figures["ssim"] < 1
    assert figures["kid"] > 0  # a translator of three steps


def test_a_bundle_that_observes_the_arm_translates_without_it() -> None:
    bundle = load_bundle("reach_target_wood")
    assert "joint_pos" in bundle.card.observes
    images = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    home = np.tile(bundle.arm.home, (3, 1))
    expected = Policy(bundle).act(images, home, want_translated=True).translated
    assert expected is not None
    assert np.array_equal(load_translate(bundle.path, torch.device("cpu"))(images), expected)


def test_a_bundle_is_measured_as_the_run_it_was_exported_from(config: dict[str, Any], bundle: Path) -> None:
    run = measure_translations(TranslationConfig(**config))
    exported = measure_translations(TranslationConfig(**{**config, "translator": bundle, "out": config["out"] / "2"}))
    assert exported == pytest.approx(run, rel=1e-3)


def test_the_grid_shows_input_translation_truth_and_both(config: dict[str, Any]) -> None:
    measure_translations(TranslationConfig(**config, first=4, images=11))
    page = np.asarray(Image.open(config["out"] / "translations.jpg"))
    data = load_dataset(config["dataset"])
    assert data.paired is not None
    tile = 64  # a 32-pixel image, twice as large
    cells = page[-(tile + 6) : -6, 6:].reshape(tile, -1, 3)
    shown = [cells[::2, left : left + tile : 2] for left in range(0, 4 * (tile + 6), tile + 6)]
    blend = (shown[1].astype(float) + shown[2]) / 2
    for tile_shown, expected in ((shown[0], data.images[14]), (shown[2], data.paired[14]), (shown[3], blend)):
        assert np.abs(tile_shown.astype(float) - expected).mean() < 8  # JPEG; another row or column is 20 off and more


def test_a_forward_translator_is_given_the_plain_side(
    forward_run: tuple[Path, Path], target: Path, tmp_path: Path
) -> None:
    translator, judge = forward_run
    config = TranslationConfig(translator=translator, judge=judge, dataset=target, device="cpu", out=tmp_path)
    figures = measure_translations(config)
    data = load_dataset(target)
    assert data.paired is not None
    with torch.no_grad():
        translated = to_uint8(load_translator(translator)(to_network(torch.from_numpy(data.paired)))).numpy()
    assert figures["l1"] == pytest.approx(np.abs(translated.astype(float) - data.images).mean() / 255, rel=1e-4)


def test_images_that_are_not_there_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected images 40 to 49, two at least, got 48 images"):
        measure_translations(TranslationConfig(**config, first=40, images=10))


def test_a_dataset_without_the_true_images_is_refused(config: dict[str, Any], source: Path) -> None:
    with pytest.raises(InputError, match="which the translator gives, got source with no pairs"):
        measure_translations(TranslationConfig(**{**config, "dataset": source}))


def test_a_judge_of_the_domain_that_is_translated_is_refused(
    config: dict[str, Any], forward_run: tuple[Path, Path]
) -> None:
    with pytest.raises(InputError, match="expected the domain source, got target_wood"):
        measure_translations(TranslationConfig(**{**config, "judge": forward_run[1]}))
