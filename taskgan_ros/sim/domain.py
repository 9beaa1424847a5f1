"""Domains: how the cell looks, as YAML files with one schema (docs/domains.md explains each field)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.config import load, resolve
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import Before, Field, config_dataclass, field_rule, whole_rule
from taskgan_ros.robot.arm import Arm, Color, ToolPart
from taskgan_ros.robot.units import Angle, Metres, at_most
from taskgan_ros.sim import photos
from taskgan_ros.tasks.scene import Bounds, MotionScene, Range
from taskgan_ros.tasks.state import CellState

Pattern = Literal["plain", "wood", "checker", "stripes", "blotches", "gradient"]
Fraction = Annotated[float, Field(ge=0, le=1)]
AngleError = Annotated[float, at_most(1, "rad", "degrees")]
PositionError = Annotated[float, at_most(1, "m", "mm")]
LampDistance = Annotated[float, Field(gt=0), at_most(100, "m", "mm")]  # the sun's, in effect
Quality = Annotated[int, Field(ge=1, le=100)]
Few = Annotated[int, Field(ge=0, le=20)]
Length = Annotated[Metres, Field(gt=0)]
Pixels = Annotated[float, Field(ge=0)]
_ONE = (1.0, 1.0)
_ZERO = (0.0, 0.0)


@config_dataclass
class Surface:
    """A colour, and how far each episode's may differ.

    Attributes:
        rgb: linear RGB in [0, 1].
        jitter: largest change of each channel, drawn once per episode.
        brightness: all channels are multiplied by a draw from this range.
    """

    rgb: Color
    jitter: Fraction = 0.0
    brightness: Range = _ONE


@config_dataclass
class Table(Surface):
    """The table, which fills the background.

    Attributes:
        patterns: four textures each; one texture is drawn per episode; `plain` has none.
        photos: one texture each, which joins them: an image file, or `skimage:NAME` for a photograph that comes with
            scikit-image. With neither patterns nor photos the table is plain.
        scale_m: the edge of one texture tile in m.
        rotation: rad about the vertical.
        contrast: how far a texture's colours lie apart, 1 being its own colours; drawn once a texture.
    """

    patterns: tuple[Pattern, ...] = ()
    photos: tuple[str, ...] = ()
    scale_m: Bounds[Annotated[Metres, Field(gt=0)]] = _ONE
    rotation: Bounds[Angle] = _ZERO
    contrast: Range = _ONE


@config_dataclass
class Background:
    """A picture behind arm and objects, in place of the table: of the real scene without them, from the same camera.

    Attributes:
        file: a dataset of recorded frames, of which the empty scene is made, or an image file of it.
        share: of the episodes; the others have the domain's own table.
        brightness: factor on all channels.
        jitter: largest change of each channel's factor.
        shift_px: the largest shift, each way: the error that a camera's mount and a calibration leave.
    """

    file: str
    share: Fraction = 1.0
    brightness: Range = _ONE
    jitter: Fraction = 0.0
    shift_px: Annotated[float, Field(ge=0)] = 0.0


def _by_file(background: Any) -> Any:
    """Let a path alone be a background."""
    return {"file": background} if isinstance(background, str) else background


@config_dataclass
class ArmAppearance:
    """The arm's colours: each material's colour times `brightness`, changed by `jitter`.

    Attributes:
        by_link: every link has a colour of its own in place of its materials', so that the picture tells
            links apart.
        brightness: factor on each colour.
        jitter: largest change of each channel.
        gloss: strength of the highlight.
        stickers: how many of them are on the arm, in places and colours that `texture_seed` fixes.
        sticker_m: a sticker's radius.
        cable_m: the radius of a cable along the links; 0 is none.
        tool: what the hand carries besides the tool of the scene's arm: shapes in the tip's frame, or a link's.
    """

    by_link: bool = False
    brightness: Range = _ONE
    jitter: Fraction = 0.0
    gloss: Range = _ZERO
    stickers: Annotated[int, Field(ge=0, le=50)] = 0
    sticker_m: Length = 0.02
    cable_m: Annotated[Metres, Field(ge=0)] = 0.0
    tool: tuple[ToolPart, ...] = ()

    @staticmethod
    @field_rule("tool")
    def _is_of_shapes(tool: tuple[ToolPart, ...], _: Mapping[str, Any]) -> None:
        if other := [part.kind for part in tool if part.kind in ("mesh", "board")]:
            raise ValueError(f"expected capsules, cylinders, ellipsoids and boxes, got {other}")


@config_dataclass
class Clutter:
    """Things on the table that are not the task's; one that stands too near to an object of the task is not drawn.

    Attributes:
        count: how many.
        size_m: half of a thing's width.
        distance_m: from the point of the table that the camera looks at.
        red: share that has the cube's colour; none of these is a box.
    """

    count: Bounds[Few] = (0, 0)
    size_m: Bounds[Length] = (0.02, 0.04)
    distance_m: Bounds[Metres] = (0.1, 0.5)
    red: Fraction = 0.0


@config_dataclass
class Occlusion:
    """Bars close to the lens, out of focus, such as a cable or the edge of a bench; each swings slowly.

    Attributes:
        count: how many.
        width: of a bar, as a share of the image's height.
        swing: how far it swings to each side, as a share of the image's height.
        brightness: of its grey.
    """

    count: Bounds[Few] = (0, 0)
    width: Bounds[Fraction] = (0.03, 0.08)
    swing: Bounds[Fraction] = _ZERO
    brightness: Bounds[Fraction] = (0.05, 0.3)


@config_dataclass
class Light:
    """Light from everywhere, from the camera, and from one lamp that may move and throw shadows.

    Attributes:
        ambient: brightness from everywhere.
        headlight: brightness of a light at the camera.
        lamp: brightness of the lamp; 0 is no lamp.
        azimuth: rad, where the lamp stands.
        elevation: rad above the table.
        distance_m: from the workspace's middle.
        sway_m: how far it swings to each side while an episode runs.
        sway_period_s: one swing there and back.
        tint: largest change of each colour channel of the lamp.
        shadows: whether the lamp throws them.
        fade: factor on all light at the end of `fade_s`; it changes linearly from 1 at the beginning.
        fade_s: s from an episode's beginning.
        passer: share of the episodes in which a person walks to and fro between lamp and table, whose shadow falls on
            it; needs `shadows`.
    """

    ambient: Range
    headlight: Range
    lamp: Range = _ZERO
    azimuth: Bounds[Angle] = _ZERO
    elevation: Bounds[Angle] = (1.2, 1.2)
    distance_m: Bounds[LampDistance] = (2.0, 2.0)
    sway_m: Bounds[Metres] = _ZERO
    sway_period_s: Annotated[float, Field(gt=0)] = 8.0
    tint: Fraction = 0.0
    shadows: bool = False
    fade: Range = _ONE
    fade_s: Annotated[float, Field(gt=0)] = 10.0
    passer: Fraction = 0.0

    @whole_rule
    def _throws_a_passers_shadow(self) -> None:
        if self.passer and not self.shadows:
            raise ValueError("expected shadows: true for a passer, of whom nothing else is seen, got false")


@config_dataclass
class Deformation:
    """Slight changes of shape: factors on the thickness of the arm's shapes, each its own, and on the cube's edge."""

    arm_thickness: Range = _ONE
    cube_size: Range = _ONE


@config_dataclass
class Sensor:
    """What the camera adds.

    Attributes:
        gain: exposure factor.
        gamma: exponent on values in [0, 1].
        white_balance: largest change of each channel's gain.
        vignette: darkening at the corners, 0 to 1.
        blur_px: standard deviation of a Gaussian blur in pixels.
        noise: standard deviation of each pixel's noise, on values in [0, 1].
        distortion: the lens's radial k1 and k2 as OpenCV has them, the same in every episode.
        supersampling: images are drawn this many times larger and averaged, as a lens and pixels do; 1 has jagged
            edges.
        jpeg_quality: 1 to 100, as of a webcam that compresses; none where it does not.
        shake_px: how far the camera moves while a frame is exposed, each frame in another direction.
        rolling_px: how far rows are shifted against each other, at most, because a camera that shakes reads them one
            after the other.
        glare: brightness that light in the lens adds around one place of the image.
    """

    gain: Range = _ONE
    gamma: Range = _ONE
    white_balance: Fraction = 0.0
    vignette: Range = _ZERO
    blur_px: Range = _ZERO
    noise: Range = _ZERO
    distortion: tuple[float, float] = _ZERO
    supersampling: Annotated[int, Field(ge=1, le=4)] = 1
    jpeg_quality: Bounds[Quality] | None = None
    shake_px: Bounds[Pixels] = _ZERO
    rolling_px: Bounds[Pixels] = _ZERO
    glare: Range = _ZERO


@config_dataclass
class CameraError:
    """The calibration error of the camera's pose: standard deviations, drawn per episode."""

    position_m: Annotated[PositionError, Field(ge=0)] = 0.0
    rotation_rad: Annotated[AngleError, Field(ge=0)] = 0.0


@config_dataclass
class Calibration:
    """A constant calibration error of a dataset: how far the real cell is from what labels and states say.

    Attributes:
        camera_position_m: how far the camera stands from where the scene says, m along the world's axes.
        camera_rotation_rad: how far it is turned, rad about its own axes: right, up, back.
        joint_rad: added to the joints' readings to get the real angles, one per joint of the arm; none for no error.
    """

    camera_position_m: tuple[PositionError, PositionError, PositionError] = (0.0, 0.0, 0.0)
    camera_rotation_rad: tuple[AngleError, AngleError, AngleError] = (0.0, 0.0, 0.0)
    joint_rad: tuple[AngleError, ...] = ()

    def true_state(self, state: CellState) -> CellState:
        """Return the cell as it really is where the joints read as `state` says."""
        return state.moved_to(state.joint_pos + np.array(self.joint_rad)) if self.joint_rad else state

    def move(self, scene: MotionScene, state: CellState, joint_pos: NDArray[np.float64]) -> CellState:
        """Return the cell once the joints read `joint_pos` (n,) rad; the arm pushes objects where it really is."""
        reached = self.true_state(state.moved_to(joint_pos)).joint_pos
        return scene.move(self.true_state(state), reached).moved_to(joint_pos)


@config_dataclass
class PathTracing:
    """How a domain is drawn by tracing paths of light, with Mitsuba, instead of by MuJoCo.

    Attributes:
        samples: paths a pixel, rounded up to a square number; the noise halves with four times as many.
        lamp_radius_m: of the lamp's disc; the larger, the softer its shadows.
        roughness: of glossy surfaces; 1 is matt.
    """

    samples: Annotated[int, Field(ge=1, le=4096)] = 16
    lamp_radius_m: Length = 0.2
    roughness: Annotated[float, Field(ge=0.05, le=1)] = 0.35


@config_dataclass
class Domain:
    """How the cell looks in one domain. A range `[a, b]` is drawn from uniformly, once per episode.

    Attributes:
        description: one line for people.
        cube: what the arm reaches for or pushes.
        mark: what lies flat on the table to say where something belongs.
        background: what is behind arm and objects in place of the table, which then takes no shadows.
        path_tracing: draws it with another renderer, which is slower; None is MuJoCo's.
        texture_seed: seeds the patterns, so that a domain always has the same textures.
    """

    description: str
    table: Table
    cube: Surface
    mark: Surface = Surface(rgb=(0.12, 0.30, 0.75))
    background: Annotated[Background | None, Before(_by_file)] = None
    arm: ArmAppearance = ArmAppearance()
    light: Light
    deformation: Deformation = Deformation()
    sensor: Sensor = Sensor()
    clutter: Clutter = Clutter()
    occlusion: Occlusion = Occlusion()
    camera_error: CameraError = CameraError()
    calibration: Calibration = Calibration()
    path_tracing: PathTracing | None = None
    texture_seed: int = 0

    @whole_rule
    def _is_what_a_path_tracer_draws(self) -> None:
        if self.path_tracing and self.background:
            raise ValueError("expected a table under path_tracing, got a background, which no light falls on")
        if self.path_tracing and max(self.light.lamp) > 0 and not self.light.shadows:
            raise ValueError("expected light.shadows: true under path_tracing, where lamps throw them, got false")


def load_domain(name_or_path: str | Path) -> Domain:
    """Return a shipped domain by name, or the domain in a user's file; pictures are looked for beside the file.

    Raises:
        InputError: unknown name, a file that does not describe a domain, or a photo or background that is not there.
    """
    path = resolve("domains", name_or_path)
    domain = load(Domain, path)
    found = tuple(str(photos.find(name, path.parent)) for name in domain.table.photos)
    background = domain.background
    if background:
        background = dataclasses.replace(background, file=str(photos.find(background.file, path.parent)))
    return dataclasses.replace(domain, table=dataclasses.replace(domain.table, photos=found), background=background)


def check_calibration(calibration: Calibration, arm: Arm) -> None:
    """Refuse joint errors that are not one per joint of the arm."""
    expected, actual = len(arm.joint_names), len(calibration.joint_rad)
    if actual not in (0, expected):
        raise InputError(f"expected calibration.joint_rad of {expected} angles for {arm.name}, or none, got {actual}")
