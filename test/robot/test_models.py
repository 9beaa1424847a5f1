from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml

from taskgan_ros.core.config import build, resolve
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import to_plain
from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.description import Mesh, Visual
from taskgan_ros.robot.drawing import read_drawing, to_drawing
from taskgan_ros.robot.headless import mujoco
from taskgan_ros.robot.inverse import solve_position
from taskgan_ros.robot.kinematics import forward, jacobian, joint_frames, tip_position
from taskgan_ros.robot.meshes import decimate
from taskgan_ros.robot.models import Robot, load_robot, shift_zeros, shipped_arms

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


FOLLOWS = """<mujoco><worldbody><body name="a" pos="0 0 0.1"><joint name="one" axis="0 1 0"/><geom size="0.1"/>
  <body name="b" pos="0 0 0.4"><joint name="two" axis="0 1 0"/><geom size="0.1"/>
  <body name="tip" pos="0 0 0.3"><geom size="0.01"/></body></body></body></worldbody>
  <equality><joint joint1="two" joint2="one" polycoef="0.1 -1 0 0 0"/></equality></mujoco>"""


def test_an_equality_of_mjcf_is_a_mimic(write_model: WriteModel) -> None:
    arm = load_robot(write_model(FOLLOWS, "robot.xml")).arm
    assert arm.joint_names == ("one",)
    np.testing.assert_allclose(joint_frames(arm, [0.5])[1][:3, 2], [np.sin(0.1), 0, np.cos(0.1)], atol=1e-12)


def test_a_joint_that_an_equality_holds_is_fixed(write_model: WriteModel) -> None:
    home = '<keyframe><key qpos="0 0.7"/></keyframe></mujoco>'
    text = FOLLOWS.replace(' joint2="one"', "").replace("</mujoco>", home)
    arm = load_robot(write_model(text, "robot.xml")).arm
    assert (arm.joint_names, arm.home) == (("one",), (0.0,))
    np.testing.assert_allclose(tip_position(arm, [0]), [0.3 * np.sin(0.1), 0, 0.5 + 0.3 * np.cos(0.1)], atol=1e-12)


def test_joints_without_names_keep_their_home(write_model: WriteModel) -> None:
    text = FOLLOWS.split("<equality>")[0].replace('name="one"', "").replace('name="two"', "")
    home = '<keyframe><key qpos="0.2 0.3"/></keyframe></mujoco>'
    arm = load_robot(write_model(text + home, "robot.xml")).arm
    assert (arm.joint_names, arm.home) == (("joint0", "joint1"), (0.2, 0.3))


def test_huge_limits_mean_no_limits(write_model: WriteModel) -> None:
    text = URDF.replace('lower="-1" upper="2" velocity="1.5"', 'lower="-1e16" upper="1e16" velocity="inf"')
    robot = load_robot(write_model(text), "tool")
    assert robot.arm.joints[0].kind == "continuous"
    assert robot.warnings == ("shoulder: no position limits; it is taken for continuous",)
    assert "shoulder: no velocity limit; 1 rad/s is assumed" in robot.assumed


def test_a_name_alone_makes_no_tip(write_model: WriteModel) -> None:
    text = URDF.split('<joint name="left"')[0].replace('<link name="finger"/><link name="twin"/>', "") + "</robot>"
    text = text.replace('"base"', '"tool0"')  # which nothing moves
    assert load_robot(write_model(text)).tip == "tool"


def test_packages_of_included_xacro_files_are_found(write_model: WriteModel) -> None:
    opening = '<robot name="x" xmlns:xacro="http://www.ros.org/wiki/xacro">'
    for name in ("one", "two"):
        write_model(f"<package><name>{name}</name></package>", f"{name}/package.xml")
    path = write_model(f'{opening}<xacro:include filename="$(find two)/a.xacro"/></robot>', "one/robot.xacro")
    write_model(f'{opening}<xacro:include filename="$(find one)/arm.xacro"/></robot>', "two/a.xacro")
    write_model(f'{opening}<xacro:arg name="up" default="1"/>{XACRO}</robot>', "one/arm.xacro")
    np.testing.assert_allclose(tip_position(load_robot(path).arm, [0]), [0, 0, 1])
    arm = yaml.safe_dump({"model": "one/robot.xacro", "arguments": {"up": 0.5}})
    np.testing.assert_allclose(tip_position(load_robot(write_model(arm, "arm.yaml")).arm, [0]), [0, 0, 0.5])
    path.write_text(path.read_text().replace("find two", "find three"))
    with pytest.raises(InputError, match="expected the package three in AMENT_PREFIX_PATH") as error:
        load_robot(path)
    assert len(str(error.value).splitlines()) == 1


XACRO = """<link name="base"/><link name="tool"/><joint name="joint" type="revolute"><parent link="base"/>
  <child link="tool"/><origin xyz="0 0 $(arg up)"/><axis xyz="0 0 1"/>
  <limit lower="-1" upper="1" velocity="1" effort="1"/></joint>"""


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
    for start in ("package://", "package:///"):
        robot = load_robot(f"{start}my_description/urdf/robot.urdf", "tool")
        assert robot.arm.joint_names == ("shoulder", "elbow")
    with pytest.raises(InputError, match="expected package://PACKAGE/PATH, got 'package://'"):
        load_robot("package://")
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


DAE = """<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><unit name="UNIT" meter="METER"/><up_axis>Z_UP</up_axis></asset>
<library_effects><effect id="e"><profile_COMMON>EXTRA<technique sid="c"><phong><diffuse><color>0.8 0.2 0 1</color>
</diffuse></phong></technique></profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh><source id="p">
<float_array id="a" count="12">0 0 0 100 0 0 0 200 0 0 0 300</float_array>
<technique_common><accessor source="#a" count="4" stride="3"><param name="X" type="float"/>
<param name="Y" type="float"/><param name="Z" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices><triangles material="s" count="4">
<input semantic="VERTEX" source="#v" offset="0"/><p>0 2 1 0 1 3 0 3 2 1 2 3</p></triangles></mesh></geometry>
</library_geometries><library_visual_scenes><visual_scene id="s"><node id="n"><instance_geometry url="#g">
<bind_material><technique_common><instance_material symbol="s" target="#m"/></technique_common></bind_material>
</instance_geometry></node></visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#s"/></scene></COLLADA>"""


@pytest.mark.parametrize(
    ("unit", "meter", "extra", "rgb"),
    [
        ("millimeter", 0.001, "", (0.8, 0.2, 0)),
        ("inch", 0.0254, "", (0.8, 0.2, 0)),
        ("mine", 0.005, "", (0.8, 0.2, 0)),
        (
            "meter",
            1.0,
            '<newparam sid="s"><sampler2D><source>gone</source></sampler2D></newparam>',
            (0.6, 0.6, 0.6),
        ),
    ],
)
def test_collada_says_its_unit_and_colour(
    unit: str, meter: float, extra: str, rgb: tuple[float, float, float], write_model: WriteModel
) -> None:
    write_model(DAE.replace("UNIT", unit).replace("METER", str(meter)).replace("EXTRA", extra), "link.dae")
    text = URDF.replace(
        '<box size="0.1 0.1 0.4"/></geometry><material name="red"/>', '<mesh filename="link.dae"/></geometry>'
    )
    (visual,) = [visual for link in load_robot(write_model(text), "tool").drawable.links for visual in link.visuals]
    np.testing.assert_allclose(np.ptp(triangles(visual).vertices, axis=0), np.array([100, 200, 300]) * meter)
    np.testing.assert_allclose(visual.rgb or (), rgb, atol=0.01)


def test_materials_are_known_by_name_and_colour(write_model: WriteModel) -> None:
    ball = '<geometry><sphere radius="0.1"/></geometry>'
    shape = f'<link name="{{}}"><visual>{ball}<material name="paint">{{}}</material></visual></link>'
    blue, green = '<color rgba="0 0 1 1"/>', '<color rgba="0 255 0 1"/>'
    text = URDF.replace('<link name="base"/>', shape.format("base", blue))
    text = text.replace('<link name="lower"/>', shape.format("lower", "")).replace(
        '<link name="tool"/>', shape.format("tool", green)
    )
    drawn = load_robot(write_model(text), "tool").drawable.by_name
    visuals = [drawn[name].visuals[0] for name in ("base", "lower", "tool")]
    assert [visual.rgb for visual in visuals] == [(0, 0, 1), (0, 0, 1), (0, 1, 0)]
    assert visuals[0].material == visuals[1].material != visuals[2].material


def test_large_meshes_are_drawn_with_few_triangles(write_model: WriteModel, tmp_path: Path) -> None:
    text = URDF.replace('<box size="0.1 0.1 0.4"/>', '<mesh filename="ball.obj"/>')
    trimesh.creation.icosphere(subdivisions=6, radius=0.1).export(tmp_path / "ball.obj")  # 81 920 triangles
    (visual,) = [visual for link in load_robot(write_model(text), "tool").drawable.links for visual in link.visuals]
    assert 1000 < len(triangles(visual).faces) < 20_000
    radii = np.linalg.norm(triangles(visual).vertices, axis=1)
    assert abs(radii - 0.1).max() < 0.002


def test_walls_with_open_edges_stay() -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.1)
    grid = np.linspace(0, 1, 5)
    corners = np.stack(np.meshgrid(grid, [-0.5], grid), axis=-1).reshape(-1, 3)
    rows = (5 * np.arange(4)[:, None] + np.arange(4)).ravel()[:, None]
    wall = np.vstack([rows + np.array([0, 1, 6]), rows + np.array([0, 6, 5])]) + len(ball.vertices)
    mesh = Mesh(np.vstack([ball.vertices, corners]), np.vstack([ball.faces, wall]).astype(np.int32))
    small = decimate(mesh, 300)
    assert len(small.faces) < 400
    assert trimesh.Trimesh(small.vertices, small.faces).area == pytest.approx(1.126, rel=0.05)


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
        (URDF.replace('parent link="base"', 'parent link="tool"'), "robot.urdf", "tool", "not connected to base"),
        (URDF.replace('xyz="0 0 0.1"', 'xyz="0 0 nan"'), "robot.urdf", "tool", "expected an origin of finite numbers"),
        (
            URDF.replace('xyz="0 2 0"', 'xyz="0 2"'),
            "robot.urdf",
            "tool",
            "joint shoulder: expected an axis of 3 numbers",
        ),
        (
            URDF.replace('size="0.1 0.1 0.4"', 'size="-1 1 1"'),
            "robot.urdf",
            "tool",
            "link upper: expected a size of its",
        ),
        (URDF.replace("<box size", "<mesh scale"), "robot.urdf", "tool", "expected a mesh with a filename, got none"),
        (
            URDF.replace('<box size="0.1 0.1 0.4"/>', '<mesh filename="a.stl" scale="1 2"/>'),
            "robot.urdf",
            "tool",
            "expected a mesh's scale of 3 numbers, got [1.0, 2.0]",
        ),
        (URDF.replace('<box size="0.1 0.1 0.4"/>', ""), "robot.urdf", "tool", "expected a geometry in each visual"),
        (URDF.replace('<child link="tool"/>', ""), "robot.urdf", "tool", "joint wrist: expected a child, got none"),
        (URDF.replace('multiplier="1"', 'multiplier="nan"'), "robot.urdf", "tool", "joint right: mimic: multiplier: "),
        (URDF.replace('xyz="0 0 0.4"', 'xyz="0 0 400"'), "robot.urdf", "tool", "expected at most 10 m in magnitude"),
        (URDF.replace("</robot>", ""), "robot.urdf", "tool", "expected a URDF, got: "),
        ("\0", "robot.urdf", None, "expected a URDF, got: "),
        ("<html><body/></html>", "robot.urdf", None, "which is a <robot>, got <html>"),
        ("<robot><link name='a'/></robot>", "robot.urdf", None, "expected a URDF's <robot> with a name, got none"),
        (FOLLOWS.replace("0.1 -1 0", "0.1 -1 2"), "robot.xml", "tip", "along a straight line, got a curve of two"),
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
    assert len(str(error.value).splitlines()) == 1


MODELS = {name: yaml.safe_load(resolve("arms", name).read_text()).get("model") for name in shipped_arms()}


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model])
def test_a_shipped_arm_is_understood_from_its_unmodified_model(name: str) -> None:
    package = MODELS[name]
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
    with pytest.raises(InputError, match=r"arm\.npz: expected a robot's visuals, got: "):
        read_drawing(tmp_path / "arm.npz")


def test_a_bundles_arm_is_drawn_without_what_reads_models(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimesh.creation.icosphere(subdivisions=6, radius=0.1).export(tmp_path / "ball.obj")
    robot = load_robot(write_model(URDF.replace('<box size="0.1 0.1 0.4"/>', '<mesh filename="ball.obj"/>')), "tool")
    assert robot.arm.model is not None
    model = dataclasses.replace(robot.arm.model, drawing="arm.npz")
    (tmp_path / "arm.npz").write_bytes(to_drawing(robot.drawable))
    numbers = to_plain(dataclasses.replace(robot.arm, model=model))
    bundled = write_model(yaml.safe_dump(numbers), "arm.yaml")
    for name in ("trimesh", "fast_simplification", "yourdfpy"):
        monkeypatch.setitem(sys.modules, name, None)
    assert len(load_robot(bundled).drawable.links) == len(robot.description.links)


@pytest.mark.parametrize("name", ["mico", "ur5e"])
def test_zeros_are_added_to_the_readings(name: str) -> None:
    robot = load_robot(name)
    rng = np.random.default_rng(0)
    zeros, q = rng.uniform(-0.1, 0.1, (2, len(robot.arm.joint_names)))
    shifted = shift_zeros(robot, dict(zip(robot.arm.joint_names, zeros.tolist(), strict=True)))
    np.testing.assert_allclose(joint_frames(shifted.arm, q), joint_frames(robot.arm, q + zeros), atol=1e-12)
    drawn = shifted.description.poses(shifted.arm.positions(q))
    for link, pose in robot.description.poses(robot.arm.positions(q + zeros)).items():
        np.testing.assert_allclose(drawn[link], pose, atol=1e-12)
    assert build(Arm, yaml.safe_load(yaml.safe_dump(to_plain(shifted.arm))), "arm") == shifted.arm
