"""Named recipes: the settings of step 2 as files, and each setting as an option of its own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Annotated

import tyro

from taskgan_ros.config import config_dataclass, load, resolve
from taskgan_ros.training.translator import Recipe, TranslatorConfig


def load_recipe(name_or_path: str) -> Recipe:
    """Return a shipped recipe by name, or the one in a user's file.

    Raises:
        InputError: unknown name, or a file that does not describe a recipe.
    """
    return load(Recipe, resolve("recipes", name_or_path))


def parse_translator(arguments: Sequence[str]) -> TranslatorConfig:
    """Return the configuration that command-line `arguments` give, over the recipe that they name.

    Raises:
        InputError: unknown recipe.
    """
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--recipe", nargs="?", default="default", const="default")  # tyro refuses one without a name
    named = load_recipe(finder.parse_known_args(arguments)[0].recipe)

    @config_dataclass
    class Configured(TranslatorConfig):
        settings: Annotated[Recipe, tyro.conf.arg(name="")] = named

    Configured.__doc__ = TranslatorConfig.__doc__
    return tyro.cli(Configured, prog="taskgan train translator", args=list(arguments))
