from __future__ import annotations

import dataclasses

import numpy as np

from taskgan_ros.robot.headless import mujoco
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.clutter import ClutterSample
from taskgan_ros.sim.domain import Clutter, load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of

SCENE = load_scene_of(ReachScene, "reach")
CROWDED = Clutter(count=(20, 20), distance_m=(0.0, 0.4), size_m=(0.03, 0.03), red=1.0)


def test_no_red_thing_is_a_box_and_none_stands_by_the_cube() -> None:
    state = SCENE.sample_start(0, 0).state
    domain = dataclasses.replace(load_domain("source"), clutter=CROWDED)
    with Cell(SCENE, domain, 32) as cell:
        for index in range(5):
            look = cell.sample_look(0, index)
            cell.render(state, look)
            geoms = [cell._model.geom(f"clutter{k}") for k in range(20)]
            shown = [geom for geom in geoms if geom.pos[2] > 0]
            assert 5 < len(shown) < 20
            assert all(np.linalg.norm(geom.pos[:2] - state.objects[0, :2]) > 0.06 + 0.03 + 0.03 for geom in shown)
            for geom in shown:
                is_box = geom.type[0] == mujoco.mjtGeom.mjGEOM_BOX
                assert np.allclose(geom.rgba[:3], look.cube_rgb) != is_box


def test_a_thing_stands_on_the_table() -> None:
    state = SCENE.sample_start(0, 0).state
    with Cell(SCENE, dataclasses.replace(load_domain("source"), clutter=CROWDED), 32) as cell:
        look = cell.sample_look(0, 0)
        cell.render(state, look)
        for k, half in enumerate(look.clutter.half_sizes):
            geom = cell._model.geom(f"clutter{k}")
            kind = mujoco.mjtGeom(geom.type[0])
            end = half[0] if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else 0.0
            is_long = kind in (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER)
            size = [half[0], half[2], 0.0] if is_long else half
            assert geom.pos[2] < 0 or (np.isclose(geom.pos[2], half[2] + end) and np.allclose(geom.size, size))


def test_a_person_strolls() -> None:
    nothing = np.empty((0, 3))
    look = ClutterSample(nothing, nothing, nothing, passer=0.0)
    assert look.stroll_m(0.0) == 0.0
    assert look.stroll_m(7 / 4) == 1.2
    assert np.isclose(look.stroll_m(7 / 2), 0.0)
