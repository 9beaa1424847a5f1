"""Parameters as a user writes them: in a file, on the command line, and set while the node runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.parameter_files import fits
from taskgan_ros.demo.isolation import own_domain
from taskgan_ros.nodes.parameters import declare, read
from taskgan_ros.nodes.sim_node import SimParameters
from taskgan_ros.reach.parameters import ReachParameters

Make = Callable[..., Any]

FIELDS = {f.name: f for kind in (ReachParameters, SimParameters) for f in dataclasses.fields(kind)}
CHOICES = [(name, choice) for name, field in FIELDS.items() for choice in field.metadata["choices"]]
WHOLE = [  # a whole number in the range of each float
    (name, math.ceil(field.metadata["minimum"])) for name, field in FIELDS.items() if type(field.default) is float
]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Return a function that makes a node with overrides from the command line, or from a file."""
    contexts: list[Context] = []
    with own_domain() as domain_id:

        def make(*overrides: str, text: str = "", entry: str = "/**/reach_node", namespace: str = "/") -> Node:
            words = [word for override in overrides for word in ("-p", override)]
            if text:
                file = tmp_path / "parameters.yaml"
                file.write_text(f"{entry}:\n  ros__parameters:\n" + text)
                words += ["--params-file", str(file)]
            contexts.append(Context())
            rclpy.init(args=["--ros-args", *words], context=contexts[-1], domain_id=domain_id)
            return Node("reach_node", namespace=namespace, context=contexts[-1])

        yield make
        for context in contexts:
            rclpy.shutdown(context=context)


def declared(node: Node) -> Any:
    is_reach = all(hasattr(ReachParameters, name) for name in node._parameter_overrides)
    kind: type = ReachParameters if is_reach else SimParameters
    declare(node, kind, refuse=lambda: "")
    return read(node, kind)


def test_describe_says_what_may_change_while_the_node_runs(node: Make) -> None:
    made = node()
    declared(made)
    assert made.describe_parameter("speed_scale").additional_constraints == "may change at any time"
    assert made.describe_parameter("guard").additional_constraints == "one of stop, warn, off"
    assert made.describe_parameter("threads").additional_constraints == ""


@pytest.mark.parametrize("is_file", [True, False])
def test_each_documented_value_works_without_quotes(node: Make, is_file: bool) -> None:
    texts = [f"    {name}: {choice}" for name, choice in CHOICES]
    assert "    guard: off" in texts  # which YAML 1.1 reads as false
    for (name, choice), text in zip(CHOICES, texts, strict=True):
        made = node(text=text) if is_file else node(f"{name}:={choice}")
        assert getattr(declared(made), name) == choice


def test_a_whole_number_will_do_for_a_float(node: Make) -> None:
    for name, value in WHOLE:
        got = getattr(declared(node(f"{name}:={value}")), name)
        assert (got, type(got)) == (value, float), name
    assert declared(node(text="    fence_m: [-1, -1, 0, 1, 1, 1]")).fence_m == (-1.0, -1.0, 0.0, 1.0, 1.0, 1.0)


def test_so_it_does_while_the_node_runs(node: Make) -> None:
    made = node()
    declared(made)
    results = made.set_parameters([Parameter("guard", value=False), Parameter("speed_scale", value=1)])
    assert [result.successful for result in results] == [True, True]
    assert (read(made, ReachParameters).guard, read(made, ReachParameters).speed_scale) == ("off", 1.0)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("guard:=on", "parameter guard: expected str, one of ['stop', 'warn', 'off'], got True"),
        ("bundle:=7", "parameter bundle: expected str, in quotes if YAML would read another type, got 7"),
        ("speed_scale:=2", "parameter speed_scale: expected float from 0.01 to 1.0, got 2.0"),
        ("speed_scale:=.nan", "parameter speed_scale: expected float from 0.01 to 1.0, got nan"),
        ("threads:=2.5", "parameter threads: expected int from 0 to 256, got 2.5"),
        ("translate:=0", "parameter translate: expected bool, got 0"),
        ("providers:=[1, 2]", "parameter providers: expected list of str, got [1, 2]"),
    ],
)
def test_another_type_is_refused_with_what_was_expected_and_what_came(node: Make, override: str, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        declared(node(override))
    assert str(refused.value) == reason


ENTRIES = [
    *("/**", "/*", "/*/*", "/a/*", "/a/**", "/**/a/*", "/b/**", "/**/b/**", "/a"),
    *("reach_node", "/reach_node", "/reach", "/Reach_node", "a/reach_node", "/a/reach_node", "/a/b/reach_node/x"),
    *("/**/reach_node", "/*/reach_node", "/a/**/reach_node", "/a/*/reach_node", "/*/b/reach_node"),
]


@pytest.mark.parametrize("namespace", ["/", "/a", "/a/b"])
def test_an_entry_of_a_file_is_matched_to_its_node(node: Make, namespace: str) -> None:
    for entry in ENTRIES:
        made = node(text="    speed_scale: 0.5", entry=entry, namespace=namespace)
        name = made.get_fully_qualified_name()
        assert fits(entry, name) == ("speed_scale" in made._parameter_overrides), (entry, name)
