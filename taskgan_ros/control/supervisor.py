"""Whether to move: a state machine fed with what arrives, that answers command, hold or nothing.

Every method takes the time, seconds of one steady clock, so nothing here waits, sleeps or reads a clock. It
is not thread-safe: whoever owns it calls it from one thread or under one lock.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.control.continuity import Continuity
from taskgan_ros.control.joint_state import configuration
from taskgan_ros.control.limits import duration
from taskgan_ros.core.errors import InputError

Array = NDArray[np.float64]


_BY_PERSON = "stopped by a person (the service hold)"  # "held" is the state's word


class State(enum.Enum):
    """What the arm is doing on our account."""

    INACTIVE = "inactive"
    WAITING = "waiting"  # active, and not commanded yet
    RUNNING = "running"
    ARRIVED = "arrived"  # the commands have become small: held, until they are large again
    HELD = "held"  # stopped after having run, or by a person; goes on by itself once nobody holds it
    FAULT = "fault"  # stopped by what must not be trusted; needs a person to deactivate and activate


class Source(enum.Enum):
    """Whom the arm waits for, or who holds it."""

    JOINT_STATES = "joint states"
    IMAGES = "images"
    GUARD = "guard"  # the images are unlike training
    COMMANDS = "commands"  # the policy: slow or stuck
    PERSON = "a person"
    OUTPUT = "policy output"  # not finite, or none at all
    LIMITS = "position limits"  # which the joint states contradict
    ARM = "arm"  # which does not go where it is sent


_FAULTS = {Source.OUTPUT, Source.LIMITS, Source.ARM}
_BELIEVED = 5  # joint states alike after a jump


class Action(enum.Enum):
    """What to send to the arm now."""

    NOTHING = "nothing"
    COMMAND = "command"
    HOLD = "hold"


class Supervisor:
    """Lets commands through while images, joint states and commands are fresh; asks for one hold when not.

    What was late resumes by itself: the next command with everything fresh is let through. So does an arm that has
    arrived, once its commands are large again, and one that stopped for images unlike training, once one is like it.
    Many of those in a row, an output that is not finite, and joints far beyond their limits or elsewhere at once are a
    fault until `deactivate` and `activate`. Only what arrives after `activate` counts, so nothing acts on a pose or an
    image from before; a person's hold stays. An arm that was not commanded since is not ours: it gets no hold.

    Attributes:
        state: see `State`.
        blocked_by: whom the arm waits for, or who holds it; empty while inactive, running or arrived.
        reason: the same as a sentence with times, for a person.
        measured: (n,) rad, the newest good joint state, in the order of `joint_names`; None before the first
            after `activate`.
        is_in_doubt: whether the newest joint state was a jump, so that the arm may not be where `measured` says.
        refused: why the newest joint state was ignored; empty if it was accepted.
        has_arrived: whether the commands have become small and not large since, through holds too.
        parked: (n,) rad, the first good joint state after `activate`: where joints that are not driven
            belong.
    """

    def __init__(
        self,
        joint_names: Sequence[str],
        image_timeout_s: float = 0.25,
        joint_state_timeout_s: float = 0.25,
        command_timeout_s: float = 0.5,
        arrived_images: int = 0,
        guard_images: int = 1,
        guard_fault_s: float = 0.0,
        lower: ArrayLike = -math.inf,
        upper: ArrayLike = math.inf,
        max_velocity: ArrayLike = math.inf,
        accept_jumps: bool = False,
        settle_s: float = 0.0,
        is_held: bool = False,
    ) -> None:
        """Start inactive.

        Args:
            joint_names: the arm's n joints; each must be in every joint state.
            image_timeout_s: s between images; five frames of a 20 Hz camera.
            joint_state_timeout_s: s between good joint states.
            command_timeout_s: s from an image's arrival to now, for the image that the last command was made
                from; it must leave room for two inferences.
            arrived_images: how many small commands in a row are an arrival; 0 never arrives.
            guard_images: how many images in a row that are unlike training stop the arm until others come.
            guard_fault_s: s; so long no others are a fault; 0 is never one.
            lower: (n,) rad; a joint measured below it is a fault: zero, unit or name are not the arm file's.
            upper: (n,) rad, likewise.
            max_velocity: (n,) rad/s; a joint state that no arm could get to at twice this speed counts as none, and
                several that go on from it are a fault.
            accept_jumps: believe those while the arm stands, in place of a fault: a simulated one is set elsewhere.
            settle_s: s after `activate` that joint states must go on from each other before they count: where two
                publishers speak, the first that is heard need not be the arm's.
            is_held: whether a person holds the arm already.

        Raises:
            InputError: a timeout that is not a positive number.
        """
        self.state = State.INACTIVE
        self.blocked_by: tuple[Source, ...] = ()
        self.reason = ""
        self.measured: Array | None = None
        self.parked: Array | None = None
        self._joint_names = tuple(joint_names)
        self._timeouts = {
            Source.JOINT_STATES: duration("joint_state_timeout_s", joint_state_timeout_s),
            Source.IMAGES: duration("image_timeout_s", image_timeout_s),
            Source.COMMANDS: duration("command_timeout_s", command_timeout_s),
        }
        self.has_arrived = self.is_in_doubt = False
        self._arrived_images, self._small_commands = arrived_images, 0
        self._guard_images, self._guard_fault_s = guard_images, guard_fault_s
        self._strange_images, self._strange_s, self._strange_since_s, self._strangeness = 0, 0.0, 0.0, ""
        self._lower, self._upper = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
        is_continuous = np.isinf(self._lower) & np.isinf(self._upper)
        self._continuity, self._accept_jumps = Continuity(max_velocity, is_continuous), accept_jumps
        self._settle_s, self._steady_since_s, self._settling_s = settle_s, math.inf, -math.inf
        self._is_held_by_person = is_held
        self._stamp_s = 0.0  # of the last joint state that was no jump
        self.refused = ""
        self._activated_s = self._accepted_s = -math.inf
        self._heard_s: dict[Source, float] = {}
        self._refusals: dict[Source, str] = {}

    def activate(self, now_s: float) -> None:
        """Start afresh: wait for joint states, images and a command that arrive from now on."""
        self.state, self._activated_s = State.WAITING, now_s
        self._small_commands = self._strange_images = 0
        self.has_arrived = self.is_in_doubt = False
        self.measured = self.parked = None  # a hold at a pose from before would be a jump
        self._heard_s.clear()
        self._refusals.clear()
        self._stamp_s, self.refused = 0.0, ""
        self._continuity.forget()
        self._steady_since_s, self._settling_s = math.inf, -math.inf
        self.tick(now_s)

    def deactivate(self) -> Action:
        """Stop for good, on shutdown too; asks for a hold if the arm was running."""
        was_running = self.state is State.RUNNING
        self.state, self.blocked_by, self.reason = State.INACTIVE, (), ""
        return Action.HOLD if was_running else Action.NOTHING

    def hold(self, held: bool, now_s: float) -> Action:
        """Hold the arm for a person, or let it go on by itself; what else stops it stops it still."""
        self._is_held_by_person = held
        if held and self.state in (State.RUNNING, State.ARRIVED):
            return self._stop((Source.PERSON,), _BY_PERSON)
        return self.tick(now_s)

    def receive_image(self, now_s: float) -> None:
        """Note that an image has arrived."""
        self._heard_s[Source.IMAGES] = now_s
        self._refusals.pop(Source.IMAGES, None)

    def refuse_image(self, why: str) -> None:
        """Note an image that may not be used: it counts as none, and `reason` says so."""
        self._refusals[Source.IMAGES] = why

    def receive_joint_state(
        self, now_s: float, names: Sequence[str], positions: Sequence[float] | Array, age_s: float = 0.0,
        stamp_s: float = 0.0,
    ) -> Action:  # fmt: skip
        """Take a joint state; one that does not tell where the arm is counts as none, and `reason` says so.

        One far beyond the limits is a fault, unless inactive; one from before `activate` is ignored. A stamp
        counts as used only once a joint state with it was accepted: drivers send several messages with one stamp.

        Args:
            now_s: s, when it came.
            names: in any order; further joints than the arm's are ignored.
            positions: rad, one a name.
            age_s: s, how long before that the arm was there, where that is known.
            stamp_s: s, its stamp; 0 is none.
        """
        self.refused, measured_s = "", now_s - age_s
        if measured_s < self._activated_s and self.state is not State.INACTIVE:
            self._refuse_joint_state("expected one from after activate, got one from before")
            return Action.NOTHING
        try:
            measured = configuration(self._joint_names, names, positions)
            self._check_stamp(age_s, stamp_s)
        except InputError as error:
            is_another_arms = set(names).isdisjoint(self._joint_names)
            self._refuse_joint_state(str(error), unless_known=is_another_arms)
            return Action.NOTHING
        if self._is_beyond(measured):
            return self._stop_for_limits(measured)
        strays = self._continuity.strays(measured_s, measured)
        self.is_in_doubt = bool(strays) and not self._is_believed(strays)
        if self.is_in_doubt:
            return self._judge_jump(measured, strays)
        self._stamp_s, self._accepted_s = stamp_s, measured_s
        if strays:
            self._continuity.accept(measured_s, measured)
            self._steady_since_s = math.inf
        if self._is_settled(measured_s):
            self._believe(measured_s, measured)
        return Action.NOTHING

    def _believe(self, measured_s: float, measured: Array) -> None:
        self.measured = measured
        self._refusals.pop(Source.JOINT_STATES, None)
        self._heard_s[Source.JOINT_STATES] = measured_s
        if self.parked is None and self.state is not State.INACTIVE:
            self.parked = measured

    def _check_stamp(self, age_s: float, stamp_s: float) -> None:
        if stamp_s and stamp_s == self._stamp_s:
            raise InputError("expected a stamp of its own, got the one before again")
        limit_s = self._timeouts[Source.JOINT_STATES]
        if age_s > limit_s:  # it was delayed, and the arm has moved on
            why = "was this computer or the network busy, or do the clocks of arm and node differ?"
            hint = "image_age_s: 0.0 ignores stamps"
            raise InputError(f"expected one within {limit_s:g} s, got one {age_s:.3f} s old: {why} ({hint})")

    def _refuse_joint_state(self, why: str, unless_known: bool = False) -> None:
        """Note why the newest joint state was ignored; a gripper's does not replace a reason that concerns the arm."""
        self.refused = why
        if not (unless_known and Source.JOINT_STATES in self._refusals):
            self._refusals[Source.JOINT_STATES] = why

    def lacks_joint_states(self, now_s: float) -> bool:
        """Return whether, while active, no joint state has told where the arm is within the timeout."""
        since_s = max(self._activated_s, self._accepted_s)
        return self.state is not State.INACTIVE and now_s - since_s > self._timeouts[Source.JOINT_STATES]

    def _is_settled(self, measured_s: float) -> bool:
        """Return whether one arm alone has spoken for long enough since `activate`, or was believed already."""
        if self.measured is not None or self.state is State.INACTIVE:
            return True
        last_s, self._settling_s = self._settling_s, measured_s
        if measured_s - last_s > self._timeouts[Source.JOINT_STATES]:
            self._steady_since_s = math.inf  # in a gap nobody is heard
        self._steady_since_s = min(self._steady_since_s, measured_s)
        if measured_s - self._steady_since_s >= self._settle_s:
            return True
        why = f"expected {self._settle_s:g} s of them without a jump or a gap first"
        self._refusals.setdefault(Source.JOINT_STATES, why)  # a jump before says more
        return False

    def _judge_jump(self, measured: Array, strays: int) -> Action:
        """Refuse a joint state that the arm cannot have got to: followed once, its pose would be the arm's."""
        self._steady_since_s = math.inf
        way = np.round(self._continuity.way(measured), 3).tolist()
        self._refuse_joint_state(f"expected one near the last, got a jump of {way} rad: is there a second publisher?")
        is_watched = self.state not in (State.INACTIVE, State.FAULT)
        count = self._continuity.intrusions  # a second publisher's may have the arm's own between them
        if count < _BELIEVED or self._accept_jumps or not is_watched:
            return Action.NOTHING
        how = "in a row" if strays >= count else "that go on from each other"
        reason = f"expected joint states to go on from the last, got {count} {how} after a jump of {way} rad"
        return self._stop((Source.ARM,), f"{reason}: other zeros, or a second publisher?")

    def _is_believed(self, strays: int) -> bool:
        """Return whether several alike are where the arm is now: nobody moves it, and it may be set elsewhere."""
        if self.measured is None or self.state in (State.INACTIVE, State.FAULT):
            return strays >= _BELIEVED
        return self._accept_jumps and self.state is not State.RUNNING and strays >= _BELIEVED

    def _is_beyond(self, measured: Array) -> bool:
        is_watched = self.state not in (State.INACTIVE, State.FAULT)
        return is_watched and bool(np.any((measured < self._lower) | (measured > self._upper)))

    def _stop_for_limits(self, measured: Array) -> Action:
        """Stop at the pose from before: this one is not the arm's."""
        beyond = (measured < self._lower) | (measured > self._upper)
        names = [name for name, is_beyond in zip(self._joint_names, beyond, strict=True) if is_beyond]
        angles = np.round(measured[beyond], 4).tolist()
        return self._stop(
            (Source.LIMITS,),
            f"expected joint states within the arm file's position limits, got {angles} rad for {names}: "
            "is it another arm, or are its zeros elsewhere?",
        )

    def receive_fault(self, source: Source, reason: str) -> Action:
        """Stop for what needs a person, unless inactive or stopped so already."""
        is_ignored = self.state in (State.INACTIVE, State.FAULT)
        return Action.NOTHING if is_ignored else self._stop((source,), reason)

    def joint_state_age_s(self, now_s: float) -> float:
        """Return how long ago `measured` was, s; infinite without one since `activate`."""
        return now_s - self._heard_s.get(Source.JOINT_STATES, -math.inf)

    def receive_command(self, now_s: float, command: ArrayLike, image_s: float, is_small: bool = False) -> Action:
        """Judge a policy's output; COMMAND means that it may be sent.

        Args:
            now_s: s.
            command: (J,) as the policy gave it.
            image_s: when `receive_image` was told of the image that it was made from. A command from an image
                of before `activate` is ignored.
            is_small: whether it asks for next to no motion.
        """
        if self._is_ignored(image_s):
            return Action.NOTHING
        if not np.isfinite(command).all():
            values = np.asarray(command, dtype=np.float64).tolist()
            return self.receive_failure(f"the policy's output is not finite: {values}", image_s)
        if self.state is State.FAULT:
            return Action.NOTHING
        self._heard_s[Source.COMMANDS] = image_s
        self._refusals.pop(Source.COMMANDS, None)
        self._strange_images = 0
        self._small_commands = self._small_commands + 1 if is_small else 0
        if self._late(now_s):
            return self.tick(now_s)
        if self._arrived_images and self._small_commands >= self._arrived_images:
            self.has_arrived = True
            return self._stop((), f"the last {self._small_commands} commands were small", State.ARRIVED)
        if self.has_arrived and is_small:  # held since
            return self._stop((), "the last command was small", State.ARRIVED)
        self.state, self.blocked_by, self.reason, self.has_arrived = State.RUNNING, (), "", False
        return Action.COMMAND

    def receive_strange_image(self, now_s: float, reason: str, image_s: float) -> Action:
        """Take note of an image unlike training, of which no command may be made: some in a row stop the arm.

        Args:
            now_s: s.
            reason: for a person.
            image_s: as for `receive_command`.
        """
        if self._is_ignored(image_s) or self.state is State.FAULT:
            return Action.NOTHING
        self._refusals.pop(Source.COMMANDS, None)
        if not self._strange_images or image_s - self._strange_s > self._timeouts[Source.IMAGES]:
            self._strange_since_s = image_s
        self._strange_images, self._strange_s = self._strange_images + 1, image_s
        self._strangeness = f"{self._strange_images} images in a row unlike training: {reason}"
        is_lasting = (
            image_s - self._strange_since_s >= self._guard_fault_s and self._strange_images >= self._guard_images
        )
        if self._guard_fault_s and is_lasting:
            return self._stop((Source.GUARD,), self._strangeness, State.FAULT)
        return self.tick(now_s)

    def refuse_command(self, why: str, image_s: float) -> None:
        """Note an image of which no command can be made, a damaged one: `reason` says so.

        Args:
            why: for a person.
            image_s: as for `receive_command`.
        """
        if not self._is_ignored(image_s):
            self._refusals[Source.COMMANDS] = why

    def receive_failure(self, reason: str, image_s: float) -> Action:
        """Take note that no command could be made of an image, which stops the arm as one that is not finite does.

        Args:
            reason: for a person.
            image_s: as for `receive_command`.
        """
        is_ignored = self._is_ignored(image_s) or self.state is State.FAULT
        return Action.NOTHING if is_ignored else self._stop((Source.OUTPUT,), reason)

    def tick(self, now_s: float) -> Action:
        """Look at the clock; to be called several times within the shortest timeout."""
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
        is_fault = not _FAULTS.isdisjoint(sources)
        self.state = state or (State.FAULT if is_fault else State.HELD)
        self.blocked_by, self.reason = sources, reason
        return Action.HOLD if was_running else Action.NOTHING

    def _late(self, now_s: float) -> dict[Source, str]:
        """Return who keeps the arm from running and a sentence on it; the policy only when it has all it needs."""
        inputs = (Source.JOINT_STATES, Source.IMAGES)
        late = {source: text for source in inputs if (text := self._lateness(source, now_s))}
        if self._is_held_by_person:
            late[Source.PERSON] = _BY_PERSON
        if self._strange_images >= self._guard_images:
            late[Source.GUARD] = self._strangeness
        if not late and (text := self._lateness(Source.COMMANDS, now_s)):
            late[Source.COMMANDS] = text
        return late

    def _lateness(self, source: Source, now_s: float) -> str:
        why = self._refusals.get(source)
        refusal = f"; the last was refused: {why}" if why else ""
        if source not in self._heard_s:
            return f"no {source.value} yet{refusal}"
        age_s, timeout_s = now_s - self._heard_s[source], self._timeouts[source]
        if age_s <= timeout_s:
            return ""
        if source is Source.COMMANDS and not why:
            return f"slow policy: its newest command's image is {age_s:.2f} s old, expected {timeout_s:g} s"
        return f"no {source.value} for {age_s:.2f} s, expected within {timeout_s:g} s{refusal}"
