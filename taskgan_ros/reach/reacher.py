"""The logic between subscriptions and publishers: `reach_node` runs it, and so does a replay of a recording."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.states import Action, Fault, Source, State
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.guard import Scores
from taskgan_ros.policy.policy import Prediction
from taskgan_ros.reach.camera_image import CameraImage
from taskgan_ros.reach.parameters import STOP
from taskgan_ros.reach.pipeline import Pipeline
from taskgan_ros.reach.stamps import OldImageError, StampCheck
from taskgan_ros.reach.verdict import OUTCOMES, Outcome, Verdict
from taskgan_ros.vision.images import RawImage

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Decision:
    """The decision on an image, and what it was based on.

    Attributes:
        image: see `CameraImage`.
        rgb: (H, W, 3) uint8, as the policy took it.
        command: (K, J) in the card's units, as the policy gave it.
        translated: (H, W, 3) uint8, F(image), where somebody wants it.
        scores: the guard's; None without one.
        objection: why it is out of distribution, or nothing.
        action: what was sent.
        latency_s: s from its stamp to that; None where nothing was sent, or for an image without a stamp.
    """

    image: CameraImage
    rgb: NDArray[np.uint8]
    command: Array
    translated: NDArray[np.uint8] | None
    scores: Scores | None
    objection: str = ""
    action: Action = Action.NOTHING
    latency_s: float | None = None


class Host(Protocol):
    """Whoever runs a `Reacher`: it has the clocks, and publishes.

    `send`, `report`, `judge`, `show` and `hints` run under the reacher's lock.
    """

    def clocks(self) -> tuple[float, float]:
        """Return one moment, now, on the steady clock and on the clock of stamps, s."""

    def send(self, action: Action, trajectory: JointTrajectory, start_s: float) -> None:
        """Publish a trajectory that starts at `start_s` on the clock of stamps, or at 0: on arrival."""

    def report(self) -> None:
        """Report the supervisor's state, which may have changed."""

    def judge(self, verdict: Verdict) -> None:
        """Report the decision on an image, whatever it is; not called while inactive."""

    def show(self, decision: Decision) -> None:
        """Show what the policy made of an image."""

    def wants_translated(self) -> bool:
        """Return whether somebody wants F(image)."""

    def hints(self) -> list[str]:
        """Return possible reasons why the arm does not follow its commands."""

    def warn(self, text: str) -> None:
        """Log a warning."""

    def error(self, text: str) -> None:
        """Log an error."""


class Reacher:
    """Handles incoming messages, and has its host send the result.

    Two threads may share it: one that receives, and one that infers. Every decision, and everything that moves the
    arm, happens under one lock.

    Attributes:
        pipeline: the policy, and what decides on its commands.
        lock: hold it to look at the pipeline from another thread.
        activated_s: s, on the steady clock, of the last `activate`.
    """

    def __init__(self, pipeline: Pipeline, host: Host) -> None:
        """Start inactive."""
        self.pipeline, self.lock = pipeline, threading.Lock()
        self.activated_s = -math.inf
        self._host, self._stamps = host, StampCheck()
        self._sent: JointTrajectory | None = None  # for the image that is decided on

    def activate(self, now_s: float) -> None:
        """Let commands through as soon as everything is there."""
        with self.lock:
            self.activated_s = now_s
            self.pipeline.activate(now_s)
            self._host.report()

    def deactivate(self) -> Action:
        """Hold if the arm was commanded, then send nothing more; return whether a hold was sent."""
        with self.lock:
            action = self.pipeline.supervisor.deactivate()
            self._act(action)
            self._host.report()
        return action

    def hold(self, held: bool) -> None:
        """Hold the arm for a person, or let it resume."""
        with self.lock:
            self._act(self.pipeline.supervisor.hold(held, self._host.clocks()[0]))
            self._host.report()

    def watch(self) -> None:
        """Compare the clock with the timeouts; to be called several times within the shortest."""
        with self.lock:
            self._act(self.pipeline.supervisor.tick(self._host.clocks()[0]))
            self._host.report()

    # What arrives.

    def receive_image(self, stamp_s: float, read: Callable[[], RawImage], header: Any = None) -> CameraImage | None:
        """Judge an image that has just arrived, by its stamp.

        Args:
            stamp_s: s; 0 where it is not set.
            read: see `CameraImage`.
            header: likewise.

        Returns:
            What is to be given to `infer` unless a newer one comes before; None for one that may not be used.
        """
        now_s, ros_s = self._host.clocks()
        self.pipeline.counters.images.tick(now_s)
        age_s = self._stamp_age_s(stamp_s, ros_s)
        try:
            if age_s is not None:
                self._stamps.check(stamp_s, age_s, self.pipeline.parameters.image_age_s)
        except InputError as error:
            self.pipeline.counters.old_images += isinstance(error, OldImageError)
            self._reject_image(str(error), stamp_s, header)
            return None
        with self.lock:
            supervisor = self.pipeline.supervisor
            if supervisor.state is State.INACTIVE:
                return None
            seen_s = now_s - max(age_s or 0.0, 0.0)
            if seen_s < self.activated_s:  # it was in transit at activation
                why = "image: expected one from after activate, got one with an older stamp"
                supervisor.reject_image(why)
                self._judge(Verdict(Outcome.REFUSED, stamp_s, header, why))
                return None
            supervisor.receive_image(now_s)
            measured = None if supervisor.joint_states.is_in_doubt else supervisor.joint_states.positions
        return CameraImage(read, stamp_s, now_s, seen_s, measured, header)

    def receive_bad_image(self, why: str, stamp_s: float = 0.0, header: Any = None) -> None:
        """Note an image that cannot be read at all; for the rest see `receive_image`."""
        self.pipeline.counters.images.tick(self._host.clocks()[0])
        self.pipeline.counters.bad_images += 1
        self._reject_image(why, stamp_s, header)

    def receive_joint_state(self, stamp_s: float, names: Sequence[str], positions: Sequence[float] | Array) -> None:
        """Take a joint state that has just arrived; it may be a fault.

        Args:
            stamp_s: s; 0 where it is not set.
            names: in any order; further joints than the arm's are ignored.
            positions: rad, one a name.
        """
        now_s, ros_s = self._host.clocks()
        pipeline = self.pipeline
        pipeline.counters.joint_states.tick(now_s)
        age_s = max(self._stamp_age_s(stamp_s, ros_s) or 0.0, 0.0)
        with self.lock:
            supervisor = pipeline.supervisor
            action = supervisor.receive_joint_state(now_s, names, positions, age_s, stamp_s)
            if supervisor.joint_states.was_set:  # its controller was reset too, so the old plan is void
                pipeline.commander.reset()
            self._act(action)
            if not supervisor.joint_states.rejection:
                pipeline.arm_clock.receive(now_s, ros_s, stamp_s if pipeline.parameters.image_age_s else 0.0)
            elif supervisor.lacks_joint_states(now_s):
                self._host.warn(f"ignored a joint state: {supervisor.joint_states.rejection}")
            if problem := pipeline.tracking_problem(now_s):
                reason = "; ".join([problem, *self._host.hints()])
                self._act(supervisor.receive_fault(Fault(Source.ARM, reason)))
            self._host.report()

    def _reject_image(self, why: str, stamp_s: float, header: Any) -> None:
        self._host.warn(f"ignored: {why}")
        with self.lock:
            self.pipeline.supervisor.reject_image(why)
            self._judge(Verdict(Outcome.REFUSED, stamp_s, header, why))

    def _judge(self, verdict: Verdict) -> None:
        if self.pipeline.supervisor.state is not State.INACTIVE:
            self._host.judge(verdict)

    def _stamp_age_s(self, stamp_s: float, ros_s: float) -> float | None:
        """Return how old a message is by its stamp, at `ros_s`; None where stamps are not used."""
        return ros_s - stamp_s if stamp_s and self.pipeline.parameters.image_age_s else None

    # From image to command.

    def infer(self, image: CameraImage) -> None:
        """Make a command from an image, and send it if that is allowed."""
        pipeline = self.pipeline
        try:
            rgb = pipeline.view.read(image.read())
        except InputError as error:
            self._host.warn(f"ignored: {error}")
            with self.lock:
                pipeline.counters.bad_images += 1
                pipeline.supervisor.reject_command(str(error), image.arrived_s)
                self._judge(Verdict(Outcome.REFUSED, image.stamp_s, image.header, str(error)))
            return
        if image.measured is None and pipeline.policy.takes_joint_pos:  # nobody knows where the arm is
            with self.lock:
                self._judge(Verdict(Outcome.NOTHING, image.stamp_s, image.header))
            return
        prediction = self._predict(rgb, image.measured)
        scores = pipeline.score(rgb, prediction, image.measured)
        translated = None if prediction.translated is None else prediction.translated[0]
        with self.lock:
            self._sent, command = None, prediction.commands[0]
            decision = Decision(image, rgb, command, translated, scores, *self._decide(image, command, scores))
            self._host.report()
            self._judge(self._verdict(decision))
            self._host.show(decision)

    def fail(self, image: CameraImage, error: Exception) -> None:
        """Hold after any exception on the way from an image to a command."""
        reason = f"the policy failed: {error}"
        self._host.error(reason)
        with self.lock:
            self._act(self.pipeline.supervisor.receive_failure(reason, image.arrived_s))
            self._host.report()
            self._judge(Verdict(Outcome.FAILED, image.stamp_s, image.header, reason))

    def _predict(self, rgb: NDArray[np.uint8], measured: Array | None) -> Prediction:
        pipeline = self.pipeline
        wants_translated = pipeline.policy.translate and (pipeline.guard is not None or self._host.wants_translated())
        started_s = time.monotonic()  # also in a replay: the networks take their own time
        joint_pos = None if measured is None else measured[None]
        prediction = pipeline.policy.act(rgb[None], joint_pos, want_translated=wants_translated)
        with self.lock:
            pipeline.counters.inference.add(time.monotonic() - started_s)
        return prediction

    def _decide(self, image: CameraImage, command: Array, scores: Scores | None) -> tuple[str, Action, float | None]:
        """Send a chunk of commands (K, J), or none of an out-of-distribution image; see `Decision` for what returns."""
        pipeline, supervisor = self.pipeline, self.pipeline.supervisor
        if image.measured is None or supervisor.joint_states.is_in_doubt:  # nobody knows where the arm is
            return "", Action.NOTHING, None
        now_s = self._host.clocks()[0]
        pipeline.scores = scores
        if objection := pipeline.objection(scores):
            pipeline.counters.out_of_distribution_images += 1
            self._host.warn(f"out-of-distribution image: {objection}")
        if objection and pipeline.parameters.guard == STOP and np.isfinite(command).all():
            action = supervisor.receive_out_of_distribution(now_s, objection, image.arrived_s)
            self._act(action)
            return objection, action, None
        action = supervisor.receive_command(now_s, command, image.arrived_s, pipeline.is_small(command))
        self._act(action, command, image.seen_s)
        return objection, action, self._note_latency(image, now_s) if action is Action.COMMAND else None

    def _verdict(self, decision: Decision) -> Verdict:
        is_objected = decision.objection and decision.action is not Action.COMMAND
        outcome = Outcome.OUT_OF_DISTRIBUTION if is_objected else OUTCOMES[decision.action]
        if not np.isfinite(decision.command).all():
            outcome = Outcome.FAILED
        first = np.atleast_2d(decision.command)[0]
        image, scores = decision.image, decision.scores
        return Verdict(
            outcome, image.stamp_s, image.header, decision.objection, decision.latency_s, scores, first, self._sent
        )

    def _note_latency(self, image: CameraImage, now_s: float) -> float | None:
        counters = self.pipeline.counters
        counters.processing.add(now_s - image.arrived_s)
        if not image.stamp_s:
            return None
        latency_s = self._host.clocks()[1] - image.stamp_s
        counters.latency.add(latency_s)
        return latency_s

    # What is sent, under the lock.

    def _act(self, action: Action, command: Array | None = None, seen_s: float = math.inf) -> None:
        pipeline, joint_states = self.pipeline, self.pipeline.supervisor.joint_states
        if joint_states.positions is None:
            return
        now_s, ros_s = self._host.clocks()
        measured, age_s = joint_states.positions, joint_states.age_s(now_s)
        if action is Action.COMMAND and command is not None and joint_states.initial is not None:
            passive = joint_states.initial
            trajectory = pipeline.commander.follow(now_s, command, measured, passive, age_s, pipeline.step_s, seen_s)
            self._send(action, trajectory, now_s, ros_s)
            pipeline.counters.commands.tick(now_s)
        elif action is Action.HOLD:
            self._send(action, pipeline.commander.stop(now_s, measured, age_s), now_s, ros_s)
            pipeline.counters.holds += 1

    def _send(self, action: Action, trajectory: JointTrajectory, now_s: float, ros_s: float) -> None:
        """Send what starts now, at `ros_s` of the clock of stamps, or on arrival if the arm's clock may differ."""
        self._sent = trajectory
        self._host.send(action, trajectory, ros_s if self.pipeline.is_stamped(now_s, ros_s) else 0.0)
