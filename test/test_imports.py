"""What a room loads when it is imported; which room may import which, import-linter says (pyproject.toml)."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORT_ROOMS = """
import importlib, pkgutil, sys

refused = set({refused!r})

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in refused:
            raise ModuleNotFoundError(f"{{name}} is not to be imported here")

sys.meta_path.insert(0, Refuse())
for room in {rooms!r}:
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), room + "."):
        if module.name != "taskgan_ros.nodes.launching":  # it is for launch files, which a whole ROS 2 alone runs
            importlib.import_module(module.name)
"""


def import_rooms(*rooms: str, refused: tuple[str, ...]) -> None:
    """Import every module of `rooms` in a fresh interpreter in which the packages `refused` do not exist."""
    code = IMPORT_ROOMS.format(rooms=[f"taskgan_ros.{room}" for room in rooms], refused=refused)
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", ["policy", "control", "reach"])
def test_what_runs_on_a_robot_needs_no_training_simulation_or_ros(room: str) -> None:
    import_rooms(room, refused=("torch", "h5py", "onnx", "mujoco", "rclpy", "sensor_msgs"))


def test_the_nodes_need_nothing_of_the_training_extra() -> None:
    pytest.importorskip("rclpy")
    import_rooms("nodes", refused=("torch", "h5py", "onnx", "onnxscript", "tensorboard", "safetensors"))


def test_the_node_on_a_robot_needs_nothing_that_rosdep_lacks_and_nothing_of_other_commands() -> None:
    pytest.importorskip("rclpy")
    beyond = ("pydantic", "tyro", "mujoco", "matplotlib", "rich", "tqdm", "scipy", "torch", "h5py")
    import_rooms("nodes.reach_node", refused=beyond)


def test_training_needs_no_ros() -> None:
    pytest.importorskip("torch")
    import_rooms("training", "sim", "data", refused=("rclpy", "sensor_msgs", "trajectory_msgs"))


def test_the_command_starts_without_loading_its_packages() -> None:
    import_rooms("cli", refused=("torch", "rclpy", "mujoco", "onnxruntime", "matplotlib"))
