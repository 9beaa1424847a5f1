"""A network that reads the arm's pose off plain images: for guards of task models that do not need to see the arm."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.progress import progress_bar
from taskgan_ros.data.dataset import Dataset
from taskgan_ros.training.bank import label_scale, make_bank
from taskgan_ros.training.networks import TaskModel
from taskgan_ros.training.rates import RateSchedule
from taskgan_ros.training.task_trainer import TaskModelTrainer

_STEPS, _BATCH, _RATE = 3000, 16, 1e-3  # half a minute on two cores; batch and rate are step 1's
_STEPS_AN_IMAGE = 10  # few images train for fewer


def learn_pose(source: Dataset, joints: NDArray[np.intp]) -> TaskModel:
    """Return the paper's network, trained to read the angles of `joints` off the source's images.

    The same images always give the same network on the same machine; the global random state is left as it was.
    """
    labelled = dataclasses.replace(source, actions=source.joint_pos[:, joints])
    steps = min(_STEPS, _STEPS_AN_IMAGE * len(source))
    with torch.random.fork_rng(devices=[]), progress_bar("guard: the arm's pose", steps, "steps") as advance:
        torch.manual_seed(0)
        bank = make_bank(labelled, label_scale(labelled.actions), torch.device("cpu"))
        network = TaskModel(len(joints), (source.info.height, source.info.width))
        network.begin_at(bank.labels)
        trainer = TaskModelTrainer(network, [(bank, _BATCH)], {}, RateSchedule(_RATE, steps), augment=0.0)
        for step in range(steps):
            interrupts.check()
            trainer.train_step(step)
            advance(1)
    return network.eval()
