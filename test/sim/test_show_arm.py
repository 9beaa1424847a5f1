from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from taskgan_ros import cli

URDF = """
<robot name="crane">
  <link name="base"><visual><geometry><cylinder radius="0.05" length="0.2"/></geometry></visual></link>
  <link name="boom"><visual><origin xyz="0.2 0 0"/><geometry><box size="0.4 0.05 0.05"/></geometry></visual></link>
  <link name="hook"/>
  <joint name="turn" type="revolute"><parent link="base"/><child link="boom"/><origin xyz="0 0 0.3"/>
    <axis xyz="0 0 1"/><limit lower="-170" upper="170" velocity="1" effort="1"/></joint>
  <joint name="slide" type="prismatic"><parent link="boom"/><child link="hook"/><origin xyz="0.4 0 0"/>
    <axis xyz="1 0 0"/><limit lower="0" upper="0.3" effort="1"/></joint>
</robot>"""


@pytest.fixture
def crane(tmp_path: Path) -> Path:
    path = tmp_path / "crane.urdf"
    path.write_text(URDF)
    return path


def test_an_arm_is_described_for_people_and_for_programs(crane: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["arm", str(crane)]) == 0
    table = capsys.readouterr().out
    assert "2 joints to hook" in table
    assert "warning      turn: limits that look like degrees, -170 to 170 rad" in table
    assert "assumed      slide: no velocity limit; 0.1 m/s is assumed" in table
    assert cli.run(["arm", str(crane), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(joint["name"], joint["type"]) for joint in report["joints"]] == [
        ("turn", "revolute"),
        ("slide", "prismatic"),
    ]
    assert report["joints"][0] | {"axis": None} == {
        "name": "turn",
        "type": "revolute",
        "lower": -170,
        "upper": 170,
        "max_velocity": 1,
        "max_acceleration": 2,
        "axis": None,
    }
    np.testing.assert_allclose(report["tip_at_zero_m"], [0.4, 0, 0.3], atol=1e-12)
    assert report["meshes"] == []


def test_its_picture_shows_the_arm(crane: Path, tmp_path: Path) -> None:
    assert cli.run(["arm", str(crane), "--out", str(tmp_path / "out"), "--json", str(tmp_path / "crane.json")]) == 0
    picture = np.asarray(Image.open(tmp_path / "out" / "crane.png"))
    assert picture.shape == (400, 1600, 3)
    poses = np.split(picture, 4, axis=1)
    assert all((one != other).mean() > 0.01 for one, other in itertools.pairwise(poses))
    assert json.loads((tmp_path / "crane.json").read_text())["name"] == "crane"
    assert cli.run(["arm", str(crane), "--out", str(tmp_path / "out")]) == 2  # the picture is there


def test_the_picture_of_any_name_is_in_the_folder(crane: Path, tmp_path: Path) -> None:
    crane.write_text(URDF.replace('"crane"', '"../my crane/1"'))
    assert cli.run(["arm", str(crane), "--out", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_my_crane_1.png"]


@pytest.mark.parametrize(
    "corners", [[[0, 0, 0], [1, 0, 1], [1, 1, 1], [0, 1, 0]], np.eye(3), np.outer(range(3), [1, 1, 1])]
)
def test_meshes_without_a_body_are_taken(corners: list[list[float]], crane: Path, tmp_path: Path) -> None:
    faces = [[0, 1, 2], [0, 2, 3]][: len(corners) - 2]
    trimesh.Trimesh(corners, faces, process=False).export(tmp_path / "flat.stl")
    crane.write_text(URDF.replace('<box size="0.4 0.05 0.05"/>', '<mesh filename="flat.stl" scale="0.1 0.1 0.1"/>'))
    assert cli.run(["arm", str(crane), "--out", str(tmp_path / "out")]) == 0


def test_what_is_no_arm_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.urdf").write_text("<robot")
    assert cli.run(["arm", str(tmp_path / "broken.urdf"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"taskgan: {tmp_path}/broken.urdf: expected a URDF, got: ")
    assert not (tmp_path / "out").exists()
    assert cli.run(["arm", "ur7"]) == 2
    assert "expected a file or one of [mico, panda, so101, ur5e], got 'ur7'" in capsys.readouterr().err


def test_parts_that_overlap_at_home_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arm = tmp_path / "folded.xml"
    arm.write_text(
        """<mujoco><worldbody><body name="a"><joint name="one" axis="0 1 0"/><geom size="0.05" group="2"/>
        <body name="b" pos="0.3 0 0"><joint name="two" axis="0 1 0"/><geom type="capsule" size="0.03 0.1" group="2"/>
        <body name="c" pos="-0.3 0 0"><joint name="three" axis="0 1 0"/><geom size="0.05" group="2"/>
        </body></body></body></worldbody></mujoco>"""
    )
    assert cli.run(["arm", str(arm), "--json"]) == 0
    assert "self-collision at home: one and three" in json.loads(capsys.readouterr().out)["warnings"]


def test_parts_inside_a_hollow_one_do_not_collide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trimesh.creation.annulus(0.2, 0.22, 0.1).export(tmp_path / "ring.stl")
    trimesh.creation.box((0.1, 0.1, 0.1)).export(tmp_path / "box.stl")
    links = [
        f'<link name="{name}"><visual><origin xyz="{at} 0 0"/><geometry><mesh filename="{mesh}.stl"/></geometry>'
        "</visual></link>"
        for name, mesh, at in (("base", "ring", 0), ("a", "box", 1), ("b", "box", "{at}"))
    ]
    joints = [
        f'<joint name="{child}" type="continuous"><parent link="{parent}"/><child link="{child}"/></joint>'
        for parent, child in (("base", "a"), ("a", "b"))
    ]
    text = f'<robot name="ring">{"".join(links + joints)}</robot>'
    for at, found in ((0, []), (0.2, ["self-collision at home: world and b"])):
        (tmp_path / "ring.urdf").write_text(text.replace("{at}", str(at)))
        assert cli.run(["arm", str(tmp_path / "ring.urdf"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["warnings"] == found
