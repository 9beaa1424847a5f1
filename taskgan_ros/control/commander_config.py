"""What a `JointCommander` may do: the arm's limits, the user's, and how trajectories are sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.command_interfaces import COMMAND_INTERFACES, INTEGRATED, KINOVA
from taskgan_ros.control.fence import Fence
from taskgan_ros.control.limits import duration
from taskgan_ros.control.motion import stopping_time_s
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Arm

Array = NDArray[np.float64]

VELOCITIES, ANGLES = "joint_velocities", "joint_angles"


@dataclass(frozen=True)
class CommanderConfig:
    """The configuration of a `JointCommander`; those that are parameters of reach_node have their defaults there.

    Attributes:
        arm: names and limits of all n joints.
        driven_joints: the J joints that the bundle commands, in its output order. The others are passive.
        task: `joint_velocities` (commands in rad/s) or `joint_angles` (commands in rad).
        command_interface: what the trajectories are for. All but one take positions alone. `kinova`, for Kinova's
            driver, takes velocities too: it acts on them alone, in the order of its joints, and holds each until its
            time is over.
        horizon_s: s; how long the velocity lasts. Less than the time between two commands makes the arm stutter.
        lead_s: s; how long after it was sent a command takes effect: the message's travel time and the wait for the
            controller's next update. A command that arrives later has missed a part of its motion.
        all_joints: name all n joints, in the arm's order, and hold the passive ones; or name the driven ones only, for
            a controller that allows partial goals.
        margin_rad: rad, kept from the arm file's position limits.
        max_step_rad: rad; no joint is ever sent further than this from where it was measured.
        speed_scale: share of the arm file's speeds that is used, in (0, 1].
        fence: what the tip stays in, or None.
    """

    arm: Arm
    driven_joints: tuple[str, ...]
    task: str
    command_interface: str
    horizon_s: float
    lead_s: float
    all_joints: bool
    margin_rad: float
    max_step_rad: float
    speed_scale: float
    fence: Fence | None

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            InputError: a joint that the arm does not have, or that is named twice; an unknown task or interface; an
                interface that needs all joints without them; a number out of range.
        """
        self._check_names()
        duration("horizon_s", self.horizon_s)
        duration("max_step_rad", self.max_step_rad)
        if not (np.isfinite(self.lead_s) and self.lead_s >= 0):
            raise InputError(f"lead_s: expected 0 s or more, got {self.lead_s}")
        if not 0 < self.speed_scale <= 1:
            raise InputError(f"speed_scale: expected more than 0 and at most 1, got {self.speed_scale}")
        if not 0 <= self.margin_rad < np.min(self.arm.upper - self.arm.lower) / 2:
            raise InputError(f"margin_rad: expected less than half of each joint's range, got {self.margin_rad}")

    def _check_names(self) -> None:
        known, names = self.arm.joint_names, self.driven_joints
        if not names or not set(names) <= set(known) or len(set(names)) < len(names):
            raise InputError(f"driven joints: expected some of {list(known)}, each once, got {list(names)}")
        if self.task not in (VELOCITIES, ANGLES):
            raise InputError(f"task: expected {VELOCITIES} or {ANGLES}, got {self.task!r}")
        if self.command_interface not in COMMAND_INTERFACES:
            expected = list(COMMAND_INTERFACES)
            raise InputError(f"command_interface: expected one of {expected}, got {self.command_interface!r}")
        if self.command_interface == KINOVA and not self.all_joints:
            raise InputError("all_joints: expected true with kinova, whose driver matches joints by order, got false")

    @cached_property
    def driven(self) -> NDArray[np.intp]:
        """(J,) indices of the driven joints among the arm's."""
        return self.arm.indices(self.driven_joints)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The joints of every trajectory, in its order."""
        return self.arm.joint_names if self.all_joints else self.driven_joints

    @property
    def is_integrated(self) -> bool:
        """Whether the controller integrates velocities, so that the motion continues from the arm's position."""
        return self.command_interface in INTEGRATED

    @cached_property
    def is_named(self) -> NDArray[np.bool_]:
        """(n,) whether a joint is commanded at all."""
        return np.isin(self.arm.joint_names, self.names)

    @cached_property
    def lower(self) -> Array:
        """(n,) rad, the lowest position that is commanded."""
        return self.arm.lower + self.margin_rad

    @cached_property
    def upper(self) -> Array:
        """(n,) rad, the highest position that is commanded."""
        return self.arm.upper - self.margin_rad

    @cached_property
    def top_speed(self) -> Array:
        """(n,) rad/s, the highest speed that is commanded."""
        return self.speed_scale * self.arm.max_velocity

    def approach_s(self, lasts_s: float) -> float:
        """Return how many s before its limit a joint that moves for `lasts_s` must begin to slow down."""
        return lasts_s + self._longest_stop_s

    @cached_property
    def _longest_stop_s(self) -> float:
        return stopping_time_s(self.arm.max_velocity, self.arm.max_acceleration)
