from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from taskgan_ros.core.config import build, resolve
from taskgan_ros.robot.arm import Arm, load_arm
from taskgan_ros.robot.kinematics import joint_frames
from taskgan_ros.robot.urdf import BASE_LINK, TOOL_LINK, urdf

Array = NDArray[np.float64]

ARM = load_arm("mico")
MICO = yaml.safe_load(resolve("arms", "mico").read_text())
GREY = {"grey": [0.5, 0.5, 0.5]}
FEW = settings(max_examples=20, deadline=None)  # each builds and checks an arm

lengths = st.floats(-2, 2)
positives = st.floats(1e-3, 1)
vectors = st.tuples(lengths, lengths, lengths)
angles = st.tuples(*[st.floats(-7, 7)] * 3)
RANGES: list[dict[str, float]] = [{}, {"lower": -1.0, "upper": 2.5}]


@st.composite
def arms(draw: st.DrawFn) -> Arm:
    """Return an arm of other joints than the Mico's, and without shapes."""
    names = draw(st.lists(st.text("ab_/<&\"'é ", min_size=1, max_size=5), min_size=1, max_size=4, unique=True))
    joints = [{**MICO["joints"][0], "name": name, **draw(st.sampled_from(RANGES))} for name in names]
    for joint in joints:
        joint |= {"origin_xyz": draw(vectors), "origin_rpy": draw(angles)}
    tip = {"xyz": draw(vectors), "rpy": draw(angles)}
    return arm_with(joints=joints, tip=tip, home=[0] * len(names))


def arm_with(*shapes: dict[str, object], **fields: Any) -> Arm:
    """Return the Mico with other `fields`, whose base has these shapes, all grey, and whose links have none."""
    values = {**MICO, **fields, "materials": GREY, "base": [{"material": "grey", **shape} for shape in shapes]}
    return build(Arm, {**values, "links": [[] for _ in values["joints"]]}, origin="test")


def numbers(element: Element | None, key: str) -> Array:
    assert element is not None
    return np.array(element.attrib[key].split(), dtype=float)


def turned(axis: int, angle: float) -> Array:
    """Return the rotation about x, y or z as (4, 4)."""
    transform, (i, j) = np.eye(4), [(1, 2), (2, 0), (0, 1)][axis]
    transform[[i, j], [i, j]] = np.cos(angle)
    transform[j, i], transform[i, j] = np.sin(angle), -np.sin(angle)
    return transform


def origin(element: Element) -> Array:
    transform = np.eye(4)
    transform[:3, 3] = numbers(element.find("origin"), "xyz")
    roll, pitch, yaw = numbers(element.find("origin"), "rpy")
    return transform @ turned(2, yaw) @ turned(1, pitch) @ turned(0, roll)


def link_frames(robot: Element, joint_pos: dict[str, float]) -> dict[str, Array]:
    """Return every link's pose in the root link's frame, by the rules of URDF alone."""
    joints = {joint.find("child").attrib["link"]: joint for joint in robot.iter("joint")}  # type: ignore[union-attr]
    frames: dict[str, Array] = {}

    def frame(link: str) -> Array:
        if link not in joints:
            return np.eye(4)
        if link not in frames:
            joint = joints[link]
            parent = frame(joint.find("parent").attrib["link"])  # type: ignore[union-attr]
            frames[link] = parent @ origin(joint)
            if joint.attrib["type"] != "fixed":
                assert numbers(joint.find("axis"), "xyz").tolist() == [0, 0, 1]
                frames[link] = frames[link] @ turned(2, joint_pos[joint.attrib["name"]])
        return frames[link]

    return {link.attrib["name"]: frame(link.attrib["name"]) for link in robot.findall("link")}


def check_kinematics(arm: Arm, joint_pos: Array) -> None:
    frames = link_frames(ElementTree.fromstring(urdf(arm)), dict(zip(arm.joint_names, joint_pos, strict=True)))
    names = [*(f"{name}_link" for name in arm.joint_names), TOOL_LINK]
    np.testing.assert_allclose(frames.pop(BASE_LINK), np.eye(4))
    assert list(frames) == names
    np.testing.assert_allclose(list(frames.values()), joint_frames(arm, joint_pos), atol=1e-7)


def test_every_link_of_the_mico_is_where_the_kinematics_put_it() -> None:
    for joint_pos in np.random.default_rng(0).uniform(-np.pi, np.pi, (20, len(ARM.joints))):
        check_kinematics(ARM, joint_pos)


@FEW
@given(arm=arms(), seed=st.integers(0, 99))
def test_every_link_of_any_arm_is_where_the_kinematics_put_it(arm: Arm, seed: int) -> None:
    check_kinematics(arm, np.random.default_rng(seed).uniform(-7, 7, len(arm.joints)))


def test_every_joint_has_its_limits() -> None:
    robot = ElementTree.fromstring(urdf(ARM))
    assert robot.attrib["name"] == "mico"
    turning = [joint for joint in robot.findall("joint") if joint.attrib["type"] != "fixed"]
    assert [joint.attrib["name"] for joint in turning] == list(ARM.joint_names)
    for joint, own in zip(turning, ARM.joints, strict=True):
        limit = joint.find("limit")
        assert numbers(limit, "velocity") == own.max_velocity
        assert numbers(limit, "effort") == 0, "the arm file knows none"
        if own.lower is None:
            assert joint.attrib["type"] == "continuous"
            assert set(limit.attrib) == {"velocity", "effort"}  # type: ignore[union-attr]
        else:
            assert joint.attrib["type"] == "revolute"
            assert [*numbers(limit, "lower"), *numbers(limit, "upper")] == [own.lower, own.upper]


def visuals(*shapes: dict[str, object]) -> list[tuple[Element, Array]]:
    """Return the geometry and the pose of each visual that the shapes become."""
    robot = ElementTree.fromstring(urdf(arm_with(*shapes)))
    found = []
    for visual in robot.iter("visual"):
        (geometry,) = visual.find("geometry")  # type: ignore[misc]
        assert visual.find("material").attrib == {"name": "grey"}  # type: ignore[union-attr]
        found.append((geometry, origin(visual)))
    return found


@FEW
@given(start=vectors, end=vectors, radius=positives)
def test_a_capsule_is_a_cylinder_and_two_spheres(
    start: tuple[float, ...], end: tuple[float, ...], radius: float
) -> None:
    assume(math.dist(start, end) > 1e-6)
    (cylinder, pose), *balls = visuals({"kind": "capsule", "from": start, "to": end, "radius": radius})
    half = numbers(cylinder, "length") / 2
    ends = [pose @ [0, 0, -half.item(), 1], pose @ [0, 0, half.item(), 1]]
    np.testing.assert_allclose(np.array(ends)[:, :3], [start, end], atol=1e-7)
    np.testing.assert_allclose([ball[1][:3, 3] for ball in balls], [start, end], atol=1e-7)
    assert [shape.tag for shape, _ in balls] == ["sphere", "sphere"]
    for shape, _ in ((cylinder, pose), *balls):
        np.testing.assert_allclose(numbers(shape, "radius"), radius, rtol=1e-7)


def test_a_cylinder_has_no_caps_and_a_box_its_full_size() -> None:
    cylinder: dict[str, object] = {"kind": "cylinder", "from": [0, 0, 0], "to": [1, 0, 0], "radius": 0.1}
    box: dict[str, object] = {"kind": "box", "at": [1, 2, 3], "size": [0.1, 0.2, 0.3]}
    (drawn, _), (boxed, pose) = visuals(cylinder, box)
    assert (drawn.tag, boxed.tag) == ("cylinder", "box")
    np.testing.assert_allclose(numbers(boxed, "size"), [0.2, 0.4, 0.6])
    np.testing.assert_allclose(pose[:3, 3], [1, 2, 3])


def test_an_ellipsoid_becomes_the_sphere_of_its_volume() -> None:
    ((ball, pose),) = visuals({"kind": "ellipsoid", "at": [1, 2, 3], "size": [0.1, 0.2, 0.4]})
    assert ball.tag == "sphere"
    np.testing.assert_allclose(numbers(ball, "radius"), 0.2)
    np.testing.assert_allclose(pose[:3, 3], [1, 2, 3])


def test_colours_are_srgb() -> None:
    materials = ElementTree.fromstring(urdf(ARM)).findall("material")
    assert [material.attrib["name"] for material in materials] == list(ARM.materials)
    ((grey,),) = ElementTree.fromstring(urdf(arm_with())).findall("material")
    np.testing.assert_allclose(numbers(grey, "rgba"), [0.735357, 0.735357, 0.735357, 1], atol=1e-6)


def test_every_shape_has_a_material_that_is_there() -> None:
    robot = ElementTree.fromstring(urdf(ARM))
    known = {material.attrib["name"] for material in robot.findall("material")}
    used = {material.attrib["name"] for visual in robot.iter("visual") for material in visual.findall("material")}
    assert used <= known
    capsules = sum(shape.kind == "capsule" for shape in ARM.shapes)
    assert len(list(robot.iter("visual"))) == len(ARM.shapes) + 2 * capsules


@pytest.mark.parametrize("name", ["base", "tool", "tool_joint", "world"])
def test_a_joint_with_a_name_of_ours_keeps_it_and_every_link_and_joint_has_its_own(
    name: str, yaml_file: Callable[..., Path]
) -> None:
    arm = load_arm(yaml_file("arms", "mico", {"joints.0.name": name}))
    robot = ElementTree.fromstring(urdf(arm))
    for kind, count in (("link", len(arm.joints) + 2), ("joint", len(arm.joints) + 1)):
        assert len({element.attrib["name"] for element in robot.findall(kind)}) == count
    joints = [joint.attrib["name"] for joint in robot.findall("joint") if joint.attrib["type"] != "fixed"]
    assert joints == list(arm.joint_names)
    angles = np.linspace(-1, 1, len(joints))
    frames = link_frames(robot, dict(zip(joints, angles, strict=True)))
    np.testing.assert_allclose(frames[BASE_LINK], np.eye(4))
    np.testing.assert_allclose(list(frames.values())[1:], joint_frames(arm, angles), atol=1e-7)
