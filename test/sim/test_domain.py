from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.inverse import solve_position
from taskgan_ros.robot.kinematics import tip_position
from taskgan_ros.sim.domain import Calibration, load_domain
from taskgan_ros.tasks.push import PushScene
from taskgan_ros.tasks.registry import load_scene_of

GUIDE = Path(__file__).parents[2] / "docs" / "domains.md"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shadow": True}, "shadow: expected no such field, got True"),
        ({"table.pattern": "wood"}, "table.pattern: expected no such field, got 'wood'"),
        ({"light": None}, "light: expected this field, got none"),
        ({"light.ambient": None}, "light.ambient: expected this field, got none"),
        ({"light.ambient": "dim"}, "light.ambient: Input should be a valid tuple, got 'dim'"),
        ({"light.ambient": True}, "light.ambient: Input should be a valid tuple, got True"),
        ({"light.ambient": [0.5, 0.2]}, "light.ambient: Value error, expected [lowest, highest], got [0.5, 0.2]"),
        ({"light.shadows": "some"}, "light.shadows: Input should be a valid boolean"),
        ({"light.sway_period_s": 0}, "light.sway_period_s: Input should be greater than 0, got 0"),
        ({"table.patterns": ["marble"]}, "table.patterns.0: Input should be 'plain', 'wood', 'checker', 'stripes', "),
        ({"table.rgb": [200, 0, 0]}, "table.rgb.0: Input should be less than or equal to 1, got 200"),
        ({"cube.jitter": -1}, "cube.jitter: Input should be greater than or equal to 0, got -1"),
        (
            {"sensor.jpeg_quality": [90, 101]},
            "sensor.jpeg_quality.1: Input should be less than or equal to 100, got 101",
        ),
        (
            {"sensor.jpeg_quality": [90, 80]},
            "sensor.jpeg_quality: Value error, expected [lowest, highest], got [90, 80]",
        ),
        ({"sensor.distortion": [0.1]}, "sensor.distortion.1: expected this field, got none"),
        (
            {"calibration.camera_position_m": 0.01},
            "calibration.camera_position_m: Input should be a valid tuple, got 0.01",
        ),
        (
            {"light.azimuth": [-150, -11]},
            "light.azimuth.0: Value error, expected at most 12.6 rad in magnitude, not degrees",
        ),
        ({"light.elevation": 75}, "light.elevation.0: Value error, expected at most 12.6 rad in magnitude"),
        ({"light.distance_m": [1600, 2400]}, "light.distance_m.0: Value error, expected at most 100 m in magnitude"),
        ({"light.distance_m": 0}, "light.distance_m.0: Input should be greater than 0"),
        ({"light.sway_m": [200, 500]}, "light.sway_m.0: Value error, expected at most 10 m in magnitude, not mm"),
        ({"table.scale_m": [0, 1]}, "table.scale_m.0: Input should be greater than 0"),
        ({"table.scale_m": [700, 950]}, "table.scale_m.0: Value error, expected at most 10 m in magnitude"),
        ({"table.rotation": 90}, "table.rotation.0: Value error, expected at most 12.6 rad in magnitude"),
        ({"camera_error.position_m": 10}, "camera_error.position_m: Value error, expected at most 1 m in magnitude"),
        (
            {"camera_error.rotation_rad": 2},
            "camera_error.rotation_rad: Value error, expected at most 1 rad in magnitude",
        ),
        (
            {"calibration.camera_position_m": [6, 0, 7]},
            "calibration.camera_position_m.0: Value error, expected at most 1 m",
        ),
        (
            {"calibration.camera_rotation_rad": [2, 0, 0]},
            "calibration.camera_rotation_rad.0: Value error, expected at mo",
        ),
        (
            {"calibration.joint_rad": [1.3, -1.5]},
            "calibration.joint_rad.0: Value error, expected at most 1 rad in magnitude",
        ),
        ({"sensor.noise": [0, float("inf")]}, "sensor.noise.1: Input should be a finite number, got inf"),
    ],
)
def test_a_domain_file_with_a_fault_is_refused(
    yaml_file: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    path = yaml_file("domains", "source", changes)
    with pytest.raises(InputError) as error:
        load_domain(path)
    assert f"{path}: {message}" in str(error.value)


def test_a_number_is_a_range_that_begins_and_ends_there(yaml_file: Callable[..., Path]) -> None:
    domain = load_domain(yaml_file("domains", "source", {"light.ambient": 0.5, "sensor.jpeg_quality": 90}))
    assert domain.light.ambient == (0.5, 0.5)
    assert domain.sensor.jpeg_quality == (90, 90)


def test_the_guides_examples_are_domains(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "target.h5").touch()
    for example in examples:
        (tmp_path / "my_lab.yaml").write_text(example.replace("../datasets/", ""))
        assert load_domain(tmp_path / "my_lab.yaml").description in example
    assert len(examples) == 2


def test_the_two_randomized_domains_differ_in_shapes_alone() -> None:
    plain, shapes = load_domain("randomized"), load_domain("randomized_shapes")
    assert shapes.deformation != plain.deformation
    assert dataclasses.replace(shapes, description=plain.description, deformation=plain.deformation) == plain


def test_the_arm_pushes_where_it_really_is() -> None:
    scene = load_scene_of(PushScene, "push")
    state = scene.sample_start(1000, 0).state
    puck = [*state.objects[0, :2], scene.table_height + scene.puck.half_height]
    really = solve_position(scene.arm, np.array(puck), state.joint_pos, scene.driven)
    assert really is not None
    error = np.full(len(really), 0.02)
    after = Calibration(joint_rad=tuple(error.tolist())).move(scene, state, really - error)
    np.testing.assert_allclose(after.joint_pos, really - error)
    tip = tip_position(scene.arm, really)
    assert np.linalg.norm(after.objects[0, :2] - tip[:2]) == pytest.approx(scene.contact_m, abs=1e-3)
