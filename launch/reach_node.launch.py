"""reach_node, brought to active. Included by reach.launch.py, which declares the arguments."""

from launch.actions import EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.events import matches_action
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from launch import Action, LaunchContext, LaunchDescription  # type: ignore[attr-defined]  # mypy takes this folder for it


def generate_launch_description() -> LaunchDescription:
    """Start reach_node, configure it, activate it; its end, or a transition that fails, ends the launch."""
    node = LifecycleNode(
        package="taskgan_ros",
        executable="reach_node",
        name="reach_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("reach_params"),
            {
                "bundle": ParameterValue(LaunchConfiguration("bundle"), value_type=str),
                "image_reliability": ParameterValue(LaunchConfiguration("image_reliability"), value_type=str),
                # The simulated arm is set to the next episode's start, which looks like a jump.
                "accept_jumps": ParameterValue(LaunchConfiguration("sim"), value_type=bool),
            },
        ],
        remappings=[
            ("image_raw", LaunchConfiguration("image_topic")),
            ("joint_states", LaunchConfiguration("joint_states_topic")),
            ("joint_trajectory", LaunchConfiguration("trajectory_topic")),
        ],
        ros_arguments=["--enclave", "/taskgan_ros/reach_node"],  # config/sros2/; means nothing without security
        output="screen",
        on_exit=end,
    )
    # launch_ros 0.26, Jazzy's, has no autostart for lifecycle nodes. `start_state` keeps a node inactive that somebody
    # has deactivated on purpose.
    activate = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="inactive",
        entities=[_change(node, Transition.TRANSITION_ACTIVATE)],
    )
    not_configured = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="unconfigured",
        entities=_end("reach_node could not be configured; it says why"),
    )
    not_activated = OnStateTransition(
        target_lifecycle_node=node,
        start_state="activating",
        goal_state="inactive",
        entities=_end("reach_node could not be activated; it says why"),
    )
    failed = OnStateTransition(
        target_lifecycle_node=node,
        goal_state="errorprocessing",
        entities=_end("a transition of reach_node failed; it says why"),
    )
    handlers = [RegisterEventHandler(event) for event in (activate, not_configured, not_activated, failed)]
    return LaunchDescription([*handlers, node, _change(node, Transition.TRANSITION_CONFIGURE)])


def _change(node: LifecycleNode, transition: int) -> EmitEvent:
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))


def end(event: ProcessExited, context: LaunchContext) -> None:
    """Raise RuntimeError, which ends the launch with exit code 1, when the node ends, unless all does so already."""
    if not context.is_shutdown:
        raise RuntimeError(f"reach_node has ended with exit code {event.returncode}")


def _end(reason: str) -> list[Action]:
    return [OpaqueFunction(function=_fail, args=[reason])]


def _fail(_context: LaunchContext, reason: str) -> None:
    raise RuntimeError(reason)  # the action Shutdown says no reason, and its exit code is 0
