from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.description import Mesh, Visual
from taskgan_ros.robot.drawing import read_drawing, to_drawing
from taskgan_ros.robot.headless import mujoco
from taskgan_ros.robot.inverse import solve_position
from taskgan_ros.robot.kinematics import forward, jacobian, joint_frames, tip_position
from taskgan_ros.robot.models import Robot, load_robot, shipped_arms

WriteModel = Callable[..., Path]
MakeModel = Callable[[int, int], str]


def triangles(visual: Visual) -> Mesh:
    assert isinstance(visual.mesh, Mesh)
    return visual.mesh


def check_against_mujoco(robot: Robot, model: mujoco.MjModel, tip: str, seed: int) -> None:
    arm, rng = robot.arm, np.random.default_rng(seed)
    lower, upper = np.maximum(arm.lower, -np.pi), np.minimum(arm.upper, np.pi)
    for q in rng.uniform(lower, upper, (5, len(lower))):
        data = mujoco.MjData(model)
        for name, value in zip(arm.joint_names, q, strict=True):
            data.qpos[model.joint(name).qposadr[0]] = value
        mujoco.mj_forward(model, data)
        sites = [model.site(k).name for k in range(model.nsite)]
        found = data.site(tip) if tip in sites else data.body(tip)
        pose = forward(arm, q)
        np.testing.assert_allclose(pose[:3, 3], found.xpos, atol=1e-9)
        np.testing.assert_allclose(pose[:3, :3], found.xmat.reshape(3, 3), atol=1e-9)
        linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        if tip in sites:
            mujoco.mj_jacSite(model, data, linear, angular, model.site(tip).id)
        else:
            mujoco.mj_jacBody(model, data, linear, angular, model.body(tip).id)
        columns = [model.joint(name).dofadr[0] for name in arm.joint_names]
        expected = np.vstack([linear, angular])[:, columns]
        np.testing.assert_allclose(jacobian(arm, q), expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(25))
def test_any_mjcf_chain_moves_as_mujoco_moves_it(seed: int, write_model: WriteModel, make_mjcf: MakeModel) -> None:
    path = write_model(make_mjcf(seed, 2 + seed % 6), "robot.xml")
    check_against_mujoco(load_robot(path, "tip"), mujoco.MjModel.from_xml_path(str(path)), "tip", seed)


@pytest.mark.parametrize("seed", range(25))
def test_any_urdf_chain_moves_as_mujoco_moves_it(seed: int, write_model: WriteModel, make_urdf: MakeModel) -> None:
    joints = 2 + seed % 6
    path = write_model(make_urdf(seed, joints))
    spec = mujoco.MjSpec.from_file(str(path))
    spec.compiler.fusestatic = False
    check_against_mujoco(load_robot(path, f"link{joints - 1}"), spec.compile(), f"link{joints - 1}", seed)


@pytest.mark.parametrize("seed", range(10))
def test_inverse_kinematics_finds_what_forward_kinematics_made(
    seed: int, write_model: WriteModel, make_mjcf: MakeModel
) -> None:
    arm = load_robot(write_model(make_mjcf(seed, 6), "robot.xml"), "tip").arm
    rng, everything = np.random.default_rng(seed), np.arange(6)
    found = 0
    for _ in range(10):
        start = rng.uniform(-0.5, 0.5, 6)
        goal = tip_position(arm, start + rng.uniform(-0.2, 0.2, 6))
        q = solve_position(arm, goal, start, everything)
        if q is not None:
            found += 1
            np.testing.assert_allclose(tip_position(arm, q), goal, atol=1e-5)
    assert found >= 9


URDF = """
<robot name="two_links">
  <material name="red"><color rgba="0.9 0.1 0.1 1"/></material>
  <link name="base"/>
  <link name="upper"><visual><geometry><box size="0.1 0.1 0.4"/></geometry><material name="red"/></visual></link>
  <link name="lower"/><link name="tool"/><link name="finger"/><link name="twin"/>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/><origin xyz="0 0 0.1"/>
    <axis xyz="0 2 0"/><limit lower="-1" upper="2" velocity="1.5" effort="1"/></joint>
  <joint name="elbow" type="continuous"><parent link="upper"/><child link="lower"/><origin xyz="0 0 0.4"/>
    <axis xyz="0 1 0"/></joint>
  <joint name="wrist" type="fixed"><parent link="lower"/><child link="tool"/><origin xyz="0 0 0.3"/></joint>
  <joint name="left" type="prismatic"><parent link="tool"/><child link="finger"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="0.04" velocity="0.1" effort="1"/></joint>
  <joint name="right" type="prismatic"><parent link="tool"/><child link="twin"/><axis xyz="-1 0 0"/>
    <mimic joint="left" multiplier="1" offset="0"/><limit lower="0" upper="0.04" velocity="0.1" effort="1"/></joint>
</robot>"""


def test_a_urdf_gives_its_joints_limits_and_tip(write_model: WriteModel) -> None:
    robot = load_robot(write_model(URDF), "tool")
    shoulder, elbow = robot.arm.joints
    assert (shoulder.name, shoulder.kind, shoulder.lower, shoulder.upper) == ("shoulder", "revolute", -1, 2)
    assert (elbow.kind, elbow.lower, elbow.max_velocity) == ("continuous", None, 1.0)
    np.testing.assert_allclose(tip_position(robot.arm, [0, 0]), [0, 0, 0.8], atol=1e-12)
    np.testing.assert_allclose(tip_position(robot.arm, [np.pi / 2, 0]), [0.7, 0, 0.1], atol=1e-12)
    assert robot.assumed == (
        "shoulder: no acceleration limit; 3 rad/s² is assumed",
        "elbow: no velocity limit; 1 rad/s is assumed",
        "elbow: no acceleration limit; 2 rad/s² is assumed",
    )


def test_an_arm_file_says_what_the_model_leaves_open(write_model: WriteModel) -> None:
    write_model(URDF)
    limits = {"has_velocity_limits": True, "max_velocity": 0.7, "has_acceleration_limits": True, "max_acceleration": 4}
    values = {
        "model": "robot.urdf",
        "tip": {"link": "tool", "xyz": [0, 0, 0.1]},
        "joints": {"elbow": limits, "shoulder": {"max_acceleration": 5, "min_position": -0.5, "max_position": 0.5}},
        "home": {"elbow": 0.3, "left": 0.02},
    }
    robot = load_robot(write_model(yaml.safe_dump(values), "mine.yaml"))
    shoulder, elbow = robot.arm.joints
    assert (shoulder.lower, shoulder.upper, elbow.max_velocity, elbow.max_acceleration) == (-0.5, 0.5, 0.7, 4)
    assert (robot.arm.name, robot.arm.home, robot.assumed) == ("mine", (0.0, 0.3), ())
    assert robot.arm.model is not None
    assert robot.arm.model.rest == {"left": 0.02}
    np.testing.assert_allclose(tip_position(robot.arm, [0, 0]), [0, 0, 0.9], atol=1e-12)


def test_a_joint_that_mimics_another_on_the_way_moves_with_it(write_model: WriteModel) -> None:
    text = URDF.replace(
        '<axis xyz="0 1 0"/></joint>', '<axis xyz="0 1 0"/><mimic joint="shoulder" multiplier="-2"/></joint>'
    )
    robot = load_robot(write_model(text), "tool")
    assert robot.arm.joint_names == ("shoulder",)
    q = 0.4
    expected = [0.4 * np.sin(q) - 0.3 * np.sin(q), 0, 0.1 + 0.4 * np.cos(q) + 0.3 * np.cos(q)]
    np.testing.assert_allclose(tip_position(robot.arm, [q]), expected, atol=1e-12)
    step = 1e-6
    slope = (tip_position(robot.arm, [q + step]) - tip_position(robot.arm, [q - step])) / (2 * step)
    np.testing.assert_allclose(jacobian(robot.arm, [q])[:3, 0], slope, atol=1e-8)


def test_another_base_is_where_the_arm_counts_from(write_model: WriteModel) -> None:
    write_model(URDF)
    mine = write_model(yaml.safe_dump({"model": "robot.urdf", "tip": "tool", "base": "upper"}), "mine.yaml")
    robot = load_robot(mine)
    assert robot.arm.joint_names == ("elbow",)
    np.testing.assert_allclose(tip_position(robot.arm, [0]), [0, 0, 0.7], atol=1e-12)


def test_an_equality_of_mjcf_is_a_mimic(write_model: WriteModel) -> None:
    text = """<mujoco><worldbody><body name="a" pos="0 0 0.1"><joint name="one" axis="0 1 0"/><geom size="0.1"/>
      <body name="b" pos="0 0 0.4"><joint name="two" axis="0 1 0"/><geom size="0.1"/>
      <body name="tip" pos="0 0 0.3"><geom size="0.01"/></body></body></body></worldbody>
      <equality><joint joint1="two" joint2="one" polycoef="0.1 -1 0 0 0"/></equality></mujoco>"""
    arm = load_robot(write_model(text, "robot.xml")).arm
    assert arm.joint_names == ("one",)
    np.testing.assert_allclose(joint_frames(arm, [0.5])[1][:3, 2], [np.sin(0.1), 0, np.cos(0.1)], atol=1e-12)


def test_xacro_takes_its_arguments(write_model: WriteModel) -> None:
    text = """<robot name="x" xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:arg name="prefix" default=""/>
      <link name="$(arg prefix)base"/><link name="$(arg prefix)tool"/>
      <joint name="$(arg prefix)joint" type="revolute">
      <parent link="$(arg prefix)base"/><child link="$(arg prefix)tool"/>
      <axis xyz="0 0 1"/><limit lower="-1" upper="1" velocity="1" effort="1"/></joint></robot>"""
    write_model(text, "robot.urdf.xacro")
    values = {"model": "robot.urdf.xacro", "arguments": {"prefix": "left_"}}
    assert load_robot(write_model(yaml.safe_dump(values), "left.yaml")).arm.joint_names == ("left_joint",)


def test_a_package_is_found_with_and_without_ros(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(URDF, "prefix/share/my_description/urdf/robot.urdf")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "prefix"))
    assert load_robot("package://my_description/urdf/robot.urdf", "tool").arm.joint_names == ("shoulder", "elbow")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    with pytest.raises(InputError, match="expected the package my_description in AMENT_PREFIX_PATH"):
        load_robot("package://my_description/urdf/robot.urdf", "tool")


def test_meshes_are_found_above_the_model_and_missing_ones_named(write_model: WriteModel, tmp_path: Path) -> None:
    mesh = URDF.replace(
        '<box size="0.1 0.1 0.4"/>', '<mesh filename="package://my_robot/meshes/link.stl" scale="2 2 2"/>'
    )
    path = write_model(mesh, "my_robot/urdf/robot.urdf")
    with pytest.raises(InputError, match=r"expected its meshes, got no file for package://my_robot/meshes/link\.stl"):
        _ = load_robot(path, "tool").drawable
    (tmp_path / "my_robot" / "meshes").mkdir()
    trimesh.creation.box((0.1, 0.1, 0.2)).export(tmp_path / "my_robot" / "meshes" / "link.stl")
    (visual,) = [visual for link in load_robot(path, "tool").drawable.links for visual in link.visuals]
    np.testing.assert_allclose(np.ptp(triangles(visual).vertices, axis=0), np.array([0.2, 0.2, 0.4]))
    assert visual.rgb == (0.9, 0.1, 0.1)


def test_large_meshes_are_drawn_with_few_triangles(write_model: WriteModel, tmp_path: Path) -> None:
    text = URDF.replace('<box size="0.1 0.1 0.4"/>', '<mesh filename="ball.obj"/>')
    trimesh.creation.icosphere(subdivisions=6, radius=0.1).export(tmp_path / "ball.obj")  # 81 920 triangles
    (visual,) = [visual for link in load_robot(write_model(text), "tool").drawable.links for visual in link.visuals]
    assert 1000 < len(triangles(visual).faces) < 20_000
    radii = np.linalg.norm(triangles(visual).vertices, axis=1)
    assert abs(radii - 0.1).max() < 0.002


LOOP = """<mujoco><worldbody><body name="a"><joint name="one" axis="0 1 0"/><geom size="0.1"/>
  <body name="b" pos="0 0 1"><joint name="two" axis="0 1 0"/><geom size="0.1"/></body></body>
  <body name="c" pos="1 0 0"><joint name="three" axis="0 1 0"/><geom size="0.1"/></body></worldbody>
  <equality><connect body1="b" body2="c" anchor="0 0 0"/></equality></mujoco>"""
FREE = """<mujoco><worldbody><body name="trunk"><freejoint name="root"/><geom size="0.1"/><body name="arm" pos="0 0 1">
  <joint name="one" axis="0 1 0"/><geom size="0.1"/></body></body></worldbody></mujoco>"""


@pytest.mark.parametrize(
    ("text", "name", "tip", "message"),
    [
        ("<robot", "robot.urdf", None, "expected a URDF, got: "),
        ("<robot name='a'/>", "robot.urdf", None, "expected a URDF with links, got none"),
        ("<mujoco><worldbody/></mujoco>", "robot.xml", None, "expected an MJCF with bodies, got none but the world"),
        ("<mujoco><wrong/></mujoco>", "robot.xml", None, "expected an MJCF that MuJoCo takes, got: "),
        (URDF, "robot.urdf", "hand", "expected a tip of [base, upper, lower, tool, finger, twin], got 'hand'"),
        (URDF, "robot.urdf", "base", "expected joints that move between base and base, got none"),
        (URDF, "robot.urdf", None, "of several ends: finger, twin"),
        (
            URDF.replace('xyz="0 2 0"', 'xyz="0 0 0"'),
            "robot.urdf",
            "tool",
            "shoulder: expected an axis with a direction",
        ),
        (
            URDF.replace('lower="-1"', 'lower="3"'),
            "robot.urdf",
            "tool",
            "shoulder: expected lower <= upper, got 3 and 2",
        ),
        (
            URDF.replace('parent link="base"', 'parent link="floor"'),
            "robot.urdf",
            "tool",
            "among the links, got 'floor'",
        ),
        (
            URDF.replace('name="elbow"', 'name="shoulder"'),
            "robot.urdf",
            "tool",
            "joint names that differ, got ['shoulder']",
        ),
        (URDF.replace('mimic joint="left"', 'mimic joint="middle"'), "robot.urdf", "tool", "got 'middle'"),
        (URDF.replace('type="continuous"', 'type="floating"'), "robot.urdf", "tool", "got the floating joint elbow"),
        (
            URDF.replace('child link="lower"', 'child link="upper"'),
            "robot.urdf",
            "tool",
            "got a loop: both shoulder and elbow",
        ),
        (URDF.replace('parent link="base"', 'parent link="tool"'), "robot.urdf", "tool", "apart from base"),
        (URDF.replace('xyz="0 0 0.1"', 'xyz="0 0 nan"'), "robot.urdf", "tool", "expected an origin of finite numbers"),
        (LOOP, "robot.xml", "b", "expected a chain to b, got a loop: b holds c"),
        (FREE, "robot.xml", "arm", "got the floating joint root; base: trunk takes what is after it"),
    ],
)
def test_what_is_no_arm_is_refused_with_what_was_found(
    text: str, name: str, tip: str | None, message: str, write_model: WriteModel
) -> None:
    path = write_model(text, name)
    with pytest.raises(InputError) as error:
        load_robot(path, tip)
    assert message in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", [name for name in shipped_arms() if name != "mico"])
def test_a_shipped_arm_is_understood_from_its_unmodified_model(name: str) -> None:
    package = yaml.safe_load((Path(__file__).parents[2] / "config" / "arms" / f"{name}.yaml").read_text())["model"]
    folder = package.removeprefix("package://").split("/")[0]
    if folder.isidentifier() and importlib.util.find_spec(folder) is None:
        pytest.skip(f"{folder} is not installed")
    try:
        robot = load_robot(name)
    except InputError as error:
        pytest.skip(str(error))
    assert robot.assumed == robot.warnings == ()
    assert json.dumps(robot.arm.home)
    home = tip_position(robot.arm, robot.arm.home)
    assert 0.1 < np.linalg.norm(home) < 1.0


def test_a_drawing_is_the_description_without_its_files(write_model: WriteModel, tmp_path: Path) -> None:
    trimesh.creation.box((0.1, 0.1, 0.2)).export(tmp_path / "link.stl")
    text = URDF.replace('<box size="0.1 0.1 0.4"/>', '<mesh filename="link.stl"/>')
    robot = load_robot(write_model(text), "tool")
    (tmp_path / "arm.npz").write_bytes(to_drawing(robot.drawable))
    read = read_drawing(tmp_path / "arm.npz")
    at = {"shoulder": 0.3, "elbow": -0.4, "left": 0.01}
    for name, pose in robot.description.poses(at).items():
        np.testing.assert_array_equal(read.poses(at)[name], pose)
    (one,) = [visual for link in robot.drawable.links for visual in link.visuals]
    (other,) = [visual for link in read.links for visual in link.visuals]
    np.testing.assert_allclose(triangles(one).vertices, triangles(other).vertices, atol=1e-7)
    np.testing.assert_array_equal(triangles(one).faces, triangles(other).faces)
    assert (one.rgb, one.material) == (other.rgb, other.material)
    (tmp_path / "arm.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"arm\.npz: expected what a robot is drawn with, got: "):
        read_drawing(tmp_path / "arm.npz")
