"""What to record more of: where in joint space a recording has few frames, or a bundle errs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.robot.angles import whole_turns

Array = NDArray[np.float64]

_REGIONS = 5  # a joint's range is cut into
_NEEDED = 0.05  # least share of the expert's own frames for a region to count
_SPARSE = 0.25  # of the share that the expert has there
_ERRS = 1.5  # times the median region's error


@dataclass(frozen=True)
class Region:
    """A stretch of one joint's range.

    Attributes:
        joint: its name.
        low, high: rad, or m.
        expected: share of the expert's frames that are there.
        recorded: how many of the training frames are.
        error: mean label error of held-out frames there; None where there are none.
        is_sparse: whether it has far fewer frames than the expert's episodes would.
        errs: whether held-out frames there are worse than elsewhere.
    """

    joint: str
    low: float
    high: float
    expected: float
    recorded: int
    error: float | None
    is_sparse: bool
    errs: bool


def find_regions(
    names: tuple[str, ...],
    is_continuous: NDArray[np.bool_],
    expert: Array,
    recorded: Array,
    held_out: Array,
    errors: Array | None,
) -> list[Region]:
    """Return every joint's regions, those of most concern first.

    Args:
        names: of the J joints.
        is_continuous: (J,) whether a joint has no limits, so that the recording may count other whole turns.
        expert: (E, J) where the joints stand in the source dataset: where the task takes the arm.
        recorded: (N, J) in the frames that trained.
        held_out: (V, J) in those that did not.
        errors: (V,) label errors of these, or None.
    """
    middle = expert.mean(axis=0)
    recorded, held_out = (values - whole_turns(values - middle, is_continuous) for values in (recorded, held_out))
    regions = [
        region for k in range(len(names)) for region in _of_joint(names[k], k, expert, recorded, held_out, errors)
    ]
    worst = max((region.error or 0.0 for region in regions), default=0.0) or 1.0
    return sorted(regions, key=lambda one: -(one.is_sparse + one.errs + (one.error or 0.0) / worst / 2 + one.expected))


def _of_joint(name: str, k: int, expert: Array, recorded: Array, held_out: Array, errors: Array | None) -> list[Region]:
    low, high = np.quantile(expert[:, k], [0.005, 0.995])
    edges = np.linspace(low, high, _REGIONS + 1)
    where = [np.clip(np.digitize(values[:, k], edges) - 1, 0, _REGIONS - 1) for values in (expert, recorded, held_out)]
    found = []
    means = [float(errors[where[2] == r].mean()) if errors is not None and (where[2] == r).any() else None
             for r in range(_REGIONS)]  # fmt: skip
    known = [mean for mean in means if mean is not None]
    usual = float(np.median(known)) if known else 0.0
    for r in range(_REGIONS):
        expected, count, mean = float((where[0] == r).mean()), int((where[1] == r).sum()), means[r]
        is_sparse = expected > _NEEDED and count < _SPARSE * expected * len(recorded)
        errs = mean is not None and mean > _ERRS * usual
        found.append(Region(name, float(edges[r]), float(edges[r + 1]), expected, count, mean, is_sparse, errs))
    return found
