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
_ARRIVED_M = 0.01  # from the goal, by the label: then the target is where the tip is
_SEARCH_RAD = 0.05  # of the joints' turns, added: the tip moves by 2 or 3 cm
_BISECTIONS = 16  # to a millionth of a rad
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
        arm = self.arm
        step = angle_difference(solution, joint_pos, arm.is_continuous)
        if np.max(np.abs(np.delete(step, self.driven)), initial=0.0) > _PASSIVE_RAD:
            names, ready = (np.delete(values, self.driven).tolist() for values in (arm.joint_names, self.ready))
            got = str(np.round(np.delete(joint_pos, self.driven), 3).tolist())
            raise InputError(f"expected {names} at {ready} rad, as in the scene, got {got}")
        return self.velocities(CellState(solution - step, np.array([[*target_xy, 0.0]])), solution)

    def goal_angles(self, target_xy: Array) -> Array:
        """Return the driven joints' angles (J,) in rad at which the tip is on its goal: the labels of joint_goals.

        Args:
            target_xy: (2,) m, the target's centre in the frame of the arm's base.

        Raises:
            InputError: the tip cannot reach the goal above that target.
        """
        return self._solution_at(target_xy)[self.driven]

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

    def recorded_target(self, joint_pos: Array, velocities: Array) -> Array | None:
        """Return where (2,) m the target of one recorded episode lies, by its labels; None where they do not tell.

        The target is where the tip arrives. Where it never does, labels towards a goal tell it from anywhere: they have
        its direction and distance. Those of a demonstration, which took another way, do not.

        Args:
            joint_pos: (T, n) rad.
            velocities: (T, J) rad/s, labels as `velocities` or `recorded_velocities` gives them.
        """
        left_m = np.abs(velocities).sum(axis=1) / self.approach_gain
        nearest = int(np.argmin(left_m))
        if left_m[nearest] < _ARRIVED_M:
            return tip_position(self.arm, joint_pos[nearest])[:2]
        found = [self._aimed_at(*label) for label in zip(joint_pos, velocities, left_m, strict=True)]
        places = np.array([place for place in found if place is not None])
        if len(places) < len(found) or np.ptp(places, axis=0).max() > _ARRIVED_M:
            return None
        return np.median(places, axis=0)

    def _aimed_at(self, joint_pos: Array, velocities: Array, left_m: float) -> Array | None:
        """Return where (2,) m a label's direction leads after `left_m` of the tip's way; None where no goal can be."""
        here, direction = tip_position(self.arm, joint_pos), np.zeros(len(joint_pos))
        direction[self.driven] = velocities / np.abs(velocities).sum()

        def overshoot_m(turn_rad: float) -> float:
            return float(np.linalg.norm(tip_position(self.arm, joint_pos + turn_rad * direction) - here)) - left_m

        turns = np.arange(0, 2 * np.pi, _SEARCH_RAD)
        beyond = np.array([overshoot_m(turn) for turn in turns]) > 0
        for k in np.flatnonzero(beyond[1:] != beyond[:-1]):
            low, high = turns[k], turns[k + 1]
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                low, high = (low, middle) if (overshoot_m(middle) > 0) != beyond[k] else (middle, high)
            tip = tip_position(self.arm, joint_pos + low * direction)
            if abs(tip[2] - self.goal(tip[:2])[2]) < _ARRIVED_M:
                return tip[:2]
        return None

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
