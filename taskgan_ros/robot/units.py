"""Units of the quantities in our files; values so large that they must be degrees or millimetres are refused."""

from __future__ import annotations

from typing import Annotated

from taskgan_ros.core.schema import After, Field


def at_most(largest: float, unit: str, mistaken: str) -> After:
    """Return a validator that refuses numbers further from 0 than `largest`: they must be in `mistaken`, not `unit`."""

    def check(value: float) -> float:
        if abs(value) > largest:
            raise ValueError(f"expected at most {largest:g} {unit} in magnitude, not {mistaken}")
        return value

    return After(check)


JOINT_GOALS = "joint_goals"  # the joint angles at which the tip is on its goal: labels, no command
UNITS = {"joint_velocities": "rad/s", "joint_angles": "rad", JOINT_GOALS: "rad"}  # of labels and commands
LARGEST_ANGLE = 12.6  # rad, two turns; a joint that turns further has no limits
LARGEST_SPEED = 25.0  # rad/s; small industrial arms reach 20
LARGEST_M = 10.0  # of a position in a cell

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]

ApproachRate = Annotated[float, Field(gt=0, le=10)]  # 1/s; more than any arm follows without overshooting
Angle = Annotated[float, at_most(LARGEST_ANGLE, "rad", "degrees")]
Speed = Annotated[Positive, at_most(LARGEST_SPEED, "rad/s", "degrees/s")]
Acceleration = Annotated[Positive, at_most(100, "rad/s²", "degrees/s²")]
Metres = Annotated[float, at_most(LARGEST_M, "m", "mm")]
HalfSize = Annotated[Positive, at_most(1, "m", "mm")]  # of a part of the arm, or of what it reaches for
Vector3 = tuple[Metres, Metres, Metres]
Rotation3 = tuple[Angle, Angle, Angle]
