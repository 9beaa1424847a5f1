"""Runs a recording through the node's own code, on the recording's clock: no ROS, no waiting, all decisions logged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.commander import JointCommander
from taskgan_ros.control.states import Action, Source, State
from taskgan_ros.control.trajectory import JointTrajectory, fastest
from taskgan_ros.reach.camera_image import CameraImage
from taskgan_ros.reach.camera_watch import CameraWatch
from taskgan_ros.reach.pipeline import Pipeline
from taskgan_ros.reach.reacher import Decision, Reacher
from taskgan_ros.reach.verdict import Verdict, summarise
from taskgan_ros.vision.images import RawImage
from taskgan_ros.vision.moved_camera import CameraMotion

Array = NDArray[np.float64]

_WATCH_S = 0.02  # as the node compares its clock with the timeouts
_RESET_S = 1.0  # after a fault, a person deactivates and activates
_BETWEEN_S = 1.0  # before each recording; so no stamp is 0, which would be none


@dataclass(frozen=True)
class JointStateMessage:
    """A joint state.

    Attributes:
        stamp_s: s; it arrives then.
        positions: (n,) rad, in the arm's order.
    """

    stamp_s: float
    positions: Array


@dataclass(frozen=True)
class ImageMessage:
    """An image.

    Attributes:
        stamp_s: s; it arrives then.
        read: returns its pixels, or raises an InputError.
        decided_s: s, when its command is made, on the clock of the stamps; None: after the replay's `inference_s`.
    """

    stamp_s: float
    read: Callable[[], RawImage]
    decided_s: float | None = None


Message = JointStateMessage | ImageMessage


@dataclass(frozen=True)
class Sent:
    """A trajectory that the node would have published.

    Attributes:
        time_s: s since the replay began.
        action: a command, or a hold.
        trajectory: what would have been sent.
        is_stamped: whether it would start at that time, and not on arrival.
    """

    time_s: float
    action: Action
    trajectory: JointTrajectory
    is_stamped: bool


@dataclass(frozen=True)
class Replayed:
    """What the node would have decided on an image.

    Attributes:
        stamp_s: s, the image's, as its message has it.
        time_s: s since the replay began, by its stamp.
        decided_s: s, likewise, when its command was made.
        measured: (n,) rad, where the arm was then; None where nobody knew.
        command: (K, J) as the policy gave it.
        allowed: (J,) rad/s, what the limits leave of it for an arm that stands where the recorded one was; None where
            there is no command.
        sent: what was sent; None where nothing was.
        scores: the guard's by name.
        objection: why the image is out of distribution, or nothing.
        state: of the node, after it.
        reason: what was decided and why, in words.
    """

    stamp_s: float
    time_s: float
    decided_s: float
    measured: Array | None
    command: Array
    allowed: Array | None
    sent: Sent | None
    scores: dict[str, float]
    objection: str
    state: State
    reason: str


@dataclass(frozen=True)
class Change:
    """When the node's state changed, to what, and why.

    Attributes:
        time_s: s since the replay began.
        blocked_by: what the arm waits for, or what holds it.
    """

    time_s: float
    state: State
    blocked_by: tuple[Source, ...]
    reason: str


@dataclass
class Log:
    """All that a replay noted; times are s since it began.

    Attributes:
        images: in order; those that were dropped or refused have none.
        times_s, positions: (T,) s and (T, n) rad, every joint state.
        warnings: and how often each was logged.
        lasts_s: of all recordings together, with the second between two of them.
        count: of messages, and of images that were refused or dropped.
        motions: of the camera, as estimated, and when.
        camera: how it seems to have moved last, or nothing.
    """

    images: list[Replayed] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    times_s: list[float] = field(default_factory=list)
    positions: list[Array] = field(default_factory=list)
    lasts_s: float = 0.0
    count: Counter[str] = field(default_factory=Counter)
    motions: list[tuple[float, CameraMotion]] = field(default_factory=list)
    camera: str = ""


class Replay:
    """The host of a `Reacher` whose clock is a recording's.

    It ticks as the node does, and its one worker takes the newest image when it is free. After a fault it is
    activated anew, as a person would.
    """

    def __init__(self, pipeline: Pipeline, inference_s: float) -> None:
        """Start before the first message.

        Args:
            pipeline: is not running yet.
            inference_s: s, from the time that an image is taken up to its command.
        """
        self.log = Log()
        self._pipeline, self._inference_s = pipeline, inference_s
        self._reacher = Reacher(pipeline, self)
        self._now_s, self._offset_s = 0.0, 0.0  # the replay's clock, and what the recording's is ahead of it
        self._tick_s = self._done_s = math.inf
        self._busy: CameraImage | None = None
        self._waiting: tuple[CameraImage, float | None] | None = None
        self._newest: Sent | None = None
        self._fault_s, self._reason = math.inf, ""
        period_s = pipeline.parameters.camera_watch_s
        self._watch = CameraWatch(pipeline.drawn, period_s) if pipeline.drawn and period_s >= 0 else None

    def run(self, messages: Iterable[Message]) -> Log:
        """Replay one recording's messages, in order of their stamps, and return what was noted so far.

        Another recording may follow: the node is activated anew for it.
        """
        is_started = False
        for message in messages:
            if not is_started:
                self._start(message.stamp_s)
                is_started = True
            self._advance(max(message.stamp_s - self._offset_s, self._now_s))
            if isinstance(message, ImageMessage):
                self._receive_image(message)
            else:
                self._receive_joint_state(message)
        if is_started:
            self._end()
        return self.log

    # What happens when.

    def _start(self, stamp_s: float) -> None:
        self._now_s += _BETWEEN_S
        self._offset_s = stamp_s - self._now_s
        self._tick_s, self._fault_s = self._now_s + _WATCH_S, math.inf
        self._reacher.activate(self._now_s)

    def _end(self) -> None:
        self.log.lasts_s = self._time(self._now_s)
        while self._busy:
            self._advance(self._done_s)
        self._tick_s = math.inf
        self._reacher.deactivate()

    def _receive_image(self, message: ImageMessage) -> None:
        self.log.count["images"] += 1
        image = self._reacher.receive_image(message.stamp_s - self._offset_s, message.read)
        if image is None:
            self.log.count["refused images"] += 1
            return
        decided_s = None if message.decided_s is None else message.decided_s - self._offset_s
        if self._busy is None:
            self._take_up(image, decided_s)
            return
        self.log.count["dropped images"] += self._waiting is not None
        self._waiting = image, decided_s

    def _receive_joint_state(self, message: JointStateMessage) -> None:
        self.log.count["joint states"] += 1
        self.log.times_s.append(self._time(message.stamp_s - self._offset_s))
        self.log.positions.append(message.positions)
        names = self._pipeline.commander.config.arm.joint_names
        self._reacher.receive_joint_state(message.stamp_s - self._offset_s, names, message.positions)

    def _take_up(self, image: CameraImage, decided_s: float | None) -> None:
        self._busy = image
        self._done_s = self._now_s + self._inference_s if decided_s is None else max(decided_s, self._now_s)

    def _advance(self, to_s: float) -> None:
        """Advance the clock, and run what is due before that time."""
        while (due_s := min(self._tick_s, self._done_s)) <= to_s:
            self._now_s = due_s
            if due_s == self._done_s:
                self._finish()
            else:
                self._tick()
        self._now_s = to_s

    def _finish(self) -> None:
        image, self._busy, self._done_s = self._busy, None, math.inf
        assert image is not None
        try:
            self._reacher.infer(image)
        except Exception as error:  # as the node's worker does: whatever it is, the arm is held
            self._reacher.fail(image, error)
        if self._waiting:
            waiting, self._waiting = self._waiting, None
            self._take_up(*waiting)

    def _tick(self) -> None:
        self._tick_s += _WATCH_S
        self._reacher.watch()
        if self._now_s - self._fault_s >= _RESET_S:
            self._fault_s = math.inf
            self._reacher.deactivate()
            self._reacher.activate(self._now_s)

    def _time(self, clock_s: float) -> float:
        """Return s since the replay began."""
        return clock_s - _BETWEEN_S

    # What the reacher calls: see `Host`.

    def clocks(self) -> tuple[float, float]:
        """Return the replay's clock twice: the stamps are its own."""
        return self._now_s, self._now_s

    def send(self, action: Action, trajectory: JointTrajectory, start_s: float) -> None:
        """Note a trajectory."""
        self._newest = Sent(self._time(self._now_s), action, trajectory, start_s > 0)
        self.log.sent.append(self._newest)

    def report(self) -> None:
        """Note the state where it has changed."""
        supervisor = self._pipeline.supervisor
        last = self.log.changes[-1] if self.log.changes else None
        if last and (last.state, last.blocked_by) == (supervisor.state, supervisor.blocked_by):
            return
        if supervisor.state is State.FAULT:
            self._fault_s = self._now_s
        now_s = self._time(self._now_s)
        self.log.changes.append(Change(now_s, supervisor.state, supervisor.blocked_by, supervisor.reason))

    def judge(self, verdict: Verdict) -> None:
        """Keep the decision on an image, in words; `show` follows for one that the policy took."""
        self._reason = summarise(verdict, self._pipeline.supervisor)

    def show(self, decision: Decision) -> None:
        """Note what became of an image."""
        self._watch_camera(decision)
        sent = self._newest if decision.action is Action.COMMAND else None
        self.log.images.append(
            Replayed(
                decision.image.stamp_s + self._offset_s,
                self._time(decision.image.stamp_s),
                self._time(self._now_s),
                decision.image.measured,
                decision.command,
                self._allowed(decision),
                sent,
                dict(decision.scores.values) if decision.scores else {},
                decision.objection,
                self._pipeline.supervisor.state,
                self._reason,
            )
        )

    def _watch_camera(self, decision: Decision) -> None:
        """Do at once what the node does in the background."""
        if not self._watch:
            return
        is_objected = bool(decision.objection)
        samples = self._watch.note(self._now_s, decision.rgb, decision.image.measured, is_objected)
        if not samples:
            return
        motion = self._watch.arm.motion([each.rgb for each in samples], [each.joint_pos for each in samples])
        self._watch.take(motion)
        self.log.motions.append((self._time(self._now_s), motion))
        self.log.camera = self._watch.sentence or self.log.camera

    def wants_translated(self) -> bool:
        """Nobody looks at F(image)."""
        return False

    def hints(self) -> list[str]:
        """Nothing is known of the recorded arm's controllers."""
        return []

    def warn(self, text: str) -> None:
        """Count a warning; numbers in it change with every image."""
        self.log.warnings[text.split("(")[0].strip()] += 1

    def error(self, text: str) -> None:
        """Count an error."""
        self.log.warnings[text] += 1

    def _allowed(self, decision: Decision) -> Array | None:
        measured, config = decision.image.measured, self._pipeline.commander.config
        if measured is None or not np.isfinite(decision.command).all():
            return None
        commander = JointCommander(config)
        trajectory = commander.follow(0.0, decision.command, measured, measured, step_s=self._pipeline.step_s)
        return fastest(trajectory, config.driven_joints)
