from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

WriteModel = Callable[..., Path]


def random_mjcf(seed: int, joints: int) -> str:
    """Return a chain of `joints` hinges and slides about any axis, with anchors, references and limits; tip: a site."""
    rng = np.random.default_rng(seed)
    opening, closing = [], []
    for k in range(joints):
        position, anchor, axis = rng.uniform(-0.4, 0.4, 3), rng.uniform(-0.1, 0.1, 3), rng.normal(size=3)
        quaternion = rng.normal(size=4)
        kind = "slide" if rng.random() < 0.25 else "hinge"
        limits = 'range="-1.5 1.7" limited="true"' if kind == "slide" or rng.random() < 0.6 else ""
        opening.append(
            f'<body name="link{k}" pos="{numbers(position)}" quat="{numbers(quaternion)}">'
            f'<joint name="joint{k}" type="{kind}" pos="{numbers(anchor)}" axis="{numbers(axis)}" '
            f'ref="{rng.uniform(-0.5, 0.5)}" {limits}/><geom size="0.02" mass="1"/>'
        )
        closing.append("</body>")
    tip = f'<site name="tip" pos="{numbers(rng.uniform(-0.2, 0.2, 3))}" quat="{numbers(rng.normal(size=4))}"/>'
    inside = "".join(opening) + tip + "".join(closing)
    return f'<mujoco model="random"><compiler angle="radian"/><worldbody>{inside}</worldbody></mujoco>'


def random_urdf(seed: int, joints: int) -> str:
    """Return a chain of joints of every moving and the fixed type about any axis, and a tip on a fixed joint."""
    rng = np.random.default_rng(seed)
    parts = ['<robot name="random"><link name="base"/>']
    parent = "base"
    for k in range(joints):
        kind = str(rng.choice(["revolute", "continuous", "prismatic", "fixed"])) if k else "revolute"
        limit = '<limit lower="-1.5" upper="1.7" effort="1" velocity="2"/>' if kind in ("revolute", "prismatic") else ""
        axis = "" if kind == "fixed" else f'<axis xyz="{numbers(rng.normal(size=3))}"/>'
        origin = f'<origin xyz="{numbers(rng.uniform(-0.4, 0.4, 3))}" rpy="{numbers(rng.uniform(-3, 3, 3))}"/>'
        inertia = '<inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/>'
        parts.append(
            f'<link name="link{k}"><inertial><mass value="1"/>{inertia}</inertial></link>'
            f'<joint name="joint{k}" type="{kind}"><parent link="{parent}"/><child link="link{k}"/>'
            f"{origin}{axis}{limit}</joint>"
        )
        parent = f"link{k}"
    return "".join(parts) + "</robot>"


def numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.17g}" for value in values)


@pytest.fixture
def make_mjcf() -> Callable[[int, int], str]:
    return random_mjcf


@pytest.fixture
def make_urdf() -> Callable[[int, int], str]:
    return random_urdf


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """Return a function that writes a model's text to a file of this name."""

    def write(text: str, name: str = "robot.urdf") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
