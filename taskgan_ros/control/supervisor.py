"""Decides whether to move: a state machine whose inputs are arrivals and whose output is command, hold or nothing.

Every method takes the time, seconds of one steady clock, so nothing here waits, sleeps or reads a clock. It
is not thread-safe: its owner calls it from one thread or under one lock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.control.joint_state_filter import JointStateFilter, Watch
from taskgan_ros.control.limits import duration
from taskgan_ros.control.states import FAULTS, Action, Fault, Source, State

Array = NDArray[np.float64]

_BY_PERSON = "stopped by a person (the service hold)"  # "held" is the state's word


@dataclass(frozen=True)
class SupervisorConfig:
    """The configuration of a `Supervisor`: parameters of reach_node, which have their defaults there.

    Attributes:
        image_timeout_s: s between images.
        joint_state_timeout_s: s between accepted joint states.
        command_timeout_s: s from an image's arrival to now, for the image that the last command was made from; it
            must leave room for two inferences.
        arrived_images: how many small commands in a row are an arrival; 0 never arrives.
        guard_images: how many out-of-distribution images in a row stop the arm until an in-distribution one comes.
        guard_fault_s: s; out-of-distribution images for this long are a fault; 0 disables that.
    """

    image_timeout_s: float
    joint_state_timeout_s: float
    command_timeout_s: float
    arrived_images: int
    guard_images: int
    guard_fault_s: float

    def __post_init__(self) -> None:
        """Check the timeouts.

        Raises:
            InputError: a timeout that is not a positive number.
        """
        for name in ("image_timeout_s", "joint_state_timeout_s", "command_timeout_s"):
            duration(name, getattr(self, name))


class Supervisor:
    """Lets commands through while images, joint states and commands are fresh; otherwise requests one hold.

    After a late input the arm resumes by itself, with the next command for which everything is fresh. It also resumes
    after arrival, once commands are large again, and after out-of-distribution images, once one is in distribution.
    Such images for too long, a non-finite output and a fault of the joint state filter stop the arm until
    `deactivate` and `activate`. Only what arrives after `activate` counts, so no old pose or image has an effect; a
    person's hold stays. An arm that was not commanded since then is not ours: it gets no hold.

    Attributes:
        joint_states: knows where the arm is.
        state: see `State`.
        blocked_by: what the arm waits for, or what holds it; empty while inactive, running or arrived.
        reason: the same as a sentence with times, for a person.
        has_arrived: whether the commands have become small and not large since, through holds too.
    """

    def __init__(self, config: SupervisorConfig, joint_states: JointStateFilter, is_held: bool = False) -> None:
        """Start inactive.

        Args:
            config: see `SupervisorConfig`.
            joint_states: is fed by `receive_joint_state` alone.
            is_held: whether a person holds the arm already.
        """
        self.joint_states = joint_states
        self.state = State.INACTIVE
        self.blocked_by: tuple[Source, ...] = ()
        self.reason = ""
        self._config, self._is_held_by_person = config, is_held
        self._activated_s = -math.inf
        self._clear()

    def _clear(self) -> None:
        self._deadlines = {
            Source.JOINT_STATES: _Deadline(self._config.joint_state_timeout_s),
            Source.IMAGES: _Deadline(self._config.image_timeout_s),
            Source.COMMANDS: _Deadline(self._config.command_timeout_s),
        }
        self._small_commands, self.has_arrived = 0, False
        self._out_of_distribution = _Streak()

    def activate(self, now_s: float) -> None:
        """Start afresh: wait for joint states, images and a command that arrive from now on."""
        self.state, self._activated_s = State.WAITING, now_s
        self._clear()
        self.joint_states.reset(now_s)
        self.tick(now_s)

    def deactivate(self) -> Action:
        """Stop for good, on shutdown too; requests a hold if the arm was running."""
        was_running = self.state is State.RUNNING
        self.state, self.blocked_by, self.reason = State.INACTIVE, (), ""
        return Action.HOLD if was_running else Action.NOTHING

    def hold(self, held: bool, now_s: float) -> Action:
        """Hold the arm for a person, or let it resume; whatever else stops it still does."""
        self._is_held_by_person = held
        if held and self.state in (State.RUNNING, State.ARRIVED):
            return self._stop((Source.PERSON,), _BY_PERSON)
        return self.tick(now_s)

    def receive_image(self, now_s: float) -> None:
        """Note that an image has arrived."""
        self._deadlines[Source.IMAGES].meet(now_s)

    def reject_image(self, why: str) -> None:
        """Note an image that may not be used: it counts as none, and `reason` reports why."""
        self._deadlines[Source.IMAGES].rejection = why

    def receive_joint_state(
        self, now_s: float, names: Sequence[str], positions: Sequence[float] | Array, age_s: float = 0.0,
        stamp_s: float = 0.0,
    ) -> Action:  # fmt: skip
        """Let the filter judge a joint state; a rejected one counts as none, and `reason` reports why.

        Args:
            now_s: s, when it came.
            names: in any order; further joints than the arm's are ignored.
            positions: rad, one a name.
            age_s: s, how long before that the arm was there, where that is known.
            stamp_s: s, its stamp; 0 is none.
        """
        fault = self.joint_states.receive(now_s, names, positions, age_s, stamp_s, self._watch)
        deadline = self._deadlines[Source.JOINT_STATES]
        deadline.met_s, deadline.rejection = self.joint_states.accepted_s, self.joint_states.arm_rejection
        deadline.awaited = self.joint_states.awaited
        return self.receive_fault(fault) if fault else Action.NOTHING

    @property
    def _watch(self) -> Watch:
        if self.state in (State.INACTIVE, State.FAULT):
            return Watch.OFF
        return Watch.MOVING if self.state is State.RUNNING else Watch.STANDING

    def lacks_joint_states(self, now_s: float) -> bool:
        """Return whether, while active, no joint state has shown where the arm is within the timeout."""
        is_active = self.state is not State.INACTIVE
        return is_active and self.joint_states.silent_s(now_s) > self._config.joint_state_timeout_s

    def receive_fault(self, fault: Fault) -> Action:
        """Stop with a fault, unless inactive or at fault already."""
        is_ignored = self.state in (State.INACTIVE, State.FAULT)
        return Action.NOTHING if is_ignored else self._stop((fault.source,), fault.reason)

    def receive_command(self, now_s: float, command: ArrayLike, image_s: float, is_small: bool = False) -> Action:
        """Judge a policy's output; COMMAND means that it may be sent.

        Args:
            now_s: s.
            command: (J,) as the policy gave it.
            image_s: when `receive_image` was called for the image that it was made from. A command from an image
                of before `activate` is ignored.
            is_small: whether it requests next to no motion.
        """
        if self._is_ignored(image_s):
            return Action.NOTHING
        if not np.isfinite(command).all():
            values = np.asarray(command, dtype=np.float64).tolist()
            return self.receive_failure(f"the policy's output is not finite: {values}", image_s)
        if self.state is State.FAULT:
            return Action.NOTHING
        self._deadlines[Source.COMMANDS].meet(image_s)
        self._out_of_distribution = _Streak()
        self._small_commands = self._small_commands + 1 if is_small else 0
        if self._late(now_s):
            return self.tick(now_s)
        if self._config.arrived_images and self._small_commands >= self._config.arrived_images:
            self.has_arrived = True
            return self._stop((), f"the last {self._small_commands} commands were small", State.ARRIVED)
        if self.has_arrived and is_small:  # held since
            return self._stop((), "the last command was small", State.ARRIVED)
        self.state, self.blocked_by, self.reason, self.has_arrived = State.RUNNING, (), "", False
        return Action.COMMAND

    def receive_out_of_distribution(self, now_s: float, reason: str, image_s: float) -> Action:
        """Note an out-of-distribution image, from which no command may be made: several in a row stop the arm.

        Args:
            now_s: s.
            reason: for a person.
            image_s: as for `receive_command`.
        """
        if self._is_ignored(image_s) or self.state is State.FAULT:
            return Action.NOTHING
        self._deadlines[Source.COMMANDS].rejection = ""
        streak = self._out_of_distribution
        streak.extend(image_s, reason, self._config.image_timeout_s)
        is_long = streak.last_s - streak.first_s >= self._config.guard_fault_s
        if self._config.guard_fault_s and is_long and streak.count >= self._config.guard_images:
            return self._stop((Source.GUARD,), streak.text, State.FAULT)
        return self.tick(now_s)

    def reject_command(self, why: str, image_s: float) -> None:
        """Note an image of which no command can be made, a damaged one: `reason` reports why.

        Args:
            why: for a person.
            image_s: as for `receive_command`.
        """
        if not self._is_ignored(image_s):
            self._deadlines[Source.COMMANDS].rejection = why

    def receive_failure(self, reason: str, image_s: float) -> Action:
        """Note that no command could be made from an image; this stops the arm as a non-finite command does.

        Args:
            reason: for a person.
            image_s: as for `receive_command`.
        """
        return Action.NOTHING if self._is_ignored(image_s) else self.receive_fault(Fault(Source.OUTPUT, reason))

    def tick(self, now_s: float) -> Action:
        """Compare the clock with the deadlines; to be called several times within the shortest timeout."""
        if self.state in (State.INACTIVE, State.FAULT):
            return Action.NOTHING
        late = self._late(now_s)
        if self.state is State.ARRIVED and not late:
            return Action.NOTHING
        if self.state in (State.RUNNING, State.ARRIVED):
            return self._stop(tuple(late), ", ".join(late.values())) if late else Action.NOTHING
        self.blocked_by = tuple(late) or (Source.COMMANDS,)
        self.reason = ", ".join(late.values()) or "waiting for the next command"
        return Action.NOTHING

    def _is_ignored(self, image_s: float) -> bool:
        return self.state is State.INACTIVE or image_s < self._activated_s

    def _stop(self, sources: tuple[Source, ...], reason: str, state: State | None = None) -> Action:
        was_running = self.state is State.RUNNING
        is_fault = not FAULTS.isdisjoint(sources)
        self.state = state or (State.FAULT if is_fault else State.HELD)
        self.blocked_by, self.reason = sources, reason
        return Action.HOLD if was_running else Action.NOTHING

    def _late(self, now_s: float) -> dict[Source, str]:
        """Return what keeps the arm from running, with a sentence; the policy only when it has all it needs."""
        inputs = (Source.JOINT_STATES, Source.IMAGES)
        late = {source: text for source in inputs if (text := self._deadlines[source].lateness(now_s, source))}
        if self._is_held_by_person:
            late[Source.PERSON] = _BY_PERSON
        if self._out_of_distribution.count >= self._config.guard_images:
            late[Source.GUARD] = self._out_of_distribution.text
        if not late and (text := self._deadlines[Source.COMMANDS].lateness(now_s, Source.COMMANDS)):
            late[Source.COMMANDS] = text
        return late


@dataclass
class _Deadline:
    """How long an input may be missing.

    Attributes:
        timeout_s: s.
        met_s: s, when it last came; −inf before the first.
        rejection: why those since then were rejected; empty if there was none.
        awaited: what has to come first although none is wrong; empty for nothing.
    """

    timeout_s: float
    met_s: float = -math.inf
    rejection: str = ""
    awaited: str = ""

    def meet(self, time_s: float) -> None:
        self.met_s, self.rejection = time_s, ""

    def lateness(self, now_s: float, source: Source) -> str:
        """Return a sentence on how late it is, or nothing."""
        rejected = f"; the last was rejected: {self.rejection}" if self.rejection else ""
        if math.isinf(self.met_s):
            awaited = f"{source.value}: waiting for {self.awaited}" if self.awaited else f"no {source.value} yet"
            return f"{awaited}{rejected}"
        age_s = now_s - self.met_s
        if age_s <= self.timeout_s:
            return ""
        if source is Source.COMMANDS and not rejected:
            return f"slow policy: its newest command's image is {age_s:.2f} s old, expected {self.timeout_s:g} s"
        return f"no {source.value} for {age_s:.2f} s, expected within {self.timeout_s:g} s{rejected}"


@dataclass
class _Streak:
    """Out-of-distribution images in a row.

    Attributes:
        count: how many.
        first_s: s, when the first of those without a gap between them came.
        last_s: s, when the last came.
        text: on them, for a person.
    """

    count: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    text: str = ""

    def extend(self, image_s: float, reason: str, gap_s: float) -> None:
        if not self.count or image_s - self.last_s > gap_s:
            self.first_s = image_s
        self.count, self.last_s = self.count + 1, image_s
        self.text = f"{self.count} out-of-distribution images in a row: {reason}"
