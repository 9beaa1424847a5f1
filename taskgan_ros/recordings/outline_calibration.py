"""A camera's pose without a board: the arm's projected outline is fitted to the arm's edges in recorded pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.empty_scene import find_empty_scene, mask_evidence, motion_evidence
from taskgan_ros.robot.silhouette import Mask, View, grown, silhouette
from taskgan_ros.robot.surface import ArmSurface
from taskgan_ros.vision.contour_fit import (
    Estimate,
    Evidence,
    Observation,
    Prior,
    Problem,
    change_between,
    moved,
    refine,
    support,
)

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

LEAST_FRAMES = 4
_COARSE_PX, _FINE_PX = 160, 400  # height at most, of the pictures that starts and the best of them are fitted on
_APART_RAD = 0.05  # the joints of two frames must differ by at least so much to be two
# Shares of the height: how far the arm may be from its projection, and how far from it to search for its edges.
_COARSE = ((0.14, (0.14, 0.10)), (0.09, (0.08, 0.06)), (0.05, (0.04, 0.03)))
_FINE = ((0.05, (0.05, 0.03)), (0.025, (0.015, 0.012, 0.012)))
_MOST_ROUNDS, _STILL_M, _STILL_RAD = 6, 0.001, np.deg2rad(0.05)  # of the last stage, until the camera moves less
_GUESS = 0.14  # of the height: how far around the guessed arm to look for motion
_LEAST_REACH_PX = 3.0
_BEST = 3  # of the starts' results that are refined
_RIVAL = 0.95  # of the best result's rank, from which another one is as good
_SAME_M, _SAME_RAD = 0.01, np.deg2rad(1.0)  # results of the search that count as the same
_AGREE_M, _AGREE_RAD = 0.02, np.deg2rad(2.0)  # rivals further apart contradict each other
_LEAST_SUPPORT = 0.4  # of the outline; 0.15 to 0.25 by chance
_LARGEST_M, _LARGEST_RAD = 0.03, np.deg2rad(3.0)  # standard deviations of a camera that is determined
_WITH_FOCAL = 3.0  # times these, as a longer lens farther away shows nearly the same
_MOST_PRIORS = 3.0  # times the prior's deviation: a fit further from the guess has diverged


@dataclass(frozen=True)
class Pictures:
    """The data: pictures by one ideal camera, with the arm's configuration in each.

    Attributes:
        images: N of (H, W, 3) uint8 RGB.
        joint_pos: (N, n) rad or m.
        masks: N of (H, W), where the arm is, if known.
    """

    images: Sequence[Image]
    joint_pos: Array
    masks: Sequence[Mask] | None = None

    def at(self, rows: Sequence[int]) -> Pictures:
        """Return some of them."""
        masks = None if self.masks is None else [self.masks[k] for k in rows]
        return Pictures([self.images[k] for k in rows], self.joint_pos[list(rows)], masks)

    def sized(self, height: int, width: int) -> Pictures:
        """Return them in another size."""
        if self.images[0].shape[:2] == (height, width):
            return self
        how = cv2.INTER_AREA if height < self.images[0].shape[0] else cv2.INTER_LINEAR
        images = [np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8) for image in self.images]
        masks = self.masks and [
            cv2.resize(mask.astype(np.float32), (width, height), interpolation=how) >= 0.5 for mask in self.masks
        ]
        return Pictures(images, self.joint_pos, masks)


@dataclass(frozen=True)
class OutlineOptions:
    """How the outline is fitted.

    Attributes:
        prior: how well the guess is known.
        starts: of the search, the guess among them.
        frames: of the recording that are used at most.
        ignored: links whose outline does not count.
        fits_zeros, fits_focal: whether the joints' zeros and the focal length are fitted too.
        fits_growth: whether a uniform offset of the masks' edges is fitted too: one pixel of 400 too large moves the
            camera 0.9 cm nearer. Motion evidence is too blurred for it, and the fit diverges more often.
        seed: of the starts.
    """

    prior: Prior = field(default_factory=Prior)
    starts: int = 5
    frames: int = 12
    ignored: frozenset[int] = frozenset()
    fits_zeros: bool = False
    fits_focal: bool = False
    fits_growth: bool = False
    seed: int = 0


@dataclass(frozen=True)
class OutlineFit:
    """What was found.

    Attributes:
        view: the camera, of the pictures' size.
        zeros: (n,) what is added to the joints' readings.
        covariance: (6, 6) as `Camera` has it: of the fit, and of the spread of its starts' results.
        score: in [0, 1], the share of the outline with an edge of the arm nearby (`support`).
        residual_px: the median over the outline, at the fitted size.
        height_px: of that size.
        rivals: how many results are as good as the best one, itself included.
        zeros_sigma: (n,) standard deviations of the zeros; None where they are not fitted.
    """

    view: View
    zeros: Array
    covariance: Array
    score: float
    residual_px: float
    height_px: int
    rivals: int
    zeros_sigma: Array | None = None


@dataclass(frozen=True)
class Solution:
    """What a start converges to: its score, its rank (score times how well the arm explains the motion), the camera."""

    rank: float
    score: float
    at: Estimate


def calibrate_by_outline(
    surface: ArmSurface,
    coarse_surface: ArmSurface,
    view: View,
    pictures: Pictures,
    options: OutlineOptions | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> OutlineFit:
    """Return where the camera stands.

    Args:
        surface: the arm.
        coarse_surface: the same with fewer triangles, for the search.
        view: the rough guess, of the pictures' size.
        pictures: of a recording in which the arm moves; masks in place of motion where they have some.
        options: how.
        advance: called after each start.

    Raises:
        InputError: too few different configurations, an outline that nothing in the pictures supports, starts with
            contradictory results, or pictures that do not determine the camera. The message has figures.
    """
    options = options or OutlineOptions()
    rows = spread_out(pictures.joint_pos, options.frames)
    if len(rows) < LEAST_FRAMES:
        raise InputError(
            f"expected at least {LEAST_FRAMES} configurations that differ by {_APART_RAD} rad, got {len(rows)} in "
            f"{len(pictures.images)} frames: move the arm more"
        )
    used = pictures.at(rows)
    small = view.scaled(min(_COARSE_PX / view.height, 1.0))
    coarse = _Level(
        coarse_surface,
        small,
        used.sized(small.height, small.width),
        replace(options, fits_zeros=False, fits_growth=False),
    )
    solutions = []
    for change in _starts(options):
        interrupts.check()
        start = _at(replace(small, pose=moved(small.pose, change)), used)
        solutions.append(coarse.follow(start, _COARSE, with_colors=False))
        advance(1)
    best = _distinct([each.at for each in sorted(solutions, key=lambda each: -each.rank)])[:_BEST]
    fine = view.scaled(min(_FINE_PX / view.height, 1.0))
    scaled = [replace(each, view=_with_focal(fine, each.view)) for each in best]
    level = _Level(surface, fine, used.sized(fine.height, fine.width), options)
    refined = [level.follow(each, _FINE, with_colors=used.masks is None) for each in scaled]
    return _judge(view, fine, options, refined)


def score(surface: ArmSurface, view: View, pictures: Pictures, options: OutlineOptions, at: Estimate) -> float:
    """Return the share, in [0, 1], of the outline with an edge of the arm nearby, in the median over pictures.

    Only the pictures' own edges count, or the masks if there are any, and nothing that depends on the assumed camera.
    So the scores of any two cameras are comparable.
    """
    none = np.zeros(pictures.images[0].shape[:2], np.float32)
    shots = [
        Observation(q, none, image) if pictures.masks is None else Observation(q, mask_evidence(pictures.masks[k]))
        for k, (q, image) in enumerate(zip(pictures.joint_pos, pictures.images, strict=True))
    ]
    return float(np.median(support(Problem(surface, shots, view, ignored=options.ignored), at)))


def _distinct(estimates: list[Estimate]) -> list[Estimate]:
    """Return the estimates without duplicates."""
    kept: list[Estimate] = []
    for estimate in estimates:
        apart = [change_between(one.view.pose, estimate.view.pose) for one in kept]
        if all(np.linalg.norm(way[:3]) > _SAME_M or np.linalg.norm(way[3:]) > _SAME_RAD for way in apart):
            kept.append(estimate)
    return kept


def spread_out(joint_pos: Array, count: int) -> list[int]:
    """Return the rows of at most `count` configurations (N, n), each the farthest from those before it."""
    rows, away = [0], np.full(len(joint_pos), np.inf)
    while len(rows) < count:
        away = np.minimum(away, np.linalg.norm(joint_pos - joint_pos[rows[-1]], axis=1))
        if away.max() < _APART_RAD:
            break
        rows.append(int(away.argmax()))
    return sorted(rows)


def _at(view: View, pictures: Pictures) -> Estimate:
    return Estimate(view, np.zeros(pictures.joint_pos.shape[1]), np.eye(6), np.inf, 0.0)


def _starts(options: OutlineOptions) -> list[Array]:
    """Return changes (6,) of the guess to start from, none the first."""
    rng = np.random.default_rng(options.seed)
    sigma = np.repeat([options.prior.shift_m, options.prior.turn_rad], 3) / 2
    return [np.zeros(6), *(rng.normal(size=(max(options.starts - 1, 0), 6)) * sigma)]


def _with_focal(fine: View, found: View) -> View:
    """Return a camera of `fine`'s size at the pose, and with the focal length, that another size of it has."""
    return replace(found.scaled(fine.height / found.height), height=fine.height, width=fine.width)


@dataclass(frozen=True)
class _Level:
    """Pictures of one size, and what is fitted to them."""

    surface: ArmSurface
    guess: View
    pictures: Pictures
    options: OutlineOptions

    @cached_property
    def moving(self) -> list[Evidence]:
        """What moves in each picture, (H, W), whatever the camera."""
        start, growth_px = _at(self.guess, self.pictures), _GUESS * self.guess.height
        return [shot.evidence for shot in _shots(self.surface, self.pictures, start, growth_px, everywhere=True)]

    def follow(self, start: Estimate, stages: Sequence[tuple[float, Sequence[float]]], with_colors: bool) -> Solution:
        """Return where a start converges."""
        options, guess, now = self.options, self.guess, start
        rounds = _MOST_ROUNDS if with_colors or self.pictures.masks is not None else 1
        for k, (growth, reach) in enumerate([*stages, *[stages[-1]] * (rounds - 1)]):
            before = now
            shots = _shots(self.surface, self.pictures, now, growth * guess.height, with_colors)
            fitted = options.fits_zeros, options.fits_focal, options.fits_growth
            problem = Problem(self.surface, shots, guess, options.prior, options.ignored, *fitted)
            now = refine(problem, now, [max(share * guess.height, _LEAST_REACH_PX) for share in reach])
            way = change_between(before.view.pose, now.view.pose)
            is_still = np.linalg.norm(way[:3]) < _STILL_M and np.linalg.norm(way[3:]) < _STILL_RAD
            if is_still and k >= len(stages) - 1:
                break
        share = score(self.surface, guess, self.pictures, options, now)
        return Solution(share * _explained(self.surface, self.pictures, self.moving, now), share, now)


def _explained(surface: ArmSurface, pictures: Pictures, moving: Sequence[Evidence], at: Estimate) -> float:
    """Return the overlap of silhouettes and evidence for an arm, in [0, 1]: the Dice coefficient."""
    shared = whole = 0.0
    for q, evidence in zip(pictures.joint_pos, moving, strict=True):
        mask, for_arm = silhouette(surface, q + at.zeros, at.view), np.maximum(evidence, 0)
        shared += 2 * float(for_arm[mask].sum())
        whole += float(for_arm.sum()) + float(np.abs(evidence)[mask].sum())
    return shared / max(whole, 1.0)


def _shots(
    surface: ArmSurface,
    pictures: Pictures,
    now: Estimate,
    growth_px: float,
    with_colors: bool = False,
    everywhere: bool = False,
) -> list[Observation]:
    """Return each picture's evidence, given an assumed camera: near the arm, or everywhere."""
    if pictures.masks is not None:
        return [Observation(q, mask_evidence(mask)) for q, mask in zip(pictures.joint_pos, pictures.masks, strict=True)]
    within = [grown(silhouette(surface, q + now.zeros, now.view), growth_px) for q in pictures.joint_pos]
    scene = find_empty_scene(pictures.images, within)
    if everywhere:
        within = [np.ones_like(near) for near in within]
    return [
        Observation(q, motion_evidence(image, scene, near), image if with_colors else None)
        for q, image, near in zip(pictures.joint_pos, pictures.images, within, strict=True)
    ]


def _judge(view: View, fine: View, options: OutlineOptions, solutions: list[Solution]) -> OutlineFit:
    """Return the best result, after checking that it is valid."""
    first = max(solutions, key=lambda each: each.rank)
    won, best = first.score, first.at
    rivals = [each.at for each in solutions if each.rank >= _RIVAL * first.rank]
    apart = np.array([change_between(best.view.pose, rival.view.pose) for rival in rivals])
    shift, turn = (float(np.linalg.norm(part, axis=1).max()) for part in (apart[:, :3], apart[:, 3:]))
    if shift > _AGREE_M or turn > _AGREE_RAD:
        raise InputError(
            f"expected starts that end at one camera, got {len(rivals)} as good ones up to {100 * shift:.1f} cm and "
            f"{np.rad2deg(turn):.1f}° apart: give a better guess, or a recording in which more of the arm moves"
        )
    if won < _LEAST_SUPPORT:
        raise InputError(
            f"expected the arm's outline in the pictures, got only {100 * won:.0f} % of it near an edge of the arm "
            f"({100 * _LEAST_SUPPORT:.0f} % needed): is the guess within 10 cm and "
            "10°, is it this arm, are the stamps right, does the arm stand out from what is behind it?"
        )
    covariance = best.covariance + apart.T @ apart / max(len(rivals) - 1, 1)
    _check_determined(covariance, _WITH_FOCAL if options.fits_focal else 1.0)
    _check_near(options.prior, change_between(view.pose, best.view.pose))
    found = best.view.scaled(view.height / fine.height)
    return OutlineFit(
        replace(found, height=view.height, width=view.width),
        best.zeros,
        covariance,
        won,
        best.residual_px,
        fine.height,
        len(rivals),
        best.zeros_sigma,
    )


def _check_determined(covariance: Array, slack: float) -> None:
    shift, turn = (float(np.sqrt(np.linalg.eigvalsh(part)[-1])) for part in (covariance[:3, :3], covariance[3:, 3:]))
    if shift > slack * _LARGEST_M or turn > slack * _LARGEST_RAD:
        raise InputError(
            f"expected pictures that determine the camera, got {100 * shift:.1f} cm and {np.rad2deg(turn):.1f}° of "
            "uncertainty: record more configurations, with the arm near to the camera and far from it"
        )


def _check_near(prior: Prior, change: Array) -> None:
    shift, turn = float(np.linalg.norm(change[:3])), float(np.linalg.norm(change[3:]))
    if shift > _MOST_PRIORS * prior.shift_m or turn > _MOST_PRIORS * prior.turn_rad:
        raise InputError(
            f"expected a camera near the scene's, got one {100 * shift:.0f} cm and {np.rad2deg(turn):.0f}° off: "
            "correct the scene's camera by hand first; `taskgan overlay` shows how it lies"
        )
