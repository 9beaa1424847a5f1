from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from taskgan_ros.core.config import build, fill, load, read_yaml, resolve, share_dir
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.schema import Field, config_dataclass, to_plain, whole_rule


@config_dataclass
class Lens:
    focal_m: Annotated[float, Field(gt=0)]
    tilt: tuple[float, float] = (0.0, 0.0)


@config_dataclass
class Camera:
    name: str
    lens: Lens
    path: Path | None = None

    @whole_rule
    def _is_not_upside_down(self) -> None:
        if self.lens.tilt[0] > 3:
            raise ValueError(f"expected a camera that stands upright, got a tilt of {self.lens.tilt[0]}")


def refusal(tmp_path: Path, text: str) -> str:
    """Return the message with which `load` refuses a file of this text, without the file's name before it."""
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load(Camera, path)
    lines = str(error.value).splitlines()
    assert lines[0].startswith(f"{path}: ")
    return "\n".join(line.removeprefix(f"{path}: ") for line in lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: a, lens: {focal_m: 1}, colour: red}", "colour: expected no such field, got 'red'"),
        ("{name: a, lens: {focal_m: 1, zoom: 2}}", "lens.zoom: expected no such field, got 2"),
        ("{name: a}", "lens: expected this field, got none"),
        ("{name: a, lens: {tilt: [0, 0]}}", "lens.focal_m: expected this field, got none"),
        ("{name: a, lens: {focal_m: 0}}", "lens.focal_m: Input should be greater than 0, got 0"),
        ("{name: a, lens: {focal_m: .nan}}", "lens.focal_m: Input should be a finite number, got nan"),
        ("{name: a, lens: {focal_m: wide}}", "lens.focal_m: Input should be a valid number"),
        ("{name: a, lens: {focal_m: 1, tilt: [0, up]}}", "lens.tilt.1: Input should be a valid number"),
        ("{name: a, lens: {focal_m: 1, tilt: [4, 0]}}", "expected a camera that stands upright, got a tilt of 4.0"),
        ("[a, b]", "expected a mapping of Camera fields, got list"),
        ("", "expected a mapping of Camera fields, got NoneType"),
        ("{name: a", "line 1: expected a readable YAML file, got: "),
        ("name: 2026-06-31", "expected a readable YAML file, got: day "),
        ("name: a\n---\nname: b", "line 2: expected a readable YAML file, got: expected a single document"),
        ("name: !!bool maybe", "expected a readable YAML file, got: 'maybe'"),
        ("name: !!timestamp soon", "expected a readable YAML file, got: "),
        ("!!python/object/apply:os.getcwd []", "expected a readable YAML file, got: could not determine a constructor"),
    ],
)
def test_a_file_with_a_fault_is_refused_with_the_field_what_was_expected_and_what_came(
    tmp_path: Path, text: str, message: str
) -> None:
    assert message in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nlens: {}\nname: b", "line 3: expected each key once, got 'name' again, first in line 1"),
        (
            "name: a\nlens:\n  focal_m: 1\n  focal_m: 2",
            "line 4: expected each key once, got 'focal_m' again, first in line 3",
        ),
        ("[{a: 1, 'a': 2}]", "line 1: expected each key once, got 'a' again"),
        ("1: a\n0x1: b", "line 2: expected each key once, got '0x1' again, first in line 1"),
        ("<<: {a: 1}\n<<: {b: 1}", "line 2: expected each key once, got '<<' again, first in line 1"),
        (
            "? [a]\n: 1",
            "line 1: expected a readable YAML file, got: while constructing a mapping, found unhashable key",
        ),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_lines(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_a_merged_key_may_be_given_again(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text("o: {a: &a {<<: &b {x: 0, y: 4}, x: 1}}\nc: {<<: *a, x: 3}")
    assert read_yaml(path) == {"o": {"a": {"x": 1, "y": 4}}, "c": {"x": 3, "y": 4}}


keys = st.text("abc", min_size=1, max_size=2)
trees = st.recursive(
    st.integers(), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)


@given(st.dictionaries(keys, trees, min_size=1), st.data())
def test_any_mapping_is_read_and_with_a_key_again_refused(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert read_yaml(path) == tree
    again = data.draw(st.sampled_from(sorted(tree)))
    path.write_text(yaml.safe_dump(tree) + yaml.safe_dump({again: 0}))
    with pytest.raises(InputError, match=f"expected each key once, got '{again}' again"):
        read_yaml(path)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "{name: a, lens: {focal_m: -1, zoom: 2}, colour: red}").splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["colour", "lens.focal_m", "lens.zoom"]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match=r"camera\.yaml: expected a readable YAML file, got: "):
        load(Camera, path)


def test_what_is_written_as_plain_values_is_read_back(tmp_path: Path) -> None:
    camera = Camera(name="a", lens=Lens(focal_m=0.035, tilt=(0.1, 0.2)), path=tmp_path)
    plain = to_plain(camera)
    assert plain == {"name": "a", "lens": {"focal_m": 0.035, "tilt": [0.1, 0.2]}, "path": str(tmp_path)}
    assert build(Camera, plain, "test") == camera


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Lens(focal_m=1.0).focal_m = 2.0  # type: ignore[misc]


def test_no_file_in_the_working_directory_takes_a_shipped_names_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mico", "mine", "mine.yaml"):
        (tmp_path / name).touch()
    assert resolve("arms", "mico") == share_dir() / "config" / "arms" / "mico.yaml"
    assert [resolve("arms", path) for path in ("./mico", "mine.yaml")] == [Path("mico"), Path("mine.yaml")]
    with pytest.raises(InputError, match=r"arms: expected a file or one of \[.*mico.*\], got 'mine'"):
        resolve("arms", "mine")


def test_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected the home of a user of this machine, got .~nobody_here/arm\.yaml"):
        resolve("arms", "~nobody_here/arm.yaml")


@pytest.mark.parametrize(
    ("kind", "some"),
    [
        ("arms", {"mico", "panda"}),
        ("domains", {"source", "target_wood"}),
        ("recipes", {"default", "paper"}),
        ("scenes", {"poses", "push", "reach"}),
        ("scales", {"full", "smoke"}),
    ],
)
def test_an_unknown_name_is_refused_with_the_shipped_ones(kind: str, some: set[str]) -> None:
    names = sorted(path.stem for path in (share_dir() / "config" / kind).iterdir())
    assert some <= set(names)
    with pytest.raises(InputError) as error:
        resolve(kind, "marble")
    assert str(error.value) == f"{kind}: expected a file or one of [{', '.join(names)}], got 'marble'"


def test_a_configuration_is_filled_from_what_has_fields_of_the_same_name_and_more() -> None:
    @dataclasses.dataclass(frozen=True)
    class Wanted:
        width: int
        name: str

    @dataclasses.dataclass(frozen=True)
    class Source:
        width: int = 3
        height: int = 4
        name: str = "source"

    assert fill(Wanted, Source(), name="given") == Wanted(3, "given")
    with pytest.raises(AttributeError, match="width"):
        fill(Wanted, object(), name="given")
