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
from experiments.models import load_translate
from experiments.pictures import spread, write_grid
from experiments.translations import TranslationConfig, measure_translations, sides
from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.training.learned import load_task_model
from taskgan_ros.training.run import pick_device


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
    """Folder for a grid of each, and one of all side by side."""
    json: Path | None = None
    """JSON to write."""


def _draw(config: Config) -> None:
    """Draw evenly spaced images, what each translator makes of them, and the true ones."""
    data, device = load_dataset(config.dataset), pick_device("auto")
    rows, given = spread(len(data)), load_task_model(config.judge)[1].data.domain
    images, truth = (side[rows] for side in sides(config.dataset, data, given))
    columns = {"camera": images}
    columns |= {run.name: load_translate(run, device)(images) for run in config.translators}
    columns["truth"] = truth
    write_grid(config.out / "side_by_side.jpg", columns)


def main(config: Config) -> None:
    """Measure each, and report."""
    rows = []
    for k, run in enumerate(config.translators):
        out = config.out / f"{k}_{run.name}"
        one = TranslationConfig(translator=run, dataset=config.dataset, judge=config.judge, out=out)
        rows.append({"translator": str(run), **measure_translations(one)})
    _draw(config)
    report(f"translations of {config.dataset.name}", rows, config.json)


if __name__ == "__main__":
    main(tyro.cli(Config))
