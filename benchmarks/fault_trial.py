"""One fault in one episode: run it, and record the outcome."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fault_bench import FaultBench, speed
from fault_injector import Motion
from fault_list import DRIFTS, GOES_ON, PERSON, STOPS_HARD, Fault

from taskgan_ros.control.command_interfaces import JOINT_TRAJECTORY
from taskgan_ros.demo.isolation import SessionError
from taskgan_ros.robot.arm import load_arm

ARM = load_arm("mico")
AT_REST = 0.01  # rad/s
STOPPED = ("held", "fault")  # the states that a fault leads to
NEVER = math.nan

_HALF_S, _GRID_S = 0.1, 0.02  # accelerations are means over twice the first: trajectories change speed each 0.05 s
_DIAGNOSTICS_S = 5.0  # they come once a second
_STOPPING_S = 0.4  # that a stop takes, where it is no message of its own
_SILENT_S = 0.5  # a fault that needs a person moves nothing for so long after its cause has gone
_JERKY = 1.3  # share of the acceleration limit; by the arm's own, uneven, times it is known to a tenth or so


@dataclass(frozen=True)
class Trial:
    """The outcome of a fault. Times are s of the steady clock, NEVER for what did not come.

    Attributes:
        cause_s, end_s: when the fault began and ended.
        stop_s: when the node sent its stop; where that is no message of its own, when it said that it stops.
        halted_s: when the arm stood.
        mended_s: when the fault was over, or a person started the node again.
        recovered_s: when the node commanded again.
        state: what the node reported, with its reason; "" for nothing.
        speed, acceleration: the largest, as a share of the arm file's limits.
        rejected: commands that the cell's controller did.
        failures: what was not as expected.
    """

    cause_s: float
    end_s: float
    stop_s: float
    halted_s: float
    mended_s: float
    recovered_s: float
    state: str
    speed: float
    acceleration: float
    rejected: int
    failures: tuple[str, ...]


def run_trial(bench: FaultBench, fault: Fault, before_s: float = 0.0, after_s: float = 0.3) -> Trial:
    """Let the arm move, break something, mend it, and see what comes of it.

    Args:
        bench: to break.
        fault: to break it with.
        before_s: how long the arm is left alone first, s.
        after_s: and in the end, s.

    Raises:
        SessionError: the arm does not move, or a node does not come back.
    """
    bench.use(fault.setup)
    before = bench.rejections
    bench.start_moving()
    bench.pause(before_s)
    cause_s = time.monotonic()
    with fault.inject(bench):
        bench.pause(fault.lasts_s)
        end_s = time.monotonic()
    mended_s, recovered_s = _recover(bench, fault, end_s)
    bench.pause(after_s)
    last_s = time.monotonic()
    bench.wait(
        "diagnostics", lambda: min(bench.log.sim[-1].time_s, bench.log.reach[-1].time_s) > last_s, _DIAGNOSTICS_S
    )
    logged = bench.reach.text
    bench.change("deactivate")
    state_s, state = _first(bench.log.states, cause_s, last_s)
    stop_s, silent_from_s = _stop(bench, cause_s, state_s)
    halted_s = _halt(bench.log.motions, cause_s, end_s)
    seen_from_s = end_s if fault.takes_arm else cause_s  # a new arm stands elsewhere
    motions = [m for m in bench.log.motions if seen_from_s < m.time_s < last_s]
    failures = [
        *_wrong_stops(fault, cause_s, stop_s, halted_s, state),
        *_wrong_words(fault, [s.text for s in bench.log.reach if s.time_s > cause_s], logged),
        *(["commanded meanwhile"] if any(silent_from_s < s < end_s for s in bench.log.commands_s) else []),
        *(["no recovery"] if fault.expected != GOES_ON and math.isnan(recovered_s) else []),
    ]
    rejected = max(bench.rejections - before, 0)
    failures += ["rejected commands"] if rejected else []
    acceleration = largest_acceleration(motions)
    failures += ["jerks"] if acceleration > _JERKY and fault.expected not in (STOPS_HARD, DRIFTS) else []
    return Trial(
        cause_s,
        end_s,
        stop_s,
        NEVER if fault.takes_arm or fault.expected == GOES_ON else halted_s,
        mended_s,
        recovered_s,
        state,
        largest_speed(motions),
        acceleration,
        rejected,
        tuple(failures),
    )


def largest_speed(motions: Sequence[Motion]) -> float:
    """Return the largest joint speed as a share of its limit."""
    return float(np.max(np.abs([motion.velocities for motion in motions]) / ARM.max_velocity))


def largest_acceleration(motions: Sequence[Motion]) -> float:
    """Return the largest joint acceleration as a share of its limit, from second differences of positions."""
    stamps_s, places = np.unique([motion.time_s for motion in motions], return_index=True)
    positions = np.unwrap(np.array([motions[k].positions for k in places]), axis=0)
    times_s = np.arange(stamps_s[0] + _HALF_S, stamps_s[-1] - _HALF_S, _GRID_S)
    before, now, after = (
        np.array([np.interp(times_s + shift_s, stamps_s, joint) for joint in positions.T])
        for shift_s in (-_HALF_S, 0.0, _HALF_S)
    )
    accelerations = (after - 2 * now + before) / _HALF_S**2
    return float(np.max(np.abs(accelerations) / ARM.max_acceleration[:, None]))


def _stop(bench: FaultBench, cause_s: float, state_s: float) -> tuple[float, float]:
    """Return when the node sent its stop, and from when on it shall send nothing that moves the arm."""
    if bench.command_interface != JOINT_TRAJECTORY:
        return state_s, state_s + _STOPPING_S
    stop_s = max((s for s in bench.log.stops_s if cause_s < s < state_s + 0.1), default=NEVER)
    return stop_s, stop_s


def _recover(bench: FaultBench, fault: Fault, end_s: float) -> tuple[float, float]:
    """Wait until the node commands again; return when it could, and when it did."""
    mended_s = end_s
    if fault.expected == GOES_ON:
        return end_s, NEVER
    if fault.recovers == PERSON:
        bench.pause(_SILENT_S)
        mended_s = time.monotonic()
        bench.change("deactivate")
        bench.change("activate")
    commands_s = bench.log.commands_s
    try:
        bench.wait("commands", lambda: commands_s and commands_s[-1] > mended_s)
    except SessionError:
        return mended_s, NEVER
    return mended_s, next(s for s in commands_s if s > mended_s)


def _first(states: Sequence[tuple[float, str]], from_s: float, to_s: float) -> tuple[float, str]:
    """Return the first state that is a stop, and when it was heard."""
    return next(((s, text) for s, text in states if from_s < s < to_s and text.startswith(STOPPED)), (NEVER, ""))


def _halt(motions: Sequence[Motion], cause_s: float, end_s: float) -> float:
    """Return since when the arm stands at the fault's end."""
    broken = [motion for motion in motions if cause_s < motion.time_s < end_s]
    moving = [k for k, motion in enumerate(broken) if speed(motion) >= AT_REST]
    since = moving[-1] + 1 if moving else 0
    return broken[since].time_s if since < len(broken) else NEVER


def _wrong_stops(fault: Fault, cause_s: float, stop_s: float, halted_s: float, state: str) -> list[str]:
    if fault.expected == GOES_ON:
        return [f"stopped: {state}"] if state else []
    wrong = []
    if fault.limit_s is not None and not stop_s - cause_s <= fault.limit_s:
        wrong.append(f"no stop within {fault.limit_s:g} s")
    if not fault.takes_arm and fault.expected != DRIFTS and math.isnan(halted_s):
        wrong.append("no halt")
    return wrong


def _wrong_words(fault: Fault, said: Sequence[str], logged: str) -> list[str]:
    places = {"diagnostics": said, "log": [logged]}
    return [f"not in the {place}" for place, texts in places.items() if not any(fault.says in text for text in texts)]
