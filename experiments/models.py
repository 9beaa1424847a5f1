"""Trained networks at work on bytes, straight from their runs: what a bundle would do, before there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from taskgan_ros.policy.bundle import CARD, load_bundle
from taskgan_ros.policy.policy import Policy as BundlePolicy
from taskgan_ros.training.learned import Learned, load_task_model
from taskgan_ros.training.lineage import check_domain, translated_domains
from taskgan_ros.training.networks import run_batches
from taskgan_ros.training.run import METRICS, read_description
from taskgan_ros.training.steps.export import GoalGraph, TranslatorGraph, task_model_graph
from taskgan_ros.training.steps.translator import load_translator

Pixels = NDArray[np.uint8]

_BATCH = 32


@dataclass(frozen=True)
class Policy:
    """f(F(image)), or f(image) where there is no translator.

    Attributes:
        translator: F on bytes, or None.
        task_model: f on bytes, its outputs in the units of `learned`; velocities where it predicts joint goals.
        learned: what f predicts.
        device: where both are.
    """

    translator: nn.Module | None
    task_model: nn.Module
    learned: Learned
    device: torch.device

    def translate(self, images: Pixels) -> Pixels:
        """Return F(images) (N, H, W, 3) uint8; the images themselves where there is no translator."""
        if self.translator is None:
            return images
        translated: Pixels = run_batches(self.translator, images, device=self.device)
        return translated

    def predict(self, translated: Pixels) -> NDArray[np.float64]:
        """Return f(images) (N, J) in the dataset's units."""
        return run_batches(self.task_model, translated, device=self.device).astype(np.float64)

    def act(self, images: Pixels, joint_pos: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return velocities (N, J) in rad/s at images (N, H, W, 3) uint8 and joint angles (N, n) rad."""
        translated = self.translate(images)
        if not isinstance(self.task_model, GoalGraph):
            return self.predict(translated)
        joints = self.learned.data.indices(self.learned.data.action_names)
        observed = translated, joint_pos[:, joints].astype(np.float32)
        return run_batches(self.task_model, *observed, device=self.device).astype(np.float64)


def load_policy(task_model: Path, translator: Path | None, device: torch.device) -> Policy:
    """Return the networks of two runs, as the graphs that `taskgan export` writes.

    Raises:
        InputError: no such runs, or a translator into another domain than the task model's.
    """
    network, learned = load_task_model(task_model)
    if translator is not None:
        check_domain(f"{translator}, what it translates into", learned.data.domain, translated_domains(translator)[1])
    return Policy(
        translator=None if translator is None else load_translator_graph(translator, device),
        task_model=task_model_graph(task_model, network, learned).eval().to(device),
        learned=learned,
        device=device,
    )


def kept_step(run: Path) -> int | None:
    """Return after which step the weights of a translator's run were, or None where its recipe keeps the last."""
    aligned = read_description(run).config["settings"].get("align_steps", 0)  # steps that change no weights
    metrics = (run / METRICS).read_text(encoding="utf-8").splitlines()
    steps = [figures["kept_step"] for figures in map(json.loads, metrics) if "kept_step" in figures]
    return int(steps[-1]) - aligned if steps else None


def load_translator_graph(run: Path, device: torch.device) -> nn.Module:
    """Return the translator of a run, on bytes.

    Raises:
        InputError: no such run.
    """
    return TranslatorGraph(load_translator(run)).eval().to(device)


def is_bundle(path: Path) -> bool:
    """Return whether a folder is a bundle; else it should be a run."""
    return (path / CARD).is_file()


def load_translate(path: Path, device: torch.device) -> Callable[[Pixels], Pixels]:
    """Return the translator of a run or of a bundle, images (N, H, W, 3) uint8 to as many; a bundle's is on the CPU.

    Raises:
        InputError: neither, or a bundle without a translator.
    """
    if not is_bundle(path):
        graph = load_translator_graph(path, device)
        return lambda images: run_batches(graph, images, device=device)
    policy = BundlePolicy(load_bundle(path))

    def translate(images: Pixels) -> Pixels:
        batches = np.array_split(images, -(-len(images) // _BATCH))
        homes = np.tile(policy.home, (len(images), 1))  # the translation does not depend on it
        translated = [policy.act(batch, homes[: len(batch)], want_translated=True).translated for batch in batches]
        return np.concatenate([batch for batch in translated if batch is not None])

    return translate
