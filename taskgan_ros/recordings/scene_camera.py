"""A copy of a scene's file with another camera: its comments stay, but for those within what is replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from taskgan_ros.core.config import expand_home, is_path, resolve
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free, whole
from taskgan_ros.robot.locate import is_reference
from taskgan_ros.robot.models import MODEL_SUFFIXES
from taskgan_ros.tasks.registry import load_scene
from taskgan_ros.vision.camera import Camera


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
    text = path.read_text(encoding="utf-8")
    folder = path.parent.absolute()
    if folder != out.parent.absolute():
        text = _with_absolute_paths(text, folder)
    text = _with_block(text, "camera", _camera_block(camera, note))
    if joint_zeros:
        before = load_scene(scene).joint_zeros
        zeros = {name: round(before.get(name, 0.0) + zero, 5) for name, zero in joint_zeros.items()}
        text = _with_block(text, "joint_zeros", f"joint_zeros: {_flow({**before, **zeros})}  # rad, calibrated\n")
    with whole(out, "the scene") as partial:
        partial.write_text(text, encoding="utf-8")
        written = load_scene(partial).camera
        if written.pose().round(4).tolist() != camera.pose().round(4).tolist():
            raise InputError(f"{path}: expected `camera:` at the start of a line, in YAML's block style")


def _camera_block(camera: Camera, note: str) -> str:
    lines = [f"camera:{'  # ' + note if note else ''}", f"  position: {_flow(list(camera.position))}"]
    if camera.target is not None:
        lines.append(f"  target: {_flow(list(camera.target))}")
    if camera.rotation is not None:
        lines.append(f"  rotation: {_flow(list(camera.rotation))}  # vector, of x right, y down, z forward")
    lines.append(f"  fov: {round(camera.fov, 5)}")
    if camera.covariance is not None:
        rows = [_flow([float(f"{value:.7g}") for value in row]) for row in camera.covariance]
        lines += ["  covariance:  # x, y, z in m, turns about them in rad", *(f"    - {row}" for row in rows)]
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _with_block(text: str, name: str, block: str) -> str:
    """Return YAML with a top-level key's lines replaced, or the block at its end where there are none."""
    found = re.compile(rf"^{name}:.*\n?(?:^(?:[ \t]+.*|[ \t]*)\n?)*", re.MULTILINE)
    if found.search(text):
        return found.sub(lambda _: block, text, count=1)
    return text.rstrip("\n") + "\n" + block


def _with_absolute_paths(text: str, folder: Path) -> str:
    """Return a scene whose paths, which start at its own folder, are found from any."""
    values = yaml.safe_load(text)
    arm, target = values.get("arm"), values.get("target")
    if isinstance(arm, str) and (is_path(arm) or arm.endswith(MODEL_SUFFIXES)) and not is_reference(arm):
        text = re.sub(r"^arm:\s*\S+", lambda _: f"arm: {folder / expand_home(arm)}", text, count=1, flags=re.MULTILINE)
    if isinstance(target, dict) and isinstance(target.get("file"), str):
        own = target["file"]
        text = text.replace(f"file: {own}", f"file: {folder / expand_home(own)}", 1)
    return text
