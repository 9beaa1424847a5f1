"""How close translations are to the true images: on the arm, on the empty scene, and by a task model's predictions.

`python benchmarks/translations.py --translators runs/translator --dataset pairs.h5 --judge runs/task_model --out look`
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from report import report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # experiments/ is not installed
from experiments.models import Pixels, load_translate
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
    worst: bool = False
    """Whether the images side by side are those that the first translator errs most on, one an episode; else they are
    evenly spaced."""
    json: Path | None = None
    """JSON to write."""


def _draw(config: Config) -> None:
    """Draw some images, what each translator makes of them, and the true ones."""
    data, device = load_dataset(config.dataset), pick_device("auto")
    images, truth = sides(config.dataset, data, load_task_model(config.judge)[1].data.domain)
    rows = spread(len(data))
    if config.worst:
        rows = _worst(load_translate(config.translators[0], device)(images), truth, data.episode)[: len(rows)]
    columns = {"camera": images[rows]}
    for name, run in zip(_names(config.translators), config.translators, strict=True):
        columns[name] = load_translate(run, device)(images[rows])
    columns["truth"] = truth[rows]
    write_grid(config.out / "side_by_side.jpg", columns)


def _worst(translated: Pixels, truth: Pixels, episode: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the image of each episode whose translation is furthest from the truth, the worst first."""
    pairs = zip(translated, truth, strict=True)  # one by one: all at once take gigabytes
    errors = np.array([np.abs(one.astype(np.int16) - other).mean() for one, other in pairs])
    order = np.argsort(-errors)
    _, first = np.unique(episode[order], return_index=True)
    return order[np.sort(first)]


def _names(runs: tuple[Path, ...]) -> list[str]:
    """Return what tells each run from the others: the parts of its path that not all have."""
    shared = set.intersection(*(set(run.parts) for run in runs))
    return ["/".join(part for part in run.parts if part not in shared) or run.name for run in runs]


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
