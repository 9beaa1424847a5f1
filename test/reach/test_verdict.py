from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from taskgan_ros.control.joint_state_filter import JointStateFilter, JointStateFilterConfig
from taskgan_ros.control.states import Fault, Source
from taskgan_ros.control.supervisor import Supervisor, SupervisorConfig
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.policy.guard import Scores
from taskgan_ros.reach.verdict import Outcome, Verdict, summarise, values

NAMES = ("a", "b")
SENT = JointTrajectory(NAMES, np.array([[0.0, 0.0], [0.02, -0.01], [0.03, -0.01]]), np.array([0.1, 0.2, 0.5]))


@pytest.fixture
def supervisor() -> Supervisor:
    ends = np.full(2, 3.0)
    joint_states = JointStateFilter(
        JointStateFilterConfig(NAMES, -ends, ends, np.ones(2), np.zeros(2, bool), 0.25, False, 0.5)
    )
    supervisor = Supervisor(SupervisorConfig(0.25, 0.25, 0.5, 10, 3, 2.0), joint_states)
    supervisor.activate(0.0)
    return supervisor


@pytest.fixture
def pipeline(supervisor: Supervisor) -> Any:
    commander = SimpleNamespace(config=SimpleNamespace(driven_joints=NAMES))
    parameters = SimpleNamespace(guard_tolerance=1.25)
    return SimpleNamespace(supervisor=supervisor, commander=commander, parameters=parameters, guard=object())


def test_a_command_is_reported_with_its_latency_scores_and_velocities(pipeline: Any) -> None:
    verdict = Verdict(
        Outcome.COMMAND, 10.0, latency_s=0.02, scores=Scores({"camera": 0.4, "pose": 0.7}),
        command=np.array([0.2, -0.1]), sent=SENT,
    )  # fmt: skip
    told = values(verdict, pipeline, 1.0, 10.03)
    assert summarise(verdict, pipeline.supervisor) == "command sent, 20.0 ms after the image's stamp"
    assert told["decision"] == "command"
    assert told["latency_ms"] == pytest.approx(20)
    assert told["image_age_ms"] == pytest.approx(30)
    assert (told["guard_score"], told["guard_limit"], told["guard_camera"]) == (0.7, 1.25, 0.4)
    assert (told["policy_a"], told["policy_b"]) == (0.2, -0.1)
    assert (told["velocity_a"], told["velocity_b"]) == (pytest.approx(0.2), pytest.approx(-0.1))


def test_a_refusal_says_what_is_wrong_with_the_image_and_what_the_arm_does(pipeline: Any) -> None:
    verdict = Verdict(Outcome.REFUSED, 0.0, why="image: expected 100 bytes, got 7")
    expected = "image refused: expected 100 bytes, got 7; waiting: no joint states yet, no images yet"
    assert summarise(verdict, pipeline.supervisor) == expected
    assert values(verdict, pipeline, 1.0, 10.0)["reason"] == "image: expected 100 bytes, got 7"


def test_a_fault_says_what_a_person_can_do(supervisor: Supervisor) -> None:
    supervisor.receive_fault(Fault(Source.ARM, "the arm is blocked"))
    assert summarise(None, supervisor) == "fault: the arm is blocked; deactivate and activate to resume"


def test_names_are_always_the_same_but_for_each_score(pipeline: Any) -> None:
    full = Verdict(Outcome.COMMAND, 1.0, None, "", 0.1, Scores({"camera": 1.0}), np.zeros(2), SENT)
    with_scores, without = (set(values(each, pipeline, 1.0, 1.0)) for each in (full, None))
    assert with_scores - without == {"guard_camera"}
    assert without <= with_scores
    assert values(None, pipeline, 1.0, 1.0)["image_age_ms"] == "", "there is no image"
