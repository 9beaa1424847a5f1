"""Parameters of the node fill the configurations of `control/` by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from taskgan_ros.control.commander_config import CommanderConfig
from taskgan_ros.control.joint_state_filter import JointStateFilterConfig
from taskgan_ros.control.supervisor import SupervisorConfig
from taskgan_ros.reach.parameters import ReachParameters

FROM_BUNDLE = {"arm", "driven_joints", "task", "fence", "joint_names", "lower", "upper", "max_velocity",
               "is_continuous", "settle_s"}  # fmt: skip


@pytest.mark.parametrize("config", [CommanderConfig, SupervisorConfig, JointStateFilterConfig])
def test_what_does_not_come_from_the_bundle_is_a_parameter_and_has_its_default_there_alone(config: Any) -> None:
    parameters = {field.name: field.type for field in dataclasses.fields(ReachParameters)}
    for field in dataclasses.fields(config):
        assert field.default is dataclasses.MISSING, field.name
        if field.name not in FROM_BUNDLE:
            assert parameters[field.name] == field.type
