"""The kinds of controllers that the arm may be commanded through, and what each takes."""

from __future__ import annotations

from typing import Final

JOINT_TRAJECTORY: Final = "joint_trajectory"  # ros2_control's JointTrajectoryController: positions over time
POSITION_GROUP: Final = "position_group"  # ros2_control's forward_command_controller for positions
VELOCITY_GROUP: Final = "velocity_group"  # the same for velocities
JOINT_JOG: Final = "joint_jog"  # MoveIt Servo: velocities by name, which it checks for collisions
KINOVA: Final = "kinova"  # Kinova's own driver: velocities over time

COMMAND_INTERFACES: Final = (JOINT_TRAJECTORY, POSITION_GROUP, VELOCITY_GROUP, JOINT_JOG, KINOVA)
STREAMED: Final = (POSITION_GROUP, VELOCITY_GROUP, JOINT_JOG)  # one value per joint at a time, at a fixed rate
INTEGRATED: Final = (VELOCITY_GROUP, JOINT_JOG, KINOVA)  # the controller integrates, from the arm's position
