import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgan_ros.core.config import build
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import to_plain
from taskgan_ros.vision.camera import Camera, camera_at

_TURN = st.tuples(*[st.floats(-1.5, 1.5)] * 3)
_PLACE = st.tuples(*[st.floats(-2, 2)] * 3)


@given(_PLACE, _TURN)
def test_a_camera_stands_where_its_pose_says(
    position: tuple[float, float, float], turn: tuple[float, float, float]
) -> None:
    camera = Camera(position=position, rotation=turn, fov=0.7)
    again = camera_at(camera.pose(), 0.7)
    assert again.pose() == pytest.approx(camera.pose(), abs=1e-5)


def test_a_target_is_seen_in_the_middle_with_z_up() -> None:
    camera = Camera(position=(1.0, 0.5, 0.8), target=(0.2, 0.1, 0.1), fov=0.7)
    k, pose = camera.matrix(100, 200), camera.pose()

    def seen(point: list[float]) -> np.ndarray:
        x = k @ (np.linalg.inv(pose) @ [*point, 1.0])[:3]
        return x[:2] / x[2]

    assert seen([0.2, 0.1, 0.1]) == pytest.approx([99.5, 49.5])
    assert seen([0.2, 0.1, 0.2])[1] < 49  # higher in the world is higher in the picture
    assert camera.aim() == pytest.approx([0.2, 0.1, 0.1])


def test_without_a_target_it_looks_at_where_its_axis_passes_the_base() -> None:
    straight = Camera(position=(1.0, 0.0, 0.8), target=(0.0, 0.0, 0.3), fov=0.7)
    assert camera_at(straight.pose(), 0.7).aim() == pytest.approx([0.0, 0.0, 0.3], abs=1e-5)


@pytest.mark.parametrize("given_", [{}, {"target": [0, 0, 0], "rotation": [0, 0, 0]}])
def test_either_target_or_rotation(given_: dict[str, list[float]]) -> None:
    with pytest.raises(InputError, match="expected either target or rotation"):
        build(Camera, {"position": [1, 0, 1], "fov": 0.7, **given_}, "scene")


def test_a_covariance_is_one() -> None:
    values = to_plain(camera_at(np.eye(4), 0.7, np.diag([1e-6] * 6)))
    assert build(Camera, values, "scene").covariance is not None
    values["covariance"][0][1] = 1.0
    with pytest.raises(InputError, match="covariance"):
        build(Camera, values, "scene")
