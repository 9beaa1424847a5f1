from __future__ import annotations

import contextlib
import ctypes.util
import dataclasses
import functools
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from taskgan_ros.core.config import build, resolve, share_dir
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import to_plain
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import Domain, load_domain
from taskgan_ros.tasks.poses import PoseScene
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_motion_scene, load_scene, load_scene_of
from taskgan_ros.tasks.state import CellState
from taskgan_ros.vision.camera import Camera, camera_at

YamlFile = Callable[..., Path]


SCENE = load_scene_of(ReachScene, "reach")
PUSH = load_motion_scene("push")
STATE = SCENE.sample_training_start(0, 0).state
GUIDE = Path(__file__).parents[2] / "docs" / "domains.md"
SHIPPED = [
    pytest.param(
        path.stem,
        marks=[
            pytest.mark.skipif(word in path.read_text() and importlib.util.find_spec(module) is None, reason=module)
            for word, module in (("skimage:", "skimage"), ("path_tracing:", "mitsuba"))
        ],
    )
    for path in sorted((share_dir() / "config" / "domains").glob("*.yaml"))
]

# A domain in which most fields have something to act on; the others need what `NEEDS` has.
BASE: dict[str, Any] = {
    "description": "a lamp over a table",
    "table": {"rgb": [0.8, 0.8, 0.8]},
    "cube": {"rgb": [0.7, 0.1, 0.1]},
    "mark": {"rgb": [0.2, 0.2, 0.6]},
    "arm": {"gloss": [0.3, 0.3]},
    "light": {"ambient": [0.3, 0.3], "headlight": [0.1, 0.1], "lamp": [0.6, 0.6], "sway_m": [0.3, 0.3]},
}
NEEDS: dict[str, dict[str, Any]] = {
    **{key: {"table.patterns": ["checker"]} for key in ("table.scale_m", "table.rotation", "table.contrast")},
    "texture_seed": {"table.patterns": ["checker"]},
    "arm.sticker_m": {"arm.stickers": 12},
    "light.fade_s": {"light.fade": [0.3, 0.3]},
    "light.passer": {"light.shadows": True, "light.elevation": [0.5, 0.5], "light.distance_m": [3.0, 3.0]},
    **{key: {"clutter.count": [8, 8]} for key in ("clutter.size_m", "clutter.distance_m", "clutter.red")},
    **{key: {"occlusion.count": [2, 2]} for key in ("occlusion.width", "occlusion.swing", "occlusion.brightness")},
}
OTHER: dict[str, Any] = {  # another value for each field: the picture must show it
    "table.rgb": [0.4, 0.8, 0.8],
    "table.jitter": 0.3,
    "table.brightness": [0.5, 0.5],
    "table.patterns": ["checker"],
    "table.photos": [str(GUIDE.with_suffix(".png"))],
    "table.scale_m": [0.3, 0.3],
    "table.rotation": [0.4, 0.4],
    "table.contrast": [0.3, 0.3],
    "cube.rgb": [0.1, 0.7, 0.1],
    "cube.jitter": 0.3,
    "cube.brightness": [0.5, 0.5],
    "mark.rgb": [0.1, 0.1, 0.1],
    "mark.jitter": 0.2,
    "mark.brightness": [0.5, 0.5],
    "arm.by_link": True,
    "arm.brightness": [2.0, 2.0],
    "arm.jitter": 0.2,
    "arm.gloss": [1.0, 1.0],
    "arm.stickers": 12,
    "arm.sticker_m": 0.05,
    "arm.cable_m": 0.01,
    "arm.tool": [{"kind": "box", "at": [0.0, 0.0, -0.05], "size": [0.05, 0.05, 0.03]}],
    "light.ambient": [0.1, 0.1],
    "light.headlight": [0.4, 0.4],
    "light.lamp": [0.2, 0.2],
    "light.azimuth": [1.5, 1.5],
    "light.elevation": [0.7, 0.7],
    "light.distance_m": [1.2, 1.2],
    "light.sway_m": [1.0, 1.0],
    "light.sway_period_s": 3.0,
    "light.tint": 0.5,
    "light.shadows": True,
    "light.fade": [0.3, 0.3],
    "light.fade_s": 1.0,
    "light.passer": 1.0,
    "deformation.arm_thickness": [0.6, 0.8],
    "deformation.cube_size": [1.5, 1.5],
    "sensor.gain": [0.7, 0.7],
    "sensor.gamma": [1.5, 1.5],
    "sensor.white_balance": 0.3,
    "sensor.vignette": [0.5, 0.5],
    "sensor.blur_px": [1.0, 1.0],
    "sensor.noise": [0.05, 0.05],
    "sensor.distortion": [-0.3, 0.0],
    "sensor.supersampling": 2,
    "sensor.jpeg_quality": [30, 30],
    "sensor.shake_px": [3.0, 3.0],
    "sensor.rolling_px": [2.0, 2.0],
    "sensor.glare": [0.5, 0.5],
    "clutter.count": [8, 8],
    "clutter.size_m": [0.06, 0.06],
    "clutter.distance_m": [0.2, 0.25],
    "clutter.red": 1.0,
    "occlusion.count": [2, 2],
    "occlusion.width": [0.2, 0.2],
    "occlusion.swing": [0.2, 0.2],
    "occlusion.brightness": [0.9, 0.9],
    "camera_error.position_m": 0.05,
    "camera_error.rotation_rad": 0.05,
    "calibration.camera_position_m": [0.05, 0.0, 0.0],
    "calibration.camera_rotation_rad": [0.0, 0.03, 0.0],
    "calibration.joint_rad": [0.1, 0.0, 0.0, 0.0, 0.0, 0.0],
    "texture_seed": 1,
}


def changed(field: str = "", value: Any = None) -> Domain:
    """Return the domain BASE with what `field` needs, and another value of it if one is given."""
    values = dict(BASE)
    for name, other in {**NEEDS.get(field, {}), **({} if value is None else {field: value})}.items():
        section, _, part = name.partition(".")
        values[section] = {**values.get(section, {}), part: other} if part else other
    return build(Domain, values, field)


def picture(
    cell: Cell, seed: int = 0, index: int = 0, time_s: float = 1.0, state: CellState = STATE
) -> NDArray[np.int16]:
    """Return one render, signed so that differences are right."""
    return cell.render(state, cell.sample_look(seed, index), time_s).astype(np.int16)


def turned(state: CellState, angle: float) -> CellState:
    """Return `state` with the arm's base turned, away from the cube."""
    return state.moved_to(state.joint_pos + angle * np.eye(6)[0])


def red(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pixels the red cube covers."""
    r, g, b = np.moveaxis(image.astype(int), -1, 0)
    return (r > 60) & (r > 2 * g) & (r > 2 * b)


def white(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pixels a white cube covers."""
    return (image.min(axis=-1) > 100) & (np.ptp(image.astype(int), axis=-1) < 20)


@pytest.fixture(scope="module")
def shipped() -> Iterator[Callable[[str], Cell]]:
    """Return a function that gives a shipped domain's cell, each opened once."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda name: stack.enter_context(Cell(SCENE, load_domain(name), 128)))


@pytest.fixture(scope="module")
def plain() -> Iterator[Cell]:
    with Cell(SCENE, load_domain("source"), 128) as cell:
        yield cell


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_domain_shows_arm_and_cube_and_the_same_seed_gives_the_same_pixels(
    name: str, shipped: Callable[[str], Cell]
) -> None:
    first = picture(shipped(name), seed=3, index=7)
    assert first.shape == (128, 128, 3)
    assert first.std() > 10
    is_cube = white if name == "colored" else red
    assert is_cube(first).sum() >= 16
    with Cell(SCENE, load_domain(name), 128) as another:
        np.testing.assert_array_equal(picture(another, seed=3, index=7), first)


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.values not in (("source",), ("colored",))])
def test_another_seed_and_another_episode_give_other_pixels(name: str, shipped: Callable[[str], Cell]) -> None:
    cell = shipped(name)
    first = picture(cell)
    assert abs(picture(cell, seed=1) - first).mean() > 2
    assert abs(picture(cell, index=1) - first).mean() > 2


def test_a_colour_a_link_tells_links_apart(shipped: Callable[[str], Cell]) -> None:
    hue = cv2.cvtColor(picture(shipped("colored")).astype(np.uint8), cv2.COLOR_RGB2HSV)
    arm = (hue[..., 1] > 150) & (hue[..., 2] > 60)
    found = np.histogram(hue[..., 0][arm], bins=18, range=(0, 180))[0]
    assert (found > 10).sum() >= 5


def test_the_source_looks_the_same_in_every_episode_and_frame(plain: Cell) -> None:
    first = picture(plain)
    np.testing.assert_array_equal(picture(plain, seed=5, index=9, time_s=7.3), first)
    corner = first[-16:, -16:]  # of the bare table
    assert (corner == corner[0, 0]).all()


def test_noise_differs_between_the_frames_of_an_episode() -> None:
    with Cell(SCENE, changed("sensor.noise", [0.02, 0.02]), 48) as cell:
        assert abs(picture(cell, time_s=0.0) - picture(cell, time_s=8.0)).mean() > 1  # the lamp is back after 8 s


def test_the_lamp_of_the_target_moves_while_an_episode_runs(shipped: Callable[[str], Cell]) -> None:
    cell = shipped("target_wood")
    look = cell.sample_look(0, 0)
    steady = dataclasses.replace(look, sensor=shipped("source").sample_look(0, 0).sensor)
    frames = [cell.render(STATE, steady, time_s).astype(np.int16) for time_s in (0.0, 2.0, 8.0)]
    assert abs(frames[1] - frames[0]).mean() > 1
    assert abs(frames[2] - frames[0]).mean() < 0.1  # one swing takes 8 s


def test_a_lamp_throws_shadows_where_the_domain_says_so() -> None:
    bright, dark = frames(changed())[0], frames(changed("light.shadows", True))[0]
    darker, lighter = (bright - dark).max(axis=-1) > 25, (dark - bright).max(axis=-1) > 25
    assert darker.mean() > 0.02
    assert lighter.mean() < 0.002


@functools.cache
def frames(domain: Domain) -> NDArray[np.int16]:
    """Return pictures of every surface: the puck of `push` has the cube's, and only there is a mark."""
    state = PUSH.sample_start(0, 0).state
    with Cell(PUSH, domain, 48) as cell:
        look = cell.sample_look(0, 0)
        return np.stack([cell.render(state, look, time_s) for time_s in (0.0, 1.0)]).astype(np.int16)


@pytest.mark.parametrize("field", OTHER)
def test_every_field_of_a_domain_shows_in_the_picture(field: str) -> None:
    other, usual = frames(changed(field, OTHER[field])), frames(changed(field))
    assert abs(other - usual).max() > 4


def test_no_field_of_a_domain_is_left_out_here_or_in_the_guide() -> None:
    base, fields = changed(), set()
    for section in dataclasses.fields(base):
        value = getattr(base, section.name)
        inner = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        fields |= {f"{section.name}.{field.name}" for field in inner} or {section.name}
    own_tests = {"description", "background", "path_tracing"}
    assert fields - own_tests == set(OTHER)
    guide = GUIDE.read_text(encoding="utf-8")
    missing = [field for field in fields if f"`{field}`" not in guide and f"`.{field.split('.')[-1]}`" not in guide]
    assert missing == []


def test_a_puck_stands_on_the_table(yaml_file: YamlFile) -> None:
    camera = {"position": [1.5, -0.35, 0.025], "target": [0.0, -0.35, 0.025], "fov": 0.15}
    scene = load_motion_scene(yaml_file("scenes", "push", {"camera": camera}))
    state = CellState(turned(STATE, 2.5).joint_pos, np.array([[0.0, -0.35, 0.0], [-1.0, -0.35, 0.0]]))
    with Cell(scene, load_domain("source"), 128) as cell:
        rows, columns = np.nonzero(red(cell.render(state, cell.sample_look(0, 0))))
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(0.05 / 0.07, rel=0.1)  # its height by its width


def test_jpeg_changes_no_other_draw() -> None:
    with Cell(SCENE, changed("sensor.jpeg_quality", [30, 30]), 32) as packed, Cell(SCENE, changed(), 32) as cell:
        look = packed.sample_look(3, 4)
        unpacked = dataclasses.replace(look, sensor=dataclasses.replace(look.sensor, jpeg_quality=None))
        np.testing.assert_array_equal(cell.render(STATE, unpacked), cell.render(STATE, cell.sample_look(3, 4)))
    assert look.sensor.jpeg_quality == 30


def test_encoders_that_are_off_show_an_arm_elsewhere_than_the_state_says() -> None:
    error = np.array([0.1, -0.05, 0.05, 0.2, -0.1, 0.3])
    with Cell(SCENE, changed("calibration.joint_rad", error.tolist()), 64) as off, Cell(SCENE, changed(), 64) as exact:
        shown = picture(off)
        np.testing.assert_array_equal(shown, picture(exact, state=STATE.moved_to(STATE.joint_pos + error)))
        assert abs(shown - picture(exact)).max() > 50


def test_thicker_links_leave_the_arm_where_it_is(plain: Cell) -> None:
    look = plain.sample_look(0, 0)
    thick = dataclasses.replace(look, thickness=look.thickness * 1.25)
    usual, wide = (np.argwhere(plain.render(STATE, how).max(axis=-1) < 110) for how in (look, thick))
    assert len(wide) > 1.1 * len(usual)
    assert abs(wide.mean(axis=0) - usual.mean(axis=0)).max() < 2


def test_the_cube_is_where_the_state_says(plain: Cell) -> None:
    look = plain.sample_look(0, 0)
    away = turned(STATE, 2.5).joint_pos  # so that the arm hides nothing
    centers = []
    for x in (-0.15, 0.15):
        image = plain.render(CellState(away, np.array([[x, -0.35, 0.3]])), look)
        centers.append(np.argwhere(red(image)).mean(axis=0))
    left, right = (column for _, column in centers)
    assert left < right - 20


def test_the_camera_sees_every_cube_whole_and_large_enough(plain: Cell) -> None:
    look = plain.sample_look(0, 0)
    for index in range(20):
        state = SCENE.sample_start(5, index).state
        image = plain.render(turned(state, np.pi), look)
        cube = np.argwhere(red(image))
        assert len(cube) >= 30
        assert cube.min() > 0
        assert cube.max() < 127


def test_an_image_need_not_be_square() -> None:
    with Cell(SCENE, load_domain("target_b"), (32, 64)) as cell:
        assert cell.render(STATE, cell.sample_look(0, 0)).shape == (32, 64, 3)


@pytest.mark.parametrize("aside", [0.0, 1e-12, 1e-4])
def test_a_camera_that_looks_straight_down_shows_a_map_with_y_up(yaml_file: YamlFile, aside: float) -> None:
    camera = {"position": [0.0, -0.3, 1.2], "target": [0.0, -0.3 + aside, 0.0], "fov": 0.8}
    scene = load_scene_of(ReachScene, yaml_file("scenes", "reach", {"camera": camera}))
    away = turned(STATE, 2.5).joint_pos  # so that the arm hides nothing
    with Cell(scene, load_domain("source"), 64) as cell:
        look = cell.sample_look(0, 0)
        centres = [
            np.argwhere(red(cell.render(CellState(away, np.array([[*xy, 0.0]])), look))).mean(axis=0)
            for xy in ([-0.1, -0.4], [0.1, -0.4], [-0.1, -0.2])
        ]
    (low, left), (_, right), (high, _) = centres
    assert left < right - 8
    assert high < low - 8


def scene_of(folder: Path, arm: dict[str, Any]) -> ReachScene:
    """Return the shipped scene with another arm, which has as many joints."""
    (folder / "arm.yaml").write_text(yaml.safe_dump(arm))
    scene = yaml.safe_load(resolve("scenes", "reach").read_text())
    driven = [joint["name"] for joint in arm["joints"][:3]]
    (folder / "scene.yaml").write_text(yaml.safe_dump({**scene, "arm": "./arm.yaml", "driven_joints": driven}))
    return load_scene_of(ReachScene, folder / "scene.yaml")


def test_an_arms_names_may_be_those_of_the_cell(tmp_path: Path) -> None:
    text = resolve("arms", "mico").read_text()
    for k, name in enumerate(("cube", "world", "table", "camera", "lamp", "arm0")):
        text = text.replace(f"m1n6s200_joint_{k + 1}", name)
    for name, other in {"carbon": "table", "ring": "cube", "shell": "table0", "finger": "arm/cube"}.items():
        text = re.sub(rf"\b{name}(:|,)", rf"{other}\1", text)
    scene, domain = scene_of(tmp_path, yaml.safe_load(text)), changed("table.scale_m", [0.3, 0.3])
    assert scene.driven_joints == ("cube", "world", "table")
    with Cell(scene, domain, 64) as cell, Cell(SCENE, domain, 64) as usual:
        np.testing.assert_array_equal(picture(cell), picture(usual))


def test_a_link_may_have_no_shapes_or_tiny_ones_and_an_arm_none(tmp_path: Path) -> None:
    arm = yaml.safe_load(resolve("arms", "mico").read_text())
    tiny = {"kind": "box", "material": "ring", "at": [0, 0, 0], "size": [1e-9, 1e-9, 1e-9]}
    bare, fine = ({**arm, "links": [*arm["links"][:3], link, [], []]} for link in ([], [tiny]))
    pictures = []
    for shown in (bare, fine, {**arm, "base": [], "links": [[]] * 6, "materials": {}}):
        with Cell(scene_of(tmp_path, shown), changed(), 64) as cell:
            pictures.append(picture(cell))
    assert abs(pictures[0] - pictures[1]).mean() < 0.01
    assert abs(pictures[0] - pictures[2]).mean() > 1


@pytest.mark.parametrize("size", [8, 4096])
def test_an_image_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=f"expected an image of 16 to 2048 pixels a side, got {size}x{size}"):
        Cell(SCENE, load_domain("source"), size)


@pytest.mark.skipif(ctypes.util.find_library("OSMesa") is not None, reason="OSMesa is installed here")
def test_missing_system_libraries_are_named() -> None:
    command = "import sys; from taskgan_ros.cli import run; sys.exit(run(sys.argv[1:]))"
    collect = ["collect", "--domain", "source", "--episodes", "1", "--out", "never.h5"]
    env = {name: value for name, value in os.environ.items() if name != "PYOPENGL_PLATFORM"} | {"MUJOCO_GL": "osmesa"}
    done = subprocess.run([sys.executable, "-c", command, *collect], env=env, text=True, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith("taskgan: no headless OpenGL with MUJOCO_GL=osmesa: expected Debian's libegl1, ")
    assert "Traceback" not in done.stderr


def test_a_users_domain_is_drawn_from_its_file(yaml_file: Callable[..., Path]) -> None:
    green = load_domain(yaml_file("domains", "source", {"table.rgb": [0.1, 0.6, 0.1]}))
    with Cell(SCENE, green, 32) as cell:
        red_value, green_value, _ = picture(cell)[-1, -1]
    assert green_value > 2 * red_value


def draw_poses(scene: object, seed: int, episodes: int) -> list[CellState]:
    """Return the states of the first episodes of a scene of poses."""
    assert isinstance(scene, PoseScene)
    return [state for index in range(episodes) for state, _ in scene.demonstrate(seed, index)]


@pytest.fixture(scope="module")
def poses() -> Iterator[Cell]:
    with Cell(load_scene("poses"), load_domain("source"), 128) as cell:
        yield cell


def test_the_camera_sees_the_whole_arm_in_every_pose(poses: Cell) -> None:
    look = poses.sample_look(0, 0)
    for image in (poses.render(state, look) for state in draw_poses(poses.scene, 5, 15)):
        assert not red(image).any()  # there is no cube
        table = image[0, 0]
        for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
            assert (edge == table).all()
        assert 300 < (image != table).any(axis=-1).sum() < 3000


def test_the_hand_looks_the_same_after_half_a_turn_of_the_sixth_joint_but_not_after_a_quarter(poses: Cell) -> None:
    # Section 4.2.1: this is why five angles are predicted, and not six.
    look = poses.sample_look(0, 0)
    for state in draw_poses(poses.scene, 1, 1):
        first, quarter, half = (
            poses.render(state.moved_to(state.joint_pos + turn * np.eye(6)[5]), look).astype(int)
            for turn in (0, np.pi / 2, np.pi)
        )
        assert abs(half - first).mean() < 0.05 * abs(quarter - first).mean()


DRAWS_AND_TRAINS = """
import torch
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.registry import load_motion_scene, load_scene_of

scene = load_motion_scene("reach")
with Cell(scene, load_domain("source"), 32) as cell:
    cell.render(scene.sample_start(0, 0).state, cell.sample_look(0, 0))
torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
"""


def test_a_process_that_has_drawn_can_train() -> None:
    pytest.importorskip("torch", reason="the `training` extra is needed")
    subprocess.run([sys.executable, "-c", DRAWS_AND_TRAINS], check=True, timeout=120)


def _with_camera(camera: Camera) -> ReachScene:
    return build(ReachScene, {**to_plain(SCENE), "camera": to_plain(camera)}, "scene")


def test_a_calibrated_camera_shows_what_the_same_one_with_a_target_shows() -> None:
    camera = camera_at(SCENE.camera.pose(), SCENE.camera.fov)
    same = _with_camera(camera)
    with Cell(SCENE, load_domain("source"), 64) as one, Cell(same, load_domain("source"), 64) as other:
        images = [cell.render(STATE, cell.sample_look(0, 0)).astype(int) for cell in (one, other)]
    assert np.mean(np.abs(images[0] - images[1])) < 0.1  # a few edge pixels: the numbers are rounded


def test_a_camera_may_be_rolled() -> None:
    pose = SCENE.camera.pose()
    pose[:3, :3] = pose[:3, :3] @ np.diag([-1.0, -1.0, 1.0])  # upside down
    rolled = _with_camera(camera_at(pose, SCENE.camera.fov))
    with Cell(SCENE, load_domain("source"), 64) as one, Cell(rolled, load_domain("source"), 64) as other:
        images = [cell.render(STATE, cell.sample_look(0, 0)).astype(int) for cell in (one, other)]
    assert np.mean(np.abs(images[0] - images[1][::-1, ::-1])) < 2.0
