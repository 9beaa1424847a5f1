from __future__ import annotations

import pytest
from torch import nn

from taskgan_ros.training.kept import LOOK, PIXEL, TASK, KeptWeights, relative_score


def network(value: float) -> nn.Module:
    """Return a network whose only weight is this."""
    linear = nn.Linear(1, 1, bias=False)
    nn.init.constant_(linear.weight, value)
    return linear


def weight(kept: KeptWeights) -> float:
    assert kept.network is not None
    return float(next(iter(kept.network.parameters())))


def figures(task: float, look: float, pixel: float | None = None) -> dict[str, float]:
    return {TASK: task, LOOK: look} | ({} if pixel is None else {PIXEL: pixel})


def test_a_score_is_the_mean_of_two_ratios() -> None:
    reference = figures(0.2, 0.1)
    assert relative_score(reference, reference) == pytest.approx(1)
    assert relative_score(figures(0.1, 0.2), reference) == pytest.approx(1.25)
    assert relative_score(figures(0.1, 0.2, 0.01), figures(0.2, 0.1, 0.01)) == pytest.approx(0.75), "by pixel"


def test_the_best_validation_is_kept() -> None:
    kept = KeptWeights()
    kept.offer(1, network(1), figures(0.0, 0.0))
    assert kept.network is None  # the steps have not begun
    kept.begin(2, network(2), figures(0.2, 0.1))
    for step, task, look in ((3, 0.1, 0.2), (4, 0.1, 0.1), (5, 0.2, 0.04), (6, 0.05, 0.2)):
        kept.offer(step, network(step), figures(task, look))
    assert (kept.step, weight(kept)) == (5, 5)  # scores 1.25, 0.75, 0.7 and 1.125


def test_no_weights_worse_than_the_first_are_kept() -> None:
    kept = KeptWeights()
    kept.begin(2, network(2), figures(0.2, 0.1))
    kept.offer(3, network(3), figures(0.1, 0.151))
    assert (kept.step, weight(kept)) == (2, 2)


def test_where_the_truth_is_known_it_counts() -> None:
    kept = KeptWeights()
    kept.begin(0, network(0), figures(0.2, 0.1, 0.01))
    kept.offer(1, network(1), figures(0.2, 9.0, 0.009))
    assert kept.step == 1


def test_a_perfect_start_is_kept() -> None:
    kept = KeptWeights()
    kept.begin(0, network(0), figures(0.0, 0.0))
    kept.offer(1, network(1), figures(1e-3, 0.0))
    assert kept.step == 0


def test_its_state_is_taken_over() -> None:
    kept, other = KeptWeights(), KeptWeights()
    other.load_state_dict(kept.state_dict(), network(0))
    assert other.network is None
    kept.begin(2, network(2), figures(0.2, 0.1))
    kept.offer(3, network(3), figures(0.1, 0.1))
    other.load_state_dict(kept.state_dict(), network(0))
    other.offer(4, network(4), figures(0.15, 0.1))
    assert (other.step, weight(other)) == (3, 3)
    assert relative_score(figures(0.1, 0.1), other.state_dict()["start"]) == pytest.approx(0.75)
    other.offer(5, network(5), figures(0.09, 0.1))
    assert other.step == 5
    assert other.network is not None
    assert not any(parameter.requires_grad for parameter in other.network.parameters())
