"""The launch files, as far as they can be checked where ROS 2 is not installed; all of them where it is."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
ACTIONS = {"reach_node": "LifecycleNode", "sim_node": "Node"}
NODES = tuple(ACTIONS)

pytest.importorskip("rclpy", reason="ROS 2 is needed: an installation, or the `ros-wheels` extra")

from taskgan_ros.nodes import reach_node, sim_node  # noqa: E402
from taskgan_ros.sim.evaluate import TEST_SEED  # noqa: E402

PARAMETERS: dict[str, Any] = {"reach_node": reach_node.ReachParameters(), "sim_node": sim_node.SimParameters()}


def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / "launch" / f"{name}.launch.py").read_text())


def calls(module: ast.Module, name: str) -> list[dict[str, ast.expr]]:
    """Return the arguments of every call of `name`; the first positional one as ''."""
    found = [n for n in ast.walk(module) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == name]
    return [{"": n.args[0] if n.args else n, **{k.arg: k.value for k in n.keywords if k.arg}} for n in found]


def literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def arguments() -> dict[str, dict[str, Any]]:
    declared = calls(tree("reach"), "DeclareLaunchArgument")
    return {literal(call[""]): {key: literal(value) for key, value in call.items()} for call in declared}


def given_parameters(node: str) -> set[str]:
    """Return the parameters that a launch file gives to its node from arguments of the same name."""
    dicts = [n for n in ast.walk(tree(node)) if isinstance(n, ast.Dict)]
    return {literal(key) for d in dicts for key in d.keys if key}


def yaml_parameters(node: str) -> dict[str, Any]:
    values = yaml.safe_load((ROOT / "config" / f"{node}.yaml").read_text())
    assert list(values) == [f"/**/{node}"]
    parameters: dict[str, Any] = values[f"/**/{node}"]["ros__parameters"]
    return parameters


def test_they_compile() -> None:
    assert {path.name for path in LAUNCH_FILES} == {f"{name}.launch.py" for name in ("reach", *NODES)}
    for path in LAUNCH_FILES:
        compile(path.read_text(), path.name, "exec")


def test_every_argument_is_described_and_every_configuration_declared() -> None:
    for name, argument in arguments().items():
        assert argument["description"], name
    used = {literal(call[""]) for name in ("reach", *NODES) for call in calls(tree(name), "LaunchConfiguration")}
    assert used == set(arguments())


@pytest.mark.parametrize("node", NODES)
def test_topics_default_to_the_nodes_own(node: str) -> None:
    module = {"reach_node": reach_node, "sim_node": sim_node}[node]
    (action,) = calls(tree(node), ACTIONS[node])
    declared = {}
    for pair in action["remappings"].elts:  # type: ignore[attr-defined]
        topic, configuration = pair.elts
        declared[literal(topic)] = arguments()[literal(configuration.args[0])]["default_value"]
    assert declared == {
        topic: topic for topic in (module.IMAGE_TOPIC, module.JOINT_STATES_TOPIC, module.TRAJECTORY_TOPIC)
    }


@pytest.mark.parametrize("node", NODES)
def test_defaults_of_arguments_and_yaml_are_those_of_the_node(node: str) -> None:
    own = dataclasses.asdict(PARAMETERS[node])
    given, file = given_parameters(node), yaml_parameters(node)
    assert given | set(file) == set(own), "each parameter once: as an argument, or in the YAML file"
    assert not given & set(file), "an argument would win over the file silently"
    for name in given - {"auto_start"}:
        assert arguments()[name]["default_value"] == own[name], name
    assert arguments()["auto_start"]["default_value"] == "true"  # so that anybody can watch; the node's own is to wait
    for name, value in file.items():
        expected = list(own[name]) if isinstance(own[name], tuple) else own[name]
        assert (value, type(value)) == (expected, type(expected)), f"{name}: a double without its point ends the node"


def test_choices_are_those_of_the_node() -> None:
    fields = {field.name: field for field in dataclasses.fields(reach_node.ReachParameters)}
    assert arguments()["image_reliability"]["choices"] == list(fields["image_reliability"].metadata["choices"])


def test_both_nodes_meet_without_remapping() -> None:
    for topic in ("IMAGE_TOPIC", "JOINT_STATES_TOPIC", "TRAJECTORY_TOPIC"):
        assert getattr(reach_node, topic) == getattr(sim_node, topic)


def test_sim_node_starts_the_episodes_of_evaluate() -> None:
    assert PARAMETERS["sim_node"].seed == TEST_SEED


def test_executables_are_the_packages_own() -> None:
    entry_points = (ROOT / "setup.py").read_text()
    for node in NODES:
        (action,) = calls(tree(node), ACTIONS[node])
        assert (literal(action["package"]), literal(action["executable"])) == ("taskgan_ros", node)
        assert f'"{node} = taskgan_ros.nodes.{node}:main"' in entry_points


def test_fast_dds_profile_is_xml_with_room_for_large_images() -> None:
    root = ElementTree.parse(ROOT / "config" / "fastdds.xml")
    sizes = [int(node.text or 0) for node in root.iter() if node.tag.endswith("segment_size")]
    assert sizes == [32 * 2**20]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "launch" / f"{name}.launch.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["reach", *NODES])
def test_description_is_generated(name: str) -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")
    assert load(name).generate_launch_description().entities


def test_a_misspelt_argument_is_named() -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")
    import launch

    context = launch.LaunchContext()  # type: ignore[attr-defined]
    context.launch_configurations.update(imagetopic="/camera", bundle="x", something_of_another_file="y")
    (warning,) = load("reach").warn_of_misspelt_arguments(context)
    assert "imagetopic" in "".join(part.perform(context) for part in warning.msg)
