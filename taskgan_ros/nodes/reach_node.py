"""`reach_node`: camera image and joint states in, the arm's motion out; a lifecycle node.

Only the ROS code is here. The logic between subscriptions and publishers is in `reach/`, which runs on recordings
too. Three threads: one receives images and joint states, one infers, the executor's does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from taskgan_ros.control.command_interfaces import VELOCITY_GROUP
from taskgan_ros.control.states import Action
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.core.errors import InputError
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.camera_side import CameraSide
from taskgan_ros.nodes.decision_status import DecisionStatus
from taskgan_ros.nodes.endpoints import Endpoints
from taskgan_ros.nodes.image_conversion import (
    CONVERTER,
    converted,
    image_message,
    raw_image,
    read_compressed_message,
)
from taskgan_ros.nodes.journal import Journal
from taskgan_ros.nodes.lifecycle import ForgivingLifecycleNode
from taskgan_ros.nodes.messages import both_clocks, camera_info, seconds
from taskgan_ros.nodes.newest import NewestOnly
from taskgan_ros.nodes.outputs import Output, make_output
from taskgan_ros.nodes.parameters import declare, read
from taskgan_ros.nodes.process import finish, run
from taskgan_ros.nodes.qos import ignored_overrides
from taskgan_ros.nodes.reach_diagnostics import ACTIVE, Links, ReachDiagnostics, Status
from taskgan_ros.nodes.receiver import ApartFromExecutor, Receiver
from taskgan_ros.reach.camera_image import CameraImage
from taskgan_ros.reach.parameters import ReachParameters
from taskgan_ros.reach.pipeline import Pipeline, load_pipeline
from taskgan_ros.reach.reacher import Decision, Reacher
from taskgan_ros.reach.verdict import Verdict, describe
from taskgan_ros.vision.images import RawImage

_WATCHDOG_S = 0.02  # a stop is noticed this much later than the timeouts say
_THREAD_S = 2.0  # to wait for the callback or the inference that is under way

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class ReachNode(ForgivingLifecycleNode):
    """Commands an arm's controller from camera images while it is active."""

    _pipeline: Pipeline  # all five are valid while there is a worker, from configure to cleanup
    _reacher: Reacher
    _output: Output
    _links: Links
    _side: CameraSide

    def __init__(self) -> None:
        """Declare the parameters; everything else comes with configure."""
        super().__init__("reach_node")
        self._state, self._fault = "unconfigured", ""
        self._is_held = False  # by a person; no transition ends this hold
        self._activated_s = time.monotonic()  # or started
        declare(self, ReachParameters, refuse=self._refuse_change, changed=self._change)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._worker: NewestOnly[CameraImage] | None = None
        self._receiver: Receiver | None = None
        self._endpoints = Endpoints(self)
        self._diagnostics = ReachDiagnostics(self)
        self._decisions, self._journal = DecisionStatus(self), Journal()
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
            self._reacher = Reacher(self._pipeline, self)
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
            f"{policy.card.image.width}x{policy.card.image.height} by {CONVERTER}, {', '.join(policy.providers)}"
            f"{self._pipeline.describe_chunk()}; {self._pipeline.describe_limits()}"
        )
        if self._pipeline.parameters.command_interface == VELOCITY_GROUP:
            self.get_logger().warning(
                "velocity_group: a controller of velocities holds the last one if this node dies, and the arm does not "
                "stop: use it only with motors or a driver that have a watchdog"
            )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let commands through as soon as everything is there."""
        super().on_activate(state)  # the publishers first
        self._state = ACTIVE
        self._journal = Journal()  # log known faults again
        self._output.start()  # before anything can be sent
        self._activated_s = time.monotonic()
        self._reacher.activate(self._activated_s)
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold, then send nothing more."""
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
        """Hold if active, then send nothing more: the process ends."""
        self._halt()
        self._stop_threads()

    def _listen(self) -> None:
        self._worker = NewestOnly(self._reacher.infer, "inference", self._reacher.fail)
        parameters, make = self._pipeline.parameters, self._endpoints
        self._output = make_output(self, make, self._pipeline, self._reacher.lock, self._steady)
        self._translations = make.advertise(Image, "~/translated_image", QoSProfile(depth=1))
        make.serve(SetBool, "~/hold", self._hold)
        apart = ApartFromExecutor()
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy[parameters.image_reliability.upper()])
        several = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)  # a gripper may publish there too
        if parameters.image_transport == "raw":
            images = make.subscribe(Image, topics.IMAGE, self._receive_image, newest, apart)
        else:  # beside the image's topic wherever that is remapped to, as image_transport has it
            topic = f"{self.resolve_topic_name(topics.IMAGE)}/compressed"
            images = make.subscribe(CompressedImage, topic, self._receive_compressed, newest, apart)
        if parameters.camera_info_topic and not parameters.camera_fov:
            information = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
            beside, topic = topics.camera_info_beside(images.topic_name), parameters.camera_info_topic
            topic = beside if topic == topics.AUTO else topic
            topics.check_name("camera_info_topic", topic)
            make.subscribe(CameraInfo, topic, self._receive_camera_info, information)
        else:
            self.get_logger().info(self._pipeline.view.describe())
        self._side = CameraSide(self, make, self._pipeline.drawn, parameters.camera_watch_s)
        joint_states = make.subscribe(JointState, topics.JOINT_STATES, self._receive_joint_state, several, apart)
        self._links = Links(images, joint_states, self._output.publisher, self._output.controllers, self._side)
        if ignored := ignored_overrides(self):
            self.get_logger().warning(f"ignored: {ignored}, which fit no topic of this node with a QoS to override")
        self._receiver = Receiver(self, [images, joint_states], self._reacher.watch, _WATCHDOG_S)

    def _release(self, state: str = "unconfigured") -> None:
        self._state = state
        self._stop_threads()
        if self._worker:
            self._worker = None
            self._pipeline.release()
        self._endpoints.destroy()

    def _stop_threads(self) -> None:
        receiver, self._receiver = self._receiver, None  # a signal may come during a transition
        if receiver:
            receiver.stop(_THREAD_S)
        if self._worker:
            self._worker.stop(_THREAD_S)

    def _halt(self) -> None:
        if not self._worker:
            return
        self._worker.clear()
        self._state = "inactive"
        self._output.finish(was_held=self._reacher.deactivate() is Action.HOLD)

    # What arrives, in the receiver's thread, but for camera_info and the service.

    def _receive_image(self, message: Image) -> None:
        try:
            checked = raw_image(message)
        except InputError as error:
            self._reacher.receive_bad_image(str(error), seconds(message.header.stamp), message.header)
            return
        self._hand_over(message.header, partial(converted, message, checked))

    def _receive_compressed(self, message: CompressedImage) -> None:
        """Leave decoding the newest to the worker: decoding all would delay joint states in this thread."""
        shrink = self._pipeline.view.shrink
        self._hand_over(message.header, partial(read_compressed_message, message, shrink))

    def _hand_over(self, header: Header, read: Callable[[], RawImage]) -> None:
        image = self._reacher.receive_image(seconds(header.stamp), read, header)
        if image and self._worker:
            self._pipeline.counters.dropped_images += self._worker.put(image)

    def _receive_joint_state(self, message: JointState) -> None:
        self._reacher.receive_joint_state(seconds(message.header.stamp), message.name, message.position)

    def _receive_camera_info(self, message: CameraInfo) -> None:
        """Rectify images by it from now on; most messages repeat the last."""
        try:
            camera = camera_info(message)
            if camera == self._pipeline.view.camera:
                return
            view = self._pipeline.view.seen_by(camera)
        except InputError as error:
            self.error(f"camera_info: {error}")
            return
        with self._reacher.lock:
            self._pipeline.view = view
        self.get_logger().info(view.describe())

    def _hold(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._is_held = request.data
        self._reacher.hold(request.data)
        response.message, response.success = describe(self._pipeline.supervisor), True
        return response

    # What the reacher calls, in both threads: see `Host`.

    def clocks(self) -> tuple[float, float]:
        """Return the steady clock and the ROS clock, s."""
        return both_clocks(self.get_clock())

    def wants_translated(self) -> bool:
        """Return whether somebody listens to translations."""
        return bool(self._translations.get_subscription_count() > 0)

    def send(self, _action: Action, trajectory: JointTrajectory, start_s: float) -> None:
        """Publish a trajectory, or let it be sampled."""
        self._output.send(trajectory, start_s)

    def report(self) -> None:
        """Report the supervisor's state where it has changed."""
        self._decisions.report(self._pipeline)

    def judge(self, verdict: Verdict) -> None:
        """Report what was decided of an image."""
        self._decisions.judge(verdict, self._pipeline)

    def show(self, decision: Decision) -> None:
        """Publish what else is made of an image."""
        if decision.translated is not None and self.wants_translated() and self._state == ACTIVE:
            self._translations.publish(image_message(decision.translated, decision.image.header))
        self._side.show(decision, describe(self._pipeline.supervisor))

    def hints(self) -> list[str]:
        """Return which controllers' settings may keep the arm from following."""
        return self._links.controllers.objections()

    def warn(self, text: str) -> None:
        """Log a warning, once while its cause lasts or a little more."""
        if self._journal.is_due(text, time.monotonic()):
            self.get_logger().warning(text)

    def error(self, text: str) -> None:
        """Log an error likewise."""
        if self._journal.is_due(text, time.monotonic()):
            self.get_logger().error(text)

    # What is reported.

    def _publish_diagnostics(self) -> None:
        loaded: tuple[Any, ...] = (self._pipeline, self._links) if self._worker else (None, None)
        status = Status(self._state, self._fault, self._activated_s, *loaded)
        if status.links and status.label == ACTIVE:
            status.links.controllers.query()
        lock = self._reacher.lock if status.pipeline else nullcontext()
        notices = self._diagnostics.log_notices(status, lock)
        self._decisions.log_deprecation()
        with lock:
            self._diagnostics.publish(status, notices)

    # Parameters.

    def _change(self) -> None:
        """Take over the parameters that may change while the node is configured."""
        if not self._worker:
            return
        with self._reacher.lock:
            self._pipeline.change(read(self, ReachParameters))

    def _refuse_change(self) -> str:
        if self._state == "unconfigured":
            return ""
        return f"expected the node to be unconfigured, got {self._state}: clean up first"


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT, SIGTERM or SIGHUP."""
    finish(run("reach_node", lambda _stop: ReachNode(), ReachNode.stop, args))


if __name__ == "__main__":
    main()
