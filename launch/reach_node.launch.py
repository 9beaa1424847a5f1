"""reach_node, brought to active. Included by reach.launch.py, which declares the arguments."""

from collections.abc import Callable

from launch.actions import EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.events.lifecycle import ChangeState, StateTransition
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from launch import (  # type: ignore[attr-defined]  # mypy takes this folder for it
    Action,
    EventHandler,
    LaunchContext,
    LaunchDescription,
)
from taskgan_ros.nodes import topics
from taskgan_ros.nodes.launching import attempt, give_up, is_required, log_arguments, on_exit, time_parameters

Proceed = Callable[[LaunchContext], list[Action] | None]


def generate_launch_description() -> LaunchDescription:
    """Start reach_node, configure it and activate it, once; later transitions are the user's."""
    return LaunchDescription([attempt(start)])


def start(context: LaunchContext) -> list[Action]:
    """Return the node and its first two transitions; if one fails, or the node ends, so does the launch if required."""
    required = is_required(context)
    node = LifecycleNode(
        package="taskgan_ros",
        executable="reach_node",
        name="reach_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("reach_params"),
            *time_parameters(context),
            {
                "bundle": ParameterValue(LaunchConfiguration("bundle"), value_type=str),
                "joint_prefix": ParameterValue(LaunchConfiguration("prefix"), value_type=str),
                # The simulated arm is set to the next episode's start, which looks like a jump.
                "accept_jumps": ParameterValue(LaunchConfiguration("sim"), value_type=bool),
            },
        ],
        remappings=[
            (topics.IMAGE, LaunchConfiguration("image_topic")),
            (topics.JOINT_STATES, LaunchConfiguration("joint_states_topic")),
            (topics.TRAJECTORY, LaunchConfiguration("trajectory_topic")),
            (topics.COMMANDS, LaunchConfiguration("commands_topic")),
        ],
        # The enclave is of config/sros2/, and means nothing without security.
        ros_arguments=[*log_arguments(context), "--enclave", "/taskgan_ros/reach_node"],
        output="screen",
        on_exit=on_exit("reach_node", required),
    )

    def activate(context: LaunchContext) -> list[Action]:
        if context.locals.event.goal_state != "inactive":
            give_up("reach_node could not be configured: see its log above", required)
            return []
        return [_after(node, "activating", check), _change(node, Transition.TRANSITION_ACTIVATE)]

    def check(context: LaunchContext) -> None:
        if context.locals.event.goal_state != "active":
            give_up("reach_node could not be activated: see its log above", required)

    return [_after(node, "configuring", activate), node, _change(node, Transition.TRANSITION_CONFIGURE)]


def _after(node: LifecycleNode, passing: str, proceed: Proceed) -> RegisterEventHandler:
    """Return a handler of the node's next transition only; `passing` is the intermediate state of that transition.

    launch_ros 0.26, Jazzy's, has no autostart for lifecycle nodes.
    """

    def matches(event: object) -> bool:
        return isinstance(event, StateTransition) and event.action is node and event.goal_state != passing

    entities = [OpaqueFunction(function=proceed)]
    return RegisterEventHandler(EventHandler(matcher=matches, entities=entities, handle_once=True))


def _change(node: LifecycleNode, transition: int) -> EmitEvent:
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))
