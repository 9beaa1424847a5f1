from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from taskgan_ros.core.errors import InputError
from taskgan_ros.sim import photos
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.registry import load_motion_scene

needs_scikit_image = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="scikit-image is not installed"
)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return a picture that is no square: red on the left, blue on the right."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30, 0], pixels[:, 30:, 2] = 200, 200
    Image.fromarray(pixels).save(tmp_path / "floor.png")
    return tmp_path / "floor.png"


def test_a_photo_tiles_without_a_seam(photo: Path) -> None:
    tile = photos.tile(str(photo), 64).astype(int)
    assert tile.shape == (128, 128, 3)
    np.testing.assert_array_equal(tile[:, 0], tile[:, -1])
    np.testing.assert_array_equal(tile[0], tile[-1])
    assert tile[5, 5, 0] == 200  # and is not turned or stretched
    assert tile[5, 60, 2] == 200


@needs_scikit_image
def test_a_photo_of_scikit_image_is_there_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket", None)
    assert photos.tile("skimage:brick", 128).std() > 10
    with pytest.raises(InputError, match=r"skimage:marble: expected one of \[.*'brick', .*\], got 'marble'"):
        photos.find("skimage:marble", Path())


def test_without_scikit_image_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"skimage:brick: expected scikit-image, .*: pip install scikit-image"):
        load_domain("real_standin")


def test_a_photo_is_looked_for_beside_its_domain_and_lies_on_the_table(
    photo: Path,
    yaml_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    domain = load_domain(yaml_file("domains", "source", {"table.photos": [photo.name], "table.scale_m": [0.5, 0.5]}))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with Cell(load_motion_scene("reach"), domain, 64) as cell:
        looks = [cell.sample_look(0, index) for index in range(5)]
    assert {look.texture for look in looks} == {0}  # no plain table between


def test_photos_join_the_patterns(photo: Path, yaml_file: Callable[..., Path]) -> None:
    table = {"table.photos": [photo.name], "table.patterns": ["plain", "wood"]}
    with Cell(load_motion_scene("reach"), load_domain(yaml_file("domains", "source", table)), 16) as cell:
        shown = [cell.sample_look(0, index).texture for index in range(200)]
    assert set(shown) == {None, 0, 1, 2, 3, 4}
    assert 0.2 < shown.count(None) / 200 < 0.46  # one of three kinds


RAMP = np.linspace(0, 1, 200)[None].repeat(200, 0)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("deep.png", (RAMP * 65535).astype(np.uint16)),
        ("deep.tif", (RAMP * 65535).astype(np.uint16)),
        ("deep.pgm", (RAMP * 65535).astype(np.uint16)),
        ("float.tif", RAMP.astype(np.float32)),
    ],
)
def test_a_photo_of_more_bits_is_as_bright_as_one_of_8(tmp_path: Path, name: str, values: NDArray[Any]) -> None:
    Image.fromarray((RAMP * 255).astype(np.uint8)).save(tmp_path / "plain.png")
    Image.fromarray(values).save(tmp_path / name)
    deep, plain = (photos.tile(str(tmp_path / name), 64).astype(int) for name in (name, "plain.png"))
    assert abs(deep - plain).max() <= 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((RAMP * 255).astype(np.float32), "values of 0 to 1 in a photo of float32, got 0.0 to 255.0"),
        (-RAMP.astype(np.float32), "values of 0 to 1 in a photo of float32, got -1.0 to "),
        (np.full((8, 8), np.nan, np.float32), "values of 0 to 1 in a photo of float32, got nan to nan"),
        (
            (RAMP * 255).astype(np.int32),
            "a photo of 8-bit or unsigned 16-bit integers, or of floats, got other integers",
        ),
        (
            (RAMP * 2**30).astype(np.int32),
            "a photo of 8-bit or unsigned 16-bit integers, or of floats, got other integers",
        ),
    ],
)
def test_a_photo_of_other_numbers_is_refused(tmp_path: Path, values: NDArray[Any], told: str) -> None:
    Image.fromarray(values).save(tmp_path / "odd.tif")
    with pytest.raises(InputError, match=f"odd.tif: expected {told}"):
        photos.tile(str(tmp_path / "odd.tif"), 64)


def test_a_damaged_photo_is_refused(photo: Path) -> None:
    data = photo.read_bytes()
    for damaged in (data[: len(data) // 2], data[:45] + b"\0\xff" * 20 + data[85:]):
        photo.write_bytes(damaged)
        with pytest.raises(InputError, match=r"floor.png: expected an image file, got: "):
            photos.tile(str(photo), 64)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.png", "none.png: expected a photo's file or skimage:NAME, got none"),
        ("note.txt", "expected an image file"),
    ],
)
def test_a_photo_that_is_none_is_refused(
    name: str, message: str, yaml_file: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("no picture")
    path = yaml_file("domains", "source", {"table.photos": [name]})
    with pytest.raises(InputError, match=message):
        Cell(load_motion_scene("reach"), load_domain(path), 16)
