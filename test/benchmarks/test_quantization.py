from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from film import render
from quantization import matrices

from taskgan_ros.policy.bundle import TASK_MODEL, load_bundle, write_bundle
from taskgan_ros.policy.policy import Policy
from taskgan_ros.training.quantize import to_int8


def test_f_x_in_int8_gives_commands_larger_than_those_it_was_calibrated_on(tmp_path: Path) -> None:
    bundle = load_bundle("reach_target_wood")
    simulated = replace(bundle, card=replace(bundle.card, target_domain="source"))
    film = render(simulated, bundle.card.image.shape, episodes=8, step_rad=0.3)
    images = film.images
    expected = Policy(bundle, translate=False).act(images, film.joint_pos).commands
    size = np.abs(expected).max(axis=(1, 2))
    task_model = bundle.path / TASK_MODEL
    graph = to_int8(
        task_model, images[size < np.median(size)], matrices(task_model)[-1:], len(bundle.card.joint_pos_names)
    )
    made = write_bundle(tmp_path / "int8", replace(bundle.card, guard=None), {TASK_MODEL: graph}, "")
    commands = Policy(made, translate=False).act(images, film.joint_pos).commands
    assert size.max() > 2 * np.median(size)
    np.testing.assert_allclose(np.abs(commands).max(), size.max(), rtol=0.15)
    np.testing.assert_allclose(commands, expected, atol=0.03 * size.max())  # with the last layer in int8 too, 0.06
