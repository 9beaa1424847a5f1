"""`taskgan reach`: the whole loop over ROS 2, a simulated cell and the node that drives it, each its own process."""

from __future__ import annotations

import itertools
import shlex
import sys
import time
from bisect import bisect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.console import Console
from rich.text import Text

import taskgan_ros
from taskgan_ros.core import interrupts
from taskgan_ros.core.config import expand_home, resolve
from taskgan_ros.core.errors import InputError, OutputExistsError
from taskgan_ros.core.files import check_free
from taskgan_ros.core.parameter_files import read_parameter_file
from taskgan_ros.core.parameters import from_values
from taskgan_ros.demo import report
from taskgan_ros.demo.display import Display, Progress, print_summary
from taskgan_ros.demo.isolation import ChildProcesses, SessionError, isolated, ros_arguments
from taskgan_ros.demo.report import Episode
from taskgan_ros.policy.bundle import Bundle, load_bundle
from taskgan_ros.reach.parameters import ReachParameters
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.sim.evaluate import TEST_SEED, EvaluateConfig, check_arm, check_scene, check_seed
from taskgan_ros.tasks.registry import load_motion_scene
from taskgan_ros.tasks.scene import MotionScene

if TYPE_CHECKING:  # so that `taskgan reach --help` works without ROS
    from taskgan_ros.demo.driver import Recording

RESULTS_DIR = Path("reach_results")

_REACH_NODE = "reach_node"
_MAX_SEED = 2**31 - 1  # what sim_node takes
_FILMED_EPISODES = 3
_SMALLEST_IMAGE_PX = 16  # that the cell renders
_RECENT_S = 1.0  # what the live figures look back on


@dataclass(frozen=True)
class ReachConfig:
    """Watch the loop close over ROS 2: a simulated cell, and the node that drives it by its camera.

    Both run in a ROS domain of their own, on this machine only; your ROS_DOMAIN_ID is ignored.
    """

    bundle: str = "reach_target_wood"
    """A shipped bundle's name or a folder."""
    domain: str = "target_wood"
    """The cell's appearance: a shipped domain's name or a YAML file."""
    episodes: int = 10
    """Number of episodes, one after the other in real time; each is as long as one of `evaluate` (10 s)."""
    seed: int = TEST_SEED
    """Seed of the starts; it must differ from the training data's."""
    guard: Literal["stop", "warn", "off"] = "stop"
    """What images unlike the bundle's training do. In a domain that it was not trained for, all of them may be."""
    reach_params: Path | None = None
    """A parameter file of reach_node, to try speed, fence or another command_interface on the simulated arm. What
    `bundle` and `guard` say here takes precedence."""
    out: Path | None = None
    """Folder for the results, which must not exist; by default a new one with date and time in ./reach_results."""


@dataclass(frozen=True)
class _Plan:
    """What is known before anything is started."""

    config: ReachConfig
    bundle: Bundle
    scene: MotionScene
    parameters: dict[str, dict[str, Any]]  # by node
    out: Path = Path()  # once it is made

    @property
    def length_s(self) -> float:
        return self.scene.steps * self.scene.step_s


def reach(config: ReachConfig) -> int:
    """Run the episodes, show them, and write figures, animation and plot; return the process's exit status.

    The nodes get a ROS domain of their own, whatever ROS_DOMAIN_ID says, and talk within this machine only: where a
    real robot listens, a demonstration must not speak. The domain is printed, for those who want to inspect it.

    Returns:
        0 when the episodes ran, wherever they ended; 1 when a node did not do its part.

    Raises:
        InputError: as `evaluate` does, before anything is started.
        KeyboardInterrupt: on SIGINT, SIGTERM or SIGHUP; no process is left.
    """
    prepared = _prepare(config)
    import taskgan_ros.demo.driver  # noqa: F401  # report missing ROS before anything is made

    console = Console()
    done: list[Episode] = []
    plan = replace(prepared, out=_make_folder(config.out) if config.out else _make_dated_folder())
    try:
        with interrupts.deferred() as check_interrupt:
            _run(plan, console, done, check_interrupt)
        _report(plan, console, done)
    except SessionError as error:
        print(f"taskgan: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        ran = f"after {len(done)} of {config.episodes} episodes"
        raise KeyboardInterrupt(f"{error} {ran}; the nodes have ended, their logs are in {plan.out}") from None
    return 0


def _prepare(config: ReachConfig) -> _Plan:
    if config.out is not None:
        check_free(config.out)
    if config.episodes < 1:
        raise InputError(f"expected at least 1 episode, got {config.episodes}")
    if not 0 <= config.seed <= _MAX_SEED:
        raise InputError(f"expected a seed of 0 to {_MAX_SEED}, got {config.seed}")
    bundle = load_bundle(config.bundle)
    scene = load_motion_scene(bundle.scene_name)
    check_seed(bundle.card, config.seed)
    check_scene(bundle.card, scene)
    check_arm(bundle, scene)
    load_domain(config.domain)
    image = bundle.card.image
    parameters: dict[str, dict[str, Any]] = {
        "sim_node": {
            "command_interface": _read_parameters(config.reach_params).command_interface,
            "scene": str(resolve("scenes", bundle.scene_name).absolute()),
            "domain": str(resolve("domains", config.domain).absolute()),
            "seed": config.seed,
            "image_height": max(image.height, _SMALLEST_IMAGE_PX),
            "image_width": max(image.width, _SMALLEST_IMAGE_PX),
        },
        _REACH_NODE: {"bundle": str(bundle.path.absolute()), "guard": config.guard},
    }
    return _Plan(config, bundle, scene, parameters)


def _read_parameters(path: Path | None) -> ReachParameters:
    """Return reach_node's parameters by a file, or its defaults without one.

    Raises:
        InputError: not one of its parameters, or nothing for it.
    """
    values = read_parameter_file(expand_home(path), f"/{_REACH_NODE}") if path else {}
    return from_values(ReachParameters, {"bundle": "", **values}, str(path))


def _make_dated_folder() -> Path:
    """Make a new folder, also if another session starts in the same second."""
    name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for dated in itertools.chain([name], (f"{name}_{k}" for k in itertools.count(2))):
        with suppress(OutputExistsError):
            return _make_folder(RESULTS_DIR / dated)
    raise AssertionError("the names never end")


def _make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True)
    except FileExistsError as error:
        raise OutputExistsError(path) from error
    except OSError as error:
        raise InputError(f"{path}: expected to make this folder, got: {error.strerror}") from error
    return path


def _run(plan: _Plan, console: Console, done: list[Episode], check_interrupt: Callable[[], None]) -> None:
    """Run the episodes, and append each to `done`.

    Raises:
        SessionError: a node ends, or does not do its part.
    """
    config = plan.config
    display = Display(console, config.episodes, plan.length_s, plan.scene.threshold_m)
    with isolated(plan.out) as (domain_id, nodes), display:
        display.say(f"{plan.bundle.card.name} in {config.domain}: {config.episodes} episodes, seed {config.seed}")
        domain = f"ROS domain {domain_id} (ROS_DOMAIN_ID is ignored)"
        display.say(Text(f"starting two nodes in {domain}, their logs are in {plan.out}", "dim"))
        for name, parameters in plan.parameters.items():
            file: list[str] = []
            if config.reach_params and name == _REACH_NODE:
                file = ["--params-file", str(expand_home(config.reach_params))]
            nodes.start(name, [sys.executable, "-m", f"taskgan_ros.nodes.{name}", *ros_arguments(parameters, *file)])
        _Session(plan, nodes, display, check_interrupt).run(domain_id, done)
        for name in nodes.stop():
            display.say(Text(f"{name} had to be killed", "yellow"))


class _Session:
    """Takes the nodes through the episodes, and shows what happens meanwhile."""

    def __init__(
        self, plan: _Plan, nodes: ChildProcesses, display: Display, check_interrupt: Callable[[], None]
    ) -> None:
        self._plan, self._nodes, self._display, self._check_interrupt = plan, nodes, display, check_interrupt
        self._number = 0
        self._recording: Recording | None = None
        self._waiting_for, self._waiting_since_s = "", 0.0

    def run(self, domain_id: int, done: list[Episode]) -> None:
        from taskgan_ros.demo.driver import Driver

        started_s = time.monotonic()
        with Driver(domain_id, self._turn, self._wait_for) as self._driver:
            self._driver.bring_up()
            self._display.say(Text(f"ready after {time.monotonic() - started_s:.0f} s", "dim"))
            for number in range(1, self._plan.config.episodes + 1):
                self._number = number
                done.append(self._run_episode())

    def _run_episode(self) -> Episode:
        self._driver.film(self._number <= _FILMED_EPISODES)
        self._recording = self._driver.start_episode()
        episode = self._driver.run_episode(self._recording, self._plan.length_s)
        arrived_s = episode.arrived_s(self._plan.scene.threshold_m)
        stopped = episode.reported if arrived_s is None else ""
        note = stopped if len(episode.latencies_s) else f"no commands: {episode.reported}"
        self._display.say_result(self._number, episode.final_distance_m, arrived_s, note)
        return episode

    def _wait_for(self, what: str) -> None:
        self._waiting_for, self._waiting_since_s = what, time.monotonic()

    def _turn(self) -> None:
        self._check_interrupt()
        self._nodes.check()
        if self._recording and self._recording.is_running:
            self._display.show_progress(self._number, self._progress(self._recording))
        else:
            self._display.show_wait(self._waiting_for, time.monotonic() - self._waiting_since_s)

    def _progress(self, recording: Recording) -> Progress:
        time_s = recording.time_s
        times_s = recording.command_times_s
        count = len(times_s) - bisect(times_s, time_s - _RECENT_S)
        stalled = count == 0 and time_s > _RECENT_S
        return Progress(
            time_s=time_s,
            start_distance_m=recording.start_distance_m,
            distance_m=recording.distance_m,
            latency_s=float(np.median(recording.latencies_s[-count:])) if count else None,
            rate_hz=count / min(_RECENT_S, time_s),
            note=self._driver.reach_status.get("message", "") if stalled else "",
        )


def _report(plan: _Plan, console: Console, episodes: Sequence[Episode]) -> None:
    """Write the files and show the summary.

    Raises:
        SessionError: the files cannot be written.
    """
    config, scene = plan.config, plan.scene
    evaluated = EvaluateConfig(config.bundle, config.domain, len(episodes), config.seed)
    figures = report.figures(episodes, scene, evaluated, _command_line(plan))
    figures["taskgan_version"] = taskgan_ros.__version__
    filmed = "episode" if len(episodes) == 1 else f"{min(_FILMED_EPISODES, len(episodes))} episodes"
    arrived = sum(episode.arrived_s(scene.threshold_m) is not None for episode in episodes)
    title = f"{plan.bundle.card.name} in {config.domain}: {arrived} of {len(episodes)} arrived"
    files = [
        (plan.out / report.FIGURES, "every figure"),
        (plan.out / report.ANIMATION, f"camera beside translation, in the first {filmed}"),
        (plan.out / report.PLOT, "distance over time"),
    ]
    try:
        report.write_figures(files[0][0], figures)
        with console.status("drawing"):
            report.write_animation(files[1][0], episodes, scene.threshold_m)
            report.write_plot(files[2][0], episodes, scene.threshold_m, title)
    except InputError as error:
        raise SessionError(str(error)) from error
    finally:  # the figures are shown even where they cannot be written
        print_summary(console, figures, [(path, what) for path, what in files if path.exists()])


def _command_line(plan: _Plan) -> str:
    config = plan.config
    words = ["taskgan", "reach", "--bundle", config.bundle, "--domain", config.domain]
    guard = [] if config.guard == "stop" else ["--guard", config.guard]
    return shlex.join([*words, "--episodes", str(config.episodes), "--seed", str(config.seed), *guard])
