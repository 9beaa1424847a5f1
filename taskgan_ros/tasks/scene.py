"""What every scene has, and what tasks are made of: an arm, a camera, driven joints, ranges to draw from."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import After, Before, Field, config_dataclass, whole_rule
from taskgan_ros.robot.arm import Arm, limits_in_degrees
from taskgan_ros.robot.kinematics import is_clear, tip_position
from taskgan_ros.robot.models import Robot, load_robot, shift_zeros
from taskgan_ros.robot.units import Angle, Metres, Positive, at_most
from taskgan_ros.tasks.state import CellState, Episode, Object
from taskgan_ros.vision.camera import Camera

Array = NDArray[np.float64]

MAX_DRAWS = 2000  # the shipped scene needs about 10 a start; far more means that its ranges contradict


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    """Refuse a range whose ends are swapped."""
    if bounds[0] > bounds[1]:
        raise ValueError("expected [lowest, highest]")
    return bounds


def _both_ends(bounds: Any) -> Any:
    """Let a number be a range that begins and ends there."""
    is_number = isinstance(bounds, (int, float)) and not isinstance(bounds, bool)
    return (bounds, bounds) if is_number else bounds


_Number = TypeVar("_Number")
Bounds = Annotated[
    tuple[_Number, _Number], Before(_both_ends), After(_ordered)
]  # [lowest, highest], or one number for both
Range = Bounds[float]
Radius = Annotated[Metres, Field(ge=0)]
Spread = Annotated[Angle, Field(gt=0)]
ZeroError = Annotated[float, at_most(1, "rad", "degrees")]


@config_dataclass
class Start:
    """Where the tip may be when an episode starts.

    Attributes:
        radius: m from the scene's `center`.
        azimuth: rad.
        height: m above the table.
        joint_spread: rad about `ready`, half-width of the uniform draw, one per driven joint.
        clearance: m; no joint and not the tip is ever below it.
    """

    radius: Bounds[Radius]
    azimuth: Bounds[Angle]
    height: Bounds[Metres]
    joint_spread: tuple[Spread, ...]
    clearance: Metres


@config_dataclass
class Scene:
    """What every scene has: an arm, the joints that labels are for, and a camera that looks at it.

    A task is a subclass in a file of its own; `registry` lists them.

    Attributes:
        task: a name in the registry.
        ready: rad, one angle per joint of the arm.
        step_s: s between two images of an episode.
        held_joints: rad or m, where joints stand that are not the arm's, such as a gripper's; else as at home.
        table_height: m, of the table's top over the arm's base.
        joint_zeros: rad or m by joint, added to the arm's readings to get its real position: the encoders' error, as
            found by a calibration. All code uses readings; only `robot` applies the correction.
    """

    task: str
    arm_name: Annotated[str, Field(alias="arm")]
    driven_joints: Annotated[tuple[str, ...], Field(min_length=1)]
    ready: tuple[Angle, ...]
    step_s: Positive
    camera: Camera
    held_joints: dict[str, float] = dataclasses.field(default_factory=dict)
    table_height: Metres = 0.0
    joint_zeros: dict[str, ZeroError] = dataclasses.field(default_factory=dict)

    @whole_rule
    def _fits_its_arm(self) -> None:
        names = self.arm.joint_names
        unknown = [name for name in self.driven_joints if name not in names]
        if unknown:
            raise ValueError(f"expected driven_joints of {list(names)}, got {unknown}")
        if len(set(self.driven_joints)) < len(self.driven_joints):
            raise ValueError(f"expected driven_joints that differ, got {list(self.driven_joints)}")
        if len(self.ready) != len(names):
            raise ValueError(f"expected {len(names)} ready angles, got {len(self.ready)}")
        others = [name for name in self.robot.description.joints if name not in names]
        if strangers := [name for name in self.held_joints if name not in others]:
            raise ValueError(f"expected held_joints of {others}, got {strangers}")
        if strangers := [name for name in self.joint_zeros if name not in names]:
            raise ValueError(f"expected joint_zeros of {list(names)}, got {strangers}")

    @cached_property
    def robot(self) -> Robot:
        """The arm that `arm` names, with this cell's `joint_zeros`, and what it is drawn with."""
        robot = load_robot(self.arm_name)
        if wrong := limits_in_degrees(robot.arm):
            raise InputError(f"{self.arm_name}: expected limits in rad, got some that look like degrees: {wrong}")
        return shift_zeros(robot, self.joint_zeros)

    @property
    def arm(self) -> Arm:
        """The arm that `arm` names."""
        return self.robot.arm

    @cached_property
    def driven(self) -> NDArray[np.intp]:
        """(J,) indices of the driven joints among the arm's."""
        return self.arm.indices(self.driven_joints)

    @property
    def objects(self) -> tuple[Object, ...]:
        """What the task places on the table, in the order of `CellState.objects`."""
        return ()

    def demonstrate(self, seed: int, index: int) -> list[tuple[CellState, Array | None]]:
        """Return the states that training episode `index` shows, and each one's velocities (J,) where the task has any.

        The same arguments always give the same states, in any domain.

        Raises:
            InputError: the scene's ranges leave no episode.
        """
        raise NotImplementedError

    def angles(self, state: CellState) -> Array:
        """Return the angles (J,) in rad of the driven joints: the labels of the joint-angle task.

        They count from the arm's zeros and are never wrapped into one turn, so none jumps within the scene's ranges.
        """
        return state.joint_pos[self.driven]

    def is_free(self, q: Array, clearance: float) -> bool:
        """Return whether the arm is within its limits, and above the table with all joints but the first, and the tip.

        Args:
            q: (n,) rad.
            clearance: m above the table.
        """
        return is_clear(self.arm, q, self.table_height + clearance)


@config_dataclass
class MotionScene(Scene):
    """A cell whose task an arm carries out by velocities, one each `step_s`.

    Attributes:
        start: where the tip may be when an episode starts.
        steps: of an episode.
        images_per_episode: of a training episode.
        threshold_m: m; an episode that ends nearer to its goal has arrived.
    """

    start: Start
    steps: Annotated[int, Field(gt=0)]
    images_per_episode: Annotated[int, Field(ge=2)]
    threshold_m: Annotated[Metres, Field(gt=0)]

    @whole_rule
    def _spreads_every_driven_joint(self) -> None:
        expected, actual = len(self.driven_joints), len(self.start.joint_spread)
        if actual != expected:
            raise ValueError(f"expected {expected} joint_spread values, got {actual}")

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) m in the arm's base frame, which radii and azimuths count from."""
        return 0.0, 0.0

    def sample_start(self, seed: int, index: int) -> Episode:
        """Draw a start for evaluation; never one that was made easier for training.

        Raises:
            InputError: the scene's ranges leave none.
        """
        raise NotImplementedError

    def distance(self, state: CellState) -> float:
        """Return how far the state is from the goal, in m."""
        raise NotImplementedError

    def finish(self, episode: Episode) -> CellState:
        """Return the cell's state after a successful episode."""
        raise NotImplementedError

    def move(self, state: CellState, joint_pos: Array) -> CellState:
        """Return what becomes of the cell when the arm moves to `joint_pos` (n,) rad: here, nothing else moves."""
        return state.moved_to(joint_pos)

    def draw_start(self, rng: np.random.Generator) -> Array:
        """Draw a configuration (n,) about `ready` with the tip where `start` allows.

        Raises:
            InputError: there is none.
        """
        spread = np.array(self.start.joint_spread)
        for _ in range(MAX_DRAWS):
            q = np.array(self.ready)
            q[self.driven] += rng.uniform(-spread, spread)
            if self.is_free(q, self.start.clearance) and self._is_start(tip_position(self.arm, q)):
                return q
        raise InputError(f"scene: expected a free start within {self.start}, got none in {MAX_DRAWS} draws")

    def _is_start(self, tip: Array) -> bool:
        x, y = tip[:2] - self.center
        start, radius, azimuth = self.start, np.hypot(x, y), np.arctan2(y, x)
        values = ((radius, start.radius), (tip[2] - self.table_height, start.height))
        lowest, highest = start.azimuth
        is_there = (azimuth - lowest) % (2 * np.pi) <= highest - lowest
        return bool(is_there and all(low <= value <= high for value, (low, high) in values))
