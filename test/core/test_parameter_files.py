from __future__ import annotations

from pathlib import Path

import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.parameter_files import check_parameter_file


@pytest.mark.parametrize(
    "text",
    [
        "/**/reach_node: {ros__parameters: {speed_scale: 0.2}}",
        "/**: {ros__parameters: {speed_scale: 0.2}}",
        "left: {reach_node: {ros__parameters: {speed_scale: 0.2}}}",
        "/left: {/sim_node: {ros__parameters: {seed: 1}}, /reach_node: {ros__parameters: {speed_scale: 0.2}}}",
    ],
)
def test_a_file_may_name_the_node_in_all_of_ros_ways(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    check_parameter_file(file, "/left/reach_node")


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("reach_node: {ros__parameters: {speed_scale: 0.2}}", r"\['/reach_node'\]"),
        (
            "right: {reach_node: {ros__parameters: {}}}\n/**/reach: {ros__parameters: {}}",
            r"\['/\*\*/reach', '/right/reach_node'\]",
        ),
        ("/**/reach_node: {speed_scale: 0.2}", "none: there is no `ros__parameters:` under the name of a node"),
        ("", "none: there is no `ros__parameters:`"),
        ("[1, 2]", "none: there is no `ros__parameters:`"),
    ],
)
def test_a_file_for_other_nodes_is_refused_with_their_names(text: str, got: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    expected = r"expected parameters for /left/reach_node, e.g. under /\*\*/reach_node"
    with pytest.raises(InputError, match=rf"mine.yaml: {expected}, got {got}"):
        check_parameter_file(file, "/left/reach_node")


def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("a: [1")
    with pytest.raises(InputError, match="expected a readable YAML file"):
        check_parameter_file(file, "/reach_node")
