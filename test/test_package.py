"""The package as it is installed: by pip, by colcon, and by the two commands of the README."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import taskgan_ros

ROOT = Path(__file__).resolve().parents[1]
SHIPPED_FOLDERS = ("config", "launch", "models")  # under share/taskgan_ros
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "mujoco": "mujoco-core",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "yaml": "PyYAML",
}
ROSDEP_KEYS = {
    "cv2": "python3-opencv",
    "onnxruntime": "python3-onnxruntime-pip",
    "simplejpeg": "python3-simplejpeg-pip",
}
# Of package.xml, what is used without an import: the commands and plugins that users and launch files start.
STARTED = {"ros2launch", "ros2bag", "rosbag2_storage_mcap", "robot_state_publisher"}
# Extras for training and simulation only.
BEYOND_A_ROBOT = ("cell", "arms", "recordings", "training", "experiments", "path-tracing")
EXECUTABLES = {"taskgan", "reach_node", "sim_node"}
BY_HAND = ("mujoco_menagerie",)  # it asks for the package mujoco, which would overwrite mujoco-core
WHERE = "from taskgan_ros.core import config; print(config.__file__, config.share_dir(), sep=chr(10))"


@pytest.fixture(scope="module")
def setup_arguments() -> dict[str, Any]:
    """What setup.py passes to setuptools."""
    import setuptools

    arguments: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(setuptools, "setup", lambda **given: arguments.update(given))
        exec(compile((ROOT / "setup.py").read_text(), "setup.py", "exec"), {"__name__": "setup"})
    return arguments


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package's sources, since a build leaves files beside them."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("package.xml", "pyproject.toml", "setup.cfg", "setup.py"):
        shutil.copy(ROOT / name, copy)
    for name in (*SHIPPED_FOLDERS, "requirements", "resource", "scripts", "taskgan_ros", "test"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Return what a command printed; its output is the message if it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shipped_files(source: Path) -> set[Path]:
    """Return the data files below `source`, the tree or a share/taskgan_ros."""
    paths = [path for folder in SHIPPED_FOLDERS for path in (source / folder).rglob("*")]
    return {path.relative_to(source) for path in paths if path.is_file() and "__pycache__" not in path.parts}


def imported_modules() -> Iterator[tuple[str, Path]]:
    """Yield the top-level name of every absolute import of the package, its studies and launch files, and the file."""
    for file in [file for folder in ("taskgan_ros", "experiments", "launch") for file in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.split(".")[0], file) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0], file


def requirements(setup_arguments: dict[str, Any], *extras: str) -> dict[str, Requirement]:
    """Return what setup.py asks for, by distribution."""
    lines = list(setup_arguments["install_requires"])
    for extra in extras:
        lines += setup_arguments["extras_require"][extra]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def read_lock(name: str) -> dict[str, str]:
    """Return the version of each distribution; a line that holds anything but an exact version is refused."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    pinned = [re.fullmatch(r"([a-z0-9-]+)==([0-9a-z.]+)( ; .+)?", line) for line in lines]
    return {line[1]: line[2] for line in pinned if line} if all(pinned) else {}


def test_package_xml_is_valid_and_agrees_with_setup_py(setup_arguments: dict[str, Any]) -> None:
    catkin_pkg = pytest.importorskip("catkin_pkg.package")
    warnings: list[str] = []
    package = catkin_pkg.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    assert package.version == setup_arguments["version"] == taskgan_ros.__version__
    assert package.name == setup_arguments["name"]
    assert package.licenses == [setup_arguments["license"]]
    assert [person.email for person in package.maintainers] == [setup_arguments["author_email"]]


def test_the_changelog_begins_with_this_version() -> None:
    (newest, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest == taskgan_ros.__version__


def declared() -> set[str]:
    """Return what package.xml needs at run time: ROS packages and rosdep keys."""
    catkin_pkg = pytest.importorskip("catkin_pkg.package")
    return {depend.name for depend in catkin_pkg.parse_package(str(ROOT / "package.xml")).exec_depends}


def key_of(module: str) -> str:
    """Return the name by which package.xml knows a module: a ROS package's own, or a rosdep key."""
    return module if module in declared() else ROSDEP_KEYS.get(module, f"python3-{module.lower()}")


def test_every_import_is_a_declared_dependency(setup_arguments: dict[str, Any]) -> None:
    beyond = {"taskgan_ros", "experiments", *sys.stdlib_module_names, *BY_HAND}
    extras = setup_arguments["extras_require"]
    from_extras = {canonicalize_name(Requirement(line).name) for extra in BEYOND_A_ROBOT for line in extras[extra]}
    undeclared = {
        f"{module} in {file.relative_to(ROOT)}"
        for module, file in imported_modules()
        if module not in beyond
        and key_of(module) not in declared()
        and canonicalize_name(DISTRIBUTIONS.get(module, module)) not in from_extras
    }
    assert undeclared == set()


def test_package_xml_declares_nothing_that_is_not_used() -> None:
    assert declared() - {key_of(module) for module, _ in imported_modules()} - STARTED == set()
    text = "".join(file.read_text() for file in [*(ROOT / "launch").glob("*.py"), *(ROOT / "docs").rglob("*.md")])
    for name in ("ros2 launch", "ros2 bag", "mcap", "robot_state_publisher"):
        assert name in text


def test_pip_installs_what_package_xml_declares(setup_arguments: dict[str, Any]) -> None:
    names = {canonicalize_name(name) for name in requirements(setup_arguments, "cpu")}
    modules = {module for module, _ in imported_modules() if key_of(module).startswith("python3-")}
    wanted = {module for module in modules if key_of(module) in declared()}
    assert {canonicalize_name(DISTRIBUTIONS.get(module, module)) for module in wanted} <= names


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("reach", ["cpu", "ros-wheels"]),
        ("test", ["cpu", "ros-wheels", "recordings", "training", "experiments", "docs", "test"]),
    ],
)
def test_the_lock_is_of_this_setup_py(lock: str, extras: list[str], setup_arguments: dict[str, Any]) -> None:
    locked = read_lock(lock)
    for name, requirement in requirements(setup_arguments, *extras).items():
        assert name in locked, "run `make lock`"
        assert locked[name] in requirement.specifier, "run `make lock`"


def test_reach_needs_no_torch() -> None:
    assert "torch" not in read_lock("reach")


def test_pip_installs_everything(tree: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    pip = [sys.executable, "-m", "pip", "install", "--ignore-installed", *offline]
    run(*pip, "--prefix", prefix, ".", cwd=tree)

    share = prefix / "share" / "taskgan_ros"
    assert {path.name for path in (prefix / "bin").iterdir()} == EXECUTABLES
    assert shipped_files(share) == shipped_files(ROOT)
    (packages,) = (prefix / "lib").glob("python*/site-packages")
    env = os.environ | {"PYTHONPATH": str(packages)}
    printed = run(sys.executable, "-c", WHERE, cwd=tmp_path, env=env).splitlines()
    assert printed == [str(packages / "taskgan_ros" / "core" / "config.py"), str(share)]
    assert "reach" in run(prefix / "bin" / "taskgan", "--help", cwd=tmp_path, env=env)


def test_colcon_builds_installs_and_tests(tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("colcon_core")
    colcon = (sys.executable, "-m", "colcon")
    run(*colcon, "build", "--paths", tree, cwd=tmp_path)
    prefix = tmp_path / "install" / "taskgan_ros"
    share = prefix / "share" / "taskgan_ros"
    assert {path.name for path in (prefix / "lib" / "taskgan_ros").iterdir()} == EXECUTABLES
    assert (prefix / "share/ament_index/resource_index/packages/taskgan_ros").is_file()
    assert shipped_files(share) == shipped_files(ROOT)

    sourced = "source install/setup.bash && exec"
    where = f"{sourced} {sys.executable} -c '{WHERE}'"
    module, found_share = run("bash", "-c", where, cwd=tmp_path).splitlines()
    assert Path(module).is_relative_to(prefix)
    assert Path(found_share) == share
    assert "reach" in run("bash", "-c", f"{sourced} {prefix}/lib/taskgan_ros/taskgan --help", cwd=tmp_path)

    quick = ("--pytest-args", "test/test_package.py", "-k", "the_lock_is_of")
    run(*colcon, "test", "--paths", tree, *quick, cwd=tmp_path)
    assert "2 tests, 0 errors, 0 failures, 0 skipped" in run(*colcon, "test-result", cwd=tmp_path)


def set_up(tree: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["scripts/setup", ".venv", "requirements/test.txt"]
    return subprocess.run(command, cwd=tree, env=os.environ | env, text=True, capture_output=True)


def test_setup_removes_no_environment_that_it_did_not_make(tree: Path) -> None:
    kept = tree / ".venv" / "mine"
    kept.parent.mkdir()
    kept.touch()
    done = set_up(tree)
    assert done.returncode == 1
    assert f"{tree}/.venv was not made by scripts/setup: please move or remove it" in done.stderr
    assert kept.exists()


def test_setup_names_the_python_that_it_wants(tree: Path) -> None:
    done = set_up(tree, PYTHON="/bin/false")
    assert done.returncode == 1
    assert "expected CPython 3.11 or 3.12, found none as: /bin/false" in done.stderr
