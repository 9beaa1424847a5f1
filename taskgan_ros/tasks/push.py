"""Task `push`: the tip pushes a puck over the table onto a mark."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import config_dataclass
from taskgan_ros.robot.kinematics import position_jacobian, tip_position
from taskgan_ros.robot.units import Angle, HalfSize, Metres, Positive
from taskgan_ros.tasks.scene import MAX_DRAWS, Bounds, MotionScene, Radius
from taskgan_ros.tasks.state import CellState, Episode, Object

Array = NDArray[np.float64]

_MARK_HALF_HEIGHT_M = 0.001  # paint
_DAMPING = 1e-4  # m^2, as in inverse kinematics
_PATH_M = 0.002  # the tip's path is followed in steps this short, so that none jumps over the puck
_ON_LINE = 0.35  # of the contact radius: how far beside the line to the mark a push may begin
_ROOM_M = 0.015  # between tip and puck while the tip goes around and down
_NOISE = 0.15  # of the expert's speed while it is recorded: a policy must also learn to return to the path


@config_dataclass
class Puck:
    """What is pushed: radius and half height in m, and where it may lie: polar about `center`, m and rad."""

    puck_radius: HalfSize
    half_height: HalfSize
    center: tuple[Metres, Metres] = (0.0, 0.0)
    radius: Bounds[Radius]
    azimuth: Bounds[Angle]


@config_dataclass
class PushScene(MotionScene):
    """A cell in which the arm pushes a puck onto a mark; `config/scenes/push.yaml` says what each field is for.

    The puck slides without friction at the tip and stops at once: it is always pushed straight away from the tip.
    """

    task: Literal["push"] = "push"
    puck: Puck
    mark_distance: Bounds[Positive]
    tip_radius: HalfSize
    push_height: Metres
    travel_height: Metres
    approach_gain: Positive
    top_speed: Positive

    @property
    def objects(self) -> tuple[Object, ...]:
        """The puck, and the mark that it should cover."""
        radius, half = self.puck.puck_radius, self.puck.half_height
        mark = Object("mark", "cylinder", (radius, radius, _MARK_HALF_HEIGHT_M), "mark")
        return Object("puck", "cylinder", (radius, radius, half)), mark

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) m, of the ring in which pucks and marks lie."""
        return self.puck.center

    @property
    def contact_m(self) -> float:
        """How far the tip's axis is from the puck's centre when they touch."""
        return self.puck.puck_radius + self.tip_radius

    def distance(self, state: CellState) -> float:
        """Return how far the puck is from the mark, in m."""
        return float(np.linalg.norm(state.objects[0, :2] - state.objects[1, :2]))

    def move(self, state: CellState, joint_pos: Array) -> CellState:
        """Return the cell after the arm has moved to `joint_pos` (n,) rad; the tip pushes the puck ahead of it."""
        here, there = (tip_position(self.arm, q) for q in (state.joint_pos, joint_pos))
        objects = state.objects.copy()
        count = max(int(np.ceil(np.linalg.norm(there - here) / _PATH_M)), 1)
        for share in np.arange(1, count + 1) / count:
            tip = here + share * (there - here)
            away = objects[0, :2] - tip[:2]
            distance = float(np.linalg.norm(away))
            is_low = tip[2] < self.table_height + 2 * self.puck.half_height
            if is_low and 0 < distance < self.contact_m:
                objects[0, :2] = tip[:2] + away / distance * self.contact_m
        return CellState(joint_pos, objects)

    def sample_start(self, seed: int, index: int) -> Episode:
        """Draw a start: a puck, a mark and an arm.

        Raises:
            InputError: the scene's ranges leave none.
        """
        rng = np.random.default_rng([seed, index])
        objects = self._draw_objects(rng)
        for _ in range(MAX_DRAWS):
            start = self.draw_start(rng)
            if np.linalg.norm(tip_position(self.arm, start)[:2] - objects[0, :2]) > self.contact_m + _ROOM_M:
                return Episode(seed, index, CellState(start, objects))
        raise InputError(f"scene: expected a start beside the puck, got none in {MAX_DRAWS} draws")

    def demonstrate(self, seed: int, index: int) -> list[tuple[CellState, Array | None]]:
        """Return states spread over one episode of the expert with noise on its actions, each with its velocities."""
        rng = np.random.default_rng([seed, index, 1])
        state = self.sample_start(seed, index).state
        way = []
        for _ in range(self.steps):
            velocities = self.velocities(state)
            way.append((state, velocities))
            nudge = rng.normal(0, _NOISE, len(self.driven)) * np.abs(velocities).max()
            state = self.move(state, self._stepped(state.joint_pos, velocities + nudge))
        chosen = np.sort(rng.choice(len(way), min(self.images_per_episode, len(way)), replace=False))
        return [way[k] for k in chosen]

    def finish(self, episode: Episode) -> CellState:
        """Return the cell at the end of the expert's episode."""
        state = episode.state
        for _ in range(self.steps):
            state = self.move(state, self._stepped(state.joint_pos, self.velocities(state)))
        return state

    def velocities(self, state: CellState) -> Array:
        """Return what the expert does, (J,) rad/s: over the puck to behind it, down, and then towards the mark.

        The tip's velocity goes through the damped pseudoinverse of the driven joints' Jacobian; all joints slow down
        together where one would be too fast.
        """
        tip = tip_position(self.arm, state.joint_pos)
        wanted = self._waypoint(state, tip) - tip
        length = float(np.linalg.norm(wanted))
        if length == 0:
            return np.zeros(len(self.driven))
        wanted *= min(self.approach_gain, self.top_speed / length)
        jacobian = position_jacobian(self.arm, state.joint_pos)[:, self.driven]
        q = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + _DAMPING * np.eye(3), wanted)
        excess = np.max(np.abs(q) / self.arm.max_velocity[self.driven])
        return q / max(excess, 1.0)

    def _waypoint(self, state: CellState, tip: Array) -> Array:
        """Return the point (3,) m that the tip should go to next."""
        puck, mark = state.objects[:2, :2]
        way = mark - puck
        left = float(np.linalg.norm(way))
        low, high = self.table_height + self.push_height, self.table_height + self.travel_height
        if left < self.threshold_m / 4:
            return np.array([*tip[:2], low])  # it lies well: stay
        along = way / left
        behind = tip[:2] - puck
        back = -float(behind @ along)
        beside = float(abs(behind[0] * along[1] - behind[1] * along[0]))
        start = puck - (self.contact_m + _ROOM_M) * along
        if back > 0 and beside < _ON_LINE * self.contact_m:
            if tip[2] > low + _ROOM_M and back > self.contact_m:
                return np.array([*start, low])
            if tip[2] <= low + _ROOM_M:
                return np.array([*(mark - self.contact_m * along), low])
        near = np.linalg.norm(tip[:2] - start) < _ON_LINE * self.contact_m
        return np.array([*start, low if near and back > self.contact_m else high])

    def _stepped(self, joint_pos: Array, velocities: Array) -> Array:
        q = joint_pos.copy()
        q[self.driven] += velocities * self.step_s
        return np.clip(q, self.arm.lower, self.arm.upper)

    def _draw_objects(self, rng: np.random.Generator) -> Array:
        """Draw puck and mark (2, 3), both in the ring."""
        puck = self.puck
        for _ in range(MAX_DRAWS):
            radius, azimuth = rng.uniform(*puck.radius), rng.uniform(*puck.azimuth)
            here = np.array(puck.center) + radius * np.array([np.cos(azimuth), np.sin(azimuth)])
            away, direction = rng.uniform(*self.mark_distance), rng.uniform(-np.pi, np.pi)
            there = here + away * np.array([np.cos(direction), np.sin(direction)])
            x, y = there - puck.center
            lowest, highest = puck.azimuth
            is_inside = (np.arctan2(y, x) - lowest) % (2 * np.pi) <= highest - lowest
            if is_inside and puck.radius[0] <= np.hypot(x, y) <= puck.radius[1]:
                return np.array([[*here, 0.0], [*there, 0.0]])
        raise InputError(f"scene: expected a mark in the ring of {puck.radius} m, got none in {MAX_DRAWS} draws")
