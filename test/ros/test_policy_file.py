"""The SROS 2 policy against what the running nodes have: it names all of that, and nothing else."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from rclpy.node import Node, NodeNameNonExistentError

from taskgan_ros.demo.isolation import SessionError

if TYPE_CHECKING:
    from test.ros.conftest import Lab

POLICY = Path(__file__).resolve().parents[2] / "config" / "sros2" / "policy.xml"
WITH_SIM_TIME = {"/clock"}
WITH_TF2_MSGS = set[str]() if importlib.util.find_spec("tf2_msgs") else {"/tf_static"}
GRAPH = {
    "publish": Node.get_publisher_names_and_types_by_node,
    "subscribe": Node.get_subscriber_names_and_types_by_node,
    "reply": Node.get_service_names_and_types_by_node,
    "request": Node.get_client_names_and_types_by_node,
}

Names = dict[str, set[str]]


def policy(node: str) -> Names:
    """Return the full names of what the policy lets a node do."""
    profile = ElementTree.parse(POLICY).find(f".//profile[@node='{node}']")
    assert profile is not None
    namespace = profile.attrib["ns"]
    allowed: Names = {kind: set() for kind in GRAPH}
    for rule in profile:
        for kind in rule.attrib:
            names = [element.text or "" for element in rule]
            allowed[kind] |= {name.replace("~", f"{namespace}{node}") for name in names if name[0] in "~/"}
            allowed[kind] |= {f"{namespace}{name}" for name in names if name[0] not in "~/"}
    return allowed


def graph(observer: Node, node: str) -> Names:
    """Return what a running node has, as far as the observer has discovered it."""
    try:
        own = f"/{observer.get_name()}/get_parameters"  # the test listens to trajectories, so it is asked too
        return {kind: {name for name, _ in look(observer, node, "/")} - {own} for kind, look in GRAPH.items()}
    except NodeNameNonExistentError:
        return {}


def test_the_policy_names_exactly_what_each_node_has(
    lab: Lab, make_bundle: Callable[..., Path], wait_until: Callable[..., None]
) -> None:
    lab.start_reach(make_bundle())
    lab.start("sim_node", domain="source", image_height=32, image_width=48)
    for node in ("reach_node", "sim_node"):
        expected = policy(node)
        expected["subscribe"] -= WITH_SIM_TIME
        expected["publish"] -= WITH_TF2_MSGS
        with contextlib.suppress(SessionError):  # the last look shows the difference
            wait_until(lambda node=node, expected=expected: graph(lab.node, node) == expected, "discovery")
        assert graph(lab.node, node) == expected
