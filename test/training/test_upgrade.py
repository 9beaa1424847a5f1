from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from taskgan_ros import cli
from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.bundle import POLICY, TASK_MODEL, TRANSLATOR, load_bundle
from taskgan_ros.policy.policy import Policy

TEXT = """
<ir_version: 8, opset_import: ["" : 18]>
tiny (uint8[N, 6, 8, 3] image) => ({outputs})
<float[3, 2] weights = {{0.5, -0.25, 0.125, 1, -1, {last}}}>
{{
    pixels = Cast<to = 1>(image)
    white = Constant<value = float {{255.0}}>()
    inverted = Sub(white, pixels)
    translated = Cast<to = 2>(inverted)
    axes = Constant<value = int64[2] {{1, 2}}>()
    mean = ReduceMean<keepdims = 0>(pixels, axes)
    product = MatMul(mean, weights)
    command = Relu(product)
}}
"""
CARD = {
    "format": 1, "name": "old", "task": "joint_velocities", "arm": "mico", "scene": "reach", "target_domain": "source",
    "joint_names": ["m1n6s200_joint_1", "m1n6s200_joint_2"], "units": "rad/s", "label_scale": [1, 1], "opset": 18,
    "image": {"height": 6, "width": 8}, "lambda_task": 1, "recipe": "none", "data": {}, "seeds": {},
    "taskgan_version": "0",
    "results": [{"what": "nothing", "command": "true", "figures": {"success_rate": 0.5}}],
}  # fmt: skip
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), np.uint8)


def write_old(folder: Path, last: str = "0.75", **changes: Any) -> Path:
    """Write a bundle of format 1, as `taskgan export` made them."""
    command, translated = "float[N, 2] command", "uint8[N, 6, 8, 3] translated"
    outputs = {TRANSLATOR: translated, TASK_MODEL: command, POLICY: f"{command}, {translated}"}
    folder.mkdir()
    hashes = {}
    for name, output in outputs.items():
        data = onnx.parser.parse_model(TEXT.format(outputs=output, last=last)).SerializeToString()
        (folder / name).write_bytes(data)
        hashes[name] = hashlib.sha256(data).hexdigest()
    (folder / "bundle.yaml").write_text(yaml.safe_dump({**CARD, "files": hashes, **changes}))
    (folder / "README.md").write_text("# Old\n![](a.png)\n")
    (folder / "a.png").write_bytes(b"picture")
    return folder


def upgrade(old: Path, out: Path) -> int:
    return cli.run(["upgrade", "--bundle", str(old), "--out", str(out)])


def test_an_older_bundle_is_refused_with_what_upgrades_it_and_then_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = write_old(tmp_path / "old"), tmp_path / "new"
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    with pytest.raises(InputError, match=r"expected 2, whose graphs report values .*; `taskgan upgrade`"):
        load_bundle(old)
    assert upgrade(old, new) == 0
    policy = Policy(load_bundle(new))
    policy.warm_up()
    weights = np.array([[0.5, -0.25], [0.125, 1.0], [-1.0, 0.75]])
    commands = policy.act(IMAGES, want_translated=True).commands[:, 0]
    np.testing.assert_allclose(commands, np.maximum(IMAGES.mean(axis=(1, 2)) @ weights, 0), rtol=1e-5)
    assert load_bundle(new).card.results[0].figures == {"success_rate": 0.5}
    assert {"README.md", "a.png"} <= {path.name for path in new.iterdir()}
    assert (new / "README.md").read_bytes() == before["README.md"]
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before


def test_what_cannot_be_upgraded_is_refused_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    cases = {
        "format 2": (write_old(tmp_path / "current", format=2), "bundle.yaml: expected format 1, got 2"),
        "no bundle": (tmp_path / "none", "bundle.yaml: expected a readable YAML file"),
        "not finite": (
            write_old(tmp_path / "nan", last="nan"),
            "task_model.onnx: expected ['command'] to be finite and unchanged",
        ),
        "taken": (write_old(tmp_path / "old"), "exists already"),
    }
    damaged = write_old(tmp_path / "damaged")
    (damaged / POLICY).write_bytes((damaged / POLICY).read_bytes()[:-1])
    cases = {"damaged": (damaged, "policy.onnx: expected SHA-256"), **cases}
    for what, (old, expected) in cases.items():
        if what == "taken":
            out.mkdir()
        assert upgrade(old, out) == 2, what
        assert expected in capsys.readouterr().err.splitlines()[-1], what
        assert what == "taken" or not out.exists(), what
