"""`reach_node`: camera image and joint states in, joint trajectory out; a lifecycle node.

Only what is ROS is here: the policy (`policy/`) makes a command of an image, and `control/` decides whether
it is sent, and as what. Two threads: the executor's receives, the worker's infers. One lock stands between
them; every decision, and everything that moves the arm, happens under it.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from numpy.typing import NDArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64, Header, String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMessage

from taskgan_ros.control.arm_clock import ArmClock
from taskgan_ros.control.commander import JTC, JointCommander
from taskgan_ros.control.fence import make_fence
from taskgan_ros.control.supervisor import Action, Source, State, Supervisor
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes.controllers import Controllers
from taskgan_ros.nodes.messages import (
    both_clocks,
    diagnostics_message,
    image_message,
    seconds,
    trajectory_message,
)
from taskgan_ros.nodes.newest import NewestOnly
from taskgan_ros.nodes.notices import (
    DISCOVERY_S,
    Notice,
    find_rivals,
    find_second_camera,
    find_stopped_clock,
    find_uneven,
)
from taskgan_ros.nodes.parameters import declare, read
from taskgan_ros.nodes.process import Stop, finish, run
from taskgan_ros.nodes.qos import find_problem, ignored_overrides, overriding
from taskgan_ros.nodes.reach_counters import Counters
from taskgan_ros.nodes.reach_parameters import OFF, STOP, WARN, ReachParameters
from taskgan_ros.policy.bundle import Bundle, BundleCard, load_bundle
from taskgan_ros.policy.guard import Guard, Scores
from taskgan_ros.policy.policy import Policy, Prediction
from taskgan_ros.vision.compressed import read_compressed
from taskgan_ros.vision.images import RawImage, read_image, zoom_for

# Relative, so that a namespace applies; remap them to a robot's own.
IMAGE_TOPIC: Final = "image_raw"
JOINT_STATES_TOPIC: Final = "joint_states"
TRAJECTORY_TOPIC: Final = "joint_trajectory"

_WATCHDOG_S = 0.02  # a stop is noticed this much later than the timeouts say
_REPEAT_S = 5.0  # between two log lines on the same fault
_SETTLE_S = 0.5  # of joint states after activate, for a second publisher to be heard too
_REPLAYED_S = 1.0  # an image so much older than the last, or less, is a replay; more is a clock that was set back
_ACKNOWLEDGED_S = 0.5  # to wait for the last hold to arrive
_WORKER_S = 2.0  # to wait for the inference that is under way

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


@dataclass(frozen=True)
class Frame:
    """An image on its way: its header, what is in it, and what was true when it arrived.

    Attributes:
        arrived_s: s, on the steady clock.
        seen_s: s, on that clock, when it was taken, as far as its stamp tells: then a chunk of commands begins.
        measured: (n,) rad, the newest joint state then; None before the first, and while it may be elsewhere.
    """

    header: Header
    content: RawImage | CompressedImage
    arrived_s: float
    seen_s: float
    measured: NDArray[np.float64] | None


class ReachNode(LifecycleNode):
    """Commands a joint trajectory controller from camera images while it is active."""

    def __init__(self) -> None:
        """Declare the parameters; everything else comes with configure."""
        super().__init__("reach_node")
        self._state, self._fault = "unconfigured", ""
        self._is_held = False  # by a person; no transition ends this hold
        self._scores: Scores | None = None
        self._activated_s = time.monotonic()  # or started
        self._arm_clock = ArmClock()
        self._logged_s: dict[str, float] = {}  # when each notice was logged, by its short text
        self._image_stamp_s = -math.inf
        declare(self, ReachParameters, refuse=self._refuse_change, changed=self._change)
        self._lock = threading.Lock()
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._worker: NewestOnly[Frame] | None = None
        self._entities: list[tuple[Any, Any]] = []  # (what destroys it, it)
        self._reported: tuple[State, tuple[Source, ...]] = (State.INACTIVE, ())
        self._counters = Counters(time.monotonic())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._states = self.create_publisher(String, "~/state", latched)
        self.create_timer(1.0, self._publish_diagnostics, clock=self._steady)
        self.get_logger().info(
            f"unconfigured: waiting for `ros2 lifecycle set {self.get_fully_qualified_name()} configure` and then "
            "`... activate`; reach.launch.py does both"
        )

    # Transitions. rclpy hides an exception in one of them, so what a user can cause is logged here.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the policy, then listen."""
        self._settings = read(self, ReachParameters)
        try:
            self._load()
            self._listen()
        except Exception as error:  # InputError, and whatever else: rclpy would hide it
            self._fault = str(error)
            self.get_logger().error(f"cannot configure: {error}")
            self._release()
            return FAILURE
        self._state, self._fault = "inactive", ""
        card, arm = self._policy.card, self._commander.arm
        self.get_logger().info(
            f"configured with bundle {card.name}: {card.task} of {arm.name}, images {card.image.width}x"
            f"{card.image.height}, {', '.join(self._policy.providers)}{self._describe_chunk(card)}"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let commands through as soon as everything is there."""
        super().on_activate(state)  # the publishers first
        with self._lock:
            self._counters = Counters(time.monotonic())
            self._state = "active"
            self._commander.reset()
            self._arm_clock = ArmClock()
            self._scores = None
            if self._guard:
                self._guard.forget()
            self._activated_s = time.monotonic()
            self._supervisor.activate(self._activated_s)
            self._watchdog.reset()
            self._report()
        self._controllers.forget()
        self._controllers.ask()
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold, then be silent."""
        self._halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the policy."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold if active, and end for good."""
        self._halt()
        self._release("finalized")
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Be unconfigured again, so that another configure may be tried."""
        self.get_logger().error(f"a transition from {state.label} failed")
        self._halt()
        self._release()
        return SUCCESS

    def stop(self) -> None:
        """Hold if active, then be silent: the process ends."""
        self._halt()
        if self._worker:
            self._worker.stop(_WORKER_S)

    def _load(self) -> None:
        wanted = self._settings
        bundle = load_bundle(wanted.bundle)
        self._policy = Policy(
            bundle,
            wanted.providers,
            wanted.threads or None,
            wanted.translate,
            tuple(filter(None, wanted.provider_options)),
            wanted.allow_fallback,
        )
        self._step_s = bundle.card.chunk.step_s if bundle.card.chunk else None
        self._warn_of_fallback()
        if wanted.translate and not self._policy.translate:
            self.get_logger().info(
                f"bundle {bundle.card.name} has no translator: its task model takes images as they are, and translate: "
                "true changes nothing"
            )
        self._guard = self._load_guard(bundle)
        arm = bundle.arm
        self._commander = JointCommander(
            arm,
            bundle.card.joint_names,
            task=bundle.card.task,
            mode=wanted.command_mode,
            horizon_s=wanted.horizon_s,
            lead_s=wanted.lead_s,
            all_joints=wanted.all_joints,
            margin_rad=wanted.margin_rad,
            max_step_rad=wanted.max_step_rad,
            speed_scale=wanted.speed_scale,
            fence=make_fence(arm, wanted.fence_m),
        )
        self._supervisor = Supervisor(
            arm.joint_names,
            image_timeout_s=wanted.image_timeout_s,
            joint_state_timeout_s=wanted.joint_state_timeout_s,
            command_timeout_s=wanted.command_timeout_s,
            arrived_images=wanted.arrived_images,
            guard_images=wanted.guard_images,
            guard_fault_s=wanted.guard_fault_s,
            lower=arm.lower - wanted.limit_tolerance_rad,
            upper=arm.upper + wanted.limit_tolerance_rad,
            max_velocity=arm.max_velocity,
            accept_jumps=wanted.accept_jumps,
            settle_s=_SETTLE_S,
            is_held=self._is_held,
        )
        self._bundle_fov = bundle.camera_fov if wanted.camera_fov else 0.0
        self._policy.warm_up()
        if self._guard:
            self._guard.warm_up()

    def _describe_chunk(self, card: BundleCard) -> str:
        if not card.chunk:
            return ""
        length, step_s, horizon_s = card.chunk.length, card.chunk.step_s, self._settings.horizon_s
        return f", chunks of {length} commands of {step_s:g} s, of which horizon_s executes {horizon_s:g} s"

    def _load_guard(self, bundle: Bundle) -> Guard | None:
        if self._settings.guard == OFF:
            return None
        if bundle.card.guard and not self._policy.translate:
            got = "no translator" if self._settings.translate else "false"
            self.get_logger().warning(
                f"guard: expected translate: true, got {got}: a guard looks at translations, so images unlike training "
                "go unnoticed; the parameter guard: off says that this is meant"
            )
            return None
        if bundle.card.guard is None:
            self.get_logger().warning(
                f"bundle {bundle.card.name}: expected a guard, got none: images unlike its training go unnoticed; "
                "`taskgan guard` adds one, and the parameter guard: off expects none"
            )
            return None
        return Guard(bundle)

    def _warn_of_fallback(self) -> None:
        if why := self._policy.fallen_back:
            asked, used = list(self._settings.providers), list(self._policy.providers)
            reasons = "; ".join(f"{name} did not start: {reason}" for name, reason in why.items())
            self.get_logger().warning(f"expected {asked}, got {used}, which allow_fallback allows; {reasons}")

    def _listen(self) -> None:
        self._worker = NewestOnly(self._infer, "inference", self._fail)
        # Volatile: a transient-local publisher would replay an old motion to a controller that comes late.
        volatile = QoSProfile(depth=1, durability=DurabilityPolicy.VOLATILE)
        options = overriding(self, self.resolve_topic_name(TRAJECTORY_TOPIC), "publisher")
        self._trajectories = self._advertise(JointTrajectoryMessage, TRAJECTORY_TOPIC, volatile, options)
        self._controllers = Controllers(self, self._trajectories.topic_name)
        self._translations = self._advertise(Image, "~/translated_image", QoSProfile(depth=1))
        self._latencies = self._advertise(Float64, "~/latency", QoSProfile(depth=10))
        self._keep(self.destroy_service, self.create_service(SetBool, "~/hold", self._hold))
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy[self._settings.image_reliability.upper()])
        several = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)  # a gripper may be there too
        if self._settings.image_transport == "raw":
            self._images = self._subscribe(Image, IMAGE_TOPIC, self._receive_image, newest)
        else:  # beside the image's topic wherever that is remapped to, as image_transport has it
            topic = f"{self.resolve_topic_name(IMAGE_TOPIC)}/compressed"
            self._images = self._subscribe(CompressedImage, topic, self._receive_compressed, newest)
        self._joint_states = self._subscribe(JointState, JOINT_STATES_TOPIC, self._receive_joint_state, several)
        timer = self.create_timer(_WATCHDOG_S, self._watch, clock=self._steady, autostart=False)
        self._watchdog = self._keep(self.destroy_timer, timer)
        if ignored := ignored_overrides(self):
            self.get_logger().warning(f"ignored: {ignored}, which fit no topic of this node with a QoS to override")

    def _advertise(self, kind: type, topic: str, qos: QoSProfile, options: QoSOverridingOptions | None = None) -> Any:
        publisher = self.create_lifecycle_publisher(kind, topic, qos, qos_overriding_options=options)
        return self._keep(self.destroy_lifecycle_publisher, publisher)

    def _subscribe(self, kind: type, topic: str, callback: Any, qos: QoSProfile) -> Any:
        options = overriding(self, self.resolve_topic_name(topic), "subscription")
        subscription = self.create_subscription(kind, topic, callback, qos, qos_overriding_options=options)
        return self._keep(self.destroy_subscription, subscription)

    def _keep(self, destroy: Any, entity: Any) -> Any:
        """Note at once how to get rid of an entity again: the next one may not come to be."""
        self._entities.append((destroy, entity))
        return entity

    def _release(self, state: str = "unconfigured") -> None:
        self._state = state
        if self._worker:
            self._worker.stop(_WORKER_S)
            self._worker = None
            del self._policy
            self._controllers.forget()
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities = []

    def _halt(self) -> None:
        if not self._worker:
            return
        with self._lock:
            self._worker.clear()
            self._watchdog.cancel()
            action = self._supervisor.deactivate()
            self._act(action)
            self._state = "inactive"
            self._report()
        if action is Action.HOLD:  # the publisher may be gone soon, and the hold with it
            self._trajectories.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))

    # What arrives, in the executor's thread.

    def _receive_image(self, message: Image) -> None:
        now_s = time.monotonic()
        self._counters.images.tick(now_s)
        big_endian = bool(message.is_bigendian)
        try:
            image = read_image(message.encoding, message.height, message.width, message.step, message.data, big_endian)
        except InputError as error:
            self._counters.bad_images += 1
            self._refuse_image(str(error))
            return
        self._hand_over(message, image, now_s)

    def _receive_compressed(self, message: CompressedImage) -> None:
        """Leave it to the worker to decode the newest: all of them would keep this thread from the joint states."""
        now_s = time.monotonic()
        self._counters.images.tick(now_s)
        self._hand_over(message, message, now_s)

    def _hand_over(
        self, message: Image | CompressedImage, content: RawImage | CompressedImage, arrived_s: float
    ) -> None:
        age_s = self._stamp_age_s(message)
        if objection := self._stamp_objection(message, age_s):
            self._refuse_image(f"image: expected a stamp {objection}")
            return
        with self._lock:
            if self._supervisor.state is State.INACTIVE or not self._worker:
                return
            if arrived_s - max(age_s or 0.0, 0.0) < self._activated_s:  # it was under way when that came
                self._supervisor.refuse_image("image: expected one from after activate, got one with an older stamp")
                return
            self._supervisor.receive_image(arrived_s)
            measured = None if self._supervisor.is_in_doubt else self._supervisor.measured
            frame = Frame(message.header, content, arrived_s, arrived_s - max(age_s or 0.0, 0.0), measured)
            self._counters.dropped_images += self._worker.put(frame)

    def _stamp_objection(self, message: Image | CompressedImage, age_s: float | None) -> str:
        """Return which stamp was expected in place of the image's, or nothing where that is of now and a new one."""
        if age_s is None:
            return ""
        stamp_s, limit_s = seconds(message.header.stamp), self._settings.image_age_s
        behind_s = self._image_stamp_s - stamp_s
        if behind_s == 0:
            return "of its own, got the one before again: does the camera stand still?"
        if abs(age_s) > limit_s:
            self._counters.old_images += 1
            age = f"{age_s:.3f} s old" if age_s > 0 else f"{-age_s:.3f} s in the future"
            limit = f"within {limit_s:g} s (image_age_s) of this node's clock"
            return f"{limit}, got one {age}: an old image, or the clocks of camera and node differ"
        if 0 < behind_s <= _REPLAYED_S:
            return f"of its own, got one {behind_s:.3f} s before the last: is there a second camera?"
        self._image_stamp_s = stamp_s
        return ""

    def _refuse_image(self, why: str) -> None:
        self.get_logger().warning(f"ignored: {why}", throttle_duration_sec=_REPEAT_S)
        with self._lock:
            self._supervisor.refuse_image(why)

    def _age_s(self, message: Image | CompressedImage | JointState | Frame) -> float | None:
        """Return now − stamp on the ROS clock, None where it is not set; a negative stamp will do too."""
        stamp_s = seconds(message.header.stamp)
        return seconds(self.get_clock().now().to_msg()) - stamp_s if stamp_s else None

    def _receive_joint_state(self, message: JointState) -> None:
        now_s, stamp_age_s = time.monotonic(), self._stamp_age_s(message)
        self._counters.joint_states.tick(now_s)
        age_s = max(stamp_age_s or 0.0, 0.0)
        with self._lock:
            supervisor, stamp_s = self._supervisor, seconds(message.header.stamp)
            self._act(supervisor.receive_joint_state(now_s, message.name, message.position, age_s, stamp_s))
            if not supervisor.refused:
                self._arm_clock.receive(*both_clocks(self.get_clock()), stamp_s if self._settings.image_age_s else 0.0)
            elif supervisor.lacks_joint_states(now_s):
                text = f"ignored a joint state: {supervisor.refused}"
                self.get_logger().warning(text, throttle_duration_sec=_REPEAT_S)
            self._act(self._check_tracking(now_s))
            self._report()

    def _stamp_age_s(self, message: Image | CompressedImage | JointState) -> float | None:
        """Return how old it is by its stamp; None where stamps say nothing."""
        return self._age_s(message) if self._settings.image_age_s else None

    def _check_tracking(self, now_s: float) -> Action:
        """Stop an arm that does not go where it is sent: it is blocked, or its joint states are frozen."""
        supervisor = self._supervisor
        if supervisor.state is not State.RUNNING or supervisor.measured is None:
            self._commander.reset_tracking()
            return Action.NOTHING
        error = self._commander.tracking_error(now_s, supervisor.measured, supervisor.joint_state_age_s(now_s))
        if error <= self._settings.follow_tolerance_rad:
            return Action.NOTHING
        reason = (
            f"expected the arm to go where it is sent, got {error:.3f} rad of difference within a second: is it "
            "blocked or slower than its arm file says, is its controller not running, or are its joint states frozen?"
        )
        return supervisor.receive_fault(Source.ARM, "; ".join([reason, *self._controllers.missing()]))

    def _hold(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        with self._lock:
            self._is_held = request.data
            self._act(self._supervisor.hold(request.data, time.monotonic()))
            self._report()
            response.message = self._say()
        response.success = True
        return response

    def _watch(self) -> None:
        with self._lock:
            self._act(self._supervisor.tick(time.monotonic()))
            self._report()

    # What is made of it, in the worker's thread.

    def _infer(self, frame: Frame) -> None:
        try:
            rgb = self._read(frame)
        except InputError as error:
            self.get_logger().warning(f"ignored: {error}", throttle_duration_sec=_REPEAT_S)
            with self._lock:
                self._counters.bad_images += 1
                self._supervisor.refuse_command(str(error), frame.arrived_s)
            return
        if frame.measured is None and self._policy.takes_joint_pos:  # nobody knows where the arm is
            return
        prediction = self._predict(rgb, frame.measured)
        scores = self._score(frame, rgb, prediction)
        with self._lock:
            self._decide(frame, prediction.commands[0], scores)
            self._report()
            if prediction.translated is not None and self._is_watched() and self._state == "active":
                self._translations.publish(image_message(prediction.translated[0], frame.header))

    def _read(self, frame: Frame) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) as the bundle was trained on it.

        Raises:
            InputError: a damaged image, or one that shows less than the bundle saw.
        """
        image, size = frame.content, self._policy.card.image
        if not isinstance(image, RawImage):
            image = read_compressed(image.format, image.data)
        zoom, bundle_size, squeeze = 1.0, size.shape, self._policy.card.crop == "none"
        if self._bundle_fov:
            own_size = image.pixels.shape[:2]
            shape = own_size if squeeze else bundle_size
            zoom = zoom_for(self._settings.camera_fov, own_size, self._bundle_fov, shape)
        return image.to_rgb(*bundle_size, zoom, squeeze)

    def _predict(self, rgb: NDArray[np.uint8], measured: NDArray[np.float64] | None) -> Prediction:
        wanted = self._policy.translate and (self._guard is not None or self._is_watched())
        started_s = time.monotonic()
        joint_pos = None if measured is None else measured[None]
        prediction = self._policy.act(rgb[None], joint_pos, want_translated=wanted)
        with self._lock:
            self._counters.inference.add(time.monotonic() - started_s)
        return prediction

    def _is_watched(self) -> bool:
        """Return whether somebody listens to translations."""
        return bool(self._translations.get_subscription_count() > 0)

    def _score(self, frame: Frame, rgb: NDArray[np.uint8], prediction: Prediction) -> Scores | None:
        if self._guard is None or frame.measured is None or prediction.translated is None:
            return None
        return self._guard.score(rgb, prediction.translated[0], frame.measured)

    def _objection(self, scores: Scores | None) -> str:
        return scores.objection(self._settings.guard_tolerance) if scores else ""

    def _decide(self, frame: Frame, command: NDArray[np.float64], scores: Scores | None) -> None:
        """Send a chunk of commands (K, J), or none of an image that is unlike training."""
        if frame.measured is None or self._supervisor.is_in_doubt:  # nobody knows where the arm is
            return
        now_s, settings = time.monotonic(), self._settings
        self._scores = scores
        if objection := self._objection(scores):
            self._counters.strange_images += 1
            text = f"image unlike training: {objection}"
            self.get_logger().warning(text, throttle_duration_sec=_REPEAT_S)
        if objection and settings.guard == STOP and np.isfinite(command).all():
            self._act(self._supervisor.receive_strange_image(now_s, objection, frame.arrived_s))
            return
        action = self._supervisor.receive_command(now_s, command, frame.arrived_s, self._is_small(command))
        self._act(action, command, frame.seen_s)
        if action is Action.COMMAND:
            self._note_latency(frame, now_s)

    def _is_small(self, command: NDArray[np.float64]) -> bool:
        """Return whether the command is an arrival's; one that has arrived needs twice the speed to go on."""
        measured = self._supervisor.measured
        if measured is None or not np.isfinite(command).all():
            return False
        share = 2.0 if self._supervisor.has_arrived else 1.0
        return self._commander.is_small(command, measured, share * self._settings.arrived_speed)

    def _fail(self, frame: Frame, error: Exception) -> None:
        """Hold, whatever has been raised on the way from an image to a command."""
        reason = f"the policy failed: {error}"
        self.get_logger().error(reason, throttle_duration_sec=_REPEAT_S)
        with self._lock:
            self._act(self._supervisor.receive_failure(reason, frame.arrived_s))
            self._report()

    # What is sent, under the lock.

    def _act(self, action: Action, command: NDArray[np.float64] | None = None, seen_s: float = math.inf) -> None:
        measured, parked = self._supervisor.measured, self._supervisor.parked
        if measured is None:
            return
        now_s, ros_s = both_clocks(self.get_clock())
        age_s = self._supervisor.joint_state_age_s(now_s)
        if action is Action.COMMAND and command is not None and parked is not None:
            trajectory = self._commander.follow(now_s, command, measured, parked, age_s, self._step_s, seen_s)
            self._send(trajectory, now_s, ros_s)
            self._counters.commands.tick(now_s)
        elif action is Action.HOLD:
            self._send(self._commander.stop(now_s, measured, age_s), now_s, ros_s)
            self._counters.holds += 1

    def _send(self, trajectory: JointTrajectory, now_s: float, ros_s: float) -> None:
        """Send what starts now, at `ros_s` of the ROS clock, or on arrival if the arm's clock may differ."""
        self._trajectories.publish(trajectory_message(trajectory, ros_s if self._is_stamped(now_s, ros_s) else 0.0))

    def _is_stamped(self, now_s: float, ros_s: float) -> bool:
        return self._wants_stamps and not self._arm_clock.objection(now_s, ros_s)

    @property
    def _wants_stamps(self) -> bool:
        return self._settings.stamp_trajectories and self._settings.command_mode == JTC

    def _note_latency(self, frame: Frame, now_s: float) -> None:
        self._counters.processing.add(now_s - frame.arrived_s)
        age_s = self._age_s(frame)
        if age_s is None:
            return
        self._counters.latency.add(age_s)
        if self._latencies.get_subscription_count() > 0:
            self._latencies.publish(Float64(data=age_s))

    # What is said.

    def _report(self) -> None:
        """Log a change of state; the reason's numbers change with every look, so they do not count."""
        supervisor = self._supervisor
        now = (supervisor.state, supervisor.blocked_by)
        if now == self._reported:
            return
        self._reported = now
        text = self._say()
        self._states.publish(String(data=text))
        if supervisor.state is State.FAULT:
            self.get_logger().error(f"{text}; deactivate and activate to go on")
        elif supervisor.state is State.HELD:
            self.get_logger().warning(text)
        else:
            self.get_logger().info(text)

    def _say(self) -> str:
        supervisor = self._supervisor
        return ": ".join(part for part in (supervisor.state.value, supervisor.reason) if part)

    def _publish_diagnostics(self) -> None:
        if self._state == "active":
            self._controllers.ask()
        notices = self._log_notices()
        with self._lock:
            level, text = self._summary()
            if notices:
                level, text = max(level, DiagnosticStatus.WARN), "; ".join([text, *notices])
            values = self._values() if self._worker else {}
        name = f"{self.get_fully_qualified_name().lstrip('/')}: reach"
        arm = self._commander.arm.name if self._worker else ""
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostics_message(stamp, name, arm, level, text, values))

    def _log_notices(self) -> list[str]:
        """Log notices in full, each every few seconds at most; return the short text of all."""
        notices, now_s = self._notices(), time.monotonic()
        due = [n for n in notices if n.text and now_s - self._logged_s.get(n.short, -math.inf) >= _REPEAT_S]
        if due:
            self.get_logger().warning("\n".join(notice.text for notice in due))
            self._logged_s |= {notice.short: now_s for notice in due}
        return [notice.short for notice in notices]

    def _notices(self) -> list[Notice]:
        found: list[Notice | None] = []
        if self._worker and (fallen_back := self._policy.fallen_back):
            found.append(Notice(f"{self._policy.providers[0]} in place of {', '.join(fallen_back)}"))
        if self._state == "active":
            found += self._notices_while_active()
        found.append(find_stopped_clock(self, time.monotonic() - self._activated_s))
        return [notice for notice in found if notice]

    def _notices_while_active(self) -> list[Notice | None]:
        counters, settings = self._counters, self._settings
        now_s, ros_s = both_clocks(self.get_clock())
        objection = self._objection(self._scores) if settings.guard == WARN else ""
        is_heard = self._supervisor.measured is not None
        found = [
            Notice(f"image unlike training: {objection}") if objection else None,
            find_rivals(self, self._trajectories),
            find_second_camera(self, self._images),
            find_uneven(self._arm_clock.objection(now_s, ros_s) if self._wants_stamps and is_heard else ""),
            *(Notice(text, text) for text in self._controllers.missing()),
        ]
        if now_s > self._activated_s + DISCOVERY_S:  # before that, others may only not be discovered yet
            found += [
                find_problem(self, self._images, is_silent=not counters.images.hz(now_s)),
                find_problem(self, self._joint_states, is_silent=not counters.joint_states.hz(now_s)),
                find_problem(self, self._trajectories),
            ]
        return found

    def _summary(self) -> tuple[bytes, str]:
        """Return level and message: what the node does, or why it does nothing."""
        if self._state != "active":
            level = DiagnosticStatus.ERROR if self._fault else DiagnosticStatus.OK
            return level, ": ".join(text for text in (self._state, self._fault) if text)
        levels = {State.FAULT: DiagnosticStatus.ERROR, State.WAITING: DiagnosticStatus.WARN}
        levels[State.HELD] = DiagnosticStatus.WARN
        return levels.get(self._supervisor.state, DiagnosticStatus.OK), self._say()

    def _values(self) -> dict[str, object]:
        scores = self._scores.values if self._scores else {}
        return {
            "state": self._supervisor.state.value if self._state == "active" else self._state,
            "reason": self._supervisor.reason,
            **self._counters.values(time.monotonic()),
            "joint_state_age_ms": 1e3 * self._supervisor.joint_state_age_s(time.monotonic()),
            "guard": self._settings.guard if self._guard else OFF,
            **{f"guard_{name}": value for name, value in scores.items()},
            "image_publishers": self.count_publishers(self._images.topic_name),
            "trajectories_start": "as stamped" if self._is_stamped(*both_clocks(self.get_clock())) else "on arrival",
            "trajectory_subscribers": self._trajectories.get_subscription_count(),
            "bundle": self._policy.card.name,
            "provider": self._policy.providers[0],
        }

    def _change(self) -> None:
        """Take over the parameters that may change while the node is configured."""
        if not self._worker:
            return
        with self._lock:
            self._settings = read(self, ReachParameters)
            self._commander.speed_scale = self._settings.speed_scale

    def _refuse_change(self) -> str:
        if self._state == "unconfigured":
            return ""
        return f"expected the node to be unconfigured, got {self._state}: clean up first"

    # rclpy 7 lets a transition that is not possible now, activate before configure say, raise through the
    # executor, which ends the process and leaves the caller waiting. The name is the one its mixin registers.
    def _LifecycleNodeMixin__on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        try:
            return super()._LifecycleNodeMixin__on_change_state(request, response)  # type: ignore[misc]
        except rclpy_implementation.RCLError:
            asked = request.transition.label or request.transition.id
            self.get_logger().error(f"expected a transition from {self._state}, got {asked}")
            response.success = False
            return response


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT, SIGTERM or SIGHUP."""

    def make(_stop: Stop) -> ReachNode:
        return ReachNode()

    finish(run("reach_node", make, ReachNode.stop, args))


if __name__ == "__main__":
    main()
