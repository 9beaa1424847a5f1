"""The tasks, and scene files: `task:` in one names the class that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from taskgan_ros.core.config import build, expand_home, read_yaml, resolve
from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.models import is_file_name
from taskgan_ros.tasks.poses import PoseScene
from taskgan_ros.tasks.push import PushScene
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.scene import MotionScene, Scene

S = TypeVar("S", bound=Scene)

TASKS: dict[str, type[Scene]] = {"reach": ReachScene, "poses": PoseScene, "push": PushScene}


def load_scene(name_or_path: str | Path) -> Scene:
    """Return a scene of any task: a shipped one by name, or the one in a user's file.

    Paths in it, of an arm or a mesh, start at its own folder.

    Raises:
        InputError: unknown name, or a file that does not describe a scene.
    """
    path = resolve("scenes", name_or_path)
    values = read_yaml(path)
    if not isinstance(values, dict):
        return build(ReachScene, values, str(path))  # which says what is wrong
    values = _renamed(values)
    task = values.get("task", "poses" if "poses" in values else "reach")
    if task not in TASKS:
        raise InputError(f"{path}: task: expected one of {list(TASKS)}, got {task!r}")
    arm, target = values.get("arm"), values.get("target")
    if isinstance(arm, str) and is_file_name(arm):
        values["arm"] = str(path.parent / expand_home(arm))
    if isinstance(target, dict) and isinstance(target.get("file"), str):
        values["target"] = {**target, "file": str(path.parent / expand_home(target["file"]))}
    return build(TASKS[task], values, str(path))


def load_scene_of(kind: type[S], name_or_path: str | Path) -> S:
    """Return a scene whose task is of this kind, `ReachScene` for instance.

    Raises:
        InputError: as `load_scene`, or the scene's task is another.
    """
    scene = load_scene(name_or_path)
    if not isinstance(scene, kind):
        tasks = [name for name, one in TASKS.items() if issubclass(one, kind)]
        got = "random poses" if isinstance(scene, PoseScene) else scene.task
        raise InputError(f"{name_or_path}: expected a scene with a task of {tasks}, got one of {got}")
    return scene


def load_motion_scene(name_or_path: str | Path) -> MotionScene:
    """Return a scene whose task an arm carries out by velocities; errors as `load_scene_of`."""
    return load_scene_of(MotionScene, name_or_path)


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields under current names: older scenes had no `task`, and called the target `cube`."""
    if "cube" in values and "target" not in values:
        return {("target" if key == "cube" else key): value for key, value in values.items()}
    return values
