"""Accepts or rejects joint states. No ROS in here, and no clock is read."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.discontinuity import DiscontinuityDetector
from taskgan_ros.control.joint_state import configuration
from taskgan_ros.control.states import Fault, Source
from taskgan_ros.core.errors import InputError

Array = NDArray[np.float64]

_CONSISTENT = 5  # outliers that agree with each other: not a glitch, but somebody's claim about the arm


class Watch(enum.Enum):
    """How to treat joint states that contradict earlier ones."""

    OFF = "off"  # the arm is inactive or at fault: accept them once several agree
    STANDING = "standing"  # a fault, or accepted with `accept_jumps`
    MOVING = "moving"  # a fault


@dataclass(frozen=True)
class JointStateFilterConfig:
    """The configuration of a `JointStateFilter`; those that are parameters of reach_node have their defaults there.

    Attributes:
        joint_names: the arm's n joints; each must be in every joint state.
        lower: (n,) rad; a joint measured below it is a fault: zero, unit or name are not the arm file's.
        upper: (n,) rad, likewise.
        max_velocity: (n,) rad/s; a joint state that no arm could move to at twice this speed is an outlier.
        is_continuous: (n,) which joints' angles compare modulo 2π.
        joint_state_timeout_s: s; an older joint state is rejected, and a longer gap restarts the settling.
        accept_jumps: accept consistent outliers while the arm stands, instead of a fault: a simulated arm may be
            reset to another pose.
        settle_s: s after `reset` that joint states must continue each other before they are accepted: where two
            publishers send, the first that is received need not be the arm's.
    """

    joint_names: tuple[str, ...]
    lower: Array
    upper: Array
    max_velocity: Array
    is_continuous: NDArray[np.bool_]
    joint_state_timeout_s: float
    accept_jumps: bool
    settle_s: float


class JointStateFilter:
    """Turns joint state messages into accepted positions of one arm, and reports why others were rejected.

    Rejected are those that lack a joint or a finite number, that repeat a stamp, that are old, and outliers. Outliers
    that continue each other are a fault, and so are positions beyond the limits.

    Attributes:
        positions: (n,) rad, the newest accepted ones in the order of `joint_names`; None before the first.
        initial: (n,) rad, the first accepted ones since `reset`: where passive joints are held.
        accepted_s: s, when the arm was at `positions`; −inf before the first.
        is_in_doubt: whether the newest joint state was an outlier, so that the arm may not be at `positions`.
        was_set: whether the newest joint state is a jump that `accept_jumps` allows: the arm was reset to another pose.
        rejection: why the newest joint state was rejected; empty if it was not.
        arm_rejection: the same since the last accepted one, another arm's messages left out.
        awaited: what is missing until one is accepted, if none was wrong; empty once one was accepted.
    """

    def __init__(self, config: JointStateFilterConfig) -> None:
        """Start without a joint state; until the first `reset`, nothing has to settle."""
        self._config = config
        self._detector = DiscontinuityDetector(config.max_velocity, config.is_continuous)
        self.reset(-math.inf)
        self._is_settled = True

    def reset(self, now_s: float) -> None:
        """Discard what was measured before `now_s`: a hold at an older pose would be a jump."""
        self.positions: Array | None = None
        self.initial: Array | None = None
        self.accepted_s = -math.inf
        self.is_in_doubt = self.was_set = False
        self.rejection = self.arm_rejection = self.awaited = ""
        self._reset_s = self._readable_s = now_s
        self._stamp_s = 0.0  # of the last joint state that was no outlier
        self._is_settled, self._steady_since_s, self._settling_s = False, math.inf, -math.inf
        self._detector.reset()

    def receive(
        self, now_s: float, names: Sequence[str], positions: Sequence[float] | Array, age_s: float, stamp_s: float,
        watch: Watch,
    ) -> Fault | None:  # fmt: skip
        """Accept or reject a joint state; return a fault where it must stop the arm.

        A stamp counts as used only once a joint state with it was no outlier: drivers send several messages with one
        stamp.

        Args:
            now_s: s, when it came, on a steady clock.
            names: in any order; further joints than the arm's are ignored.
            positions: rad, one a name.
            age_s: s, how long before that the arm was there, where that is known.
            stamp_s: s, its stamp; 0 is none.
            watch: what a joint state that contradicts those before may do.
        """
        self.rejection, self.was_set, measured_s = "", False, now_s - age_s
        try:
            self._check_age(measured_s)
            measured = configuration(self._config.joint_names, names, positions)
            self._check_stamp(age_s, stamp_s)
        except InputError as error:
            is_another_arms = set(names).isdisjoint(self._config.joint_names)
            self._reject(str(error), keep_reason=is_another_arms)
            return None
        if watch is not Watch.OFF and (fault := self._limits_fault(measured)):
            return fault
        outliers = self._detector.count_outliers(measured_s, measured)
        self.is_in_doubt = bool(outliers) and not self._are_accepted(outliers, watch)
        if self.is_in_doubt:
            return self._reject_outlier(measured, outliers, watch)
        self._stamp_s, self._readable_s = stamp_s, measured_s
        if outliers:
            self._detector.accept(measured_s, measured)
            self._steady_since_s = math.inf
            self.was_set = self._config.accept_jumps and self.positions is not None
        if self._settles(measured_s):
            self._accept(measured_s, measured)
        return None

    def silent_s(self, now_s: float) -> float:
        """Return for how long no joint state has shown where the arm is, s; before the first, since `reset`."""
        return now_s - self._readable_s

    def age_s(self, now_s: float) -> float:
        """Return how long ago the arm was at `positions`, s; infinite without any."""
        return now_s - self.accepted_s

    def _accept(self, measured_s: float, measured: Array) -> None:
        self.positions, self.accepted_s = measured, measured_s
        self.arm_rejection = self.awaited = ""
        if self.initial is None:
            self.initial = measured

    def _check_age(self, measured_s: float) -> None:
        if measured_s < self._reset_s:
            raise InputError("expected one from after activate, got one from before")

    def _check_stamp(self, age_s: float, stamp_s: float) -> None:
        if stamp_s and stamp_s == self._stamp_s:
            raise InputError("expected a new stamp, got the previous one again")
        limit_s = self._config.joint_state_timeout_s
        if age_s > limit_s:  # it was delayed, and the arm has moved on
            why = "was this computer or the network busy, or do the clocks of arm and node differ?"
            hint = "image_age_s: 0.0 ignores stamps"
            raise InputError(f"expected one within {limit_s:g} s, got one {age_s:.3f} s old: {why} ({hint})")

    def _reject(self, why: str, keep_reason: bool = False) -> None:
        """Note why the newest joint state is rejected; a gripper's does not replace a reason that concerns the arm."""
        self.rejection = why
        if not (keep_reason and self.arm_rejection):
            self.arm_rejection = why

    def _settles(self, measured_s: float) -> bool:
        """Return whether one arm alone has sent for long enough since `reset`."""
        if self._is_settled:
            return True
        last_s, self._settling_s = self._settling_s, measured_s
        if measured_s - last_s > self._config.joint_state_timeout_s:
            self._steady_since_s = math.inf  # nothing was received in the gap
        self._steady_since_s = min(self._steady_since_s, measured_s)
        self._is_settled = measured_s - self._steady_since_s >= self._config.settle_s
        if not self._is_settled:
            self.awaited = f"{self._config.settle_s:g} s of them without a jump or a gap"
        return self._is_settled

    def _are_accepted(self, outliers: int, watch: Watch) -> bool:
        """Return whether several consistent outliers are accepted as the arm's new position."""
        may_be_elsewhere = self.positions is None or watch is Watch.OFF
        may_jump = self._config.accept_jumps and watch is Watch.STANDING
        return outliers >= _CONSISTENT and (may_be_elsewhere or may_jump)

    def _reject_outlier(self, measured: Array, outliers: int, watch: Watch) -> Fault | None:
        """Reject positions that the arm cannot have moved to, or return a fault if several are consistent."""
        self._steady_since_s = math.inf
        jump = np.round(self._detector.displacement(measured), 3).tolist()
        self._reject(f"expected one near the last, got a jump of {jump} rad: is there a second publisher?")
        count = self._detector.interleaved  # a second publisher's may have the arm's own between them
        if count < _CONSISTENT or self._config.accept_jumps or watch is Watch.OFF:
            return None
        how = "in a row" if outliers >= count else "that continue each other"
        reason = f"expected joint states to continue the last, got {count} {how} after a jump of {jump} rad"
        return Fault(Source.ARM, f"{reason}: other zeros, or a second publisher?")

    def _limits_fault(self, measured: Array) -> Fault | None:
        """Return the fault of positions beyond the limits, which are not the arm's, or nothing."""
        beyond = (measured < self._config.lower) | (measured > self._config.upper)
        if not beyond.any():
            return None
        names = [name for name, is_beyond in zip(self._config.joint_names, beyond, strict=True) if is_beyond]
        angles = np.round(measured[beyond], 4).tolist()
        return Fault(
            Source.LIMITS,
            f"expected joint states within the arm file's position limits, got {angles} rad for {names}: "
            "is it another arm, or are its zeros elsewhere?",
        )
