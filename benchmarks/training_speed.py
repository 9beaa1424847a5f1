"""How fast steps 1 and 2 train, and in how much memory: each in a process of its own, on data it is given."""

from __future__ import annotations

import dataclasses
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro
from report import Row, peak_memory_mb, report

from taskgan_ros.training.networks import GeneratorConfig
from taskgan_ros.training.recipe import Recipe, load_recipe
from taskgan_ros.training.steps.task_model import TaskModelConfig, train_task_model
from taskgan_ros.training.steps.translator import TranslatorConfig, train_translator


@dataclass(frozen=True)
class Config:
    """Time training steps 1 and 2."""

    source: Path
    """Dataset of plain simulation."""
    target: Path
    """Dataset of target images, paired."""
    pretrain: Path
    """Dataset of randomised pairs."""
    steps: int = 60
    """Steps of each; those of a first, shorter run are taken off, so that loading does not count."""
    device: str = "auto"
    """auto, cpu or cuda."""
    busy: int = 0
    """Number of busy processes beside which everything is measured a second time; 0 for none."""
    out: Path | None = None
    """JSON to write."""


def train_task(config: Config, steps: int, folder: Path) -> None:
    """Run step 1 for `steps`."""
    out = folder / "task_model"
    train_task_model(TaskModelConfig(dataset=config.source, out=out, steps=steps, device=config.device))


def recipes() -> dict[str, Recipe]:
    """Return what is compared: the default, the paper, and CycleGAN's own networks, batch and losses at 128x128."""
    cyclegan = dataclasses.replace(
        load_recipe("cyclegan"), generator=GeneratorConfig(widths=(64, 128, 256)), batch_size=1, identity_batch_size=1,
        augment=0.0, diff_augment=False, ema=0.0,
    )  # fmt: skip
    return {"default": load_recipe("default"), "paper": load_recipe("paper"), "cyclegan": cyclegan}


def images_a_step(recipe: Recipe) -> int:
    """Return how many images a generator translates or keeps in a step, both ways where two are trained."""
    ways = 2 if recipe.cycle_weight else 1
    return ways * (recipe.batch_size + recipe.identity_batch_size) + recipe.pairs_batch_size


def train_gan(config: Config, recipe: str, pretrain_steps: int, steps: int, folder: Path) -> None:
    """Run step 2 for `steps`."""
    settings = dataclasses.replace(recipes()[recipe], pretrain_steps=pretrain_steps, align_steps=0, steps=steps)
    train_translator(
        TranslatorConfig(
            source=config.source, target=config.target, pretrain=config.pretrain, task_model=folder / "task_model",
            out=folder / "translator", recipe=recipe, settings=settings, device=config.device, show_every=10**6,
        )
    )  # fmt: skip


def measure(config: Config, what: str, steps: int, result: multiprocessing.Queue[tuple[float, float, float]]) -> None:
    """Put the seconds of one training, and its peak memory (MB) in the computer and on the GPU, on `result`."""
    import torch  # not before taskgan_ros, which says how torch's threads wait

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if what != "task model":
            train_task(config, 1, folder)
        start = time.perf_counter()
        if what == "task model":
            train_task(config, steps, folder)
        elif what == "pre-training":
            train_gan(config, "default", steps, 1, folder)
        else:
            train_gan(config, what, 0, steps, folder)
        seconds = time.perf_counter() - start
        on_gpu = torch.cuda.max_memory_reserved() / 2**20 if torch.cuda.is_initialized() else 0.0
        result.put((seconds, peak_memory_mb(), on_gpu))


def run_alone(config: Config, what: str, steps: int) -> tuple[float, float, float]:
    """Measure in a fresh process."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    process = context.Process(target=measure, args=(config, what, steps, result))
    process.start()
    values: tuple[float, float, float] = result.get()
    process.join()
    return values


def keep_busy() -> None:
    """Use one core until killed."""
    while True:
        sum(range(10_000))


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Have `count` processes compete for the cores."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=keep_busy, daemon=True) for _ in range(count)]
    try:
        for process in processes:
            process.start()
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def main(config: Config) -> None:
    """Measure every step."""
    batches = {
        # Ten times the steps: they are short.
        "task model": TaskModelConfig(dataset=config.source, out=Path("-")).batch_size * 10,
        "pre-training": load_recipe("default").pretrain_batch_size,
        **{name: images_a_step(recipe) for name, recipe in recipes().items()},
    }
    rows: list[Row] = []
    for what, batch in batches.items():
        factor = 10 if what == "task model" else 1
        images_per_s, memory, on_gpu = speed(config, what, batch, factor)
        row: Row = {"step": what, "images/s": images_per_s}
        if config.busy:
            with busy_processes(config.busy):
                row[f"beside {config.busy} busy"], *_ = speed(config, what, batch, factor)
        row |= {"images a step": batch // factor, "peak MB": memory}
        rows.append(row | {"peak MB on the GPU": on_gpu} if on_gpu else row)
    report(f"training on {config.device}", rows, config.out)


def speed(config: Config, what: str, batch: int, factor: int) -> tuple[float, float, float]:
    """Return images a second, and the peak memory in MB of the computer and of the GPU, 0 where none computed."""
    first = max(1, config.steps // 10)
    short, *_ = run_alone(config, what, first * factor)
    long, memory, on_gpu = run_alone(config, what, config.steps * factor)
    return (config.steps - first) * batch / (long - short), memory, on_gpu


if __name__ == "__main__":
    main(tyro.cli(Config))
