"""Task `reach`: the tip goes to a target on the table; straight in joint space, the paper's section 4.1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import Field, config_dataclass, whole_rule
from taskgan_ros.robot.angles import angle_difference
from taskgan_ros.robot.inverse import solve_position
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.robot.meshes import read_mesh
from taskgan_ros.robot.units import Angle, HalfSize, Metres, Positive
from taskgan_ros.tasks.scene import MAX_DRAWS, Bounds, MotionScene, Radius, Spread
from taskgan_ros.tasks.state import CellState, Episode, Object

Array = NDArray[np.float64]

_MAX_TARGET_DRAWS = 200  # the shipped scene needs 1 a target; each that cannot be reached costs 20 ms
_ARRIVED_M = 0.01  # from a goal's height: where a demonstration may end
_AT_REST_M = 1e-3  # from the goal: labels towards one are exact, and their direction is noise where they are so small
_SEARCH_RAD = 0.05  # of the joints' turns, added: the tip moves by 5 cm at most
_REFINEMENTS = 3  # each a hundred times closer
_SOLVED_RAD = 0.01  # from the solution: labels towards a goal are exact
_PASSIVE_RAD = 0.1  # how far a joint that is not driven may sag under the arm's own weight


@config_dataclass
class Target:
    """What the arm reaches for, and where it may lie: polar about `center`, m and rad.

    Attributes:
        shape: a mesh is read from `file`: STL, OBJ or DAE, in m.
        half_size: half a cube's edge, or a sphere's radius; a mesh has its own.
        center: (x, y) m in the arm's base frame: where the arm's first joint stands; the base if left out.
    """

    shape: Literal["cube", "sphere", "mesh"] = "cube"
    half_size: HalfSize | None = None
    file: str | None = None
    center: tuple[Metres, Metres] = (0.0, 0.0)
    radius: Bounds[Radius]
    azimuth: Bounds[Angle]
    yaw: Bounds[Angle]

    @whole_rule
    def _has_its_size(self) -> None:
        needed = "file" if self.shape == "mesh" else "half_size"
        if getattr(self, needed) is None:
            raise ValueError(f"expected {needed} for a {self.shape}, got none")

    @cached_property
    def object(self) -> Object:
        """What is drawn.

        Raises:
            InputError: the mesh cannot be read.
        """
        if self.shape == "mesh":
            mesh = read_mesh(Path(str(self.file)))
            x, y, z = (np.ptp(mesh.vertices, axis=0) / 2).tolist()
            return Object("target", "mesh", (x, y, z), mesh=mesh)
        half = float(self.half_size or 0)
        return Object("target", "box" if self.shape == "cube" else "ellipsoid", (half, half, half))


@config_dataclass
class ScatteredStarts:
    """The share of episodes that start around the goal, and how far, in rad (standard deviation a driven joint)."""

    share: Annotated[float, Field(ge=0, le=1)]
    std: Spread


@dataclass(frozen=True)
class ReachEpisode(Episode):
    """A start, and `solution` (n,) rad: the configuration that puts the tip on the goal."""

    solution: Array


@config_dataclass
class ReachScene(MotionScene):
    """A cell in which the arm reaches for a target; `config/scenes/reach.yaml` says what each field is for."""

    task: Literal["reach"] = "reach"
    target: Target
    hover: Metres | None = None
    touch: bool = False
    scattered_starts: ScatteredStarts
    approach_gain: Positive

    @whole_rule
    def _hovers_or_touches(self) -> None:
        if (self.hover is None) != self.touch:
            raise ValueError(f"expected hover, or touch: true, got {self.hover} and touch: {self.touch}")

    @property
    def objects(self) -> tuple[Object, ...]:
        """The target."""
        return (self.target.object,)

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) m, of the ring in which targets lie."""
        return self.target.center

    def goal(self, target_xy: Array) -> Array:
        """Return the point (3,) in m that the tip should reach: `hover` above the target's centre, or its top."""
        half = self.target.object.half_size[2]
        above = half if self.hover is None else self.hover
        return np.array([*target_xy[:2], self.table_height + half + above])

    def distance(self, state: CellState) -> float:
        """Return the distance in m between the tip and its goal."""
        return float(np.linalg.norm(tip_position(self.arm, state.joint_pos) - self.goal(state.objects[0])))

    def solve(self, goal: Array) -> Array | None:
        """Return the configuration (n,) that puts the tip on `goal` (3,) m, or None where there is none that is free.

        Over the driven joints from the scene's `ready` pose, so that one goal always has one solution: an image must
        not have two right answers.
        """
        q = solve_position(self.arm, goal, np.array(self.ready), self.driven)
        return q if q is not None and self.is_free(q, self.start.clearance) else None

    def sample_start(self, seed: int, index: int) -> ReachEpisode:
        """Draw a start for evaluation: as for training, but never scattered around the goal, which would be easy.

        Raises:
            InputError: the scene's ranges leave no reachable target or no free start.
        """
        rng = np.random.default_rng([seed, index])
        target_xy, solution = self._draw_target(rng)
        start = self.draw_start(rng)
        return self._episode(seed, index, start, target_xy, solution, rng)

    def sample_training_start(self, seed: int, index: int) -> ReachEpisode:
        """Draw where training episode `index` starts: anywhere, or scattered around the goal.

        Raises:
            InputError: as `sample_start`.
        """
        rng = np.random.default_rng([seed, index])
        target_xy, solution = self._draw_target(rng)
        is_scattered = rng.random() < self.scattered_starts.share
        start = self._draw_near(solution, rng) if is_scattered else self.draw_start(rng)
        return self._episode(seed, index, start, target_xy, solution, rng)

    def demonstrate(self, seed: int, index: int) -> list[tuple[CellState, Array | None]]:
        """Return one training episode, evenly spaced from its start to the goal, the goal included, with velocities.

        Without the goal, where the velocity is zero, a policy arrives and drifts away again.
        """
        episode = self.sample_training_start(seed, index)
        return [(state, self.velocities(state, episode.solution)) for state in self.path(episode)]

    def finish(self, episode: Episode) -> CellState:
        """Return the cell with the tip on its goal."""
        assert isinstance(episode, ReachEpisode)
        return episode.state.moved_to(episode.solution)

    def path(self, episode: ReachEpisode) -> list[CellState]:
        """Return `images_per_episode` states, evenly spaced from where an episode starts to its solution."""
        start, way = episode.state.joint_pos, self._displacement(episode.state.joint_pos, episode.solution)
        fractions = np.linspace(0, 1, self.images_per_episode)[:, None]
        return [episode.state.moved_to(q) for q in start + fractions * way]

    def velocities(self, state: CellState, solution: Array) -> Array:
        """Return the joint velocities (J,) in rad/s of the driven joints: section 4.1.1's labels.

        The direction is the joint displacement to the solution over its L1 norm; the size is the distance between tip
        and goal times `approach_gain`, so that the arm slows down and stops.
        """
        step = self._displacement(state.joint_pos, solution)[self.driven]
        norm = np.abs(step).sum()
        if norm == 0:
            return np.zeros_like(step)
        return step / norm * self.distance(state) * self.approach_gain

    def recorded_velocities(self, joint_pos: Array, target_xy: Array) -> Array:
        """Return `velocities` (J,) in rad/s for a recording of a real arm.

        Args:
            joint_pos: (n,) rad, all joints of the arm; angles of continuous ones compare modulo 2π.
            target_xy: (2,) m, the target's centre in the frame of the arm's base.

        Raises:
            InputError: the tip cannot reach the goal above that target, or a passive joint is not at its `ready`
                position.
        """
        solution = self._solution_at(target_xy)
        self._check_passive(joint_pos)
        step = angle_difference(solution, joint_pos, self.arm.is_continuous)
        return self.velocities(CellState(solution - step, np.array([[*target_xy, 0.0]])), solution)

    def _check_passive(self, joint_pos: Array) -> None:
        """Refuse a recorded pose (n,) rad whose joints that are not driven stand elsewhere than in the scene."""
        step = angle_difference(np.array(self.ready), joint_pos, self.arm.is_continuous)
        if np.max(np.abs(np.delete(step, self.driven)), initial=0.0) > _PASSIVE_RAD:
            names, ready = (np.delete(values, self.driven).tolist() for values in (self.arm.joint_names, self.ready))
            got = str(np.round(np.delete(joint_pos, self.driven), 3).tolist())
            raise InputError(f"expected {names} at {ready} rad, as in the scene, got {got}")

    def goal_angles(self, target_xy: Array) -> Array:
        """Return the driven joints' angles (J,) in rad at which the tip is on its goal: the labels of joint_goals.

        Args:
            target_xy: (2,) m, the target's centre in the frame of the arm's base.

        Raises:
            InputError: the tip cannot reach the goal above that target.
        """
        return self._solution_at(target_xy)[self.driven]

    def recorded_goal(self, joint_pos: Array, target_xy: Array) -> Array:
        """Return `goal_angles` (J,) in rad for a recording of a real arm, with the arguments of `recorded_velocities`.

        Raises:
            InputError: as `recorded_velocities`.
        """
        self._check_passive(joint_pos)
        return self.goal_angles(target_xy)

    def place_of(self, goal_angles: Array) -> Array:
        """Return where (2,) m the target lies that has these `goal_angles` (J,) in rad."""
        joint_pos = np.array(self.ready)
        joint_pos[self.driven] = goal_angles
        return tip_position(self.arm, joint_pos)[:2]

    def _solution_at(self, target_xy: Array) -> Array:
        x, y = np.asarray(target_xy, float).tolist()
        if (x, y) not in self._solutions:  # most of a recording's images have one target, and it takes 20 ms
            self._solutions.clear()
            solution = self.solve(self.goal(np.array([x, y])))
            if solution is None:
                got = f"one at {np.round([x, y], 3).tolist()} m"
                raise InputError(f"expected a {self.target.shape} that the arm can reach, got {got}")
            self._solutions[x, y] = solution
        return self._solutions[x, y]

    @cached_property
    def _solutions(self) -> dict[tuple[float, float], Array]:
        return {}

    def recorded_targets(self, joint_pos: Array, velocities: Array) -> Array | None:
        """Return where (T, 2) m the target lies in each image of an episode, or None if its labels do not determine it.

        A label towards a goal does so from anywhere: it has the direction and the tip's distance. Labels of a
        demonstration have the distance to the episode's end alone, which counts if the tip is at a goal's height there.

        Args:
            joint_pos: (T, n) rad.
            velocities: (T, J) rad/s, labels as `velocities` or `recorded_velocities` gives them, or of a demonstration.
        """
        left_m = np.abs(velocities).sum(axis=1) / self.approach_gain
        aimed = [self._aimed_at(*label) for label in zip(joint_pos, velocities, left_m, strict=True)]
        if all(goal is not None for goal in aimed):
            goals = np.array(aimed)
            places = np.array([self.place_of(goal) for goal in goals])
            if np.ptp(places, axis=0).max() < _AT_REST_M:
                places = np.tile(np.median(places, axis=0), (len(places), 1))
            if all(self._is_solution(goal, place) for goal, place in zip(goals, places, strict=True)):
                return places
        tips = tip_position(self.arm, joint_pos)
        end = tips[np.argmin(left_m)]
        ends_there = np.abs(np.linalg.norm(tips - end, axis=1) - left_m).max() < _ARRIVED_M
        return np.tile(end[:2], (len(tips), 1)) if ends_there and self._is_goal(end, _ARRIVED_M) else None

    def _aimed_at(self, joint_pos: Array, velocities: Array, left_m: float) -> Array | None:
        """Return the driven joints' angles (J,) rad that a label leads to, after `left_m` of the tip's way.

        None where no goal is at that height.
        """
        here, speed = tip_position(self.arm, joint_pos), np.abs(velocities).sum()
        arriving = np.array(self.ready)  # the joints that are not driven, which may sag meanwhile
        arriving[self.driven] = joint_pos[self.driven]
        if left_m < _AT_REST_M or not speed:
            return arriving[self.driven] if self._is_goal(here, _AT_REST_M) else None
        direction = np.zeros_like(arriving)
        direction[self.driven] = velocities / speed

        def crossings(turns: Array) -> list[tuple[float, float]]:
            """Return between which turns the tip comes to be `left_m` away, or no longer is."""
            tips = tip_position(self.arm, arriving + turns[:, None] * direction)
            beyond = np.linalg.norm(tips - here, axis=1) > left_m
            return [(turns[k], turns[k + 1]) for k in np.flatnonzero(beyond[1:] != beyond[:-1])]

        for stretch in crossings(np.arange(0, 2 * np.pi, _SEARCH_RAD)):
            first, last = stretch
            for _ in range(_REFINEMENTS):
                first, last = next(iter(crossings(np.linspace(first, last, 100))), (first, last))
            goal = arriving + first * direction
            if self._is_goal(tip_position(self.arm, goal), _AT_REST_M):
                return goal[self.driven]
        return None

    def _is_goal(self, tip: Array, within_m: float) -> bool:
        """Return whether the tip (3,) m is at a goal's height."""
        return bool(abs(tip[2] - self.goal(tip[:2])[2]) < within_m)

    def _is_solution(self, goal_angles: Array, place: Array) -> bool:
        """Return whether the driven joints' angles (J,) rad are what `solve` gives for a target at `place` (2,) m."""
        try:
            expected = self.goal_angles(place)
        except InputError:
            return False
        step = angle_difference(expected, goal_angles, self.arm.is_continuous[self.driven])
        return bool(np.abs(step).max() < _SOLVED_RAD)

    def _episode(
        self, seed: int, index: int, start: Array, target_xy: Array, solution: Array, rng: np.random.Generator
    ) -> ReachEpisode:
        objects = np.array([[*target_xy, float(rng.uniform(*self.target.yaw))]])
        return ReachEpisode(seed, index, CellState(start, objects), solution)

    def _displacement(self, here: Array, solution: Array) -> Array:
        """Return how far the solution is, (n,) rad, continuous joints the short way round: images do not show turns."""
        straight = solution - here
        short = angle_difference(solution, here, self.arm.is_continuous)
        return np.where(np.abs(straight) > np.pi, short, straight)

    def _draw_target(self, rng: np.random.Generator) -> tuple[Array, Array]:
        target = self.target
        for _ in range(_MAX_TARGET_DRAWS):
            radius, azimuth = rng.uniform(*target.radius), rng.uniform(*target.azimuth)
            target_xy = np.array(target.center) + radius * np.array([np.cos(azimuth), np.sin(azimuth)])
            solution = self.solve(self.goal(target_xy))
            if solution is not None:
                return target_xy, solution
        raise InputError(
            f"scene: expected a reachable target within {target.radius} m, got none in {_MAX_TARGET_DRAWS} draws"
        )

    def _draw_near(self, solution: Array, rng: np.random.Generator) -> Array:
        for _ in range(MAX_DRAWS):
            q = solution.copy()
            q[self.driven] += rng.normal(0, self.scattered_starts.std, len(self.driven))
            if self.is_free(q, self.start.clearance):
                return q
        raise InputError(f"scene: expected a free start near the goal, got none in {MAX_DRAWS} draws")
