"""A robot's joint state message as the configuration of one arm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.limits import finite
from taskgan_ros.core.errors import InputError


def configuration(
    joint_names: Sequence[str], names: Sequence[str], positions: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the arm's joint positions from a joint state, which may have other joints too, in any order.

    Args:
        joint_names: the n joints wanted, in the order wanted.
        names: the message's names.
        positions: the message's positions, one per name, rad.

    Returns:
        (n,) rad, finite.

    Raises:
        InputError: a wanted joint missing or given twice, not one position per name, or a position that is not finite.
    """
    if len(names) != len(positions):
        counts = f"{len(names)} names and {len(positions)} positions"
        raise InputError(f"joint state: expected one position per name, got {counts}")
    wanted = set(joint_names)
    place = {name: index for index, name in enumerate(names)}
    missing = [name for name in joint_names if name not in place]
    if missing:
        raise InputError(f"joint state: expected {list(joint_names)}, got {list(names)}: missing {missing}")
    if sum(name in wanted for name in names) > len(wanted):
        raise InputError(f"joint state: expected each joint once, got {list(names)}")
    return finite("joint state", [positions[place[name]] for name in joint_names])
