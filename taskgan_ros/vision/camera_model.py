"""A real camera: its lens and matrix, and its images as an ideal pinhole would have taken them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.config import read_yaml
from taskgan_ros.core.errors import InputError
from taskgan_ros.vision.camera import pinhole_matrix
from taskgan_ros.vision.images import FOV_TOLERANCE, Image, RawImage, zoom_for

Array = NDArray[np.float64]

MODELS: Final = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}  # coefficients
_OTHER_NAMES: Final = {"": "plumb_bob", "fisheye": "equidistant", "none": "plumb_bob"}
_SAME_PX: Final = 1e-3  # below any calibration's accuracy: within it, images are cropped and not resampled
_BORDER_POINTS: Final = 33  # along each side of the ideal image, to check that the camera covers it
_WIDEST: Final = 3.0  # rad; as wide as a scene's camera may be
_STEPS: Final = 300  # of the search from narrow to wide, 0.01 rad each


@dataclass(frozen=True)
class CameraModel:
    """A camera's intrinsic calibration, as sensor_msgs/CameraInfo has it.

    Attributes:
        matrix: K, rows of (3, 3) in pixels; OpenCV's convention, in which the first pixel's centre is (0, 0).
        distortion: D, as many coefficients as `model` has, in OpenCV's order.
        model: one of `MODELS`.
        height, width: of the images that it was calibrated for, in pixels.
    """

    matrix: tuple[tuple[float, float, float], ...]
    distortion: tuple[float, ...]
    model: str
    height: int
    width: int

    def __post_init__(self) -> None:
        """Check that the numbers make a camera.

        Raises:
            InputError: they do not.
        """
        if self.model not in MODELS:
            raise InputError(f"camera: expected a distortion_model of {list(MODELS)}, got {self.model!r}")
        if len(self.distortion) not in MODELS[self.model]:
            counts = " or ".join(map(str, MODELS[self.model]))
            raise InputError(f"camera: expected {counts} coefficients of {self.model}, got {len(self.distortion)}")
        if np.shape(self.matrix) != (3, 3) or not np.isfinite([*np.ravel(self.matrix), *self.distortion]).all():
            got = f"{self.matrix} and {self.distortion}"
            raise InputError(f"camera: expected a finite matrix of 3x3 numbers and finite coefficients, got {got}")
        (fx, _, cx), (_, fy, cy), _ = self.matrix
        if fx <= 0 or fy <= 0:
            raise InputError(f"camera: expected focal lengths above 0, got {fx:g} and {fy:g}: is it calibrated?")
        if self.height < 1 or self.width < 1 or not (0 < cx < self.width and 0 < cy < self.height):
            got = f"({cx:g}, {cy:g}) in {self.width}x{self.height}"
            raise InputError(f"camera: expected a principal point within the image, got {got}")

    @property
    def fov(self) -> float:
        """The vertical field of view in rad of a pinhole with this focal length and height."""
        return 2 * math.atan(self.height / 2 / self.matrix[1][1])

    @property
    def is_ideal(self) -> bool:
        """Whether it is a pinhole already: square pixels, no distortion, the principal point at the centre."""
        (fx, skew, cx), (_, fy, cy), _ = self.matrix
        offsets = (cx - (self.width - 1) / 2, cy - (self.height - 1) / 2, skew, (fx - fy) * self.width / 2 / fx)
        return not any(self._lens) and max(map(abs, offsets)) < _SAME_PX

    def project(self, rays: Array) -> Array:
        """Return the pixels (N, 2) at which rays (N, 3) in the optical frame, z forward, are seen."""
        points, zero = rays.reshape(-1, 1, 3).astype(np.float64), np.zeros(3)
        if self.model == "equidistant":
            seen, _ = cv2.fisheye.projectPoints(points, zero, zero, self._matrix, self._lens)
        else:
            seen, _ = cv2.projectPoints(points, zero, zero, self._matrix, self._lens)
        return np.asarray(seen, np.float64).reshape(-1, 2)

    def ideal_fov(self, aspect: float) -> float:
        """Return the widest vertical field of view in rad of an ideal camera that this one covers completely.

        Args:
            aspect: width over height of the ideal camera's images.

        Returns:
            0 if not even the narrowest is covered.
        """
        if self.is_ideal:
            return 2 * math.atan(math.tan(self.fov / 2) * min(1.0, self.width / (aspect * self.height)))
        return _seen_fov(self, aspect)

    def rectify(self, image: Image | RawImage, camera_fov: float, size: tuple[int, int]) -> Image:
        """Return what an ideal pinhole in this one's place would have seen.

        Square pixels, no distortion, the principal point at the centre. Areas are averaged to shrink. An ideal
        camera's own images are cropped and resized as `RawImage.to_rgb` does it, with `zoom_for`.

        Args:
            image: (H, W, 3) uint8 RGB, or one as it came, of this camera's size.
            camera_fov: rad, vertical, of the ideal camera.
            size: (H, W) of its images in pixels.

        Returns:
            (H, W, 3) uint8 RGB, contiguous.

        Raises:
            InputError: an image of another size, or this camera sees less than the ideal one.
        """
        raw = image if isinstance(image, RawImage) else RawImage(image, "rgb8")
        height, width = raw.pixels.shape[:2]
        if (height, width) != (self.height, self.width):
            calibrated = f"{self.width}x{self.height}"
            raise InputError(f"camera: expected images of {calibrated}, as it was calibrated, got {width}x{height}")
        if self.is_ideal:
            return raw.to_rgb(*size, zoom_for(self.fov, (height, width), camera_fov, size, "scene"))
        rows, columns, finer = _maps(self, camera_fov, size)
        fine = cv2.remap(raw.to_rgb(), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        whole = fine if finer == 1 else cv2.resize(fine, size[::-1], interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(whole, np.uint8)

    @cached_property
    def _matrix(self) -> Array:
        return np.array(self.matrix, np.float64)

    @cached_property
    def _lens(self) -> Array:
        return np.array(self.distortion or (0.0,) * 4, np.float64)


def read_camera_model(path: Path) -> CameraModel:
    """Read a YAML file: that of ROS's camera_calibration, or a camera_info as `ros2 topic echo` prints it.

    Raises:
        InputError: no such file, or one that is no calibration.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a camera's calibration, got {type(values).__name__}")
    try:
        return camera_model(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def camera_model(values: Mapping[str, Any], rectified: bool = False) -> CameraModel:
    """Build a camera from the fields of a camera_info, or of a file of camera_calibration.

    Args:
        values: `k` (9), `d`, `p` (12), `distortion_model`, `height`, `width`; capitals as ROS 1 has them, or
            `camera_matrix`, `distortion_coefficients` and `projection_matrix` with their numbers in `data`, or
            `image_height` and `image_width`, likewise.
        rectified: the images are rectified already: P's left part is their matrix, and there is no distortion.

    Raises:
        InputError: a field missing, not numbers, or of another length.
    """
    matrix_names, lens_names = ("k", "K", "camera_matrix"), ("d", "D", "distortion_coefficients")
    height, width = (_count(_field(values, (f"image_{name}", name)), name) for name in ("height", "width"))
    if rectified:
        projection = _numbers(_field(values, ("p", "P", "projection_matrix")), "p", 12)
        return CameraModel(_rows(np.reshape(projection, (3, 4))[:, :3]), (), "plumb_bob", height, width)
    matrix = _rows(np.reshape(_numbers(_field(values, matrix_names), "k", 9), (3, 3)))
    has_lens = any(name in values for name in lens_names)  # left out, there is no distortion
    lens = tuple(_numbers(_field(values, lens_names), "d")) if has_lens else ()
    model = str(values.get("distortion_model", "plumb_bob"))
    return CameraModel(matrix, lens, _OTHER_NAMES.get(model, model), height, width)


def _field(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if name in values:
            found = values[name]
            return found["data"] if isinstance(found, Mapping) and "data" in found else found
    raise InputError(f"camera: expected one of the fields {list(names)}, got {list(values)}")


def _numbers(found: Any, name: str, count: int | None = None) -> list[float]:
    try:
        numbers = np.asarray(found, np.float64).ravel()
    except (TypeError, ValueError):
        raise InputError(f"camera: expected numbers in {name}, got {found!r}") from None
    if count is not None and numbers.size != count:
        raise InputError(f"camera: expected {count} numbers in {name}, got {numbers.size}")
    return numbers.tolist()


def _count(found: Any, name: str) -> int:
    if isinstance(found, bool) or not isinstance(found, int):
        raise InputError(f"camera: expected a whole number of pixels in {name}, got {found!r}")
    return found


def _rows(matrix: Array) -> tuple[tuple[float, float, float], ...]:
    return tuple((float(a), float(b), float(c)) for a, b, c in matrix)


@lru_cache(maxsize=64)
def _seen_fov(model: CameraModel, aspect: float) -> float:
    """Search from narrow to wide, then bisect: a distortion polynomial may fold back far outside the image."""
    least = 0.0
    for k in range(1, _STEPS + 1):
        wide = _WIDEST * k / _STEPS
        if not _is_seen(model, wide, aspect):
            break
        least = wide
    most = min(_WIDEST, least + _WIDEST / _STEPS)
    for _ in range(20):
        middle = (least + most) / 2
        least, most = (middle, most) if _is_seen(model, middle, aspect) else (least, middle)
    return least


def _is_seen(model: CameraModel, fov: float, aspect: float) -> bool:
    """Return whether the border of an ideal camera's picture lies within the model's."""
    y, along = math.tan(fov / 2), np.linspace(-1, 1, _BORDER_POINTS)
    sides = [(along, np.full_like(along, side)) for side in (-1, 1)]
    border = np.concatenate([np.stack(pair, axis=1) for a, b in sides for pair in ((a, b), (b, a))])
    rays = np.column_stack([border[:, 0] * y * aspect, border[:, 1] * y, np.ones(len(border))])
    pixels = model.project(rays)
    last = np.array([model.width, model.height]) - 0.5
    return bool(np.isfinite(pixels).all() and (pixels >= -0.5).all() and (pixels <= last).all())


@lru_cache(maxsize=16)
def _maps(
    model: CameraModel, camera_fov: float, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Return the row and column in the model's image for each ideal pixel, oversampled for area averaging."""
    height, width = size
    if not 0.0 < camera_fov < math.pi:
        raise InputError(f"scene: expected a vertical field of view between 0 and pi rad, got {camera_fov}")
    seen = model.ideal_fov(width / height)
    if math.tan(camera_fov / 2) * (1 - FOV_TOLERANCE) > math.tan(seen / 2):
        raise InputError(
            f"camera: expected to see at least {camera_fov:.4g} rad vertically in {width}:{height}, as the scene does, "
            f"got {seen:.4g} rad of {model.width}x{model.height} undistorted around the optical axis"
        )
    focal = height / 2 / math.tan(camera_fov / 2)
    finer = max(1, math.ceil(max(model.matrix[0][0], model.matrix[1][1]) / focal - 0.01))
    rows, columns = height * finer, width * finer
    ideal = pinhole_matrix(camera_fov, rows, columns)
    undistort = cv2.fisheye.initUndistortRectifyMap if model.model == "equidistant" else cv2.initUndistortRectifyMap
    x, y = undistort(model._matrix, model._lens, np.eye(3), ideal, (columns, rows), cv2.CV_32FC1)
    return y, x, finer  # type: ignore[return-value]
