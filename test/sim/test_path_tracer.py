from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.headless import mujoco
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import ArmAppearance, Clutter, Domain, Light, PathTracing, Sensor, load_domain
from taskgan_ros.sim.path_tracer import PathTracer
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of

pytest.importorskip("mitsuba", reason="the extra path-tracing")

SCENE = load_scene_of(ReachScene, "reach")
STATE = SCENE.demonstrate(3, 0)[4][0]
EVEN = Light(ambient=(1.0, 1.0), headlight=(0.0, 0.0))  # light from everywhere alone: a surface shows its own colour
LAMP = Light(ambient=(0.2, 0.2), headlight=(0.0, 0.0), lamp=(0.7, 0.7), elevation=(1.2, 1.2), shadows=True)
PLAIN = dataclasses.replace(load_domain("source"), sensor=Sensor(supersampling=2))
PX = 64
KIND = mujoco.mjtGeom
FOUR_COLOURS = np.repeat(np.repeat(np.array([[[255, 0, 0], [0, 200, 0]], [[0, 0, 255], [220, 220, 0]]]), 32, 0), 32, 1)


def draw(domain: Domain, size: int = 96) -> NDArray[np.int_]:
    with Cell(SCENE, domain, size) as cell:
        return cell.render(STATE, cell.sample_look(0, 0)).astype(int)


def traced(domain: Domain, **settings: Any) -> Domain:
    return dataclasses.replace(domain, path_tracing=PathTracing(**settings))


def is_red(image: NDArray[np.int_]) -> NDArray[np.bool_]:
    return image[..., 0] > 10 + 1.3 * image[..., 1:].max(axis=-1)


def spec(ambient: float = 0.0, headlight: float = 0.0) -> mujoco.MjSpec:
    """Return a world that is seen from 2 m above, with a lamp that is off."""
    made = mujoco.MjSpec()
    made.visual.headlight.ambient, made.visual.headlight.diffuse = [ambient] * 3, [headlight] * 3
    made.visual.headlight.specular = [0.0] * 3
    made.worldbody.add_camera(name="camera", pos=[0, 0, 2], fovy=45)
    made.worldbody.add_light(name="lamp", pos=[0, 0, 1.5], dir=[0, 0, -1], active=False)
    made.add_material(name="white", rgba=[1, 1, 1, 1], specular=0.0)
    return made


def trace(model: mujoco.MjModel, samples: int = 16) -> NDArray[np.int_]:
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    tracer = PathTracer(model, PX, PX, PathTracing(samples=samples, lamp_radius_m=0.1), np.zeros(3))
    tracer.update_scene(data, "camera")
    return tracer.render().astype(int)


def middle(image: NDArray[np.int_]) -> float:
    return float(image[PX // 2 - 2 : PX // 2 + 2, PX // 2 - 2 : PX // 2 + 2].mean())


def as_seen(light: float) -> float:
    """Return the sRGB value, 0 to 255, of light in [0, 1]."""
    return 255 * (1.055 * light ** (1 / 2.4) - 0.055)


def test_everything_is_where_mujoco_has_it() -> None:
    clutter = Clutter(count=(12, 12), distance_m=(0.1, 0.35), red=0.6)
    domain = dataclasses.replace(PLAIN, light=EVEN, clutter=clutter)
    drawn, other = draw(domain), draw(traced(domain, samples=64))
    red, other_red = is_red(drawn), is_red(other)
    assert red.sum() > 100
    assert (red ^ other_red).sum() < 0.1 * red.sum()  # edges
    dark, other_dark = drawn.max(axis=-1) < 70, other.max(axis=-1) < 70  # the arm
    assert (dark ^ other_dark).sum() < 0.2 * dark.sum()


@pytest.mark.parametrize(
    ("kind", "size", "repeat", "is_uniform"),
    [
        (KIND.mjGEOM_PLANE, [2, 2, 1], 1.0, True),
        (KIND.mjGEOM_PLANE, [3, 2, 1], 1 / 0.9, True),
        (KIND.mjGEOM_PLANE, [0.6, 0.4, 1], 2.5, False),
        (KIND.mjGEOM_BOX, [0.6, 0.4, 0.1], 1.0, False),
    ],
)
def test_a_texture_lies_as_mujoco_lays_it(kind: int, size: list[float], repeat: float, is_uniform: bool) -> None:
    made = spec(ambient=1.0)
    texture = made.add_texture(name="colours", type=mujoco.mjtTexture.mjTEXTURE_2D, nchannel=3)
    texture.height, texture.width, texture.data = 64, 64, FOUR_COLOURS.astype(np.uint8).tobytes()
    material = made.add_material(name="printed", rgba=[1, 1, 1, 1], specular=0.0, texuniform=is_uniform)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "colours"
    material.texrepeat = [repeat, repeat]
    made.worldbody.add_geom(name="table", type=kind, size=size, material="printed")
    model = made.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, PX, PX) as renderer:
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = False
        renderer.update_scene(data, camera="camera")
        drawn = renderer.render().astype(int)
    differs = np.abs(drawn - trace(model)).max(axis=-1) > 60
    assert differs.mean() < 0.08  # at the colours' borders


@pytest.mark.parametrize("what", ["ambient", "headlight", "lamp"])
def test_a_light_shows_white_as_bright_as_it_says(what: str) -> None:
    made = spec(**{} if what == "lamp" else {what: 0.4})
    made.worldbody.add_geom(name="table", type=KIND.mjGEOM_PLANE, size=[3, 3, 1], material="white")
    model = made.compile()
    model.light_active[0] = what == "lamp"
    model.light_diffuse[0] = 0.4
    assert middle(trace(model)) == pytest.approx(as_seen(0.4), abs=4)


def test_a_lamp_is_not_seen_itself() -> None:
    made = spec(ambient=0.4)
    made.worldbody.add_geom(name="table", type=KIND.mjGEOM_PLANE, size=[3, 3, 1], material="white")
    model = made.compile()
    without = middle(trace(model))
    model.light_active[0], model.light_diffuse[0] = True, 1e-6  # between the camera and the table
    assert middle(trace(model)) == pytest.approx(without, abs=3)


def test_a_mesh_and_a_ball_of_the_same_shape_look_alike() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.4)
    images = []
    for kind in (KIND.mjGEOM_ELLIPSOID, KIND.mjGEOM_MESH, KIND.mjGEOM_CAPSULE):
        made = spec(ambient=0.1)
        mesh = made.add_mesh(name="ball", uservert=ball.vertices.ravel().tolist(), userface=ball.faces.ravel().tolist())
        geom = made.worldbody.add_geom(name="ball", type=kind, size=[0.4, 0.4, 0.4], material="white")
        if kind == KIND.mjGEOM_MESH:
            geom.meshname = mesh.name
        if kind == KIND.mjGEOM_CAPSULE:
            geom.size = [0.4, 1e-4, 0]
        model = made.compile()
        model.light_active[0], model.light_diffuse[0] = True, 0.6
        model.light_pos[0], model.light_dir[0] = [2, 0, 1], [-2, 0, -1]
        images.append(trace(model, samples=64))
    assert np.ptp(images[0]) > 100  # a lit and a dark side
    for image in images[1:]:
        assert np.abs(images[0] - image).mean() < 2


@pytest.mark.parametrize("elevation", [0.0, 0.05, np.pi / 2])
def test_a_lamp_may_stand_at_any_height(elevation: float) -> None:
    light = dataclasses.replace(LAMP, elevation=(elevation, elevation))
    table = draw(traced(dataclasses.replace(PLAIN, light=light)), 32).mean()
    assert as_seen(0.1) < table < as_seen(0.9)


def test_the_headlight_throws_no_shadow_that_the_camera_sees() -> None:
    even = draw(dataclasses.replace(PLAIN, light=EVEN))
    is_table = np.abs(even - even[2, 2]).max(axis=-1) < 3
    light = Light(ambient=(0.1, 0.1), headlight=(0.7, 0.7))
    table = draw(traced(dataclasses.replace(PLAIN, light=light), samples=64)).mean(axis=-1)[is_table]
    assert (table < 0.6 * np.median(table)).mean() < 0.01


def test_a_large_lamp_throws_soft_shadows_and_is_no_brighter() -> None:
    domain = dataclasses.replace(PLAIN, light=LAMP)
    even = draw(dataclasses.replace(PLAIN, light=EVEN))
    is_table = np.abs(even - even[2, 2]).max(axis=-1) < 3
    sharp, soft = (draw(traced(domain, lamp_radius_m=radius)).mean(axis=-1) for radius in (0.01, 0.2))
    assert np.median(soft[is_table]) == pytest.approx(np.median(sharp[is_table]), abs=5)
    beside = is_table[:, 1:] & is_table[:, :-1]
    steps = [np.quantile(np.abs(np.diff(image, axis=1))[beside], 0.995) for image in (sharp, soft)]
    assert steps[1] < 0.5 * steps[0]


def test_more_samples_have_less_noise() -> None:
    domain = dataclasses.replace(PLAIN, light=LAMP)
    rough, fine, finest = (draw(traced(domain, samples=samples), 48) for samples in (4, 64, 256))
    assert np.abs(fine - finest).mean() < 0.7 * np.abs(rough - finest).mean()


def test_a_rough_surface_spreads_its_highlight() -> None:
    glossy = dataclasses.replace(PLAIN, light=LAMP, arm=ArmAppearance(gloss=(1.0, 1.0)))
    mirror, rough = (draw(traced(glossy, roughness=roughness)) for roughness in (0.1, 0.9))
    assert np.abs(mirror - rough).max() > 30


def test_the_same_state_gives_the_same_pixels_and_another_other_noise() -> None:
    domain = load_domain("lab_window")
    with Cell(SCENE, domain, 32) as cell:
        look = cell.sample_look(0, 0)
        look = dataclasses.replace(look, sensor=dataclasses.replace(look.sensor, noise=0.0))
        first, same = cell.render(STATE, look), cell.render(STATE, look)
        moved = cell.render(STATE.moved_to(STATE.joint_pos + 1e-4), look)
    assert np.array_equal(first, same)
    assert (first != moved).mean() > 0.3


def test_without_mitsuba_a_lab_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(InputError, match=r"expected Mitsuba.* pip install mitsuba"):
        draw(load_domain("lab_brick"), 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": "empty.png"}, "expected a table under path_tracing, got a background"),
        ({"light.shadows": False}, r"expected light\.shadows: true under path_tracing"),
    ],
)
def test_what_a_path_tracer_cannot_draw_is_refused(
    changes: dict[str, object], message: str, yaml_file: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match=message):
        load_domain(yaml_file("domains", "lab_brick", changes))
