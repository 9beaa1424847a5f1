"""A robot's visuals in one file: a bundle's simulated cell needs neither the robot's model nor its parsers."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.robot.arm import Mimic
from taskgan_ros.robot.description import DescribedJoint, Description, Link, Mesh, Visual, make_description

Array = NDArray[np.float64]

_TREE = "tree"
_FAULTS = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


def to_drawing(description: Description) -> bytes:
    """Return a description, its meshes read, as NumPy's .npz: the tree as JSON, vertices as float32 m, faces."""
    arrays: dict[str, NDArray[Any]] = {}
    links = [_link_to_plain(link, arrays) for link in description.links]
    tree = {"name": description.name, "source": description.source, "links": links}
    arrays[_TREE] = np.frombuffer(json.dumps(tree).encode(), np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def read_drawing(path: Path) -> Description:
    """Return what `to_drawing` wrote; nothing is unpickled.

    Raises:
        InputError: no such file, or a file of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            tree = json.loads(arrays[_TREE].tobytes())
            links = [_link(plain, arrays) for plain in tree["links"]]
            return make_description(tree["name"], tree["source"], links)
    except _FAULTS as error:
        raise InputError(f"{path}: expected a robot's visuals, got: {error}") from error


def _link_to_plain(link: Link, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    joint = link.joint and {
        **dataclasses.asdict(link.joint),
        "axis": np.asarray(link.joint.axis).tolist(),
        "lower": link.joint.lower if math.isfinite(link.joint.lower) else None,
        "upper": link.joint.upper if math.isfinite(link.joint.upper) else None,
    }
    visuals = [_visual_to_plain(visual, arrays) for visual in link.visuals]
    return {
        "name": link.name,
        "parent": link.parent,
        "origin": link.origin.tolist(),
        "joint": joint,
        "visuals": visuals,
    }


def _visual_to_plain(visual: Visual, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    plain = {name: getattr(visual, name) for name in ("kind", "size", "rgb", "material", "pattern")}
    plain["pose"] = visual.pose.tolist()
    if isinstance(visual.mesh, Mesh):
        plain["mesh"] = number = len(arrays) // 2
        arrays[f"vertices{number}"] = visual.mesh.vertices.astype(np.float32)
        arrays[f"faces{number}"] = visual.mesh.faces.astype(np.int32)
    return plain


def _link(plain: dict[str, Any], arrays: Any) -> Link:
    joint = plain["joint"] and DescribedJoint(
        **{
            **plain["joint"],
            "axis": np.array(plain["joint"]["axis"]),
            "lower": -math.inf if plain["joint"]["lower"] is None else plain["joint"]["lower"],
            "upper": math.inf if plain["joint"]["upper"] is None else plain["joint"]["upper"],
            "mimic": plain["joint"]["mimic"] and Mimic(**plain["joint"]["mimic"]),
        }
    )
    visuals = tuple(_visual(visual, arrays) for visual in plain["visuals"])
    return Link(plain["name"], plain["parent"], np.array(plain["origin"], np.float64), joint, visuals)


def _visual(plain: dict[str, Any], arrays: Any) -> Visual:
    mesh = None
    if "mesh" in plain:
        number = plain["mesh"]
        mesh = Mesh(arrays[f"vertices{number}"].astype(np.float64), arrays[f"faces{number}"].astype(np.int32))
    rgb = plain["rgb"] and tuple(plain["rgb"])
    pose = np.array(plain["pose"], np.float64)
    pattern = plain.get("pattern", "")  # files from before boards were supported have none
    return Visual(plain["kind"], pose, tuple(plain["size"]), rgb, plain["material"], mesh, pattern)
