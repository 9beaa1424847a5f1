"""`taskgan reach` with real nodes on real DDS: what it shows, what it writes, and that it leaves nothing running."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image, ImageSequence

import taskgan_ros
from taskgan_ros.core.config import build, resolve
from taskgan_ros.core.errors import InputError, OutputExistsError
from taskgan_ros.demo import driver as driver_module
from taskgan_ros.demo import isolation
from taskgan_ros.demo import session as session_module
from taskgan_ros.demo.driver import Driver
from taskgan_ros.demo.isolation import SessionError
from taskgan_ros.demo.session import ReachConfig, reach
from taskgan_ros.policy.bundle import POLICY, TASK_MODEL, TRANSLATOR, BundleCard, load_bundle, write_bundle

MakeBundle = Callable[..., Path]
WaitUntil = Callable[..., None]

STEPS = 15  # of an episode, which are 1.5 s
TRAINED_SEED = 3
ENDED_S = 25.0  # a node may take this long to end on a loaded machine

# f_X commands one velocity on every image; F inverts the colours. There is one row, so that a row beyond it fails.
GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
tiny (uint8[N, 16, 16, 3] image) => ({outputs}) {{
    pixels = Cast<to = 1>(image)
    white = Constant<value = float {{255.0}}>()
    inverted = Sub(white, pixels)
    translated = Cast<to = 2>(inverted)
    axes = Constant<value = int64[3] {{1, 2, 3}}>()
    mean = ReduceMean<keepdims = 0>(pixels, axes)
    zeros = Sub(mean, mean)
    shift = Constant<value = float {{{index}.0}}>()
    shifted = Add(zeros, shift)
    rows = Cast<to = 7>(shifted)
    velocity = Constant<value = float[1, 3] {{0.3, -0.2, 0.1}}>()
    command = Gather(velocity, rows)
}}
"""


class Session:
    """A running `taskgan reach`."""

    def __init__(self, bundle: Path, folder: Path, *options: object, safe: bool = False) -> None:
        flags = ["-u", "-P"] if safe else ["-u"]
        command = [sys.executable, *flags, "-m", "taskgan_ros.cli", "reach", "--bundle", bundle, *options]
        environment = {**os.environ, "PYTHONPATH": str(Path(taskgan_ros.__file__).parents[1]), "ROS_DOMAIN_ID": "77"}
        self._printed = folder / "printed.txt"
        with self._printed.open("w") as file:
            self.popen = subprocess.Popen(
                [str(word) for word in command], cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
            )

    @property
    def printed(self) -> str:
        return self._printed.read_text()

    def nodes(self) -> dict[str, psutil.Process]:
        """Return the running nodes by name."""
        found: dict[str, psutil.Process] = {}
        for child in psutil.Process(self.popen.pid).children(recursive=True):
            words = child.cmdline()
            found |= {name: child for name in ("sim_node", "reach_node") if f"taskgan_ros.nodes.{name}" in words}
        return found


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Return a function that starts `taskgan reach`; whatever a test does, all is ended after it."""
    started: list[tuple[Session, list[psutil.Process]]] = []

    def start(bundle: Path, *options: object, safe: bool = False) -> Session:
        session = Session(bundle, tmp_path, *options, safe=safe)
        started.append((session, []))
        return session

    yield start
    for session, _ in started:
        if session.popen.poll() is None:
            for process in (*session.nodes().values(), session.popen):
                process.kill()
            session.popen.wait()


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Return a function that writes a tiny bundle, whose scene has short episodes; it works, or fails at work."""
    onnx = pytest.importorskip("onnx", reason="the `training` extra is needed to make ONNX graphs")
    from taskgan_ros.training.finite_check import add_finite_check

    scene = yaml.safe_load(resolve("scenes", "reach").read_text())
    (tmp_path / "short.yaml").write_text(yaml.safe_dump({**scene, "steps": STEPS}))

    def graph(outputs: str, index: int) -> bytes:
        text = GRAPH.format(outputs=outputs, index=index)
        data: bytes = add_finite_check(onnx.parser.parse_model(text)).SerializeToString()
        return data

    def make(*, works: bool = True) -> Path:
        command, translated = "float[N, 3] command", "uint8[N, 16, 16, 3] translated"
        outputs = {TRANSLATOR: translated, TASK_MODEL: command, POLICY: f"{command}, {translated}"}
        card = {
            "name": "tiny", "task": "joint_velocities", "arm": "mico", "scene": str(tmp_path / "short.yaml"),
            "target_domain": "source", "joint_names": scene["driven_joints"], "units": "rad/s",
            "label_scale": [1, 1, 1], "opset": 18, "image": {"height": 16, "width": 16}, "lambda_task": 1,
            "recipe": "none", "data": {}, "seeds": {"source_data": TRAINED_SEED}, "taskgan_version": "0",
        }  # fmt: skip
        files = {name: graph(output, 0 if works else 7) for name, output in outputs.items()}
        return write_bundle(tmp_path / "tiny", build(BundleCard, card, origin="test"), files, "# Tiny\n").path

    return make


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> Path:
    return make_bundle()


@contextmanager
def leaving_nothing(session: Session) -> Iterator[dict[str, psutil.Process]]:
    """Check that both nodes of a session run now, and that neither does soon after the block."""
    nodes = session.nodes()
    assert set(nodes) == {"sim_node", "reach_node"}, session.printed
    yield nodes
    _, alive = psutil.wait_procs(list(nodes.values()), ENDED_S)
    assert not alive, session.printed


def test_it_runs_the_episodes_and_writes_what_came_of_them(session: Callable[..., Session], bundle: Path) -> None:
    running = session(bundle, "--episodes", 2, "--domain", "source", "--seed", 5)
    assert running.popen.wait(90) == 0, running.printed

    assert re.search(r"episode 1/2 +0\.\d{3} m from the goal.*\n.*episode 2/2 ", running.printed), running.printed
    assert "\x1b" not in running.printed  # not a terminal, so no colours
    (out,) = (bundle.parent / "reach_results").iterdir()
    assert f"reach_results/{out.name}/reach.json" in running.printed
    figures = json.loads((out / "reach.json").read_text())
    assert (figures["episodes"], figures["steps"], figures["domain"]) == (2, STEPS, "source")
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"] < 2000
    assert 2 < figures["rate_hz"] < 25
    first, second = figures["episode_details"]
    assert (first["episode"], second["episode"]) == (0, 1)
    for episode in (first, second):
        assert episode["commands"] > STEPS / 5
        assert len(set(episode["distance_m"])) > 3  # the arm has moved
        assert len(episode["distance_m"]) == STEPS + 1
    assert first["start_distance_m"] != second["start_distance_m"]
    assert (out / "distance.png").stat().st_size > 10_000
    check_animation(out / "reach.gif")


def check_animation(path: Path) -> None:
    """Check that each image stands beside its own translation: F of the tiny bundle inverts the colours."""
    pages = [np.asarray(page.convert("RGB"), dtype=int) for page in ImageSequence.Iterator(Image.open(path))]
    assert len(pages) > 3
    for page in pages:
        camera, translation = page[40:270, 20:250], page[40:270, 284:514]
        assert np.abs(255 - camera - translation).mean() < 12  # a palette of 64 comes that close


def test_parameters_of_the_node_are_tried_on_the_simulated_arm(session: Callable[..., Session], bundle: Path) -> None:
    values = "{speed_scale: 0.5, command_interface: velocity_group, fence_m: [-1.0, -1.0, 0.0, 1.0, 1.0, 1.0]}"
    (bundle.parent / "mine.yaml").write_text(f"/**/reach_node: {{ros__parameters: {values}}}")
    running = session(bundle, "--episodes", 1, "--domain", "source", "--reach-params", "mine.yaml", "--out", "out")
    assert running.popen.wait(90) == 0, running.printed
    said = (bundle.parent / "out" / "reach_node.log").read_text()
    assert "velocity_group, 50% of the arm's top speed, the tip within [-1.0, -1.0, 0.0]" in said
    figures = json.loads((bundle.parent / "out" / "reach.json").read_text())
    assert len(set(figures["episode_details"][0]["distance_m"])) > 3  # the cell takes velocities too


def test_an_interrupt_ends_everything(session: Callable[..., Session], bundle: Path, wait_until: WaitUntil) -> None:
    running = session(bundle, "--episodes", 50, "--out", "out")
    wait_until(lambda: "episode  1/50" in running.printed, "the first episode", 60)
    with leaving_nothing(running):
        running.popen.send_signal(signal.SIGINT)
        assert running.popen.wait(ENDED_S) == 130, running.printed
    assert re.search(r"after \d+ of 50 episodes; the nodes have ended, their logs are in out", running.printed)
    assert "Traceback" not in running.printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start_ends_everything(
    number: signal.Signals, session: Callable[..., Session], bundle: Path, wait_until: WaitUntil
) -> None:
    running = session(bundle, "--out", "out")
    wait_until(lambda: len(running.nodes()) == 2, "both nodes", 60)
    with leaving_nothing(running):
        running.popen.send_signal(number)
        assert running.popen.wait(ENDED_S) == 130, running.printed
    assert f"{number.name} after 0 of 10 episodes" in running.printed
    assert "Traceback" not in running.printed


def test_the_nodes_end_when_it_is_killed(session: Callable[..., Session], bundle: Path, wait_until: WaitUntil) -> None:
    running = session(bundle, "--episodes", 50)
    wait_until(lambda: "ready" in running.printed, "the nodes", 60)
    with leaving_nothing(running):
        running.popen.kill()


def test_a_node_that_dies_is_named_with_its_log(
    session: Callable[..., Session], bundle: Path, wait_until: WaitUntil
) -> None:
    running = session(bundle, "--episodes", 50, "--out", "out")
    wait_until(lambda: "ready" in running.printed, "the nodes", 60)
    with leaving_nothing(running) as nodes:
        nodes["reach_node"].kill()
        assert running.popen.wait(ENDED_S) == 1, running.printed
    assert "expected reach_node to run, but it ended with SIGKILL" in running.printed
    assert "the end of out/reach_node.log:" in running.printed
    assert "configured with bundle tiny" in running.printed


def test_a_bundle_that_does_not_run_is_said_with_the_reason(
    session: Callable[..., Session], make_bundle: MakeBundle
) -> None:
    running = session(make_bundle(works=False), "--out", "out")
    assert running.popen.wait(90) == 1
    assert "expected reach_node to configure, but it could not" in running.printed
    assert "the end of out/reach_node.log" in running.printed
    assert "onnxruntime" in running.printed.lower()


def test_whoever_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "_START_S", 0.3)
    waited_for: list[str] = []
    started_s = time.monotonic()
    with (
        isolation.own_domain() as domain_id,
        Driver(domain_id, lambda: None, waited_for.append) as driver,
        pytest.raises(SessionError, match=r"expected the first image of sim_node within 0\.3 s, got none"),
    ):
        driver.bring_up()
    assert time.monotonic() - started_s < 20
    assert waited_for == ["the first image of sim_node"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bundle": "nowhere"}, "bundle: expected a folder or one of"),
        ({"domain": "nowhere"}, "domains: expected a file or one of"),
        ({"episodes": 0}, "expected at least 1 episode, got 0"),
        ({"seed": TRAINED_SEED}, "expected a seed that no training data was drawn with"),
        ({"seed": -1}, "expected a seed of 0 to 2147483647, got -1"),
        ({"reach_params": Path("nowhere.yaml")}, "nowhere.yaml: expected a readable YAML file"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    changes: dict[str, Any], message: str, bundle: Path, tmp_path: Path
) -> None:
    config = ReachConfig(bundle=str(bundle), domain="source", out=tmp_path / "out")
    with pytest.raises(InputError, match=message):
        reach(replace(config, **changes))
    assert not (tmp_path / "out").exists()


def test_the_camera_has_the_shape_of_the_bundles_images(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_bundle(bundle)
    wide = replace(loaded, card=replace(loaded.card, image=replace(loaded.card.image, height=24, width=48)))
    monkeypatch.setattr(session_module, "load_bundle", lambda _: wide)
    sim = session_module._prepare(ReachConfig(bundle=str(bundle), domain="source")).parameters["sim_node"]
    assert (sim["image_height"], sim["image_width"]) == (24, 48)


def test_the_nodes_import_nothing_from_the_folder_that_it_is_called_in(
    session: Callable[..., Session], bundle: Path, tmp_path: Path
) -> None:
    for name in ("yaml", "random", "mujoco", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user was imported')")
    running = session(bundle, "--episodes", 1, safe=True)
    assert running.popen.wait(90) == 0, running.printed


def test_figures_that_cannot_be_written_are_shown_and_leave_no_half_file(bundle: Path, tmp_path: Path) -> None:
    in_namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=8k tmpfs '{tmp_path / 'disk'}'"  # room for the logs alone
    (tmp_path / "disk").mkdir()
    if subprocess.run([*in_namespace, mount], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no user mount a small file system")
    words = [sys.executable, "-m", "taskgan_ros.cli", "reach", "--bundle", bundle, "--episodes", 1, "--out", "disk/o"]
    script = f"{mount} && {shlex.join(map(str, words))}; echo status $?; ls -A disk/o"
    environment = {**os.environ, "PYTHONPATH": str(Path(taskgan_ros.__file__).parents[1])}
    done = subprocess.run([*in_namespace, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    shown, left = done.stdout.split("status 1\n")
    assert "final distance" in shown
    assert "taskgan: disk/o/reach.json: expected to write " in done.stderr
    assert set(left.split()) <= {"sim_node.log", "reach_node.log"}


def test_two_sessions_of_one_second_get_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = {session_module._make_dated_folder() for _ in range(3)}
    assert len(made) == 3
    assert all(path.is_dir() for path in made)


def test_a_session_that_starts_meanwhile_takes_no_folder_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mkdir = Path.mkdir
    others: list[Path] = []

    def after_another(path: Path, *args: Any, **options: Any) -> None:
        if not others:
            others.append(path)
            mkdir(path, *args, **options)
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", after_another)
    assert session_module._make_dated_folder() == others[0].with_name(f"{others[0].name}_2")


def test_results_are_never_overwritten(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputExistsError):
        reach(ReachConfig(bundle=str(bundle), out=tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_without_ros_it_says_what_is_missing_and_makes_nothing(bundle: Path, tmp_path: Path) -> None:
    words = ["reach", "--bundle", str(bundle), "--out", str(tmp_path / "out")]
    code = f"import sys; sys.modules['rclpy'] = None; from taskgan_ros import cli; sys.exit(cli.run({words}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "expected the Python module rclpy, got none: source a ROS 2 installation" in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_needs_no_ros() -> None:
    code = "import sys; sys.modules['rclpy'] = None; from taskgan_ros import cli; cli.run(['reach', '--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "--episodes" in done.stdout, done.stderr
