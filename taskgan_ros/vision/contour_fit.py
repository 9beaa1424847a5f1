"""A camera's pose, found by fitting an arm's outline to per-pixel evidence of the arm in the camera's images.

Each point of the projected outline searches along its normal for the arm's most likely edge. Gauss-Newton then moves
the camera so that the points lie on those edges. numpy and OpenCV alone: the node calls it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgan_ros.robot.silhouette import Contour, View, contour
from taskgan_ros.robot.surface import ArmSurface

Array = NDArray[np.float64]
Evidence = NDArray[np.float32]

_SURE_PX2 = 0.25  # variance of where a sharp edge is found
_CAUCHY = 2.385  # times the residuals' spread: efficient to 95 % for normal ones
_MAD = 1.4826  # from a median of magnitudes to a standard deviation
_LEAST_SPREAD_PX = 0.5
_LEAST_POINTS = 30
_FIXED_RAD = 1e-6
_NEAR_SHARE, _LEAST_NEAR_PX = 1.5 / 240, 1.0
_ALIKE = 16.0  # variance factor: errors of an outline are correlated, over about four points and between images
_SIDE_PX = 6.0  # on each side of an edge: the two sides must differ in colour
_TEXTURE = 25.0  # grey levels: standard deviation of texture that is no edge of the arm


@dataclass(frozen=True)
class Observation:
    """The evidence from one image, and the arm's joint positions in it.

    Attributes:
        joint_pos: (n,) rad or m.
        evidence: (H, W) float32, the logarithm of how much more likely a pixel is the arm than not; 0 is unknown.
        image: (H, W, 3) uint8 if colour edges count too; these are sharp, but other objects have them as well.
    """

    joint_pos: Array
    evidence: Evidence
    image: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Prior:
    """Standard deviations of the initial guess: position, direction, joint zeros, focal length.

    That of the focal length is relative. `growth_px` is for a uniform offset of the evidence outside the outline.
    Blur, generous masks and decimated meshes cause a fraction of a pixel, which would be mistaken for distance.
    """

    shift_m: float = 0.1
    turn_rad: float = 0.2
    zero_rad: float = 0.02
    focal: float = 0.1
    growth_px: float = 0.5


@dataclass(frozen=True)
class Problem:
    """What is fitted, and from what.

    Attributes:
        surface: the arm.
        shots: pictures of one camera, of `view`'s size; one or more.
        view: the first guess.
        prior: of that guess.
        ignored: links whose outline does not count, as something covers them that the model lacks.
        fits_zeros: whether each joint's zero is fitted too.
        fits_focal: whether the focal length is.
        fits_growth: whether the uniform offset of the evidence outside the outline is.
        points: of each picture's outline at most.
    """

    surface: ArmSurface
    shots: Sequence[Observation]
    view: View
    prior: Prior = field(default_factory=Prior)
    ignored: frozenset[int] = frozenset()
    fits_zeros: bool = False
    fits_focal: bool = False
    fits_growth: bool = False
    points: int = 400


@dataclass(frozen=True)
class Estimate:
    """A camera, joints' zeros, and how well they fit.

    Attributes:
        view: the camera.
        zeros: (n,) what is added to the joints' readings.
        covariance: (6, 6) of the place in m and the turn in rad about the base's axes, as the residuals have it.
        zeros_sigma: (n,) likewise, the zeros' standard deviations; None where they are not fitted.
        growth_px: the uniform offset of the arm's edges outside the projected outline.
        residual_px: the median over the outline's points that found an edge of the arm.
        share: of the outline's points that did.
    """

    view: View
    zeros: Array
    covariance: Array
    residual_px: float
    share: float
    zeros_sigma: Array | None = None
    growth_px: float = 0.0


def moved(pose: Array, change: ArrayLike) -> Array:
    """Return a pose (4, 4) moved by `change` (6,): m along, and rad about, the base frame's axes."""
    step, result = np.asarray(change, np.float64), pose.copy()
    result[:3, :3] = cv2.Rodrigues(step[3:])[0] @ pose[:3, :3]
    result[:3, 3] += step[:3]
    return result


def change_between(pose: Array, other: Array) -> Array:
    """Return the `change` (6,) that moves one pose (4, 4) to the other: `moved` inverted."""
    turn = cv2.Rodrigues(other[:3, :3] @ pose[:3, :3].T)[0].ravel()
    return np.concatenate([other[:3, 3] - pose[:3, 3], turn])


def refine(problem: Problem, start: Estimate | None = None, reach_px: Sequence[float] = (24, 12, 6, 6)) -> Estimate:
    """Return the camera that Gauss-Newton finds from a start.

    Args:
        problem: what is fitted.
        start: where it begins; the problem's guess if left out.
        reach_px: for each step, how far from the outline to search for the arm's edge.
    """
    zeros = np.zeros(len(problem.shots[0].joint_pos))
    now = start or Estimate(problem.view, zeros, np.zeros((6, 6)), np.inf, 0.0)
    for reach in reach_px:
        now = _step(problem, now, reach)
    return now


def support(problem: Problem, estimate: Estimate) -> list[float]:
    """Return, for each image, the share of outline points with an edge of the arm nearby.

    Nearby is 1.5 px at a height of 240; the search reaches four times as far. The likeliest place counts, as the mean
    place would always lie nearby on a bare wall. Without an arm the share is 0.15 to 0.25.
    """
    within_px = max(_NEAR_SHARE * problem.view.height, _LEAST_NEAR_PX)
    reach_px = 4 * within_px
    shares = []
    for shot in problem.shots:
        line = _line(problem, shot.joint_pos + estimate.zeros, estimate.view)
        place, odds = _odds_of_edges(shot.evidence, line, reach_px, shot.image)
        near = np.abs(place[odds.argmax(axis=1)]) <= within_px
        shares.append(float(near.mean()) if len(near) else 0.0)
    return shares


def _step(problem: Problem, now: Estimate, reach_px: float) -> Estimate:
    """Return the estimate after one Gauss-Newton step; unchanged if too few points find an edge."""
    rows, offsets, weights, seen = [], [], [], 0
    for shot in problem.shots:
        line = _line(problem, shot.joint_pos + now.zeros, now.view)
        offset, variance = find_edges(shot.evidence, line, reach_px, shot.image)
        found = np.isfinite(variance)
        seen += len(found)
        rows.append(_jacobian(problem, now, shot, line.at(found)))
        offsets.append(offset[found] - now.growth_px)
        weights.append(_SURE_PX2 / variance[found])
    matrix, offset, weight = np.concatenate(rows), np.concatenate(offsets), np.concatenate(weights)
    if len(offset) < _LEAST_POINTS:
        return replace(now, residual_px=np.inf, share=0.0)
    spread = max(_MAD * float(np.median(np.abs(offset))), _LEAST_SPREAD_PX)
    weight = weight / (1 + (offset / (_CAUCHY * spread)) ** 2) / spread**2
    certainty, behind = _certainty(problem, now)
    information = (matrix * weight[:, None]).T @ matrix + certainty
    change = np.asarray(np.linalg.solve(information, matrix.T @ (weight * offset) + certainty @ behind), np.float64)
    covariance, count = np.asarray(_ALIKE * np.linalg.inv(information), np.float64), len(now.zeros)
    return Estimate(
        replace(now.view, pose=moved(now.view.pose, change[:6]), matrix=_zoomed(problem, now.view.matrix, change)),
        now.zeros + change[6 : 6 + count] if problem.fits_zeros else now.zeros,
        covariance[:6, :6],
        float(np.median(np.abs(offset))),
        len(offset) / max(seen, 1),
        np.sqrt(np.diag(covariance)[6 : 6 + count]) if problem.fits_zeros else None,
        now.growth_px + float(change[6 + count * problem.fits_zeros]) if problem.fits_growth else now.growth_px,
    )


def _certainty(problem: Problem, now: Estimate) -> tuple[Array, Array]:
    """Return the prior's information (p, p), and the change (p,) that leads back to the guess."""
    prior, count = problem.prior, len(now.zeros)
    sigma = [prior.shift_m] * 3 + [prior.turn_rad] * 3
    behind = [change_between(now.view.pose, problem.view.pose)]
    if problem.fits_zeros:
        sigma += [_FIXED_RAD, *[prior.zero_rad] * (count - 1)]  # the base frame absorbs the first zero
        behind.append(-now.zeros)
    if problem.fits_growth:
        sigma.append(prior.growth_px)
        behind.append(np.array([-now.growth_px]))
    if problem.fits_focal:
        sigma.append(prior.focal)
        behind.append(np.log(problem.view.matrix[:1, 0] / now.view.matrix[0, 0]))
    return np.diag(1 / np.square(sigma)), np.concatenate(behind)


def _zoomed(problem: Problem, matrix: Array, change: Array) -> Array:
    """Return K with the focal length changed by the last of `change`, a logarithm, where it is fitted."""
    if not problem.fits_focal:
        return matrix
    factor = float(np.exp(change[-1]))
    return np.array(
        [[matrix[0, 0] * factor, matrix[0, 1], matrix[0, 2]], [0, matrix[1, 1] * factor, matrix[1, 2]], [0, 0, 1.0]]
    )


def _line(problem: Problem, joint_pos: Array, view: View) -> Contour:
    line = contour(problem.surface, joint_pos, view)
    if problem.ignored:
        line = line.at(~np.isin(line.links, list(problem.ignored)))
    return line.thinned(problem.points)


def find_edges(
    evidence: Evidence, line: Contour, reach_px: float, image: NDArray[np.uint8] | None = None
) -> tuple[Array, Array]:
    """Return how far along its normal each point finds the arm's edge, (k,) px, and the variance (k,) px² of that.

    The edge separates evidence for the arm, inside, from evidence against it, outside. With an image (H, W, 3), the
    colours on its two sides must differ too. The variance is infinite without an edge within `reach_px`.
    """
    place, odds = _odds_of_edges(evidence, line, reach_px, image)
    chance = np.exp(odds - odds.max(axis=1, keepdims=True, initial=-np.inf))
    chance /= chance.sum(axis=1, keepdims=True)
    mean = chance @ place
    variance = chance @ place**2 - mean**2 + _SURE_PX2
    best = odds.argmax(axis=1)
    is_within = (best > 0) & (best < len(place) - 1)
    return mean, np.where(is_within, variance, np.inf)


def _odds_of_edges(
    evidence: Evidence, line: Contour, reach_px: float, image: NDArray[np.uint8] | None
) -> tuple[Array, Array]:
    """Return places (p,) px along the normals, and the log odds (k, p) that each point's edge of the arm is there."""
    step = max(reach_px / 12, 0.5)
    t = np.arange(-reach_px, reach_px + step / 2, step)
    place = np.append(t - step / 2, t[-1] + step / 2)
    if not len(line.points):  # the arm is not in the picture
        return place, np.empty((0, len(place)))
    won = np.cumsum(_along(evidence, line, t), axis=1) * step
    odds = np.concatenate([np.zeros((len(won), 1)), won], axis=1)
    return place, odds if image is None else odds + _steps(image, line, place, step)


def _along(image: NDArray[np.float32] | NDArray[np.uint8], line: Contour, t: Array) -> Array:
    """Return the values (k, t) or (k, t, 3) of an image at `t` px along the points' normals."""
    at = (line.pixels[:, None] + t[:, None] * line.normals[:, None]).astype(np.float32)
    values = cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    along: Array = np.asarray(values, np.float64)
    return along


def _steps(image: NDArray[np.uint8], line: Contour, place: Array, step: float) -> Array:
    """Return the log odds (k, p) that the colours along the normals step at `place` (p,) px and are uniform beside it.

    They are the part of the variance over `_SIDE_PX` on both sides that such a step explains.
    """
    side = max(round(_SIDE_PX / step), 1)
    t = place[0] + step * (np.arange(len(place) - 1 + 2 * side) - side + 0.5)
    total = np.cumsum(_along(image, line, t), axis=1)
    total = np.concatenate([np.zeros_like(total[:, :1]), total], axis=1)
    before, here, after = total[:, : -2 * side], total[:, side:-side], total[:, 2 * side :]
    apart = ((here - before) - (after - here)) / side  # of the mean colours
    odds: Array = (apart**2).mean(axis=-1) * (side * step / 4) / _TEXTURE**2
    return odds


def _jacobian(problem: Problem, now: Estimate, shot: Observation, line: Contour) -> Array:
    """Return how far (k, p) points move along their normals with the camera, zeros, focal length and growth."""
    view = now.view
    from_camera = line.points - view.pose[:3, 3]
    local = from_camera @ view.pose[:3, :3]
    depth = local[:, 2:]
    fx, fy = view.matrix[0, 0], view.matrix[1, 1]
    along = line.normals * [fx, fy] / depth
    by_local = np.concatenate([along, -(along * local[:, :2] / depth).sum(axis=1, keepdims=True)], axis=1)
    by_point = by_local @ view.pose[:3, :3].T  # d(normal · pixel) / d(point in the base frame)
    columns = [-by_point, -np.cross(from_camera, by_point)]
    if problem.fits_zeros:
        columns.append(_by_zeros(problem.surface, shot.joint_pos + now.zeros, line, by_point))
    if problem.fits_growth:
        columns.append(np.ones((len(line.points), 1)))
    if problem.fits_focal:
        columns.append(((line.pixels - view.matrix[:2, 2]) * line.normals).sum(axis=1, keepdims=True))
    return np.concatenate(columns, axis=1)


def _by_zeros(surface: ArmSurface, joint_pos: Array, line: Contour, by_point: Array) -> Array:
    """Return d(normal · pixel) / d(joint) (k, n) px/rad, by differences of the links' poses."""
    step, own = 1e-5, surface.poses(joint_pos)
    back = np.linalg.inv(own)
    columns = []
    for k in range(len(joint_pos)):
        change = (surface.poses(joint_pos + step * (np.arange(len(joint_pos)) == k)) @ back - np.eye(4)) / step
        turned = np.einsum("kij,kj->ki", change[line.links, :3, :3], line.points) + change[line.links, :3, 3]
        columns.append((turned * by_point).sum(axis=1))
    return np.stack(columns, axis=1)
