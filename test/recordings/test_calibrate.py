from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.calibrate import CalibrateConfig, calibrate
from taskgan_ros.recordings.empty_scene import find_empty_scene, motion_evidence
from taskgan_ros.recordings.overlay import OverlayConfig, overlay
from taskgan_ros.recordings.read_options import ReadOptions
from taskgan_ros.recordings.scene_camera import write_scene
from taskgan_ros.robot.silhouette import View, grown, silhouette
from taskgan_ros.robot.surface import ArmSurface
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.tasks.state import CellState
from taskgan_ros.vision.camera import camera_at
from taskgan_ros.vision.contour_fit import change_between, moved

SIZE, FRAMES = (168, 224), 14
SCENE = load_scene("poses")
OFF = (0.02, -0.03, 0.01, 0.03, -0.02, 0.03)  # m and rad, of the scene that a user has


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of pictures of the scene's arm, with masks, taken by the scene's camera."""
    folder = tmp_path_factory.mktemp("recording")
    rng = np.random.default_rng(0)
    surface = ArmSurface(SCENE.arm, SCENE.robot.drawable, SCENE.held_joints)
    camera = SCENE.camera
    view = View(camera.pose(), camera.matrix(*SIZE), *SIZE)
    rows = []
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    with Cell(SCENE, load_domain("target_wood"), SIZE) as cell:
        look = cell.sample_look(0, 0)
        for k in range(FRAMES):
            q = np.array(SCENE.ready) + rng.uniform(-0.8, 0.8, len(SCENE.ready))
            image = cell.render(CellState(q, np.empty((0, 3))), look, k)
            cv2.imwrite(str(folder / "images" / f"{k:02}.png"), image[..., ::-1])
            cv2.imwrite(str(folder / "masks" / f"{k:02}.png"), 255 * silhouette(surface, q, view).astype(np.uint8))
            names = list(SCENE.arm.joint_names)
            rows.append({"image": f"images/{k:02}.png", "stamp": k, "joint_names": names, "positions_rad": q.tolist()})
    (folder / "labels.json").write_text(json.dumps(rows))
    info = {"k": camera.matrix(*SIZE).ravel().tolist(), "d": [0.0] * 5, "distortion_model": "plumb_bob"}
    (folder / "camera_info.yaml").write_text(yaml.safe_dump({**info, "height": SIZE[0], "width": SIZE[1]}))
    return folder


@pytest.fixture
def guess(tmp_path: Path) -> Path:
    """Return a scene whose camera is off."""
    path = tmp_path / "guess.yaml"
    write_scene("poses", path, camera_at(moved(SCENE.camera.pose(), OFF), SCENE.camera.fov))
    return path


def config(recorded: Path, guess: Path, **options: object) -> CalibrateConfig:
    given = {"starts": 2, "recording": ReadOptions(), "out": guess.with_name("own.yaml"), **options}
    return CalibrateConfig(recordings=(recorded,), scene=str(guess), **given)  # type: ignore[arg-type]


def error(scene: Path) -> tuple[float, float]:
    change = change_between(SCENE.camera.pose(), load_scene(scene).camera.pose())
    return float(np.linalg.norm(change[:3])), float(np.rad2deg(np.linalg.norm(change[3:])))


@pytest.mark.parametrize("by", ["motion", "masks"])
def test_the_arms_outline_places_the_camera(by: str, recorded: Path, guess: Path) -> None:
    masks = recorded / "masks" if by == "masks" else None
    calibrate(config(recorded, guess, masks=masks))
    out = guess.with_name("own.yaml")
    metres, degrees = error(out)
    assert metres < (0.01 if by == "masks" else 0.015)
    assert degrees < (0.4 if by == "masks" else 0.8)
    found = load_scene(out).camera
    assert found.covariance is not None
    assert found.fov == pytest.approx(SCENE.camera.fov, abs=1e-3)
    picture = cv2.imread(str(out.with_suffix(".png")))
    assert picture is not None
    assert picture.shape[1] == 4 * SIZE[1]


def test_masks_that_are_drawn_too_large_place_the_camera_as_well(recorded: Path, guess: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for path in sorted((recorded / "masks").glob("*.png")):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert mask is not None
        cv2.imwrite(str(tmp_path / "masks" / path.name), 255 * grown(mask > 0, 1).astype(np.uint8))
    calibrate(config(recorded, guess, masks=tmp_path / "masks", starts=1))
    metres, degrees = error(guess.with_name("own.yaml"))
    assert metres < 0.004
    assert degrees < 0.4


def test_the_focal_length_is_found_where_nobody_knows_the_lens(recorded: Path, tmp_path: Path) -> None:
    folder, guess = tmp_path / "recording", tmp_path / "guess.yaml"
    folder.mkdir()
    (folder / "labels.json").write_text((recorded / "labels.json").read_text())
    (folder / "images").symlink_to(recorded / "images")
    write_scene("poses", guess, camera_at(moved(SCENE.camera.pose(), OFF), 1.05 * SCENE.camera.fov))
    calibrate(config(folder, guess, masks=recorded / "masks", solve_lens=True, starts=1))
    assert load_scene(tmp_path / "own.yaml").camera.fov == pytest.approx(SCENE.camera.fov, rel=0.03)
    assert error(tmp_path / "own.yaml")[0] < 0.05


def test_joints_zeros_come_with_their_uncertainty(
    recorded: Path, guess: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate(config(recorded, guess, masks=recorded / "masks", joint_zeros=True, starts=1))
    printed = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("joints' zeros: "))
    assert " ± " in printed
    assert SCENE.arm.joint_names[0] not in printed, "the base's frame takes it up"
    assert "no more than its uncertainty" in printed, "the arm has none"


def test_a_transform_is_taken_as_it_is(recorded: Path, guess: Path) -> None:
    calibrate(config(recorded, guess, transform="1.0,-0.5,0.8,0.5,-0.5,0.5,-0.5"))
    np.testing.assert_allclose(load_scene(guess.with_name("own.yaml")).camera.position, [1.0, -0.5, 0.8])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"board": "chessboard:7x6:0.02"}, "expected a chessboard:7x6:0.02 in the pictures, got none in 14 frames"),
        ({"board": "chessboard:7x6:0.02", "board_on": "table"}, "alone do not locate the arm's base"),
        ({"board_pose": "0,0,0,0,0,0,1"}, "expected a --board with them"),
        ({"board": "chessboard:7x6", "transform": "1,2,3,0,0,0,1"}, "expected one of"),
        ({"ignore_links": ("nose",)}, "expected links of"),
        ({"starts": 0}, "--starts: expected 1"),
        ({"guess_off_m": float("inf")}, "--guess-off-m: expected a finite"),
        ({"guess_off_deg": 0.0}, "--guess-off-deg: expected"),
        ({"board": "chessboard:7x6:inf"}, "--board: expected"),
        ({"out": Path("x1.png")}, "expected a .yaml"),
        ({"out": Path("/nowhere/own.yaml")}, "expected a folder that exists"),
        ({"masks": Path("/nowhere")}, "expected a mask for each of 14 frames, got 0"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    options: dict[str, object], expected: str, recorded: Path, guess: Path
) -> None:
    with pytest.raises(InputError, match=expected):
        calibrate(config(recorded, guess, **options))
    assert [path.name for path in guess.parent.iterdir()] == [guess.name]


def test_masks_of_another_size_are_refused(recorded: Path, guess: Path, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for k in range(FRAMES):
        cv2.imwrite(str(folder / f"{k:02}.png"), np.zeros((84, 112), np.uint8))
    with pytest.raises(InputError, match="size, 224x168, got 112x84"):
        calibrate(config(recorded, guess, masks=folder))


def test_a_picture_in_the_way_is_found_first(recorded: Path, guess: Path) -> None:
    guess.with_name("own.png").write_text("mine")
    with pytest.raises(InputError, match=r"own\.png"):
        calibrate(config(recorded, guess, board="chessboard:7x6:0.02"))
    assert not guess.with_name("own.yaml").exists()


def test_pictures_of_another_arm_are_refused(recorded: Path, guess: Path, tmp_path: Path) -> None:
    folder = tmp_path / "noise"
    (folder / "images").mkdir(parents=True)
    for name in ("labels.json", "camera_info.yaml"):
        (folder / name).write_text((recorded / name).read_text())
    rng = np.random.default_rng(0)
    for path in (recorded / "images").iterdir():
        cv2.imwrite(str(folder / "images" / path.name), rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="expected"):
        calibrate(config(folder, guess))


@pytest.mark.parametrize("name", ["seen.png", "seen.gif"])
def test_overlay_draws_the_scenes_arm(
    name: str, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    overlay(OverlayConfig(recordings=(recorded,), scene="poses", recording=ReadOptions(), out=out, pictures=4))
    assert out.stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "4 pictures" in printed
    assert " from where the scene has it" in printed


@pytest.mark.parametrize(
    ("name", "pictures", "expected"), [("no/a.png", 4, "a folder that exists"), ("a.png", 0, "--pictures: expected 1")]
)
def test_an_overlay_that_cannot_be_is_refused(
    name: str, pictures: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    wrong = OverlayConfig((tmp_path,), "poses", ReadOptions(), Path("~") / name, pictures)
    with pytest.raises(InputError, match=expected):
        overlay(wrong)


def test_the_empty_scene_has_no_ghost_of_an_arm_that_stood_still() -> None:
    wall = np.random.default_rng(0).integers(60, 120, (40, 60, 3)).astype(np.uint8)
    masks = [np.zeros((40, 60), bool) for _ in range(10)]
    for k, mask in enumerate(masks):
        mask[5:30, 10:20] = k < 7  # it stood still here
        mask[5:30, 30:40] = k >= 7
    images = [np.where(mask[..., None], 230, wall).astype(np.uint8) for mask in masks]
    scene = find_empty_scene(images, [grown(mask, 1) for mask in masks])
    assert scene.is_known.all()
    np.testing.assert_array_equal(scene.image, wall)
    odds = motion_evidence(images[0], scene, np.ones((40, 60), bool))
    assert (odds[masks[0]] > 0).all()
    assert (odds[~masks[0]] < 0).all()
    always = find_empty_scene(images[:7], masks[:7])
    assert not always.is_known[masks[0]].any()
