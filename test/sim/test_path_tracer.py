from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import ArmAppearance, Clutter, Domain, Light, PathTracing, Sensor, load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of

pytest.importorskip("mitsuba", reason="the extra path-tracing")

SCENE = load_scene_of(ReachScene, "reach")
STATE = SCENE.demonstrate(3, 0)[4][0]
EVEN = Light(ambient=(1.0, 1.0), headlight=(0.0, 0.0))  # light from everywhere alone: a surface shows its own colour
LAMP = Light(ambient=(0.2, 0.2), headlight=(0.0, 0.0), lamp=(0.7, 0.7), elevation=(1.2, 1.2), shadows=True)
PLAIN = dataclasses.replace(load_domain("source"), sensor=Sensor(supersampling=2))


def draw(domain: Domain, size: int = 96) -> NDArray[np.int_]:
    with Cell(SCENE, domain, size) as cell:
        return cell.render(STATE, cell.sample_look(0, 0)).astype(int)


def traced(domain: Domain, **settings: Any) -> Domain:
    return dataclasses.replace(domain, path_tracing=PathTracing(**settings))


def is_red(image: NDArray[np.int_]) -> NDArray[np.bool_]:
    return image[..., 0] > 60 + image[..., 1:].max(axis=-1)


def test_everything_is_where_mujoco_has_it() -> None:
    clutter = Clutter(count=(12, 12), distance_m=(0.1, 0.35), red=0.6)
    domain = dataclasses.replace(PLAIN, light=EVEN, clutter=clutter)
    drawn, other = draw(domain), draw(traced(domain))
    red, other_red = is_red(drawn), is_red(other)
    assert red.sum() > 100
    assert (red ^ other_red).sum() < 0.1 * red.sum()  # edges
    dark, other_dark = drawn.max(axis=-1) < 70, other.max(axis=-1) < 70  # the arm
    assert (dark ^ other_dark).sum() < 0.15 * dark.sum()


def test_colours_are_a_screens() -> None:
    domain = dataclasses.replace(PLAIN, light=EVEN)
    drawn, other = draw(domain), draw(traced(domain))
    assert np.abs(drawn[2, 2] - other[2, 2]).max() <= 4  # the table, far from all that reflects


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


def test_the_same_state_gives_the_same_pixels() -> None:
    domain = load_domain("lab_window")
    assert np.array_equal(draw(domain, 32), draw(domain, 32))


def test_without_mitsuba_a_lab_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(InputError, match=r"expected Mitsuba.* pip install mitsuba"):
        draw(load_domain("lab_brick"), 32)
