from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from taskgan_ros.core.config import resolve
from taskgan_ros.core.errors import InputError, OutputExistsError
from taskgan_ros.recordings.scene_camera import check_rewritable, write_scene
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.vision.camera import Camera

CAMERA = Camera(position=(1.0, -0.5, 0.8), rotation=(-1.2, -1.1, 1.3), fov=0.7)


@pytest.mark.parametrize("name", ["reach", "poses", "push", "ur5e_reach"])
def test_the_camera_is_replaced_and_nothing_else(name: str, tmp_path: Path) -> None:
    out = tmp_path / "own.yaml"
    write_scene(name, out, CAMERA, note="measured")
    before, after = load_scene(name), load_scene(out)
    assert after.camera == CAMERA
    assert after.ready == before.ready
    assert after.driven_joints == before.driven_joints
    own = resolve("scenes", name).read_text().splitlines()
    comments = [line for line in own if line.startswith("#")]
    assert comments == [line for line in out.read_text().splitlines() if line.startswith("#")]


def test_covariance_and_zeros_are_written(tmp_path: Path) -> None:
    rows = tuple(tuple(row) for row in (np.eye(6) * 1e-4).tolist())
    camera = Camera(position=CAMERA.position, rotation=CAMERA.rotation, fov=0.7, covariance=rows)  # type: ignore[arg-type]
    joint = load_scene("reach").arm.joint_names[1]
    write_scene("reach", tmp_path / "one.yaml", camera, {joint: 0.01})
    write_scene(str(tmp_path / "one.yaml"), tmp_path / "two.yaml", camera, {joint: 0.02})
    two = load_scene(tmp_path / "two.yaml")
    assert two.camera.covariance == rows
    assert two.joint_zeros[joint] == pytest.approx(0.03)


def test_a_scene_moves_with_paths_that_start_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "arm.yaml").write_text(resolve("arms", "mico").read_text())
    scene = tmp_path / "a" / "scene.yaml"
    scene.write_text(resolve("scenes", "reach").read_text().replace("arm: mico", "arm: ./arm.yaml"))
    write_scene(str(scene), tmp_path / "b" / "scene.yaml", CAMERA)
    assert load_scene(tmp_path / "b" / "scene.yaml").arm == load_scene(scene).arm


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "own.yaml"
    out.write_text("mine")
    with pytest.raises(OutputExistsError):
        write_scene("reach", out, CAMERA)
    assert out.read_text() == "mine"


CAMERAS = {
    "column 0": "camera:\n  position: [1, 0, 1]\n# turned by hand\n  target: [0, 0, 0.3]\n  fov: 0.6\n",
    "flow": "camera: {position: [1, 0, 1],\n  target: [0, 0, 0.3],\n  fov: 0.6}  # by hand\n",
    "quoted": '"camera":\n  position: [1, 0, 1]\n  target: [0, 0, 0.3]\n  fov: 0.6\n',
    "space": "camera :\n  position:\n  - 1\n  - 0\n  - 1\n  target: [0, 0, 0.3]\n  fov: 0.6\n",
}


def with_camera(lines: str, folder: Path) -> Path:
    """Return a copy of a shipped scene whose camera is written in another way, with comments around it."""
    values = yaml.safe_load(resolve("scenes", "reach").read_text())
    del values["camera"]
    arm = folder / "my arm #2.yaml"
    arm.write_text(resolve("arms", values.pop("arm")).read_text())
    path = folder / "scene.yaml"
    rest = yaml.safe_dump(values)
    path.write_text(f"# before\narm: './{arm.name}'\n{lines}\n# after\n{rest}")
    return path


@pytest.mark.parametrize("form", CAMERAS)
def test_every_way_to_write_a_camera_is_replaced(form: str, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    scene, out = with_camera(CAMERAS[form], tmp_path), tmp_path / "b" / "own.yaml"
    check_rewritable(str(scene), out)
    assert not list(out.parent.iterdir())
    write_scene(str(scene), out, CAMERA)
    after = load_scene(out)
    assert after.camera == CAMERA
    assert after.arm == load_scene(scene).arm
    assert after.ready == load_scene(scene).ready
    assert "# before" in out.read_text()
    assert "# after" in out.read_text()


def test_a_scene_that_cannot_be_edited_is_refused_by_its_own_name(tmp_path: Path) -> None:
    values = yaml.safe_load(resolve("scenes", "reach").read_text())
    scene = tmp_path / "scene.yaml"
    scene.write_text(yaml.safe_dump(values, default_flow_style=True))
    with pytest.raises(InputError, match=r"/scene\.yaml: expected a mapping"):
        check_rewritable(str(scene), tmp_path / "own.yaml")
    assert list(tmp_path.iterdir()) == [scene]


@pytest.mark.parametrize(
    ("name", "expected"), [("own.png", "a .yaml or .yml"), ("no/own.yaml", "a folder that exists")]
)
def test_an_unwritable_output_is_refused_first(name: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected):
        check_rewritable("reach", tmp_path / name)
