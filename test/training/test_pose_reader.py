from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from taskgan_ros.data.dataset import load_dataset
from taskgan_ros.training.networks import run_batches, to_network
from taskgan_ros.training.pose_reader import learn_pose


def test_the_pose_is_read_off_plain_images_again_and_again_alike(collected: Callable[..., Path]) -> None:
    data = load_dataset(collected("source", "--task", "joint_goals", episodes=6))
    state = torch.get_rng_state()
    first, second = (learn_pose(data, np.arange(3)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    angles = data.joint_pos[:, :3]
    read = run_batches(lambda part: first(to_network(part)), data.images) * angles.std(axis=0)
    assert (np.square(read - angles).mean(axis=0) < 0.2 * angles.var(axis=0)).all()
