from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.reach.camera_watch import LIMIT
from taskgan_ros.reach.drawn_arm import load_drawn_arm
from taskgan_ros.robot.silhouette import silhouette
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.registry import load_motion_scene


def test_a_camera_that_is_aimed_right_has_the_line_on_the_arm_and_one_that_has_moved_is_found() -> None:
    bundle = load_bundle("reach_target_wood")
    arm, scene = load_drawn_arm(bundle), load_motion_scene(bundle.scene_name)
    assert arm is not None
    states = [scene.sample_start(5, k).state for k in range(3)]
    with Cell(scene, load_domain("target_wood"), (128, 128)) as cell:
        look = cell.sample_look(5, 0)
        right = [cell.render(state, look) for state in states]
        off = replace(look, camera_offset=look.camera_offset + np.array([0.0, 0.05, 0.0]))
        wrong = [cell.render(state, off) for state in states]
    poses = [state.joint_pos for state in states]
    assert arm.motion(right, poses).pixels < LIMIT * 128
    found = arm.motion(wrong, poses)
    assert found.pixels > 2 * LIMIT * 128
    np.testing.assert_allclose(found.shift_m, [0, 0.05, 0], atol=0.025)
    drawn = arm.overlay(right[0], poses[0])
    assert drawn.shape == (512, 512, 3)
    changed = np.any(drawn != np.array(arm.overlay(right[0], poses[1])), axis=-1)
    line = np.all(drawn == (255, 0, 200), axis=-1)
    mask = silhouette(arm.surface, poses[0], arm.view.scaled(4))
    assert changed.any()
    assert line.any()
    assert 0.2 < mask[line].mean() < 0.8, "it runs along the border"


def test_a_bundle_that_does_not_say_where_its_camera_stands_draws_nothing(tmp_path: Path) -> None:
    bundle = load_bundle("reach_target_wood")
    scene = tmp_path / "scene.yaml"
    scene.write_text("task: reach")
    card = replace(bundle.card, scene="scene.yaml", files={**bundle.card.files, "scene.yaml": "0" * 64})
    assert load_drawn_arm(replace(bundle, card=card, path=tmp_path)) is None
