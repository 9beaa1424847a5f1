"""A recording's empty scene, and what is drawn before it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.models import load_robot
from taskgan_ros.sim.background import empty_scene, masks
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import Domain, load_domain
from taskgan_ros.sim.picture import Exhibit
from taskgan_ros.sim.silhouettes import Silhouettes
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of
from taskgan_ros.tasks.state import CellState
from taskgan_ros.vision.camera import camera_at

SIZE = 64


@pytest.fixture(scope="module")
def scene() -> ReachScene:
    return load_scene_of(ReachScene, "reach")


@pytest.fixture(scope="module")
def poses(scene: ReachScene) -> np.ndarray:
    return np.stack([scene.sample_start(0, k).state.joint_pos for k in range(24)])


def states(poses: np.ndarray) -> list[CellState]:
    return [CellState(q) for q in poses]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Return a smooth scene (H, W, 3), in which a hole can be filled."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    return np.stack([80 + x, 200 - y, 90 + (x + y) // 2], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def frames(scene: ReachScene, poses: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the arm, of another colour each time, before that scene."""
    with Silhouettes(scene, SIZE, SIZE) as silhouettes:
        masks = [silhouettes.draw(CellState(q)) for q in poses]
    return np.stack([np.where(mask[..., None], 7 * k, truth) for k, mask in enumerate(masks)]).astype(np.uint8)


def test_the_arm_is_gone_and_what_it_always_hid_is_filled(
    scene: ReachScene, poses: np.ndarray, frames: np.ndarray, truth: np.ndarray
) -> None:
    found = empty_scene(frames, states(poses), scene)
    assert 0 < found.filled < 0.2
    assert found.frames == len(poses)
    seen = (~masks(states(poses), scene, SIZE, SIZE)).sum(axis=0) >= 3
    np.testing.assert_array_equal(found.image[seen], truth[seen])
    assert np.abs(found.image.astype(int) - truth).mean(axis=-1)[~seen].mean() < 12


def test_an_arm_that_rests_for_long_leaves_no_ghost(
    scene: ReachScene, poses: np.ndarray, frames: np.ndarray
) -> None:  # fmt: skip
    expected = empty_scene(frames, states(poses), scene)
    rows = np.concatenate([np.zeros(200, int), np.arange(len(poses))])
    found = empty_scene(frames[rows], states(poses[rows]), scene)
    assert found.frames == expected.frames
    np.testing.assert_array_equal(found.image, expected.image)


def test_an_object_that_never_moves_is_gone_where_its_place_is_known(
    scene: ReachScene, poses: np.ndarray, truth: np.ndarray
) -> None:
    cube = np.array([[0.0, -0.35, 0.0]])
    with Silhouettes(scene, SIZE, SIZE) as silhouettes:
        drawn = [silhouettes.draw(CellState(q, cube)) for q in poses]
        arms = [silhouettes.draw(CellState(q)) for q in poses]
    frames = np.where(np.stack(drawn)[..., None], np.array([200, 20, 20], np.uint8), truth)
    only_cube = np.stack(drawn).any(axis=0) & ~np.stack(arms).any(axis=0)
    assert only_cube.sum() > 4
    known = empty_scene(frames, [CellState(q, cube) for q in poses], scene).image.astype(int)
    unknown = empty_scene(frames, states(poses), scene).image.astype(int)
    assert np.abs(known - truth)[only_cube].mean() < 15 < np.abs(unknown - truth)[only_cube].mean()


def test_an_arm_that_never_moves_out_of_the_way_is_refused(scene: ReachScene, poses: np.ndarray) -> None:
    near = Exhibit(scene.robot, dataclasses.replace(scene.camera, fov=0.08), 0.0)
    with pytest.raises(InputError, match="expected frames that show at least 50% of the scene"):
        empty_scene(np.zeros((1, SIZE, SIZE, 3), np.uint8), states(poses[:1]), near)


REAL = Path(__file__).resolve().parents[3] / "shared" / "real" / "panda"


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/real/panda")
def test_a_real_arm_that_the_median_keeps_is_gone() -> None:
    camera, labels = (json.loads((REAL / name).read_text()) for name in ("camera.json", "labels.json"))
    base = np.array(camera["extrinsic_cTr_axis_angle_then_translation"], np.float64)  # the base in the camera's frame
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(base[:3])[0], base[3:]
    fov = 2 * np.arctan(camera["height"] / 2 / camera["K"][1][1])
    try:
        panda = load_robot("panda")
    except InputError as error:
        pytest.skip(str(error))
    bench = Exhibit(panda, camera_at(np.linalg.inv(pose).astype(np.float64), fov), -1.0)
    images = np.stack([np.array(Image.open(REAL / label["image"]).convert("RGB")) for label in labels])
    recorded = states(np.array([label["positions_rad"] for label in labels]))
    found = empty_scene(images, recorded, bench)
    assert 0.03 < found.filled < 0.15
    (first,) = masks(recorded[:1], bench, *images.shape[1:3])
    ghost = np.abs(np.median(images, axis=0) - found.image)[first].mean()
    assert ghost > 20, "the arm hardly moved at first"


@pytest.fixture
def picture(truth: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "empty.png"
    Image.fromarray(truth).save(path)
    return path


def draw(scene: ReachScene, domain: Domain, index: int = 0) -> np.ndarray:
    with Cell(scene, domain, SIZE) as cell:
        return cell.render(scene.sample_start(0, 0).state, cell.sample_look(0, index))


def test_arm_and_object_are_in_front_of_the_background(
    scene: ReachScene, picture: Path, truth: np.ndarray, write_domain: Callable[..., Domain]
) -> None:
    plain, shown = draw(scene, load_domain("source")), draw(scene, write_domain(picture))
    own = (shown == truth).all(axis=-1)
    with Silhouettes(scene, SIZE, SIZE) as silhouettes:
        arm = silhouettes.draw(CellState(scene.sample_start(0, 0).state.joint_pos))
    assert (shown[arm] == plain[arm]).all(axis=-1).mean() > 0.99
    assert own[~arm].mean() > 0.97
    red = (shown[..., 0].astype(int) - shown[..., 1] > 60) & ~own
    assert red.sum() > 4, "the cube is drawn too"


def test_it_varies_by_the_domains_ranges_and_goes_through_the_sensor(
    scene: ReachScene, picture: Path, truth: np.ndarray, write_domain: Callable[..., Domain]
) -> None:
    dark = draw(scene, write_domain(picture, brightness=[0.5, 0.5]))
    assert dark[0].mean() == pytest.approx(truth[0].mean() / 2, abs=1)
    moved = [draw(scene, write_domain(picture, shift_px=4, jitter=0.1), k) for k in range(2)]
    assert not np.array_equal(moved[0], moved[1])
    half = write_domain(picture, share=0.5)
    with Cell(scene, half, SIZE) as cell:
        kept = [cell.sample_look(0, k).background is not None for k in range(40)]
    assert 8 < sum(kept) < 32
    assert half.background is not None
    smooth = dataclasses.replace(half.sensor, supersampling=2, gain=(0.5, 0.5))
    domain = dataclasses.replace(half, sensor=smooth, background=dataclasses.replace(half.background, share=1.0))
    assert draw(scene, domain)[0].mean() == pytest.approx(truth[0].mean() / 2, abs=1)


def test_a_dataset_is_a_background(
    scene: ReachScene, collected: Callable[..., Path], write_domain: Callable[..., Domain]
) -> None:
    pytest.importorskip("h5py")
    shown = draw(scene, write_domain(collected("target_a", seed=1)))
    plain = draw(scene, load_domain("source"))
    assert shown.shape == plain.shape
    assert np.abs(shown.astype(int) - plain).mean() > 3


def test_what_is_no_background_is_refused(
    scene: ReachScene, tmp_path: Path, write_domain: Callable[..., Domain]
) -> None:
    with pytest.raises(InputError, match="expected a photo's file"):
        write_domain(tmp_path / "nothing.png")
    wide = tmp_path / "wide.png"
    Image.new("RGB", (64, 48)).save(wide)
    with pytest.raises(InputError, match="expected a background of the camera's shape, 64:64, got 64:48"):
        draw(scene, write_domain(wide))


@pytest.fixture
def write_domain(tmp_path: Path) -> Callable[..., Domain]:
    """Return a function that makes the plain domain with a background of this file and these settings."""
    import yaml

    from taskgan_ros.core.config import resolve

    def write(file: Path, **settings: object) -> Domain:
        values = yaml.safe_load(resolve("domains", "source").read_text(encoding="utf-8"))
        path = tmp_path / "behind.yaml"
        path.write_text(yaml.safe_dump({**values, "background": {"file": str(file), **settings}}), encoding="utf-8")
        return load_domain(path)

    return write
