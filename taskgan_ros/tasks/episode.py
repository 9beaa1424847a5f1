"""Episodes: the cell's state, where it starts, and where the tip should go, or which poses the arm takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.inverse import solve_position
from taskgan_ros.robot.kinematics import joint_frames, tip_position
from taskgan_ros.tasks.scene import PoseScene, Scene, Stage

Array = NDArray[np.float64]

_MAX_DRAWS = 2000  # the shipped scene needs about 10 draws a start; far more means that its ranges contradict
_MAX_CUBE_DRAWS = 200  # it needs 1 draw a cube; each that cannot be reached costs 20 ms
_MAX_SEED = 2**63 - 1  # what a dataset's attribute holds


@dataclass(frozen=True)
class CellState:
    """Everything that moves in the cell.

    Attributes:
        joint_pos: (n,) rad, all joints of the arm.
        cube_xy: (2,) m on the table; it says nothing where the scene has no cube.
        cube_yaw: rad.
    """

    joint_pos: Array
    cube_xy: Array = field(default_factory=lambda: np.zeros(2))
    cube_yaw: float = 0.0

    def moved_to(self, joint_pos: Array) -> CellState:
        """Return the same cell with the arm at `joint_pos` (n,) rad."""
        return replace(self, joint_pos=joint_pos)


@dataclass(frozen=True)
class Episode:
    """A start and its solution.

    Attributes:
        seed: the run's seed.
        index: the episode's number under that seed.
        state: where it starts.
        solution: (n,) rad, the configuration that puts the tip on the goal.
    """

    seed: int
    index: int
    state: CellState
    solution: Array


def check_seed_range(seed: int) -> None:
    """Refuse a seed that no episode can be drawn with."""
    if not 0 <= seed <= _MAX_SEED:
        raise InputError(f"expected a seed of 0 to {_MAX_SEED}, got {seed}")


def goal_position(scene: Scene, cube_xy: Array) -> Array:
    """Return the point (3,) in m that the tip should reach: `hover` above the cube's centre."""
    return np.array([*cube_xy, scene.table_height + scene.cube.half_size + scene.hover])


def goal_distance(scene: Scene, state: CellState) -> float:
    """Return the distance in m between the tip and its goal above the cube."""
    return float(np.linalg.norm(tip_position(scene.arm, state.joint_pos) - goal_position(scene, state.cube_xy)))


def solve_ik(scene: Scene, goal: Array) -> Array | None:
    """Return the configuration (n,) that puts the tip on `goal` (3,) m, or None where there is none that is free.

    Over the driven joints from the scene's `ready` pose, so that one goal always has one solution: an image must not
    have two right answers.
    """
    q = solve_position(scene.arm, goal, np.array(scene.ready), scene.driven)
    return q if q is not None and _is_free(scene, q, scene.start.clearance) else None


def sample_episode(scene: Scene, seed: int, index: int) -> Episode:
    """Draw episode `index` of a run: a random cube, and an arm at a random start or scattered around the goal.

    The same (scene, seed, index) always gives the same episode, in any domain.

    Raises:
        InputError: the scene's ranges leave no reachable cube or no free start.
    """
    rng = np.random.default_rng([seed, index])
    cube_xy, solution = _draw_cube(scene, rng)
    scattered = rng.random() < scene.scattered_starts.share
    start = _draw_near(scene, solution, rng) if scattered else _draw_start(scene, rng)
    yaw = float(rng.uniform(*scene.cube.yaw))
    return Episode(seed=seed, index=index, state=CellState(start, cube_xy, yaw), solution=solution)


def sample_test_episode(scene: Scene, seed: int, index: int) -> Episode:
    """Draw a start for evaluation: as `sample_episode`, but never scattered around the goal, which would be easy."""
    rng = np.random.default_rng([seed, index])
    cube_xy, solution = _draw_cube(scene, rng)
    state = CellState(_draw_start(scene, rng), cube_xy, float(rng.uniform(*scene.cube.yaw)))
    return Episode(seed=seed, index=index, state=state, solution=solution)


def sample_poses(scene: PoseScene, seed: int, index: int) -> list[CellState]:
    """Draw the configurations that episode `index` shows, each by itself; the same arguments always give the same.

    Raises:
        InputError: no configuration within the scene's spread is free.
    """
    rng = np.random.default_rng([seed, index])
    return [CellState(_draw_pose(scene, rng)) for _ in range(scene.images_per_episode)]


def _draw_pose(scene: PoseScene, rng: np.random.Generator) -> Array:
    for _ in range(_MAX_DRAWS):
        q = np.array(scene.ready) + rng.uniform(-scene.spread, scene.spread)
        if _is_free(scene, q, scene.poses.clearance):
            return q
    raise InputError(f"scene: expected a free pose within {scene.poses}, got none in {_MAX_DRAWS} draws")


def _draw_cube(scene: Scene, rng: np.random.Generator) -> tuple[Array, Array]:
    for _ in range(_MAX_CUBE_DRAWS):
        radius, azimuth = rng.uniform(*scene.cube.radius), rng.uniform(*scene.cube.azimuth)
        cube_xy = np.array(scene.cube.center) + radius * np.array([np.cos(azimuth), np.sin(azimuth)])
        solution = solve_ik(scene, goal_position(scene, cube_xy))
        if solution is not None:
            return cube_xy, solution
    raise InputError(
        f"scene: expected a reachable cube within {scene.cube.radius} m, got none in {_MAX_CUBE_DRAWS} draws"
    )


def _draw_start(scene: Scene, rng: np.random.Generator) -> Array:
    spread = np.array(scene.start.joint_spread)
    for _ in range(_MAX_DRAWS):
        q = np.array(scene.ready)
        q[scene.driven] += rng.uniform(-spread, spread)
        if _is_free(scene, q, scene.start.clearance) and _is_start(scene, tip_position(scene.arm, q)):
            return q
    raise InputError(f"scene: expected a free start within {scene.start}, got none in {_MAX_DRAWS} draws")


def _draw_near(scene: Scene, solution: Array, rng: np.random.Generator) -> Array:
    for _ in range(_MAX_DRAWS):
        q = solution.copy()
        q[scene.driven] += rng.normal(0, scene.scattered_starts.std, len(scene.driven))
        if _is_free(scene, q, scene.start.clearance):
            return q
    raise InputError(f"scene: expected a free start near the goal, got none in {_MAX_DRAWS} draws")


def _is_free(scene: Stage, q: Array, clearance: float) -> bool:
    """Return whether the arm is within its limits, and above the table with all joints but the first, and the tip."""
    arm = scene.arm
    heights = joint_frames(arm, q)[1:, 2, 3] - scene.table_height
    within = np.all(q >= arm.lower) and np.all(q <= arm.upper)
    return bool(within and heights.min() >= clearance)


def _is_start(scene: Scene, tip: Array) -> bool:
    x, y = tip[:2] - scene.cube.center
    start, radius, azimuth = scene.start, np.hypot(x, y), np.arctan2(y, x)
    values = ((radius, start.radius), (tip[2] - scene.table_height, start.height))
    lowest, highest = start.azimuth
    is_there = (azimuth - lowest) % (2 * np.pi) <= highest - lowest
    return bool(is_there and all(low <= value <= high for value, (low, high) in values))
