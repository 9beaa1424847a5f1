from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from taskgan_ros.training.aligner import Aligner
from taskgan_ros.training.alignment import Alignment
from taskgan_ros.training.kept import LOOK, TASK

CPU = torch.device("cpu")
STEPS = 100


def shifted(amount: float) -> Alignment:
    alignment = Alignment()
    with torch.no_grad():
        alignment.warp[2] = amount
    return alignment


def shift(alignment: Alignment | None) -> float:
    return 0.0 if alignment is None else alignment.warp[2].item()


def fitted_to(amount: float, start: Alignment | None = None) -> Aligner:
    """Return an aligner that has learned to shift pictures by this much."""
    aligner = Aligner(start, STEPS, CPU)
    for step in range(STEPS):
        aligner.step(step, lambda alignment: (alignment.warp[2] - amount).square())
    return aligner


def best_at(amount: float) -> Callable[[Alignment | None], dict[str, float]]:
    """Return figures of held-out images that are the better the nearer pictures are shifted to this."""

    def figures(alignment: Alignment | None) -> dict[str, float]:
        error = 1 + abs(shift(alignment) - amount)
        return {TASK: error, LOOK: error}

    return figures


def test_what_is_fitted_is_used_once_chosen() -> None:
    aligner = fitted_to(0.05)
    assert aligner.used is None
    aligner.choose(best_at(0.05))
    assert shift(aligner.used) == pytest.approx(0.05, abs=0.01)
    used = shift(aligner.used)
    aligner.step(0, lambda alignment: -alignment.warp[2])
    assert shift(aligner.used) == used, "what is used does not move with what is fitted further"


@pytest.mark.parametrize(("best", "expected"), [(0.05, 0.05), (0.12, 0.12), (-0.3, 0.0)])
def test_the_choice_is_the_one_best_for_held_out_images(best: float, expected: float) -> None:
    aligner = fitted_to(0.05, start=shifted(0.12))
    assert shift(aligner.used) == pytest.approx(0.12), "until the choice, as the translator started from"
    aligner.choose(best_at(best))
    assert shift(aligner.used) == pytest.approx(expected, abs=0.01)


def test_what_changes_nothing_is_not_used() -> None:
    aligner = fitted_to(0.0)
    aligner.choose(best_at(0.0))
    assert aligner.used is None


@pytest.mark.parametrize("start", [None, 0.12])
def test_its_state_is_taken_over(start: float | None) -> None:
    given = fitted_to(0.05, None if start is None else shifted(start))
    taken = Aligner(shifted(0.1), STEPS, CPU)
    taken.load_state_dict(copy.deepcopy(given.state_dict()))  # as one read from a file
    assert shift(taken.used) == shift(given.used)
    for aligner in (given, taken):
        aligner.step(0, lambda alignment: alignment.warp[2].square())
        aligner.choose(best_at(0.05))
    assert shift(taken.used) == shift(given.used) != 0


def test_a_run_from_before_there_was_one_goes_on() -> None:
    aligner = fitted_to(0.05)
    aligner.load_state_dict({})
    aligner.choose(best_at(0.05))
    assert shift(aligner.used) == pytest.approx(0.05, abs=0.01)
