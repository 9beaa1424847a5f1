"""Where a run came from: the runs and datasets that its `config.yaml` names, and the domains they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from taskgan_ros.core.config import expand_home, short_name
from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import DatasetInfo, read_info
from taskgan_ros.training.run import read_description

_DATASETS = {
    "source": "source",
    "target": "target",
    "fit_output": "target",
    "pretrain": "pretrain",
    "dataset": "task_model",
}
_RUNS = ("task_model", "translator", "start_from")


def locate(run: Path, given: str | Path) -> Path:
    """Return a path in the configuration of `run`: as typed, from here or else from the nearest folder above the run.

    Raises:
        InputError: it is at none of them.
    """
    for path in (expand_home(given), *(parent / given for parent in run.absolute().parents)):
        if path.exists():
            return path
    raise InputError(f"{run}: expected {given}, which it was made from, here or in a folder above the run, got none")


def check_domain(what: str, expected: str | tuple[str, ...] | None, actual: str) -> None:
    """Refuse a domain, a shipped name or a user's file, whose name is not an expected one; None accepts any.

    Raises:
        InputError: with the names.
    """
    if expected is None:
        return
    names = [short_name(name) for name in ((expected,) if isinstance(expected, str) else expected)]
    if short_name(actual) not in names:
        raise InputError(f"{what}: expected the domain {' or '.join(names)}, got {short_name(actual)}")


def translated_domains(run: Path) -> tuple[str | None, str]:
    """Return the domains that a translator's run takes and gives; None takes any, for it saw no target image."""
    config = read_description(run).config
    source = read_info(locate(run, config["source"])).domain
    if config["target"] is None:  # which only an inverse one can do without
        return None, source
    target = read_info(locate(run, config["target"])).domain
    return (target, source) if config["direction"] == "inverse" else (source, target)


def understood_domains(run: Path) -> tuple[str, ...] | None:
    """Return the domains whose images a translator learned to translate: its own and the one it pre-trained on.

    None stands for any, as in `translated_domains`.
    """
    taken, _ = translated_domains(run)
    if taken is None:
        return None
    config = read_description(run).config
    pretrain = config["pretrain"] if config["direction"] == "inverse" else None
    return (taken, read_info(locate(run, pretrain)).domain) if pretrain else (taken,)


def generations(run: Path) -> list[dict[str, Any]]:
    """Return the configurations that led to a task model: of step 1, then of each run that continued another.

    Raises:
        InputError: a run that is gone, or one that came from itself: runs were renamed.
    """
    return [config for _, config in _history(run)]


def _history(run: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the runs that led to a task model, the first one first, each with its configuration."""
    found: dict[Path, tuple[Path, dict[str, Any]]] = {}
    while run.resolve() not in found:
        described = read_description(run)
        found[run.resolve()] = run, described.config
        before = described.config.get("task_model")
        if described.kind == "two_column" or not before:
            return list(found.values())[::-1]
        run = locate(run, before)
    raise InputError(f"{run}: expected a task model that continued another, got one that continued itself")


def refined_domains(run: Path) -> tuple[str, ...]:
    """Return the domains whose images refined or fitted a task model as they are, without a translator before it."""
    refined = [(own, config) for own, config in _history(run)[1:] if config.get("translator", "") is None]
    parts = [(own, config, what) for own, config in refined for what in ("target", "fit_output")]
    named = [
        (own, config[what]) for own, config, what in parts if config.get(what) and (what != "target" or config["steps"])
    ]
    return tuple(read_info(locate(own, dataset)).domain for own, dataset in named)


def fitted_images(run: Path) -> int:
    """Return how many target images a task model's output layers were fitted to."""
    return sum(count_images(own, config, "fit_output", "fit_images") for own, config in _history(run))


def count_images(run: Path, config: Mapping[str, Any], dataset: str, limit: str) -> int:
    """Return how many images of a dataset a run was given; none without one.

    Args:
        run: whose `config` it is.
        config: names the dataset and the limit.
        dataset: name of the field with its path.
        limit: name of the field with how many of its images were taken, where not all of them.
    """
    if not config.get(dataset):
        return 0
    return config.get(limit) or read_info(locate(run, config[dataset])).images


def data_seeds(*runs: Path) -> dict[str, int]:
    """Return the seed of each dataset that had a part in `runs`, through all runs that they came from.

    The names end in `_data`, numbered where several datasets had the same part.
    """
    seen: set[Path] = set()
    datasets: dict[DatasetInfo, str] = {}
    for part, info in (found for run in runs for found in _datasets(run, seen)):
        datasets.setdefault(info, part)  # one may have several parts
    seeds: dict[str, int] = {}
    for info, part in datasets.items():
        number = sum(name.startswith(part) for name in seeds) + 1
        seeds[f"{part}_data" if number == 1 else f"{part}_{number}_data"] = info.seed
    return seeds


def _datasets(run: Path, seen: set[Path]) -> Iterator[tuple[str, DatasetInfo]]:
    if run.resolve() in seen:
        return
    seen.add(run.resolve())
    config = read_description(run).config
    for field, part in _DATASETS.items():
        if config.get(field):
            yield part, read_info(locate(run, config[field]))
    for field in _RUNS:
        if config.get(field):
            yield from _datasets(locate(run, config[field]), seen)
