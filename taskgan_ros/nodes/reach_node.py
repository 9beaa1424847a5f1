"""`reach_node`: camera image and joint states in, joint trajectory out; a lifecycle node.

Only what is ROS is here: the policy (`policy/`) makes a command of an image, and `control/` decides whether
it is sent, and as what. Two threads: the executor's receives, the worker's infers. One lock stands between
them; every decision, and everything that moves the arm, happens under it.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64, Header
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMessage

from taskgan_ros.control.states import Action, Fault, Source, State
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.controllers import Controllers
from taskgan_ros.nodes.endpoints import Endpoints
from taskgan_ros.nodes.image_input import CameraImage, OldImageError, StampCheck, read_message, read_rgb
from taskgan_ros.nodes.lifecycle import ForgivingLifecycleNode
from taskgan_ros.nodes.messages import both_clocks, image_message, seconds, trajectory_message
from taskgan_ros.nodes.newest import NewestOnly
from taskgan_ros.nodes.parameters import declare, read
from taskgan_ros.nodes.process import finish, run
from taskgan_ros.nodes.qos import ignored_overrides
from taskgan_ros.nodes.reach_diagnostics import ACTIVE, Links, ReachDiagnostics, StateReport, Status, describe
from taskgan_ros.nodes.reach_parameters import STOP, ReachParameters
from taskgan_ros.nodes.reach_pipeline import Pipeline, load_pipeline
from taskgan_ros.policy.guard import Scores
from taskgan_ros.policy.policy import Prediction
from taskgan_ros.vision.images import RawImage

_WATCHDOG_S = 0.02  # a stop is noticed this much later than the timeouts say
_REPEAT_S = 5.0  # between two log lines on the same fault
_ACKNOWLEDGED_S = 0.5  # to wait for the last hold to arrive
_WORKER_S = 2.0  # to wait for the inference that is under way

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class ReachNode(ForgivingLifecycleNode):
    """Commands a joint trajectory controller from camera images while it is active."""

    _pipeline: Pipeline  # both are of use while there is a worker, from configure to cleanup
    _links: Links

    def __init__(self) -> None:
        """Declare the parameters; everything else comes with configure."""
        super().__init__("reach_node")
        self._state, self._fault = "unconfigured", ""
        self._is_held = False  # by a person; no transition ends this hold
        self._activated_s = time.monotonic()  # or started
        self._stamps = StampCheck()
        declare(self, ReachParameters, refuse=self._refuse_change, changed=self._change)
        self._lock = threading.Lock()
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._worker: NewestOnly[CameraImage] | None = None
        self._endpoints = Endpoints(self)
        self._diagnostics = ReachDiagnostics(self)
        self._state_report = StateReport(self)
        self.create_timer(1.0, self._publish_diagnostics, clock=self._steady)
        self.get_logger().info(
            f"unconfigured: waiting for `ros2 lifecycle set {self.get_fully_qualified_name()} configure` and then "
            "`... activate`; reach.launch.py does both"
        )

    # Transitions. rclpy hides an exception in one of them, so what a user can cause is logged here.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the policy, then listen."""
        try:
            self._pipeline = load_pipeline(read(self, ReachParameters), self._is_held, self.get_logger().warning)
            self._listen()
        except Exception as error:  # InputError, and whatever else: rclpy would hide it
            self._fault = str(error)
            self.get_logger().error(f"cannot configure: {error}")
            self._release()
            return FAILURE
        self._state, self._fault = "inactive", ""
        policy, arm = self._pipeline.policy, self._pipeline.commander.config.arm
        self.get_logger().info(
            f"configured with bundle {policy.card.name}: {policy.card.task} of {arm.name}, images "
            f"{policy.card.image.width}x{policy.card.image.height}, {', '.join(policy.providers)}"
            f"{self._pipeline.describe_chunk()}"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let commands through as soon as everything is there."""
        super().on_activate(state)  # the publishers first
        with self._lock:
            self._state = ACTIVE
            self._activated_s = time.monotonic()
            self._pipeline.activate(self._activated_s)
            self._watchdog.reset()
            self._report()
        self._links.controllers.clear()
        self._links.controllers.query()
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold, then be silent."""
        self._halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the policy."""
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

    def _listen(self) -> None:
        self._worker = NewestOnly(self._infer, "inference", self._fail)
        parameters, make = self._pipeline.parameters, self._endpoints
        # Volatile: a transient-local publisher would replay an old motion to a controller that comes late.
        volatile = QoSProfile(depth=1, durability=DurabilityPolicy.VOLATILE)
        trajectories = make.advertise(JointTrajectoryMessage, topics.TRAJECTORY, volatile, is_overridable=True)
        controllers = make.keep(Controllers.clear, Controllers(self, trajectories.topic_name))
        self._translations = make.advertise(Image, "~/translated_image", QoSProfile(depth=1))
        self._latencies = make.advertise(Float64, "~/latency", QoSProfile(depth=10))
        make.serve(SetBool, "~/hold", self._hold)
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy[parameters.image_reliability.upper()])
        several = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)  # a gripper may be there too
        if parameters.image_transport == "raw":
            images = make.subscribe(Image, topics.IMAGE, self._receive_image, newest)
        else:  # beside the image's topic wherever that is remapped to, as image_transport has it
            topic = f"{self.resolve_topic_name(topics.IMAGE)}/compressed"
            images = make.subscribe(CompressedImage, topic, self._receive_compressed, newest)
        joint_states = make.subscribe(JointState, topics.JOINT_STATES, self._receive_joint_state, several)
        self._links = Links(images, joint_states, trajectories, controllers)
        self._watchdog = make.make_timer(_WATCHDOG_S, self._watch, self._steady)
        if ignored := ignored_overrides(self):
            self.get_logger().warning(f"ignored: {ignored}, which fit no topic of this node with a QoS to override")

    def _release(self, state: str = "unconfigured") -> None:
        self._state = state
        if self._worker:
            self._worker.stop(_WORKER_S)
            self._worker = None
            self._pipeline.release()
        self._endpoints.destroy()

    def _halt(self) -> None:
        if not self._worker:
            return
        with self._lock:
            self._worker.clear()
            self._watchdog.cancel()
            action = self._pipeline.supervisor.deactivate()
            self._act(action)
            self._state = "inactive"
            self._report()
        if action is Action.HOLD:  # the publisher may be gone soon, and the hold with it
            self._links.trajectories.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))

    # What arrives, in the executor's thread.

    def _receive_image(self, message: Image) -> None:
        now_s, ros_s = both_clocks(self.get_clock())
        self._pipeline.counters.images.tick(now_s)
        try:
            content = read_message(message)
        except InputError as error:
            self._pipeline.counters.bad_images += 1
            self._reject_image(str(error))
            return
        self._hand_over(message.header, content, now_s, ros_s)

    def _receive_compressed(self, message: CompressedImage) -> None:
        """Leave it to the worker to decode the newest: all of them would keep this thread from the joint states."""
        now_s, ros_s = both_clocks(self.get_clock())
        self._pipeline.counters.images.tick(now_s)
        self._hand_over(message.header, message, now_s, ros_s)

    def _hand_over(self, header: Header, content: RawImage | CompressedImage, arrived_s: float, ros_s: float) -> None:
        age_s = self._stamp_age_s(header, ros_s)
        try:
            if age_s is not None:
                self._stamps.check(seconds(header.stamp), age_s, self._pipeline.parameters.image_age_s)
        except InputError as error:
            self._pipeline.counters.old_images += isinstance(error, OldImageError)
            self._reject_image(str(error))
            return
        with self._lock:
            supervisor = self._pipeline.supervisor
            if supervisor.state is State.INACTIVE or not self._worker:
                return
            seen_s = arrived_s - max(age_s or 0.0, 0.0)
            if seen_s < self._activated_s:  # it was under way when that came
                supervisor.reject_image("image: expected one from after activate, got one with an older stamp")
                return
            supervisor.receive_image(arrived_s)
            measured = None if supervisor.joint_states.is_in_doubt else supervisor.joint_states.positions
            replaced = self._worker.put(CameraImage(header, content, arrived_s, seen_s, measured))
            self._pipeline.counters.dropped_images += replaced

    def _reject_image(self, why: str) -> None:
        self.get_logger().warning(f"ignored: {why}", throttle_duration_sec=_REPEAT_S)
        with self._lock:
            self._pipeline.supervisor.reject_image(why)

    def _receive_joint_state(self, message: JointState) -> None:
        now_s, ros_s = both_clocks(self.get_clock())
        pipeline, stamp_s = self._pipeline, seconds(message.header.stamp)
        pipeline.counters.joint_states.tick(now_s)
        age_s = max(self._stamp_age_s(message.header, ros_s) or 0.0, 0.0)
        with self._lock:
            supervisor = pipeline.supervisor
            self._act(supervisor.receive_joint_state(now_s, message.name, message.position, age_s, stamp_s))
            if not supervisor.joint_states.rejection:
                pipeline.arm_clock.receive(now_s, ros_s, stamp_s if pipeline.parameters.image_age_s else 0.0)
            elif supervisor.lacks_joint_states(now_s):
                text = f"ignored a joint state: {supervisor.joint_states.rejection}"
                self.get_logger().warning(text, throttle_duration_sec=_REPEAT_S)
            if problem := pipeline.tracking_problem(now_s):
                reason = "; ".join([problem, *self._links.controllers.missing()])
                self._act(supervisor.receive_fault(Fault(Source.ARM, reason)))
            self._report()

    def _stamp_age_s(self, header: Header, ros_s: float) -> float | None:
        """Return how old a message is by its stamp, at `ros_s`; None where stamps say nothing."""
        return _age_s(header, ros_s) if self._pipeline.parameters.image_age_s else None

    def _hold(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        with self._lock:
            self._is_held = request.data
            self._act(self._pipeline.supervisor.hold(request.data, time.monotonic()))
            self._report()
            response.message = describe(self._pipeline)
        response.success = True
        return response

    def _watch(self) -> None:
        with self._lock:
            self._act(self._pipeline.supervisor.tick(time.monotonic()))
            self._report()

    # What is made of it, in the worker's thread.

    def _infer(self, image: CameraImage) -> None:
        pipeline = self._pipeline
        fovs, card = (pipeline.parameters.camera_fov, pipeline.bundle_fov), pipeline.policy.card
        try:
            rgb = read_rgb(image.content, card.image.shape, *fovs, squeeze=card.crop == "none")
        except InputError as error:
            self.get_logger().warning(f"ignored: {error}", throttle_duration_sec=_REPEAT_S)
            with self._lock:
                pipeline.counters.bad_images += 1
                pipeline.supervisor.reject_command(str(error), image.arrived_s)
            return
        if image.measured is None and pipeline.policy.takes_joint_pos:  # nobody knows where the arm is
            return
        prediction = self._predict(rgb, image.measured)
        scores = pipeline.score(rgb, prediction, image.measured)
        with self._lock:
            self._decide(image, prediction.commands[0], scores)
            self._report()
            if prediction.translated is not None and self._is_watched() and self._state == ACTIVE:
                self._translations.publish(image_message(prediction.translated[0], image.header))

    def _predict(self, rgb: NDArray[np.uint8], measured: NDArray[np.float64] | None) -> Prediction:
        pipeline = self._pipeline
        wants_translated = pipeline.policy.translate and (pipeline.guard is not None or self._is_watched())
        started_s = time.monotonic()
        joint_pos = None if measured is None else measured[None]
        prediction = pipeline.policy.act(rgb[None], joint_pos, want_translated=wants_translated)
        with self._lock:
            pipeline.counters.inference.add(time.monotonic() - started_s)
        return prediction

    def _is_watched(self) -> bool:
        """Return whether somebody listens to translations."""
        return bool(self._translations.get_subscription_count() > 0)

    def _decide(self, image: CameraImage, command: NDArray[np.float64], scores: Scores | None) -> None:
        """Send a chunk of commands (K, J), or none of an out-of-distribution image."""
        pipeline, supervisor = self._pipeline, self._pipeline.supervisor
        if image.measured is None or supervisor.joint_states.is_in_doubt:  # nobody knows where the arm is
            return
        now_s = time.monotonic()
        pipeline.scores = scores
        if objection := pipeline.objection(scores):
            pipeline.counters.out_of_distribution_images += 1
            text = f"out-of-distribution image: {objection}"
            self.get_logger().warning(text, throttle_duration_sec=_REPEAT_S)
        if objection and pipeline.parameters.guard == STOP and np.isfinite(command).all():
            self._act(supervisor.receive_out_of_distribution(now_s, objection, image.arrived_s))
            return
        action = supervisor.receive_command(now_s, command, image.arrived_s, pipeline.is_small(command))
        self._act(action, command, pipeline.step_s, image.seen_s)
        if action is Action.COMMAND:
            self._note_latency(image, now_s)

    def _fail(self, image: CameraImage, error: Exception) -> None:
        """Hold, whatever has been raised on the way from an image to a command."""
        reason = f"the policy failed: {error}"
        self.get_logger().error(reason, throttle_duration_sec=_REPEAT_S)
        with self._lock:
            self._act(self._pipeline.supervisor.receive_failure(reason, image.arrived_s))
            self._report()

    # What is sent, under the lock.

    def _act(
        self,
        action: Action,
        command: NDArray[np.float64] | None = None,
        step_s: float | None = None,
        seen_s: float = math.inf,
    ) -> None:
        pipeline, joint_states = self._pipeline, self._pipeline.supervisor.joint_states
        if joint_states.positions is None:
            return
        now_s, ros_s = both_clocks(self.get_clock())
        measured, age_s = joint_states.positions, joint_states.age_s(now_s)
        if action is Action.COMMAND and command is not None and joint_states.initial is not None:
            passive = joint_states.initial
            trajectory = pipeline.commander.follow(now_s, command, measured, passive, age_s, step_s, seen_s)
            self._send(trajectory, now_s, ros_s)
            pipeline.counters.commands.tick(now_s)
        elif action is Action.HOLD:
            self._send(pipeline.commander.stop(now_s, measured, age_s), now_s, ros_s)
            pipeline.counters.holds += 1

    def _send(self, trajectory: JointTrajectory, now_s: float, ros_s: float) -> None:
        """Send what starts now, at `ros_s` of the ROS clock, or on arrival if the arm's clock may differ."""
        start_s = ros_s if self._pipeline.is_stamped(now_s, ros_s) else 0.0
        self._links.trajectories.publish(trajectory_message(trajectory, start_s))

    def _note_latency(self, image: CameraImage, now_s: float) -> None:
        counters = self._pipeline.counters
        counters.processing.add(now_s - image.arrived_s)
        age_s = _age_s(image.header, seconds(self.get_clock().now().to_msg()))
        if age_s is None:
            return
        counters.latency.add(age_s)
        if self._latencies.get_subscription_count() > 0:
            self._latencies.publish(Float64(data=age_s))

    # What is reported.

    def _report(self) -> None:
        self._state_report.report(self._pipeline)

    def _publish_diagnostics(self) -> None:
        loaded: tuple[Any, ...] = (self._pipeline, self._links) if self._worker else (None, None)
        status = Status(self._state, self._fault, self._activated_s, *loaded)
        if status.links and status.label == ACTIVE:
            status.links.controllers.query()
        notices = self._diagnostics.log_notices(status)
        with self._lock:
            self._diagnostics.publish(status, notices)

    # Parameters.

    def _change(self) -> None:
        """Take over the parameters that may change while the node is configured."""
        if not self._worker:
            return
        with self._lock:
            self._pipeline.change(read(self, ReachParameters))

    def _refuse_change(self) -> str:
        if self._state == "unconfigured":
            return ""
        return f"expected the node to be unconfigured, got {self._state}: clean up first"


def _age_s(header: Header, ros_s: float) -> float | None:
    """Return `ros_s` − stamp, None where it is not set; a negative stamp will do too."""
    stamp_s = seconds(header.stamp)
    return ros_s - stamp_s if stamp_s else None


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT, SIGTERM or SIGHUP."""
    finish(run("reach_node", lambda _stop: ReachNode(), ReachNode.stop, args))


if __name__ == "__main__":
    main()
