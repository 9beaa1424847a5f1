from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from taskgan_ros.control.command_interfaces import JOINT_JOG, POSITION_GROUP, VELOCITY_GROUP
from taskgan_ros.control.commander import JointCommander
from taskgan_ros.control.commander_config import VELOCITIES, CommanderConfig
from taskgan_ros.control.joint_command import JointCommand
from taskgan_ros.control.sampler import MotionSampler
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import load_arm

Array = NDArray[np.float64]

ARM = load_arm("mico")
HOME = np.array(ARM.home)
DRIVEN = (ARM.joint_names[2], ARM.joint_names[0])
CONFIG = CommanderConfig(
    arm=ARM, driven_joints=DRIVEN, task=VELOCITIES, command_interface=POSITION_GROUP, horizon_s=0.2, lead_s=0.02,
    all_joints=True, margin_rad=0.02, max_step_rad=0.5, speed_scale=1.0, fence=None,
)  # fmt: skip
PERIOD_S = 0.01
REST_S = 1.5  # after the last command: horizon, stop and what is repeated

commands = st.lists(
    st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.02, 0.3)) | st.just(None), min_size=1, max_size=6
)
late = st.lists(st.floats(0.0, 0.1), min_size=1, max_size=20)  # s, by which samples come late, over and over


class Stream:
    """A commander that is sampled, and an arm that goes where it is sent at once."""

    def __init__(self, interface: str, late_s: list[float] | None = None, **changes: Any) -> None:
        self.config = dataclasses.replace(CONFIG, command_interface=interface, **changes)
        self.commander = JointCommander(self.config)
        self.sampler = MotionSampler(self.commander, PERIOD_S)
        self.now_s, self.pose = 100.0, HOME.copy()
        self.times, self.values, self.silent = [], [], 0  # type: ignore[var-annotated]
        self._late_s, self._ticks = late_s or [0.0], 0

    def command(self, velocities: tuple[float, float] | None) -> None:
        if velocities is None:
            self.commander.stop(self.now_s, self.pose)
        else:
            self.commander.follow(self.now_s, velocities, self.pose, HOME)

    def run(self, for_s: float) -> None:
        end_s = self.now_s + for_s
        while self.now_s < end_s:
            sample = self.sampler.sample(self.now_s)
            step_s = PERIOD_S + self._late_s[self._ticks % len(self._late_s)]
            self._ticks += 1
            if sample is None:
                self.silent += 1
            else:
                self.silent = 0
                self.times.append(self.now_s)
                self.values.append(sample.values)
                index = [ARM.joint_names.index(name) for name in sample.names]
                is_position = self.config.command_interface == POSITION_GROUP
                self.pose = self.pose.copy()
                self.pose[index] = sample.values if is_position else self.pose[index] + sample.values * step_s
            self.now_s += step_s


def played(stream: Stream, sent: list[tuple[float, float, float] | None]) -> Stream:
    for item in sent:
        stream.command(item and item[:2])
        stream.run(item[2] if item else 0.05)
    stream.run(REST_S)
    return stream


@settings(max_examples=60)
@given(commands, late)
def test_positions_keep_every_limit_and_end_holding(sent: Any, late_s: list[float]) -> None:
    stream = played(Stream(POSITION_GROUP, late_s), sent)
    values, times = np.array(stream.values), np.array(stream.times)
    low, high = np.minimum(stream.config.lower, HOME) - 1e-9, np.maximum(stream.config.upper, HOME) + 1e-9
    assert np.all((low <= values) & (values <= high))
    steps_s = np.diff(times)[:, None]
    assert np.all(np.abs(np.diff(values, axis=0)) <= ARM.max_velocity * steps_s + 1e-9)
    assert stream.silent > 0
    assert stream.sampler.is_at_rest(stream.now_s)
    np.testing.assert_array_equal(values[-1], values[-2])


@settings(max_examples=60)
@given(commands, late, st.sampled_from([VELOCITY_GROUP, JOINT_JOG]))
def test_velocities_keep_every_limit_and_end_in_zeros(sent: Any, late_s: list[float], interface: str) -> None:
    stream = played(Stream(interface, late_s), sent)
    values = np.array(stream.values)
    assert np.all(np.abs(values) <= ARM.max_velocity + 1e-9)
    assert not values[-2:].any()
    assert stream.silent > 0
    assert stream.sampler.is_at_rest(stream.now_s)


@settings(max_examples=40)
@given(st.floats(0.05, 0.6), st.integers(1, 5), st.floats(10, 250))
def test_a_motion_one_way_is_sampled_one_way_and_held_velocities_go_as_far(
    speed: float, count: int, rate_hz: float
) -> None:
    ends = []
    for interface in (POSITION_GROUP, VELOCITY_GROUP):
        late_s = [max(1 / rate_hz - PERIOD_S, 0.0)]
        stream = played(Stream(interface, late_s), [(0.0, speed, 0.1)] * count)
        first = np.array(stream.values)[:, 0]
        assert np.all(np.diff(first) >= -1e-9) if interface == POSITION_GROUP else np.all(first >= -1e-9)
        ends.append(stream.pose[0])
    assert ends[0] > HOME[0]
    if rate_hz >= 100:
        assert ends[0] == pytest.approx(ends[1], abs=0.03)  # a velocity takes effect at once, a position after lead_s


def test_speed_changes_as_evenly_as_in_a_trajectory() -> None:
    stream = Stream(POSITION_GROUP)
    for _ in range(10):
        stream.command((0.2, 0.4))
        stream.run(0.05)
    speeds = np.diff(np.array(stream.values), axis=0) / PERIOD_S
    accelerations = np.diff(speeds, axis=0) / PERIOD_S
    assert np.all(np.abs(accelerations) <= ARM.max_acceleration * 1.01)
    assert speeds[-1][0] == pytest.approx(0.4)


def test_calls_at_uneven_times_make_even_positions() -> None:
    stream = Stream(POSITION_GROUP, horizon_s=1.0)
    stream.command((0.0, 0.4))
    late_s = np.random.default_rng(0).uniform(0.0, 0.6 * PERIOD_S, 80)
    sampled = [stream.sampler.sample(100.0 + PERIOD_S * k + late_s[k]) for k in range(80)]
    first = np.array([sample.values[0] for sample in sampled if sample])
    np.testing.assert_allclose(np.diff(first)[40:], 0.4 * PERIOD_S, rtol=1e-6)


def test_after_a_late_sample_positions_catch_up_no_faster_than_top_speed() -> None:
    stream = Stream(POSITION_GROUP)
    for _ in range(6):
        stream.command((0.0, 0.3))
        stream.run(0.05)
    before = stream.values[-1][0]
    stream.now_s += 0.19  # the executor was busy
    stream.run(PERIOD_S)
    assert stream.values[-1][0] - before == pytest.approx(ARM.max_velocity[0] * 0.05)


def test_nothing_is_sent_before_a_motion_and_after_a_reset() -> None:
    for interface in (POSITION_GROUP, VELOCITY_GROUP):
        stream = Stream(interface)
        stream.run(0.1)
        assert not stream.values
        stream.command((0.0, 0.4))
        stream.run(0.2)
        stream.commander.reset()  # the arm was set elsewhere
        count = len(stream.values)
        stream.run(REST_S)
        if interface == POSITION_GROUP:
            assert len(stream.values) == count
        else:  # the controller keeps the last velocity
            assert len(stream.values) > count
            assert not np.array(stream.values[count:]).any()
            assert stream.silent > 0


def test_where_the_arm_was_set_elsewhere_positions_begin_there() -> None:
    stream = Stream(POSITION_GROUP)
    stream.command((0.0, 0.4))
    stream.run(0.3)
    stream.commander.reset()
    stream.pose = HOME + 0.3
    stream.command((0.0, 0.1))  # before any sample has seen the reset
    stream.run(PERIOD_S / 2)
    np.testing.assert_allclose(stream.values[-1], HOME + 0.3)


def test_after_somebody_else_has_moved_the_arm_positions_begin_there() -> None:
    stream = Stream(POSITION_GROUP)
    stream.command((0.0, 0.4))
    stream.run(REST_S)
    assert stream.silent > 0
    stream.pose = stream.pose - 0.4
    here, count = stream.pose.copy(), len(stream.values)
    stream.command((0.0, 0.4))
    stream.run(0.3)
    np.testing.assert_allclose(stream.values[count], here, atol=1e-9)
    assert np.abs(np.diff(np.array(stream.values[count:]), axis=0)).max() < 0.4 * PERIOD_S + 1e-9


def test_driven_joints_alone_are_named_in_the_bundles_order() -> None:
    stream = Stream(VELOCITY_GROUP, all_joints=False)
    stream.command((0.1, 0.2))
    stream.run(0.2)
    sample = stream.sampler.sample(stream.now_s)
    assert sample
    assert sample.names == DRIVEN
    np.testing.assert_allclose(sample.values, [0.1, 0.2])


@pytest.mark.parametrize(
    ("names", "values", "why"),
    [
        ((), [], "expected joint names"),
        (("a", "a"), [0, 0], "each once"),
        (("a", "b"), [0], "expected 2 values"),
        (("a",), [np.nan], "expected finite numbers"),
    ],
)
def test_what_a_controller_would_drop_or_misplace_is_not_made(names: tuple[str, ...], values: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        JointCommand(names, np.array(values, float))
