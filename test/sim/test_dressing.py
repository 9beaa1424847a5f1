from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from taskgan_ros.core.config import build
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import ToolPart
from taskgan_ros.robot.models import load_robot
from taskgan_ros.robot.silhouette import grown
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import ArmAppearance, load_domain
from taskgan_ros.sim.dressing import dress
from taskgan_ros.sim.silhouettes import Silhouettes
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of

SCENE = load_scene_of(ReachScene, "reach")
MICO = load_robot("mico")


@pytest.mark.parametrize("worn", [ArmAppearance(stickers=30), ArmAppearance(cable_m=0.01)])
def test_what_an_arm_wears_moves_with_it(worn: ArmAppearance) -> None:
    start = SCENE.sample_start(0, 0).state
    with (
        Cell(SCENE, dataclasses.replace(load_domain("source"), arm=worn), 128) as dressed,
        Cell(SCENE, load_domain("source"), 128) as bare,
        Silhouettes(SCENE, 128, 128) as outline,
    ):
        for turn in (0.0, 1.5):
            state = start.moved_to(start.joint_pos + turn * np.eye(6)[0])
            images = [cell.render(state, cell.sample_look(0, 0)).astype(int) for cell in (dressed, bare)]
            differs = abs(images[1] - images[0]).max(axis=-1) > 20
            assert differs.sum() > 30
            assert not (differs & ~grown(outline.draw(state), 3)).any()


def test_the_same_seed_gives_the_same_places() -> None:
    look = ArmAppearance(stickers=5, cable_m=0.01)
    first, again, other = (dress(MICO.arm, MICO.drawable, look, seed) for seed in (1, 1, 2))
    poses = [[visual.pose for link in one.links for visual in link.visuals] for one in (first, again, other)]
    assert all(np.array_equal(*pair) for pair in zip(poses[0], poses[1], strict=True))
    assert not all(np.array_equal(*pair) for pair in zip(poses[0], poses[2], strict=False))


def test_a_tool_is_in_the_tips_frame() -> None:
    tool = (ToolPart(kind="box", at=(0.0, 0.0, 0.1), size=(0.01, 0.01, 0.01), rgb=(0.1, 0.2, 0.3)),)
    held = dress(MICO.arm, MICO.drawable, ArmAppearance(tool=tool), 0)
    own = [visual for link in held.links for visual in link.visuals if visual.rgb == (0.1, 0.2, 0.3)]
    assert len(own) == 1
    expected = np.subtract(MICO.arm.tip.xyz, (0, 0, 0.1))  # the tip's frame is upside down
    np.testing.assert_allclose(own[0].pose[:3, 3], expected, atol=1e-6)


def test_a_tool_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected capsules, cylinders, ellipsoids and boxes, got \['mesh'\]"):
        build(ArmAppearance, {"tool": [{"kind": "mesh", "file": "hand.stl"}]}, "arm")
