"""Packaging for colcon (ament_python) and for pip; package.xml says the same to a full ROS 2 installation."""

import os
from pathlib import Path

from setuptools import find_packages, setup

NAME = "taskgan_ros"
VERSION = Path(NAME, "__init__.py").read_text().split('__version__ = "')[1].split('"')[0]

# All that is imported on a robot, and what rosdep has of the rest: package.xml says the same.
RUN_TIME = [
    "matplotlib",
    "numpy",
    "opencv-python-headless<5",  # 5 changed the type numbers that cv_bridge relies on
    "pillow",
    "PyYAML",
    "rich",
    "simplejpeg",  # detects a damaged JPEG, which neither OpenCV nor Pillow does
    "tqdm",
]
# For the simulated cell and the command `taskgan`, which reach_node needs neither of: rosdep has no key for these.
CELL = [
    "mujoco-core[rendering]>=4.0.1",  # imported as mujoco; 4.0.0 has a bug in its sparse solver
    "tyro",
]

EXTRAS = {
    "cell": CELL,
    # What reads an arm's own URDF, xacro or MJCF, and its meshes. The node on a robot needs none of it.
    "arms": ["fast-simplification", "lxml", "pycollada", "trimesh", "xacrodoc", "yourdfpy"],
    # Exactly one of these two: they are builds of one module, and each overwrites the other's files.
    # Neither is in RUN_TIME, because an extra can add a requirement but never take one's place.
    "cpu": ["onnxruntime"],
    "gpu": ["onnxruntime-gpu[cuda,cudnn]"],
    "docs": ["mkdocs-material", "mkdocstrings[python]"],  # the site of docs/, which `make docs` builds
    "experiments": [
        "scikit-image",  # also brings the photograph of the domain real_standin
        "snakemake>=9.17.3",  # 9.10 to 9.16 start more jobs than there are cores
    ],
    "path-tracing": ["mitsuba"],  # draws the domains lab_brick and lab_window
    # Bags, LeRobotDatasets and their videos; also needs what "training" brings for datasets, h5py.
    "recordings": ["av", "h5py", "mcap", "pyarrow", "rosbags", "scipy", "zstandard"],
    "training": ["h5py", "onnx", "onnxscript", "safetensors", "tensorboard", "torch"],
    # ROS 2 Jazzy from PyPI, for a machine that has no ROS 2 installation.
    "ros-wheels": [
        "ros-jazzy-diagnostic-msgs",
        "ros-jazzy-lifecycle-msgs",
        "ros-jazzy-rclpy[fastrtps]",
        "ros-jazzy-sensor-msgs",
        "ros-jazzy-std-msgs",
        "ros-jazzy-std-srvs",
        "ros-jazzy-trajectory-msgs",
    ],
    # `colcon test` runs no test at all, and succeeds, unless pytest stands in an extra of this name.
    "test": [
        "airo-models",  # a UR5e, as others describe it
        "colcon-common-extensions",
        "hypothesis",
        "import-linter",
        "mypy",
        "psutil",
        "pytest",
        "pytest-timeout",
        "ruff",
        "setuptools<80",  # colcon needs `setup.py develop`, which 80 took away
        "types-PyYAML",
        "types-tqdm",
    ],
}


def data_tree(folder: str) -> list[tuple[str, list[str]]]:
    """Return `folder` and every folder below it as data files under share/."""
    entries = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        entries.append((f"share/{NAME}/{parent}", [f"{parent}/{file}" for file in sorted(files)]))
    return entries


setup(
    name=NAME,
    version=VERSION,
    description="A robot arm that acts on what its camera sees, trained in simulation",
    license="Apache-2.0",
    author="taskgan_ros maintainers",
    author_email="maintainers@taskgan-ros.example",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    python_requires=">=3.11",
    install_requires=[*RUN_TIME, *CELL],
    extras_require=EXTRAS,
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *data_tree("launch"),
        *data_tree("config"),
        *data_tree("models"),
    ],
    entry_points={
        "console_scripts": [
            "taskgan = taskgan_ros.cli:main",
            "reach_node = taskgan_ros.nodes.reach_node:main",
            "sim_node = taskgan_ros.nodes.sim_node:main",
        ],
    },
    zip_safe=False,
)
