"""The supervisor's vocabulary: what the arm is doing, why, and what to send."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.Enum):
    """What this node makes the arm do."""

    INACTIVE = "inactive"
    WAITING = "waiting"  # active, and not commanded yet
    RUNNING = "running"
    ARRIVED = "arrived"  # the commands have become small: held, until they are large again
    HELD = "held"  # stopped after having run, or by a person; resumes once nothing holds it
    FAULT = "fault"  # stopped by what must not be trusted; needs a person to deactivate and activate


class Source(enum.Enum):
    """What the arm waits for, or what holds it."""

    JOINT_STATES = "joint states"
    IMAGES = "images"
    GUARD = "guard"  # the images are out of distribution
    COMMANDS = "commands"  # the policy: slow or stuck
    PERSON = "a person"
    OUTPUT = "policy output"  # not finite, or none at all
    LIMITS = "position limits"  # which the joint states contradict
    ARM = "arm"  # which does not go where it is sent


FAULTS = frozenset({Source.OUTPUT, Source.LIMITS, Source.ARM})


class Action(enum.Enum):
    """What to send to the arm now."""

    NOTHING = "nothing"
    COMMAND = "command"
    HOLD = "hold"


@dataclass(frozen=True)
class Fault:
    """A fault, which only a person may clear.

    Attributes:
        source: what must not be trusted.
        reason: for a person.
    """

    source: Source
    reason: str
