"""What a guard says of images, by a tiny graph that numpy can follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from taskgan_ros.core.config import build
from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.bundle import GUARD, Bundle, BundleCard, GuardCard, load_bundle, write_bundle
from taskgan_ros.policy.guard import Guard, Scores

Images = NDArray[np.uint8]

# camera: the image's mean in hundreds; pose: the sum of the two driven joints less the translation's mean in hundreds.
TEXT = """
<ir_version: 8, opset_import: ["" : 18]>
guard (uint8[N, 6, 8, 3] image, uint8[N, 6, 8, 3] translated, float[N, 2] joint_pos) => ({output}) {{
    pixels = Cast<to = 1>(image)
    plain = Cast<to = 1>(translated)
    hundred = Constant<value = float {{{hundred}}}>()
    axes = Constant<value = int64[3] {{1, 2, 3}}>()
    mean = ReduceMean<keepdims = 0>(pixels, axes)
    camera = Div(mean, hundred)
    plain_mean = ReduceMean<keepdims = 0>(plain, axes)
    shown = Div(plain_mean, hundred)
    last = Constant<value = int64[1] {{1}}>()
    sum = ReduceSum<keepdims = 0>(joint_pos, last)
    pose = Sub(sum, shown)
    camera_column = Unsqueeze(camera, last)
    pose_column = Unsqueeze(pose, last)
    scores = Concat<axis = 1>(camera_column, pose_column)
}}
"""
GUARD_CARD = {"scores": ["camera", "pose"], "quantile": 0.999, "images": 9, "held_out": True, "quantiles": {}}


def guard_graph(output: str = "float[N, 2] scores", hundred: str = "100.0") -> bytes:
    onnx = pytest.importorskip("onnx", reason="the `training` extra is needed to make ONNX graphs")
    from taskgan_ros.training.finite_check import add_finite_check

    data: bytes = add_finite_check(
        onnx.parser.parse_model(TEXT.format(output=output, hundred=hundred))
    ).SerializeToString()
    return data


@pytest.fixture
def guarded(tmp_path: Path, card: BundleCard, graphs: dict[str, bytes]) -> Bundle:
    with_guard = build(BundleCard, {**vars(card), "image": vars(card.image), "guard": GUARD_CARD}, origin="test")
    return write_bundle(tmp_path / "guarded", with_guard, {**graphs, GUARD: guard_graph()}, "# Tiny\n")


def plain(value: int) -> Images:
    return np.full((6, 8, 3), value, np.uint8)


def test_scores_are_the_graphs_for_the_driven_joints_in_the_bundles_order(guarded: Bundle) -> None:
    joint_pos = np.array([0.25, 1.5, 9.0, 9.0, 9.0, 9.0])
    scores = Guard(guarded).score(plain(50), plain(100), joint_pos)
    assert scores.values == {"camera": 0.5, "pose": 0.75, "frozen": 0.0}
    assert scores.worst == 0.75
    assert scores.objection(0.75) == ""
    expected = (
        "its translation shows the arm where the joint states say it is not (pose score 0.75, expected at most 0.5)"
    )
    assert scores.objection(0.5).startswith(expected)
    assert "`taskgan adapt`" in scores.objection(0.5), "it says what to do"


def test_the_same_picture_again_is_frozen_once_the_arm_has_moved(guarded: Bundle) -> None:
    guard, still, moved = Guard(guarded), np.zeros(6), np.array([0.05, 0, 0, 0, 0, 0])
    others, turned = np.array([0, 0, 1.0, 1.0, 1.0, 1.0]), np.array([2 * np.pi, 0, 0, 0, 0, 0])
    assert guard.score(plain(50), plain(0), still).values["frozen"] == 0
    assert guard.score(plain(50), plain(0), still).values["frozen"] == 0, "nothing moves in a still scene"
    assert guard.score(plain(50), plain(0), others).values["frozen"] == 0, "joints that are not driven may be unseen"
    assert guard.score(plain(50), plain(0), turned).values["frozen"] == 0, "a turn that a driver lost is no way"
    assert guard.score(plain(50), plain(0), moved).values["frozen"] == math.inf
    assert "in every pixel" in guard.score(plain(50), plain(0), moved).objection(1e9)
    assert guard.score(plain(51), plain(0), moved).values["frozen"] == 0
    guard.score(plain(50), plain(0), still)
    guard.forget()
    assert guard.score(plain(50), plain(0), moved).values["frozen"] == 0


@given(st.dictionaries(st.sampled_from(["camera", "pose", "new"]), st.floats(), min_size=1), st.floats(0.01, 1e3))
def test_what_is_above_the_tolerance_or_no_number_is_objected_to(values: dict[str, float], tolerance: float) -> None:
    scores = Scores(values)
    is_bad = any(not value <= tolerance for value in values.values() if value != -math.inf)
    is_bad = is_bad or -math.inf in values.values()  # no distance is
    assert bool(scores.objection(tolerance)) == is_bad
    assert (scores.worst > tolerance) == is_bad


def test_a_guard_that_gives_no_number_is_refused_when_it_warms_up(
    guarded: Bundle, tmp_path: Path, graphs: dict[str, bytes]
) -> None:
    guard = Guard(guarded)
    guard.warm_up()
    assert guard.score(plain(0), plain(0), np.ones(6)).values["frozen"] == 0, "what warmed it up is no image before"
    files = {**graphs, GUARD: guard_graph(hundred="nan")}
    with pytest.raises(InputError, match=r"guard\.onnx: expected finite scores of a black image, got {'camera': nan, "):
        Guard(write_bundle(tmp_path / "nan", guarded.card, files, "")).warm_up()


def test_a_bundle_without_a_guard_says_how_to_get_one(bundle_dir: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected a bundle with guard\.onnx, got one without: `taskgan guard` adds it"
    ):
        Guard(load_bundle(bundle_dir))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("float[N, 3] scores", r"guard\.onnx: expected outputs scores: float32 \[N, 2\]"),
        ("float[N, 2] pose_column", r"guard\.onnx: expected outputs scores"),
    ],
)
def test_a_guard_that_does_not_fit_its_card_is_refused(
    output: str, message: str, tmp_path: Path, card: BundleCard, graphs: dict[str, bytes]
) -> None:
    guard = build(GuardCard, GUARD_CARD, origin="test")
    with_guard = build(BundleCard, {**vars(card), "image": vars(card.image), "guard": vars(guard)}, origin="test")
    with pytest.raises(InputError, match=message):
        write_bundle(tmp_path / "out", with_guard, {**graphs, GUARD: guard_graph(output)}, "# Tiny\n")
    assert not (tmp_path / "out").exists()


def test_a_guard_without_its_entry_or_the_other_way_is_refused(
    guarded: Bundle, bundle_dir: Path, edit_card: Callable[..., None]
) -> None:
    edit_card(guarded.path, guard=None)
    with pytest.raises(InputError, match="an entry guard, or neither, got a file and no entry"):
        load_bundle(guarded.path)
    edit_card(bundle_dir, guard=GUARD_CARD)
    with pytest.raises(InputError, match="or neither, got an entry and no file"):
        load_bundle(bundle_dir)


@pytest.mark.parametrize("scores", [("camera", "camera"), ("camera", "frozen")])
def test_scores_that_would_hide_one_another_are_refused(scores: tuple[str, ...]) -> None:
    card = {"scores": list(scores), "quantile": 0.999, "images": 9, "held_out": True, "quantiles": {}}
    with pytest.raises(InputError, match="expected each score once, and none named frozen"):
        build(GuardCard, card, origin="test")
