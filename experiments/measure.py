"""`python -m experiments.measure WHAT …`: the studies' measurements; figures go to `figures.json` in `--out`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import tyro

from experiments.angles import AnglesConfig, measure_angles
from experiments.closed_loop import ClosedLoopConfig, measure_closed_loop
from experiments.results import FIGURES
from experiments.symmetry import SymmetryConfig, measure_symmetry
from experiments.translations import TranslationConfig, measure_translations
from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import make_folder, write_text

MEASURES: Final[dict[str, tuple[Any, Callable[[Any], dict[str, Any]]]]] = {
    "closed-loop": (ClosedLoopConfig, measure_closed_loop),
    "translations": (TranslationConfig, measure_translations),
    "angles": (AnglesConfig, measure_angles),
    "symmetry": (SymmetryConfig, measure_symmetry),
}


def main(arguments: Sequence[str]) -> None:
    """Measure what the first argument names, and write the figures.

    Raises:
        InputError: what is measured does not fit, or the figures cannot be written.
    """
    config = tyro.extras.subcommand_cli_from_dict(
        {what: kind for what, (kind, _) in MEASURES.items()}, prog="python -m experiments.measure", args=arguments
    )
    measure = next(measure for kind, measure in MEASURES.values() if isinstance(config, kind))
    with interrupts.raised():
        figures = measure(config)
    make_folder(config.out)
    write_text(config.out / FIGURES, json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (InputError, KeyboardInterrupt) as error:
        sys.exit(f"{type(error).__name__}: {error}")
