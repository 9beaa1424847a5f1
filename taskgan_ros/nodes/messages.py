"""Conversion between ROS messages and the numpy types of the other packages."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo, JointState
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMessage
from trajectory_msgs.msg import JointTrajectoryPoint

from taskgan_ros.control.joint_command import JointCommand
from taskgan_ros.control.trajectory import JointTrajectory
from taskgan_ros.vision.camera_model import CameraModel, camera_model

Array = NDArray[np.float64]

_READS, _AT_ONCE_S = 3, 1e-4  # two clocks are read microseconds apart unless another thread runs in between


def camera_info(message: CameraInfo) -> CameraModel:
    """Return the camera that a camera_info describes.

    Raises:
        InputError: it is not calibrated, or its model is unknown.
    """
    names = ("k", "d", "p", "distortion_model", "height", "width")
    return camera_model({name: getattr(message, name) for name in names})


def camera_info_message(camera: CameraModel, header: Header) -> CameraInfo:
    """Return the message that describes a camera whose images are not rectified."""
    (fx, skew, cx), (_, fy, cy), _ = camera.matrix
    message = CameraInfo(header=header, height=camera.height, width=camera.width, distortion_model=camera.model)
    message.d = array("d", camera.distortion)
    message.k = [fx, skew, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [fx, skew, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def joint_state_message(stamp: Time, names: Sequence[str], positions: Array, velocities: Array) -> JointState:
    """Return (n,) rad and (n,) rad/s as a joint state."""
    message = JointState(header=Header(stamp=stamp), name=list(names))
    message.position, message.velocity = array("d", positions), array("d", velocities)
    return message


def trajectory_message(trajectory: JointTrajectory, start_s: float) -> JointTrajectoryMessage:
    """Return the trajectory as a message that starts at `start_s` on the ROS clock; at 0, on arrival."""
    message = JointTrajectoryMessage(header=Header(stamp=time_message(start_s)), joint_names=list(trajectory.names))
    for k, time_s in enumerate(trajectory.time_from_start_s.tolist()):
        point = JointTrajectoryPoint()  # filled in place: the constructor's keywords copy each value
        point.positions.extend(trajectory.positions[k].tolist())
        if trajectory.velocities is not None:
            point.velocities.extend(trajectory.velocities[k].tolist())
        point.time_from_start = duration_message(time_s)
        message.points.append(point)
    return message


def group_message(command: JointCommand) -> Float64MultiArray:
    """Return the values, which a forward_command_controller matches by position; it ignores the layout."""
    return Float64MultiArray(data=array("d", command.values))


def diagnostics_message(
    stamp: Time, name: str, hardware_id: str, level: bytes, text: str, values: Mapping[str, object]
) -> DiagnosticArray:
    """Return one status with `values` as its key-value pairs."""
    pairs = [KeyValue(key=key, value=_to_text(value)) for key, value in values.items()]
    status = DiagnosticStatus(level=level, name=name, message=text, hardware_id=hardware_id, values=pairs)
    return DiagnosticArray(header=Header(stamp=stamp), status=[status])


def seconds(message: Time | Duration) -> float:
    """Return a time or a duration in s."""
    return float(message.sec + message.nanosec * 1e-9)


def both_clocks(clock: Clock) -> tuple[float, float]:
    """Read the steady clock and `clock` at the same moment, in s; retry if another thread ran in between."""
    for _ in range(_READS):
        before_s, clock_s, after_s = time.monotonic(), clock.now().nanoseconds * 1e-9, time.monotonic()
        if after_s - before_s < _AT_ONCE_S:
            break
    return (before_s + after_s) / 2, clock_s


def time_message(seconds: float) -> Time:
    """Return `seconds` as a message, to the nanosecond."""
    whole, nanoseconds = divmod(round(seconds * 1e9), 1_000_000_000)
    return Time(sec=whole, nanosec=nanoseconds)


def duration_message(seconds: float) -> Duration:
    """Return `seconds` as a message, to the nanosecond."""
    whole, nanoseconds = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(sec=whole, nanosec=nanoseconds)


def _to_text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
