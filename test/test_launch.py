"""The launch files, as far as they can be checked where ROS 2 is not installed; all of them where it is."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import json
import re
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
ACTIONS = {"reach_node": "LifecycleNode", "sim_node": "Node"}
NODES = tuple(ACTIONS)
FILES = ("reach", "view", "record", *NODES)

pytest.importorskip("rclpy", reason="ROS 2 is needed: an installation, or the `ros-wheels` extra")

from taskgan_ros.control.states import State  # noqa: E402
from taskgan_ros.core.errors import InputError  # noqa: E402
from taskgan_ros.nodes import sim_node, topics  # noqa: E402
from taskgan_ros.reach.parameters import ReachParameters  # noqa: E402
from taskgan_ros.reach.verdict import values  # noqa: E402
from taskgan_ros.robot.urdf import BASE_LINK  # noqa: E402
from taskgan_ros.sim.evaluate import TEST_SEED  # noqa: E402

PARAMETERS: dict[str, Any] = {"reach_node": ReachParameters(), "sim_node": sim_node.SimParameters()}


def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / "launch" / f"{name}.launch.py").read_text())


def calls(module: ast.Module, name: str) -> list[dict[str, ast.expr]]:
    """Return the arguments of every call of `name`; the first positional one as ''."""
    found = [n for n in ast.walk(module) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == name]
    return [{"": n.args[0] if n.args else n, **{k.arg: k.value for k in n.keywords if k.arg}} for n in found]


def literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "topics":
        return getattr(topics, node.attr)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def arguments() -> dict[str, dict[str, Any]]:
    shared = ast.parse((ROOT / "taskgan_ros" / "nodes" / "launching.py").read_text())
    declared = [call for module in (tree("reach"), shared) for call in calls(module, "DeclareLaunchArgument")]
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
    assert {path.name for path in LAUNCH_FILES} == {f"{name}.launch.py" for name in FILES}
    for path in LAUNCH_FILES:
        compile(path.read_text(), path.name, "exec")


def test_every_argument_is_described_and_every_configuration_declared() -> None:
    for name, argument in arguments().items():
        assert argument["description"], name
    used = {literal(call[""]) for name in FILES for call in calls(tree(name), "LaunchConfiguration")}
    shared = {"required", "use_sim_time", "log_level"}  # which launching.py takes
    assert used - {None} | shared == set(arguments())  # None: one that a variable names


@pytest.mark.parametrize("node", NODES)
def test_topics_default_to_the_nodes_own(node: str) -> None:
    (action,) = calls(tree(node), ACTIONS[node])
    declared = {}
    for pair in action["remappings"].elts:  # type: ignore[attr-defined]
        topic, configuration = pair.elts
        declared[literal(topic)] = arguments()[literal(configuration.args[0])]["default_value"]
    assert declared == {
        topic: topic for topic in (topics.IMAGE, topics.JOINT_STATES, topics.TRAJECTORY, topics.COMMANDS)
    }


@pytest.mark.parametrize("node", NODES)
def test_defaults_of_arguments_and_yaml_are_those_of_the_node(node: str) -> None:
    own = dataclasses.asdict(PARAMETERS[node])
    given, file = given_parameters(node), yaml_parameters(node)
    assert given | set(file) == set(own), "each parameter once: as an argument, or in the YAML file"
    assert not given & set(file), "an argument would win over the file silently"
    for name in given - {"accept_jumps", "use_sim_time", "joint_prefix", "frame_prefix"}:
        assert arguments()[name]["default_value"] == own[name], name
    assert arguments()["prefix"]["default_value"] == own["joint_prefix"] == ""
    assert not PARAMETERS["reach_node"].accept_jumps  # the launch file gives it what `sim` says
    assert file.pop("auto_start", True)  # so that anybody can watch; the node's own is to wait
    for name, value in file.items():
        expected = list(own[name]) if isinstance(own[name], tuple) else own[name]
        assert (value, type(value)) == (expected, type(expected)), name


def test_the_guides_file_of_parameters_gives_the_node_what_it_has_and_no_argument() -> None:
    page = (ROOT / "docs" / "node" / "connect.md").read_text()
    (example,) = re.findall(r"```yaml\n# my_arm.yaml\n(.*?)```", page, re.DOTALL)
    own, values = dataclasses.asdict(PARAMETERS["reach_node"]), yaml.safe_load(example)["/**/reach_node"]
    for name, value in values["ros__parameters"].items():
        expected = list if isinstance(own[name], tuple) else type(own[name])
        assert isinstance(value, expected), name
    assert not given_parameters("reach_node") & set(values["ros__parameters"])


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


def topics_of_a_launch() -> set[str]:
    """Return what a launch without arguments shows: the topics that RViz and Foxglove may ask for."""
    private = ("reach_node/translated_image", "reach_node/overlay", "reach_node/status", "sim_node/distance")
    return {f"/{topic}" for topic in (topics.IMAGE, "robot_description", "diagnostics", *private)}


def test_rviz_shows_what_a_launch_has() -> None:
    manager = yaml.safe_load((ROOT / "config" / "rviz" / "reach.rviz").read_text())["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == BASE_LINK
    displays = [display["Class"].removeprefix("rviz_default_plugins/") for display in manager["Displays"]]
    assert displays == ["Grid", "RobotModel", "TF", "Camera", "Image", "Image", "Image"]
    shown = {
        value["Value"] for display in manager["Displays"] for key, value in display.items() if key.endswith("Topic")
    }
    images = {"/image_raw", "/reach_node/translated_image", "/reach_node/overlay"}
    assert shown == {*images, "/robot_description"} <= topics_of_a_launch()
    pairs = [node for node in ast.walk(tree("view")) if isinstance(node, ast.Tuple)]
    # The Camera display takes the camera_info beside its image.
    assert {*shown, "/camera_info"} <= {literal(pair.elts[0]) for pair in pairs}, "each follows namespace and remapping"


def test_foxglove_shows_what_a_launch_has() -> None:
    layout = json.loads((ROOT / "config" / "foxglove" / "reach.json").read_text())
    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])
    texts = set(strings(layout["configById"]))
    shown = {text.split(".")[0] for text in texts if text.startswith("/")}
    assert shown == topics_of_a_launch()
    assert layout["configById"]["3D!arm"]["followTf"] == BASE_LINK
    named = set(re.findall(r'key=="(\w+)"', " ".join(texts)))
    assert named
    assert named <= set(told()), "plotted by the names that ~/status has"


def told() -> dict[str, object]:
    """Return what `~/status` has of an image that no policy took."""
    supervisor = SimpleNamespace(
        reason="", state=State.WAITING, blocked_by=(), joint_states=SimpleNamespace(age_s=lambda now_s: 0.0)
    )
    commander = SimpleNamespace(config=SimpleNamespace(driven_joints=()))
    pipeline: Any = SimpleNamespace(supervisor=supervisor, guard=None, commander=commander)
    return values(None, pipeline, 0.0, 0.0)


def panels(layout: Any) -> list[str]:
    return [layout] if isinstance(layout, str) else panels(layout["first"]) + panels(layout["second"])


def strings(values: Any) -> list[str]:
    if isinstance(values, str):
        return [values]
    inner = values.values() if isinstance(values, dict) else values if isinstance(values, list) else ()
    return [text for value in inner for text in strings(value)]


@pytest.mark.parametrize("node", NODES)
def test_each_node_has_its_enclave_in_the_policy(node: str) -> None:
    (action,) = calls(tree(node), ACTIONS[node])
    option, enclave = map(literal, action["ros_arguments"].elts[-2:])  # type: ignore[attr-defined]
    assert option == "--enclave"
    root = ElementTree.parse(ROOT / "config" / "sros2" / "policy.xml").getroot()
    assert root.attrib == {"version": "0.2.0"}
    profiles = root.findall(f"enclaves/enclave[@path='{enclave}']/profiles/profile")
    assert [profile.attrib for profile in profiles] == [{"ns": "/", "node": node}]
    named = {topic.text for topic in profiles[0].iter("topic")}
    assert {topics.IMAGE, topics.JOINT_STATES, topics.TRAJECTORY} <= named


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "launch" / f"{name}.launch.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", FILES)
def test_description_is_generated(name: str) -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")
    assert load(name).generate_launch_description().entities


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("imagetopic:=/camera", r"got imagetopic; did you mean image_topic\?"),
        ("speed_scale:=0.2", "got speed_scale; speed_scale is a parameter of reach_node: write it into a file"),
        ("command_interface:=kinova", "a parameter of reach_node"),  # and not: did you mean commands_topic?
        ("joint_prefix:=left_", r"did you mean prefix\?"),
        ("elbow:=up", "a parameter goes into a file"),
        ("image_topic:=a b", "image_topic: expected letters, digits, _ and /, .* got 'a b'"),
        ("namespace:=2left", "namespace: expected .* no part empty or with a digit first, got '2left'"),
        ("prefix:=le ft_", "prefix: expected .* got 'le ft_'"),
        ("namespace:=/left/", ""),
        ("log_level:=WARN", ""),
        ("sim:=maybe", "sim: expected true or false, got 'maybe'"),
        ("log_level:=loud", "log_level: expected one of debug, info, warn, error, fatal, got 'loud'"),
        ("image_topic:=/camera", ""),
        ("launch-prefix:=gdb", ""),
    ],
)
def test_what_an_argument_cannot_mean_is_refused(given: str, expected: str) -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")
    from taskgan_ros.nodes.launching import check_arguments

    reach, (name, _, value) = load("reach"), given.partition(":=")
    context = context_with(**{"required": "yes", "sim": "0", "rviz": "False", "use_sim_time": "off", name: value})
    own = [argument.name for argument in reach.ARGUMENTS]
    words = ["ros2", "launch", "taskgan_ros", "reach.launch.py", given]
    with pytest.raises(InputError, match=expected) if expected else nullcontext():
        check_arguments(context, "reach.launch.py", own, reach.BOOLEANS, words)
    if not expected:
        values = context.launch_configurations
        assert [values[name] for name in reach.BOOLEANS] == ["true", "false", "false", "false"]
    check_arguments(
        context_with(), "reach.launch.py", own, (), ["ros2", "launch", "mine.launch.py", "a:=reach.launch.py"]
    )


@pytest.mark.parametrize("name", ["reach", "record"])
def test_all_arguments_are_readable_on_a_screen(name: str) -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")
    declared = load(name).ARGUMENTS
    assert len(declared) <= 16, "four lines each"
    for argument in declared:
        assert len(argument.description) <= 72, argument.name


def context_with(**configurations: str) -> Any:
    import launch

    context = launch.LaunchContext()  # type: ignore[attr-defined]
    context.launch_configurations.update({"log_level": "info", "use_sim_time": "false", **configurations})
    return context


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")
    files = {"reach_params": str(tmp_path / "none.yaml"), "sim_params": __file__}
    with pytest.raises(RuntimeError, match=r"reach_params: expected a file, got .*none.yaml"):
        load("reach").refuse_missing_files(context_with(**files))
    load("reach").refuse_missing_files(context_with(**{**files, "reach_params": __file__}))


@pytest.mark.parametrize(
    ("namespace", "pushed", "entry", "is_fine"),
    [
        ("", None, "/reach_node", True),
        ("", None, "/reach", False),
        ("left", None, "/reach_node", False),
        ("left", None, "/left/reach_node", True),
        ("left", "/cell", "/left/reach_node", False),
        ("left", "/cell", "/cell/left/reach_node", True),
        ("/left", "/cell", "/left/reach_node", True),
    ],
)
def test_a_parameter_file_for_another_node_is_refused(
    namespace: str, pushed: str | None, entry: str, is_fine: bool, tmp_path: Path
) -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")
    file = tmp_path / "mine.yaml"
    file.write_text(f"{entry}: {{ros__parameters: {{speed_scale: 0.2}}}}")
    values = {"namespace": namespace, "sim": "false", "reach_params": str(file), "sim_params": str(file)}
    context = context_with(**values, **({"ros_namespace": pushed} if pushed else {}))
    if is_fine:
        load("reach").refuse_files_for_others(context)
        context.launch_configurations["sim"] = "true"
    name = "sim_node" if is_fine else "reach_node"
    expected = (
        rf"{name[:-5]}_params: .*mine.yaml: expected parameters for .*/{name}, e.g. under /\*\*/{name}, got \['{entry}"
    )
    with pytest.raises(InputError, match=expected):
        load("reach").refuse_files_for_others(context)


def test_what_is_refused_ends_the_launch_only_if_that_requires_it() -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")
    from taskgan_ros.nodes.launching import attempt

    def refuse(_context: Any) -> None:
        raise InputError("expected a file")

    with pytest.raises(RuntimeError, match="expected a file"):
        attempt(refuse).execute(context_with(required="true"))
    assert attempt(refuse).execute(context_with(required="false")) is None


@pytest.mark.parametrize(
    ("sim", "description", "is_installed", "is_started"),
    [
        ("true", "auto", True, True),
        ("true", "auto", False, False),
        ("false", "auto", True, False),
        ("false", "true", True, True),
        ("true", "false", True, False),
    ],
)
def test_the_arm_is_described_where_nobody_else_does(
    sim: str, description: str, is_installed: bool, is_started: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")
    view = load("view")
    monkeypatch.setattr(view, "_is_installed", lambda package: is_installed)
    context = context_with(sim=sim, description=description, bundle="reach_target_wood", prefix="")
    assert [node.node_executable for node in view.describe(context)] == ["robot_state_publisher"] * is_started


def test_what_cannot_be_shown_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("launch_ros", reason="launch_ros is in a ROS 2 installation only")
    view = load("view")
    monkeypatch.setattr(view, "_is_installed", lambda package: False)
    with pytest.raises(RuntimeError, match="description:=true: expected the package robot_state_publisher, got"):
        view.describe(context_with(sim="false", description="true", bundle="reach_target_wood", prefix=""))
    with pytest.raises(RuntimeError, match="rviz:=true: expected the package rviz2, got"):
        view.show(context_with(rviz="true"))
    assert view.show(context_with(rviz="false")) == []
    monkeypatch.setattr(view, "_is_installed", lambda package: True)
    assert [node.node_package for node in view.show(context_with(rviz="true"))] == ["rviz2"]
    with pytest.raises(InputError, match="bundle: expected a folder"):
        view.describe(context_with(sim="true", description="auto", bundle="none", prefix=""))
