"""A copy of a scene's file with another camera; comments are kept, except in the part that is replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from taskgan_ros.core.config import expand_home, read_yaml, resolve, to_flow
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free, check_place, whole
from taskgan_ros.robot.models import is_file_name
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.tasks.scene import Scene
from taskgan_ros.vision.camera import Camera

_REWRITTEN = ("camera", "joint_zeros", "arm", "target")


def write_scene(
    scene: str, out: Path, camera: Camera, joint_zeros: Mapping[str, float] | None = None, note: str = ""
) -> None:
    """Write the scene's file with this camera, and these zeros added to its own, to `out`.

    Args:
        scene: a shipped name or a file.
        out: must not exist.
        camera: what stands there then.
        joint_zeros: rad or m by joint.
        note: a comment behind `camera:`.

    Raises:
        InputError: `out` exists or cannot be written, or the file is written in a way that this cannot edit.
    """
    check_free(out)
    path = resolve("scenes", scene)
    before = load_scene(scene)
    try:
        text = _rewritten(path, out.parent, camera, before.joint_zeros, joint_zeros or {}, note)
    except yaml.YAMLError:  # what is read is YAML, so the edit broke it
        raise InputError(_unlike(path, "it written in another way")) from None
    with whole(out, "the scene") as partial:
        partial.write_text(text, encoding="utf-8")
        _check_written(path, partial, camera, before)


def check_rewritable(scene: str, out: Path) -> None:
    """Refuse a scene's file that `write_scene` cannot copy to `out`, before hours of calibration.

    Raises:
        InputError: as `write_scene`, or `out` is not named as a scene is.
    """
    if out.suffix not in (".yaml", ".yml"):
        raise InputError(f"--out: expected a .yaml or .yml, as scenes are, got {out.name}")
    check_place(out)
    own = load_scene(scene)
    trial = out.with_name(f".{os.getpid()}.trial.{out.name}")
    try:
        write_scene(scene, trial, own.camera, dict.fromkeys(own.arm.joint_names, 0.0), "a trial")
    finally:
        trial.unlink(missing_ok=True)


def _rewritten(
    path: Path, folder: Path, camera: Camera, own: Mapping[str, float], added: Mapping[str, float], note: str
) -> str:
    """Return the text of a scene's file for another folder, with this camera, and zeros added to its own."""
    text = path.read_text(encoding="utf-8")
    if path.parent.absolute() != folder.absolute():
        text = _with_absolute_paths(text, path.parent.absolute())
    text = _with_block(text, "camera", _camera_block(camera, note))
    if added:
        zeros = {name: round(own.get(name, 0.0) + zero, 5) for name, zero in added.items()}
        text = _with_block(text, "joint_zeros", f"joint_zeros: {to_flow({**own, **zeros})}  # rad, calibrated\n")
    return text


def _unlike(path: Path, got: str) -> str:
    return f"{path}: expected a mapping with `camera:` on lines of its own, in YAML's block style, got {got}"


def _check_written(path: Path, copy: Path, camera: Camera, before: Scene) -> None:
    """Refuse a copy that says anything else than the file does, but for its camera and zeros."""
    try:
        written, values, own = load_scene(copy), read_yaml(copy), read_yaml(path)
        is_same = all(values.get(name) == own[name] for name in own if name not in _REWRITTEN)
        is_same = is_same and written.arm.joint_names == before.arm.joint_names
        got = "it written in another way"
    except InputError as error:
        is_same, got = False, str(error).splitlines()[0].replace(str(copy), "a copy with")
    if not is_same or written.camera.pose().round(4).tolist() != camera.pose().round(4).tolist():
        raise InputError(_unlike(path, got))


def _camera_block(camera: Camera, note: str) -> str:
    lines = [f"camera:{'  # ' + note if note else ''}", f"  position: {to_flow(list(camera.position))}"]
    if camera.target is not None:
        lines.append(f"  target: {to_flow(list(camera.target))}")
    if camera.rotation is not None:
        lines.append(f"  rotation: {to_flow(list(camera.rotation))}  # vector, of x right, y down, z forward")
    lines.append(f"  fov: {round(camera.fov, 5)}")
    if camera.covariance is not None:
        rows = [to_flow([float(f"{value:.7g}") for value in row]) for row in camera.covariance]
        lines += ["  covariance:  # x, y, z in m, turns about them in rad", *(f"    - {row}" for row in rows)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a string as YAML reads it anywhere, whatever is in it."""
    return json.dumps(text, ensure_ascii=False)  # YAML 1.2 holds all of JSON


def _with_block(text: str, name: str, block: str) -> str:
    """Return YAML with a top-level key and its value replaced by lines, or these at its end where there is none."""
    found = _entries(yaml.compose(text, yaml.SafeLoader)).get(name)
    if found is None:
        return text.rstrip("\n") + "\n" + block
    key, value = found
    line_end = text.find("\n", max(_end(value), key.end_mark.index))
    return text[: key.start_mark.index] + block + (text[line_end + 1 :] if line_end >= 0 else "")


def _entries(node: yaml.Node | None) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Return a mapping's keys and values as they stand in the text."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return {key.value: (key, value) for key, value in pairs if isinstance(key, yaml.ScalarNode)}


def _end(node: yaml.Node) -> int:
    """Return where a value's text ends; PyYAML's own mark of a block is where the next key starts, past comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        inside = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
        return max(map(_end, inside))
    return int(node.end_mark.index)


def _with_absolute_paths(text: str, folder: Path) -> str:
    """Return a scene whose paths, which start at its own folder, are found from any."""
    entries = _entries(yaml.compose(text, yaml.SafeLoader))
    arm = entries["arm"][1].value if "arm" in entries else None
    paths = []
    if isinstance(arm, str) and is_file_name(arm):
        paths.append(entries["arm"][1])
    if "target" in entries and (file := _entries(entries["target"][1]).get("file")):
        paths.append(file[1])
    for node in sorted(paths, key=lambda node: -node.start_mark.index):  # the last first: earlier marks stay valid
        path = _quoted(str(folder / expand_home(node.value)))
        text = text[: node.start_mark.index] + path + text[node.end_mark.index :]
    return text
