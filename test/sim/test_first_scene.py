from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from taskgan_ros import cli
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene


def arms() -> list[str]:
    return ["mico", *(["ur5e"] if importlib.util.find_spec("airo_models") else [])]


@pytest.mark.parametrize("arm", arms())
def test_an_arm_gets_a_scene_that_it_can_carry_out(arm: str, tmp_path: Path) -> None:
    out = tmp_path / "cell.yaml"
    assert cli.run(["scene", arm, "--out", str(out)]) == 0
    scene = load_scene(out)
    assert isinstance(scene, ReachScene)
    for index in range(20):
        episode = scene.sample_start(0, index)
        assert scene.distance(scene.finish(episode)) < 1e-4
        assert is_seen(scene, tip_position(scene.arm, episode.state.joint_pos))
    ready = tip_position(scene.arm, scene.ready)
    assert ready[2] < 0.3  # over the table, as the tool points down
    assert Image.open(tmp_path / "cell.png").size == (1600, 800)
    assert cli.run(["scene", arm, "--out", str(out)]) == 2  # it is there
    assert cli.run(["scene", str(out), "--look", "--out", str(tmp_path / "look.png")]) == 0
    assert np.asarray(Image.open(tmp_path / "look.png")).std() > 10
    text = out.read_text()
    assert cli.run(["scene", str(out), "--look", "--out", str(out)]) == 2  # a slip of the fingers
    assert out.read_text() == text


def is_seen(scene: ReachScene, point: NDArray[np.float64]) -> bool:
    """Return whether the camera's square picture has a point (3,) in m."""
    x, y, z = np.linalg.inv(scene.camera.pose()) @ [*point, 1.0] @ np.eye(4, 3)
    return bool(max(abs(x), abs(y)) < z * np.tan(scene.camera.fov / 2))


GANTRY = """<robot name="gantry"><link name="base"/><link name="x"/><link name="y"/><link name="z"/>
  <joint name="jx" type="prismatic"><parent link="base"/><child link="x"/><origin xyz="0 0 0.6"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="1" velocity="0.5" effort="1"/></joint>
  <joint name="jy" type="prismatic"><parent link="x"/><child link="y"/><axis xyz="0 1 0"/>
    <limit lower="-0.5" upper="0.5" velocity="0.5" effort="1"/></joint>
  <joint name="jz" type="prismatic"><parent link="y"/><child link="z"/><origin xyz="0 0 0.1"/><axis xyz="0 0 -1"/>
    <limit lower="0" upper="0.65" velocity="0.5" effort="1"/></joint></robot>"""


def test_a_gantry_gets_one_although_nothing_tilts_its_tool(tmp_path: Path) -> None:
    (tmp_path / "gantry.urdf").write_text(GANTRY)
    assert cli.run(["scene", str(tmp_path / "gantry.urdf"), "--out", str(tmp_path / "cell.yaml")]) == 0
    scene = load_scene(tmp_path / "cell.yaml")
    assert isinstance(scene, ReachScene)
    assert scene.target.radius[1] > 0.6  # farther than the shipped arms, whose cubes are as large
    assert scene.distance(scene.finish(scene.sample_start(0, 3))) < 1e-4


def test_joints_that_are_not_the_arms_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["scene", "mico", "--out", str(tmp_path / "cell.yaml"), "--driven", "elbow", "wrist", "hand"]
    assert cli.run(words) == 2
    assert "driven: expected 3 of ['m1n6s200_joint_1'," in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


URDF = """
<robot name="crane">
  <link name="base"><visual><geometry><cylinder radius="0.05" length="0.1"/></geometry></visual></link>
  <link name="one"/><link name="two"><visual><origin xyz="0 0 0.2"/><geometry><box size="0.05 0.05 0.4"/></geometry>
  </visual></link><link name="three"/><link name="wrist"/><link name="tool0"/><link name="camera"/>
  <joint name="pan" type="revolute"><parent link="base"/><child link="one"/><origin xyz="0 0 0.2"/><axis xyz="0 0 1"/>
    <limit lower="-3" upper="3" velocity="1" effort="1"/></joint>
  <joint name="lift" type="revolute"><parent link="one"/><child link="two"/><axis xyz="0 1 0"/>
    <limit lower="-2" upper="2" velocity="1" effort="1"/></joint>
  <joint name="elbow" type="revolute"><parent link="two"/><child link="three"/><origin xyz="0 0 0.4"/>
    <axis xyz="0 1 0"/><limit lower="-2.8" upper="2.8" velocity="1" effort="1"/></joint>
  <joint name="tilt" type="revolute"><parent link="three"/><child link="wrist"/><origin xyz="0 0 0.4"/>
    <axis xyz="0 1 0"/><limit lower="-2.8" upper="2.8" velocity="1" effort="1"/></joint>
  <joint name="tool" type="fixed"><parent link="wrist"/><child link="tool0"/><origin xyz="0 0 0.1"/></joint>
  <joint name="eye" type="fixed"><parent link="wrist"/><child link="camera"/><origin xyz="0.1 0 0"/></joint>
</robot>"""


def test_a_model_beside_us_gets_a_scene_and_an_arm_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crane.urdf").write_text(URDF)
    monkeypatch.chdir(tmp_path)
    assert cli.run(["scene", "crane.urdf", "--tip", "camera"]) == 0
    monkeypatch.chdir("/")
    scene = load_scene(tmp_path / "crane_reach.yaml")
    assert scene.arm_name == str(tmp_path / "crane_reach_arm.yaml")
    np.testing.assert_allclose(tip_position(scene.arm, np.zeros(4)), [0.1, 0, 1.0], atol=1e-9)
