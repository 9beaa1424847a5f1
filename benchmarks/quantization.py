"""The networks in int8 and by OpenVINO, beside single precision on the CPU: time, commands, guard and success.

For OpenVINO it needs the package `onnxruntime-openvino` in place of `onnxruntime`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import tyro
from guard_detection import Images, Shots, judge, shoot
from report import Row, report
from turns import Times, time_networks

from taskgan_ros.policy.bundle import TASK_MODEL, TRANSLATOR, Bundle, load_bundle
from taskgan_ros.policy.policy import CPU, Policy
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.sim.evaluate import TEST_SEED, arrivals, rollout, run_episodes
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_scene_of
from taskgan_ros.training.quantize import difference, to_int8, write_int8

CALIBRATION_SEED = 2  # other images than those that are compared
OPENVINO = "OpenVINOExecutionProvider"
PROVIDERS = {"CPU": (CPU,), "OpenVINO": (OPENVINO, CPU)}


@dataclass(frozen=True)
class Config:
    """Quantize a bundle with its target domain's images, and compare all that the installed onnxruntime can run."""

    bundle: str = "reach_target_wood"
    """A shipped bundle's name or a folder, with a translator and a guard."""
    calibration: int = 13
    """Episodes of 16 images of the target domain that the activations' ranges are found on."""
    images: int = 20
    """Episodes of 16 images that commands and guard are compared on; no training has seen them."""
    episodes: int = 100
    """Of the closed loop; 0 leaves it out."""
    rate_hz: float = 20.0
    """Of the images that are timed: idle cores slow down, as they do in the node."""
    rounds: int = 6
    """How many turns the networks take, so that the machine's variations affect all of them alike."""
    seconds: float = 6.0
    """Of each turn."""
    out: Path | None = None
    """JSON to write."""


def quantized(bundle: Bundle, images: Images, folder: Path) -> dict[str, Bundle]:
    """Write bundles whose translator, and whose networks both, are int8; return all by what they are.

    f_X's last layer stays in float32: in int8 it clips all commands larger than the calibration's, an error larger than
    a usual command.
    """
    policy = Policy(bundle)
    translated = np.stack([_translate(policy, each) for each in images])
    task_model, joints = bundle.path / TASK_MODEL, len(bundle.card.joint_pos_names)
    translator = {TRANSLATOR: to_int8(bundle.path / TRANSLATOR, images)}
    both = {**translator, TASK_MODEL: to_int8(task_model, translated, matrices(task_model)[-1:], joints)}
    made = {
        what: write_int8(bundle, graphs, folder / what) for what, graphs in (("translator", translator), ("both", both))
    }
    return {"float32": bundle, "int8 translator": made["translator"], "int8": made["both"]}


def matrices(graph: Path) -> list[str]:
    """Return the names of a graph's matrix products, in order."""
    return [node.name for node in onnx.load(graph).graph.node if node.op_type in ("Gemm", "MatMul")]


def _translate(policy: Policy, image: Images) -> Images:
    translated = policy.act(image[None], policy.home[None], want_translated=True).translated
    assert translated is not None
    return translated[0]


def success(bundle: Bundle, scene: ReachScene, policy: Policy, episodes: int) -> float:
    """Return the share of episodes that arrive, of those that `taskgan evaluate` runs."""

    def run(indices: range) -> np.ndarray:
        with Cell(scene, load_domain(bundle.card.target_domain), bundle.card.image.shape) as cell:
            return rollout(scene, cell, lambda *seen: policy.act(*seen).commands[:, 0], TEST_SEED, indices)

    return arrivals(run_episodes(run, episodes, scene, 1, "closed loop"), scene)["success_rate"]


def compare(bundle: Bundle, policies: dict[tuple[str, str], Policy], shots: Shots, episodes: int) -> list[Row]:
    """Return how far each one's commands are from the first one's, what the guard says, and who arrives."""
    scene = load_scene_of(ReachScene, bundle.scene_name)
    rows: list[Row] = []
    wanted = None
    for policy in policies.values():
        scores, commands = judge(policy, bundle, shots)
        wanted = commands if wanted is None else wanted
        rms, largest = difference(wanted, commands)
        rows.append(
            {
                "largest difference %": 100 * largest,
                "RMS difference %": 100 * rms,
                "guard above 1 %": 100 * float(np.mean(scores.max(axis=1) > 1)),
                **({"success %": 100 * success(bundle, scene, policy, episodes)} if episodes else {}),
            }
        )
    return rows


def open_all(bundles: dict[str, Bundle]) -> dict[tuple[str, str], Policy]:
    """Return the policies of all bundles by each provider that is here, single precision on the CPU first."""
    policies = {
        (provider, what): Policy(bundle, names)
        for provider, names in PROVIDERS.items()
        if names[0] in ort.get_available_providers()
        for what, bundle in bundles.items()
    }
    for policy in policies.values():
        policy.warm_up()
    return policies


def main(config: Config) -> None:
    """Quantize, let all take turns, compare."""
    bundle = load_bundle(config.bundle)
    scene, card = load_scene_of(ReachScene, bundle.scene_name), bundle.card
    seen = shoot(scene, card.target_domain, card.image.shape, config.calibration, CALIBRATION_SEED)
    shots = shoot(scene, card.target_domain, card.image.shape, config.images)
    with tempfile.TemporaryDirectory() as folder:
        policies = open_all(quantized(bundle, seen.images, Path(folder)))
    times = {key: Times() for key in policies}
    for _ in range(config.rounds):
        for key, policy in policies.items():
            time_networks(policy, shots.images, config.rate_hz, config.seconds, times[key])
    first, others = next(iter(times.values())), compare(bundle, policies, shots, config.episodes)
    rows = [
        {**each.row({"provider": provider, "networks": networks}, first), **other}
        for ((provider, networks), each), other in zip(times.items(), others, strict=True)
    ]
    report(f"{config.rate_hz:g} Hz, {card.name}, onnxruntime {ort.__version__}", rows, config.out)


if __name__ == "__main__":
    main(tyro.cli(Config))
