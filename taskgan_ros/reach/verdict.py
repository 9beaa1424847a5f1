"""The decision on an image, or in the absence of one, as it is reported to people and recordings."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.states import Action, State
from taskgan_ros.control.supervisor import Supervisor
from taskgan_ros.control.trajectory import JointTrajectory, fastest
from taskgan_ros.policy.guard import Scores
from taskgan_ros.reach.pipeline import Pipeline

Array = NDArray[np.float64]

_RESUME = "deactivate and activate to resume"


class Outcome(enum.Enum):
    """What became of an image."""

    COMMAND = "command"  # sent
    HOLD = "hold"  # a stop was sent
    NOTHING = "nothing"  # was sent, because the state does not allow it
    OUT_OF_DISTRIBUTION = "out of distribution"  # the guard objects: not acted on
    REFUSED = "refused"  # it cannot be used: damaged, old, of another camera
    FAILED = "failed"  # no command could be made from it


OUTCOMES = {Action.COMMAND: Outcome.COMMAND, Action.HOLD: Outcome.HOLD, Action.NOTHING: Outcome.NOTHING}


@dataclass(frozen=True)
class Verdict:
    """The decision on an image, and why.

    Attributes:
        outcome: see `Outcome`.
        stamp_s: s, the image's; 0 where it has none.
        header: of the message that it came in, for whoever runs the reacher.
        why: it was refused, objected to or failed; else empty, for the supervisor's reason says it.
        latency_s: s from its stamp to the command; None where none was sent, or for an image without a stamp.
        scores: the guard's; None without one, and for an image that never came to it.
        command: (J,) the first of the policy's commands, in the card's units; None where it gave none.
        sent: the motion that was sent; None where none was.
    """

    outcome: Outcome
    stamp_s: float
    header: Any = None
    why: str = ""
    latency_s: float | None = None
    scores: Scores | None = None
    command: Array | None = None
    sent: JointTrajectory | None = None


def describe(supervisor: Supervisor) -> str:
    """Return the supervisor's state and its reason."""
    return ": ".join(part for part in (supervisor.state.value, supervisor.reason) if part)


def advise(supervisor: Supervisor) -> str:
    """Return the same, and after a fault what a person can do."""
    text = describe(supervisor)
    return f"{text}; {_RESUME}" if supervisor.state is State.FAULT else text


def summarise(verdict: Verdict | None, supervisor: Supervisor) -> str:
    """Return in one line what was decided and why; without a verdict, the state alone."""
    state = advise(supervisor)
    if verdict is None:
        return state
    if verdict.outcome is Outcome.COMMAND:
        late = "" if verdict.latency_s is None else f", {1e3 * verdict.latency_s:.1f} ms after the image's stamp"
        return f"command sent{late}" + (f", of an out-of-distribution image: {verdict.why}" if verdict.why else "")
    said = {
        Outcome.HOLD: "stop sent",
        Outcome.NOTHING: "no command",
        Outcome.OUT_OF_DISTRIBUTION: f"no command: out-of-distribution image: {verdict.why}",
        Outcome.REFUSED: f"image refused: {verdict.why.removeprefix('image: ')}",
        Outcome.FAILED: f"no command: {verdict.why}",
    }
    return f"{said[verdict.outcome]}; {state}"


def values(verdict: Verdict | None, pipeline: Pipeline, now_s: float, ros_s: float) -> dict[str, object]:
    """Return a decision as values under fixed names; a missing value is empty.

    Args:
        verdict: None for a change of state while no image is decided on.
        pipeline: what decided.
        now_s: s, on the steady clock.
        ros_s: s, likewise, on the clock of stamps.
    """
    supervisor, given = pipeline.supervisor, verdict or Verdict(Outcome.NOTHING, 0.0)
    joint_states_s = supervisor.joint_states.age_s(now_s)
    return {
        "decision": verdict.outcome.value if verdict else "",
        "reason": given.why or supervisor.reason,
        "state": supervisor.state.value,
        "blocked_by": ", ".join(source.value for source in supervisor.blocked_by),
        "image_age_ms": 1e3 * (ros_s - given.stamp_s) if given.stamp_s else "",
        "latency_ms": "" if given.latency_s is None else 1e3 * given.latency_s,
        "joint_state_age_ms": 1e3 * joint_states_s if np.isfinite(joint_states_s) else "",
        **_guard_values(given.scores, pipeline),
        **_joint_values(given, pipeline),
    }


def _guard_values(scores: Scores | None, pipeline: Pipeline) -> dict[str, object]:
    """Return the highest score, its limit, and every score by its name."""
    limit = pipeline.parameters.guard_tolerance if pipeline.guard else ""
    each = {f"guard_{name}": value for name, value in scores.values.items()} if scores else {}
    return {"guard_score": scores.worst if scores else "", "guard_limit": limit, **each}


def _joint_values(verdict: Verdict, pipeline: Pipeline) -> dict[str, object]:
    """Return, for each driven joint, the policy's command in its units, and the velocity that was sent."""
    names = pipeline.commander.config.driven_joints
    blank = [""] * len(names)
    asked = blank if verdict.command is None else verdict.command.tolist()
    sent = blank if verdict.sent is None else fastest(verdict.sent, names).tolist()
    return {
        **{f"policy_{name}": value for name, value in zip(names, asked, strict=True)},
        **{f"velocity_{name}": value for name, value in zip(names, sent, strict=True)},
    }
