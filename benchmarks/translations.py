"""How close translations are to the true images: on the arm, on the empty scene, and by a task model's predictions.

`python benchmarks/translations.py --translators runs/translator --dataset pairs.h5 --judge runs/task_model --out look`
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import tyro
from report import report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # experiments/ is not installed
from experiments.translations import TranslationConfig, measure_translations


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure translators on one dataset with pairs, one row each."""

    translators: tuple[Path, ...]
    """Runs of step 2, or folders of bundles."""
    dataset: Path
    """Pairs that trained none of them."""
    judge: Path
    """Run of a task model of the domain translated into."""
    out: Path
    """Folder for a grid of each."""
    json: Path | None = None
    """JSON to write."""


def main(config: Config) -> None:
    """Measure each, and report."""
    rows = []
    for k, run in enumerate(config.translators):
        out = config.out / f"{k}_{run.name}"
        one = TranslationConfig(translator=run, dataset=config.dataset, judge=config.judge, out=out)
        rows.append({"translator": str(run), **measure_translations(one)})
    report(f"translations of {config.dataset.name}", rows, config.json)


if __name__ == "__main__":
    main(tyro.cli(Config))
