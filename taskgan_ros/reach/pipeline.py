"""From image to command: the objects made from a bundle and reach_node's parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.control.arm_clock import ArmClock
from taskgan_ros.control.command_interfaces import JOINT_TRAJECTORY
from taskgan_ros.control.commander import JointCommander
from taskgan_ros.control.commander_config import CommanderConfig
from taskgan_ros.control.fence import make_fence
from taskgan_ros.control.joint_state_filter import JointStateFilter, JointStateFilterConfig
from taskgan_ros.control.states import State
from taskgan_ros.control.supervisor import Supervisor, SupervisorConfig
from taskgan_ros.core.config import fill
from taskgan_ros.policy.bundle import Bundle, load_bundle
from taskgan_ros.policy.guard import Guard, Scores
from taskgan_ros.policy.policy import Policy, Prediction
from taskgan_ros.reach.camera_image import Framing, make_view
from taskgan_ros.reach.counters import Counters
from taskgan_ros.reach.drawn_arm import DrawnArm, load_drawn_arm
from taskgan_ros.reach.parameters import OFF, ReachParameters
from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.joint_names import rename, robot_names
from taskgan_ros.vision.camera_model import CameraModel

_SETTLE_S = 0.5  # of joint states after activate, for a second publisher to be heard too

Warn = Callable[[str], None]


@dataclass
class Pipeline:
    """One bundle's policy and guard, and what decides on their commands.

    Attributes:
        parameters: those that are live may change.
        view: how a camera's image becomes the policy's.
        drawn: the arm where the bundle's camera should see it; None where the bundle does not say.
        arm_clock: whether trajectories may carry a start time.
        counters: since `activate`.
        scores: of the newest image, None before the first.
    """

    parameters: ReachParameters
    policy: Policy
    guard: Guard | None
    commander: JointCommander
    supervisor: Supervisor
    view: Framing
    drawn: DrawnArm | None = None
    arm_clock: ArmClock = field(default_factory=ArmClock)
    counters: Counters = field(default_factory=lambda: Counters(0.0))
    scores: Scores | None = None

    @property
    def step_s(self) -> float | None:
        """How long each command of a chunk is for, s; None for single commands."""
        chunk = self.policy.card.chunk
        return chunk.step_s if chunk else None

    def describe_chunk(self) -> str:
        """Return what of the policy's chunks is executed, or nothing for single commands."""
        chunk = self.policy.card.chunk
        if not chunk:
            return ""
        executed = f"of which horizon_s executes {self.parameters.horizon_s:g} s"
        return f", chunks of {chunk.length} commands of {chunk.step_s:g} s, {executed}"

    def describe_limits(self) -> str:
        """Return how the arm is commanded, how fast, and where its tip may be."""
        config = self.commander.config
        box = config.fence
        fence = f"the tip within {box.lower.tolist()} and {box.upper.tolist()} m" if box else "no fence"
        return f"{config.command_interface}, {config.speed_scale:.0%} of the arm's top speed, {fence}"

    def activate(self, now_s: float) -> None:
        """Start afresh: nothing from before `now_s`, on the steady clock, counts."""
        self.counters, self.arm_clock, self.scores = Counters(now_s), ArmClock(), None
        self.commander.reset()
        if self.guard:
            self.guard.forget()
        self.supervisor.activate(now_s)

    def release(self) -> None:
        """Drop the networks; what decides stays, for an inference that may still be under way."""
        del self.policy
        self.guard = None

    def change(self, parameters: ReachParameters) -> None:
        """Take over the parameters that are live."""
        self.parameters = parameters
        self.commander.set_speed_scale(parameters.speed_scale)

    def score(
        self, rgb: NDArray[np.uint8], prediction: Prediction, measured: NDArray[np.float64] | None
    ) -> Scores | None:
        """Return the guard's scores of an image; None without a guard, F(image) or a joint state."""
        if self.guard is None or measured is None or prediction.translated is None:
            return None
        return self.guard.score(rgb, prediction.translated[0], measured)

    def objection(self, scores: Scores | None) -> str:
        """Return why an image is out of distribution, or nothing."""
        return scores.objection(self.parameters.guard_tolerance) if scores else ""

    def is_small(self, command: NDArray[np.float64]) -> bool:
        """Return whether the command is small enough for an arrival; to resume, it must be twice as fast."""
        measured = self.supervisor.joint_states.positions
        if measured is None or not np.isfinite(command).all():
            return False
        share = 2.0 if self.supervisor.has_arrived else 1.0
        return self.commander.is_small(command, measured, share * self.parameters.arrived_speed)

    def tracking_problem(self, now_s: float) -> str:
        """Return why the arm does not follow its commands: it is blocked, or its joint states are frozen."""
        joint_states = self.supervisor.joint_states
        if self.supervisor.state is not State.RUNNING or joint_states.positions is None:
            self.commander.reset_tracking()
            return ""
        error = self.commander.tracking_error(now_s, joint_states.positions, joint_states.age_s(now_s))
        if error <= self.parameters.follow_tolerance_rad:
            return ""
        return (
            f"expected the arm to follow its commands, got a tracking error of {error:.3f} rad within a second: is it "
            "blocked or slower than its arm file says, is its controller not running, or are its joint states frozen?"
        )

    @property
    def wants_stamps(self) -> bool:
        """Whether trajectories should carry their start time, if the clocks agree."""
        return self.parameters.stamp_trajectories and self.parameters.command_interface == JOINT_TRAJECTORY

    def is_stamped(self, now_s: float, ros_s: float) -> bool:
        """Return whether a trajectory that starts now, on both clocks, carries its start time."""
        return self.wants_stamps and not self.arm_clock.objection(now_s, ros_s)


def load_pipeline(
    parameters: ReachParameters, is_held: bool, warn: Warn, camera: CameraModel | None = None
) -> Pipeline:
    """Load the bundle, make everything that the parameters request, and run the networks once.

    Args:
        parameters: the node's.
        is_held: whether a person holds the arm already.
        warn: is called with what a user should know.
        camera: its calibration, where it is known already.

    Raises:
        InputError: a damaged bundle, or a parameter that does not fit it.
    """
    bundle = load_bundle(parameters.bundle)
    names = robot_names(bundle.arm, parameters.joint_prefix, parameters.joint_names)
    arm = rename(bundle.arm, names)
    policy = _load_policy(bundle, parameters, warn)
    pipeline = Pipeline(
        parameters,
        policy,
        _load_guard(bundle, parameters, policy.translate, warn),
        _make_commander(bundle, arm, tuple(names[name] for name in bundle.card.joint_names), parameters),
        _make_supervisor(arm, parameters, is_held),
        make_view(bundle, parameters.camera_fov, camera, bool(parameters.camera_info_topic)),
        load_drawn_arm(bundle),
    )
    pipeline.policy.warm_up()
    if pipeline.guard:
        pipeline.guard.warm_up()
    return pipeline


def _load_policy(bundle: Bundle, parameters: ReachParameters, warn: Warn) -> Policy:
    policy = Policy(
        bundle,
        parameters.providers,
        parameters.threads or None,
        parameters.translate,
        tuple(filter(None, parameters.provider_options)),
        parameters.allow_fallback,
    )
    if policy.fallen_back:
        requested, used = list(parameters.providers), list(policy.providers)
        reasons = "; ".join(f"{name} did not start: {reason}" for name, reason in policy.fallen_back.items())
        warn(f"expected {requested}, got {used}, which allow_fallback allows; {reasons}")
    if parameters.translate and not policy.translate:
        warn(
            f"bundle {bundle.card.name} has no translator: its task model takes images as they are, and translate: "
            "true changes nothing"
        )
    return policy


def _load_guard(bundle: Bundle, parameters: ReachParameters, does_translate: bool, warn: Warn) -> Guard | None:
    if parameters.guard == OFF:
        return None
    if bundle.card.guard and not does_translate:
        got = "no translator" if parameters.translate else "false"
        warn(
            f"guard: expected translate: true, got {got}: a guard looks at translations, so out-of-distribution images "
            "go unnoticed; set the parameter guard: off if that is intended"
        )
        return None
    if bundle.card.guard is None:
        warn(
            f"bundle {bundle.card.name}: expected a guard, got none: out-of-distribution images go unnoticed; "
            "add one with `taskgan guard`, or set the parameter guard: off"
        )
        return None
    return Guard(bundle)


def _make_commander(
    bundle: Bundle, arm: Arm, driven_joints: tuple[str, ...], parameters: ReachParameters
) -> JointCommander:
    config = fill(
        CommanderConfig,
        parameters,
        arm=arm,
        driven_joints=driven_joints,
        task=bundle.card.task,
        fence=make_fence(arm, parameters.fence_m),
    )
    return JointCommander(config)


def _make_supervisor(arm: Arm, parameters: ReachParameters, is_held: bool) -> Supervisor:
    config = fill(
        JointStateFilterConfig,
        parameters,
        joint_names=arm.joint_names,
        lower=arm.lower - parameters.limit_tolerance_rad,
        upper=arm.upper + parameters.limit_tolerance_rad,
        max_velocity=arm.max_velocity,
        is_continuous=arm.is_continuous,
        settle_s=_SETTLE_S,
    )
    return Supervisor(fill(SupervisorConfig, parameters), JointStateFilter(config), is_held)
