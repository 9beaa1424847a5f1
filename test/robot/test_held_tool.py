from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
import yaml

from taskgan_ros.core.config import resolve
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.drawing import read_drawing, to_drawing
from taskgan_ros.robot.kinematics import forward, transform
from taskgan_ros.robot.models import load_robot
from taskgan_ros.robot.surface import ArmSurface

WriteModel = Callable[..., Path]
BOX: dict[str, Any] = {"kind": "box", "at": [0.02, 0.0, 0.05], "size": [0.01, 0.02, 0.03], "rpy": [0.1, 0.2, 0.3]}
BOARD: dict[str, Any] = {"kind": "board", "pattern": "chessboard:9x6:0.01", "at": [0, 0, 0.1]}
URDF = """
<robot name="r">
  <link name="world"/><link name="upper"/><link name="wrist"/><link name="flange"/>
  <joint name="shoulder" type="revolute"><parent link="world"/><child link="upper"/><axis xyz="0 1 0"/>
    <origin xyz="0 0 0.3" rpy="0.1 0 0"/><limit lower="-2" upper="2" velocity="1" effort="1"/></joint>
  <joint name="elbow" type="revolute"><parent link="upper"/><child link="wrist"/><axis xyz="1 0 0"/>
    <origin xyz="0 0 0.3"/><limit lower="-2" upper="2" velocity="1" effort="1"/></joint>
  <joint name="fixed" type="fixed"><parent link="wrist"/><child link="flange"/>
    <origin xyz="0.1 0 0.1" rpy="0 0.4 0"/></joint>
</robot>
"""


def own_arm(folder: Path, *tool: dict[str, Any]) -> Path:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(resolve("arms", "mico").read_text()), "tool": list(tool)}))
    return path


def model_arm(write_model: WriteModel, *tool: dict[str, Any]) -> Path:
    write_model(URDF)
    values = {"model": "robot.urdf", "tip": {"link": "flange", "xyz": [0, 0, 0.05]}, "tool": list(tool)}
    return write_model(yaml.safe_dump(values), "arm.yaml")


def corners(half: list[float]) -> np.ndarray:
    return np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T * half


def test_a_tool_is_fixed_to_the_tip_of_any_arm(tmp_path: Path, write_model: WriteModel) -> None:
    for path in (own_arm(tmp_path, BOX), model_arm(write_model, BOX)):
        robot, bare = load_robot(path), load_robot("mico")
        n = len(robot.arm.joint_names)
        q = np.random.default_rng(0).uniform(-1, 1, n)
        surface = ArmSurface(robot.arm, robot.drawable)
        count = len(ArmSurface(bare.arm, bare.drawable).place(bare.arm.home)) if n == 6 else 0
        place = forward(robot.arm, q) @ transform(BOX["at"], BOX["rpy"])
        wanted = corners(BOX["size"]) @ place[:3, :3].T + place[:3, 3]
        drawn = surface.place(q)
        assert len(drawn) > count
        away = np.linalg.norm(wanted[:, None] - drawn, axis=2).min(axis=1)
        np.testing.assert_allclose(away, 0, atol=1e-9)


@pytest.mark.parametrize("link", ["upper", "world"])
def test_a_tool_may_be_on_any_link(link: str, write_model: WriteModel) -> None:
    robot = load_robot(model_arm(write_model, {**BOX, "link": link}))
    assert [one.name for one in robot.drawable.links if one.visuals] == [link]


def test_a_named_point_of_an_mjcf_holds_a_tool_too(
    write_model: WriteModel, make_mjcf: Callable[[int, int], str]
) -> None:
    write_model(make_mjcf(3, 4), "robot.xml")
    arm = {"model": "robot.xml", "tip": "tip", "tool": [BOX, {**BOX, "link": "tip"}]}
    robot = load_robot(write_model(yaml.safe_dump(arm), "arm.yaml"))
    placed = robot.drawable.poses(robot.arm.positions([0.1, 0.2, 0.3, 0.4]))
    boxes = [(link.name, part) for link in robot.drawable.links for part in link.visuals if part.kind == "box"]
    one, other = (placed[name] @ part.pose for name, part in boxes)
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_mesh_is_read_from_beside_the_arms_file_in_its_own_unit(tmp_path: Path) -> None:
    trimesh.creation.box((40, 60, 80)).export(tmp_path / "gripper.stl")
    mesh = {"kind": "mesh", "file": "gripper.stl", "scale": 0.001, "at": [0, 0, 0.02], "rgb": [0.1, 0.2, 0.3]}
    robot = load_robot(own_arm(tmp_path, mesh, BOARD))
    part, board = robot.drawable.links[-1].visuals[-2:]
    np.testing.assert_allclose(np.ptp(part.mesh.vertices, axis=0), [0.04, 0.06, 0.08], atol=1e-6)  # type: ignore[union-attr, arg-type]
    assert part.rgb == (0.1, 0.2, 0.3)
    (tmp_path / "arm.npz").write_bytes(to_drawing(robot.drawable))
    read = read_drawing(tmp_path / "arm.npz").links[-1].visuals[-1]
    assert read.pattern == board.pattern == "chessboard:9x6:0.01"
    assert read.size == board.size == pytest.approx((0.06, 0.045, 0.002))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({**BOX, "link": "hand"}, "tool.0.link: expected one of ['world', 'upper', 'wrist', 'flange'], got 'hand'"),
        ({"kind": "box", "at": [0, 0, 0]}, "tool.0: Value error, a box needs at, size; missing size"),
        ({"kind": "mesh"}, "tool.0: Value error, a mesh needs file; missing file"),
        ({**BOX, "size": [10, 20, 30]}, "tool.0.size.0: Value error, expected at most 1 m in magnitude, not mm"),
        ({**BOX, "at": [0, 0, 50]}, "tool.0.at.2: Value error, expected at most 10 m in magnitude, not mm"),
        ({**BOX, "rpy": [0, 0, 90]}, "tool.0.rpy.2: Value error, expected at most 12.6 rad in magnitude, not degrees"),
        ({**BOX, "color": "red"}, "tool.0.color: expected no such field, got 'red'"),
        ({**BOX, "kind": "cone"}, "tool.0.kind: Input should be 'capsule', 'cylinder', 'ellipsoid', 'box', 'mesh' or"),
        ({**BOARD, "pattern": "chessboard:9x6"}, "pattern: expected the size of its squares too, in m, got 'chess"),
        ({**BOARD, "pattern": "checker:9x6:0.1"}, "pattern: expected chessboard:COLUMNSxROWS[:SQUARE_M]"),
        ({**BOARD, "size": [0.04, 0.04, 0.001]}, "size: expected a plate of [0.05, 0.035] m or more, half-axes, got"),
        (
            {"kind": "capsule", "from": [0, 0, 0], "to": [0, 0, 0], "radius": 0.1},
            "tool.0: Value error, expected a capsule whose from and to differ",
        ),
    ],
)
def test_a_tool_with_a_fault_is_refused(write_model: WriteModel, part: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        load_robot(model_arm(write_model, part))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mesh_that_is_missing_is_named(tmp_path: Path) -> None:
    robot = load_robot(own_arm(tmp_path, {"kind": "mesh", "file": "gripper.stl"}))
    with pytest.raises(InputError, match=r"expected its meshes, got no file for gripper\.stl"):
        _ = robot.drawable


def test_a_bundle_of_an_arm_with_a_mesh_is_drawn_without_what_reads_meshes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = pytest.importorskip("taskgan_ros.training.steps.export", exc_type=ImportError)
    trimesh.creation.box((0.04, 0.06, 0.08)).export(tmp_path / "gripper.stl")
    arm = own_arm(tmp_path, BOX, {"kind": "mesh", "file": "gripper.stl"})
    scene = {**yaml.safe_load(resolve("scenes", "reach").read_text()), "arm": "./own.yaml"}
    (tmp_path / "scene.yaml").write_text(yaml.safe_dump(scene))
    name, _, files = export.own_files(str(arm), str(tmp_path / "scene.yaml"))
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for file, content in files.items():
        (bundle / file).write_bytes(content)
    whole = load_robot(arm)
    before = ArmSurface(whole.arm, whole.drawable).place(whole.arm.home)
    for package in ("trimesh", "fast_simplification"):
        monkeypatch.setitem(sys.modules, package, None)
    robot = load_robot(bundle / name)
    assert [part.kind for part in robot.arm.tool] == ["box", "mesh"]
    np.testing.assert_allclose(ArmSurface(robot.arm, robot.drawable).place(robot.arm.home), before, atol=1e-6)
