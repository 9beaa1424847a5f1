"""`taskgan scene`: a first scene file for an arm, from its own reach, with a picture; to be edited."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from taskgan_ros.core.config import is_path, short_name, to_flow
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free, whole, write_text
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.robot.arm import Arm
from taskgan_ros.robot.inverse import solve_pointing, solve_position
from taskgan_ros.robot.kinematics import forward, is_clear, joint_frames, position_jacobian, tip_position
from taskgan_ros.robot.locate import is_reference
from taskgan_ros.robot.models import Robot, is_model, load_robot
from taskgan_ros.sim.picture import write_scene_picture
from taskgan_ros.tasks.registry import load_motion_scene

Array = NDArray[np.float64]

# The proportions of the Mico's shipped scene, in units of the farthest cube's distance, to scale them to other arms.
_MICO_REACH_M = 0.44
_CUBE_HALF, _HOVER = 0.03, 0.05
_RING = (0.28, 0.44)
_START_RADIUS, _START_HEIGHT = (0.22, 0.50), (0.10, 0.50)
_CLEARANCE = 0.75  # of the goal's height
_CAMERA, _TARGET = (1.02, 0.62, 0.80), (0.21, 0.0, 0.19)  # forward, to the side, up
_ARM_RADIUS = 0.05  # of a link about the line through its joints
_SEEN = 98  # per cent of the arm's points in all poses: a rare one may leave the picture
_MARGIN = 1.08  # around what must be seen
_AZIMUTH, _START_AZIMUTH = 0.725, 1.125  # rad, half the angle of the ring and of where episodes start
_SPREAD = (1.2, 0.9, 0.9)  # rad about `ready`
_GAIN, _THRESHOLD_M = 4.0, 0.1

_DRIVEN = 3  # joints: as many as a point in space needs
_DIRECTIONS = (0.0, -np.pi / 2, np.pi / 2, np.pi)  # rad: where the arm's front may be; ROS has x forward
_RESTARTS = 12
_POINTING_LEFT_M = 0.02  # of `solve_pointing`: 4 degrees
_STEADY = 1e-6  # of a unit vector: rounding
_SHARE = 0.9  # of the ring that must be within reach
_REACHES = (0.6, 0.5, 0.7, 0.42, 0.35)  # of the farthest point that any pose reaches: what the ring's middle may be
_TOOL_M = 0.03  # the tool points from the last joint that is so far from the tip
_LARGEST_HALF_M, _LARGEST_HOVER_M = 0.04, 0.06  # larger cubes are impractical


@dataclass(frozen=True)
class SceneConfig:
    """Write a first scene for an arm: a cube within its reach, where episodes start, a camera that sees both."""

    arm: tyro.conf.Positional[str]
    """A shipped arm's name, an arm file, or a model: URDF, xacro or MJCF; with --look, a scene."""
    out: Path | None = None
    """The scene file to write, ARM_reach.yaml by default; must not exist. A picture is written beside it, and for a
    model an arm file. With --look, the picture to write, which replaces the previous one."""
    tip: str | None = None
    """The link, body or site that the arm ends at."""
    look: bool = False
    """Only draw an existing scene, whose name or file is given in place of the arm."""
    domain: str = "target_wood"
    """The domain to draw it in."""
    driven: tuple[str, ...] = ()
    """The three joints that the task moves; those that move the tip best by default."""


@dataclass(frozen=True)
class Proposal:
    """A place to reach for cubes.

    Attributes:
        ready: (n,) a configuration over the ring's middle.
        driven: indices of the joints that move.
        azimuth: rad, of the ring's middle.
        reach_m: of the farthest cube.
        share: of the ring that the arm reaches.
    """

    ready: Array
    driven: NDArray[np.intp]
    azimuth: float
    reach_m: float
    share: float


def write_first_scene(config: SceneConfig) -> Path:
    """Write the scene and its picture, and return the scene's path.

    Raises:
        InputError: no such arm, an output that exists, joints that are not its own, or no place that the arm reaches.
    """
    if config.look:
        return _look(config)
    robot = load_robot(config.arm, config.tip)
    arm = robot.arm
    out = config.out or Path(f"{arm.name}_reach.yaml")
    picture, arm_file = out.with_suffix(".png"), out.with_name(f"{out.stem}_arm.yaml")
    for path in (out, picture, arm_file):
        check_free(path)
    center = joint_frames(arm, arm.home)[0][:2, 3].round(3) + 0.0
    found = propose(arm, center, config.driven)
    name = arm_file.name if is_model(config.arm) else _from_anywhere(config.arm)
    text = _as_yaml(config.arm, name, arm, found, center)
    out.parent.mkdir(parents=True, exist_ok=True)
    if is_model(config.arm):
        write_text(arm_file, _arm_as_yaml(config.arm, robot))
        print_line(f"{arm_file}: limits and home of {arm.name}, to be checked")
    with whole(out, "the scene") as file:
        file.write_text(text, encoding="utf-8")
        load_motion_scene(file).sample_start(0, 0)  # as a user will
    write_scene_picture(picture, load_motion_scene(out), config.domain)
    print_line(f"{out}: {found.share:.0%} of its cubes within reach; {picture} shows them")
    print_line(f"taskgan scene --look {out}   # once it is edited; and then")
    print_line(f"taskgan collect --scene {out} --domain source --episodes 1416 --out datasets/source.h5")
    return out


def _from_anywhere(arm: str) -> str:
    """Return a shipped name as it is, and an arm file by a path that holds in every folder."""
    return str(Path(arm).absolute()) if is_path(arm) else arm


def _arm_as_yaml(model: str, robot: Robot) -> str:
    """Return an arm file that says what was assumed, to be edited."""
    arm = robot.arm
    limits = {
        joint.name: {"max_velocity": joint.max_velocity, "max_acceleration": joint.max_acceleration}
        for joint in arm.independent_joints
    }
    values = {
        "name": arm.name,
        "model": model if is_reference(model) else str(Path(model).absolute()),
        "tip": robot.tip,
        "joints": limits,
        "home": {name: round(value, 6) for name, value in zip(arm.joint_names, arm.home, strict=True)},
    }
    notes = "".join(f"# assumed: {note}\n" for note in robot.assumed)
    return f"# {arm.name}, as `taskgan arm {model}` understands it.\n{notes}" + _commented(values)


def _look(config: SceneConfig) -> Path:
    """Draw a scene, in place of the last picture of it."""
    scene, picture = load_motion_scene(config.arm), config.out or Path(f"{short_name(config.arm)}.png")
    if picture.suffix != ".png":  # or it could take the scene's own place
        raise InputError(f"--out with --look: expected a picture, .png, got {picture}")
    write_scene_picture(picture, scene, config.domain)
    print_line(f"{picture}: {config.arm} in {config.domain}: starts, and below where the arm arrives")
    return picture


def propose(arm: Arm, center: Array, driven: tuple[str, ...] = ()) -> Proposal:
    """Return the first place where the arm reaches 90 % of a ring with three joints, tool down; else the best one.

    Raises:
        InputError: there is none, or fewer than three joints.
    """
    if len(arm.joint_names) < _DRIVEN:
        raise InputError(f"{arm.name}: expected at least {_DRIVEN} joints to reach with, got {list(arm.joint_names)}")
    unknown = [name for name in driven if name not in arm.joint_names]
    if unknown or len(driven) not in (0, _DRIVEN):
        raise InputError(f"driven: expected {_DRIVEN} of {list(arm.joint_names)}, got {list(driven)}")
    farthest, tool = _farthest(arm, center), _tool_direction(arm)
    best: Proposal | None = None
    tries = list(itertools.product(_REACHES, _DIRECTIONS))
    with progress_bar("look for a place within reach", len(tries), "places") as advance:
        for share, azimuth in tries:
            advance(1)
            found = _try(arm, center, tool, share * farthest, azimuth, driven)
            if found and (best is None or found.share > best.share):
                best = found
            if best and best.share >= _SHARE:
                return best
    if best is None or best.share < 1 / 2:
        raise InputError(
            f"{arm.name}: expected a ring on the table within reach, tool down, got none up to {farthest:.2f} m"
        )
    return best


def _farthest(arm: Arm, center: Array) -> float:
    """Return how far from the base's axis, in m, the tip gets in random poses."""
    rng = np.random.default_rng(0)
    lower, upper = np.maximum(arm.lower, -np.pi), np.minimum(arm.upper, np.pi)
    tips = tip_position(arm, rng.uniform(lower, np.maximum(upper, lower), (2000, len(lower))))
    return float(np.linalg.norm(tips[:, :2] - center, axis=1).max())


def _tool_direction(arm: Arm) -> Array:
    """Return the unit vector in the tip's frame along which the tool points: down if no joint tilts it, as a gantry's.

    Else away from the joint before it.
    """
    poses = np.random.default_rng(0).uniform(-1, 1, (20, len(arm.home)))
    downs = -forward(arm, poses)[:, 2, :3]
    if np.ptp(downs, axis=0).max() < _STEADY:
        steady: Array = downs[0]
        return steady
    frames = joint_frames(arm, arm.home)
    tip = frames[-1]
    for frame in frames[-2::-1]:
        away = tip[:3, 3] - frame[:3, 3]
        if np.linalg.norm(away) > _TOOL_M:
            # Along the tip's axis that is nearest: joints may stand beside the tool's line.
            own = tip[:3, :3].T @ away
            axis = np.zeros(3)
            axis[np.abs(own).argmax()] = np.sign(own[np.abs(own).argmax()])
            return axis
    return np.array([0.0, 0.0, 1.0])


def _try(
    arm: Arm, center: Array, tool: Array, middle_m: float, azimuth: float, driven: tuple[str, ...]
) -> Proposal | None:
    scale = float(middle_m / np.mean(_RING))
    height = sum(_cube(scale))
    goal = _place(center, azimuth, middle_m, height)
    clearance = _clearance(arm, scale)
    for ready in _ready_poses(arm, goal, tool, clearance):
        chosen = arm.indices(driven) if driven else _best_three(arm, ready)
        share = np.mean([_reaches(arm, ready, chosen, point, clearance) for point in _ring(center, azimuth, scale)])
        if share >= 1 / 2:
            return Proposal(ready, chosen, azimuth, scale * _RING[1], float(share))
    return None


def _cube(scale: float) -> tuple[float, float]:
    """Return half a cube's side and how far above its middle the tip's goal is, m."""
    return min(scale * _CUBE_HALF, _LARGEST_HALF_M), min(scale * _HOVER, _LARGEST_HOVER_M)


def _clearance(arm: Arm, scale: float) -> float:
    """Return the height in m that no joint but the first may be below: less where the arm's own base is lower."""
    heights = joint_frames(arm, arm.home)[1:, 2, 3]
    return float(min(_CLEARANCE * sum(_cube(scale)), max(heights[0] - 0.02, 0.01)))


def _ready_poses(arm: Arm, goal: Array, tool: Array, clearance: float) -> Iterator[Array]:
    """Yield poses over the goal, tool down, above the table: high elbows first, then the middle of the limits."""
    rng = np.random.default_rng(0)
    home = np.array(arm.home)
    lower, upper = np.maximum(arm.lower, home - np.pi), np.minimum(arm.upper, home + np.pi)
    found = []
    for k in range(_RESTARTS):
        start = home if k == 0 else rng.uniform(lower, np.maximum(upper, lower))
        q, left = solve_pointing(arm, goal, tool, np.array([0.0, 0.0, -1.0]), start)
        if left < _POINTING_LEFT_M and is_clear(arm, q, clearance):
            found.append(q)
    middle = np.where(arm.is_continuous, home, (np.maximum(arm.lower, -10) + np.minimum(arm.upper, 10)) / 2)
    yield from sorted(found, key=lambda q: (-_height(arm, q), float(np.abs(q - middle).sum())))


def _height(arm: Arm, q: Array) -> float:
    """Return how high the elbow stands, in steps of 10 cm: an arm that reaches from above hides less."""
    return float(np.round(joint_frames(arm, q)[1:-1, 2, 3].max(), 1))


def _best_three(arm: Arm, ready: Array) -> NDArray[np.intp]:
    """Return the first three joints from the base with half the best least singular value, or more."""
    jacobian = position_jacobian(arm, ready)
    triples = list(itertools.combinations(range(len(arm.joint_names)), _DRIVEN))
    least = [np.linalg.svd(jacobian[:, list(three)], compute_uv=False)[-1] for three in triples]
    good = [three for three, value in zip(triples, least, strict=True) if value > max(least) / 2]
    return np.array(good[0])  # of those as good, the ones nearest to the base


def _ring(center: Array, azimuth: float, scale: float) -> list[Array]:
    """Return goals all over the ring."""
    angles = azimuth + np.linspace(-_AZIMUTH, _AZIMUTH, 7)
    height = sum(_cube(scale))
    radii = scale * np.linspace(*_RING, 4)
    return [_place(center, a, r, height) for a in angles for r in radii]


def _place(center: Array, azimuth: float, radius: float, height: float) -> Array:
    """Return a point (3,) m by its angle, rad, and distance, m, from the base's axis."""
    return np.array([*(center + radius * np.array([np.cos(azimuth), np.sin(azimuth)])), height])


def _reaches(arm: Arm, ready: Array, driven: NDArray[np.intp], goal: Array, clearance: float) -> bool:
    q = solve_position(arm, goal, ready, driven)
    return q is not None and is_clear(arm, q, clearance)


def _as_yaml(given: str, arm_name: str, arm: Arm, found: Proposal, center: Array) -> str:
    scale = float(found.reach_m / _MICO_REACH_M)

    half, hover = _cube(scale)

    def m(values: float | tuple[float, ...]) -> Any:
        return np.round(scale * np.asarray(values), 3).tolist()

    forward_, side = (np.array([np.cos(a), np.sin(a)]) for a in (found.azimuth, found.azimuth + np.pi / 2))
    ring = [round(found.azimuth - _AZIMUTH, 3), round(found.azimuth + _AZIMUTH, 3)]
    starts = [round(found.azimuth - _START_AZIMUTH, 3), round(found.azimuth + _START_AZIMUTH, 3)]

    def point(forward_m: float, side_m: float, up_m: float) -> list[float]:
        x, y = center + scale * (forward_m * forward_ + side_m * side)
        return [round(float(x), 3), round(float(y), 3), round(scale * up_m, 3)]

    names = [arm.joint_names[k] for k in found.driven]
    values = {
        "task": "reach",
        "arm": arm_name,
        "driven_joints": names,
        "ready": [round(float(value), 4) + 0.0 for value in found.ready],
        "target": {
            "half_size": round(half, 3),
            "center": center.tolist(),
            "radius": m(_RING),
            "azimuth": ring,
            "yaw": [0.0, 1.5708],
        },
        "hover": round(hover, 3),
        "start": {
            "radius": m(_START_RADIUS),
            "azimuth": starts,
            "height": m(_START_HEIGHT),
            "joint_spread": list(_SPREAD),
            "clearance": round(float(_clearance(arm, scale)), 3),
        },
        "scattered_starts": {"share": 0.3333, "std": 0.25},
        "approach_gain": round(float(_GAIN / scale), 2),
        "step_s": 0.1,
        "steps": 100,
        "images_per_episode": 16,
        "threshold_m": round(float(min(_THRESHOLD_M, scale * _THRESHOLD_M)), 3),
        "camera": _fitted(np.array(point(*_CAMERA)), np.array(point(*_TARGET)), *_seen(arm, found, center)),
    }
    return _HEADER.format(arm=arm.name, command=f"taskgan scene {given}") + _commented(values)


def _seen(arm: Arm, found: Proposal, center: Array) -> tuple[Array, Array]:
    """Return points (p, 3) m of the arm over the ring and in random starts, and of what must be seen whole.

    That is all around targets in the ring, and around the tip at the ends of where episodes start.
    """
    scale, rng = found.reach_m / _MICO_REACH_M, np.random.default_rng(0)
    goals = _ring(center, found.azimuth, scale)
    poses = [q for q in (solve_position(arm, goal, found.ready, found.driven) for goal in goals) if q is not None]
    for _ in range(len(poses)):
        start = found.ready.copy()
        start[found.driven] += rng.uniform(-1, 1, _DRIVEN) * _SPREAD
        poses.append(np.clip(start, arm.lower, arm.upper))
    frames = np.array([joint_frames(arm, q)[:, :3, 3] for q in poses])
    feet = np.zeros((len(poses), 1, 3))
    joints = np.concatenate([feet, frames], axis=1)
    links = [joints[:, :-1] + share * np.diff(joints, axis=1) for share in np.linspace(0, 1, 5)]
    points = np.concatenate(links).reshape(-1, 3)
    thick = scale * _ARM_RADIUS * np.concatenate([np.eye(3), -np.eye(3)])
    whole_points = np.concatenate([np.array(goals) * [1, 1, 0], *_farthest_starts(arm, found, center, scale)])
    return (points[:, None] + thick).reshape(-1, 3), (whole_points[:, None] + thick).reshape(-1, 3)


def _farthest_starts(arm: Arm, found: Proposal, center: Array, scale: float) -> list[Array]:
    """Return the tip's places (1, 3) m at the ends of where episodes start, as far as the arm reaches them."""
    angles = found.azimuth + _START_AZIMUTH * np.array([-1, 0, 1])
    corners = itertools.product(angles, scale * np.array(_START_RADIUS), scale * np.array(_START_HEIGHT))
    places = [_place(center, *corner) for corner in corners]
    return [place[None] for place in places if solve_position(arm, place, found.ready, found.driven) is not None]


def _fitted(position: Array, target: Array, arm_points: Array, whole_points: Array) -> dict[str, Any]:
    """Return a camera at `position` that sees `whole_points`, and nearly all of the arm, as large as possible."""
    for _ in range(5):  # turning the camera changes the projection a little
        back = (position - target) / np.linalg.norm(position - target)
        right = np.cross([0, 0, 1.0], back)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(back, right)])
        arm, seen = (_projected(points - position, axes, back) for points in (arm_points, whole_points))
        rare = np.percentile(arm, [(100 - _SEEN) / 2, (100 + _SEEN) / 2], axis=1)
        bounds = np.stack([np.minimum(rare[0], seen.min(axis=1)), np.maximum(rare[1], seen.max(axis=1))])
        distance = float(np.linalg.norm(position - target))
        target = target + distance * bounds.mean(axis=0) @ axes
    half = _MARGIN * float(np.ptp(bounds, axis=0).max()) / 2
    return {
        "position": position.tolist(),
        "target": target.round(3).tolist(),
        "fov": round(2 * float(np.arctan(half)), 3),
    }


def _projected(away: Array, axes: Array, back: Array) -> Array:
    """Return where points (p, 3) from the camera are in its picture (2, p), a unit away."""
    return axes @ away.T / -(away @ back)


_HEADER = """# A first scene for {arm}, written by `{command}`: to be edited; `taskgan scene --look FILE` shows it.
# Lengths in m, angles in rad, the arm's base at the origin, z up, the table's top at z = 0.
"""
_COMMENTS = {
    "driven_joints": "what the task moves; the others stand where `ready` says",
    "ready": "inverse kinematics starts here, so that one goal always has one solution",
    "target": "what the arm reaches for, and where it may lie: polar about center",
    "hover": "the tip's goal above the target's centre",
    "start": "where the tip may be when an episode starts",
    "scattered_starts": "share of starts around the goal; without them, the policy drifts off after arriving",
    "approach_gain": "1/s: |v|_1 = gain * distance",
    "steps": "of an episode; one takes step_s",
    "threshold_m": "nearer than this, the arm has arrived",
    "camera": "put it where yours stands; fov is vertical",
}


def _commented(values: dict[str, Any]) -> str:
    lines = []
    for key, value in values.items():
        comment = f"  # {_COMMENTS[key]}" if key in _COMMENTS else ""
        inside = value if isinstance(value, dict) else {}
        lines.append(f"{key}:{comment}" if inside else f"{key}: {to_flow(value)}{comment}")
        lines += [f"  {name}: {to_flow(part)}" for name, part in inside.items()]
    return "\n".join(lines) + "\n"
