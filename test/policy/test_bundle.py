from __future__ import annotations

import dataclasses
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import taskgan_ros
from taskgan_ros.core.config import share_dir
from taskgan_ros.core.errors import InputError, OutputExistsError
from taskgan_ros.policy.bundle import (
    GRAPHS,
    POLICY,
    TASK_MODEL,
    TRANSLATOR,
    BundleCard,
    load_bundle,
    shipped_bundles,
    write_bundle,
)

EditCard = Callable[..., None]


def refusal(name_or_path: str | Path) -> str:
    """Return the message with which `load_bundle` refuses."""
    with pytest.raises(InputError) as error:
        load_bundle(name_or_path)
    return str(error.value)


def test_a_written_bundle_loads_as_it_was_described(bundle_dir: Path, card: BundleCard) -> None:
    bundle = load_bundle(bundle_dir)
    assert dataclasses.replace(bundle.card, files={}) == card
    assert set(bundle.card.files) == set(GRAPHS)
    assert bundle.path == bundle_dir
    assert bundle.arm.name == "mico"
    assert (bundle_dir / "README.md").read_text() == "# Tiny\n"


def test_every_shipped_bundle_loads_by_name() -> None:
    for name in shipped_bundles():
        assert load_bundle(name).path == share_dir() / "models" / name


def test_an_unknown_bundle_is_refused_with_the_shipped_ones() -> None:
    listed = ", ".join(shipped_bundles())
    assert refusal("reach_marble") == f"bundle: expected a folder or one of [{listed}], got 'reach_marble'"


def test_a_folder_that_is_no_bundle_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    assert refusal(tmp_path) == f"{tmp_path}: expected a bundle, which has bundle.yaml, got a folder with ['photo.png']"


@pytest.mark.parametrize("name", GRAPHS)
def test_a_changed_file_is_refused_with_both_hashes(bundle_dir: Path, card: BundleCard, name: str) -> None:
    expected = load_bundle(bundle_dir).card.files[name]
    data = bytearray((bundle_dir / name).read_bytes())
    data[-1] ^= 1
    (bundle_dir / name).write_bytes(data)
    message = refusal(bundle_dir)
    assert f"{name}: expected SHA-256 {expected}, as bundle.yaml says, got " in message
    assert f"of {len(data)} bytes: damaged" in message


def test_a_truncated_file_is_refused(bundle_dir: Path) -> None:
    data = (bundle_dir / POLICY).read_bytes()
    (bundle_dir / POLICY).write_bytes(data[: len(data) // 2])
    assert f"of {len(data) // 2} bytes: damaged, cut short or replaced" in refusal(bundle_dir)


def test_a_missing_file_is_refused(bundle_dir: Path) -> None:
    (bundle_dir / TASK_MODEL).unlink()
    message = "expected this file, which bundle.yaml lists, got: No such file or directory"
    assert refusal(bundle_dir) == f"{bundle_dir / TASK_MODEL}: {message}"


def test_a_card_without_a_graph_is_refused(bundle_dir: Path, edit_card: EditCard) -> None:
    files = load_bundle(bundle_dir).card.files
    for left, missing in (([], [TASK_MODEL]), ([TRANSLATOR], [TASK_MODEL]), ([POLICY, TASK_MODEL], [TRANSLATOR])):
        edit_card(bundle_dir, files={name: files[name] for name in left})
        assert refusal(bundle_dir).endswith(f"among them, got none for {missing}")


def test_the_task_model_is_enough(bundle_dir: Path, edit_card: EditCard) -> None:
    files = load_bundle(bundle_dir).card.files
    for left in ([TASK_MODEL], [TASK_MODEL, TRANSLATOR]):
        edit_card(bundle_dir, files={name: files[name] for name in left})
        assert set(load_bundle(bundle_dir).card.files) == set(left)


def test_the_cards_field_of_view_comes_before_the_scenes(bundle_dir: Path, edit_card: EditCard) -> None:
    assert load_bundle(bundle_dir).camera_fov == 0.72
    edit_card(bundle_dir, camera_fov=1.1)
    assert load_bundle(bundle_dir).camera_fov == 1.1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"format": 1},
            "format: Value error, expected 2, whose graphs report values that are not finite; `taskgan upgrade`",
        ),
        ({"format": 3}, "format: Input should be 2, got 3"),
        ({"units": "rad"}, "units: Value error, expected rad/s for the task joint_velocities, got 'rad'"),
        ({"task": "joint_angles"}, "units: Value error, expected rad for the task joint_angles, got 'rad/s'"),
        ({"task": "grasp"}, "task: Input should be 'joint_velocities' or 'joint_angles', got 'grasp'"),
        ({"label_scale": [0.1]}, "label_scale: Value error, expected 2 values, one for each of joint_names"),
        ({"label_scale": [0.1, float("nan")]}, "label_scale.1: Input should be a finite number"),
        ({"label_scale": [0.1, 0.0]}, "label_scale.1: Input should be greater than 0, got 0.0"),
        (
            {"label_scale": [0.1, 19.9]},
            "label_scale.1: Value error, expected at most 10 rad/s or rad in magnitude, not degrees",
        ),
        ({"observes": ["joint_pos"]}, "observes: Value error, expected [image] or [image, joint_pos]"),
        ({"observed_joints": ["m1n6s200_joint_1"]}, "expected none where observes lacks joint_pos, got some"),
        ({"camera_fov": 41.0}, "camera_fov: Input should be less than 3, got 41.0"),
        ({"chunk": {"length": 0, "step_s": 0.1}}, "chunk.length: Input should be greater than 0, got 0"),
        (
            {"chunk": {"length": 4, "step_s": 0.1}},
            "task_model.onnx: expected outputs command: float32 [N, 4, 2]",
        ),
        (
            {"observes": ["image", "joint_pos"]},
            "task_model.onnx: expected inputs image: uint8 [N, 6, 8, 3]; joint_pos: float32 [N, 2], got image: ",
        ),
        ({"joint_names": ["m1n6s200_joint_1"] * 2}, "joint_names: Value error, expected each joint once"),
        ({"opset": 17}, "translator.onnx: expected opset 17 or older, as bundle.yaml says, got 18"),
        (
            {"image": {"height": 6, "width": 8, "color_order": "bgr"}},
            "image.color_order: Input should be 'rgb'",
        ),
        ({"arm": "ur5"}, "arms: expected a file or one of [mico, panda, so101, ur5e], got 'ur5'"),
        ({"colour": "red"}, "colour: expected no such field, got 'red'"),
        ({"units": None}, "units: expected this field, got none"),
        ({"files": {"../policy.onnx": "0" * 64}}, "files.../policy.onnx"),
        ({"files": {"policy.onnx": "abc"}}, "files.policy.onnx: String should match pattern"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(
    bundle_dir: Path, edit_card: EditCard, changes: dict[str, Any], expected: str
) -> None:
    edit_card(bundle_dir, **changes)
    assert expected in refusal(bundle_dir)


@pytest.mark.parametrize("changes", [{}, {"observes": ["image", "joint_pos"], "observed_joints": ["m1n6s200_joint_1"]}])
def test_a_rate_of_approach_needs_the_positions_of_the_driven_joints(
    bundle_dir: Path, edit_card: EditCard, changes: dict[str, Any]
) -> None:
    edit_card(bundle_dir, approach_rate=1.5, **changes)
    assert "approach_rate: expected one only for joint_velocities that observe" in refusal(bundle_dir)


def test_joints_that_the_arm_has_not_are_refused(bundle_dir: Path, edit_card: EditCard) -> None:
    edit_card(bundle_dir, joint_names=["m1n6s200_joint_1", "elbow"])
    message = refusal(bundle_dir)
    assert "joint_names: expected joints of the arm mico, ['m1n6s200_joint_1', " in message
    assert message.endswith("got ['elbow']")


def test_observed_joints_that_the_arm_has_not_are_refused(bundle_dir: Path, edit_card: EditCard) -> None:
    files = {"task_model.onnx": load_bundle(bundle_dir).card.files[TASK_MODEL]}
    edit_card(bundle_dir, observes=["image", "joint_pos"], observed_joints=["gripper"], files=files)
    assert "expected inputs image: uint8 [N, 6, 8, 3]; joint_pos: float32 [N, 1], got" in refusal(bundle_dir)


def test_an_arm_and_a_scene_in_the_bundle_are_found_and_verified(
    tmp_path: Path, card: BundleCard, graphs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = (share_dir() / "config" / "arms" / "mico.yaml").read_bytes()
    files = {**graphs, "my_arm.yaml": arm.replace(b"mico", b"mine"), "my_scene.yaml": b"steps: 3"}
    own = dataclasses.replace(card, arm="my_arm.yaml", scene="my_scene.yaml")
    monkeypatch.chdir(tmp_path)
    bundle = write_bundle(Path("own"), own, files, "")
    assert bundle.arm.name == "mine"
    assert Path(bundle.scene_name) == tmp_path / "own" / "my_scene.yaml"
    (tmp_path / "own" / "my_arm.yaml").write_bytes(arm)
    assert "my_arm.yaml: expected SHA-256 " in refusal("own")


def test_a_key_that_stands_twice_is_refused_in_the_card_and_in_the_bundles_own_files(
    bundle_dir: Path, card: BundleCard, graphs: dict[str, bytes]
) -> None:
    path = bundle_dir / "bundle.yaml"
    path.write_text("lambda_task: 0.0\n" + path.read_text())
    assert re.search(
        r"bundle.yaml: line \d+: expected each key once, got 'lambda_task' again, first in line 1", refusal(path.parent)
    )
    arm = (share_dir() / "config" / "arms" / "mico.yaml").read_bytes()
    wide = arm.replace(b"upper: 5.4105", b"upper: 5.4105, upper: 54.105")
    own_arm, own_scene = dataclasses.replace(card, arm="own.yaml"), dataclasses.replace(card, scene="own.yaml")
    for own, text in ((own_arm, wide), (own_scene, b"steps: 3\nsteps: 4")):
        with pytest.raises(InputError, match=r"own.yaml: line \d+: expected each key once"):
            write_bundle(path.parent / "own", own, {**graphs, "own.yaml": text}, "")


@pytest.mark.parametrize("field", ["arm", "scene"])
def test_an_arm_or_a_scene_that_nothing_verifies_is_refused(bundle_dir: Path, edit_card: EditCard, field: str) -> None:
    shutil.copy(share_dir() / "config" / "arms" / "mico.yaml", bundle_dir / "mine.yaml")
    edit_card(bundle_dir, **{field: "mine.yaml"})
    assert refusal(bundle_dir).endswith(f"{field}: expected a shipped name or one of `files`, got 'mine.yaml'")


def test_no_folder_takes_the_place_of_a_shipped_bundle_or_arm(
    bundle_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle_dir / "mico").write_text("max_velocity: 100")  # beside the card, but not in it
    assert load_bundle(bundle_dir).arm.name == "mico"
    assert load_bundle(bundle_dir).scene_name == "reach"
    monkeypatch.chdir(tmp_path)
    name = shipped_bundles()[0]
    shutil.copytree(bundle_dir, name)
    assert load_bundle(name).path == share_dir() / "models" / name
    assert load_bundle(f"./{name}").path == Path(name)
    assert "expected the home of a user of this machine, got '~nobody_here'" in refusal("~nobody_here")


def test_a_graph_of_another_image_size_is_refused(bundle_dir: Path, edit_card: EditCard) -> None:
    edit_card(bundle_dir, image={"height": 8, "width": 6, "color_order": "rgb"})
    message = "expected inputs image: uint8 [N, 8, 6, 3], got image: uint8 [N, 6, 8, 3]"
    assert refusal(bundle_dir).endswith(f"translator.onnx: {message}")


def test_a_graph_with_another_number_of_outputs_is_refused(bundle_dir: Path, edit_card: EditCard) -> None:
    edit_card(bundle_dir, joint_names=[f"m1n6s200_joint_{n}" for n in (1, 2, 3)], label_scale=[1, 1, 1])
    message = (
        "expected outputs command: float32 [N, 3]; finite: bool [N], got command: float32 [N, 2]; finite: bool [N]"
    )
    assert refusal(bundle_dir).endswith(f"task_model.onnx: {message}")


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        (
            {"image": "float[N, 6, 8, 3]"},
            "expected inputs image: uint8 [N, 6, 8, 3], got image: float32 [N, 6, 8, 3]",
        ),
        (
            {"image": "uint8[1, 6, 8, 3]"},
            "expected inputs image: uint8 [N, 6, 8, 3], got image: uint8 [1, 6, 8, 3]",
        ),
        (
            {"outputs": "float[N, 2] speed, uint8[N, 6, 8, 3] translated"},
            "expected outputs command: float32 [N, 2]; translated: uint8 [N, 6, 8, 3]; finite: bool [N], got speed: ",
        ),
        (
            {"outputs": "float[N, 2] command"},
            "expected outputs command: float32 [N, 2]; translated: uint8 [N, 6, 8, 3]; finite: bool [N], got command: ",
        ),
        ({"opset": 20}, "expected opset 18 or older, as bundle.yaml says, got 20"),
    ],
)
def test_a_graph_that_takes_or_gives_something_else_is_not_written(
    tmp_path: Path,
    card: BundleCard,
    graphs: dict[str, bytes],
    graph: Callable[..., bytes],
    mistake: dict[str, Any],
    expected: str,
) -> None:
    with pytest.raises(InputError) as error:
        write_bundle(tmp_path / "out", card, {**graphs, POLICY: graph(**mistake)}, "")
    assert f"policy.onnx: {expected}" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_graph_are_refused(tmp_path: Path, card: BundleCard, graphs: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match=r"policy\.onnx: expected a model that onnxruntime .* can load, got: "):
        write_bundle(tmp_path / "out", card, {**graphs, POLICY: b"\x80\x04 a pickle"}, "")


def test_a_graph_whose_weights_lie_in_another_file_is_refused(
    tmp_path: Path, card: BundleCard, graphs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    model = onnx.load_from_string(graphs[POLICY])
    constant = next(node for node in model.graph.node if node.output == ["weights"])
    model.graph.node.remove(constant)
    weights = onnx.numpy_helper.from_array(np.zeros((3, 2), np.float32), "weights")
    onnx.external_data_helper.set_external_data(weights, "weights.bin")
    weights.ClearField("raw_data")
    model.graph.initializer.append(weights)
    (tmp_path / "weights.bin").write_bytes(bytes(24))
    monkeypatch.chdir(tmp_path)  # where onnxruntime would find it
    with pytest.raises(InputError, match=r"policy\.onnx: .* can load, got: .*weights\.bin"):
        write_bundle(tmp_path / "out", card, {**graphs, POLICY: model.SerializeToString()}, "")


def test_an_existing_output_is_not_touched(bundle_dir: Path, card: BundleCard, graphs: dict[str, bytes]) -> None:
    with pytest.raises(OutputExistsError, match="exists already"):
        write_bundle(bundle_dir, card, graphs, "# Another\n")
    assert (bundle_dir / "README.md").read_text() == "# Tiny\n"


def test_others_may_read_a_written_bundle(bundle_dir: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert bundle_dir.stat().st_mode & 0o777 == 0o777 & ~umask
    assert (bundle_dir / POLICY).stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_readme_and_its_pictures_may_be_edited(tmp_path: Path, card: BundleCard, graphs: dict[str, bytes]) -> None:
    write_bundle(tmp_path / "out", card, graphs, "![](a.png)", pictures={"a.png": b"picture"})
    (tmp_path / "out" / "a.png").write_bytes(b"better picture")
    (tmp_path / "out" / "README.md").write_text("better words")
    load_bundle(tmp_path / "out")


# Failures of the disk and of the user's patience, in a process of their own: nothing is simulated.

EXPORT = """
import sys
from pathlib import Path
from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.bundle import load_bundle, write_bundle
source, out = map(Path, sys.argv[1:])
card = load_bundle(source).card
files = {name: (source / name).read_bytes() for name in card.files}
try:
    write_bundle(out, card, {"large.bin": bytes(3_000_000), **files}, "")
except InputError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a path in an empty folder."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs" / "out"


@pytest.fixture
def export(tmp_path: Path, bundle_dir: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the command line of an export to `out` with 3 MB to write."""
    monkeypatch.setenv("PYTHONPATH", str(Path(taskgan_ros.__file__).parents[1]))
    (tmp_path / "export.py").write_text(EXPORT)
    return [sys.executable, str(tmp_path / "export.py"), str(bundle_dir), str(out)]


def test_a_file_size_limit_leaves_nothing(export: list[str], out: Path) -> None:
    limit = (1_000_000, 1_000_000)
    done = subprocess.run(
        export,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"refused: {out}: expected to write 3.0 MB there, got: [Errno 27] File too large" in done.stderr
    assert list(out.parent.iterdir()) == []


def test_a_full_disk_leaves_nothing(export: list[str], out: Path) -> None:
    in_namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=1m tmpfs '{out.parent}'"
    if subprocess.run([*in_namespace, mount], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no user mount a small file system")
    script = f"{mount} && {shlex.join(export)}; ls -A '{out.parent}'"
    done = subprocess.run([*in_namespace, script], capture_output=True, text=True, check=False)
    assert "expected to write 3.0 MB there, got: [Errno 28] No space left on device" in done.stderr
    assert done.stdout == ""


def test_an_interrupted_export_leaves_nothing(export: list[str], out: Path) -> None:
    script = Path(export[1])
    # Ctrl-C, at a moment that no test could hit from outside: the first file is written, the others are not.
    ctrl_c = "import os, signal\nos.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGINT)\n"
    script.write_text(ctrl_c + script.read_text())
    done = subprocess.run(export, capture_output=True, text=True, check=False)
    assert done.returncode in (-signal.SIGINT, 128 + signal.SIGINT), done.stderr
    assert list(out.parent.iterdir()) == []
