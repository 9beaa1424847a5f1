from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskgan_ros.core.config import share_dir
from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import LEAST_PX, SIDE_PX
from taskgan_ros.training.networks import GeneratorConfig
from taskgan_ros.training.recipe import Recipe, load_recipe
from taskgan_ros.training.steps.translator import check_image_size, parse_translator

NEEDED = ["--source", "s.h5", "--target", "t.h5", "--task-model", "f", "--out", "o"]


def test_every_shipped_recipe_loads() -> None:
    names = [path.stem for path in (share_dir() / "config" / "recipes").glob("*.yaml")]
    assert {"default", "paper"} <= set(names)
    for name in names:
        recipe = load_recipe(name)
        assert recipe.steps + recipe.pretrain_steps > 0


def test_what_is_collected_is_large_enough_for_every_recipe() -> None:
    for name in [path.stem for path in (share_dir() / "config" / "recipes").glob("*.yaml")]:
        recipe = load_recipe(name)
        check_image_size(recipe, LEAST_PX, LEAST_PX + SIDE_PX)
        if recipe.steps:
            with pytest.raises(InputError, match=r"expected images (large enough|whose sides divide)"):
                check_image_size(recipe, LEAST_PX - SIDE_PX, LEAST_PX - SIDE_PX)


def test_the_papers_recipe_has_nothing_past_the_paper() -> None:
    paper = load_recipe("paper")
    assert paper == Recipe()
    assert paper.generator == GeneratorConfig(widths=(32, 64, 128), blocks=6, stem_kernel=7, stem_stride=1, skips=False)
    assert (paper.learning_rate, paper.lambda_task, paper.pool_size, paper.sigmoid) == (2e-4, 0.01, 50, True)
    off = ("pretrain_steps", "pairs_batch_size", "identity_batch_size", "paired_target", "augment", "diff_augment")
    others = ("matched_poses", "ema", "r1", "lambda_warmup", "self_weight", "cycle_weight", "conditional")
    assert not any(getattr(paper, name) for name in off + others)


def test_an_option_goes_over_the_recipe_that_is_named() -> None:
    default = parse_translator(NEEDED)
    assert default.settings == load_recipe("default")
    paper = parse_translator([*NEEDED, "--recipe", "paper", "--steps", "7", "--generator.blocks", "1"])
    assert (paper.recipe, paper.settings.steps, paper.settings.pool_size) == ("paper", 7, 50)
    assert (paper.settings.generator.blocks, paper.settings.generator.stem_kernel) == (1, 7)
    assert parse_translator([*NEEDED, "--recipe=paper"]).settings == load_recipe("paper")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lambda": 1.0}, "lambda: expected no such field, got 1.0"),
        ({"steps": -1}, "steps: Input should be greater than or equal to 0, got -1"),
        ({"ema": 1.0}, "ema: Input should be less than 1, got 1.0"),
        ({"generator": {"widths": [32]}}, "generator.widths: Tuple should have at least 2 items"),
        ({"sigmoid": "perhaps"}, "sigmoid: Input should be a valid boolean"),
        ({"generator": {"merges": True}}, "generator: Value error, merges: expected skips to merge, got skips: false"),
        ({"pretrain_optimiser": "sgd"}, "pretrain_optimiser: Input should be 'adam' or 'muon'"),
    ],
)
def test_a_recipe_file_with_a_fault_is_refused(
    yaml_file: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    path = yaml_file("recipes", "paper", changes)
    with pytest.raises(InputError) as error:
        load_recipe(str(path))
    assert str(error.value).startswith(f"{path}: {message}")


def test_an_unknown_recipe_is_refused_with_the_shipped_ones() -> None:
    with pytest.raises(InputError, match=r"recipes: expected a file or one of \[.*default, .*paper, .*\], got 'best'"):
        parse_translator([*NEEDED, "--recipe", "best"])


def test_recipe_without_a_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        parse_translator([*NEEDED, "--recipe"])
    assert status.value.code == 2
    assert "Missing value for argument '--recipe'" in capsys.readouterr().err
